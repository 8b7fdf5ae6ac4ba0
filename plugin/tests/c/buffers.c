/* The C library without HDF5: round trip, sizes, misuse, two threads. Compiles as C99 and as C++. */
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "h5zsae.h"

#define ROWS 40
#define COLS 50
#define N (ROWS * COLS)

static const size_t DIMS[2] = {ROWS, COLS};

static h5zsae_chunk f32_chunk(void)
{
    h5zsae_chunk chunk;
    memset(&chunk, 0, sizeof chunk);
    chunk.element_class = H5ZSAE_CLASS_FLOAT;
    chunk.element_bytes = 4;
    chunk.byte_order = H5ZSAE_ORDER_LITTLE;
    chunk.rank = 2;
    chunk.dims = DIMS;
    return chunk;
}

static h5zsae_options absolute(double bound)
{
    h5zsae_options options;
    memset(&options, 0, sizeof options);
    options.bound_kind = H5ZSAE_BOUND_ABSOLUTE;
    options.bound = bound;
    return options;
}

static int last_error_has(const char *text)
{
    return strstr(h5zsae_last_error(), text) != NULL;
}

static void round_trip(float offset)
{
    float values[N];
    h5zsae_chunk chunk = f32_chunk();
    h5zsae_options options = absolute(0.01);
    h5zsae_header header;
    void *stream, *back;
    size_t stream_bytes, back_bytes;
    for (int i = 0; i < N; i++)
        values[i] = offset + (float)(i % COLS) * 0.125f;
    CHECK(h5zsae_compress(values, sizeof values, &chunk, &options, NULL, &stream, &stream_bytes) == H5ZSAE_OK);
    CHECK(stream_bytes <= h5zsae_compress_bound(sizeof values));
    CHECK(h5zsae_stream_info(stream, stream_bytes, &header) == H5ZSAE_OK);
    CHECK(header.rank == 2 && header.dims[0] == ROWS && header.dims[1] == COLS && header.dims[2] == 0);
    CHECK(header.element_class == H5ZSAE_CLASS_FLOAT && header.element_bytes == 4 && header.byte_order == 0);
    CHECK(header.decoded_bytes == sizeof values && header.max_abs_err <= 0.01);
    CHECK(h5zsae_decompress(stream, stream_bytes, NULL, 0, &back, &back_bytes) == H5ZSAE_OK);
    CHECK(back_bytes == sizeof values);
    for (int i = 0; i < N; i++) {
        float difference = ((float *)back)[i] - values[i];
        CHECK(difference <= 0.01f && difference >= -0.01f);
    }
    h5zsae_buffer_free(back);
    h5zsae_buffer_free(stream);
}

static void rejects_null(void)
{
    float values[N] = {0};
    h5zsae_chunk chunk = f32_chunk();
    h5zsae_header header;
    h5zsae_model *model = NULL;
    void *out = values;
    size_t n = 7;
    CHECK(h5zsae_compress(NULL, sizeof values, &chunk, NULL, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(out == NULL && n == 0 && last_error_has("h5zsae_compress: values is NULL"));
    CHECK(h5zsae_compress(values, sizeof values, NULL, NULL, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("chunk is NULL"));
    CHECK(h5zsae_compress(values, sizeof values, &chunk, NULL, NULL, NULL, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("stream is NULL"));
    CHECK(h5zsae_compress(values, sizeof values, &chunk, NULL, NULL, &out, NULL) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("stream_bytes is NULL"));
    chunk.dims = NULL;
    CHECK(h5zsae_compress(values, sizeof values, &chunk, NULL, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("chunk->dims is NULL"));
    CHECK(h5zsae_decompress(NULL, 3, NULL, 0, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(h5zsae_decompress(values, 3, NULL, 0, NULL, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(h5zsae_stream_info(NULL, 3, &header) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(h5zsae_stream_info(values, 3, NULL) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(h5zsae_model_load(NULL, &model) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(h5zsae_model_load("x.sae", NULL) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(h5zsae_model_parse(NULL, 3, &model) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(h5zsae_model_find(1, NULL) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(h5zsae_model_register(NULL) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(h5zsae_model_id(NULL) == 0);
    h5zsae_model_free(NULL);
    h5zsae_buffer_free(NULL);
}

static void rejects_nonsense(void)
{
    float values[N] = {0};
    h5zsae_chunk chunk = f32_chunk();
    h5zsae_options options = absolute(-1.0);
    h5zsae_model *model = NULL;
    void *out;
    size_t n;
    CHECK(h5zsae_compress(values, 12, &chunk, NULL, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(h5zsae_compress(values, sizeof values, &chunk, &options, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("absolute bound of -1"));
    options = absolute(1.0);
    options.effort = 9;
    CHECK(h5zsae_compress(values, sizeof values, &chunk, &options, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("effort is 9"));
    options = absolute(1.0);
    options.unbiased = 2;
    CHECK(h5zsae_compress(values, sizeof values, &chunk, &options, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("unbiased is 2"));
    options = absolute(1.0);
    options.bound_kind = H5ZSAE_BOUND_NONE;
    options.bound = 0.0;
    options.unbiased = 1;
    CHECK(h5zsae_compress(values, sizeof values, &chunk, &options, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("unbiased"));
    options = absolute(-0.5);
    options.bound_kind = H5ZSAE_BOUND_NOISE;
    CHECK(h5zsae_compress(values, sizeof values, &chunk, &options, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("noise bound of -0.5"));
    options = absolute(1.0);
    options.has_fill_value = 2;
    CHECK(h5zsae_compress(values, sizeof values, &chunk, &options, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    chunk.element_class = 7;
    CHECK(h5zsae_compress(values, sizeof values, &chunk, NULL, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("element_class is 7"));
    chunk = f32_chunk();
    chunk.rank = 33;
    CHECK(h5zsae_compress(values, sizeof values, &chunk, NULL, NULL, &out, &n) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(h5zsae_decompress(values, sizeof values, NULL, 0, &out, &n) == H5ZSAE_CORRUPT);
    CHECK(h5zsae_decompress(values, 0, NULL, 0, &out, &n) == H5ZSAE_TRUNCATED);
    CHECK(h5zsae_model_load("no-such-file.sae", &model) == H5ZSAE_SYSTEM && model == NULL);
    CHECK(last_error_has("no-such-file.sae"));
    CHECK(h5zsae_model_parse(values, sizeof values, &model) != H5ZSAE_OK && model == NULL);
    CHECK(h5zsae_model_find(0x1234, &model) == H5ZSAE_MISSING_MODEL && model == NULL);
    CHECK(last_error_has("model 0000000000001234 was not found"));
    CHECK(h5zsae_register_filter() == H5ZSAE_UNSUPPORTED && last_error_has("no HDF5 library"));
}

/* The words are those of docs/cd-values.md. */
static void makes_cd_values(void)
{
    unsigned words[H5ZSAE_MAX_CD_VALUES + 1] = {0};
    size_t n_words = 99;
    h5zsae_options options = absolute(0.001);
    words[7] = 77;
    CHECK(h5zsae_cd_values(&options, UINT64_C(0x0123456789abcdef), words, &n_words) == H5ZSAE_OK && n_words == 7);
    CHECK(words[0] == H5ZSAE_CD_VALUES_VERSION && words[1] == H5ZSAE_BOUND_ABSOLUTE);
    CHECK(words[2] == 3539053052u && words[3] == 1062232653u);
    CHECK(words[4] == 0x89abcdefu && words[5] == 0x01234567u && words[6] == 0 && words[7] == 77);
    options.has_mask_value = 1;
    options.mask_value = UINT64_C(0x0000000100000002);
    options.effort = H5ZSAE_EFFORT_BEST;
    options.unbiased = 1;
    words[9] = 99;
    CHECK(h5zsae_cd_values(&options, 0, words, &n_words) == H5ZSAE_OK && n_words == H5ZSAE_MAX_CD_VALUES);
    CHECK(words[4] == 0 && words[5] == 0 && words[6] == 6 && words[7] == 2 && words[8] == 1 && words[9] == 99);
    CHECK(h5zsae_cd_values(NULL, 0, words, &n_words) == H5ZSAE_OK && n_words == 7);
    CHECK(words[1] == H5ZSAE_BOUND_LOSSLESS && words[2] == 0 && words[3] == 0);
}

static void rejects_options_that_are_no_cd_values(void)
{
    unsigned words[H5ZSAE_MAX_CD_VALUES];
    size_t n_words = 99;
    h5zsae_options options = absolute(0.001);
    CHECK(h5zsae_cd_values(&options, 0, NULL, &n_words) == H5ZSAE_INVALID_ARGUMENT && n_words == 0);
    CHECK(last_error_has("h5zsae_cd_values: cd_values is NULL"));
    CHECK(h5zsae_cd_values(&options, 0, words, NULL) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("n_cd_values is NULL"));
    options.has_fill_value = 1;
    CHECK(h5zsae_cd_values(&options, 0, words, &n_words) == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("has_fill_value is 1: allowed are 0 (the filter takes the fill value of the dataset)"));
    options = absolute(0.0);
    options.bound_kind = H5ZSAE_BOUND_NONE;
    options.unbiased = 1;
    CHECK(h5zsae_cd_values(&options, 0, words, &n_words) == H5ZSAE_INVALID_ARGUMENT && n_words == 0);
    CHECK(last_error_has("bit 2 (unbiased)"));
}

static void limits_decoding(void)
{
    float values[N] = {0};
    h5zsae_chunk chunk = f32_chunk();
    void *stream, *back;
    size_t stream_bytes, back_bytes;
    CHECK(h5zsae_compress(values, sizeof values, &chunk, NULL, NULL, &stream, &stream_bytes) == H5ZSAE_OK);
    CHECK(h5zsae_decompress(stream, stream_bytes, NULL, sizeof values - 1, &back, &back_bytes)
          == H5ZSAE_LIMIT_EXCEEDED);
    CHECK(back == NULL && back_bytes == 0);
    ((unsigned char *)stream)[stream_bytes - 1] ^= 1;
    CHECK(h5zsae_decompress(stream, stream_bytes, NULL, 0, &back, &back_bytes) == H5ZSAE_CORRUPT);
    CHECK(h5zsae_decompress(stream, stream_bytes - 1, NULL, 0, &back, &back_bytes) == H5ZSAE_CORRUPT);
    CHECK(h5zsae_decompress(stream, 7, NULL, 0, &back, &back_bytes) == H5ZSAE_TRUNCATED);
    h5zsae_buffer_free(stream);
}

static void holds_compress_bound(void)
{
    unsigned char noise[64];
    const size_t dims[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                             1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 64};
    h5zsae_chunk chunk = f32_chunk();
    void *stream;
    size_t stream_bytes;
    for (int i = 0; i < 64; i++)
        noise[i] = (unsigned char)(i * 167 + 13);
    chunk.element_class = H5ZSAE_CLASS_UNSIGNED;
    chunk.element_bytes = 1;
    chunk.rank = 32;
    chunk.dims = dims;
    CHECK(h5zsae_compress(noise, sizeof noise, &chunk, NULL, NULL, &stream, &stream_bytes) == H5ZSAE_OK);
    CHECK(stream_bytes <= h5zsae_compress_bound(sizeof noise));
    CHECK(h5zsae_compress_bound((size_t)-1) == (size_t)-1);
    h5zsae_buffer_free(stream);
}

static void *work(void *argument)
{
    const char *mine = (const char *)argument;
    h5zsae_model *model;
    CHECK(h5zsae_model_load(mine, &model) == H5ZSAE_SYSTEM);
    for (int i = 0; i < 20; i++) {
        round_trip((float)i);
        CHECK(last_error_has(mine));
    }
    return NULL;
}

/* No GPU library lies beside the plugin here: the CPU works, and says so on stderr where there is a network to run. */
static void chooses_devices(void)
{
    CHECK(h5zsae_set_device("gpu") == H5ZSAE_INVALID_ARGUMENT);
    CHECK(last_error_has("\"gpu\": expected cpu, cuda or cuda:N"));
    CHECK(h5zsae_set_device("cuda:1") == H5ZSAE_OK);
    round_trip(3.0f);
    CHECK(h5zsae_set_device("cpu") == H5ZSAE_OK && h5zsae_set_device(NULL) == H5ZSAE_OK);
}

int main(void)
{
    pthread_t threads[2];
    static char names[2][16] = {"thread-a.sae", "thread-b.sae"};
    CHECK(h5zsae_abi_version() == H5ZSAE_ABI_VERSION);
    CHECK(strlen(h5zsae_version()) > 0 && h5zsae_last_error()[0] == '\0');
    CHECK(h5zsae_filter_class() != NULL);
    round_trip(1.0f);
    rejects_null();
    rejects_nonsense();
    makes_cd_values();
    rejects_options_that_are_no_cd_values();
    chooses_devices();
    limits_decoding();
    holds_compress_bound();
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, work, names[i]) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    puts("buffers done");
    return 0;
}
