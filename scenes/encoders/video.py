"""Video transformers: VideoMAE (Tong et al., NeurIPS 2022) and V-JEPA 2 (Assran et al., 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..files import BadInput
from ..scene import Frame
from ..teachers import FeatureMaps, Teacher, feature_maps
from ..teachers.base import content_hash, network_input, pick_device
from ..teachers.hub import HubModel
from ..teachers.vit import IMAGENET_MEAN, IMAGENET_STD
from .base import Encoder

CLASSES = {"videomae": "VideoMAEModel", "vjepa2": "VJEPA2Model"}


class VideoTransformer(Encoder):
    """Last-layer tokens of a clip. Each spans some frames (two, mostly), which share its map.

    The network sees each frame resized to its own square, and clips of its own length at a time: of
    a longer one, one after another, the last ones of full length too.

    Args:
        weights: local folder or hub id.
        device: where to run; CUDA where there is one by default.
    """

    def __init__(self, weights: str = "MCG-NJU/videomae-base", device: str | None = None):
        hub = HubModel(weights)
        if hub.model_type not in CLASSES:
            raise BadInput(f"{weights}: model type {hub.model_type!r}, expected one of {', '.join(CLASSES)}")
        self.name = hub.model_type
        self.device = pick_device(device)
        self.model = hub.load(CLASSES[hub.model_type], self.device)
        config = self.model.config
        self.dim, self.tubelet = config.hidden_size, config.tubelet_size
        # V-JEPA 2 takes any shorter clip, VideoMAE has one position for each token that it expects.
        if self.name == "vjepa2":
            self.side, self.length, self.shortest = config.crop_size, config.frames_per_clip, self.tubelet
        else:
            self.side, self.length, self.shortest = config.image_size, config.num_frames, config.num_frames
        self.cells = self.side // config.patch_size
        self.mean, self.std = hub.normalisation(IMAGENET_MEAN, IMAGENET_STD)
        self._key = f"{self.name} 1 {hub.fingerprint()} {self.mean} {self.std}"

    def key(self) -> str:
        """All that the maps depend on beside the frames: weights and constants."""
        return self._key

    def maps(self, frames: Sequence[Frame], folder: str | Path) -> FeatureMaps:
        return feature_maps(frames, ClipTeacher(self, frames), folder)

    @torch.no_grad()
    def encode(self, images: Sequence[Tensor]) -> Tensor:
        """Tokens [T, h, w, C] of the clip ``images``, each [H, W, 3] in 0..1."""
        size = (self.side, self.side)
        clip = torch.cat([network_input(image, size, self.mean, self.std) for image in images])
        maps = clip.new_empty(len(clip), self.cells, self.cells, self.dim)
        for start in range(0, len(clip), self.length):
            start = max(0, min(start, len(clip) - self.length))
            part = clip[start : start + self.length]
            maps[start : start + len(part)] = self._tokens(part).to(maps)
        return maps

    def _tokens(self, part: Tensor) -> Tensor:
        count = max(len(part), self.shortest)
        count += -count % self.tubelet
        padded = torch.cat([part, part[-1:].expand(count - len(part), -1, -1, -1)])[None].to(self.device)
        if self.name == "vjepa2":
            tokens = self.model(pixel_values_videos=padded, skip_predictor=True).last_hidden_state
        else:
            tokens = self.model(pixel_values=padded).last_hidden_state
        tokens = tokens.reshape(count // self.tubelet, self.cells, self.cells, self.dim)
        return tokens.repeat_interleave(self.tubelet, 0)[: len(part)]


class ClipTeacher(Teacher):
    """The maps of one clip, all computed when the first is asked for; each depends on every frame."""

    def __init__(self, encoder: VideoTransformer, frames: Sequence[Frame]):
        self.encoder, self.frames = encoder, list(frames)
        self.name, self.dim = encoder.name, encoder.dim
        self._maps: Tensor | None = None
        self._key = f"{encoder.key()} {content_hash(*(frame.image for frame in self.frames))}"

    def key(self) -> str:
        return self._key

    def inputs(self, frame: Frame, neighbour: Frame | None = None) -> list[Tensor]:
        return [torch.tensor(self._position(frame))]

    def of_frame(self, frame: Frame, neighbour: Frame | None = None) -> Tensor:
        if self._maps is None:
            self._maps = self.encoder.encode([frame.image for frame in self.frames])
        return self._maps[self._position(frame)]

    def _position(self, frame: Frame) -> int:
        return next(position for position, one in enumerate(self.frames) if one is frame)
