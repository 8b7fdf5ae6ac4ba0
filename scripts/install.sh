#!/usr/bin/env bash
# Installs what `make build` made, or removes it again: install.sh install|uninstall, with the variables
#
#   PREFIX   where it will be used, such as /usr/local
#   DESTDIR  put before every path that is written, to fill a package; may be empty
#   LIBDIR   folder of the library; PREFIX/lib if empty
#   RELEASE  folder of the built library and tool; only to install
#
# Every file, and every folder that was not there before, is named in PREFIX/share/h5zsae/installed. By this record
# uninstall removes these and nothing else; install removes with it what an earlier version has left.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
root=${DESTDIR:-}
prefix=${PREFIX:?}
lib=${LIBDIR:-$prefix/lib}
share=$prefix/share
record=$share/h5zsae/installed

for folder in "$prefix" "$lib"; do
    case $folder in
        /*) ;;
        *) echo "install: PREFIX and LIBDIR must begin with /, found $folder" >&2; exit 1 ;;
    esac
done

# Folders down to $1 that do not exist, the outermost first. The root of all is there.
missing_folders() {
    [ -d "$root$1" ] && return
    missing_folders "$(dirname "$1")"
    printf '%s\n' "$1"
}

make_folder() {
    missing_folders "$1" >>"$root$record"
    mkdir -p "$root$1"
}

# put MODE FILE TARGET
put() {
    make_folder "$(dirname "$3")"
    printf '%s\n' "$3" >>"$root$record"
    install -m "$1" "$2" "$root$3"
}

# put_link TEXT TARGET
put_link() {
    make_folder "$(dirname "$2")"
    printf '%s\n' "$2" >>"$root$record"
    ln -sfn "$1" "$root$2"
}

begin_record() {
    local folders
    mkdir -p "$root/"
    folders=$(missing_folders "$(dirname "$record")")
    mkdir -p "$(dirname "$root$record")"
    printf '%s\n' ${folders:+"$folders"} "$record" >"$root$record"
}

# Pages, completions and descriptions of the package, made in $1. $2 is the version of the C interface.
make_files() {
    local version shell name
    "$RELEASE/sae" man "$1"
    for shell in bash zsh fish; do
        "$RELEASE/sae" completions "$shell" >"$1/completions.$shell"
    done
    version=$("$RELEASE/sae" --version)
    for name in h5zsae.pc h5zsae-config.cmake h5zsae-config-version.cmake; do
        sed -e "s|@VERSION@|${version#sae }|" -e "s|@ABI_VERSION@|$2|" \
            -e "s|@POINTER_BYTES@|$(($(getconf LONG_BIT) / 8))|" \
            -e "s|@PREFIX_FROM_PC@|$(realpath -m --relative-to="$lib/pkgconfig" "$prefix")|" \
            -e "s|@PREFIX_FROM_CMAKE@|$(realpath -m --relative-to="$lib/cmake/h5zsae" "$prefix")|" \
            "packaging/$name.in" >"$1/$name"
    done
}

remove() {
    local entries i path
    mapfile -t entries <"$root$record"
    for ((i = ${#entries[@]} - 1; i >= 0; i--)); do
        path=$root${entries[i]}
        if [ -d "$path" ] && [ ! -L "$path" ]; then
            rmdir --ignore-fail-on-non-empty "$path"
        else
            rm -f "$path"
        fi
    done
}

install_all() {
    local made soname built page
    for built in libh5zsae.so sae; do
        if [ ! -e "$RELEASE/$built" ]; then
            echo "install: $RELEASE/$built is missing: run \`make build\` first" >&2
            exit 1
        fi
    done
    made=$(mktemp -d)
    # shellcheck disable=SC2064 # The folder of now.
    trap "rm -rf '$made'" EXIT
    soname=$(sed -n 's/^#define H5ZSAE_ABI_VERSION /libh5zsae.so./p' include/h5zsae.h)
    make_files "$made" "${soname#libh5zsae.so.}"
    [ ! -e "$root$record" ] || remove
    begin_record
    put 755 "$RELEASE/sae" "$prefix/bin/sae"
    put 755 "$RELEASE/libh5zsae.so" "$lib/$soname"
    put_link "$soname" "$lib/libh5zsae.so"
    # HDF5 opens every library in this folder: one name is enough.
    put_link "../../$soname" "$lib/hdf5/plugin/libh5zsae.so"
    # Made by `make cuda` where there are GPUs. HDF5 opens no folder inside its plugin folder.
    if [ -e "$RELEASE/h5zsae/libh5zsae_cuda.so" ]; then
        put 755 "$RELEASE/h5zsae/libh5zsae_cuda.so" "$lib/h5zsae/libh5zsae_cuda.so"
    fi
    put 644 include/h5zsae.h "$prefix/include/h5zsae.h"
    put 644 include/h5zsae.F90 "$prefix/include/h5zsae.F90"
    put 644 "$made/h5zsae.pc" "$lib/pkgconfig/h5zsae.pc"
    put 644 "$made/h5zsae-config.cmake" "$lib/cmake/h5zsae/h5zsae-config.cmake"
    put 644 "$made/h5zsae-config-version.cmake" "$lib/cmake/h5zsae/h5zsae-config-version.cmake"
    put 644 "$made/completions.bash" "$share/bash-completion/completions/sae"
    put 644 "$made/completions.zsh" "$share/zsh/site-functions/_sae"
    put 644 "$made/completions.fish" "$share/fish/vendor_completions.d/sae.fish"
    for page in "$made"/*.1; do
        put 644 "$page" "$share/man/man1/${page##*/}"
    done
    echo "installed into $root$prefix; HDF5 finds the filter with HDF5_PLUGIN_PATH=$lib/hdf5/plugin"
}

uninstall_all() {
    if [ ! -e "$root$record" ]; then
        echo "uninstall: no file $root$record: nothing was installed with PREFIX=$prefix and DESTDIR=$root" >&2
        exit 1
    fi
    remove
    echo "removed from $root$prefix"
}

case ${1:-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) echo "usage: install.sh install|uninstall" >&2; exit 2 ;;
esac
