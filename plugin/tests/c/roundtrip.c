/* Writes datasets through the filter and reads them back: f32 under an absolute bound, u16 lossless, big-endian f64
 * under a relative bound, with chunks that do not divide the dataset.
 * Usage: roundtrip FILE */
#include <hdf5.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "check.h"

#define FRAMES 5
#define ROWS 30
#define COLS 34
#define N (FRAMES * ROWS * COLS)

static const unsigned FILTER = 34222;

static void bound_words(unsigned kind, double bound, unsigned words[7])
{
    uint64_t bits;
    memcpy(&bits, &bound, sizeof bits);
    words[0] = 0;
    words[1] = kind;
    words[2] = (unsigned)bits;
    words[3] = (unsigned)(bits >> 32);
    words[4] = words[5] = words[6] = 0;
}

static void write_dataset(hid_t file, const char *name, hid_t stored, hid_t memory, const void *values,
                          unsigned kind, double bound)
{
    const hsize_t dims[3] = {FRAMES, ROWS, COLS}, chunk[3] = {2, 16, 16};
    unsigned words[7], filter_words[32];
    size_t n_words = 32;
    bound_words(kind, bound, words);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(3, dims, NULL);
    CHECK(H5Pset_chunk(list, 3, chunk) >= 0);
    CHECK(H5Pset_filter(list, (H5Z_filter_t)FILTER, H5Z_FLAG_MANDATORY, 7, words) >= 0);
    hid_t dataset = H5Dcreate2(file, name, stored, space, H5P_DEFAULT, list, H5P_DEFAULT);
    CHECK(dataset >= 0);
    CHECK(H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    hid_t final = H5Dget_create_plist(dataset);
    CHECK(H5Pget_filter_by_id2(final, (H5Z_filter_t)FILTER, NULL, &n_words, filter_words, 0, NULL, NULL) >= 0);
    CHECK(n_words == 16);
    CHECK(memcmp(filter_words, words, 4 * sizeof words[0]) == 0);
    CHECK(H5Pclose(final) >= 0 && H5Dclose(dataset) >= 0 && H5Sclose(space) >= 0 && H5Pclose(list) >= 0);
}

static void read_dataset(hid_t file, const char *name, hid_t memory, void *values)
{
    hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    CHECK(dataset >= 0);
    CHECK(H5Dread(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    CHECK(H5Dclose(dataset) >= 0);
}

int main(int argc, char **argv)
{
    static float singles[N], singles_back[N];
    static double doubles[N], doubles_back[N];
    static uint16_t counts[N], counts_back[N];
    CHECK(argc == 2);
    for (int i = 0; i < N; i++) {
        doubles[i] = 1000.0 + sin(i * 0.01) * 7.0;
        singles[i] = (float)(cos(i * 0.02) * 3.0);
        counts[i] = (uint16_t)(i * 40503u);
    }
    singles[17] = NAN;
    hid_t file = H5Fcreate(argv[1], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(file >= 0);
    write_dataset(file, "singles", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, singles, 1, 1e-3);
    write_dataset(file, "counts", H5T_STD_U16LE, H5T_NATIVE_UINT16, counts, 0, 0.0);
    write_dataset(file, "doubles", H5T_IEEE_F64BE, H5T_NATIVE_DOUBLE, doubles, 2, 1e-4);
    CHECK(H5Fclose(file) >= 0);

    file = H5Fopen(argv[1], H5F_ACC_RDONLY, H5P_DEFAULT);
    CHECK(file >= 0);
    read_dataset(file, "singles", H5T_NATIVE_FLOAT, singles_back);
    read_dataset(file, "counts", H5T_NATIVE_UINT16, counts_back);
    read_dataset(file, "doubles", H5T_NATIVE_DOUBLE, doubles_back);
    CHECK(H5Fclose(file) >= 0);
    CHECK(memcmp(counts, counts_back, sizeof counts) == 0);
    for (int i = 0; i < N; i++) {
        CHECK(i == 17 ? isnan(singles_back[i]) : fabs((double)singles_back[i] - (double)singles[i]) <= 1e-3);
        CHECK(fabs(doubles_back[i] - doubles[i]) <= 1e-4 * 14.0);
    }
    puts("round trip done");
    return 0;
}
