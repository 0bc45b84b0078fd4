"""Runge-Kutta schemes as Butcher tableaus (Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I")."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

MOST_STAGES = 7


@dataclass(frozen=True)
class Tableau:
    """An explicit scheme: ``k_i = v(t + c_i h, x + h sum_j a_ij k_j)``, ``x' = x + h sum_i b_i k_i``.

    Attributes:
        c: nodes, one for each stage.
        a: one row for each stage after the first, of as many numbers as there are stages before it.
        b: weights, one for each stage.
        error: for adaptive steps, weights minus those of the embedded scheme; the last is that of the next step's first
            stage.
    """

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    error: tuple[float, ...] = ()

    @property
    def stages(self) -> int:
        return len(self.b)


EULER = Tableau(c=(0.0,), a=(), b=(1.0,))

MIDPOINT = Tableau(c=(0.0, 1 / 2), a=((1 / 2,),), b=(0.0, 1.0))

# Kutta's 3/8 rule: of the schemes with four stages the one that torchdiffeq takes too.
RK4 = Tableau(
    c=(0.0, 1 / 3, 2 / 3, 1.0),
    a=((1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
    b=(1 / 8, 3 / 8, 3 / 8, 1 / 8),
)

# Dormand and Prince 1980, of order 5 with an embedded scheme of order 4. Its seventh stage is the next step's first.
DOPRI5 = Tableau(
    c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0),
    a=(
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    b=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    error=(71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)

METHODS = {"euler": EULER, "midpoint": MIDPOINT, "rk4": RK4, "dopri5": DOPRI5}

# How adaptive steps grow and shrink: by SAFETY error^(-1/ORDER), but no less than SHRINK and no more than GROW.
ORDER, SAFETY, SHRINK, GROW = 5, 0.9, 0.2, 10.0


@cache
def coefficients(method: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A scheme as kernels read it, [stages + 2, MOST_STAGES + 1].

    Row i < stages: ``a_i`` and, last, ``c_i``; row ``stages``: ``b`` and 1; the last row: ``error``.
    """
    scheme = METHODS[method]
    rows = torch.zeros(scheme.stages + 2, MOST_STAGES + 1, dtype=torch.float64)
    for i, row in enumerate([(), *scheme.a, scheme.b, scheme.error]):
        rows[i, : len(row)] = torch.tensor(row, dtype=torch.float64)
    rows[: scheme.stages + 1, -1] = torch.tensor([*scheme.c, 1.0], dtype=torch.float64)
    return rows.to(device, dtype)
