/*
 * H5Z-SAE: error-bounded compression of scientific frames with sparse autoencoders.
 * Made from plugin/src/abi.rs by cbindgen; do not edit.
 *
 * Rules for all functions:
 *
 * NULL       Pointers must not be NULL unless the function's description allows it. A NULL that is not allowed gives
 *            H5ZSAE_INVALID_ARGUMENT and a message that names the argument, and touches nothing.
 * Validity   A pointer that is not NULL must point to what its type and the lengths beside it say. Strings end with
 *            NUL. Inputs are read during the call only and never kept.
 * Ownership  What a function gives through a parameter belongs to the caller: buffers until h5zsae_buffer_free,
 *            models until h5zsae_model_free, each freed once and with no other function. Such parameters are set to
 *            NULL (lengths to 0) before anything can fail. Returned strings and the filter's class belong to the
 *            library.
 * Errors     Functions that can fail return h5zsae_status. h5zsae_last_error gives the sentence.
 * Panics     No fault of the library ends or unwinds the program: it is caught and returned as H5ZSAE_INTERNAL.
 * Threads    All functions may be called from any thread. A buffer belongs to one call at a time.
 *
 * Environment: H5Z_SAE_NUM_THREADS (1 if not set), H5Z_SAE_MODEL_PATH (folders with model files, separated by colons),
 *              H5Z_SAE_DEVICE ("cpu" if not set; as the name for h5zsae_set_device).
 */

#ifndef H5ZSAE_H
#define H5ZSAE_H

#include <stddef.h>
#include <stdint.h>

/**
 * The filter's number for H5Pset_filter. Not registered with The HDF Group: it lies in the range that is left for
 * unregistered use.
 */
#define H5Z_FILTER_SAE 34222

/**
 * Version of this interface. A program compiled against another number than h5zsae_abi_version() returns must not
 * go on. 0 may change with every release; from 1 on the number changes only when a function or a structure does.
 */
#define H5ZSAE_ABI_VERSION 0

/**
 * Version of the layout of cd_values: the first of the filter's parameters.
 */
#define H5ZSAE_CD_VALUES_VERSION 0

/**
 * Most words that h5zsae_cd_values writes.
 */
#define H5ZSAE_MAX_CD_VALUES 9

/**
 * Element class: unsigned integer.
 */
#define H5ZSAE_CLASS_UNSIGNED 0

/**
 * Element class: two's complement integer.
 */
#define H5ZSAE_CLASS_SIGNED 1

/**
 * Element class: IEEE 754 binary16, binary32 or binary64.
 */
#define H5ZSAE_CLASS_FLOAT 2

/**
 * Byte order: least significant byte first.
 */
#define H5ZSAE_ORDER_LITTLE 0

/**
 * Byte order: most significant byte first.
 */
#define H5ZSAE_ORDER_BIG 1

/**
 * Bound: every value comes back bit for bit.
 */
#define H5ZSAE_BOUND_LOSSLESS 0

/**
 * Bound: no value is off by more than the number given.
 */
#define H5ZSAE_BOUND_ABSOLUTE 1

/**
 * Bound: no value is off by more than the number given times the range of the chunk.
 */
#define H5ZSAE_BOUND_RELATIVE 2

/**
 * Bound: no value x is off by more than the number given times the square root of x, or of 1 where x is below 1.
 */
#define H5ZSAE_BOUND_NOISE 3

/**
 * Bound: none. The network's code alone; the error is measured, not promised.
 */
#define H5ZSAE_BOUND_NONE 4

/**
 * Effort: all methods, tried with good sense.
 */
#define H5ZSAE_EFFORT_DEFAULT 0

/**
 * Effort: no network, no search, the fast coder of pixels.
 */
#define H5ZSAE_EFFORT_FAST 1

/**
 * Effort: every variant that the format has.
 */
#define H5ZSAE_EFFORT_BEST 2

/**
 * What a call came to. Numbers are never used again for something else.
 */
typedef enum {
  /**
   * Done.
   */
  H5ZSAE_OK = 0,
  /**
   * The bytes are not a stream or a model, or contradict themselves.
   */
  H5ZSAE_CORRUPT = 1,
  /**
   * The bytes end before the header does. A shorter payload fails the checksum: H5ZSAE_CORRUPT.
   */
  H5ZSAE_TRUNCATED = 2,
  /**
   * Well-formed, but of a version or kind that this library does not know.
   */
  H5ZSAE_UNSUPPORTED = 3,
  /**
   * An argument is NULL or out of range.
   */
  H5ZSAE_INVALID_ARGUMENT = 4,
  /**
   * More memory or work would be needed than the caller allows.
   */
  H5ZSAE_LIMIT_EXCEEDED = 5,
  /**
   * A model is needed that was not found.
   */
  H5ZSAE_MISSING_MODEL = 6,
  /**
   * A file could not be read, or memory not be had.
   */
  H5ZSAE_SYSTEM = 7,
  /**
   * A fault of this library. The process is sound; please report the message.
   */
  H5ZSAE_INTERNAL = 100,
} h5zsae_status;

/**
 * A trained model. Immutable: threads may share it.
 */
typedef struct h5zsae_model h5zsae_model;

/**
 * Type and shape of the elements of a buffer.
 */
typedef struct {
  /**
   * H5ZSAE_CLASS_...
   */
  uint32_t element_class;
  /**
   * Bytes of an element: 1, 2, 4 or 8; 2, 4 or 8 for floats.
   */
  uint32_t element_bytes;
  /**
   * H5ZSAE_ORDER_...
   */
  uint32_t byte_order;
  /**
   * Number of dimensions, 1 to 32.
   */
  uint32_t rank;
  /**
   * The dimensions, slowest first. The last two are rows and columns of a frame.
   */
  const size_t *dims;
} h5zsae_chunk;

/**
 * What is asked of the encoder. All zero: lossless.
 */
typedef struct {
  /**
   * H5ZSAE_BOUND_...
   */
  uint32_t bound_kind;
  /**
   * H5ZSAE_EFFORT_...
   */
  uint32_t effort;
  /**
   * The bound's number; 0 for kinds without one.
   */
  double bound;
  /**
   * 1 if fill_value holds, else 0.
   */
  uint32_t has_fill_value;
  /**
   * 1 if mask_value holds, else 0.
   */
  uint32_t has_mask_value;
  /**
   * Bit pattern of the fill value in the machine's order, zero-extended: comes back exactly, counts in no range.
   */
  uint64_t fill_value;
  /**
   * Bit pattern of the value of masked pixels, likewise.
   */
  uint64_t mask_value;
  /**
   * 1 to let errors cancel out within each block of 8 x 8 pixels: its mean error is then at most 1/16 of the bound. Costs
   * bits; not with H5ZSAE_BOUND_NONE.
   */
  uint32_t unbiased;
  /**
   * 0.
   */
  uint32_t reserved;
} h5zsae_options;

/**
 * What a stream says of itself.
 */
typedef struct {
  /**
   * H5ZSAE_CLASS_...
   */
  uint32_t element_class;
  /**
   * Bytes of an element.
   */
  uint32_t element_bytes;
  /**
   * H5ZSAE_ORDER_...
   */
  uint32_t byte_order;
  /**
   * Number of dimensions, 1 to 32.
   */
  uint32_t rank;
  /**
   * The dimensions, slowest first; those from rank on are 0.
   */
  size_t dims[32];
  /**
   * Bytes of the decoded chunk.
   */
  size_t decoded_bytes;
  /**
   * H5ZSAE_BOUND_...: what was promised.
   */
  uint32_t bound_kind;
  /**
   * The promised bound's number; 0 for kinds without one.
   */
  double bound;
  /**
   * Largest error of the values, measured by the encoder and rounded up.
   */
  double max_abs_err;
  /**
   * The model that decoding needs; 0 if none.
   */
  uint64_t model_id;
} h5zsae_header;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The library's version, such as "0.1.0".
 */
const char *h5zsae_version(void);

/**
 * The H5ZSAE_ABI_VERSION that the library was built with.
 */
uint32_t h5zsae_abi_version(void);

/**
 * The message of the calling thread's last failure, "" before the first. Also set by the filter's callbacks.
 * Belongs to the library and is valid until the next failure in the same thread.
 */
const char *h5zsae_last_error(void);

/**
 * Chooses where networks run from now on, for the filter and all functions of this process. A GPU that cannot be used
 * is no error: the CPU takes over with the same values, and one line on stderr says why.
 *
 * @param name "cpu", "cuda" or "cuda:N" with the number of a GPU, from 0; NULL: what H5Z_SAE_DEVICE says
 */
h5zsae_status h5zsae_set_device(const char *name);

/**
 * Reads a model file.
 *
 * @param path  file name, ends with NUL
 * @param model receives the model, to be freed with h5zsae_model_free
 */
h5zsae_status h5zsae_model_load(const char *path, h5zsae_model **model);

/**
 * Reads a model from the bytes of its file.
 *
 * @param bytes   the file's content; not needed any more after the call
 * @param n_bytes its length
 * @param model   receives the model, to be freed with h5zsae_model_free
 */
h5zsae_status h5zsae_model_parse(const void *bytes, size_t n_bytes, h5zsae_model **model);

/**
 * Finds a model where the filter does: among registered models, the built-in one, and files. HDF5 files that are
 * open are searched by the filter alone, as HDF5 calls it.
 *
 * @param id    the model's id; 0 is the built-in model
 * @param model receives the model, to be freed with h5zsae_model_free
 */
h5zsae_status h5zsae_model_find(uint64_t id,
                                h5zsae_model **model);

/**
 * Makes a model known to the filter in this process, for ever. The handle may be freed afterwards.
 */
h5zsae_status h5zsae_model_register(const h5zsae_model *model);

/**
 * The model's id: the first 64 bits of its file's SHA-256, read as one big-endian number. 0 for NULL.
 */
uint64_t h5zsae_model_id(const h5zsae_model *model);

/**
 * Frees a model. NULL is allowed and does nothing.
 */
void h5zsae_model_free(h5zsae_model *model);

/**
 * The most bytes that a chunk of n_bytes can take when compressed. SIZE_MAX if that is beyond the address space.
 */
size_t h5zsae_compress_bound(size_t n_bytes);

/**
 * Compresses one chunk.
 *
 * @param values       the chunk's elements, row-major
 * @param n_bytes      their length; must be what the chunk's type and shape take
 * @param chunk        type and shape
 * @param options      what is asked; NULL for lossless
 * @param model        the model for the network; NULL codes without one
 * @param stream       receives the stream, to be freed with h5zsae_buffer_free
 * @param stream_bytes receives its length
 */
h5zsae_status h5zsae_compress(const void *values,
                              size_t n_bytes,
                              const h5zsae_chunk *chunk,
                              const h5zsae_options *options,
                              const h5zsae_model *model,
                              void **stream,
                              size_t *stream_bytes);

/**
 * Decompresses one stream.
 *
 * @param stream       the stream; a chunk as H5Dread_chunk returns it is one
 * @param stream_bytes its length
 * @param model        a model to use if the stream names it; others, and all with NULL, are found as the filter does
 * @param max_bytes    most bytes to decode to; 0 for the default of 4 GiB
 * @param values       receives the elements, row-major, in the type of h5zsae_stream_info; to be freed with
 *                     h5zsae_buffer_free
 * @param n_bytes      receives their length
 */
h5zsae_status h5zsae_decompress(const void *stream,
                                size_t stream_bytes,
                                const h5zsae_model *model,
                                size_t max_bytes,
                                void **values,
                                size_t *n_bytes);

/**
 * Reads what a stream says of itself, and checks its checksum.
 *
 * @param stream       the stream
 * @param stream_bytes its length
 * @param info         receives type, shape, bound and model
 */
h5zsae_status h5zsae_stream_info(const void *stream, size_t stream_bytes, h5zsae_header *info);

/**
 * Frees a buffer that this library gave. NULL is allowed and does nothing.
 */
void h5zsae_buffer_free(void *buffer);

/**
 * Makes the filter's parameters, the last two arguments of H5Pset_filter. What the filter would refuse of them
 * without knowing the dataset is refused here.
 *
 * @param options     what is asked; NULL for lossless. Its has_fill_value must be 0: the filter takes the fill value
 *                    that H5Pset_fill_value sets
 * @param model_id    the model for the network, as h5zsae_model_id gives it; 0 for the built-in model
 * @param cd_values   receives the words; must have room for H5ZSAE_MAX_CD_VALUES
 * @param n_cd_values receives their number: 7, or 9 with a mask value
 */
h5zsae_status h5zsae_cd_values(const h5zsae_options *options,
                               uint64_t model_id,
                               unsigned int *cd_values,
                               size_t *n_cd_values);

/**
 * The filter's H5Z_class2_t, for H5Zregister. Belongs to the library and lives for ever.
 */
const void *h5zsae_filter_class(void);

/**
 * Registers the filter with the HDF5 library of this program, so that it needs no plugin path.
 */
h5zsae_status h5zsae_register_filter(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* H5ZSAE_H */
