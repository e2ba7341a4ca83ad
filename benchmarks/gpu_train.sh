#!/usr/bin/env bash
# Train the bundled models on a GPU in the time given (seconds, default 480), files in $OUT or runs/gpu_train. Before it,
# where the data lies: python benchmarks/prepare_gpu_data.py ../shared/data .gl/photographs.npz
# After it, there again: python benchmarks/gpu_unpack.py ../shared/data/tiny_imagenet_100 runs/gpu FILES
# The machine needs torch 2.9 or newer, einops, jaxtyping, numpy, pillow with WebP, and safetensors;
# msgspec and pycocotools are taken from .gl: pip download --no-deps --only-binary :all: --python-version 3.12 --dest .gl msgspec pycocotools
set -uo pipefail
cd "$(dirname "$0")/.."
for wheel in .gl/*.whl; do [ -e "$wheel" ] && python3 -m zipfile -e "$wheel" .gl/packages; done
export PYTHONPATH=src:.gl/packages${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
out=${OUT:-runs/gpu_train}
mkdir -p "$out"
python3 benchmarks/gpu_train.py .gl/photographs.npz "$out" --seconds "${1:-480}" "${@:2}" 2>&1 | tee "$out/train.log"
