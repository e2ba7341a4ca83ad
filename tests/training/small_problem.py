"""A problem that a few dozen steps learn: dark pictures against light ones."""

import dataclasses

import torch

from crate_transformer.data import ArrayImages, Augment, train_loader
from crate_transformer.models import CRATE, CRATEConfig
from crate_transformer.training.classification import Classification
from crate_transformer.training.config import TrainConfig
from crate_transformer.training.loop import train

CONFIG = CRATEConfig(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=2)
TRAIN = TrainConfig(batch_size=8, warmup_steps=2, checkpoint_every=100, learning_rate=3e-3, label_smoothing=0.1)


def make_images() -> ArrayImages:
    """24 pictures of 8 x 8 pixels; those of class 1 are lighter."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(24) % 2
    noise = torch.randint(0, 156, (24, 3, 8, 8), generator=generator)
    return ArrayImages((noise + 100 * labels.view(-1, 1, 1, 1)).byte(), labels, ("dark", "light"))


class Runner:
    """``run(folder, steps, optimizer="lion", ...)``; ``before(step)`` is called before the batch of a step is made."""

    def __init__(self):
        self.model = self.fresh_model()

    def fresh_model(self):
        """The same tiny model each time."""
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return CRATE(CONFIG)

    def __call__(self, folder, steps=8, before=None, loss=None, augment=True, options=None, **changes):
        config = dataclasses.replace(TRAIN, **changes)
        self.model = self.fresh_model()
        images = make_images()

        def batches(start, rank, world_size):
            loader = train_loader(
                images,
                self.model.preprocessing,
                batch_size=config.batch_size,
                steps=steps,
                start_step=start,
                seed=config.seed,
                augment=Augment() if augment else None,
                rank=rank,
                world_size=world_size,
            )
            for step, batch in enumerate(loader, start + 1):
                if before:
                    before(step)
                yield batch

        loss = loss or Classification(config.label_smoothing)
        return train(self.model, loss, batches, config, folder, steps=steps, show=False, **options or {})

    def weights(self):
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
