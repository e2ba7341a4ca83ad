"""The model inside PyTorch's wrappers."""

from torch import nn

from crate_transformer.models.backbone import Backbone
from crate_transformer.models.language import LanguageModel
from crate_transformer.models.segmenter import Segmenter


def innermost(model: nn.Module) -> Backbone | LanguageModel | Segmenter:
    """The model inside ``torch.compile``, ``DataParallel``, ``DistributedDataParallel`` or ``AveragedModel``.

    Raises:
        ValueError: there is no model of this package inside.
    """
    inner = model
    while not isinstance(inner, Backbone | LanguageModel | Segmenter):
        inner = getattr(inner, "_orig_mod", getattr(inner, "module", None))
        if not isinstance(inner, nn.Module):
            raise ValueError(f"{type(model).__name__} is not a model of this package, and not a known wrapper of one")
    return inner
