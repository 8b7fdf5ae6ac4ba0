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

/* Bits of an identifier that count its kind's identifiers up; those above are the kind. */
#define NUMBER_BITS 56

/* Valid identifiers of the kind of `newest`, which is given back. */
static int count_kind(hid_t newest)
{
    int count = 0;
    CHECK(newest >= 0);
    for (hid_t id = newest >> NUMBER_BITS << NUMBER_BITS; id < newest; id++)
        count += H5Iis_valid(id) > 0;
    CHECK(H5Idec_ref(newest) >= 0);
    return count;
}

#define N_KINDS 4

static void count_ids(int *counts)
{
    counts[0] = (int)H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL);
    counts[1] = count_kind(H5Screate(H5S_SCALAR));
    counts[2] = count_kind(H5Pcreate(H5P_FILE_ACCESS));
    counts[3] = count_kind(H5Ecreate_stack());
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
    int before[N_KINDS], after[N_KINDS];
    CHECK(argc == 3);
    int v1 = strcmp(argv[2], "v1") == 0;
    if (v1)
        CHECK(H5Eset_auto1(on_error_v1, &n_calls) >= 0);
    else
        CHECK(H5Eset_auto2(H5E_DEFAULT, on_error_v2, &n_calls) >= 0);
    hid_t file = H5Fopen(argv[1], H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, "smooth", H5P_DEFAULT);
    CHECK(dataset >= 0);
    count_ids(before);
    int status = H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    CHECK(n_calls == (status < 0));
    puts(status < 0 ? "failed" : "read");
    hid_t stack = H5Eget_current_stack();
    CHECK(stack >= 0 && (H5Eget_num(stack) > 0) == (status < 0));
    CHECK(H5Eset_current_stack(stack) >= 0);
    print_records();
    count_ids(after);
    for (int i = 0; i < N_KINDS; i++)
        CHECK(after[i] == before[i]);
    check_handler(v1);
    return 0;
}
