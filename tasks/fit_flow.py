"""``semaflow fit --method flow``: a flow field of one or several labelled videos."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from ..fields.flow.config import FlowConfig, preset
from ..fields.flow.field import FlowField
from ..fields.flow.start import class_names, start_clip, start_field
from ..fields.flow.targets import Targets, targets
from ..fields.flow.trainer import FlowTrainer
from ..scenes import BadInput, Scene, load
from ..scenes.files import append_text, write_json
from ..scenes.splits import LabelSplit
from .device import device
from .progress import bar, console
from .run import Run


def fit_flow(sources: Sequence[str | Path], output: str | Path, preset_name: str = "fast", format: str | None = None,
             options: dict | None = None, split: LabelSplit | None = None, **changes) -> Run:
    """Learn a flow field of the scenes at ``sources`` into the run folder ``output``.

    Args:
        preset_name: tiny, fast or paper. format, options: as for ``scenes.load``, for all scenes.
        split: which training frames' labels and pictures may be used, the same positions in every scene.
        changes: settings of :class:`FlowConfig` to change.

    Raises BadInput: unusable input, an unknown setting, a loss asked for whose input is missing, or a folder that holds
    a run already.
    """
    from .fit import posed

    Run.vacant(output)
    config = preset(preset_name).replaced(**changes)
    options = dict(options or {})
    scenes = [posed(load(source, format, **options)) for source in sources]
    where = [
        {"path": str(Path(source).resolve()), "format": scene.format or format, "options": options}
        for source, scene in zip(sources, scenes, strict=True)
    ]
    made = Run.create(output, FlowField.kind, where, {"name": config.teacher}, dataclasses.asdict(config), split)
    made.save_scenes(scenes)
    return learn(made, config, tuple(changes))


def learn(made: Run, config: FlowConfig, asked: tuple[str, ...] = ()) -> Run:
    """Train and write everything into the run folder."""
    scenes, split = made.scenes, made.split
    names, ids = class_names(scenes)
    found, clips = [], {}
    for number, (scene, own) in enumerate(zip(scenes, ids, strict=True)):
        chosen = split or LabelSplit.full(len(scene.train))
        with console.status(f"{scene.name}: flow, motion and depth of the video"):
            found.append(targets(chosen.seen(scene), own, chosen.filmed))
        name = scene.name if scene.name not in clips else f"{scene.name}_{number}"
        clips[name] = clip_of(made, scene, chosen, found[-1], config)
    field = start_field(clips, names, config).to(device())
    trainer = FlowTrainer(field, config, found, asked)
    for name, words in trainer.missing.items():
        console.print(f"[dim]loss {name} is off: it needs {words}[/dim]")
    checkpoint = made.folder / "checkpoint.safetensors"
    if checkpoint.exists():
        trainer.load_checkpoint(checkpoint)
    train(trainer, made)
    finish(made, trainer)
    return made
