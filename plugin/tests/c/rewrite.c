/* Writes the one chunk of /smooth anew, negated, in a process that has not read it, and closes everything in the way
 * that is named; so the filter looks for its model while HDF5 flushes or closes.
 * Usage: rewrite FILE flush|dataset|file|group|strong|exit|library|uncached
 *        rewrite FILE early MODEL_LOW MODEL_HIGH     creates /early, whose chunks the filter codes at once */
#include <hdf5.h>
#include <stdint.h>
#include <string.h>

#include "check.h"

#define FRAMES 16
#define EDGE 64
#define N (FRAMES * EDGE * EDGE)

static float values[N];

static hid_t file_access(const char *way)
{
    hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    if (strcmp(way, "strong") == 0)
        CHECK(H5Pset_fclose_degree(list, H5F_CLOSE_STRONG) >= 0);
    if (strcmp(way, "uncached") == 0)
        CHECK(H5Pset_cache(list, 0, 0, 0, 0) >= 0);
    return list;
}

static void rewrite(hid_t file, const char *way)
{
    hid_t dataset = H5Dopen2(file, "smooth", H5P_DEFAULT);
    hid_t group = H5Gopen2(file, "/", H5P_DEFAULT);
    CHECK(dataset >= 0 && group >= 0);
    for (int i = 0; i < N; i++)
        values[i] = -(float)(i % EDGE) / EDGE;
    CHECK(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    if (strcmp(way, "exit") == 0)
        exit(0);
    if (strcmp(way, "library") == 0) {
        CHECK(H5close() >= 0);
        return;
    }
    if (strcmp(way, "flush") == 0)
        CHECK(H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0);
    if (strcmp(way, "strong") == 0) {
        CHECK(H5Fclose(file) >= 0);
        return;
    }
    if (strcmp(way, "file") == 0) {
        CHECK(H5Fclose(file) >= 0 && H5Gclose(group) >= 0 && H5Dclose(dataset) >= 0);
    } else if (strcmp(way, "group") == 0) {
        CHECK(H5Fclose(file) >= 0 && H5Dclose(dataset) >= 0 && H5Gclose(group) >= 0);
    } else {
        CHECK(H5Dclose(dataset) >= 0 && H5Gclose(group) >= 0 && H5Fclose(file) >= 0);
    }
}

static void create_early(hid_t file, char **model)
{
    const hsize_t dims[3] = {FRAMES, EDGE, EDGE};
    const double bound = 0.01;
    const float fill = 0.5f;
    uint64_t bits;
    memcpy(&bits, &bound, sizeof bits);
    unsigned words[7] = {0, 1, (unsigned)bits, (unsigned)(bits >> 32), 0, 0, 0};
    words[4] = (unsigned)strtoul(model[0], NULL, 0);
    words[5] = (unsigned)strtoul(model[1], NULL, 0);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(3, dims, NULL);
    CHECK(H5Pset_chunk(list, 3, dims) >= 0 && H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY) >= 0);
    CHECK(H5Pset_fill_value(list, H5T_NATIVE_FLOAT, &fill) >= 0);
    CHECK(H5Pset_filter(list, 34222, H5Z_FLAG_MANDATORY, 7, words) >= 0);
    hid_t dataset = H5Dcreate2(file, "early", H5T_IEEE_F32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    CHECK(dataset >= 0);
    CHECK(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    CHECK(values[0] == fill && values[N - 1] == fill);
    CHECK(H5Dclose(dataset) >= 0 && H5Fclose(file) >= 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3 || argc == 5);
    /* HDF5 1.10 loads a filter when it reads a chunk or is asked for it, not when it writes to a dataset that is there. */
    CHECK(H5Zfilter_avail(34222) > 0);
    hid_t list = file_access(argv[2]);
    hid_t file = H5Fopen(argv[1], H5F_ACC_RDWR, list);
    CHECK(file >= 0);
    if (strcmp(argv[2], "early") == 0)
        create_early(file, argv + 3);
    else
        rewrite(file, argv[2]);
    puts("written");
    return 0;
}
