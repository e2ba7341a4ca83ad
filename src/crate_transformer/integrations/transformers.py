"""The transformers integration: importing it registers ``model_type="crate"`` with Auto classes and pipelines."""

from dataclasses import asdict, fields
from pathlib import Path

from jaxtyping import Float, Int
from torch import Tensor, nn

from crate_transformer.checkpoints import Provenance
from crate_transformer.checkpoints.native import FAMILIES
from crate_transformer.models import Backbone, Preprocessing, innermost
from crate_transformer.storage import as_record

try:
    from transformers import (
        AutoConfig,
        AutoImageProcessor,
        AutoModel,
        AutoModelForImageClassification,
        PreTrainedConfig,
        PreTrainedModel,
        initialization,
    )
    from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
    from transformers.utils.generic import can_return_tuple

    from crate_transformer.integrations.transformers_pictures import CrateImageProcessor
except ImportError as error:
    raise ImportError(f"transformers cannot be used ({error}): pip install 'crate-transformer[hf]'") from error

_NAMES = {
    "img_size": "image_size",
    "in_chans": "num_channels",
    "embed_dim": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
}
"""Field of our configurations -> its name in transformers; the other names are the same."""


class CrateConfig(PreTrainedConfig):
    """A transformers configuration for any model of this package; the defaults are ``crate_small_patch16_224``.

    Args:
        family: name of the model class, such as ``"CRATE"`` or ``"ViT"``. Options of the family (``step_size``,
            ``mlp_ratio``) and of every backbone (``global_pool``, ``drop_path_rate``) are further keyword arguments.
        preprocessing: the fields of ``Preprocessing``, which belong to the weights.
    """

    model_type = "crate"

    def __init__(
        self,
        family: str = "CRATE",
        image_size: int | list[int] | tuple[int, int] = 224,
        patch_size: int | list[int] | tuple[int, int] = 16,
        num_channels: int = 3,
        hidden_size: int = 576,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        preprocessing: dict | None = None,
        **kwargs: object,
    ) -> None:
        self.family = family
        self.image_size, self.patch_size, self.num_channels = image_size, patch_size, num_channels
        self.hidden_size, self.num_hidden_layers = hidden_size, num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.preprocessing = preprocessing
        super().__init__(**kwargs)

    def build(self, num_classes: int) -> Backbone:
        """A new model with this configuration.

        Raises:
            ValueError: the family is unknown, or the configuration is invalid.
        """
        if self.family not in FAMILIES:
            raise ValueError(f"there is no model family {self.family!r}; choose one of {', '.join(FAMILIES)}")
        model_class, config_class = FAMILIES[self.family]
        given = {field.name: getattr(self, _NAMES.get(field.name, field.name), None) for field in fields(config_class)}
        given = {name: value for name, value in given.items() if value is not None} | {"num_classes": num_classes}
        model = model_class(as_record(given, config_class, f"the configuration of a {self.family}"))
        if self.preprocessing:
            model.preprocessing = as_record(self.preprocessing, Preprocessing, "the configuration's preprocessing")
        return model


class CratePreTrainedModel(PreTrainedModel):
    """The common part of both models: initialisation, and saving with the image processor."""

    config_class = CrateConfig
    base_model_prefix = "crate"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["Block"]  # noqa: RUF012

    def image_processor(self) -> CrateImageProcessor:
        """The image processor for these weights."""
        return CrateImageProcessor.of(getattr(self, "crate", self).backbone.preprocessing)

    def save_pretrained(self, save_directory: str | Path, **kwargs: object) -> None:
        """Save weights, configuration and image processor."""
        super().save_pretrained(save_directory, **kwargs)
        destination = {name: kwargs[name] for name in ("push_to_hub", "repo_id", "token", "private") if name in kwargs}
        self.image_processor().save_pretrained(save_directory, **destination)

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise weights that are missing in a checkpoint, as the family initialises them."""
        if module is getattr(self, "classifier", None):
            super()._init_weights(module)
        elif isinstance(module, Backbone):
            fresh = type(module)(module.config)
            for old, new in ((module.named_parameters, fresh.get_parameter), (module.named_buffers, fresh.get_buffer)):
                for name, tensor in old():
                    initialization.copy_(tensor, new(name).to(tensor))


class CrateModel(CratePreTrainedModel):
    """A backbone without classifier: tokens, and the pooled and normalised feature."""

    def __init__(self, config: CrateConfig, num_classes: int = 0) -> None:
        super().__init__(config)
        self.backbone = config.build(num_classes)
        self.backbone._is_hf_initialized = not any(p.is_meta for p in self.backbone.parameters())
        self.post_init()

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether gradient checkpointing is enabled."""
        return self.backbone.grad_checkpointing

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, enable: bool) -> None:
        self.backbone.set_grad_checkpointing(enable)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Float[Tensor, "batch channels height width"],
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """``last_hidden_state`` is after the final norm; ``hidden_states`` are the embedding and the block outputs,
        before the norm.

        Raises:
            ValueError: attentions are requested from a family without attention maps.
        """
        body = self.backbone
        with_maps = self.config.output_attentions if output_attentions is None else output_attentions
        with_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        z = body.embed(pixel_values.to(self.dtype))
        states, context = [z], body.context(z, *pixel_values.shape[-2:])
        with body.capture_attention(range(len(body.blocks)) if with_maps else []) as maps:
            for layer in range(len(body.blocks)):
                z = body.run_block(layer, z, **context)
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
        self.num_labels = config.num_labels
        self.crate = CrateModel(config, config.num_labels)
        self.classifier, self.crate.backbone.head = self.crate.backbone.head, nn.Identity()
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, "batch"] | Float[Tensor, "batch *classes"] | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> ImageClassifierOutput:
        """Logits, and the loss for ``config.problem_type`` if there are labels."""
        seen = self.crate(pixel_values, output_attentions, output_hidden_states, return_dict=True)
        logits = self.classifier(seen.pooler_output)
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        return ImageClassifierOutput(
            loss=loss, logits=logits, hidden_states=seen.hidden_states, attentions=seen.attentions
        )


def to_transformers(model: nn.Module) -> CratePreTrainedModel:
    """The same weights as a transformers model in evaluation mode; a classifier if the model has classes."""
    model = innermost(model)
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
        **{_NAMES.get(name, name): value for name, value in own.items()},
    )
    converted = (CrateForImageClassification if model.num_classes else CrateModel)(config)
    body = "crate.backbone." if model.num_classes else "backbone."
    converted.load_state_dict(
        {f"classifier{k[4:]}" if k.startswith("head.") else body + k: t for k, t in model.state_dict().items()}
    )
    return converted.to(next(model.parameters())).eval()


def from_transformers(model: CratePreTrainedModel) -> Backbone:
    """The inverse of ``to_transformers``."""
    config, has_head = model.config, isinstance(model, CrateForImageClassification)
    converted = config.build(config.num_labels if has_head else 0)
    state = {k.removeprefix("crate.").removeprefix("backbone."): t for k, t in model.state_dict().items()}
    converted.load_state_dict({k.replace("classifier.", "head.", 1): t for k, t in state.items()})
    names = tuple(config.id2label[index] for index in range(converted.num_classes))
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
