"""Triton for the type checker: it is installed beside PyTorch for CUDA alone, and its decorators change the types."""

from typing import Any

def __getattr__(name: str) -> Any: ...
