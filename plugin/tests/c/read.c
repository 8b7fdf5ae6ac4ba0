/* Reads a dataset of f32 as often as is said, and prints for each time "read" or "failed" and the error stack. With
 * "reopen", HDF5 is closed in between.
 * Usage: read FILE DATASET TIMES [reopen] */
#include <hdf5.h>

#include "check.h"
#include "records.h"

static void read_once(const char *path, const char *name)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    CHECK(dataset >= 0);
    hid_t space = H5Dget_space(dataset);
    float *values = malloc((size_t)H5Sget_simple_extent_npoints(space) * sizeof *values);
    if (H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0) {
        puts("read");
    } else {
        puts("failed");
        print_records();
    }
    free(values);
    H5Sclose(space);
    H5Dclose(dataset);
    H5Fclose(file);
}

int main(int argc, char **argv)
{
    CHECK(argc == 4 || argc == 5);
    for (int i = 0; i < atoi(argv[3]); i++) {
        read_once(argv[1], argv[2]);
        if (argc == 5)
            H5close();
    }
    return 0;
}
