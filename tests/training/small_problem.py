"""A problem that a few dozen steps learn: dark pictures against light ones."""

import dataclasses

import torch

from crate_transformer.configs.augmentation import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.loop import LoopConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.configs.schedule import FittedSchedule
from crate_transformer.data import ArrayImages, train_loader
from crate_transformer.models import CRATE, CRATEConfig
from crate_transformer.training.metrics import read_metrics
from crate_transformer.training.processes import Processes
from crate_transformer.training.tasks.classification import Classification
from crate_transformer.training.trainer import Trainer

CONFIG = CRATEConfig(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=2)
SETTINGS = {
    "optimiser": OptimiserConfig(learning_rate=3e-3),
    "schedule": FittedSchedule(steps=8, batch_size=8, warmup_steps=2),
    "loop": LoopConfig(),
    "execution": ExecutionConfig(checkpoint_every=100),
}


PLAIN = AugmentConfig(min_area=1.0, flip=False)


def changed(settings, **changes):
    """The settings with these fields changed, wherever they belong."""
    found = {}
    for name, config in settings.items():
        own = {key: changes.pop(key) for key in list(changes) if hasattr(config, key)}
        found[name] = dataclasses.replace(config, **own)
    assert not changes, f"no such settings: {changes}"
    return found


def make_images() -> ArrayImages:
    """24 pictures of 8 x 8 pixels; those of class 1 are lighter."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(24) % 2
    noise = torch.randint(0, 156, (24, 3, 8, 8), generator=generator)
    return ArrayImages((noise + 100 * labels.view(-1, 1, 1, 1)).byte(), labels, ("dark", "light"))


def classification(model):
    return Classification(ClassificationConfig(label_smoothing=0.1), model, PLAIN)


def classification_with(change):
    """A task whose loss goes through ``change(loss, model, step)``."""

    class Changed(Classification):
        def forward(self, batch, progress):
            loss, numbers = super().forward(batch, progress)
            return change(loss, self.model, progress.step), numbers

    return lambda model: Changed(ClassificationConfig(label_smoothing=0.1), model, PLAIN)


class Runner:
    """``run(folder, steps, optimizer="lion", ...)``; ``before(step)`` is called before the batch of a step is made."""

    def __init__(self):
        self.model = self.fresh_model()

    def fresh_model(self):
        """The same tiny model each time."""
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return CRATE(CONFIG)

    def __call__(self, folder, steps=8, before=None, task=None, augment=True, options=None, **changes):
        settings = changed(SETTINGS, steps=steps, **changes)
        loop, execution = settings["loop"], settings["execution"]
        self.model, images, processes = self.fresh_model(), make_images(), Processes()
        task = (task or classification)(self.model)
        task.augment = AugmentConfig() if augment is True else augment or PLAIN

        def batches(start):
            loader = train_loader(
                images,
                task.view(),
                size=(8, 8),
                batch_size=settings["schedule"].batch_size,
                steps=steps,
                start_step=start,
                seed=loop.seed,
                rank=processes.rank,
                world_size=processes.world_size,
                accumulate=execution.accumulate,
                num_workers=execution.workers,
            )
            for number, batch in enumerate(loader):
                if before and number % execution.accumulate == 0:
                    before(start + 1 + number // execution.accumulate)
                yield batch

        trainer = Trainer(task, folder, **settings, processes=processes, show=False, **options or {})
        result = trainer.run(batches)
        self.model = result.model
        return result

    def weights(self):
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}


def steps_of(folder):
    return [record["step"] for record in read_metrics(folder / "metrics.jsonl")]
