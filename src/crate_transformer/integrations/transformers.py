"""The transformers integration: importing it registers ``model_type="crate"`` with Auto classes and pipelines."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from os import PathLike
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from crate_transformer.checkpoints import Provenance
from crate_transformer.integrations.torchvision import import_torchvision
from crate_transformer.layers import capture
from crate_transformer.models import Backbone, attention_of, innermost

try:
    import_torchvision()
    from transformers import (
        AutoConfig,
        AutoImageProcessor,
        AutoModel,
        AutoModelForImageClassification,
        PreTrainedModel,
        initialization,
    )
    from transformers.modeling_layers import GradientCheckpointingLayer
    from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
    from transformers.utils.generic import can_return_tuple

    from crate_transformer.integrations.transformers_config import NAMES, CrateConfig
    from crate_transformer.integrations.transformers_pictures import CrateImageProcessor
except ImportError as error:
    raise ImportError(f"transformers cannot be used ({error}): pip install 'crate-transformer[hf]'") from error


class CratePreTrainedModel(PreTrainedModel):
    """The common part of both models: initialisation, and saving with the image processor."""

    config: CrateConfig
    config_class = CrateConfig
    base_model_prefix = "crate"
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["Block"]  # noqa: RUF012

    @property
    def _body(self) -> Backbone:
        raise NotImplementedError

    def get_input_embeddings(self) -> nn.Module:
        """The patch embedding."""
        return self._body.patch_embed

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the patch embedding."""
        self._body.patch_embed = value

    def image_processor(self) -> CrateImageProcessor:
        """The image processor for these weights."""
        return CrateImageProcessor.of(self._body.preprocessing)

    def save_pretrained(self, save_directory: str | PathLike, *args: Any, **kwargs: Any) -> None:
        """Save weights, configuration and image processor."""
        super().save_pretrained(save_directory, *args, **kwargs)
        destination = {name: kwargs[name] for name in ("push_to_hub", "repo_id", "token", "private") if name in kwargs}
        self.image_processor().save_pretrained(save_directory, **destination)

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise weights that are missing in a checkpoint, as the family initialises them."""
        if module is getattr(self, "classifier", None):
            super()._init_weights(module)
        elif isinstance(module, Backbone):
            fresh = type(module)(module.config)  # pyright: ignore[reportCallIssue] -- a family needs no more
            for old, new in ((module.named_parameters, fresh.get_parameter), (module.named_buffers, fresh.get_buffer)):
                for name, tensor in old():
                    initialization.copy_(tensor, new(name).to(tensor))


class CrateLayer(GradientCheckpointingLayer):
    """One block, which transformers may run again in the backward pass; the backbone has the weights."""

    def forward(
        self, z: Float[Tensor, "batch tokens dim"], run_block: Callable[..., Tensor], index: int, **context: object
    ) -> Float[Tensor, "batch tokens dim"]:
        return run_block(index, z, **context)


class CrateModel(CratePreTrainedModel):
    """A backbone without classifier: tokens, and the pooled and normalised feature.

    With ``attn_implementation="eager"`` attention maps are computed explicitly, and ``attentions`` are these maps;
    with ``"sdpa"``, the default, PyTorch's fused kernel is used where it is faster.
    """

    def __init__(self, config: CrateConfig, num_classes: int = 0) -> None:
        super().__init__(config)
        self.backbone = config.build(num_classes)
        initialised = not any(p.is_meta for p in self.backbone.parameters())
        self.backbone._is_hf_initialized = initialised  # pyright: ignore[reportArgumentType] -- transformers' own mark
        self.layers = nn.ModuleList(CrateLayer() for _ in self.backbone.blocks)
        self.post_init()

    @property
    def _body(self) -> Backbone:
        return self.backbone

    def _attentions(self, wanted: bool) -> AbstractContextManager[list[Tensor]]:
        """The attention maps of the forward pass inside the ``with`` block, if wanted."""
        eager, parts = self.config._attn_implementation == "eager", [attention_of(b) for b in self.backbone.blocks]
        softmax = [part.attention for part in parts if hasattr(part, "attention")]
        for point in softmax:
            point.explicit = eager
        if wanted and eager and len(softmax) == len(parts):
            return capture(softmax)
        return self.backbone.capture_attention(range(len(parts)) if wanted else [])

    @can_return_tuple
    def forward(
        self,
        pixel_values: Float[Tensor, "batch channels height width"],
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = True,
    ) -> BaseModelOutputWithPooling:
        """``last_hidden_state`` is after the final norm; ``hidden_states`` are the embedding and the block outputs,
        before the norm.

        Args:
            interpolate_pos_encoding: accept images of other sizes than ``config.image_size``.

        Raises:
            ValueError: attentions are requested from a family without attention maps, or images have another size.
        """
        body = self.backbone
        height, width = pixel_values.shape[-2:]
        if not interpolate_pos_encoding and (height, width) != body.img_size:
            raise ValueError(f"images of {height} x {width} pixels need interpolate_pos_encoding=True")
        with_maps = self.config.output_attentions if output_attentions is None else output_attentions
        with_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        z = body.embed(pixel_values.to(self.dtype))
        states, context = [z], body.context(z, height, width)
        with self._attentions(bool(with_maps)) as maps:
            for index, layer in enumerate(self.layers):
                z = layer(z, body.run_block, index, **context)
                states = [*states, z] if with_states else []
        z = body.after_blocks(z)
        return BaseModelOutputWithPooling(
            last_hidden_state=body.norm(z),
            pooler_output=body.forward_head(z, pre_logits=True),
            hidden_states=tuple(states) if with_states else None,
            attentions=tuple(maps) if with_maps else None,
        )


class CrateForImageClassification(CratePreTrainedModel):
    """A backbone with a classifier."""

    def __init__(self, config: CrateConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels or 0
        self.crate = CrateModel(config, self.num_labels)
        self.classifier, self.crate.backbone.head = self.crate.backbone.head, nn.Identity()
        self.post_init()

    @property
    def _body(self) -> Backbone:
        return self.crate.backbone

    @can_return_tuple
    def forward(
        self,
        pixel_values: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, "batch"] | Float[Tensor, "batch *classes"] | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = True,
    ) -> ImageClassifierOutput:
        """Logits, and the loss for ``config.problem_type`` if there are labels."""
        seen = self.crate(
            pixel_values, output_attentions, output_hidden_states, interpolate_pos_encoding, return_dict=True
        )
        logits = self.classifier(seen.pooler_output)
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        return ImageClassifierOutput(
            loss=loss, logits=logits, hidden_states=seen.hidden_states, attentions=seen.attentions
        )


def to_transformers(model: nn.Module) -> CratePreTrainedModel:
    """The same weights as a transformers model in evaluation mode; a classifier if the model has classes.

    Raises:
        ValueError: it is no vision model, or it is folded.
    """
    model = innermost(model)
    if not isinstance(model, Backbone):
        raise ValueError(f"{type(model).__name__} cannot become a model of transformers: give a vision model")
    if model.folded:
        raise ValueError("a folded model is for inference only: convert the original model")
    own = asdict(model.config)
    own.pop("num_classes")
    names = model.class_names or [f"LABEL_{index}" for index in range(model.num_classes)]
    config = CrateConfig(
        family=type(model).__name__,
        preprocessing=asdict(model.preprocessing),
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
        problem_type=None if model.exclusive_classes else "multi_label_classification",
        **{NAMES.get(name, name): value for name, value in own.items()},
    )
    converted = (CrateForImageClassification if model.num_classes else CrateModel)(config)
    body = "crate.backbone." if model.num_classes else "backbone."
    converted.load_state_dict(
        {f"classifier{k[4:]}" if k.startswith("head.") else body + k: t for k, t in model.state_dict().items()}
    )
    nn.Module.to(converted, next(model.parameters()))
    return converted.eval()


def from_transformers(model: CratePreTrainedModel) -> Backbone:
    """The inverse of ``to_transformers``."""
    config = model.config
    converted = config.build(model.num_labels if isinstance(model, CrateForImageClassification) else 0)
    state = {k.removeprefix("crate.").removeprefix("backbone."): t for k, t in model.state_dict().items()}
    converted.load_state_dict({k.replace("classifier.", "head.", 1): t for k, t in state.items()})
    labels: dict[Any, str] = {**(config.id2label or {})}
    names = tuple(labels[index] for index in range(converted.num_classes))
    if names and names != tuple(f"LABEL_{index}" for index in range(len(names))):
        converted.class_names = names
    converted.exclusive_classes = config.problem_type != "multi_label_classification"
    converted.provenance = Provenance(
        source=config.name_or_path or type(model).__name__, format="transformers", family=config.family
    )
    return converted.to(next(model.parameters())).eval()


AutoConfig.register("crate", CrateConfig, exist_ok=True)
AutoModel.register(CrateConfig, CrateModel, exist_ok=True)
AutoModelForImageClassification.register(CrateConfig, CrateForImageClassification, exist_ok=True)
AutoImageProcessor.register(CrateConfig, image_processor_classes={"pil": CrateImageProcessor}, exist_ok=True)
