"""How an experiment is run: the one place where data, training, evaluation and checkpoints meet."""

import dataclasses
import hashlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from crate_transformer.checkpoints import load_checkpoint, save_checkpoint
from crate_transformer.configs.execution import ExecutionConfig
from crate_transformer.configs.schedule import ENOUGH_STEPS, ScheduleConfig
from crate_transformer.data import Split
from crate_transformer.models import Backbone, Model
from crate_transformer.recipes.experiment import Experiment
from crate_transformer.recipes.layer_curves import LayerCurves
from crate_transformer.recipes.output import BEST, check_output, finished_run, make_output, no_empty_folder, remove_run
from crate_transformer.recipes.ready import make_ready
from crate_transformer.recipes.tasks import describe, figures, prepare
from crate_transformer.storage import plain, write_files
from crate_transformer.training.processes import Processes, told_if_others_end
from crate_transformer.training.state import OtherRun, changed_settings, remove_states
from crate_transformer.training.trainer import Trainer


@dataclass(frozen=True)
class Fit:
    """A trained model and its numbers; ``summary`` says in words what was found on the held-out data.

    ``earlier_seconds`` of training were spent before this call, by a run that was found finished or unfinished.
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

    A finished run of the same settings is loaded instead of repeated; an unfinished one is resumed. What ``experiment``
    leaves open (batch size, steps, warm-up) is chosen to fit the data. The checkpoint holds, beside the weights, the
    settings, the numbers, and the keys of the held-out pictures; what the checkpoint to start from held out is held
    out again. Processes that ``torchrun`` or ``accelerate launch`` started share the work; the main one writes.

    Args:
        overwrite: remove a run with other settings that lies in ``folder``.

    Raises:
        ValueError: ``folder`` holds something else, a run with other settings or other data; the processes differ in
            data or settings; as ``prepare`` and ``Trainer``.
        OSError: ``folder`` cannot be written, or not seen by all processes; another process has ended.
    """
    processes = Processes()
    how = {"data_name": data_name, "execution": execution or ExecutionConfig(), "show": show, "processes": processes}
    with no_empty_folder(folder) if processes.is_main else nullcontext():
        try:
            return _fit(experiment, split, folder, **how)
        except OtherRun:
            if not overwrite:
                raise
        processes.on_main(lambda: remove_run(folder))
        return _fit(experiment, split, folder, **how)


def _fit(
    experiment: Experiment,
    split: Split,
    folder: Path,
    *,
    data_name: str,
    execution: ExecutionConfig,
    show: bool,
    processes: Processes,
) -> Fit:
    show = show and processes.is_main
    processes.on_main(lambda: check_output(folder))
    given, schedule = experiment.schedule, experiment.schedule.fitted(len(split.train))
    experiment = dataclasses.replace(experiment, schedule=schedule)
    settings = plain({**dataclasses.asdict(experiment), **describe_data(split)})
    check_alike(processes, settings)
    if finished := processes.on_main(lambda: finished_run(folder, settings)):
        model, record = finished
        if show:
            print(f"already finished: loaded from {folder}")
        processes.on_main(lambda: remove_states(folder))
        summary = describe(experiment.task, record.metrics)
        return Fit(model, folder, dict(record.metrics), summary, record.metrics["seconds"])

    prepared = prepare(experiment, split, show=show)
    model = prepared.model
    processes.on_main(lambda: make_output(folder))
    if not all(processes.gather(folder.is_dir())):
        raise OSError(f"{folder} is not there for all processes of this run: choose a folder that their machines share")
    ready = make_ready(experiment, prepared, show=show)
    task, images, held_out = ready.task, ready.train, ready.held_out
    check_alike(processes, task.fingerprint)
    if show:
        print(plan(given, schedule, len(images), task.samples))

    def metadata(metrics: dict[str, object]) -> dict[str, object]:
        found: dict[str, object] = {"experiment": {**settings, "data": data_name}, "metrics": plain(metrics)}
        if prepared.split is not None:
            found["split"] = plain(prepared.split)
        return found

    layers = LayerCurves(held_out, model) if execution.layerwise and isinstance(model, Backbone) else None

    def validate(model: nn.Module) -> dict[str, object]:
        numbers = task.evaluate(model, held_out, processes, trained_on=images, num_workers=execution.workers)
        return numbers if layers is None else {**numbers, **layers(model)}

    def keep_best(model: nn.Module, step: int, numbers: dict[str, object]) -> None:
        save_checkpoint(model, folder / BEST, metadata=metadata({"steps": step, **numbers}))

    trainer = Trainer(
        task,
        folder,
        optimiser=experiment.optimiser,
        schedule=schedule,
        loop=experiment.loop,
        execution=execution,
        processes=processes,
        settings={
            key: value for key, value in settings.items() if key not in ("optimiser", "schedule", "loop", "model")
        },
        validate=validate,
        keep_best=keep_best,
        title=experiment.start_from or experiment.model,
        show=show,
    )
    result = trainer.run(lambda start_step: ready.batches(execution, processes, start_step))
    metrics = {
        **{field.name: getattr(result, field.name) for field in dataclasses.fields(result) if field.name != "model"},
        **result.numbers,
        f"training_{task.samples}": len(images),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    del metrics["numbers"]
    processes.on_main(lambda: write_figures(folder, figures(experiment.task, result.model, held_out)))
    processes.on_main(lambda: save_checkpoint(result.model, folder, metadata=metadata(metrics)))
    processes.on_main(lambda: remove_states(folder))
    return Fit(load_checkpoint(folder), folder, metrics, describe(experiment.task, metrics), result.earlier_seconds)


def write_figures(folder: Path, found: dict[str, bytes]) -> None:
    """Write what there is to see, if anything."""
    if found:
        write_files(folder, found)


def check_alike(processes: Processes, settings: dict[str, object]) -> None:
    """``ValueError`` unless all processes were given the same settings and see the same data."""
    first, *others = processes.gather(settings)
    for rank, theirs in enumerate(others, 1):
        if changed := changed_settings(first, theirs):
            raise ValueError(
                f"process {rank} of this run has another {', '.join(changed)} than process 0: "
                "give all of them the same options and the same data"
            )


def describe_data(split: Split) -> dict[str, object]:
    """What must be the same for a run to be resumed."""
    digest = hashlib.sha256((split.train.fingerprint() + split.val.fingerprint()).encode()).hexdigest()[:16]
    classes = getattr(split.train, "classes", ())
    return {"images": len(split.train), "classes": classes, "data_hash": digest}


def plan(given: ScheduleConfig, schedule: ScheduleConfig, count: int, samples: str) -> str:
    """What will be done, what of it was chosen to fit the data, and a warning where it is too little to learn from."""
    chosen = ["batch_size"] if given.batch_size is None else []
    if given.warmup_steps is None and given.warmup_epochs is None:
        chosen.append("warmup_steps")
    if given.steps is None and given.epochs is None and given.samples is None:
        chosen.insert(0, "steps")
    passes = schedule.steps * schedule.batch_size / count
    words = (
        f"{schedule.steps:,} steps of {schedule.batch_size} {samples}, {passes:.1f} passes over {count:,} {samples}, "
        f"{schedule.warmup_steps} steps of warm-up"
    )
    if chosen:
        words += f"; {', '.join(chosen).replace('_', ' ')} chosen to fit so many {samples}"
    if schedule.steps < ENOUGH_STEPS:
        words += (
            f"\nwarning: {schedule.steps} steps are too few to learn from: give more, or give neither steps nor epochs"
        )
    return words
