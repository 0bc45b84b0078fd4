"""The flow field: semantics learned from trajectories, of one video or several (Semantic Flow)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from torch import Tensor

from ...kernels.advect import trajectories
from ...scenes import BadInput
from ...scenes.files import read_tensors, write_tensors
from ..field import Field, check_header
from .blocks import Attention
from .clip import Clip
from .config import LEARNED, FlowConfig
from .dynamic import DynamicNetwork, Radiance
from .editing import Editing
from .encoder import SmallEncoder
from .encoding import Planes, Waves
from .paths import FlowCode, Paths, follow
from .state import FlowState
from .static import StaticNetwork

FORMAT = 1
BLEND = 0.5  # at which a place belongs to the dynamic field


class FlowField(Field):
    """A dynamic and a static radiance field with class logits read along trajectories (Semantic Flow).

    The networks are shared by all clips; what is of one clip alone (cameras, features, planes) is in ``clips``. The
    methods of :class:`Field` speak of the clip ``current``.

    Args:
        config: its sizes. clips: the videos, by name. label_names: of the classes.
    """

    kind = "flow"

    def __init__(self, config: FlowConfig, clips: dict[str, Clip], label_names: list[str]):
        super().__init__()
        self.config, self.label_names = config, list(label_names)
        self.names = list(clips)
        self.clips = torch.nn.ModuleList(clips.values())
        self.current = 0
        features = self.clips[0].maps.shape[-1] if len(clips) else 0
        if any(clip.maps.shape[-1] != features for clip in self.clips):
            raise BadInput("clips: expected feature maps of as many channels each")
        latent = self.clips[0].latent.shape[0] if config.latent else 0
        classes = max(1, len(label_names))
        self.waves = config.encoding == "waves"
        if self.waves:
            self.in_space, self.in_spacetime = Waves(3, config.octaves, False), Waves(4, config.octaves)
            sizes = self.in_space.size, self.in_spacetime.size
        else:
            for clip in self.clips:
                clip.space, clip.spacetime = planes(config, 3), planes(config, 4)
            sizes = (config.plane_levels * config.plane_channels,) * 2
        self.latent = torch.nn.Linear(latent, config.latent) if latent else None
        self.flow_code = FlowCode(
            features, config.token_width, config.flow_points, config.displacement, config.absolute, config.attention
        )
        self.dynamic = DynamicNetwork(
            sizes[1], config.width, config.blocks, config.latent if latent else 0,
            features if config.dynamic_features else 0, self.flow_code.size, config.position_semantics, classes,
            config.density,
        )
        self.static = StaticNetwork(
            sizes[0], config.static_width, config.static_blocks, features if config.static_features else 0, classes,
            config.density,
        )
        self.ray_attention = Attention(classes) if config.ray_attention else None
        self.edit: Editing | None = None
        self.encoder = SmallEncoder(features) if config.encoder == LEARNED else None
        self.pictures: list[Tensor] | None = None
        self.register_buffer("code_mean", torch.zeros(0))
        self.register_buffer("code_axes", torch.zeros(0, 0))

    @property
    def clip(self) -> Clip:
        """The current clip."""
        return self.clips[self.current]

    def of(self, name: str) -> FlowField:
        """This field, its current clip the one called ``name``; BadInput lists those there are."""
        if name not in self.names:
            raise BadInput(f"clip {name!r}: expected one of {', '.join(self.names)}")
        self.current = self.names.index(name)
        return self

    # What the networks say of P world points [P, 3] of a clip at a time.

    def code(self, clip: Clip, points: Tensor, time: float | Tensor) -> Tensor:
        """The dynamic network's code [P, width]."""
        moment = torch.as_tensor(time, dtype=points.dtype, device=points.device) * 2 - 1
        places = torch.cat([clip.inner(points), moment.expand(len(points), 1)], -1)
        embedded = self.in_spacetime(places) if self.waves else clip.spacetime(places)
        latent = None if self.latent is None else self.latent(clip.latent.to(points))
        return self.dynamic.code(embedded, latent)

    def velocity(self, clip: Clip, points: Tensor, time: float | Tensor) -> Tensor:
        """Of the matter there, [P, 3] in scene units per unit of time (the whole clip)."""
        fastest = self.config.fastest * clip.radius / max(clip.step, 1e-9)
        return fastest * self.dynamic.velocity(self.code(clip, points, time))

    def flow(self, clip: Clip, points: Tensor, time: float) -> tuple[Paths, Tensor]:
        """Their trajectories and the features [P, K, C] that the flow points show."""
        paths = follow(points, time, clip, lambda t, x: self.velocity(clip, x, t), self.config)
        positions, frames = paths.positions[:, paths.tokens], [paths.frames[k] for k in paths.tokens]
        if self.config.compat_neighbour_ndc:
            own = clip.inner(positions)
            positions = torch.cat([positions[:, :1], own[:, 1:]], 1)
        return paths, clip.read(positions, frames, self.maps(frames))

    def maps(self, frames: list[int]) -> Tensor | None:
        """Feature maps [K, h, w, C] of the current clip's frames by the encoder while it learns (from ``pictures``
        [T, 3, H, W] of each clip); None: the clip keeps them."""
        if self.pictures is None:
            return None
        maps, _ = self.encoder(self.pictures[self.current].to(self.clip.center.device), frames)
        return maps.permute(0, 2, 3, 1)

    @torch.no_grad()
    def keep_maps(self) -> None:
        """Let the clips keep what the encoder has learned to say."""
        if self.pictures is None:
            return
        for number, clip in enumerate(self.clips):
            self.current = number
            clip.maps = self.maps(list(range(len(clip.times)))).half()
        self.current, self.pictures = 0, None

    @property
    def count(self) -> int:
        """Numbers learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def static_radiance(self, clip: Clip, points: Tensor, directions: Tensor, frame: int,
                        noise: float = 0.0) -> Radiance:
        """What stands still there, seen along unit ``directions`` [P, 3] with the features of a frame."""
        if not self.config.static_field:
            return Radiance(
                torch.zeros_like(points), points.new_zeros(len(points)), None,
                points.new_zeros(len(points), max(1, len(self.label_names))),
            )
        return self.static(self.embedded(clip, points), directions, self.static_features(clip, points, frame), noise)

    def embedded(self, clip: Clip, points: Tensor) -> Tensor:
        """The static network's input."""
        places = clip.inner(points)
        return self.in_space(places) if self.waves else clip.space(places)

    def static_features(self, clip: Clip, points: Tensor, frame: int) -> Tensor | None:
        """Features [P, C] of a frame where the points project, if the static network reads them."""
        if not self.config.static_features:
            return None
        return clip.read(points[:, None], [frame], self.maps([frame]))[:, 0]

    def densities(self, clip: Clip, points: Tensor, time: float, depths: Tensor, lengths: Tensor) -> Tensor:
        """Weights [R, M] in the joint rendering of samples, by densities alone."""
        shape = depths.shape
        if self.config.static_field:
            features = self.static_features(clip, points, clip.frame(time))
            alpha = 1 - torch.exp(-self.static.densities(self.embedded(clip, points), features).view(shape) * lengths)
        else:
            alpha = torch.zeros_like(depths)
        if self.moving:
            code = self.code(clip, points, time)
            shown = self.flow(clip, points, time)[1] if self.config.dynamic_features else None
            _, radiance = self.dynamic.radiate(code, shown)
            blend = radiance.blend.view(shape)
            own = 1 - torch.exp(-radiance.density.view(shape) * lengths)
            alpha = 1 - (1 - own * blend) * (1 - alpha * (1 - blend))
            # what the dynamic field alone would show is asked too
            alpha = torch.maximum(alpha, 0.3 * own)
        passed = torch.cat([torch.ones_like(alpha[:, :1]), (1 - alpha[:, :-1]).cumprod(1)], 1)
        return alpha * passed

    moving = True  # False while the static field trains alone

    # The interface of every field.

    def at(self, time: float) -> FlowState:
        """The current clip at ``time``, edited if there is an ``edit`` of it; BadInput outside 0..1."""
        if not 0 <= time <= 1:
            raise BadInput(f"time: expected 0 to 1, from the clip's first frame to its last, got {time:g}")
        return FlowState(self, self.clip, float(time), self._editing)

    @property
    def _editing(self) -> Editing | None:
        return self.edit if self.edit is not None and self.edit.clip is self.clip else None

    @torch.no_grad()
    def trajectories(self, points: Tensor, time: float, times: Tensor) -> Tensor:
        """Where the matter at ``points`` [P, 3] at ``time`` is at ``times`` [T] (any order): [P, T, 3].

        What the field holds for static stays. Integrated from ``time`` forward and backward. After an edit, what was
        copied moves as its original does, and nothing moves where something was removed.
        """
        points = points.to(self.clip.center)
        times = torch.as_tensor(times).to(points)
        if self._editing is not None:
            return self._editing.trajectories(points, time, times)
        return self.followed(self.clip, points, time, times)

    def followed(self, clip: Clip, points: Tensor, time: float, times: Tensor) -> Tensor:
        """As :meth:`trajectories`, of a clip as it was filmed."""
        _, radiance = self.dynamic.radiate(self.code(clip, points, time), self._shown(clip, points, time))
        moves = (radiance.blend > BLEND) if self.config.static_field else torch.ones_like(radiance.blend).bool()
        out = points[:, None].repeat(1, len(times), 1)
        for side in (times < time, times > time):
            if not side.any() or not moves.any():
                continue
            wanted, back = times[side].unique(return_inverse=True)
            ordered = wanted if float(wanted[0]) > time else wanted.flip(0)
            start = torch.tensor([time], dtype=times.dtype, device=times.device)
            steps = max(1, round(float((ordered - torch.cat([start, ordered[:-1]])).abs().max()) / clip.step))
            path = trajectories(
                points[moves], torch.cat([start, ordered]), lambda t, x: self.velocity(clip, x, t),
                method="rk4", steps=steps,
            )[:, 1:]
            path = path if float(wanted[0]) > time else path.flip(1)
            rows = moves.nonzero()[:, 0][:, None]
            out[rows, side.nonzero()[:, 0][None]] = path[:, back]
        return out

    def _shown(self, clip: Clip, points: Tensor, time: float) -> Tensor | None:
        return self.flow(clip, points, time)[1] if self.config.dynamic_features else None

    def save(self, folder: str | Path) -> None:
        """Write ``field.safetensors`` into ``folder``, atomically."""
        write_tensors(Path(folder) / "field.safetensors", self.state_dict(), self.header())

    def header(self) -> dict[str, str]:
        """Text entries that go with the tensors."""
        return {
            "format": str(FORMAT), "kind": self.kind, "config": json.dumps(dataclasses.asdict(self.config)),
            "clips": json.dumps(self.names), "label_names": json.dumps(self.label_names),
        }

    @classmethod
    def load(cls, folder: str | Path) -> FlowField:
        """Read ``field.safetensors`` of ``folder``; BadInput when it is missing, corrupt, newer, or of another kind."""
        path = Path(folder) / "field.safetensors"
        tensors, header = read_tensors(path)
        return cls.from_tensors(tensors, header, path)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], header: dict[str, str], source: str | Path) -> FlowField:
        """Build the field from what :meth:`save` wrote; ``source`` names the file in errors."""
        check_header(header, cls.kind, FORMAT, source)
        try:
            config = FlowConfig().replaced(**json.loads(header["config"]))
            names, labels = json.loads(header["clips"]), json.loads(header["label_names"])
            clips = {
                name: Clip(**{key: tensors[f"clips.{k}.{key}"] for key in CLIP}) for k, name in enumerate(names)
            }
        except KeyError as error:
            raise BadInput(f"{source}: {error.args[0]}: missing") from error
        except (ValueError, TypeError) as error:
            raise BadInput(f"{source}: header: {' '.join(str(error).split())}") from error
        field = cls(config, clips, labels)
        for name in ("code_mean", "code_axes"):
            setattr(field, name, tensors.get(name, getattr(field, name)))
        try:
            field.load_state_dict(tensors)
        except RuntimeError as error:
            raise BadInput(f"{source}: {' '.join(str(error).split())}") from error
        return field


CLIP = ("times", "viewmats", "Ks", "size", "maps", "latent", "center", "radius", "near", "far", "seen", "places")


def planes(config: FlowConfig, dims: int) -> Planes:
    """Fresh planes of a clip."""
    return Planes(dims, config.plane_resolution, config.plane_channels, config.plane_levels, config.moments)
