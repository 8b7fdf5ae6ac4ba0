/* Where HDF5 enters the filter.
 *
 * These functions are C for one reason: __builtin_return_address(0) in the function that HDF5 itself calls is an
 * address inside that HDF5 library, and so tells which one it is. A process may hold several (h5py and netCDF4 bring
 * one each), and each must be answered through its own functions. Everything else is in Rust.
 */
#include <stddef.h>
#include <stdint.h>

/* As hid_t, herr_t and htri_t of HDF5 1.10 and later; no header of HDF5 is needed to build this file. */
typedef int64_t h5_id;
typedef int h5_result;

struct h5zsae_handlers {
    h5_result (*can_apply)(const void *caller, h5_id list, h5_id type, h5_id space);
    h5_result (*set_local)(const void *caller, h5_id list, h5_id type, h5_id space);
    size_t (*filter)(const void *caller, unsigned flags, size_t n_words, const unsigned *words, size_t n_bytes,
                     size_t *buf_size, void **buf);
};

static const struct h5zsae_handlers *handlers;

/* Called by Rust, with the same argument each time, before it hands out the addresses of the functions below. */
void h5zsae_entry_init(const struct h5zsae_handlers *rust_handlers)
{
    handlers = rust_handlers;
}

h5_result h5zsae_entry_can_apply(h5_id list, h5_id type, h5_id space)
{
    return handlers->can_apply(__builtin_return_address(0), list, type, space);
}

h5_result h5zsae_entry_set_local(h5_id list, h5_id type, h5_id space)
{
    return handlers->set_local(__builtin_return_address(0), list, type, space);
}

size_t h5zsae_entry_filter(unsigned flags, size_t n_words, const unsigned *words, size_t n_bytes, size_t *buf_size,
                           void **buf)
{
    return handlers->filter(__builtin_return_address(0), flags, n_words, words, n_bytes, buf_size, buf);
}
