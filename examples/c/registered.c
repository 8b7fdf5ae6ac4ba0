/* Writes counts to an HDF5 file through the filter and reads them back. The program is linked with the filter and
 * registers it: it needs no plugin path.
 *
 * cc -std=c99 registered.c $(pkg-config --cflags --libs h5zsae hdf5) -lm -o registered
 * ./registered counts.h5 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <h5zsae.h>
#include <hdf5.h>

enum { FRAMES = 4, ROWS = 32, COLS = 32, N_VALUES = FRAMES * ROWS * COLS };

/* No count x is off by more than this times the square root of x: a quarter of its noise. */
static const double SHARE_OF_NOISE = 0.25;

/* Ends the program where a call of HDF5 failed. HDF5 has printed its error stack, with the filter's sentence in it. */
static hid_t ok(hid_t result, const char *call)
{
    if (result < 0) {
        fprintf(stderr, "registered: %s failed\n", call);
        exit(EXIT_FAILURE);
    }
    return result;
}

/* Ends the program where a call of the filter's library failed. */
static void require(h5zsae_status status)
{
    if (status != H5ZSAE_OK) {
        fprintf(stderr, "registered: %s\n", h5zsae_last_error());
        exit(EXIT_FAILURE);
    }
}

/* A beam with noise, from a small generator so that every run makes the same counts. */
static void simulate(uint32_t *counts)
{
    uint32_t state = 1;
    for (int i = 0; i < N_VALUES; i++) {
        int row = i / COLS % ROWS, col = i % COLS;
        double mean = 2000.0 * exp(-(pow(row - ROWS / 2.0, 2) + pow(col - COLS / 2.0, 2)) / 200.0);
        double uniform = 0.0;
        for (int draw = 0; draw < 12; draw++) {
            state = state * 1664525u + 1013904223u;
            uniform += state / 4294967296.0;
        }
        counts[i] = (uint32_t)fmax(0.0, mean + sqrt(mean) * (uniform - 6.0));
    }
}

static void set_filter(hid_t dcpl)
{
    /* Fields that are not named are 0. */
    const h5zsae_options options = {.bound_kind = H5ZSAE_BOUND_NOISE, .bound = SHARE_OF_NOISE};
    unsigned cd_values[H5ZSAE_MAX_CD_VALUES];
    size_t n_cd_values;
    require(h5zsae_cd_values(&options, 0, cd_values, &n_cd_values));
    ok(H5Pset_filter(dcpl, H5Z_FILTER_SAE, H5Z_FLAG_MANDATORY, n_cd_values, cd_values), "H5Pset_filter");
}

static void write_counts(const char *path, const uint32_t *counts)
{
    const hsize_t dims[3] = {FRAMES, ROWS, COLS}, chunk[3] = {2, ROWS, COLS};
    hid_t dcpl = ok(H5Pcreate(H5P_DATASET_CREATE), "H5Pcreate");
    ok(H5Pset_chunk(dcpl, 3, chunk), "H5Pset_chunk");
    set_filter(dcpl);
    hid_t file = ok(H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), "H5Fcreate");
    hid_t space = ok(H5Screate_simple(3, dims, NULL), "H5Screate_simple");
    hid_t dataset = ok(H5Dcreate2(file, "counts", H5T_STD_U32LE, space, H5P_DEFAULT, dcpl, H5P_DEFAULT), "H5Dcreate2");
    ok(H5Dwrite(dataset, H5T_NATIVE_UINT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, counts), "H5Dwrite");
    /* HDF5 compresses a chunk when it leaves the cache: closing may fail for the filter's reasons. */
    ok(H5Dclose(dataset), "H5Dclose");
    ok(H5Sclose(space), "H5Sclose");
    ok(H5Pclose(dcpl), "H5Pclose");
    ok(H5Fclose(file), "H5Fclose");
}

static hsize_t read_counts(const char *path, uint32_t *counts)
{
    hid_t file = ok(H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), "H5Fopen");
    hid_t dataset = ok(H5Dopen2(file, "counts", H5P_DEFAULT), "H5Dopen2");
    ok(H5Dread(dataset, H5T_NATIVE_UINT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, counts), "H5Dread");
    hsize_t stored_bytes = H5Dget_storage_size(dataset);
    ok(H5Dclose(dataset), "H5Dclose");
    ok(H5Fclose(file), "H5Fclose");
    return stored_bytes;
}

int main(int argc, char **argv)
{
    static uint32_t counts[N_VALUES], decoded[N_VALUES];
    if (argc != 2) {
        fprintf(stderr, "usage: registered FILE\n");
        return EXIT_FAILURE;
    }
    require(h5zsae_register_filter());
    simulate(counts);
    write_counts(argv[1], counts);
    hsize_t stored_bytes = read_counts(argv[1], decoded);
    double largest = 0.0;
    for (int i = 0; i < N_VALUES; i++)
        largest = fmax(largest, fabs((double)decoded[i] - counts[i]) / sqrt(fmax(counts[i], 1.0)));
    printf("%zu bytes in %llu, largest error %.3f of a count's noise\n", sizeof counts,
           (unsigned long long)stored_bytes, largest);
    return largest <= SHARE_OF_NOISE ? EXIT_SUCCESS : EXIT_FAILURE;
}
