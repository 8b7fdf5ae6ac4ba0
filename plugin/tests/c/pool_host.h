/* A library that runs a filter as HDF5 does. */
#ifndef POOL_HOST_H
#define POOL_HOST_H

#include <stddef.h>

/* Arguments of H5Z_func_t, and the function. */
struct pool_task {
    size_t (*filter)(unsigned, size_t, const unsigned *, size_t, size_t *, void **);
    unsigned flags;
    size_t n_words;
    const unsigned *words;
    size_t n_bytes, buf_size;
    void *buf;
};

/* Runs the plugin's filter, on a thread of this library's own or on the caller's, and prints what came of it. */
void pool_host_filter(const char *plugin, int on_pool, struct pool_task *task);

/* The library's own step from its thread to the filter. */
void pool_host_run(struct pool_task *task);

#endif
