"""The perception field: what reference views of a scene say about a new one, scene after scene (GP-NeRF)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from torch import Tensor

from ...scenes import BadInput
from ...scenes.files import read_tensors, write_tensors
from ..field import Field, check_header
from .config import PerceptionConfig, checked
from .extractor import SMALLEST, Extractor, Maps
from .head import head
from .network import Aggregation
from .precision import applied
from .state import PerceptionState
from .views import Views

FORMAT = 2
BUFFERS = ("images", "viewmats", "Ks", "near", "far", "times", "window")  # of views
BATCH = 8  # views whose maps are made at once


class PerceptionField(Field):
    """Networks that any scene's reference views are given to, and the views of one scene to look at.

    Args:
        config: its sizes. label_names: of the classes. views: of a scene; None: until :meth:`look_at`.
    """

    kind = "perception"

    def __init__(self, config: PerceptionConfig, label_names: list[str], views: Views | None = None):
        super().__init__()
        self.config, self.label_names = checked(config), list(label_names)
        self.extractor = Extractor(
            config.widths, config.blocks, config.decoder, config.color_channels, config.color_stride,
            config.level_channels, config.gradient_block,
        )
        self.aggregation = Aggregation(config)
        self.head = head(config, len(label_names)) if label_names else None
        self.instance_head = head(config, config.instances) if config.instances else None
        self.slots = config.instances
        self.views: Views | None = None
        self._maps: Maps | None = None
        if views is not None:
            self.look_at(views)

    @property
    def count(self) -> int:
        """Numbers learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def extracted(self, pictures: Tensor) -> Maps:
        """What ``pictures`` [V, 3, H, W] in 0..1 show."""
        return applied(self.extractor, self.config.precision, pictures)

    def classes(self, features: Tensor, height: int, width: int) -> Tensor:
        """Class scores [B, C, height, width] of semantic features [B, D, h, w]."""
        return applied(self.head, self.config.precision, features, height, width)

    def things(self, features: Tensor, height: int, width: int) -> Tensor:
        """Scores of instance slots [B, K, height, width] of semantic features [B, D, h, w]."""
        return applied(self.instance_head, self.config.precision, features, height, width)

    def look_at(self, views: Views) -> PerceptionField:
        """This field, from now on speaking of the scene of ``views``; BadInput for fewer than ``config.views``."""
        if len(views) < self.config.views:
            raise BadInput(f"reference views: expected at least {self.config.views}, got {len(views)}")
        self.views, self._maps = views.to(next(self.parameters()).device), None
        return self

    def train(self, mode: bool = True) -> PerceptionField:
        """As of every module; what the reference views showed is forgotten, since the networks may change."""
        self._maps = None
        return super().train(mode)

    @torch.no_grad()
    def maps(self) -> Maps:
        """Maps of all reference views, computed once."""
        if self._maps is None:
            parts = []
            for chosen in torch.arange(len(self.views), device=self.views.images.device).split(BATCH):
                parts.append(self.extracted(self.views.pictures(chosen)))
            joined = (torch.cat(own) for own in zip(*parts, strict=True))
            self._maps = Maps(*(maps.to(memory_format=torch.channels_last) for maps in joined))
        return self._maps

    @torch.no_grad()
    def classify(self, image: Tensor) -> Tensor:
        """Class scores [H, W, C] of a picture [H, W, 3] in 0..1 by its own map alone, without other views or cameras.

        BadInput: a field without classes, or a picture that is too small.
        """
        if self.head is None:
            raise BadInput("logits: this field has learned no classes")
        height, width = image.shape[:2]
        if min(height, width) < SMALLEST:
            raise BadInput(f"picture: expected at least {SMALLEST} pixels along a side, got {min(height, width)}")
        picture = image.permute(2, 0, 1)[None].to(next(self.parameters()))
        return self.classes(self.extracted(picture).semantic, height, width)[0].permute(1, 2, 0)

    def at(self, time: float) -> PerceptionState:
        """The scene at ``time``; BadInput outside 0..1, or before :meth:`look_at`."""
        if not 0 <= time <= 1:
            raise BadInput(f"time: expected 0 to 1, got {time:g}")
        if self.views is None:
            raise BadInput("reference views: none given; the field knows no scene by itself")
        return PerceptionState(self, float(time))

    def trajectories(self, points: Tensor, time: float, times: Tensor) -> Tensor:
        """Nothing is followed: ``points`` [N, 3] at all ``times`` [T], [N, T, 3]."""
        return points[:, None].repeat(1, len(times), 1)

    def save(self, folder: str | Path) -> None:
        """Write ``field.safetensors`` into ``folder``, atomically: networks, and reference views if there are any."""
        write_tensors(Path(folder) / "field.safetensors", self.state_dict(), self.header())

    def header(self) -> dict[str, str]:
        """Text entries that go with the tensors."""
        return {
            "format": str(FORMAT), "kind": self.kind, "config": json.dumps(dataclasses.asdict(self.config)),
            "label_names": json.dumps(self.label_names),
        }

    @classmethod
    def load(cls, folder: str | Path) -> PerceptionField:
        """Read ``field.safetensors`` of ``folder``; BadInput when it is missing, corrupt, newer, or of another kind."""
        path = Path(folder) / "field.safetensors"
        tensors, header = read_tensors(path)
        check_header(header, cls.kind, FORMAT, path)
        try:
            config = PerceptionConfig().replaced(**json.loads(header["config"]))
            names = json.loads(header["label_names"])
            views = None
            if "views.images" in tensors:
                views = Views(*(tensors[f"views.{name}"] for name in BUFFERS))
        except KeyError as error:
            raise BadInput(f"{path}: {error.args[0]}: missing") from error
        except (ValueError, TypeError) as error:
            raise BadInput(f"{path}: header: {' '.join(str(error).split())}") from error
        field = cls(config, names, views)
        try:
            field.load_state_dict(tensors)
        except RuntimeError as error:
            raise BadInput(f"{path}: {' '.join(str(error).split())}") from error
        return field.eval()
