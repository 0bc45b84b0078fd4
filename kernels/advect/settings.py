"""How to step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """A method and what it needs to know.

    Attributes:
        method: euler, midpoint, rk4 or dopri5.
        steps: equal steps in each interval between times; of methods that are not adaptive.
        rtol, atol: allowed error of an adaptive step.
        trials: of an adaptive method in an interval, at most.
    """

    method: str
    steps: int
    rtol: float
    atol: float
    trials: int
