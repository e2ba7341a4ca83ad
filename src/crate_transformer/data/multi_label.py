"""Multi-label images, which may have several classes or none."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from jaxtyping import Float32

from crate_transformer.data.classes import relabelled
from crate_transformer.data.folder import ImageFolder


@dataclass(frozen=True, eq=False, kw_only=True)
class MultiLabelFolder(ImageFolder):
    """An ``ImageFolder`` without ``labels``: ``targets`` is 1 for each class of an image, else 0."""

    labels: None = None
    targets: Float32[np.ndarray, "images classes"]

    def subset(self, indices: Sequence[int]) -> "MultiLabelFolder":
        """The images at these positions, in this order, with the same classes."""
        names = [self.names[index] for index in indices]
        return self._part(names=names, targets=self.targets[np.asarray(indices, np.int64)])

    def relabel(self, classes: Sequence[str]) -> "MultiLabelFolder":
        """The same images with the classes of a checkpoint; targets of classes that are not in this data set are 0.

        Raises:
            ValueError: The checkpoint lacks some of the classes.
        """
        columns = relabelled(range(len(self.classes)), self.classes, classes, str(self.root))
        targets = np.zeros((len(self), len(classes)), np.float32)
        targets[:, columns] = self.targets
        return replace(self.subset(range(len(self))), classes=tuple(classes), targets=targets)

    def fingerprint(self) -> str:
        """16 hex digits that depend on keys, targets and classes."""
        told = json.dumps([self.keys(), self.classes]).encode()
        return sha256(told + self.targets.tobytes()).hexdigest()[:16]
