/* Copies /smooth to a new file by H5Ocopy, and with "model" the models of the file, too.
 * Usage: copy_object FROM TO alone|model */
#include <hdf5.h>
#include <string.h>

#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    hid_t from = H5Fopen(argv[1], H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t to = H5Fcreate(argv[2], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(from >= 0 && to >= 0);
    CHECK(H5Ocopy(from, "smooth", to, "smooth", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    if (strcmp(argv[3], "model") == 0)
        CHECK(H5Ocopy(from, "_h5z_sae", to, "_h5z_sae", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    CHECK(H5Fclose(to) >= 0 && H5Fclose(from) >= 0);
    return 0;
}
