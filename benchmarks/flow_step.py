"""A training step of a flow field: rays per second with the kernels and with plain torch in their place, and what
compositing, lookups and integration take of it, each on the inputs of that step, forward and backward."""

from __future__ import annotations

import contextlib
import functools
from unittest import mock

import torch
from semaflow.fields.flow import clip as clips
from semaflow.fields.flow import encoding, paths, render
from semaflow.fields.flow.clip import Clip
from semaflow.fields.flow.config import preset
from semaflow.fields.flow.losses import context
from semaflow.fields.flow.start import start_field
from semaflow.fields.flow.targets import Targets
from semaflow.fields.flow.trainer import FlowTrainer
from semaflow.scenes import Camera
from torch import Tensor

from .peers.torch_flow import composited, integrated, looked_up, read_planes
from .table import Table, milliseconds

FRAMES, WIDTH, HEIGHT, CHANNELS, CLASSES = 24, 240, 135, 32, 9
# where the field calls a kernel, and what plain torch does instead
CALLS = {
    "compositing": [(render, "composite_static_dynamic", composited)],
    "lookups of features": [(clips, "sample_trajectories", looked_up)],
    "lookups of planes": [(encoding, "sample_planes", read_planes)],
    "integration": [(paths, "trajectories", integrated), (context, "trajectories", integrated)],
}
COLUMNS = ["part", "kernels, ms", "torch, ms", "torch / kernels"]


def trainer(name: str = "fast") -> FlowTrainer:
    """Of a clip with random pictures, in its dynamic stage."""
    torch.manual_seed(0)
    cameras = [Camera.look_at((0.04 * k - 0.5, -3.0, 0.3), (0, 0, 0), WIDTH, HEIGHT) for k in range(FRAMES)]
    made = Clip(
        torch.linspace(0, 1, FRAMES), torch.stack([c.viewmat for c in cameras]), torch.stack([c.K for c in cameras]),
        torch.tensor([WIDTH, HEIGHT]), torch.randn(FRAMES, 34, 60, CHANNELS).half(), torch.zeros(1), torch.zeros(3),
        torch.tensor(1.5), torch.tensor(1.0), torch.tensor(6.0),
    )  # fmt: skip
    config = preset(name).replaced(static_iterations=0)
    shape = FRAMES, HEIGHT, WIDTH
    moving = torch.zeros(shape, dtype=torch.bool)
    moving[:, 40:80, 60:120] = True
    flow = torch.randn(*shape, 2), torch.ones(shape, dtype=torch.bool)
    depth = 2.5 + torch.rand(shape)
    found = Targets(
        list(range(FRAMES)), torch.rand(*shape, 3), moving, torch.randint(CLASSES, shape), (flow, flow), None, depth,
        depth, torch.randn(100, FRAMES, 3),
    )
    field = start_field({"clip": made}, [str(k) for k in range(CLASSES)], config)
    return FlowTrainer(field, config, [found])


def run() -> list[Table]:
    """One table: the step, and its parts."""
    training = trainer()
    rays = training.config.static_rays + training.config.dynamic_rays
    table = Table(f"A training step of a flow field, {rays} rays, preset fast", COLUMNS)

    def peer() -> None:
        with torch_alone():
            training.step()

    (ours,), (theirs,) = milliseconds((training.step,), (peer,), seconds=20)
    table.add(part="step", **_row(ours, theirs))
    table.notes.append(f"rays per second: {1e3 * rays / ours:.0f} with the kernels, {1e3 * rays / theirs:.0f} without")
    total = [0.0, 0.0]
    for part, calls in CALLS.items():
        own, others = captured(training, calls)
        (a,), (b,) = milliseconds((own,), (others,), seconds=10)
        total = [total[0] + a, total[1] + b]
        table.add(part=part, **_row(a, b))
    table.add(part="these together", **_row(*total))
    return [table]


def _row(ours: float, theirs: float) -> dict:
    return {"kernels, ms": ours, "torch, ms": theirs, "torch / kernels": theirs / ours}


@contextlib.contextmanager
def torch_alone():
    """While it lasts, the field calls plain torch."""
    with contextlib.ExitStack() as stack:
        for calls in CALLS.values():
            for module, name, other in calls:
                stack.enter_context(mock.patch.object(module, name, other))
        yield


def captured(training: FlowTrainer, calls) -> tuple:
    """Two functions that do again, forward and backward, all that a step asks of ``calls``: by kernels, by torch."""
    seen = []
    with contextlib.ExitStack() as stack:
        for module, name, other in calls:
            original = getattr(module, name)

            def spy(*arguments, original=original, other=other, **options):
                seen.append((original, other, arguments, options))
                return original(*arguments, **options)

            stack.enter_context(mock.patch.object(module, name, spy))
        training.step()

    def again(which: int) -> None:
        for call in seen:
            arguments, options = (_fresh(part) for part in call[2:])
            _back(call[which](*arguments, **options))

    return functools.partial(again, 0), functools.partial(again, 1)


def _fresh(value):
    """Tensors as leaves of a new graph."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    if isinstance(value, (list, tuple)):
        return type(value)(_fresh(part) for part in value)
    if isinstance(value, dict):
        return {name: _fresh(part) for name, part in value.items()}
    return value


def _back(result) -> None:
    """Backward from the sum of all that was computed."""
    found = []

    def collect(value) -> None:
        if isinstance(value, Tensor):
            if value.requires_grad:
                found.append(value.sum())
        elif isinstance(value, dict):
            for part in value.values():
                collect(part)
        elif isinstance(value, (list, tuple)):
            for part in value:
                collect(part)

    collect(result)
    if found:
        sum(found).backward()
