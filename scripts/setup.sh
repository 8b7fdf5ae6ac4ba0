#!/usr/bin/env bash
# Installs what the demo needs and this machine lacks: Debian's HDF5 and its tools, a compiler, and a Python environment.
# What is there already is left alone. `--tests` adds the clients that are tested, `--bench` what the benchmarks need.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}

# "probe|Debian package": the package is missing where the probe fails.
probes=(
    "command -v cc|build-essential"
    "command -v pkg-config|pkg-config"
    "command -v h5repack && command -v h5dump && command -v h5diff|hdf5-tools"
    "pkg-config --exists hdf5 || command -v h5cc|libhdf5-dev"
    "python3 -c 'import ensurepip, venv'|python3-venv"
)
[ "${1:-}" != --tests ] || probes+=(
    "command -v gfortran|gfortran"
    "command -v nccopy && command -v ncdump|netcdf-bin"
    "pkg-config --exists netcdf|libnetcdf-dev"
    "command -v octave-cli|octave"
    "Rscript -e 'library(hdf5r)'|r-cran-hdf5r"
    "command -v valgrind|valgrind"
    "command -v cmake|cmake"
    "command -v man|man-db"
    "command -v zsh|zsh"
    "command -v fish|fish"
    "command -v mpicc|libopenmpi-dev"
    "command -v mpirun|openmpi-bin"
    "pkg-config --exists hdf5-openmpi|libhdf5-openmpi-dev"
    "ls /usr/lib/llvm-*/lib/libclang.so|libclang-dev"
)

missing_packages() {
    local entry
    for entry in "${probes[@]}"; do
        bash -c "${entry%|*}" >/dev/null 2>&1 </dev/null || printf '%s\n' "${entry##*|}"
    done
}

# Runs a command as root, by sudo where we are not; fails where neither is possible.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

install_packages() {
    local by_hand="install them by hand: apt-get install $*"
    if ! command -v apt-get >/dev/null; then
        echo "setup: missing: $*. This is not Debian or Ubuntu; install their equivalents and run again." >&2
        exit 1
    fi
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        echo "setup: missing: $*. Not root, and sudo is not available without a password; $by_hand" >&2
        exit 1
    fi
    echo "setup: installing from Debian: $*"
    as_root apt-get update -qq </dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null ||
        { echo "setup: apt-get could not install $*; $by_hand" >&2; exit 1; }
}

# With libhdf5-openmpi-dev Debian lets `pkg-config hdf5` mean the parallel HDF5, and so links `sae` and whatever else is
# built on this machine with MPI. Only the tests of MPI want that, and they ask for it by name: what was selected before
# stays, or else the serial HDF5.
selected_hdf5() { { update-alternatives --query hdf5.pc 2>/dev/null || true; } | sed -n 's/^Value: //p'; }

select_hdf5() {
    local serial
    serial=$(pkg-config --variable=pcfiledir hdf5-serial)/hdf5-serial.pc
    as_root update-alternatives --set hdf5.pc "${1:-$serial}" >/dev/null
}

check_python() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "setup: python3 is $(python3 --version 2>&1): demo and tests need 3.11 or newer (Debian 12 has it)" >&2
        exit 1
    }
}

# Installs one requirements file into the environment, unless that very file was installed before.
install_requirements() {
    local file=$1 stamp
    stamp="$venv/installed-$(sha256sum "$file" | cut -c1-16)"
    [ -e "$stamp" ] && return
    echo "setup: installing $file into $venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$file" </dev/null
    touch "$stamp"
}

if ! command -v cargo >/dev/null; then
    echo "setup: cargo not found. Install Rust 1.88 or newer, see https://rustup.rs" >&2
    exit 1
fi
mapfile -t packages < <(missing_packages)
selected=$(selected_hdf5)
[ ${#packages[@]} = 0 ] || install_packages "${packages[@]}"
[[ " ${packages[*]} " != *" libhdf5-openmpi-dev "* ]] || select_hdf5 "$selected"
check_python
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
install_requirements scripts/requirements.txt
[ "${1:-}" != --tests ] || install_requirements tests/requirements.txt
[ "${1:-}" != --bench ] || install_requirements benches/requirements.txt
