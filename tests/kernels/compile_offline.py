"""Compile every kernel for an H100 or H200, without one, and print what it asks of the chip, one JSON object per line.

Arguments: widths of heads, 64 unless given.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from crate_transformer.kernels import norm_linear, shared_attention

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
IN_FLOAT32 = ("lse", "delta")
IN_16_BITS = ("w", "mixed", "gradient", "on_w", "x", "weight", "bias", "y")
ANY_NUMBER = ("heads", "tokens", "num_rows")


def compile_for_hopper(kernel, *, num_warps: int = 4, num_stages: int = 3, **constants) -> dict:
    """As a launch on bfloat16 does it where widths, strides and addresses are multiples of 16."""
    signature = {name: "*bf16" if name in IN_16_BITS else "i32" for name in kernel.arg_names}
    signature |= dict.fromkeys(set(IN_FLOAT32) & set(signature), "*fp32")
    signature |= dict.fromkeys({"eps"} & set(signature), "fp32") | dict.fromkeys(constants, "constexpr")
    even = [i for i, (name, kind) in enumerate(signature.items()) if kind not in ("constexpr", "fp32")]
    even = {(i,): [["tt.divisibility", 16]] for i in even if kernel.arg_names[i] not in ANY_NUMBER}
    options = {"num_warps": num_warps, "num_stages": num_stages}
    source = ASTSource(kernel, signature, constants, even)
    binary = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    usage, code = (dump(binary.asm["cubin"], what) for what in ("--dump-resource-usage", "-sass"))
    return {
        "kernel": kernel.fn.__name__,
        **{name: size for name, size in constants.items() if size},
        **options,
        "registers": int(re.search(r"REG:(\d+)", usage)[1]),
        "stack_bytes": int(re.search(r"STACK:(\d+)", usage)[1]),
        "spills": len(re.findall(r"\b(?:LDL|STL)\b", code)),
        "shared_bytes": binary.metadata.shared,
        "wgmma": len(re.findall(r"\bHGMMA", code)),
    }


def dump(binary: bytes, what: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(binary)
        return subprocess.run([TOOLS / "cuobjdump", what, file], capture_output=True, text=True, check=True).stdout


def main(head_dims: list[int]) -> None:
    ours, bf16 = shared_attention, torch.bfloat16
    for head_dim in head_dims:
        width = {"HEAD_DIM": head_dim, "DIMS": max(16, triton.next_power_of_2(head_dim))}
        for kernel, tiles in (
            (ours.forward_kernel, ours.forward_tiles(head_dim, bf16)),
            (ours.backward_kernel, ours.backward_tiles(head_dim, bf16)),
            (ours.delta_kernel, {"ROWS": 32}),
        ):
            print(json.dumps(compile_for_hopper(kernel, **width, **tiles)), flush=True)
    folded = {"norm_weight": None, "norm_bias": None, "RELU": True}
    for tiles in norm_linear.CHOICES:
        print(json.dumps(compile_for_hopper(norm_linear.norm_linear_kernel, **folded, **tiles)), flush=True)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [64])
