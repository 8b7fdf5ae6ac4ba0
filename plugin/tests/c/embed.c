/* Puts a model file into an HDF5 file as `sae embed` does.
 * Usage: embed FILE MODEL.sae ID */
#include <hdf5.h>
#include <stdio.h>

#include "check.h"

int main(int argc, char **argv)
{
    static char bytes[1 << 20];
    CHECK(argc == 4);
    FILE *model = fopen(argv[2], "rb");
    CHECK(model);
    size_t n_bytes = fread(bytes, 1, sizeof bytes, model);
    CHECK(n_bytes > 0 && n_bytes < sizeof bytes && fclose(model) == 0);
    hid_t file = H5Fopen(argv[1], H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t outer = H5Gcreate2(file, "_h5z_sae", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t group = H5Gcreate2(outer, "models", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t type = H5Tcreate(H5T_OPAQUE, n_bytes), space = H5Screate(H5S_SCALAR);
    hid_t dataset = H5Dcreate2(group, argv[3], type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) >= 0);
    CHECK(H5Dclose(dataset) >= 0 && H5Sclose(space) >= 0 && H5Tclose(type) >= 0);
    CHECK(H5Gclose(group) >= 0 && H5Gclose(outer) >= 0 && H5Fclose(file) >= 0);
    return 0;
}
