"""What was filmed: frames with cameras and times, and everything known about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from .camera import Camera
from .files import BadInput


class Frame:
    """One picture of a scene: where and when it was taken, and lazily what it shows.

    Layers are given as arrays or as functions that load them; a function runs at the first access and its result
    is kept unless ``keep`` is false.

    Layers (all optional but ``image``):
        image [H, W, 3] float32 in 0..1, sRGB as stored; alpha [H, W] float32;
        mask [H, W] bool: the moving or foreground object, where a data set gives one;
        motion [H, W] bool: what moves at this time, where a data set brings an estimate along;
        label, instance, part [H, W] int64, -1 unlabelled;
        depth [H, W] float32 z-depth in scene units, 0 for nothing;
        disparity [H, W] float32 of a monocular estimate: larger is nearer, scale and shift unknown;
        flow_forward, flow_backward [H, W, 2] float32 pixels to frame t+1 / t-1 of the same camera path;
        flow_forward_valid, flow_backward_valid [H, W] bool: where that flow is to be trusted. Estimated flow comes
        with them and is learned from; flow without them is the truth of a simulated world, to measure by;
        features [h, w, D] float32: a teacher's map.
    """

    LAYERS = (
        "image", "alpha", "mask", "motion", "label", "instance", "part", "depth", "disparity",
        "flow_forward", "flow_backward", "flow_forward_valid", "flow_backward_valid", "features",
    )

    def __init__(self, name: str, camera: Camera, time: float, keep: bool = True, **layers: Tensor | Callable):
        unknown = set(layers) - set(self.LAYERS)
        if unknown:
            raise TypeError(f"Frame: unknown layers {sorted(unknown)}; known: {', '.join(self.LAYERS)}")
        self.name, self.camera, self.time, self.keep = name, camera, float(time), keep
        self._layers = layers

    def has(self, layer: str) -> bool:
        """Whether this frame comes with ``layer``."""
        return self._layers.get(layer) is not None

    def __getattr__(self, layer: str) -> Tensor | None:
        if layer not in Frame.LAYERS:
            raise AttributeError(layer)
        value = self._layers.get(layer)
        if callable(value):
            value = value()
            if layer == "image" and value.shape[:2] != (self.camera.height, self.camera.width):
                raise BadInput(
                    f"{self.name}: image is {value.shape[1]}x{value.shape[0]}, "
                    f"expected {self.camera.width}x{self.camera.height} as its camera says"
                )
            if self.keep:
                self._layers[layer] = value
        return value

    def with_layers(self, **layers: Tensor | Callable) -> Frame:
        """A copy with layers added or replaced."""
        return Frame(self.name, self.camera, self.time, self.keep, **{**self._layers, **layers})

    def with_camera(self, camera: Camera) -> Frame:
        """A copy seen by another camera (refined pose)."""
        return Frame(self.name, camera, self.time, self.keep, **self._layers)


@dataclass
class PointCloud:
    """Coloured points: ``positions`` [P, 3] in scene units, ``colors`` [P, 3] in 0..1.

    ``times`` [P] says when a moving point was there; NaN for points of what stands still. None: all still.
    """

    positions: Tensor
    colors: Tensor
    times: Tensor | None = None

    def __len__(self) -> int:
        return len(self.positions)


@dataclass
class Tracks:
    """True trajectories of points: ``positions`` [N, T, 3], ``visible`` [N, T] bool in the training frames,
    ``times`` [T], ``label``, ``instance`` and ``part`` [N] int64, ``body`` names by instance."""

    positions: Tensor
    visible: Tensor
    times: Tensor
    label: Tensor
    instance: Tensor
    part: Tensor


@dataclass
class Scene:
    """Frames of a moving world.

    Attributes:
        name: what to call it.
        frames: all frames, training and test.
        train, test: indices into ``frames``; training frames are in time order.
        points: initial points, or None.
        tracks: true trajectories where they are known, or None.
        label_names, part_names: class and part names by id.
        frame_rate: frames per second of the training video, to turn normalised time into seconds.
        up: world direction that points up, [3].
        notes: what a reader or the camera estimation wants the user to know, one line each.
        timed: whether the source says when each frame was taken; False: all that is known is their order.
        posed: whether the frames' cameras are known; False: they are placeholders until estimated.
        estimated: whether the cameras were estimated from the video and may be refined during training.
        source: the folder or file it was read from, and the format's name.
    """

    name: str
    frames: list[Frame]
    train: list[int]
    test: list[int] = field(default_factory=list)
    points: PointCloud | None = None
    tracks: Tracks | None = None
    label_names: list[str] = field(default_factory=list)
    part_names: list[str] = field(default_factory=list)
    frame_rate: float = 24.0
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    notes: list[str] = field(default_factory=list)
    timed: bool = False
    posed: bool = True
    estimated: bool = False
    source: Path | None = None
    format: str = ""

    def __post_init__(self):
        if not self.train:
            raise BadInput(f"{self.name}: the scene has no training frames")

    def split(self, which: str) -> list[Frame]:
        """The frames of ``"train"`` or ``"test"``."""
        if which not in ("train", "test"):
            raise BadInput(f"split: expected train or test, got {which!r}")
        return [self.frames[index] for index in getattr(self, which)]

    @property
    def cameras(self) -> list[Camera]:
        """Cameras of the training frames, in time order."""
        return [frame.camera for frame in self.split("train")]

    @property
    def times(self) -> list[float]:
        """Times of the training frames, ascending in 0..1."""
        return [frame.time for frame in self.split("train")]

    @property
    def extent(self) -> float:
        """1.1 times the largest distance of a training camera from their mean (as in 3DGS), at least 1e-3."""
        centers = torch.stack([camera.center for camera in self.cameras])
        return max(1e-3, 1.1 * (centers - centers.mean(0)).norm(dim=-1).max().item())

    def save(self, path: str | Path) -> None:
        """Write ``scene.json`` and the layers beside it into the folder ``path`` (format ``semaflow``)."""
        from .store import save_scene

        save_scene(self, path)


def spread(count: int, most: int) -> list[int]:
    """Positions of ``most`` of ``count`` frames, or of all if they are fewer, spread evenly, ends included."""
    return torch.linspace(0, count - 1, min(most, count)).round().long().tolist()
