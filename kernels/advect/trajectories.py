"""Paths of particles through a velocity."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..arguments import expect
from .frame import Frame
from .integrate import integrate
from .settings import Settings
from .tableaus import METHODS

BOUNDARIES = ("clamp", "zero", "periodic")
MOST_NODES = 500_000_000  # of a grid, whose numbers are counted in 32 bits
ORDERED_FROM = 2048  # particles; fewer of them fit into the cache however they come


def trajectories(
    points: Tensor,
    times: Tensor,
    velocity: Tensor | Callable[[Tensor, Tensor], Tensor],
    method: str = "rk4",
    steps: int = 1,
    box: Tensor | Sequence[Sequence[float]] | None = None,
    span: tuple[float, float] = (0.0, 1.0),
    boundary: str = "clamp",
    rtol: float = 1e-5,
    atol: float = 1e-6,
    trials: int = 1000,
) -> Tensor:
    """Where particles that are at ``points`` at the first of ``times`` are at each of them: ``dx/dt = v(t, x)``.

    Times may increase or decrease. Methods are ``euler``, ``midpoint``, ``rk4`` (Kutta's 3/8 rule) and ``dopri5``
    (Dormand and Prince 1980), the same schemes as torchdiffeq's. The first three take ``steps`` equal steps in each
    interval between times. ``dopri5`` chooses its steps, so that the estimated error of each, in the root mean square
    over the three axes, is at most ``atol + rtol |x|``; they end at the times (no interpolation).

    With a grid every particle has step sizes of its own, and no step is longer than from one time of the grid to the
    next; a particle that needs more than ``trials`` attempts at steps in an interval, or is no finite number, is NaN
    from there on and gives no gradients. With a function, steps are as long as the worst particle allows, and too many
    raise RuntimeError.

    Gradients with a grid are those of the steps that were taken (discrete adjoint), by hand-written kernels, in
    points, times and grid, once differentiable; steps chosen by ``dopri5`` are constant fractions of their intervals
    (their choice is not differentiated), of which only the number is kept: the backward pass takes them anew. They are
    the same bits every time, on any number of threads. With a function, they are torch's own.

    Args:
        points: [N, 3], float32 or float64.
        times: [T], at least one.
        velocity: a grid [T', X, Y, Z, 3] in units of space per unit of time, trilinear in space and linear in time,
            with nodes evenly spaced over box and span, first and last node at their ends; or a function
            ``f(t, x [N, 3]) -> [N, 3]`` of a time (a tensor without dimensions), such as a network, called for all
            particles at a time as torchdiffeq's ``odeint`` would.
        box: lower and upper corner [2, 3] of the grid.
        span: first and last time of the grid. Before and after, the velocity is as then.
        boundary: outside the box the velocity is that of the nearest point in it (``clamp``), goes to zero over one
            cell (``zero``), or repeats (``periodic``: the box is one period, the node at its end is the first again
            and not in the grid). Axes with one node are constant. Which positions are in the box tells :func:`inside`.

    Returns:
        [N, T, 3]; the first position is the point itself.

    Errors:
        ValueError for shapes, names and numbers that are not as above.
    """
    settings = _settings(points, times, method, steps, rtol, atol, trials)
    dtype = torch.float64 if points.dtype == torch.float64 else torch.float32
    points, times = points.to(dtype), times.to(points.device, dtype)
    if not isinstance(velocity, Tensor):
        return integrate(points, times, velocity, settings)
    frame = _frame(velocity, box, span, boundary)
    if velocity.device != points.device:
        raise ValueError(f"velocity: expected on {points.device}, where the points are, got {velocity.device}")
    from .functions import Advect  # Taichi starts only where it is needed

    order = (
        torch.arange(len(points), dtype=torch.int32, device=points.device)
        if len(points) < ORDERED_FROM
        else frame.order(points)
    )
    inputs = (x.contiguous() for x in (points, times, velocity.to(dtype)))
    return Advect.apply(*inputs, order, frame, settings)


def inside(
    paths: Tensor,
    times: Tensor,
    box: Tensor | Sequence[Sequence[float]],
    span: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Whether positions are where a velocity grid knows the flow: in its box and its span of time, ends included.

    A path is to be trusted up to its first False, ``inside(...).cummin(1).values``; that and a test of depth make the
    visibility of a track.

    Args:
        paths: [N, T, 3] at ``times`` [T]; box and span as of :func:`trajectories`.

    Returns:
        [N, T] bool; False where a position is no finite number.
    """
    lower, upper = _corners(box)
    within = (paths >= torch.tensor(lower).to(paths)) & (paths <= torch.tensor(upper).to(paths))
    times = times.to(paths)
    return within.all(-1) & ((times >= span[0]) & (times <= span[1]))


def _settings(points, times, method, steps, rtol, atol, trials) -> Settings:
    expect("points", points, (None, 3))
    if times.ndim != 1 or len(times) == 0:
        raise ValueError(f"times: expected shape [at least 1], got {list(times.shape)}")
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    given = times.detach().double()
    gaps = given.diff()
    if not given.isfinite().all() or not ((gaps >= 0).all() or (gaps <= 0).all()):
        raise ValueError("times: expected finite numbers that increase or decrease throughout")
    for name, value in (("steps", steps), ("trials", trials)):
        if value != int(value) or value < 1:
            raise ValueError(f"{name}: expected a positive integer, got {value}")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not value > 0:
            raise ValueError(f"{name}: expected a positive number, got {value}")
    return Settings(method, int(steps), float(rtol), float(atol), int(trials))


def _corners(box) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if box is None:
        raise ValueError("box: a velocity grid needs its lower and upper corner")
    corners = torch.as_tensor(box, dtype=torch.float64).detach().cpu()
    if corners.shape != (2, 3) or not corners.isfinite().all() or not (corners[0] < corners[1]).all():
        raise ValueError(f"box: expected a lower and an upper corner [2, 3], got {corners.tolist()}")
    return tuple(corners[0].tolist()), tuple(corners[1].tolist())


def _frame(grid: Tensor, box, span, boundary: str) -> Frame:
    if grid.ndim != 5 or grid.shape[4] != 3 or 0 in grid.shape:
        raise ValueError(f"velocity: expected a function or a grid [T, X, Y, Z, 3], got {list(grid.shape)}")
    if grid.numel() > 3 * MOST_NODES:
        raise ValueError(f"velocity: expected {MOST_NODES} nodes at most, got {grid.numel() // 3}")
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary: expected one of {', '.join(BOUNDARIES)}, got {boundary!r}")
    first, last = (float(t) for t in span)
    if not first < last < float("inf") or first == -float("inf"):
        raise ValueError(f"span: expected a first and a later last time, got {tuple(span)}")
    times, *sizes = grid.shape[:4]
    return Frame(*_corners(box), (first, last), (*sizes, times), boundary)
