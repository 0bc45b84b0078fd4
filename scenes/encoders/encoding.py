"""What an encoder knows of a scene's training frames, as tensors that a field reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset

from ..files import BadInput
from ..scene import Frame
from ..teachers import compress
from .base import Encoder


@dataclass
class Code:
    """Fewer numbers for features: (f - mean) axes^T. ``mean`` [D], ``axes`` [C, D]."""

    mean: Tensor
    axes: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Codes [..., C] of ``features`` [..., D]; BadInput for features of another width."""
        if features.shape[-1] != len(self.mean):
            raise BadInput(f"code: expected features of {len(self.mean)} channels, got {features.shape[-1]}")
        return (features - self.mean) @ self.axes.T


@dataclass
class Encoding:
    """Features of the frames of a clip.

    Attributes:
        name: the encoder's.
        maps: [T, C, h, w] float16; the cells of each cover the whole image; zero where not ``seen``. In
            memory a cell's channels lie together, as :mod:`semaflow.kernels.gather` reads them.
        seen: [T] bool: the frames that the encoder looked at.
        vector: [G] float32, about the clip as a whole.
        code: how the maps were compressed, to encode other clips alike; None if they were not.
    """

    name: str
    maps: Tensor
    seen: Tensor
    vector: Tensor
    code: Code | None = None


def encode(
    frames: Sequence[Frame],
    encoder: Encoder,
    folder: str | Path,
    seen: Sequence[int] | None = None,
    code: Code | int | None = None,
) -> Encoding:
    """What ``encoder`` says of ``frames``.

    Args:
        frames: T frames of one size, in time order.
        encoder: of :func:`semaflow.scenes.encoders.encoder`.
        folder: where the uncompressed maps are kept, one file for each.
        seen: positions of the frames to look at, and at nothing of the others; None for all.
        code: one made of other clips by :func:`common_code`, or the channels of one for these frames
            alone (no more than the encoder has); None for all the encoder's channels.

    Raises:
        BadInput: no or unknown frames to look at, maps of different sizes, or a code of another encoder.
    """
    watched = watch(frames, seen)
    if isinstance(code, int):
        code = common_code([watched], encoder, folder, code)
    positions = range(len(frames)) if seen is None else sorted(seen)
    maps: Tensor | None = None
    for position, features in zip(positions, encoder.maps(watched, folder), strict=True):
        features = (features if code is None else code(features)).half()
        if maps is None:
            maps = features.new_zeros(len(frames), *features.shape)
        if features.shape != maps.shape[1:]:
            found, expected = list(features.shape[:2]), list(maps.shape[1:3])
            raise BadInput(f"{frames[position].name}: {encoder.name} map {found}, expected {expected} as in the others")
        maps[position] = features
    known = torch.zeros(len(frames), dtype=torch.bool)
    known[list(positions)] = True
    summaries = [summary.mean((0, 1)) for summary in encoder.summaries(watched, folder)]
    return Encoding(encoder.name, maps.permute(0, 3, 1, 2), known, torch.stack(summaries).mean(0), code)


def watch(frames: Sequence[Frame], seen: Sequence[int] | None = None) -> list[Frame]:
    """The frames ``seen`` alone, in time order, without the flows that were measured to another frame."""
    if seen is None:
        return list(frames)
    if not len(seen) or any(position not in range(len(frames)) for position in seen) or len(set(seen)) < len(seen):
        raise BadInput(f"seen: expected different positions among {len(frames)} frames, got {list(seen)}")
    kept = []
    for position in sorted(seen):
        hidden = {"flow_forward": position + 1, "flow_backward": position - 1}
        kept.append(frames[position].with_layers(**{layer: None for layer, to in hidden.items() if to not in seen}))
    return kept


def common_code(clips: Sequence[Sequence[Frame]], encoder: Encoder, folder: str | Path, channels: int) -> Code:
    """A code of ``channels`` numbers by principal components over several clips.

    Its axes are scaled so that the codes' mean square is one: a network then finds numbers of the
    size that it starts from, whatever the encoder. A clip of which only some frames may be seen
    comes from :func:`watch`.
    """
    maps = ConcatDataset([encoder.maps(frames, folder).prepare() for frames in clips])
    mean, basis, report = compress(maps, channels)
    return Code(mean, basis / (report["spread"] or 1.0))
