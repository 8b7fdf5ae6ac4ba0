/* Stands for an HDF5 with concurrency, as 2.3 may be built: a filter runs on a thread of the library's own while the
 * caller waits with the library's lock, so that any call from there would wait for ever. Here it ends the program.
 *
 * With STATED_VERSION, the library says its version in a text, as all do; else it has to be asked. */
#include "pool_host.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* As in H5Zpublic.h; H5Z_class2_t. */
struct filter_class {
    int version, id;
    unsigned encoder_present, decoder_present;
    const char *name;
    int (*can_apply)(int64_t, int64_t, int64_t);
    int (*set_local)(int64_t, int64_t, int64_t);
    size_t (*filter)(unsigned, size_t, const unsigned *, size_t, size_t *, void **);
};

#ifdef STATED_VERSION
extern const char H5_lib_vers_info_g[];
const char H5_lib_vers_info_g[] = "HDF5 library version: " STATED_VERSION;
#endif

static _Thread_local int is_pool_thread;
static int n_allocations, n_records;

static void called(const char *name)
{
    if (is_pool_thread) {
        fprintf(stderr, "%s was called from a thread of the library's own\n", name);
        abort();
    }
}

/* On the caller's thread every call answers 0: no file is open, no handler is set. */
#define ANSWER(name)       \
    int64_t name(void);    \
    int64_t name(void)     \
    {                      \
        called(#name);     \
        return 0;          \
    }

ANSWER(H5open)
ANSWER(H5Tget_class)
ANSWER(H5Tget_size)
ANSWER(H5Dget_type)
ANSWER(H5Dget_space)
ANSWER(H5Dget_create_plist)
ANSWER(H5Dget_storage_size)
ANSWER(H5Dopen2)
ANSWER(H5Dread)
ANSWER(H5Fget_obj_count)
ANSWER(H5Fget_obj_ids)
ANSWER(H5Fget_name)
ANSWER(H5Fopen)
ANSWER(H5Lget_info)
ANSWER(H5Sget_simple_extent_type)
ANSWER(H5Pget_layout)
ANSWER(H5Pget_external_count)
ANSWER(H5Idec_ref)
ANSWER(H5Iis_valid)
ANSWER(H5Eget_class_name)
ANSWER(H5Eregister_class)
ANSWER(H5Ecreate_msg)
ANSWER(H5Ecreate_stack)
ANSWER(H5Eget_current_stack)
ANSWER(H5Eset_current_stack)
ANSWER(H5Eauto_is_v2)
ANSWER(H5Eget_auto2)
ANSWER(H5Eset_auto2)
ANSWER(H5Eget_auto1)
ANSWER(H5Eset_auto1)

int H5get_libversion(unsigned *major, unsigned *minor, unsigned *release);
int H5get_libversion(unsigned *major, unsigned *minor, unsigned *release)
{
    called("H5get_libversion");
    *major = 2;
    *minor = 3;
    *release = 0;
    return 0;
}

void *H5allocate_memory(size_t n_bytes, unsigned clear);
void *H5allocate_memory(size_t n_bytes, unsigned clear)
{
    called("H5allocate_memory");
    n_allocations++;
    return clear ? calloc(1, n_bytes) : malloc(n_bytes);
}

int H5free_memory(void *block);
int H5free_memory(void *block)
{
    called("H5free_memory");
    free(block);
    return 0;
}

int H5Epush2(int64_t stack, const char *file, const char *function, unsigned line, int64_t class, int64_t major,
             int64_t minor, const char *format, ...);
int H5Epush2(int64_t stack, const char *file, const char *function, unsigned line, int64_t class, int64_t major,
             int64_t minor, const char *format, ...)
{
    va_list rest;
    (void)stack, (void)file, (void)function, (void)line, (void)class, (void)major, (void)minor;
    called("H5Epush2");
    n_records++;
    va_start(rest, format);
    vprintf(format, rest);
    va_end(rest);
    putchar('\n');
    return 0;
}

static void *run_on_pool(void *task)
{
    is_pool_thread = 1;
    pool_host_run(task);
    return NULL;
}

void pool_host_run(struct pool_task *task)
{
    task->n_bytes = task->filter(task->flags, task->n_words, task->words, task->n_bytes, &task->buf_size, &task->buf);
}

void pool_host_filter(const char *plugin, int on_pool, struct pool_task *task)
{
    pthread_t thread;
    void *library = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
    CHECK(library);
    const struct filter_class *(*info)(void);
    void *symbol = dlsym(library, "H5PLget_plugin_info");
    CHECK(symbol);
    memcpy(&info, &symbol, sizeof info);
    task->filter = info()->filter;
    if (on_pool) {
        CHECK(pthread_create(&thread, NULL, run_on_pool, task) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    } else {
        pool_host_run(task);
    }
    printf("%s, %d allocations, %d records\n", task->n_bytes ? "done" : "failed", n_allocations, n_records);
}
