"""Teacher features with known truth: one fixed random embedding per thing and part, with noise."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..files import BadInput

PATCH = 14  # pixels per cell and axis, as of DINOv2's vision transformers
SHARED = 0.7  # weight of what the parts of one thing have in common, and of what they have not


@dataclass(frozen=True)
class Embeddings:
    """A teacher that sees what each pixel shows.

    ``patch`` averages the embeddings of the pixels in each cell of a grid of ``round(H / 14)`` by
    ``round(W / 14)`` cells, as a vision transformer mixes what falls into one patch; ``dense``
    gives one feature per pixel. Noise is added to both, then features are brought to unit length.

    Attributes:
        names: pairs (thing, part or "") by id.
        kind: "patch" or "dense".
        dim: length of a feature.
        noise: expected length of the noise, where a clean feature has length 1.
        seed: of embeddings and noise.
    """

    names: tuple[tuple[str, str], ...]
    kind: str = "patch"
    dim: int = 32
    noise: float = 0.2
    seed: int = 0

    def __post_init__(self):
        if self.kind not in ("patch", "dense"):
            raise BadInput(f"teacher: expected patch or dense, got {self.kind!r}")
        if self.dim < 1 or self.noise < 0:
            raise BadInput(
                f"teacher: expected dim >= 1 and noise >= 0, got {self.dim}, {self.noise}"
            )

    def table(self) -> Tensor:
        """Unit embeddings by id, float32 [P, dim]; a name has the same one in every world."""
        rows = [
            normalize(
                SHARED * self._unit(f"thing {thing}") + SHARED * self._unit(f"part {thing}/{part}"),
                dim=0,
            )
            for thing, part in self.names
        ]
        return torch.stack(rows)

    def map(self, ids: Tensor, frame: str) -> Tensor:
        """Features [h, w, dim] of a picture of ids [H, W]; pixels of id -1 have the embedding zero.

        ``frame`` names the picture: the same name has the same noise.
        """
        table = torch.cat([self.table(), torch.zeros(1, self.dim)])
        if self.kind == "dense":
            features = table[ids]
        else:
            height, width = ids.shape
            share = torch.nn.functional.one_hot(ids % len(table), len(table)).float()
            down = coverage(height, max(1, round(height / PATCH)))
            across = coverage(width, max(1, round(width / PATCH)))
            features = torch.einsum("hy,wx,yxp->hwp", down, across, share) @ table
        noise = torch.randn(features.shape, generator=self._generator(f"noise {frame}"))
        return normalize(features + self.noise / self.dim**0.5 * noise, dim=-1)

    def _unit(self, name: str) -> Tensor:
        return normalize(torch.randn(self.dim, generator=self._generator(name)), dim=0)

    def _generator(self, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {self.dim} {name}".encode()))


def coverage(pixels: int, cells: int) -> Tensor:
    """What share of each of ``cells`` equal stretches each pixel makes up, [cells, pixels]."""
    edges = torch.arange(cells + 1, dtype=torch.float64) * pixels / cells
    first = torch.arange(pixels, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], first + 1) - torch.maximum(edges[:-1, None], first)
    return (overlap.clamp(min=0) * cells / pixels).float()
