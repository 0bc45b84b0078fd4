"""Comparing gradients, and taking them by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def assert_gradients_close(
    actual: Tensor, expected: Tensor, tolerance: float, name: str = "gradient"
) -> None:
    """Compare a gradient with the truth as a vector, so that a small systematic error has nowhere
    to hide.

    ``tolerance`` is relative: each element may be off by that much of the largest element; the
    length of the whole by as much of its length; the angle's cosine by its square; and the mean
    signed error (elements that are too long count positive, too short negative) by as much of the
    mean size, or a standard error of rounding more.
    """
    assert actual is not None, f"{name}: no gradient"
    assert actual.shape == expected.shape, (
        f"{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    )
    assert torch.isfinite(actual).all(), (
        f"{name}: {int((~torch.isfinite(actual)).sum())} elements are not finite"
    )
    a, e = actual.detach().double().flatten().cpu(), expected.detach().double().flatten().cpu()
    largest = float(e.abs().max()) if e.numel() else 0.0
    if largest == 0.0:
        assert float(a.abs().max() if a.numel() else 0.0) == 0.0, f"{name}: expected exactly zero"
        return
    error = (a - e).abs()
    worst = int(error.argmax())
    assert float(error[worst]) <= tolerance * largest, (
        f"{name}: element {worst} is {float(a[worst]):.9g}, expected {float(e[worst]):.9g}; "
        f"off by {float(error[worst]) / largest:.2g} of the largest, allowed {tolerance:.2g}"
    )
    ratio = float(a.norm() / e.norm())
    assert abs(ratio - 1) <= tolerance, f"{name}: length is {ratio:.9g} of the expected one"
    cosine = float(a @ e / (a.norm() * e.norm()))
    assert 1 - cosine <= tolerance**2 + 1e-14, f"{name}: 1 - cosine is {1 - cosine:.2g}"
    signed = (a - e) * e.sign()
    noise = float(error.norm()) / e.numel()
    assert abs(float(signed.mean())) <= 0.5 * tolerance * float(e.abs().mean()) + noise, (
        f"{name}: signed bias {float(signed.mean()) / float(e.abs().mean()):.2g}"
    )


def finite_differences(function: Callable[[Tensor], Tensor], x: Tensor, step: float) -> Tensor:
    """Central differences of a scalar ``function`` at ``x``, one element at a time."""
    gradient = torch.zeros_like(x)
    for i in range(x.numel()):
        shift = torch.zeros_like(x).flatten()
        shift[i] = step
        shift = shift.view_as(x)
        gradient.view(-1)[i] = (function(x + shift) - function(x - shift)) / (2 * step)
    return gradient
