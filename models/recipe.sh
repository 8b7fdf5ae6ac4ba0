#!/bin/sh
# Makes models/builtin.sae: simulated frames of the broad set's eight particle families, then a training.
#
#   models/recipe.sh [FOLDER]     the frames (about 1 GB) are kept in FOLDER, target/recipe by default
#
# It reproduces the model's quality, not its bits: sums of floating-point numbers differ between CPUs and numbers of
# threads, and the last bits of simulated frames between versions of sasmodels. Needs `make build`, and Python with
# benches/requirements.txt. Takes ten minutes for the frames and a quarter of an hour for the training, on two cores.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-target/recipe}
python=${PYTHON:-python3}
mkdir -p "$folder"
[ -f "$folder/broad.h5" ] || "$python" benches/gen_sas.py "$folder/broad.h5" -n 60000 --set broad --seed 1
target/release/sae train "$folder/broad.h5:/frames" -o models/builtin.sae --patch 64x64 \
    --components 256 --hidden 384 --latent 1024 --active 24 --active-start 8 --epochs 169 --seed 1 --hidden-bits 8
