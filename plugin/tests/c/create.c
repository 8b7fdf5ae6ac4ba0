/* Tries to create a chunked dataset with the filter and prints the outcome: "created" and the stored parameters, or
 * "refused" and the error stack, one record a line.
 * Usage: create FILE TYPE BEFORE OPTIONAL WORD...
 *   TYPE     f32, filled (big-endian u16 with fill value 0x1234), enum, string, compound, narrow (u32 with 20 bits), bfloat (16 bits, 8 of exponent)
 *   BEFORE   none, shuffle, twice: what else stands in the pipeline
 *   OPTIONAL 0 or 1: whether the filter is optional, as h5py makes it */
#include <hdf5.h>
#include <string.h>

#include "check.h"
#include "records.h"

static hid_t make_type(const char *name)
{
    hid_t type = -1;
    if (strcmp(name, "f32") == 0) {
        type = H5Tcopy(H5T_IEEE_F32LE);
    } else if (strcmp(name, "filled") == 0) {
        type = H5Tcopy(H5T_STD_U16BE);
    } else if (strcmp(name, "enum") == 0) {
        const unsigned char member = 1;
        type = H5Tenum_create(H5T_STD_U8LE);
        H5Tenum_insert(type, "a", &member);
    } else if (strcmp(name, "string") == 0) {
        type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, 8);
    } else if (strcmp(name, "compound") == 0) {
        type = H5Tcreate(H5T_COMPOUND, 8);
        H5Tinsert(type, "a", 0, H5T_IEEE_F64LE);
    } else if (strcmp(name, "narrow") == 0) {
        type = H5Tcopy(H5T_STD_U32LE);
        H5Tset_precision(type, 20);
    } else if (strcmp(name, "bfloat") == 0) {
        type = H5Tcopy(H5T_IEEE_F32LE);
        H5Tset_fields(type, 15, 7, 8, 0, 7);
        H5Tset_precision(type, 16);
        H5Tset_size(type, 2);
        H5Tset_ebias(type, 127);
    }
    CHECK(type >= 0);
    return type;
}

static void print_stored(hid_t dataset)
{
    unsigned words[32];
    size_t n_words = 32;
    hid_t list = H5Dget_create_plist(dataset);
    CHECK(H5Pget_filter_by_id2(list, 34222, NULL, &n_words, words, 0, NULL, NULL) >= 0);
    CHECK(n_words <= 32);
    for (size_t i = 0; i < n_words; i++)
        printf("%u%c", words[i], i + 1 < n_words ? ' ' : '\n');
    H5Pclose(list);
}

int main(int argc, char **argv)
{
    const hsize_t dims[2] = {20, 20}, chunk[2] = {10, 10};
    unsigned words[32];
    CHECK(argc >= 5 && argc - 5 <= 32);
    for (int i = 5; i < argc; i++)
        words[i - 5] = (unsigned)strtoul(argv[i], NULL, 0);
    unsigned flags = argv[4][0] == '1' ? H5Z_FLAG_OPTIONAL : H5Z_FLAG_MANDATORY;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t file = H5Fcreate(argv[1], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, dims, NULL);
    hid_t type = make_type(argv[2]);
    CHECK(H5Pset_chunk(list, 2, chunk) >= 0);
    if (strcmp(argv[2], "filled") == 0) {
        const unsigned short fill = 0x1234;
        CHECK(H5Pset_fill_value(list, H5T_NATIVE_USHORT, &fill) >= 0);
    }
    if (strcmp(argv[3], "shuffle") == 0)
        CHECK(H5Pset_shuffle(list) >= 0);
    if (strcmp(argv[3], "twice") == 0)
        CHECK(H5Pset_filter(list, 34222, flags, 0, NULL) >= 0);
    CHECK(H5Pset_filter(list, 34222, flags, (size_t)(argc - 5), words) >= 0);
    hid_t dataset = H5Dcreate2(file, "x", type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    if (dataset >= 0) {
        puts("created");
        print_stored(dataset);
        H5Dclose(dataset);
    } else {
        puts("refused");
        print_records();
    }
    H5Tclose(type);
    H5Sclose(space);
    H5Pclose(list);
    H5Fclose(file);
    return 0;
}
