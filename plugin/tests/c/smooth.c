/* Writes a dataset of smooth frames with a model, absolute bound 0.01, and reads it back in the same process.
 * Usage: smooth FILE MODEL_LOW MODEL_HIGH */
#include <hdf5.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "records.h"

#define FRAMES 16
#define EDGE 64
#define PATCH 16
#define N (FRAMES * EDGE * EDGE)

static float values[N], back[N];

/* One low cosine per patch, with an amplitude and a frequency of the patch's own. */
static void fill(void)
{
    const double pi = 3.14159265358979323846;
    for (int i = 0; i < N; i++) {
        int frame = i / (EDGE * EDGE), row = i / EDGE % EDGE, col = i % EDGE;
        int patch = frame * 16 + row / PATCH * 4 + col / PATCH;
        double vertical = cos(pi * (row % PATCH + 0.5) * (patch % 3) / PATCH);
        double horizontal = cos(pi * (col % PATCH + 0.5) * (patch % 4) / PATCH);
        values[i] = (float)(0.6 + 0.3 * sin(patch * 1.7) * vertical * horizontal);
    }
}

int main(int argc, char **argv)
{
    const hsize_t dims[3] = {FRAMES, EDGE, EDGE};
    const double bound = 0.01;
    uint64_t bits;
    CHECK(argc == 4);
    memcpy(&bits, &bound, sizeof bits);
    unsigned words[7] = {0, 1, (unsigned)bits, (unsigned)(bits >> 32), 0, 0, 0};
    words[4] = (unsigned)strtoul(argv[2], NULL, 0);
    words[5] = (unsigned)strtoul(argv[3], NULL, 0);
    fill();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t file = H5Fcreate(argv[1], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(3, dims, NULL);
    CHECK(H5Pset_chunk(list, 3, dims) >= 0);
    CHECK(H5Pset_filter(list, 34222, H5Z_FLAG_MANDATORY, 7, words) >= 0);
    hid_t dataset = H5Dcreate2(file, "smooth", H5T_IEEE_F32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    if (dataset < 0) {
        puts("refused");
        print_records();
        return 0;
    }
    CHECK(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    CHECK(H5Dclose(dataset) >= 0 && H5Fclose(file) >= 0);
    file = H5Fopen(argv[1], H5F_ACC_RDONLY, H5P_DEFAULT);
    dataset = H5Dopen2(file, "smooth", H5P_DEFAULT);
    CHECK(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, back) >= 0);
    for (int i = 0; i < N; i++)
        CHECK(fabs((double)back[i] - (double)values[i]) <= bound);
    printf("written %llu\n", (unsigned long long)H5Dget_storage_size(dataset));
    CHECK(H5Dclose(dataset) >= 0 && H5Fclose(file) >= 0);
    return 0;
}
