#!/bin/sh
# Checks what the plugin needs and shows: check_symbols.sh path/to/libh5zsae.so
# It must load into any process: no libhdf5 among its libraries, no HDF5 function left to the linker. What it exports is
# tests/symbols.txt, name by name: the plugin protocol of HDF5 (H5PLget_*), that of hdf5plugin (init_filter), and the C
# library (h5zsae_*). Its soname bears the version of the C interface.
#
# The names carry no versions of their own: rustc hands the linker an anonymous version script, beside which no named
# one may stand. Programs are kept from a library of another interface by the soname instead.
set -eu
export LC_ALL=C

library=$1
tests=$(dirname "$0")
failed=0

complain() {
    echo "check_symbols: $1" >&2
    failed=1
}

[ -f "$library" ] || { echo "check_symbols: no file $library" >&2; exit 1; }

needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
flags=$(readelf -d "$library" | sed -n 's/.*(FLAGS_1)//p')
soname=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
abi_version=$(sed -n 's/^#define H5ZSAE_ABI_VERSION //p' "$tests/../include/h5zsae.h")
undefined=$(nm -D --undefined-only "$library" | awk '{ sub(/@.*/, "", $NF); print $NF }')
exported=$(nm -D --defined-only "$library" | awk '{ sub(/@.*/, "", $NF); print $NF }' | sort)

case "$needed" in *hdf5*) complain "it needs libhdf5: $needed" ;; esac
case "$flags" in *NODELETE*) ;; *) complain "it may be unloaded: the flag NODELETE is missing" ;; esac
[ "$soname" = "libh5zsae.so.$abi_version" ] || complain "its soname is $soname: libh5zsae.so.$abi_version is expected"
hdf5_symbols=$(echo "$undefined" | grep '^H5' || true)
[ -z "$hdf5_symbols" ] || complain "HDF5 symbols left to the linker: $hdf5_symbols"
if ! changes=$(echo "$exported" | diff "$tests/symbols.txt" -); then
    complain "its symbols are not those of tests/symbols.txt (< is missing, > is new).
Add what is meant to be new. What goes or changes needs another H5ZSAE_ABI_VERSION, from 1 on.
$changes"
fi

[ "$failed" -eq 0 ] && echo "check_symbols: $soname, $(wc -l <"$tests/symbols.txt") exported symbols, needs" $needed
exit "$failed"
