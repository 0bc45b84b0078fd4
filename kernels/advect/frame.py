"""Where a velocity grid lies in space and time."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """Box and span of a grid.

    Attributes:
        lower, upper: corners of the box, x, y, z.
        span: first and last time.
        sizes: nodes along x, y, z and time.
        boundary: clamp, zero or periodic.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    span: tuple[float, float]
    sizes: tuple[int, ...]
    boundary: str

    @property
    def nodes_per_unit(self) -> tuple[float, ...]:
        """Along x, y, z and time; 0 where there is one node only. The last node of a period is one before its end."""
        gaps = [size if self.boundary == "periodic" else size - 1 for size in self.sizes[:3]] + [self.sizes[3] - 1]
        ends = zip((*self.lower, self.span[0]), (*self.upper, self.span[1]), strict=True)
        return tuple(gap / (b - a) if gap else 0.0 for gap, (a, b) in zip(gaps, ends, strict=True))

    @property
    def time_cell(self) -> float:
        """Time from one node to the next; infinite where there is one only."""
        return 1 / self.nodes_per_unit[3] if self.nodes_per_unit[3] else float("inf")

    def arguments(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Lower ends over nodes per unit [2, 4], and sizes [4], for kernels."""
        frame = torch.tensor([[*self.lower, self.span[0]], self.nodes_per_unit], dtype=torch.float64)
        return frame.to(like), torch.tensor(self.sizes, dtype=torch.int32, device=like.device)

    def order(self, points: Tensor) -> Tensor:
        """Indices of points [N], int32, along a Morton curve through the cells: neighbours read the same memory."""
        rate = torch.tensor(self.nodes_per_unit[:3]).to(points)
        cells = ((points.detach() - torch.tensor(self.lower).to(points)) * rate).nan_to_num(0.0).clamp(0, 1023).int()
        for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
            cells = (cells | cells << shift) & mask
        key = cells[:, 0] | cells[:, 1] << 1 | cells[:, 2] << 2
        return key.argsort(stable=True).int()
