/* Writes frames to an HDF5 file through the filter and reads them back. HDF5 itself loads the filter, as a plugin; the
 * program is linked with libhdf5 alone and needs no header of the filter.
 *
 * cc -std=c99 plugin.c $(pkg-config --cflags --libs hdf5) -lm -o plugin
 * HDF5_PLUGIN_PATH=/usr/local/lib/hdf5/plugin ./plugin frames.h5 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>

enum { FRAMES = 4, ROWS = 32, COLS = 32, N_VALUES = FRAMES * ROWS * COLS };

static const H5Z_filter_t FILTER = 34222;
static const double BOUND = 1e-3;

/* Ends the program where a call of HDF5 failed. HDF5 has printed its error stack, with the filter's sentence in it. */
static hid_t ok(hid_t result, const char *call)
{
    if (result < 0) {
        fprintf(stderr, "plugin: %s failed\n", call);
        exit(EXIT_FAILURE);
    }
    return result;
}

/* Rings about the centre, which widen from frame to frame. */
static void simulate(float *values)
{
    for (int i = 0; i < N_VALUES; i++) {
        int frame = i / (ROWS * COLS), row = i / COLS % ROWS, col = i % COLS;
        double radius = sqrt(pow(row - ROWS / 2.0, 2) + pow(col - COLS / 2.0, 2));
        values[i] = (float)(exp(-radius / 12.0) * (1.0 + cos(radius * 0.9 / (1.0 + 0.02 * frame))));
    }
}

/* The filter's parameters: layout version, kind of bound (1: absolute), the bound as a double, low word first, the
 * model (0, 0: the built-in one), options. `sae filter-args --abs 0.001 --format c` prints them. */
static void set_filter(hid_t dcpl)
{
    uint64_t bound;
    memcpy(&bound, &BOUND, sizeof bound);
    const unsigned cd_values[7] = {0, 1, (unsigned)bound, (unsigned)(bound >> 32), 0, 0, 0};
    ok(H5Pset_filter(dcpl, FILTER, H5Z_FLAG_MANDATORY, 7, cd_values), "H5Pset_filter");
}

static void write_frames(const char *path, const float *values)
{
    const hsize_t dims[3] = {FRAMES, ROWS, COLS}, chunk[3] = {2, ROWS, COLS};
    hid_t dcpl = ok(H5Pcreate(H5P_DATASET_CREATE), "H5Pcreate");
    ok(H5Pset_chunk(dcpl, 3, chunk), "H5Pset_chunk");
    set_filter(dcpl);
    hid_t file = ok(H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), "H5Fcreate");
    hid_t space = ok(H5Screate_simple(3, dims, NULL), "H5Screate_simple");
    hid_t dataset = ok(H5Dcreate2(file, "frames", H5T_IEEE_F32LE, space, H5P_DEFAULT, dcpl, H5P_DEFAULT), "H5Dcreate2");
    ok(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "H5Dwrite");
    /* HDF5 compresses a chunk when it leaves the cache: closing may fail for the filter's reasons. */
    ok(H5Dclose(dataset), "H5Dclose");
    ok(H5Sclose(space), "H5Sclose");
    ok(H5Pclose(dcpl), "H5Pclose");
    ok(H5Fclose(file), "H5Fclose");
}

/* Reads like any dataset: what is needed stands in the file. */
static hsize_t read_frames(const char *path, float *values)
{
    hid_t file = ok(H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), "H5Fopen");
    hid_t dataset = ok(H5Dopen2(file, "frames", H5P_DEFAULT), "H5Dopen2");
    ok(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "H5Dread");
    hsize_t stored_bytes = H5Dget_storage_size(dataset);
    ok(H5Dclose(dataset), "H5Dclose");
    ok(H5Fclose(file), "H5Fclose");
    return stored_bytes;
}

int main(int argc, char **argv)
{
    static float values[N_VALUES], decoded[N_VALUES];
    if (argc != 2) {
        fprintf(stderr, "usage: plugin FILE\n");
        return EXIT_FAILURE;
    }
    if (H5Zfilter_avail(FILTER) <= 0) {
        fprintf(stderr, "plugin: HDF5 finds no filter 34222: HDF5_PLUGIN_PATH must name the folder of libh5zsae.so\n");
        return EXIT_FAILURE;
    }
    simulate(values);
    write_frames(argv[1], values);
    hsize_t stored_bytes = read_frames(argv[1], decoded);
    double largest = 0.0;
    for (int i = 0; i < N_VALUES; i++)
        largest = fmax(largest, fabs((double)decoded[i] - (double)values[i]));
    printf("%zu bytes in %llu, largest error %.6f\n", sizeof values, (unsigned long long)stored_bytes, largest);
    return largest <= BOUND ? EXIT_SUCCESS : EXIT_FAILURE;
}
