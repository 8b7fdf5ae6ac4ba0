/* Compresses a stack of frames in memory and decompresses it, without HDF5.
 *
 * cc -std=c99 buffers.c $(pkg-config --cflags --libs h5zsae) -lm -o buffers */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <h5zsae.h>

enum { FRAMES = 4, ROWS = 32, COLS = 32, N_VALUES = FRAMES * ROWS * COLS };

static const double BOUND = 1e-3;

/* Rings about the centre, which grow from frame to frame. */
static void simulate(float *values)
{
    for (int i = 0; i < N_VALUES; i++) {
        int frame = i / (ROWS * COLS), row = i / COLS % ROWS, col = i % COLS;
        double radius = sqrt(pow(row - ROWS / 2.0, 2) + pow(col - COLS / 2.0, 2));
        values[i] = (float)(exp(-radius / 12.0) * (1.0 + cos(radius * 0.9 / (1.0 + 0.02 * frame))));
    }
}

static int check(h5zsae_status status)
{
    if (status != H5ZSAE_OK)
        fprintf(stderr, "buffers: %s (status %d)\n", h5zsae_last_error(), (int)status);
    return status == H5ZSAE_OK;
}

static double largest_error(const float *values, const float *decoded)
{
    double largest = 0.0;
    for (int i = 0; i < N_VALUES; i++)
        largest = fmax(largest, fabs((double)decoded[i] - (double)values[i]));
    return largest;
}

/* Decompresses the stream, whose header says what it holds, and compares. */
static int decompress_and_compare(const void *stream, size_t stream_bytes, const float *values)
{
    h5zsae_header header;
    void *decoded;
    size_t decoded_bytes;
    if (!check(h5zsae_stream_info(stream, stream_bytes, &header)))
        return 0;
    if (!check(h5zsae_decompress(stream, stream_bytes, NULL, 0, &decoded, &decoded_bytes)))
        return 0;
    double error = largest_error(values, decoded);
    printf("%zu bytes in %zu, largest error %.6f (at most %.6f, says the header)\n", decoded_bytes, stream_bytes,
           error, header.max_abs_err);
    h5zsae_buffer_free(decoded);
    return error <= BOUND;
}

static int compress_and_compare(const float *values, const h5zsae_model *model)
{
    const size_t dims[3] = {FRAMES, ROWS, COLS};
    /* Fields that are not named are 0. */
    const h5zsae_chunk chunk = {.element_class = H5ZSAE_CLASS_FLOAT, .element_bytes = sizeof *values,
                                .byte_order = H5ZSAE_ORDER_LITTLE, .rank = 3, .dims = dims};
    const h5zsae_options options = {.bound_kind = H5ZSAE_BOUND_ABSOLUTE, .bound = BOUND};
    void *stream;
    size_t stream_bytes;
    if (!check(h5zsae_compress(values, N_VALUES * sizeof *values, &chunk, &options, model, &stream, &stream_bytes)))
        return 0;
    int kept = decompress_and_compare(stream, stream_bytes, values);
    h5zsae_buffer_free(stream);
    return kept;
}

int main(void)
{
    if (h5zsae_abi_version() != H5ZSAE_ABI_VERSION) {
        fprintf(stderr, "buffers: compiled for another version of libh5zsae than %s\n", h5zsae_version());
        return EXIT_FAILURE;
    }
    static float values[N_VALUES];
    simulate(values);
    h5zsae_model *model;
    if (!check(h5zsae_model_find(0, &model)))
        return EXIT_FAILURE;
    int kept = compress_and_compare(values, model);
    h5zsae_model_free(model);
    return kept ? EXIT_SUCCESS : EXIT_FAILURE;
}
