#!/usr/bin/env bash
# Everything that needs a GPU, in one call: the tests marked gpu, then the bench. Results lie under $OUT, or in runs/gpu.
# Besides torch and triton the machine needs einops, jaxtyping, pytest and tyro; with transformers and timm it also
# measures their ViTs. Without a network, wheels of tyro, docstring-parser and typeguard on PYTHONPATH are enough.
# On an H200 the tests take 65 s and the first bench 4 min; each bench writes its results when it ends.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
out=${OUT:-runs/gpu}
mkdir -p "$out"
crate() { python3 -m crate_transformer.cli "$@"; }

python3 -m pytest -q -m gpu -o addopts= -W default --show-capture=no tests/kernels tests/layers tests/benchmarks 2>&1 | tee "$out/tests.log"
for model in crate_base_patch16_224 crate_large_patch16_224; do
    crate bench "$model" --device cuda --batch 256 --precisions bf16 --compile --repeats 10 --output "$out/$model"
done
crate bench crate_base_patch16_224 --device cuda --batch 256 --precisions float32 --repeats 5 --output "$out/float32"
crate bench crate_micro_patch4_32 --device cuda --precisions bf16 --curves tokens --repeats 10 --output "$out/tokens"
