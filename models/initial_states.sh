#!/bin/sh
# Makes src/initial.bin, what the coder's contexts and weights begin with, from simulated frames. It is part of the
# stream format: a new one makes all streams unreadable that were written before.
#
#   models/initial_states.sh BROAD.h5 NARROW.h5 NARROW.sae
#
# BROAD.h5 and NARROW.h5 come from benches/gen_sas.py (seed 1), NARROW.sae from the README's training. Frames are coded
# by a build without initial states. Takes a quarter of an hour on one core.
set -eu
cd "$(dirname "$0")/.."
folder=target/initial
python=${PYTHON:-.venv/bin/python}
mkdir -p "$folder"
"$python" models/initial_frames.py "$folder" "$1" "$2"
: >src/initial.bin
cargo build --release --locked -p h5z-sae-train --features statistics --example initial_states --target-dir "$folder"
frames() { echo "$folder/$1.f32,64x64,$2${3:+,$3}"; }
"$folder/release/examples/initial_states" src/initial.bin \
    "$(frames broad 1e-2)" "$(frames broad 1e-3)" "$(frames broad 1e-4)" "$(frames narrow 1e-3)" \
    "$(frames noisy 1e-3)" "$(frames noisy 2e-3)" "$(frames noisy 5e-4)" "$(frames counts 0)" \
    "$(frames smooth 1e-3)" "$(frames rough 1e-3)" "$(frames rough 1e-2)" \
    "$(frames few-broad 1e-2 models/builtin.sae)" "$(frames few-broad 1e-3 models/builtin.sae)" \
    "$(frames narrow 1e-2 "$3")" "$(frames narrow 1e-3 "$3")" "$(frames narrow 1e-4 "$3")"
