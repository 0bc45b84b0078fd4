"""Teacher maps kept on disk, and their compression to a small code."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..files import BadInput, read_tensors, write_tensors
from ..scene import Frame
from .base import Teacher, content_hash
from .given import check_map
from .pca import principal_axes

log = logging.getLogger(__name__)


class FeatureMaps(Sequence):
    """The maps of a teacher for a list of frames: item i is the map [h, w, D] float32 of frame i.

    A map is computed when it is first asked for and kept as fp16 in one safetensors file. The
    file's name carries a digest of the teacher, its options and the frame's content, so that
    changed frames or weights never meet an old map. A file that cannot be read is computed anew.
    """

    def __init__(self, frames: Sequence[Frame], teacher: Teacher, folder: str | Path):
        self.frames, self.teacher, self.folder = list(frames), teacher, Path(folder)
        self._paths: dict[int, Path] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        if not self.teacher.cached:
            return self.teacher.of_frame(self.frames[position])
        stored = self._read(position)
        return self._compute(position) if stored is None else stored

    @property
    def dim(self) -> int:
        """D, channels of each map."""
        return self.teacher.dim if self.teacher.dim is not None else self[0].shape[-1]

    def __iter__(self) -> Iterator[Tensor]:
        self.prepare()
        return (self[position] for position in range(len(self)))

    def prepare(self, progress: bool = True) -> FeatureMaps:
        """Compute all maps that are not on disk yet, with a progress bar; returns itself.

        Going through all maps in a loop does this first.
        """
        wanted = range(len(self)) if self.teacher.cached else ()
        wanted = [position for position in wanted if not self.path(position).is_file()]
        if wanted:
            from rich.console import Console
            from rich.progress import track

            label, console = f"{self.teacher.name} features", Console(stderr=True)
            shown = progress and console.is_terminal
            for position in track(
                wanted, label, console=console, disable=not shown, transient=True
            ):
                self._compute(position)
        return self

    def path(self, position: int) -> Path:
        """The file of frame ``position``'s map."""
        if position not in self._paths:
            frame, neighbour = self.frames[position], self._neighbour(position)
            digest = content_hash(self.teacher.key(), *self.teacher.inputs(frame, neighbour))
            readable = re.sub(r"[^\w-]+", "_", frame.name)[-40:]
            self._paths[position] = self.folder / f"{readable}-{digest}.safetensors"
        return self._paths[position]

    def _neighbour(self, position: int) -> Frame | None:
        if len(self) < 2:
            return None
        return self.frames[position + 1 if position + 1 < len(self) else position - 1]

    def _compute(self, position: int) -> Tensor:
        frame = self.frames[position]
        features = self.teacher.of_frame(frame, self._neighbour(position))
        features = check_map(
            features.cpu(), f"{frame.name}: {self.teacher.name} features", self.teacher.dim
        ).half()
        write_tensors(
            self.path(position),
            {"features": features},
            {"teacher": self.teacher.name, "frame": frame.name},
        )
        return features.float()

    def _read(self, position: int) -> Tensor | None:
        path = self.path(position)
        if not path.is_file():
            return None
        try:
            tensors, _ = read_tensors(path)
            features = tensors.get("features")
            if features is None or features.dtype != torch.float16:
                raise BadInput(f"{path}: features: expected a float16 tensor of that name")
            return check_map(features, f"{path}: features", self.teacher.dim)
        except BadInput as error:
            log.warning("%s; computing it again", error)
            path.unlink(missing_ok=True)
            return None


def feature_maps(frames: Sequence[Frame], teacher: Teacher, folder: str | Path) -> FeatureMaps:
    """The maps of ``teacher`` for ``frames`` (in time order), kept in ``folder``."""
    return FeatureMaps(frames, teacher, folder)


def compress(
    maps: Sequence[Tensor], dim: int, sample: int = 20000
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """A code of ``dim`` numbers for the features of ``maps`` [h, w, D] by principal components.

    Returns ``mean`` [D], ``basis`` [dim, D] with orthonormal rows, and a report. Code of a feature:
    (f - mean) basis^T; feature of a code: mean + c basis. The report has ``mean_cosine`` and
    ``low_cosine`` (5% quantile) between features and their decoded codes, ``variance``, the share
    of the variance that is kept, and ``spread``, the root mean square of the codes' numbers. All
    over at most about ``sample`` cells, spread evenly over the maps."""
    if not len(maps) or dim < 1:
        raise BadInput(f"compress: expected maps and dim >= 1, got {len(maps)} maps and dim {dim}")
    per_map = max(1, sample // len(maps))
    chosen = []
    for features in maps:
        cells = features.reshape(-1, features.shape[-1])
        chosen.append(cells[torch.linspace(0, len(cells) - 1, min(per_map, len(cells))).long()])
    cells = torch.cat(chosen).float()
    mean, basis = principal_axes(cells, min(dim, cells.shape[-1]))
    codes = (cells - mean) @ basis.T
    decoded = mean + codes @ basis
    cosine = torch.nn.functional.cosine_similarity(cells, decoded, dim=-1)
    left = (cells - decoded).square().sum() / (cells - mean).square().sum().clamp_min(1e-12)
    report = {
        "dim": basis.shape[0],
        "mean_cosine": cosine.mean().item(),
        "low_cosine": cosine.quantile(0.05).item(),
        "variance": 1.0 - left.item(),
        "spread": codes.square().mean().sqrt().item(),
    }
    return mean, basis, report
