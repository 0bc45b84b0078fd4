"""``semaflow perceive``: colours and classes of scenes never seen, from a few views of them (GP-NeRF)."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from ..fields import processes
from ..fields.perception.adapt import adapted
from ..fields.perception.config import PRESETS, PerceptionConfig, preset
from ..fields.perception.field import PerceptionField
from ..fields.perception.targets import Targets, targets
from ..fields.perception.trainer import PerceptionTrainer
from ..fields.perception.views import views_of
from ..fields.perception.weights import load_weights
from ..scenes import BadInput, Scene, load
from ..scenes.files import write_json
from ..scenes.labels import common_classes, in_classes, with_classes
from . import perceive_labels
from .device import device
from .fit import machine, pairs, peak_memory, plain, resume
from .processes import joined
from .progress import console
from .report import print_table
from .run import Run, whereabouts
from .training import train_all

TUNING = {"iterations": 300, "warm_up": 20, "checkpoint_every": 100}  # of a field that knows much already


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    verbs = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    looks = {"formatter_class": argparse.ArgumentDefaultsHelpFormatter}

    def add(name: str, words: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=words, description=words, **looks)

    training = add("train", "learn to perceive from many scenes")
    training.add_argument("scenes", nargs="*", help="scenes with labels")
    training.add_argument("--preset", default="fast", choices=list(PRESETS), help="sets all settings together")
    training.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    tuning = add("tune", "go on with one scene")
    tuning.add_argument("scene", help="scene with labels")
    tuning.add_argument("--from", dest="start", required=True, metavar="RUN", help="run to start from")
    testing = add("eval", "measure on the test views of a scene")
    testing.add_argument("run", help="run folder")
    testing.add_argument("scene", help="scene, seen before or not")
    testing.add_argument("--json", metavar="FILE", help="write the figures here too")
    labelling = add("labels", "give the frames of a scene labels")
    perceive_labels.add_arguments(labelling)
    for sub in (training, tuning):
        sub.add_argument("-o", "--output", required=True, metavar="RUN", help="run folder to make")
        sub.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting")
    for sub in (training, tuning, testing, labelling):
        sub.add_argument("--format", default=None, help="format of the scenes")
        sub.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="option of their reader")


def run(arguments: argparse.Namespace) -> None:
    """The verb."""
    options = {name: plain(name, value) for name, value in pairs(arguments.option, "--option")}
    if arguments.step == "eval":
        figures = evaluate(arguments.run, arguments.scene, arguments.format, options)
        shown = f"test views of {arguments.scene} by {arguments.run}"
        console.print(shown, highlight=False, markup=False, soft_wrap=True)
        print_table(figures)
        if arguments.json:
            write_json(arguments.json, figures)
        return
    if arguments.step == "labels":
        perceive_labels.label(arguments.run, arguments.scene, arguments.output, arguments.format, options,
                              arguments.rendered, arguments.window)  # fmt: skip
        return
    changes = dict(pairs(arguments.set, "--set"))
    if arguments.step == "tune":
        tune(arguments.start, arguments.scene, arguments.output, arguments.format, options, **changes)
    elif arguments.resume:
        resume(opened(arguments.output).folder)
    elif not arguments.scenes:
        raise BadInput("train: SCENES: expected at least one")
    else:
        train(arguments.scenes, arguments.output, arguments.preset, arguments.format, options, **changes)


@joined()
def train(sources: Sequence[str | Path], output: str | Path, preset_name: str = "fast", format: str | None = None,
          options: dict | None = None, **changes) -> Run:
    """Learn to perceive from the scenes at ``sources``, into the run folder ``output``.

    Args:
        preset_name: tiny, fast or paper. format, options: as for ``scenes.load``. changes: settings to change.

    Raises BadInput: unusable input, an unknown setting, a loss asked for whose input no scene has, a scene of fewer
    pictures than reference views, or a folder that holds a run already.
    """
    Run.vacant(output)
    config = preset(preset_name).replaced(**changes)
    scenes = common_classes([with_classes(load(path, format, **(options or {}))) for path in sources])
    torch.manual_seed(config.seed)
    field = PerceptionField(config, scenes[0].label_names)
    if config.weights:
        load_weights(field.extractor, config.weights)
    trainer = PerceptionTrainer(field.to(device()), _targets(scenes, config), tuple(changes))
    return learn(_made(output, sources, scenes, config, format, options), trainer)


@joined()
def tune(start: str | Path, source: str | Path, output: str | Path, format: str | None = None,
         options: dict | None = None, **changes) -> Run:
    """Go on with the field of the run ``start`` on the scene at ``source`` alone, a few hundred steps.

    ``changes``: settings to change; ``instances`` makes an instance head of as many slots.

    Raises BadInput: ``start`` is no run of a perception field, or knows other classes than the scene's labels are of.
    """
    Run.vacant(output)
    before = opened(start).field
    config = before.config.replaced(**{**TUNING, **changes})
    scene = in_classes(with_classes(load(source, format, **(options or {}))), before.label_names)
    torch.manual_seed(config.seed)
    trainer = PerceptionTrainer(adapted(before, config).to(device()), _targets([scene], config), tuple(changes))
    return learn(_made(output, [source], [scene], config, format, options), trainer)


@joined()
def resume_perception(made: Run) -> Run:
    """Go on with an interrupted training from its last checkpoint; BadInput: there is none."""
    checkpoint = made.folder / "checkpoint.safetensors"
    if not checkpoint.exists():
        raise BadInput(f"{checkpoint}: no such file; start again in another folder")
    config = PerceptionConfig().replaced(**made.config["settings"])
    field = PerceptionField(config, made.scene.label_names).to(device())
    trainer = PerceptionTrainer(field, _targets(made.scenes, config))
    trainer.load_checkpoint(checkpoint)
    return learn(made, trainer)


def evaluate(folder: str | Path, source: str | Path, format: str | None = None, options: dict | None = None) -> dict:
    """How well the run in ``folder`` shows the test views of the scene at ``source`` from its training views.

    Returns figures as from :func:`.evaluate.field_quality`, and ``held_out``. BadInput: no test views, labels of
    other classes, fewer training views than the field looks at, or a test view that none of these overlaps.
    """
    from .evaluate import field_quality

    field = opened(folder).field
    scene = load(source, format, **(options or {}))
    if not scene.test:
        raise BadInput(f"{source}: the scene has no test frames")
    scene = in_classes(with_classes(scene), field.label_names)
    views = views_of(scene, field.config.views, field.config.window)
    return {"held_out": True, **field_quality(field.look_at(views), scene)}


def opened(folder: str | Path) -> Run:
    """The run in ``folder``, which must be of a perception field."""
    found = Run.open(folder)
    if found.config["method"] != PerceptionField.kind:
        raise BadInput(f"{folder}: method: expected a run of perceive, got {found.config['method']!r}")
    return found


def _targets(scenes: list[Scene], config: PerceptionConfig) -> list[Targets]:
    return [targets(scene, config.window) for scene in scenes]


def _made(output: str | Path, sources: Sequence[str | Path], scenes: list[Scene], config: PerceptionConfig,
          format: str | None, options: dict | None) -> Run:
    where = [
        whereabouts(path, scene.format or format, options) for path, scene in zip(sources, scenes, strict=True)
    ]
    processes.wait()  # until all have found the folder vacant
    if processes.rank() == 0:
        made = Run.create(
            output, PerceptionField.kind, where[0], {"name": "none"}, dataclasses.asdict(config), None, where[1:]
        )
        made.save_scene(*scenes)
    processes.wait()
    made = Run.open(output)
    made.__dict__["scenes"] = scenes
    return made


def learn(made: Run, trainer: PerceptionTrainer) -> Run:
    """Train and write everything into the run folder; of several processes the first writes, the others wait."""
    checkpoint = made.folder / "checkpoint.safetensors"
    if trainer.iteration == 0:  # the networks may begin with those of another run
        trainer.save_checkpoint(checkpoint)
    for name, words in trainer.missing.items():
        console.print(f"[dim]loss {name} is off: it needs {words}[/dim]")
    train_all(trainer, made)
    field = trainer.field.eval()
    if len(made.scenes) == 1:
        field.look_at(trainer.found[0].views)
    made.__dict__["field"] = field
    if processes.rank() == 0:
        field.save(made.folder)
        write_json(made.folder / "metrics.json", quality(made, trainer))
        checkpoint.unlink(missing_ok=True)
    processes.wait()
    console.print(f"{made.folder}: {len(made.scenes)} scene(s), {trainer.seconds:.0f} s")
    return made


def quality(made: Run, trainer: PerceptionTrainer) -> dict:
    """What was measured of a training; of one scene with how well its test views are shown."""
    from .evaluate import field_quality

    measured = {}
    if len(made.scenes) == 1 and made.scene.test:
        measured = field_quality(trainer.field, made.scene)
    return {
        **measured, "train_seconds": trainer.seconds, "iterations": trainer.iteration,
        "parameters": trainer.field.count, "peak_memory_mb": peak_memory(), "machine": machine(),
        "versions": {"torch": torch.__version__, "semaflow": made.config["semaflow"]},
    }
