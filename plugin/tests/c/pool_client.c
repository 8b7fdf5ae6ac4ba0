/* Lets pool_host run the filter over the bytes of a file.
 * Usage: pool_client PLUGIN pool|caller FLAGS IN OUT WORD... */
#include <string.h>

#include "check.h"
#include "pool_host.h"

#define MAX_BYTES (1 << 20)

int main(int argc, char **argv)
{
    unsigned words[32];
    struct pool_task task = {0};
    CHECK(argc >= 6 && argc - 6 <= 32);
    for (int i = 6; i < argc; i++)
        words[i - 6] = (unsigned)strtoul(argv[i], NULL, 0);
    FILE *in = fopen(argv[4], "rb");
    char *block = malloc(MAX_BYTES);
    CHECK(in && block);
    task.n_bytes = fread(block, 1, MAX_BYTES, in);
    fclose(in);
    /* No larger than its content, so that values do not fit where their stream was. */
    task.buf_size = task.n_bytes;
    task.buf = realloc(block, task.buf_size);
    task.flags = (unsigned)strtoul(argv[3], NULL, 0);
    task.words = words;
    task.n_words = (size_t)(argc - 6);
    pool_host_filter(argv[1], strcmp(argv[2], "pool") == 0, &task);
    FILE *out = fopen(argv[5], "wb");
    CHECK(out && fwrite(task.buf, 1, task.n_bytes, out) == task.n_bytes && fclose(out) == 0);
    free(task.buf);
    return 0;
}
