"""The training of a flow field: first what stands still, then what moves (Semantic Flow, its two stages)."""

from __future__ import annotations

import dataclasses
import time as clock
from pathlib import Path

import torch
from torch import Tensor

from ...scenes import BadInput
from ...scenes.files import read_tensors, write_tensors
from ..checkpoints import adam_tensors, restore_adam
from .config import FlowConfig
from .field import FlowField
from .losses import DYNAMIC, NEEDS, STATIC, Context
from .render import Rays, trace, trace_static
from .shown import shown_places
from .targets import Batch, Targets, draw

ROUGHNESS_EVERY = 4  # iterations


class FlowTrainer:
    """Fits ``field`` to the targets of its clips, one random frame of each in every step.

    Args:
        field: on the device to train on. config: schedules and weights. found: targets of each clip, in order.
        asked: names of losses that must be possible; others whose input is missing are left out (``missing``).
    """

    def __init__(self, field: FlowField, config: FlowConfig, found: list[Targets], asked: tuple[str, ...] = ()):
        self.field, self.config, self.found = field, config, found
        self.generator = torch.Generator().manual_seed(config.seed)
        self.iteration, self.seconds = 0, 0.0
        for clip, targets in zip(field.clips, found, strict=True):  # not earlier: an adapted clip has another's box
            clip.places = shown_places(clip, targets)
        self.missing: dict[str, str] = {}
        for name, (needed, words) in NEEDS.items():
            if not getattr(config, name):
                continue
            if any(getattr(targets, needed) is None for targets in found):
                if name in asked:
                    raise BadInput(f"loss {name}: needs {words}, which the scene has not; set {name}=0")
                self.missing[name] = words
        self.optimizer = self._optimizer()

    @property
    def finished(self) -> bool:
        return self.iteration >= self.config.iterations

    @property
    def still(self) -> bool:
        """Whether the static stage goes on."""
        return self.iteration < self.config.static_iterations

    @property
    def stage(self) -> str:
        """What is learned now, in a word."""
        return "still" if self.still else "moving"

    def _groups(self) -> dict[str, list[torch.nn.Parameter]]:
        """Parameters that this stage trains: of networks and of planes."""
        field = self.field
        static = [*field.static.parameters()]
        planes = [p for clip in field.clips if clip.space is not None for p in clip.space.parameters()]
        if not self.still:
            fixed = {id(parameter) for parameter in [*static, *planes]}
            planes = [p for clip in field.clips if clip.spacetime is not None for p in clip.spacetime.parameters()]
            fixed |= {id(parameter) for parameter in planes}
            static = [parameter for parameter in field.parameters() if id(parameter) not in fixed]
        return {"networks": static, "planes": planes}

    def _optimizer(self) -> torch.optim.Adam:
        groups = self._groups()
        learned = {id(parameter) for group in groups.values() for parameter in group}
        for parameter in self.field.parameters():
            parameter.requires_grad_(id(parameter) in learned)
        self.field.moving = not self.still
        return torch.optim.Adam(
            [{"params": parameters, "name": name} for name, parameters in groups.items() if parameters],
            lr=self.config.rate, eps=1e-15, fused=True,
        )

    def _schedule(self) -> None:
        config = self.config
        begin = 0 if self.still else config.static_iterations
        length = config.static_iterations if self.still else config.dynamic_iterations
        share = (self.iteration - begin) / max(1, length)
        for group in self.optimizer.param_groups:
            rate = config.plane_rate if group["name"] == "planes" else config.rate
            group["lr"] = rate * (config.rate_end / config.rate) ** share

    def step(self) -> dict[str, float]:
        """One iteration on one random frame of each clip; returns its loss terms, weighted, and PSNR."""
        started = clock.perf_counter()
        if self.iteration == self.config.static_iterations and self.config.static_iterations:
            self.optimizer = self._optimizer()
        self._schedule()
        terms: dict[str, Tensor] = {}
        errors = []
        for index in range(len(self.found)):
            self.field.current = index
            context = self.look(index)
            for name, value in self.terms(context).items():
                terms[name] = terms.get(name, 0.0) + value / len(self.found)
            errors.append(self._error(context))
        self.field.current = 0
        loss = sum(terms.values())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.config.clip_gradient and not self.still:
            learned = [p for group in self.optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(learned, self.config.clip_gradient)
        self.optimizer.step()
        self.iteration += 1
        self.seconds += clock.perf_counter() - started
        logged = {name: float(value.detach()) for name, value in terms.items()}
        error = sum(errors) / len(errors)
        return {"loss": float(loss.detach()), **logged, "psnr": float(-10 * torch.log10(error.clamp_min(1e-12)))}

    def look(self, index: int) -> Context:
        """A batch of a clip and what the field shows of it."""
        clip, found, config = self.field.clips[index], self.found[index], self.config
        share = len(self.found)
        static, dynamic = config.static_rays // share, config.dynamic_rays // share
        if self.still:
            static, dynamic = static + dynamic, 0
        batch = draw(found, clip.times, static, dynamic, self.generator)
        frame = None
        if self.still and config.random_static_frame:
            frame = int(torch.randint(len(clip.times), (), generator=self.generator))
            frame = frame if bool(clip.seen[frame]) else None
        batch = _on(batch, clip.center.device)
        rays = rays_of(clip, batch)
        if self.still:
            traced = trace_static(self.field, clip, rays, batch.time, self.generator, frame)
        else:
            semantic = batch.label is not None
            traced = trace(self.field, clip, rays, batch.time, self.generator, logits=semantic, frame=frame)
        return Context(self.field, clip, batch, traced, self.generator, found, self.still)

    def terms(self, context: Context) -> dict[str, Tensor]:
        """The stage's losses, weighted, by name."""
        losses = STATIC if self.still else DYNAMIC
        found = {}
        for name, loss in losses.items():
            weight = getattr(self.config, name)
            if weight and name not in self.missing:
                found[name] = weight * loss(context)
        # Reading whole planes takes as long as a step's rays, and what it says changes slowly.
        if self.config.roughness and context.clip.space is not None and self.iteration % ROUGHNESS_EVERY == 0:
            planes = context.clip.space if self.still else context.clip.spacetime
            found["roughness"] = ROUGHNESS_EVERY * self.config.roughness * planes.roughness()
        return found

    def _error(self, context: Context) -> Tensor:
        layers = context.traced.layers
        shown = (layers.static if self.still else layers.full).values["color"].detach()
        return (shown.clamp(0, 1) - context.batch.color).square().mean()

    def save_checkpoint(self, path: str | Path) -> None:
        """Everything needed to go on, in one safetensors file."""
        tensors = {f"field.{name}": value for name, value in self.field.state_dict().items()}
        tensors |= adam_tensors(self.optimizer)
        tensors |= {"random": self.generator.get_state(), "global_random": torch.get_rng_state()}
        header = self.field.header() | {"iteration": str(self.iteration), "seconds": repr(self.seconds)}
        write_tensors(path, tensors, header)

    def load_checkpoint(self, path: str | Path) -> None:
        """Go on from what :meth:`save_checkpoint` wrote; BadInput when it does not fit this field."""
        tensors, header = read_tensors(path)
        try:
            saved = {name[6:]: value for name, value in tensors.items() if name.startswith("field.")}
            self.field.load_state_dict(saved)
            self.iteration, self.seconds = int(header["iteration"]), float(header["seconds"])
            # a stage's optimiser is made as its first step begins
            first = self.iteration == self.config.static_iterations
            self.optimizer = self._optimizer()
            if not first:
                restore_adam(self.optimizer, tensors)
            self.generator.set_state(tensors["random"])
            torch.set_rng_state(tensors["global_random"])
        except KeyError as error:
            raise BadInput(f"{path}: {error.args[0]}: missing; not a checkpoint of this version") from error
        except (ValueError, TypeError, RuntimeError) as error:
            raise BadInput(f"{path}: not a checkpoint of this field: {' '.join(str(error).split())}") from error


def rays_of(clip, batch: Batch) -> Rays:
    """The rays of a batch's pixels."""
    camera = clip.camera(batch.frame)
    center = camera.center
    directions = camera.unproject(batch.pixels, torch.ones_like(batch.pixels[:, 0])) - center
    return Rays(center.expand_as(directions), directions)


def _on(batch: Batch, device) -> Batch:
    if device.type == "cpu":
        return batch
    def moved(value):
        if isinstance(value, Tensor):
            return value.to(device)
        return [tuple(part.to(device) for part in pair) for pair in value] if isinstance(value, list) else value

    return Batch(**{part.name: moved(getattr(batch, part.name)) for part in dataclasses.fields(batch)})
