"""Train several small models on a GPU, one after another, within a fixed time.

python benchmarks/gpu_train.py .gl/photographs.npz runs/gpu_train --seconds 480 --plan crate:300,vit_mini:60

What the rate, the picture size and the augmentation are depends on the fraction of the model's time that has passed, so
each model ends on time on any machine. Of each model one file comes out, rewritten every 90 seconds: the moving average
of its weights in bfloat16, and in the header what ``gpu_unpack.py`` needs to make a checkpoint of it.
"""

import argparse
import copy
import dataclasses
import json
import math
import os
import random
import time
import traceback
from datetime import date
from pathlib import Path

import torch
import torch.nn.functional as F
from gpu_pictures import Photographs, enlarged, mixed, open_pack
from gpu_recipes import FINAL_SIDE, RUNS, Run
from safetensors.torch import save_file
from torch import Tensor, nn

from crate_transformer.configs import AugmentConfig
from crate_transformer.configs.classification import ClassificationConfig
from crate_transformer.configs.optimiser import OptimiserConfig
from crate_transformer.models import Backbone, build_model
from crate_transformer.training.optimisers import build_optimizers
from crate_transformer.training.precision import choose_products
from crate_transformer.training.tasks.classification import Classification

REPORT_EVERY, SAVE_EVERY = 10.0, 90.0  # seconds
COMPILE_SHARE = 0.3  # of a model's time at most, else it is trained without


class Average:
    """Moving average of a model's parameters over about the last twentieth of its steps, and its running statistics."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.steps = copy.deepcopy(model).requires_grad_(False), 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the parameters of ``model``."""
        self.steps += 1
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 20 / (self.steps + 20))
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)


class Training:
    """The state of one model's training; ``factor`` is lowered when the loss is no longer finite."""

    def __init__(self, run: Run, photographs: Photographs, *, compile_until: float | None, seed: int) -> None:
        torch.manual_seed(seed)
        self.run, self.photographs, self.random = run, photographs, random.Random(seed)
        self.device = photographs.train.images.device
        classes = len(photographs.classes) + len(photographs.more_classes)
        self.model = build_model(run.model, **run.options, num_classes=classes).to(self.device)
        self.average = Average(self.model)
        self.steps, self.images, self.factor = 0, 0, 1.0
        self.restart()
        if compile_until is not None:
            self.compile(compile_until)

    def compile(self, until: float) -> None:
        """Compile the blocks for every stage; they share their code, as they are of one class."""
        for block in self.model.blocks:
            block.compile(dynamic=False)
        for stage in self.run.stages:
            self.loss(stage, 0.0).backward()
            self.model.zero_grad()
            if time.monotonic() > until:
                raise TimeoutError(f"compiling for pictures of {stage[1]} pixels took too long")

    def restart(self) -> None:
        """Remember the average as the last good state, and start the optimisers afresh from it."""
        self.model.load_state_dict(self.average.model.state_dict())
        self.good = copy.deepcopy(self.average.model.state_dict())
        names = ("learning_rate", "matrix_learning_rate", "weight_decay")
        config = OptimiserConfig(optimizer="muon", **{name: getattr(self.run, name) for name in names})
        task = Classification(ClassificationConfig(), self.model, AugmentConfig())
        self.optimizers = build_optimizers(task, config, choose_products(self.device))
        self.rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]

    def loss(self, stage: tuple[float, int, int], share: float) -> Tensor:
        """Of one new batch."""
        run, (_, side, count) = self.run, stage
        images, labels = self.photographs.batch(count, run.more, side, run.min_area)
        others, own = labels, 1.0
        if share < run.mix_until and self.random.random() < run.mix:
            images, others, own = mixed(images, labels, self.random)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.model(images).float()
        first, second = (F.cross_entropy(logits, y, label_smoothing=run.label_smoothing) for y in (labels, others))
        return own * first + (1 - own) * second

    def step(self, share: float) -> Tensor:
        """One step at this fraction of the time; returns the loss, still on the device."""
        stage = next(stage for stage in self.run.stages if share < stage[0])
        cosine = 0.5 * (1 + math.cos(math.pi * share))
        scale = self.factor * min((self.steps + 1) / self.run.warmup_steps, cosine)
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
        loss = self.loss(stage, share)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad()
        self.average.update(self.model)
        self.steps, self.images = self.steps + 1, self.images + stage[2]
        return loss.detach()

    def check(self, loss: float) -> None:
        """Keep a finite state; from any other go back to the last finite one, at half the rate."""
        if math.isfinite(loss) and all(torch.isfinite(p).all() for p in self.average.model.parameters()):
            self.good = copy.deepcopy(self.average.model.state_dict())
            return
        self.factor /= 2
        self.average.model.load_state_dict(self.good)
        self.restart()
        print(f"loss {loss}: back to the last finite state, rates times {self.factor}", flush=True)


def portable(model: Backbone, classes: int) -> dict[str, Tensor]:
    """The weights in bfloat16 on the CPU, the head cut to the first classes."""
    state = {name: t.detach().bfloat16() if t.is_floating_point() else t for name, t in model.state_dict().items()}
    state |= {name: t[:classes] for name, t in state.items() if name.startswith("head.")}
    return {name: t.cpu().contiguous() for name, t in state.items()}


@torch.no_grad()
def top1(state: dict[str, Tensor], run: Run, photographs: Photographs) -> float:
    """Fraction of the held-out pictures that stored weights classify rightly, in float32."""
    val, classes = photographs.val, len(photographs.classes)
    model = build_model(run.model, **run.options, num_classes=classes)
    model.load_state_dict(state)
    model.to(val.images.device).eval()
    torch.set_float32_matmul_precision("highest")
    batches = zip(val.images.split(250), val.labels.split(250), strict=True)
    hits = sum(int((model(enlarged(x, FINAL_SIDE)).argmax(1) == y).sum()) for x, y in batches)
    torch.set_float32_matmul_precision("high")
    return hits / len(val.images)


def train(name: str, run: Run, photographs: Photographs, end: float, file: Path, *, compiled: bool, seed: int) -> str:
    """Train one model until ``end`` on the monotonic clock, evaluation included; returns one line about it."""
    began, classes = time.monotonic(), len(photographs.classes)
    compile_until = began + COMPILE_SHARE * (end - began) if compiled else None
    training = Training(run, photographs, compile_until=compile_until, seed=seed)
    start, curve = time.monotonic(), []
    end = max(start + 1, end - 0.03 * (end - start))  # the rest is for the evaluation
    reported, saved, share = start, start, 0.0
    about = {"name": name, "model": run.model, "options": run.options, "recipe": dataclasses.asdict(run), "seed": seed}
    about |= {"classes": photographs.classes, "img_size": FINAL_SIDE, "date": date.today().isoformat()}
    about |= {"torch": torch.__version__}
    about |= {"device": device_name(training.device), "compiled": compiled, "warmup_seconds": start - began}

    def save(**numbers: object) -> None:
        numbers |= {"steps": training.steps, "images": training.images, "seconds": time.monotonic() - start}
        header = {"about": json.dumps(about | {"training": numbers, "curve": curve})}
        part = file.with_suffix(".part")
        save_file(portable(training.average.model, classes), part, header)
        part.replace(file)

    while share < 1:
        loss = training.step(share)
        now = time.monotonic()
        if now - reported > REPORT_EVERY or now > end:
            value, seconds = loss.item(), now - start
            curve.append([round(number, 4) for number in (seconds, training.steps, training.images, value)])
            speed = training.images / seconds
            print(
                f"{name} {share:.2f} {seconds:.0f} s: step {training.steps}, loss {value:.3f}, {speed:.0f} images/s",
                flush=True,
            )
            training.check(value)
            reported = now
        if now - saved > SAVE_EVERY:
            save(finished=False)
            saved = now
        share = (time.monotonic() - start) / (end - start)
    save(finished=False)
    raw = top1(portable(training.model, classes), run, photographs)
    average = top1(portable(training.average.model, classes), run, photographs)
    save(finished=True, top1=average, top1_without_average=raw, held_out_images=len(photographs.val.images))
    epochs = training.images * (1 - run.more) / len(photographs.train.images)
    return f"{name}: top-1 {average:.3f} (without averaging {raw:.3f}), {training.steps} steps, {epochs:.0f} epochs"


def device_name(device: torch.device) -> str:
    """The card's name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def main() -> None:
    """Divide the time among the models of the plan; an error in one of them leaves the others their time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=float, default=480, help="for everything, reading the data included")
    parser.add_argument("--plan", default="crate:290,crate_mini:50,vit_mini:45,crate_alpha_mini:50,tost_mini:45")
    parser.add_argument("--batch", type=float, default=1.0, help="times the batch sizes, for a rehearsal")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    stop = time.monotonic() + arguments.seconds
    plan = [(name, float(seconds)) for name, seconds in (part.split(":") for part in arguments.plan.split(","))]
    if unknown := {name for name, _ in plan} - set(RUNS):
        parser.error(f"no run is called {', '.join(unknown)}: there are {', '.join(RUNS)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.suppress_errors = True  # what cannot be compiled runs as it is
    torch._dynamo.config.recompile_limit = 64
    photographs = open_pack(
        arguments.data, torch.device("cuda" if torch.cuda.is_available() else "cpu"), arguments.processes
    )
    print(f"{len(photographs.train.images)} pictures, {stop - time.monotonic():.0f} s left", flush=True)
    lines = []
    for place, (name, seconds) in enumerate(plan):
        run, file = RUNS[name], arguments.output / f"{name}.safetensors"
        stages = tuple((until, side, max(2, round(count * arguments.batch))) for until, side, count in run.stages)
        run, now = dataclasses.replace(run, stages=stages), time.monotonic()
        end = now + (stop - now) * seconds / sum(weight for _, weight in plan[place:])
        for compiled in (True, False) if run.compile else (False,):
            try:
                lines.append(train(name, run, photographs, end, file, compiled=compiled, seed=arguments.seed))
                break
            except Exception:
                lines.append(f"{name}{' compiled' * compiled}: failed\n{traceback.format_exc(limit=-4)}")
                print(lines[-1], flush=True)
                if file.exists():
                    break
    print("\n".join(lines), flush=True)
    if missing := [name for name, _ in plan if not (arguments.output / f"{name}.safetensors").exists()]:
        raise SystemExit(f"nothing was trained of {', '.join(missing)}")


if __name__ == "__main__":
    main()
