"""``semaflow adapt``: a trained flow field adapted to a new scene."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from ..fields.flow.adapt import adapted
from ..fields.flow.field import FlowField
from ..scenes import BadInput, load
from ..scenes.encoders import Code
from ..scenes.labels import common_classes, in_classes, with_classes
from ..scenes.motion.named import class_ids
from . import fit as fitting
from .fit_flow import prepared, trained
from .run import Run, whereabouts

# What few steps ask for: planes, which are of one scene alone, are learned faster.
TUNING = {"static_iterations": 100, "dynamic_iterations": 200, "plane_rate": 0.1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb: those of ``fit``, and the run to start from."""
    fitting.add_arguments(parser)
    parser.add_argument("--from", dest="start", required=True, metavar="RUN", help="run of a flow field to start from")


def run(arguments: argparse.Namespace) -> None:
    """The verb."""
    asked = fitting.asked(arguments)
    adapt(arguments.start, asked.pop("source"), asked.pop("output"), asked["format"], asked["options"], **{
        name: value for name, value in asked.items() if name not in ("preset_name", "format", "options")
    })


def adapt(start: str | Path, source: str | Path, output: str | Path, format: str | None = None,
          options: dict | None = None, **changes) -> Run:
    """Adapt the flow field of the run ``start`` to the scene at ``source``, in a few hundred steps (Semantic Flow,
    adaptation to novel scenes).

    The networks go on from those of ``start``, with its settings; the new scene's planes from those of the clip that
    explain it best. ``changes``: settings to change; the steps are ``static_iterations`` and ``dynamic_iterations``.

    Raises BadInput: ``start`` is no run of a flow field, or knows other classes than the scene's labels are of.
    """
    before = Run.open(start)
    if before.config["method"] != FlowField.kind:
        raise BadInput(f"{start}: method: expected a run of --method flow, got {before.config['method']!r}")
    Run.vacant(output)
    field = before.field
    config = field.config.replaced(**{**TUNING, **changes})
    scene = in_classes(with_classes(load(source, format, **(options or {}))), field.label_names)
    class_ids(config.moving_classes, scene.label_names)
    scene = fitting.posed(scene)
    where = whereabouts(source, scene.format or format, options)
    made = Run.create(output, FlowField.kind, where, {"name": config.encoder}, dataclasses.asdict(config))
    made.save_scene(*common_classes([scene]))
    code = Code(field.code_mean, field.code_axes) if len(field.code_mean) else None
    clips, found, _ = prepared(made, config, code)
    torch.manual_seed(config.seed)
    return trained(made, adapted(field, config, clips, found), found)
