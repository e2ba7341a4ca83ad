"""Feature methods of a backbone with the interfaces of timm, DINO and DINOv2."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from crate_transformer.layers import capture
from crate_transformer.models.block import Block, attention_of
from crate_transformer.models.config import BackboneConfig
from crate_transformer.models.preprocessing import Preprocessing


class Features(nn.Module):
    """The methods of a ``Backbone`` that return or describe intermediate features, and what they need of it."""

    config: BackboneConfig
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    blocks: Sequence[Block]
    norm: Any
    embed_dim: int
    num_classes: int
    num_prefix_tokens: int
    not_in_logits: tuple[str, ...]
    patch_size: tuple[int, int]

    if TYPE_CHECKING:

        def embed(self, images: Tensor) -> Tensor: ...
        def context(self, z: Tensor, height: int, width: int) -> dict[str, Any]: ...
        def run_block(self, layer: int, z: Tensor, **context: Any) -> Tensor: ...
        def after_blocks(self, z: Tensor) -> Tensor: ...
        def forward_features(self, images: Tensor) -> Tensor: ...
        def patch_grid(self, per_patch: Tensor, height: int, width: int) -> Tensor: ...
        def reset_classifier(self, num_classes: int) -> None: ...

    def forward_intermediates(
        self,
        images: Float[Tensor, "batch channels height width"],
        indices: int | Sequence[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: Literal["NCHW", "NLC"] = "NCHW",
        intermediates_only: bool = False,
    ) -> list | tuple[Tensor, list]:
        """The patch tokens after the chosen blocks, in timm's format.

        Args:
            indices: zero-based blocks, negative ones count from the end; a number ``n`` means the last ``n``; default:
                all.
            return_prefix_tokens: each entry becomes a pair (patches, prefix tokens).
            norm: apply the final norm to each.
            stop_early: do not run blocks after the last chosen one; only with ``intermediates_only``.
            output_fmt: ``"NCHW"`` maps ``(batch, dim, rows, columns)`` or ``"NLC"`` ``(batch, patches, dim)``.
            intermediates_only: do not return the final tokens.

        Raises:
            ValueError: a block or format does not exist, or ``stop_early`` would leave the final tokens undefined.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise ValueError(f"output_fmt is {output_fmt!r}: choose 'NCHW' or 'NLC'")
        if stop_early and not intermediates_only:
            raise ValueError("stop_early does not compute the final tokens: set intermediates_only=True as well")
        chosen = self._chosen_blocks(indices)
        z, seen = self.embed(images), {}
        context = self.context(z, *images.shape[-2:])
        for layer in range(max(chosen) + 1 if stop_early else len(self.blocks)):
            z = self.run_block(layer, z, **context)
            if layer in chosen:
                tokens = self.norm(z) if norm else z
                prefix, patches = tokens[:, : self.num_prefix_tokens], tokens[:, self.num_prefix_tokens :]
                if output_fmt == "NCHW":
                    patches = self.patch_grid(patches.transpose(1, 2), *images.shape[-2:])
                seen[layer] = (patches, prefix) if return_prefix_tokens else patches
        intermediates = [seen[layer] for layer in chosen]
        return intermediates if intermediates_only else (self.after_blocks(z), intermediates)

    def _chosen_blocks(self, indices: int | Sequence[int] | None) -> list[int]:
        depth = len(self.blocks)
        if isinstance(indices, int):
            if not 0 < indices <= depth:
                raise ValueError(f"indices is {indices}, but the model has {depth} blocks")
            indices = range(depth - indices, depth)
        chosen = list(range(depth) if indices is None else indices)
        if not chosen or not all(-depth <= layer < depth for layer in chosen):
            raise ValueError(f"indices are {chosen}, but the model has blocks 0 to {depth - 1}")
        return [layer % depth for layer in chosen]

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what ``forward_intermediates(images, indices)`` does not need; returns the chosen zero-based
        blocks."""
        chosen = self._chosen_blocks(indices)
        rate = self.config.drop_path_rate * max(chosen) / max(1, len(self.blocks) - 1)
        self.blocks = self.blocks[: max(chosen) + 1]
        self.config = replace(self.config, depth=len(self.blocks), drop_path_rate=rate)
        if prune_head:
            self.reset_classifier(0)
            for name in self.not_in_logits:
                delattr(self, name)
        if prune_norm:
            self.norm = nn.Identity()
        return chosen

    def get_intermediate_layers(
        self,
        images: Float[Tensor, "batch channels height width"],
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_class_token: bool = False,
        norm: bool = True,
    ) -> tuple:
        """The normalised patch tokens of the last ``n`` blocks (or of those listed), in DINOv2's format."""
        if return_class_token and not self.num_prefix_tokens:
            raise ValueError(f"{type(self).__name__} has no class token in its blocks: set return_class_token=False")
        outputs = self.forward_intermediates(
            images,
            n,
            return_prefix_tokens=return_class_token,
            norm=norm,
            stop_early=True,
            output_fmt="NCHW" if reshape else "NLC",
            intermediates_only=True,
        )
        return tuple((patches, prefix[:, 0]) for patches, prefix in outputs) if return_class_token else tuple(outputs)

    def get_last_selfattention(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch heads tokens tokens"]:
        """The attention map of the last block (DINO's name); for chosen layers and queries use ``attention_maps``.

        Raises:
            ValueError: the family's attention does not compare tokens.
        """
        with self.capture_attention([len(self.blocks) - 1]) as maps:
            self.forward_features(images)
        return maps[0]

    @contextmanager
    def capture_attention(self, layers: Iterable[int]) -> Iterator[list[Tensor]]:
        """The attention maps of these blocks in the forward passes inside the ``with`` block, with gradients; the list
        is filled when the block ends.

        Raises:
            ValueError: the family's attention does not compare tokens.
        """
        parts, maps = [attention_of(self.blocks[layer]) for layer in layers], []
        if any(part.rows is None for part in parts):
            raise ValueError(f"{type(self).__name__} has no softmax attention in its blocks")
        with ExitStack() as stack:
            points = [[getattr(part, name) for name in (part.rows.query, part.rows.key)] for part in parts]
            captured = [[stack.enter_context(capture([point])) for point in pair] for pair in points]
            yield maps
        maps += [part.rows(*(seen[-1] for seen in pair)) for part, pair in zip(parts, captured, strict=True)]

    @property
    def feature_info(self) -> list[dict[str, object]]:
        """Channels, reduction and module of each block's output."""
        return [
            {"num_chs": self.embed_dim, "reduction": self.patch_size[0], "module": f"blocks.{layer}"}
            for layer in range(len(self.blocks))
        ]

    _timm_config: Mapping[str, object] = {}

    @property
    def pretrained_cfg(self) -> dict[str, object]:
        """Preprocessing and class names of these weights as timm's configuration."""
        return {
            **self._timm_config,
            "input_size": (self.config.in_chans, *self.preprocessing.img_size),
            "mean": self.preprocessing.mean,
            "std": self.preprocessing.std,
            "crop_pct": self.preprocessing.crop_pct,
            "interpolation": self.preprocessing.interpolation,
            "num_classes": self.num_classes,
            "label_names": self.class_names,
            "classifier": "head",
            "first_conv": next((name for name, part in self.named_modules() if isinstance(part, nn.Conv2d)), ()),
        }

    @pretrained_cfg.setter
    def pretrained_cfg(self, words: Mapping[str, Any]) -> None:
        """Set by timm: preprocessing and class names are used, other entries are kept unchanged."""
        size, labels = words.get("input_size"), words.get("label_names")
        known = {name: tuple(words[name]) for name in ("mean", "std") if words.get(name)}
        known |= {name: words[name] for name in ("crop_pct", "interpolation") if words.get(name)}
        known |= {"img_size": tuple(size[1:])} if size else {}
        self.preprocessing = replace(self.preprocessing, **known)
        self.class_names = tuple(labels) if labels and len(labels) == self.num_classes else None
        self._timm_config = dict(words)

    def __prepare_scriptable__(self) -> None:
        """Called by ``torch.jit.script``.

        Raises:
            ValueError: always.
        """
        raise ValueError("TorchScript, which PyTorch deprecates, is not supported: use torch.compile or crate export")

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Regular expressions that assign parameters to layers, for timm's layer-wise learning rates.

        Parameters that match none of them (the head, a decoder) form the last layer.

        Args:
            coarse: all blocks are one layer.
        """
        return {
            "stem": r"^(?:cls|reg|mask)_token|^pos_embed|^patch_embed",
            "blocks": r"^blocks\." if coarse else r"^blocks\.(\d+)\.",
            "after_blocks": [(r"^class_layers\.(\d+)\.", None), (r"^norm\.", (99999,))],
        }
