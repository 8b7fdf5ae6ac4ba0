/* A program that links the library and needs no plugin path.
 * Usage: register FILE */
#include <hdf5.h>
#include <string.h>

#include "check.h"
#include "h5zsae.h"

int main(int argc, char **argv)
{
    const hsize_t dims[1] = {1000}, chunk[1] = {128};
    int values[1000], back[1000];
    CHECK(argc == 2);
    for (int i = 0; i < 1000; i++)
        values[i] = i * i;
    CHECK(H5Zfilter_avail(H5Z_FILTER_SAE) == 0);
    CHECK(h5zsae_register_filter() == H5ZSAE_OK);
    CHECK(H5Zfilter_avail(H5Z_FILTER_SAE) > 0);
    hid_t file = H5Fcreate(argv[1], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, dims, NULL);
    CHECK(H5Pset_chunk(list, 1, chunk) >= 0);
    CHECK(H5Pset_filter(list, H5Z_FILTER_SAE, H5Z_FLAG_MANDATORY, 0, NULL) >= 0);
    hid_t dataset = H5Dcreate2(file, "x", H5T_STD_I32BE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    CHECK(dataset >= 0);
    CHECK(H5Dwrite(dataset, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    CHECK(H5Dclose(dataset) >= 0 && H5Sclose(space) >= 0 && H5Pclose(list) >= 0 && H5Fclose(file) >= 0);
    file = H5Fopen(argv[1], H5F_ACC_RDONLY, H5P_DEFAULT);
    dataset = H5Dopen2(file, "x", H5P_DEFAULT);
    CHECK(H5Dread(dataset, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, back) >= 0);
    CHECK(memcmp(values, back, sizeof values) == 0);
    CHECK(H5Dclose(dataset) >= 0 && H5Fclose(file) >= 0);
    puts("registered");
    return 0;
}
