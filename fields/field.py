"""The interface that every model of a scene has."""

from __future__ import annotations

import abc
from pathlib import Path

import torch
from torch import Tensor

from ..scenes import BadInput, Camera
from .rendering import Rendering


class Field(torch.nn.Module, abc.ABC):
    """A learned model of a moving world.

    ``kind`` names it in the header of ``field.safetensors``; ``label_names`` are the classes that it tells apart, by
    id, none before it learned any; ``names`` those of its videos, none where it is of one alone; ``slots`` how many
    single things it can tell apart in a picture (channel ``instances``), 0 where it does not.
    """

    kind: str = ""
    primitives: str = "parameters"  # what ``count`` counts
    label_names: list[str]
    names: list[str]
    slots: int = 0

    def __init__(self):
        super().__init__()
        self.label_names = []
        self.names = []

    def semantics(self) -> Tensor | None:
        """Features of primitives that can be selected, [N, D]; None where there are none."""
        return None

    @abc.abstractmethod
    def at(self, time: float):
        """The model posed at ``time`` (0..1): a state, which a camera renders."""

    def render(self, camera: Camera, time: float, channels=("color",), values: Tensor | None = None) -> Rendering:
        """What ``camera`` sees at ``time``; ``channels`` among color, depth, features, logits; ``values`` [N, C] are
        extra channels given per primitive."""
        return self.at(time).render(camera, channels, values)

    @abc.abstractmethod
    def trajectories(self, points: Tensor, time: float, times: Tensor) -> Tensor:
        """Where the matter at ``points`` [N, 3] at ``time`` is at ``times`` [T]: [N, T, 3]."""

    @abc.abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write ``field.safetensors`` into ``folder``, atomically."""

    @classmethod
    @abc.abstractmethod
    def load(cls, folder: str | Path) -> Field:
        """Read what :meth:`save` wrote; BadInput names what is wrong with it."""


def check_header(header: dict[str, str], kind: str, newest: int, source: str | Path) -> None:
    """BadInput unless ``header`` of the file ``source`` says that it holds something of that ``kind``, in a format no
    newer than ``newest``."""
    if not header.get("format", "").isdigit():
        raise BadInput(f"{source}: header: expected a format version, got {header.get('format')!r}")
    if int(header["format"]) > newest:
        raise BadInput(f"{source}: format: {header['format']} is newer than this version reads ({newest})")
    if header.get("kind") != kind:
        raise BadInput(f"{source}: kind: expected {kind}, got {header.get('kind')!r}")
