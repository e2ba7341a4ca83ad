"""The timm integration: importing this module registers every model and all bundled weights with ``timm.create_model``.

Names are the same as in this package (``crate_small_patch16_224``, ``crate_mini_patch8_64.tiny_imagenet_100``). timm's
own names, such as ``vit_small_patch16_224``, remain timm's models.
"""

import inspect
from collections.abc import Callable
from dataclasses import asdict, fields

import torch
from torch import nn

from crate_transformer.checkpoints import create_model, list_pretrained
from crate_transformer.checkpoints.native import CONFIG, WEIGHTS
from crate_transformer.checkpoints.pretrained import BUNDLED
from crate_transformer.integrations.torchvision import import_torchvision
from crate_transformer.models import MODELS, Preprocessing, backbone
from crate_transformer.storage import read_json

try:
    import_torchvision()
    from timm.models import (  # pyright: ignore[reportMissingImports]
        build_model_with_cfg,
        generate_default_cfgs,
        is_model,
        register_model,
        register_notrace_function,
        register_notrace_module,
        resolve_pretrained_cfg,
    )
except ImportError as error:
    raise ImportError(f"timm cannot be used ({error}): pip install 'crate-transformer[timm]'") from error


def _timm_config(in_chans: int, num_classes: int, preprocessing: dict, **more: object) -> dict[str, object]:
    """timm's configuration of the inputs of weights."""
    height, width = preprocessing["img_size"]
    words = {name: preprocessing[name] for name in ("crop_pct", "interpolation", "mean", "std")}
    return {"input_size": (in_chans, height, width), "num_classes": num_classes, "classifier": "head", **words, **more}


def _bundled_config(full: str) -> dict[str, object]:
    described = read_json(BUNDLED / full / CONFIG)
    config, labels = described["config"], described["class_names"]
    return _timm_config(
        config["in_chans"],
        config["num_classes"],
        described["preprocessing"],
        file=str(BUNDLED / full / WEIGHTS),
        label_names=labels and tuple(labels),
    )


NAMES = tuple(name for name in MODELS if not is_model(name))
"""The models that this module registers with timm."""
default_cfgs = generate_default_cfgs(
    {full: _bundled_config(full) for full in list_pretrained() if full.partition(".")[0] in NAMES}
    | {
        name: _timm_config(config.in_chans, config.num_classes, asdict(Preprocessing(img_size=config.image_shape)))
        for name, config in ((name, MODELS[name][1]) for name in NAMES)
    }
)


_BUILDING = inspect.signature(build_model_with_cfg).parameters.keys() - {"kwargs"}
"""Options that timm passes on but handles itself, such as ``cache_dir``."""


def _entry(name: str) -> Callable[..., nn.Module]:
    def build(
        pretrained: bool = False,
        pretrained_cfg: object = None,
        pretrained_cfg_overlay: dict | None = None,
        features_only: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: object,
    ) -> nn.Module:
        found = resolve_pretrained_cfg(name, pretrained_cfg, pretrained_cfg_overlay)
        full = f"{name}.{found.tag}" if found.tag else name
        bundled = bool(found.tag) and found.file == str(BUNDLED / full / WEIGHTS)
        features = {"features_only": True, "feature_cls": "getter", "out_indices": 3} if features_only else {}
        features.update({key: options.pop(key) for key in features if key in options})
        for_timm = {key: options.pop(key) for key in _BUILDING & options.keys()}
        unknown = sorted(options.keys() - {field.name for field in fields(MODELS[name][1])})
        if unknown:
            raise TypeError(f"{name} has no option {unknown[0]!r}")
        model = create_model(full if bundled else name, pretrained and bundled, **options)
        model = model.to(device=device, dtype=dtype).train()  # as timm's own
        for part in model.children():
            for module in part if isinstance(part, nn.ModuleList) else [part]:
                register_notrace_module(type(module))
        return build_model_with_cfg(
            lambda **_: model,
            name,
            pretrained and not bundled,
            pretrained_cfg=found.to_dict(remove_null=False),
            pretrained_cfg_overlay={"input_size": (model.config.in_chans, *model.preprocessing.img_size)},
            **for_timm,
            **features,
        )

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"{MODELS[name][0].__doc__} The options are the fields of its configuration."
    return build


for _function in (backbone.check_image_size, backbone.resample_position):
    register_notrace_function(_function)
for _name in NAMES:
    register_model(_entry(_name))
