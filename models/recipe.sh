#!/bin/sh
# Makes models/builtin.sae: simulated frames of the broad set's eight particle families, then two trainings.
#
#   models/recipe.sh [FOLDER]     the frames (about 1 GB) are kept in FOLDER, target/recipe by default
#
# It reproduces the model's quality, not its bits: sums of floating-point numbers differ between CPUs and numbers of
# threads, and the last bits of simulated frames between versions of sasmodels. Needs `make build`, and Python with
# benches/requirements.txt. Takes ten minutes for the frames and a quarter of an hour for each of the two trainings, on
# two cores.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-target/recipe}
python=${PYTHON:-python3}
mkdir -p "$folder"
[ -f "$folder/broad.h5" ] || "$python" benches/gen_sas.py "$folder/broad.h5" -n 60000 --set broad --seed 1
sae() { target/release/sae "$@"; }
[ -f "$folder/base.sae" ] || sae train "$folder/broad.h5:/frames" -o "$folder/base.sae" --patch 64x64 \
    --components 256 --hidden 384 --latent 1024 --active 24 --active-start 8 --epochs 169 --seed 1 --hidden-bits 8
# Squared error first, since it keeps more latents in use; then what the codec pays for.
sae train "$folder/broad.h5:/frames" -o models/builtin.sae --init "$folder/base.sae" --mirror --rate-scale 1e-2 \
    --active 24 --active-least 6 --refine 0.25 --learning-rate 1e-3 --steps 30000 --hidden-bits 8 --held-out 0.01 \
    --threads 1
