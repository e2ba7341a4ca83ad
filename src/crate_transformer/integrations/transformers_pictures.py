"""The transformers image processor for our models."""

from typing import Any

from PIL import Image
from transformers.image_processing_base import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_transforms import to_pil_image

from crate_transformer.data import preprocess
from crate_transformer.data.decode import to_rgb
from crate_transformer.models import Preprocessing
from crate_transformer.storage import as_record


class CrateImageProcessor(BaseImageProcessor):
    """The evaluation transform of the weights; does not need torchvision.

    Args:
        size: input size of the model, ``{"height": ..., "width": ...}`` in pixels.
        crop_pct: crop fraction: side of the centre crop divided by the resized short side.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012

    def __init__(
        self,
        size: dict[str, int] | None = None,
        crop_pct: float = 0.875,
        interpolation: str = "bilinear",
        image_mean: tuple[float, ...] | list[float] = Preprocessing.mean,
        image_std: tuple[float, ...] | list[float] = Preprocessing.std,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.size = dict(size or {"height": 224, "width": 224})
        self.crop_pct, self.interpolation = crop_pct, interpolation
        self.image_mean, self.image_std = list(image_mean), list(image_std)

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> "CrateImageProcessor":
        """The processor equivalent to ``data.preprocess``."""
        height, width = preprocessing.img_size
        return cls(
            size={"height": height, "width": width},
            crop_pct=preprocessing.crop_pct,
            interpolation=preprocessing.interpolation,
            image_mean=preprocessing.mean,
            image_std=preprocessing.std,
        )

    def preprocess(self, images: Any, return_tensors: str | None = None) -> BatchFeature:
        """Pixel values of one or several images: PIL images, arrays, tensors, paths or URLs."""
        stored = {
            "img_size": (self.size.get("height"), self.size.get("width")),
            "crop_pct": self.crop_pct,
            "interpolation": self.interpolation,
            "mean": self.image_mean,
            "std": self.image_std,
        }
        preprocessing = as_record(stored, Preprocessing, "the image processor")
        pictures = (
            image if isinstance(image, Image.Image) else to_pil_image(image)
            for image in self._prepare_images_structure(images)  # pyright: ignore[reportGeneralTypeIssues] -- a list
        )
        pixels = [preprocess(to_rgb(picture), preprocessing).numpy() for picture in pictures]
        return BatchFeature({"pixel_values": pixels}, tensor_type=return_tensors)
