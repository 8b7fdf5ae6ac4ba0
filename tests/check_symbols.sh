#!/bin/sh
# Checks what the plugin needs and shows: check_symbols.sh path/to/libh5zsae.so
# It must load into any process: no libhdf5 among its libraries, no HDF5 function left to the linker, nothing exported
# but the plugin protocol of HDF5 (H5PLget_*), that of hdf5plugin (init_filter), and the C library (h5zsae_*).
set -eu

library=$1
failed=0

complain() {
    echo "check_symbols: $1" >&2
    failed=1
}

[ -f "$library" ] || { echo "check_symbols: no file $library" >&2; exit 1; }

needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
flags=$(readelf -d "$library" | sed -n 's/.*(FLAGS_1)//p')
undefined=$(nm -D --undefined-only "$library" | awk '{ sub(/@.*/, "", $NF); print $NF }')
exported=$(nm -D --defined-only "$library" | awk '{ sub(/@.*/, "", $NF); print $NF }')

case "$needed" in *hdf5*) complain "it needs libhdf5: $needed" ;; esac
case "$flags" in *NODELETE*) ;; *) complain "it may be unloaded: the flag NODELETE is missing" ;; esac
hdf5_symbols=$(echo "$undefined" | grep '^H5' || true)
[ -z "$hdf5_symbols" ] || complain "HDF5 symbols left to the linker: $hdf5_symbols"
strangers=$(echo "$exported" | grep -v -e '^H5PLget_plugin_\(type\|info\)$' -e '^h5zsae_' -e '^init_filter$' || true)
[ -z "$strangers" ] || complain "exported but not ours: $strangers"
for symbol in H5PLget_plugin_type H5PLget_plugin_info init_filter h5zsae_version h5zsae_compress h5zsae_decompress; do
    echo "$exported" | grep -q "^$symbol\$" || complain "not exported: $symbol"
done

[ "$failed" -eq 0 ] && echo "check_symbols: $(echo "$exported" | wc -l) exported symbols, needs" $needed
exit "$failed"
