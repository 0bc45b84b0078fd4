"""The training of a perception field, on many scenes or on one: in each step one picture, from views around it."""

from __future__ import annotations

import json
import time as clock
from pathlib import Path

import torch
from torch import Tensor

from ...scenes import BadInput, Camera
from ...scenes.files import read_tensors, write_tensors
from .. import processes
from ..checkpoints import adam_tensors, restore_adam
from . import losses
from .augment import mirrored, relit
from .extractor import Maps
from .field import PerceptionField
from .instances import instance_error
from .render import Traced, directions, references, trace
from .targets import Targets, cells, pixels_in

NEEDS = {  # losses that need more than pictures with cameras: what of the targets, and what it is called
    "semantics": ("labels", "labels"),
    "reference_semantics": ("labels", "labels"),
    "guided": ("depths", "true depth"),
    "known_depth": ("depths", "true depth"),
    "sure_depth": ("depths", "true depth"),
    "instance": ("instances", "instances"),
}


class PerceptionTrainer:
    """Fits the networks of ``field`` to pictures of scenes.

    Where several processes train, each draws scenes and pictures of its own, and all take the same steps along the mean
    of their gradients.

    Args:
        field: on the device to train on. found: targets of each scene.
        asked: names of losses that must be possible; others whose input no scene has are left out (``missing``).

    Raises BadInput: a scene with too few pictures to be seen from the others, or with one that none of them overlaps, a
    loss asked for that is not possible, or float16 on another device than CUDA.
    """

    def __init__(self, field: PerceptionField, found: list[Targets], asked: tuple[str, ...] = ()):
        self.field, self.config, self.found = field.train(), field.config, found
        if self.config.precision == "float16" and self.device.type != "cuda":
            raise BadInput("setting 'precision': float16 is for CUDA devices alone; bfloat16 is for the CPU too")
        self.generator = torch.Generator().manual_seed(self.config.seed + processes.rank())
        self.iteration, self.seconds = 0, 0.0
        for own in found:
            if len(own.views) <= self.config.views:
                raise BadInput(
                    f"{own.name}: reference views: expected at least {self.config.views} beside the target, "
                    f"got {len(own.views) - 1}"
                )
            own.views.to(self.device)
            alone = own.views.alone(self.config.views, self.config.pool)
            if alone:
                raise BadInput(f"{own.name}: training frame {alone[0]}: shows nothing that a reference view shows")
        self.weights = self._weights()
        self.missing: dict[str, str] = {}
        for name, (needed, words) in NEEDS.items():
            if self.weights.get(name) and all(getattr(own, needed) is None for own in found):
                if name in asked:
                    raise BadInput(f"loss {name}: needs {words}, which no scene has; set {name}=0")
                self.missing[name] = words
        self.optimizer = torch.optim.Adam(
            [{"params": parameters, "name": name, "rate": rate} for name, parameters, rate in self._groups()],
            lr=1.0, fused=True,
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.config.precision == "float16")
        processes.share(self.field.parameters())
        if processes.rank():
            torch.manual_seed(self.config.seed + processes.rank())  # else all would drop the same

    @property
    def device(self) -> torch.device:
        return next(self.field.parameters()).device

    @property
    def finished(self) -> bool:
        return self.iteration >= self.config.iterations

    @property
    def stage(self) -> str:
        """What is learned now, in a word."""
        return "one scene" if len(self.found) == 1 else f"{len(self.found)} scenes"

    def _weights(self) -> dict[str, float]:
        """Of the losses that the switches leave on."""
        config = self.config
        return {
            "color": config.color, "coarse_color": config.coarse_color,
            "semantics": config.semantics if self.field.head is not None else 0.0,
            "reference_semantics": config.reference_semantics if self.field.head is not None else 0.0,
            "distill": config.distill * config.distill_2d, "guided": config.guided * config.distill_depth,
            "known_depth": config.known_depth, "sure_depth": config.sure_depth,
            "instance": config.instance if self.field.instance_head is not None else 0.0,
        }

    def _groups(self):
        field, config = self.field, self.config
        heads = [part for part in (field.head, field.instance_head) if part is not None]
        yield "extractor", [*field.extractor.parameters()], config.extractor_rate
        yield "transformers", [*field.aggregation.parameters()], config.transformer_rate
        if heads:
            yield "heads", [parameter for part in heads for parameter in part.parameters()], config.head_rate

    def _schedule(self) -> None:
        config = self.config
        share = config.decay ** (self.iteration / max(1, self.config.iterations))
        rising = min(1.0, (self.iteration + 1) / max(1, config.warm_up))
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * share * rising

    def step(self) -> dict[str, float]:
        """One iteration on one picture of one scene; returns its loss terms, weighted, and PSNR."""
        started = clock.perf_counter()
        self._schedule()
        terms, error = self.backward()
        processes.average_gradients(self.field.parameters())
        self.scaler.unscale_(self.optimizer)  # of means: what is not finite in one process is so in all
        if self.config.clip_gradient:
            torch.nn.utils.clip_grad_norm_(self.field.parameters(), self.config.clip_gradient)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.iteration += 1
        self.seconds += clock.perf_counter() - started
        logged = {name: float(value.detach()) for name, value in terms.items()}
        psnr = float(-10 * torch.log10(error.detach().clamp_min(1e-12)))
        return {"loss": sum(logged.values()), **logged, "psnr": psnr}

    def backward(self) -> tuple[dict[str, Tensor], Tensor]:
        """The gradients of a picture drawn at random, in place of the last ones; returns its :meth:`terms`."""
        own = self.found[int(torch.randint(len(self.found), (), generator=self.generator))]
        target = int(torch.randint(len(own.views), (), generator=self.generator))
        terms, error = self.terms(own, target)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(sum(terms.values())).backward()
        return terms, error

    def terms(self, own: Targets, target: int) -> tuple[dict[str, Tensor], Tensor]:
        """The losses of the picture ``target``, weighted, by name; and the mean squared error of colours."""
        config, field = self.config, self.field
        chosen = own.views.drawn(target, config.views, config.pool, self.generator)
        own = self._changed(own.of(torch.cat([chosen, chosen.new_tensor([target])])))  # the last is the target
        views, (width, height) = own.views, own.views.size
        pictures = views.pictures()
        maps = field.extracted(pictures)
        semantic = maps.semantic[:-1]
        maps, novel = Maps(maps.color[:-1], semantic.detach() if config.gradient_block else semantic), maps.semantic[-1]
        camera = Camera(views.Ks[-1], views.viewmats[-1], width, height)
        where, pixels = self._draw(novel.shape[-2:], height, width)
        x, y = pixels.unbind(1)
        ways = directions(camera, pixels.to(novel) + 0.5)
        weights = {name: 0.0 if name in self.missing else weight for name, weight in self.weights.items()}
        semantics = any(weights[name] for name in ("semantics", "distill", "guided", "instance"))
        before = references(views, slice(-1), maps, camera)
        traced = trace(field.aggregation, before, ways, semantics, self.generator, bool(weights["coarse_color"]))
        color = pictures[-1, :, y, x].T
        raw = {"color": lambda: losses.color_error(traced.fine.color, color)}
        if weights["coarse_color"]:
            raw["coarse_color"] = lambda: losses.color_error(traced.coarse.color, color)
        if own.depths is not None:
            depth = own.depths[-1, y, x]
            raw["known_depth"] = lambda: losses.depth_error(traced.fine.depth, depth)
            raw["sure_depth"] = lambda: losses.depth_likelihood(traced.fine.weights, traced.depths, depth)
        if semantics:
            raw |= self._semantic(traced, novel, where, own, pixels)
            if own.depths is not None:
                teacher = novel.flatten(1)[:, where].T
                raw["guided"] = lambda: losses.guided_distillation(
                    traced.fine.matter, teacher, traced.depths, depth, config.near_depth
                )
        if own.labels is not None and field.head is not None:
            labels = own.labels[:-1].long()
            raw["reference_semantics"] = lambda: losses.class_error(field.classes(semantic, height, width), labels)
        found = {name: weights[name] * loss() for name, loss in raw.items() if weights[name]}
        return found, (traced.fine.color.detach().clamp(0, 1) - color).square().mean()

    def _changed(self, own: Targets) -> Targets:
        """A few pictures as if of another scene, by chance."""
        config = self.config
        if config.mirrored and float(torch.rand((), generator=self.generator)) < config.mirrored:
            own = mirrored(own)
        return relit(own, config.relit, self.generator) if config.relit else own

    def _draw(self, size: tuple[int, int], height: int, width: int) -> tuple[Tensor, Tensor]:
        """Which cells of a map of ``size`` are rendered, [R], and of each the pixel (x, y) whose ray it is, [R, 2]."""
        config = self.config
        patch = config.patch if float(torch.rand((), generator=self.generator)) < config.patches else 1
        where = cells(*size, config.rays, patch, self.generator)
        pixels = pixels_in(where, size[1], height, width, self.generator)
        return where.to(self.device), pixels.to(self.device)

    def _semantic(self, traced: Traced, novel: Tensor, where: Tensor, own: Targets, pixels: Tensor) -> dict:
        """Losses of the fused map: rendered features where there are rays, those of the target picture elsewhere.

        Where it is not to be fused: of rendered features alone, all in one row.
        """
        field, rendered, (width, height) = self.field, traced.fine.semantic, own.views.size
        raw = {"distill": lambda: losses.distillation(rendered, novel.flatten(1)[:, where].T)}
        labels, things = (None if layer is None else layer[-1].long() for layer in (own.labels, own.instances))
        if self.config.fused:
            made = novel.flatten(1).index_copy(1, where, rendered.T).view_as(novel)[None]
        else:
            x, y = pixels.unbind(1)
            labels = None if labels is None else labels[None, y, x]
            made, height, width = rendered.T[None, :, None], 1, len(rendered)
        if labels is not None and field.head is not None:
            raw["semantics"] = lambda: losses.class_error(field.classes(made, height, width), labels[None])
        if things is not None and field.instance_head is not None:
            raw["instance"] = lambda: instance_error(field.things(made, height, width)[0], things)
        return raw

    def save_checkpoint(self, path: str | Path) -> None:
        """Everything needed to go on, in one safetensors file; all processes call this, the first one writes."""
        randoms = {"random": self.generator.get_state(), "global_random": torch.get_rng_state()}
        randoms = {name: processes.gathered(state) for name, state in randoms.items()}
        if processes.rank():
            return
        tensors = {f"field.{name}": value for name, value in self.field.state_dict().items()}
        tensors |= adam_tensors(self.optimizer)
        for name, states in randoms.items():
            tensors |= {_of_rank(name, k): state for k, state in enumerate(states)}
        header = self.field.header() | {"iteration": str(self.iteration), "seconds": repr(self.seconds)}
        header["scaler"] = json.dumps(self.scaler.state_dict())
        write_tensors(path, tensors, header)

    def load_checkpoint(self, path: str | Path) -> None:
        """Go on from what :meth:`save_checkpoint` wrote; BadInput when it does not fit this field.

        Processes that were not there when it was written draw as from the start.
        """
        tensors, header = read_tensors(path)
        try:
            names = json.loads(header["label_names"])
            if names != self.field.label_names:
                ours, theirs = (f"{len(own)} classes ({', '.join(own)})" for own in (self.field.label_names, names))
                raise ValueError(f"expected {ours}, got {theirs}")
            saved = {name[6:]: value for name, value in tensors.items() if name.startswith("field.")}
            self.field.load_state_dict(saved)
            self.iteration, self.seconds = int(header["iteration"]), float(header["seconds"])
            restore_adam(self.optimizer, tensors)
            if self.scaler.is_enabled():
                self.scaler.load_state_dict(json.loads(header["scaler"]))
            rank = processes.rank()
            if not rank or _of_rank("random", rank) in tensors:
                self.generator.set_state(tensors[_of_rank("random", rank)])
                torch.set_rng_state(tensors[_of_rank("global_random", rank)])
        except KeyError as error:
            raise BadInput(f"{path}: {error.args[0]}: missing; not a checkpoint of this version") from error
        except (ValueError, TypeError, RuntimeError) as error:
            raise BadInput(f"{path}: not a checkpoint of this field: {' '.join(str(error).split())}") from error


def _of_rank(name: str, rank: int) -> str:
    """What the state called ``name`` is called in a checkpoint, of the process ``rank``."""
    return f"{name}.{rank}" if rank else name
