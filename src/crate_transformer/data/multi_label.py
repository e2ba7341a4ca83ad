"""Pictures of which each may have several classes, or none."""

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
    """An ``ImageFolder`` without ``labels``: ``targets`` is 1 where a picture has a class, else 0."""

    labels: None = None
    targets: Float32[np.ndarray, "images classes"]

    def subset(self, indices: Sequence[int]) -> "MultiLabelFolder":
        """The pictures at these positions, in this order, with the same classes."""
        return replace(super().subset(indices), targets=self.targets[np.asarray(indices, np.int64)])

    def relabel(self, classes: Sequence[str]) -> "MultiLabelFolder":
        """The same pictures with the classes of a checkpoint; they have none of those that are not here.

        Raises:
            ValueError: It lacks some of the classes here.
        """
        columns = relabelled(range(len(self.classes)), self.classes, classes, str(self.root))
        targets = np.zeros((len(self), len(classes)), np.float32)
        targets[:, columns] = self.targets
        return replace(self.subset(range(len(self))), classes=tuple(classes), targets=targets)

    def fingerprint(self) -> str:
        """16 hex digits that change with keys, targets and classes."""
        told = json.dumps([self.keys(), self.classes]).encode()
        return sha256(told + self.targets.tobytes()).hexdigest()[:16]
