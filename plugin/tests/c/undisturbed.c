/* Reads /smooth, or fails to, with a handler of its own set, of the interface that is named, and checks that handler,
 * error stack and identifiers are afterwards what they were. Prints "read" or "failed", and the error stack.
 * Usage: undisturbed FILE v1|v2 */
#include <hdf5.h>
#include <string.h>

#include "check.h"
#include "records.h"

#define N (16 * 64 * 64)

static float values[N];
static int n_calls;

static herr_t on_error_v1(void *data)
{
    (void)data;
    n_calls++;
    return 0;
}

static herr_t on_error_v2(hid_t stack, void *data)
{
    (void)stack;
    return on_error_v1(data);
}

static const H5I_type_t kinds[] = {H5I_FILE,      H5I_GROUP,       H5I_DATATYPE,   H5I_DATASPACE,
                                   H5I_DATASET,   H5I_GENPROP_LST, H5I_ERROR_STACK};
#define N_KINDS (sizeof kinds / sizeof *kinds)

static void count_ids(hsize_t *counts)
{
    for (size_t i = 0; i < N_KINDS; i++)
        CHECK(H5Inmembers(kinds[i], &counts[i]) >= 0);
}

static void check_handler(int v1)
{
    void *argument = NULL;
    if (v1) {
        H5E_auto1_t found = NULL;
        CHECK(H5Eget_auto1(&found, &argument) >= 0 && found == on_error_v1);
    } else {
        H5E_auto2_t found = NULL;
        CHECK(H5Eget_auto2(H5E_DEFAULT, &found, &argument) >= 0 && found == on_error_v2);
    }
    CHECK(argument == &n_calls);
}

int main(int argc, char **argv)
{
    hsize_t before[N_KINDS], after[N_KINDS];
    CHECK(argc == 3);
    int v1 = strcmp(argv[2], "v1") == 0;
    if (v1)
        CHECK(H5Eset_auto1(on_error_v1, &n_calls) >= 0);
    else
        CHECK(H5Eset_auto2(H5E_DEFAULT, on_error_v2, &n_calls) >= 0);
    hid_t file = H5Fopen(argv[1], H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, "smooth", H5P_DEFAULT);
    CHECK(dataset >= 0);
    /* The first failure of all would register our error class. */
    count_ids(before);
    int status = H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    CHECK(n_calls == (status < 0));
    puts(status < 0 ? "failed" : "read");
    hid_t stack = H5Eget_current_stack();
    CHECK(stack >= 0 && (H5Eget_num(stack) > 0) == (status < 0));
    CHECK(H5Eset_current_stack(stack) >= 0);
    print_records();
    count_ids(after);
    for (size_t i = 0; i < N_KINDS; i++)
        CHECK(after[i] == before[i]);
    check_handler(v1);
    return 0;
}
