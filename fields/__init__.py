"""What is learned: models of a scene with one interface."""

from .field import Field
from .rendering import Rendering

__all__ = ["Field", "Rendering"]
