"""Adam as a kernel over the CPU's memory, for all rows of a parameter or for those that were seen in the picture."""

from __future__ import annotations

import torch
import warp as wp
from semaflow.kernels import bridge
from semaflow.kernels.native import kernel
from semaflow.kernels.once import once
from torch import Tensor

BLOCK = 1 << 14  # values per task
BETAS, EPSILON = (0.9, 0.999), 1e-15

_STEP = r"""
constexpr int WIDTH = _WIDTH;
const int rows = p.shape[0] / WIDTH, top = index * block, bottom = top + block < rows ? top + block : rows;
auto update = [&](int from, int to) {
    for (int i = from; i < to; i++) {
        const float slope = g.data[i];
        const float mean = m.data[i] + (1 - b1) * (slope - m.data[i]);
        const float square = b2 * v.data[i] + (1 - b2) * slope * slope;
        m.data[i] = mean;
        v.data[i] = square;
        p.data[i] -= rate * mean / (__builtin_sqrtf(square) * root + eps);
    }
};
if (seen.shape[0] == 0) {
    update(top * WIDTH, bottom * WIDTH);
    return;
}
for (int row = top; row < bottom; row++)
    if (seen.data[row]) update(row * WIDTH, row * WIDTH + WIDTH);
"""


@once
def _kernel(width: int):
    reals = wp.array(dtype=wp.float32)
    arguments = {"p": reals, "g": reals, "m": reals, "v": reals, "seen": wp.array(dtype=wp.bool)}
    arguments |= dict.fromkeys(("rate", "root", "b1", "b2", "eps"), float) | {"block": int, "first": int}
    return kernel("step", f"benchmark_adam_{width}", _STEP.replace("_WIDTH", str(width)), arguments, elements=True)


class KernelAdam:
    """Adam over ``parameters`` (each [N, ...], with gradients), whose rows are those that ``seen`` [N] names."""

    def __init__(self, parameters: list[Tensor], rate: float):
        self.parameters, self.rate, self.steps = parameters, rate, 0
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]

    @torch.no_grad()
    def step(self, seen: Tensor | None = None) -> None:
        self.steps += 1
        rate = self.rate / (1 - BETAS[0] ** self.steps)
        root = (1 - BETAS[1] ** self.steps) ** -0.5
        for p, moments in zip(self.parameters, self.moments, strict=True):
            width = p[0].numel()
            block = max(BLOCK // width, 1)
            arrays = [bridge.flat(x) for x in (p, p.grad, *moments, seen)]
            scalars = [rate, root, *BETAS, EPSILON, block]
            bridge.launch(_kernel(width), -(-len(p) // block), [*arrays, *scalars], p, grain=1)
