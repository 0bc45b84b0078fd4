"""USD as text (``.usda``): points with time samples, trajectories as curves."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from ..scenes import BadInput
from ..scenes.files import write_text
from .animation import Animation, linear
from .view.layers import Curves, Points


def write_usd(path: str | Path, animation: Animation) -> None:
    """Write ``animation`` as a USD text file, atomically.

    Prims under ``/World``: ``still`` and ``moving`` (UsdGeomPoints) and one UsdGeomBasisCurves per
    object. BadInput for a file name that does not end in .usda or .usd.
    """
    if Path(path).suffix not in (".usda", ".usd"):
        raise BadInput(f"{path}: expected a name ending in .usda or .usd")
    codes = (animation.times * animation.frame_rate).tolist()
    prims = [_points("still", animation.still, [])] if len(animation.still.ids) else []
    if len(animation.moving.ids):
        poses = animation.paths.unbind(1)
        prims.append(_points("moving", animation.moving, list(zip(codes, poses, strict=True))))
    taken = {"still", "moving"}
    for name, curves in animation.curves.items():
        prims.append(_curves(identifier(name, taken), curves, 0.002 * animation.size))
    # USD multiplies row vectors from the left.
    rows = torch.eye(4)
    rows[:3, :3] = animation.upright.T
    matrix = ", ".join("(" + ", ".join(f"{v:.9g}" for v in row) + ")" for row in rows.tolist())
    body = "\n".join(prims)
    write_text(
        path,
        f"""#usda 1.0
(
    defaultPrim = "World"
    upAxis = "Y"
    startTimeCode = 0
    endTimeCode = {codes[-1]:g}
    timeCodesPerSecond = {animation.frame_rate:g}
)

def Xform "World"
{{
    matrix4d xformOp:transform = ( {matrix} )
    uniform token[] xformOpOrder = ["xformOp:transform"]

{body}}}
""",
    )


def identifier(name: str, taken: set[str]) -> str:
    """``name`` as an identifier that no other prim has; it is added to ``taken``."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    word = f"_{word}" if word[:1].isdigit() else word
    while word in taken:
        word += "_"
    taken.add(word)
    return word


def _points(name: str, points: Points, poses: list[tuple[float, Tensor]]) -> str:
    if poses:
        samples = "".join(f"            {code:g}: {_vectors(pose)},\n" for code, pose in poses)
        where = f"point3f[] points.timeSamples = {{\n{samples}        }}"
    else:
        where = f"point3f[] points = {_vectors(points.positions)}"
    widths = ", ".join(f"{2 * radius:.4g}" for radius in points.radii.tolist())
    return f"""    def Points "{name}"
    {{
        {where}
        float[] widths = [{widths}] (
            interpolation = "vertex"
        )
        {_color(points.colors)}
    }}
"""


def _curves(name: str, curves: Curves, width: float) -> str:
    count = len(curves.ids)
    length = len(curves.nodes) // max(count, 1)
    return f"""    def BasisCurves "{name}"
    {{
        uniform token type = "linear"
        int[] curveVertexCounts = [{", ".join([str(length)] * count)}]
        point3f[] points = {_vectors(curves.nodes)}
        float[] widths = [{width:.4g}] (
            interpolation = "constant"
        )
        {_color(curves.colors)}
    }}
"""


def _color(colors: Tensor) -> str:
    return f"""color3f[] primvars:displayColor = {_vectors(linear(colors), 3)} (
            interpolation = "vertex"
        )"""


def _vectors(values: Tensor, digits: int = 6) -> str:
    """Vectors [N, 3] as USD writes them."""
    form = f"(%.{digits}g, %.{digits}g, %.{digits}g)"
    return "[" + ", ".join(form % tuple(row) for row in values.tolist()) + "]"
