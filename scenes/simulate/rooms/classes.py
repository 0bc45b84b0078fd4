"""The classes of things in rooms: their ids are the same in every room."""

from __future__ import annotations

CLASSES = (
    "wall",
    "floor",
    "ceiling",
    "door",
    "window",
    "picture",
    "rug",
    "table",
    "chair",
    "sofa",
    "bed",
    "shelf",
    "cabinet",
    "lamp",
    "plant",
    "ball",
    "box",
)
