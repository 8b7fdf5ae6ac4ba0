#!/usr/bin/env bash
# Builds libh5zsae_cuda.so, the network on NVIDIA GPUs, with the compiler of NVCC or else one from PyPI. Needs no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${TARGET:-target}
folder=$target/release/h5zsae
environment=.cache/cuda
# Turing to Blackwell, or those of CUDA_ARCHITECTURES. The last is also there as PTX, from which drivers compile for
# GPUs that come later.
read -ra architectures <<<"${CUDA_ARCHITECTURES:-75 80 86 90 100 120}"
newest=${architectures[-1]}

# Installs the compiler, unless these very versions were installed before, and prints its folder.
install_nvcc() {
    local stamp
    stamp=$environment/installed-$(sha256sum cuda/requirements.txt | cut -c1-16)
    if [ ! -e "$stamp" ]; then
        echo "cuda: installing NVIDIA's compiler into $environment (300 MB)" >&2
        python3 -m venv "$environment"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r cuda/requirements.txt </dev/null
        touch "$stamp"
    fi
    "$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib") + "/nvidia/cu13")'
}

options=(-std=c++17 -O3 -fmad=false -cudart static -shared -Werror all-warnings
    -Xcompiler -fPIC,-fvisibility=hidden,-pthread -Xlinker --exclude-libs=ALL)
for architecture in "${architectures[@]}"; do
    options+=(-gencode "arch=compute_$architecture,code=sm_$architecture")
done
options+=(-gencode "arch=compute_$newest,code=compute_$newest")
if [ -n "${NVCC:-}" ]; then
    nvcc=$NVCC
else
    toolkit=$(install_nvcc)
    nvcc=$toolkit/bin/nvcc
    options+=(-L "$toolkit/lib")
fi

mkdir -p "$folder"
# Under another name until it is complete.
"$nvcc" "${options[@]}" --threads 2 -o "$folder/incomplete" cuda/kernels/library.cu
mv "$folder/incomplete" "$folder/libh5zsae_cuda.so"
echo "cuda: $folder/libh5zsae_cuda.so, for sm_${architectures[*]} and as PTX"
