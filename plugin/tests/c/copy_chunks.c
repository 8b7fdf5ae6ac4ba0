/* Moves the streams of /singles to /moved in the same file with H5Dread_chunk and H5Dwrite_chunk, and compares what
 * both read as. No chunk is decoded or encoded on the way.
 * Usage: copy_chunks FILE */
#include <hdf5.h>
#include <string.h>

#include "check.h"

static void move_chunk(hid_t from, hid_t to, hid_t space, hsize_t chunk)
{
    hsize_t start[3], n_bytes = 0;
    unsigned mask = 1;
    uint32_t read_mask = 1;
    CHECK(H5Dget_chunk_info(from, space, chunk, start, &mask, NULL, &n_bytes) >= 0 && mask == 0);
    void *stream = malloc(n_bytes);
    CHECK(stream != NULL);
    CHECK(H5Dread_chunk(from, H5P_DEFAULT, start, &read_mask, stream) >= 0 && read_mask == 0);
    CHECK(H5Dwrite_chunk(to, H5P_DEFAULT, 0, start, n_bytes, stream) >= 0);
    free(stream);
}

static float *read_values(hid_t dataset, size_t n_values)
{
    float *values = malloc(n_values * sizeof *values);
    CHECK(values != NULL);
    CHECK(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    return values;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    /* HDF5 1.10 looks for plugins when a filter is set or a chunk decoded, not when a dataset is created with the
     * property list of another one. */
    CHECK(H5Zfilter_avail(34222) > 0);
    hid_t file = H5Fopen(argv[1], H5F_ACC_RDWR, H5P_DEFAULT), from = H5Dopen2(file, "/singles", H5P_DEFAULT);
    hid_t type = H5Dget_type(from), space = H5Dget_space(from), list = H5Dget_create_plist(from);
    hid_t to = H5Dcreate2(file, "/moved", type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    hsize_t n_chunks = 0;
    CHECK(to >= 0);
    CHECK(H5Dget_num_chunks(from, space, &n_chunks) >= 0 && n_chunks > 1);
    for (hsize_t chunk = 0; chunk < n_chunks; chunk++)
        move_chunk(from, to, space, chunk);
    CHECK(H5Dget_storage_size(to) == H5Dget_storage_size(from));
    size_t n_values = (size_t)H5Sget_simple_extent_npoints(space);
    float *original = read_values(from, n_values), *moved = read_values(to, n_values);
    CHECK(memcmp(original, moved, n_values * sizeof *original) == 0);
    free(original);
    free(moved);
    CHECK(H5Dclose(to) >= 0 && H5Dclose(from) >= 0 && H5Pclose(list) >= 0 && H5Sclose(space) >= 0);
    CHECK(H5Tclose(type) >= 0 && H5Fclose(file) >= 0);
    printf("%llu chunks moved\n", (unsigned long long)n_chunks);
    return 0;
}
