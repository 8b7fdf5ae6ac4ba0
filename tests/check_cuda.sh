#!/bin/sh
# What `make cuda` built, as a program meets it: check_cuda.sh path/to/release. With a GPU and its driver it is used;
# without, one line says so, and the values are those of the CPU.
set -eu

release=$(cd "$1" && pwd)
sae=$release/sae
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

complain() {
    echo "check_cuda: $1" >&2
    exit 1
}

[ -f "$release/h5zsae/libh5zsae_cuda.so" ] || complain "no file $release/h5zsae/libh5zsae_cuda.so"
exported=$(nm -D --defined-only "$release/h5zsae/libh5zsae_cuda.so" | grep -c ' T h5zsae_cuda_')
[ "$exported" -eq 15 ] || complain "$exported functions exported: 15 expected"

"$sae" synth "$folder/in.h5" -n 32 --seed 3 >"$folder/log"
"$sae" repack "$folder/in.h5" "$folder/cpu.h5" --abs 0.001 --device cpu >"$folder/log" 2>&1
"$sae" repack "$folder/in.h5" "$folder/cuda.h5" --abs 0.001 --device cuda >"$folder/log" 2>"$folder/complaints"
"$sae" verify "$folder/in.h5" "$folder/cuda.h5" --device cpu >"$folder/log"
lines=$(wc -l <"$folder/complaints")
if [ "$lines" -eq 0 ]; then
    echo "check_cuda: frames were written on a GPU, and the CPU finds their bound kept"
    exit 0
fi
cat "$folder/complaints"
[ "$lines" -eq 1 ] || complain "$lines lines on stderr: one expected"
grep -q 'GPU cuda:0 is not used' "$folder/complaints" || complain "the line does not say that the GPU is not used"
HDF5_PLUGIN_PATH=$release h5diff "$folder/cpu.h5" "$folder/cuda.h5" ||
    complain "without a GPU other values were written"
echo "check_cuda: no GPU could be used, and the CPU wrote the same values"
