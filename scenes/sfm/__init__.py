"""Cameras from video: structure from motion and its weaker stand-ins."""

from .cameras import estimate_cameras

__all__ = ["estimate_cameras"]
