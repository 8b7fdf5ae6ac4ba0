/* Registers the filter, by our function or else by HDF5's own with our class, says which, and reads a dataset of f32
 * as often as is said: "read" or "failed" for each time.
 * Usage: registered FILE DATASET TIMES */
#include <h5zsae.h>
#include <hdf5.h>

#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    if (h5zsae_register_filter() == H5ZSAE_OK) {
        puts("registered");
    } else {
        puts(h5zsae_last_error());
        CHECK(H5Zregister(h5zsae_filter_class()) >= 0);
    }
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    for (int i = 0; i < atoi(argv[3]); i++) {
        hid_t file = H5Fopen(argv[1], H5F_ACC_RDONLY, H5P_DEFAULT), dataset = H5Dopen2(file, argv[2], H5P_DEFAULT);
        CHECK(dataset >= 0);
        hid_t space = H5Dget_space(dataset);
        float *values = malloc((size_t)H5Sget_simple_extent_npoints(space) * sizeof *values);
        puts(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0 ? "failed" : "read");
        free(values);
        H5Sclose(space);
        H5Dclose(dataset);
        H5Fclose(file);
    }
    return 0;
}
