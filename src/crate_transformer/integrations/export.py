"""Export to torch.export programs and ONNX files, with dynamic batch and image sizes."""

import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from crate_transformer.models import Backbone, VisionModel
from crate_transformer.storage import write_file

LARGEST_GRID = 256  # patches per side


def export_program(model: VisionModel, *, dynamic: bool = True) -> ExportedProgram:
    """The forward pass, images ``(batch, channels, height, width)`` to logits (of a segmenter, of every pixel), as a
    torch.export program.

    Args:
        dynamic: height and width may be any multiple of the patch size, up to 256 patches per side; otherwise they are
            ``model.preprocessing.img_size``. The batch size is always dynamic.

    Raises:
        ValueError: the image size of the model cannot change, or PyTorch cannot export the model.
    """
    backbone = model if isinstance(model, Backbone) else model.backbone
    if dynamic and not backbone.config.dynamic_img_size:
        raise ValueError("this model has a fixed image size (dynamic_img_size is off): export with --no-dynamic")
    rows, columns = backbone.grid_size(*model.preprocessing.img_size)
    if dynamic and min(rows, columns) < 2:
        raise ValueError(f"images of {rows} x {columns} patches cannot have a dynamic size: export with --no-dynamic")
    height, width = model.patch_size
    shapes = {0: Dim("batch", min=1, max=2**16)}
    if dynamic:
        shapes |= {2: height * Dim("rows", min=2, max=LARGEST_GRID), 3: width * Dim("columns", min=2, max=LARGEST_GRID)}
        rows, columns = rows + 2, columns + 1  # a generic example: neither native nor square
    images = torch.zeros(3, backbone.config.in_chans, rows * height, columns * width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's exporter uses deprecated functions of PyTorch
        try:  # not strict is the default of later versions than 2.6, in which strict means one batch and one size
            return torch.export.export(model.eval(), (images,), dynamic_shapes=(shapes,), strict=False)
        except Exception as error:  # PyTorch's exporter may raise anything
            raise ValueError(f"PyTorch cannot export this {type(model).__name__}: {_first_line(error)}") from error


def program_content(program: ExportedProgram) -> bytes:
    """The content of a ``.pt2`` file of torch.export."""
    stream = io.BytesIO()  # PyTorch aborts the process if it cannot write a file itself
    torch.export.save(program, stream)
    return stream.getvalue()


def export_onnx(program: ExportedProgram, file: Path) -> None:
    """Write a program as one ONNX file with input ``images`` and output ``logits``.

    Raises:
        ImportError: the extra ``onnx`` is not installed.
        OSError: the file cannot be written.
    """
    write_file(file, onnx_content(program))


def onnx_content(program: ExportedProgram) -> bytes:
    """The content of the file that ``export_onnx`` writes."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError("ONNX export needs additional packages: pip install 'crate-transformer[onnx]'") from error
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns about every missing torchvision operator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            exported = torch.onnx.export(
                program, dynamo=True, input_names=["images"], output_names=["logits"], verbose=False
            )
        except Exception as error:  # PyTorch's exporter may raise anything
            raise ValueError(f"PyTorch cannot export this model to ONNX: {_first_line(error)}") from error
    assert exported is not None  # as only without dynamo
    return exported.model_proto.SerializeToString()


def check_export(exported: Path | bytes, model: VisionModel, *, dynamic: bool = True) -> float:
    """The largest difference between the logits of an exported file and of ``model``, on random images of two sizes.

    Args:
        exported: the file, or its content.

    Raises:
        ImportError: it is an ONNX file and onnxruntime is not installed.
        ValueError: ONNX Runtime cannot run it, or the logits differ by more than 1e-4 of the largest one, and by more
            than 1e-4.
    """
    backbone = model if isinstance(model, Backbone) else model.backbone
    height, width = model.preprocessing.img_size
    sizes = [(2, height, width)]
    if dynamic:
        sizes.append((1, height + model.patch_size[0], width + 2 * model.patch_size[1]))
    content = exported if isinstance(exported, bytes) else exported.read_bytes()
    is_program = content.startswith(b"PK")  # a zip file
    forward = torch.export.load(io.BytesIO(content)).module() if is_program else _onnx_forward(content)
    generator, differences = torch.Generator().manual_seed(0), []
    for batch, *size in sizes:
        images = torch.randn(batch, backbone.config.in_chans, *size, generator=generator)
        with torch.no_grad():
            expected, found = model(images), forward(images)
        differences.append((expected - found).abs().max().item())
        if not differences[-1] <= 1e-4 * max(1.0, expected.abs().max().item()):
            raise ValueError(f"the logits of the exported model differ by {differences[-1]:.1e} from PyTorch's")
    return max(differences)


def _onnx_forward(content: bytes) -> Callable[[torch.Tensor], torch.Tensor]:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("checking the export needs onnxruntime: pip install 'crate-transformer[onnx]'") from error
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        raise ValueError(f"ONNX Runtime cannot run the exported model: {_first_line(error)}") from error
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
