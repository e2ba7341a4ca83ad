"""Running an experiment: the only place that combines data, training, evaluation and checkpoints."""

import dataclasses
import hashlib
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.schedule import ENOUGH_STEPS, FittedSchedule, ScheduleConfig
from crate_transformer.data import Split
from crate_transformer.models import Model
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.layer_curves import LayerCurves
from crate_transformer.recipes.output import (
    BEST,
    check_not_inside,
    check_output,
    finished_run,
    make_output,
    no_empty_folder,
    remove_run,
)
from crate_transformer.recipes.ready import make_ready
from crate_transformer.recipes.tasks import describe, figures, prepare
from crate_transformer.storage import plain, write_files
from crate_transformer.training.processes import Processes, told_if_others_end
from crate_transformer.training.state import OtherRun, changed_settings, remove_states
from crate_transformer.training.trainer import Trainer


@dataclass(frozen=True)
class Fit:
    """A trained model and its metrics; ``summary`` describes the result on held-out data.

    ``earlier_seconds`` is the training time before this call, if the run was resumed or already finished.
    """

    model: Model
    folder: Path
    metrics: dict[str, object]
    summary: str
    earlier_seconds: float = 0.0


@told_if_others_end()
def fit(
    experiment: Experiment,
    split: Split,
    folder: Path,
    *,
    data_name: str,
    execution: ExecutionConfig | None = None,
    overwrite: bool = False,
    show: bool = True,
) -> Fit:
    """Train ``experiment`` on ``split.train``, evaluate on ``split.val``, save everything in ``folder``.

    A finished run with the same settings is loaded instead of repeated; an unfinished one is resumed. Settings that
    ``experiment`` does not specify (batch size, steps, warm-up) are chosen from the size of the data. The checkpoint
    contains the weights, settings, metrics, and the keys of the held-out images. Images held out by the checkpoint to
    start from are held out again. Processes started by ``torchrun`` or ``accelerate launch`` share the work; the main
    process writes.

    Args:
        overwrite: replace a run with other settings in ``folder``; it is removed when the new one has been checked.

    Raises:
        ValueError: ``folder`` contains something else, or a run with other settings or other data; the processes have
            different data or settings; ``overwrite`` would remove a model that the run needs; or as in ``prepare`` and
            ``Trainer``.
        OSError: ``folder`` cannot be written, or is not visible to all processes; or another process has ended.
    """
    processes = Processes()
    if overwrite:
        needed = {"start_from": experiment.start_from, "teacher": getattr(experiment.task, "teacher", None)}
        check_not_inside(folder, needed)
    with no_empty_folder(folder) if processes.is_main else nullcontext():
        return _fit(
            experiment,
            split,
            folder,
            data_name=data_name,
            execution=execution or ExecutionConfig(),
            overwrite=overwrite,
            show=show,
            processes=processes,
        )


def _fit(
    experiment: Experiment,
    split: Split,
    folder: Path,
    *,
    data_name: str,
    execution: ExecutionConfig,
    overwrite: bool,
    show: bool,
    processes: Processes,
) -> Fit:
    show = show and processes.is_main
    processes.on_main(lambda: check_output(folder))
    fitted = experiment.fitted(len(split.train))
    settings = plain({**dataclasses.asdict(fitted), **describe_data(split)})
    check_alike(processes, settings)
    finished = None
    with suppress(OtherRun) if overwrite else nullcontext():
        finished = processes.on_main(lambda: finished_run(folder, settings))
    if finished:
        model, record = finished
        if show:
            print(f"already finished: loaded from {folder}")
        processes.on_main(lambda: remove_states(folder))
        summary = describe(experiment.task, record.metrics)
        return Fit(model, folder, dict(record.metrics), summary, record.metrics["seconds"])

    prepared = prepare(fitted, split, show=show)
    model = prepared.model
    processes.on_main(lambda: make_output(folder))
    if not all(processes.gather(folder.is_dir())):
        raise OSError(f"{folder} is not visible to all processes of this run: choose a folder shared by all machines")
    ready = make_ready(fitted, prepared, show=show)
    task, images, held_out = ready.task, ready.train, ready.held_out
    check_alike(processes, task.fingerprint)
    if show:
        print(plan(experiment.schedule, fitted.schedule, len(images), task.samples))

    def metadata(metrics: dict[str, object]) -> dict[str, object]:
        found: dict[str, object] = {"experiment": {**settings, "data": data_name}, "metrics": plain(metrics)}
        if prepared.split is not None:
            found["split"] = plain(prepared.split)
        return found

    layers = LayerCurves(held_out, model) if execution.layerwise else None

    def validate(model: Model) -> dict[str, object]:
        numbers = task.evaluate(model, held_out, processes, trained_on=images, num_workers=execution.workers)
        return {**numbers, **layers(model)} if layers else numbers

    def keep_best(model: Model, step: int, numbers: dict[str, object]) -> None:
        save_checkpoint(model, folder / BEST, metadata=metadata({"steps": step, **numbers}))

    trainer = Trainer(
        task,
        folder,
        optimiser=experiment.optimiser,
        schedule=fitted.schedule,
        loop=experiment.loop,
        execution=execution,
        processes=processes,
        settings={
            key: value for key, value in settings.items() if key not in ("optimiser", "schedule", "loop", "model")
        },
        validate=validate,
        keep_best=keep_best,
        title=experiment.start_from or experiment.model,
        overwrite=overwrite,
        show=show,
    )

    batches = ready.batches(execution, processes, trainer.start)
    if overwrite and trainer.state is None:  # everything has been checked
        processes.on_main(lambda: remove_run(folder))
    result = trainer.run(lambda _: batches)
    metrics = {
        **{field.name: getattr(result, field.name) for field in dataclasses.fields(result) if field.name != "model"},
        **result.numbers,
        f"training_{task.samples}": len(images),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    del metrics["numbers"]
    processes.on_main(lambda: save_checkpoint(result.model, folder, metadata=metadata(metrics)))
    processes.on_main(lambda: write_figures(folder, figures(experiment.task, result.model, held_out)))
    processes.on_main(lambda: remove_states(folder))
    return Fit(load_checkpoint(folder), folder, metrics, describe(experiment.task, metrics), result.earlier_seconds)


def write_figures(folder: Path, found: dict[str, bytes]) -> None:
    """Write the figures, if there are any."""
    if found:
        write_files(folder, found)


def check_alike(processes: Processes, settings: dict[str, object]) -> None:
    """Raise ``ValueError`` unless all processes have the same settings and data."""
    first, *others = processes.gather(settings)
    for rank, theirs in enumerate(others, 1):
        if changed := changed_settings(first, theirs):
            raise ValueError(
                f"process {rank} of this run differs from process 0 in {', '.join(changed)}: "
                "give all processes the same options and the same data"
            )


def describe_data(split: Split) -> dict[str, object]:
    """The properties of the data that must not change when a run is resumed."""
    digest = hashlib.sha256((split.train.fingerprint() + split.val.fingerprint()).encode()).hexdigest()[:16]
    classes = getattr(split.train, "classes", ())
    return {"images": len(split.train), "classes": classes, "data_hash": digest}


def plan(given: ScheduleConfig, schedule: FittedSchedule, count: int, samples: str) -> str:
    """The planned steps, which settings were chosen automatically, and a warning if there are too few steps."""
    chosen = ["batch_size"] if given.batch_size is None else []
    if given.warmup_steps is None and given.warmup_epochs is None:
        chosen.append("warmup_steps")
    if given.steps is None and given.epochs is None and given.samples is None:
        chosen.insert(0, "steps")
    passes = schedule.steps * schedule.batch_size / count
    words = (
        f"{schedule.steps:,} steps of {schedule.batch_size} {samples}, {passes:.1f} epochs of {count:,} {samples}, "
        f"{schedule.warmup_steps} steps of warm-up"
    )
    if chosen:
        words += f"; {', '.join(chosen).replace('_', ' ')} chosen automatically for this number of {samples}"
    if schedule.steps < ENOUGH_STEPS:
        words += f"\nwarning: {schedule.steps} steps are too few to learn anything useful: give more, or no --steps"
    return words
