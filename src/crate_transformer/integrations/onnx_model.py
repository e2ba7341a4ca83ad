"""Classifiers in ONNX files, run with ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crate_transformer.storage import read_file


def open_onnx(path: Path) -> tuple[Callable[[Tensor], Tensor], tuple[int, int] | None, int]:
    """A function from images ``(batch, 3, height, width)`` to logits, the fixed image size if there is one, and the
    number of classes.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: the file is not a classifier with batch size 1 or a dynamic batch size.
        OSError: it cannot be read.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"{path} needs onnxruntime: pip install 'crate-transformer[onnx]'") from error
    content = read_file(path)
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common type
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read as an ONNX model: {reason}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    given, classes = inputs[0].shape, outputs[0].shape[-1]
    if len(inputs) != 1 or len(given) != 4 or given[1] not in (3, None) or not isinstance(classes, int):
        raise ValueError(f"{path} is not a classifier: it must map images (batch, 3, height, width) to logits")
    if isinstance(given[0], int) and given[0] != 1:
        raise ValueError(f"{path} has the fixed batch size {given[0]}: export it with batch size 1 or a dynamic one")
    at_once = 1 if given[0] == 1 else None
    size = (given[2], given[3]) if isinstance(given[2], int) and isinstance(given[3], int) else None

    def logits(images: Tensor) -> Tensor:
        parts = images.float().cpu().split(at_once or len(images))
        answers: Any = [session.run([outputs[0].name], {inputs[0].name: part.numpy()})[0] for part in parts]
        return torch.from_numpy(np.concatenate(answers)).to(images.device)

    return logits, size, classes
