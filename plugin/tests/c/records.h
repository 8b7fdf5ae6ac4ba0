/* Prints HDF5's error stack, one line a record: the record's error class, a bar, its description. */
#ifndef RECORDS_H
#define RECORDS_H

#include <hdf5.h>
#include <stdio.h>

static herr_t print_record(unsigned depth, const H5E_error2_t *record, void *unused)
{
    char name[64] = "?";
    (void)depth;
    (void)unused;
    H5Eget_class_name(record->cls_id, name, sizeof name);
    printf("%s|%s\n", name, record->desc);
    return 0;
}

static void print_records(void)
{
    hid_t stack = H5Eget_current_stack();
    H5Ewalk2(stack, H5E_WALK_UPWARD, print_record, NULL);
    H5Eclose_stack(stack);
}

#endif
