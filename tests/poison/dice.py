"""Seeded choices, and numbers that no kernel likes."""

from __future__ import annotations

import torch
from torch import Tensor

NAN, INF = float("nan"), float("inf")
NO_NUMBERS = (NAN, INF, -INF)
EXTREME = (1e38, -1e38, 1e20, -1e15, 1e-30, 1e-42, -1e-42, 0.0, -1.0)


class Dice:
    """All that is random in one case."""

    def __init__(self, seed: int):
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)

    def pick(self, count: int) -> int:
        """One of 0..count-1."""
        return int(torch.randint(count, (), generator=self.generator))

    def of(self, choices):
        """One of ``choices``."""
        return choices[self.pick(len(choices))]

    def rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator)

    def randn(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def some(self, count: int, most: int = 3) -> list[int]:
        """A few of 0..count-1, each once."""
        return torch.randperm(count, generator=self.generator)[: 1 + self.pick(most)].tolist()

    def poison(self, row: Tensor) -> float:
        """Overwrite one number of ``row``, or all of them, with a bad one, which is returned."""
        value = self.of(NO_NUMBERS + EXTREME)
        numbers = row.view(-1)
        if self.pick(4) == 0:
            numbers.fill_(value)
        else:
            numbers[self.pick(len(numbers))] = value
        return value


def same(name: str, found: Tensor, expected: Tensor) -> None:
    """What has not to do with the poison has the same bits as without it."""
    assert found.shape == expected.shape, f"{name}: shape {list(found.shape)}, expected {list(expected.shape)}"
    assert expected.isfinite().all(), f"{name}: the healthy scene is not finite"
    wrong = ~(found == expected)
    assert not wrong.any(), (
        f"{name}: {int(wrong.sum())} of {wrong.numel()} differ, {found[wrong][:3].tolist()} "
        f"instead of {expected[wrong][:3].tolist()}"
    )


def close(name: str, found: Tensor, expected: Tensor) -> None:
    """Sums over many, which rounding may have taken in another order."""
    assert expected.isfinite().all(), f"{name}: the healthy scene is not finite"
    assert found.isfinite().all(), f"{name}: {int((~found.isfinite()).sum())} of {found.numel()} are not finite"
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * scale, msg=lambda text: f"{name}: {text}")
