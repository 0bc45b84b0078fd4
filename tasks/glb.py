"""Binary glTF 2.0 (Khronos): moving points as morph targets, trajectories as lines."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..scenes.files import replacing
from .animation import Animation, linear

MOST_KEYS = 64  # key poses of the moving points; every one is a morph target of its own
POINTS, LINES = 0, 1  # primitive modes
FLOAT, UINT16, UINT32 = 5126, 5123, 5125  # component types


class Document:
    """A glTF file under construction: a JSON tree and one binary buffer."""

    def __init__(self):
        self.data = bytearray()
        self.tree = {
            "asset": {"version": "2.0", "generator": "semaflow"},
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [],
            "meshes": [],
            "materials": [
                {
                    "name": "colour as filmed",
                    "pbrMetallicRoughness": {"metallicFactor": 0.0},
                    "extensions": {"KHR_materials_unlit": {}},
                }
            ],
            "accessors": [],
            "bufferViews": [],
        }

    def accessor(self, values: np.ndarray, kind: int, extremes: bool = False) -> int:
        """Index of a new accessor on ``values`` [N] or [N, C]; ``extremes`` states their range."""
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes}
        self.data += values.tobytes() + bytes(-values.nbytes % 4)
        self.tree["bufferViews"].append(view)
        shape = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
        entry = {
            "bufferView": len(self.tree["bufferViews"]) - 1,
            "componentType": kind,
            "count": len(values),
            "type": shape,
        }
        if kind == UINT16:
            entry["normalized"] = True
        if extremes:
            entry["min"] = np.atleast_1d(values.min(0)).tolist()
            entry["max"] = np.atleast_1d(values.max(0)).tolist()
        self.tree["accessors"].append(entry)
        return len(self.tree["accessors"]) - 1

    def positions(self, values: Tensor) -> int:
        """Accessor on points [N, 3]."""
        return self.accessor(np.ascontiguousarray(values.numpy(), "<f4"), FLOAT, extremes=True)

    def primitive(self, mode: int, points: Tensor, colors: Tensor) -> dict:
        """A primitive of points [N, 3] in sRGB colours [N, 3]."""
        full = torch.cat([linear(colors), torch.ones(len(colors), 1)], 1)
        color = np.ascontiguousarray((full * 65535).round().numpy().astype("<u2"))
        attributes = {"POSITION": self.positions(points), "COLOR_0": self.accessor(color, UINT16)}
        return {"attributes": attributes, "mode": mode, "material": 0}

    def node(self, name: str, primitive: dict, **mesh) -> int:
        """Index of a new node that shows one primitive."""
        self.tree["meshes"].append({"name": name, "primitives": [primitive], **mesh})
        self.tree["nodes"].append({"name": name, "mesh": len(self.tree["meshes"]) - 1})
        return len(self.tree["nodes"]) - 1

    def bytes(self) -> bytes:
        """The finished file."""
        self.tree["buffers"] = [{"byteLength": len(self.data)}]
        text = json.dumps(self.tree, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(self.data))
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        return head + chunks + struct.pack("<I4s", len(self.data), b"BIN\0") + bytes(self.data)


def write_glb(path: str | Path, animation: Animation) -> None:
    """Write ``animation`` as one GLB file, atomically.

    Nodes: ``still`` and ``moving`` points, and for each object ``NAME trajectories``. The moving
    points are animated between at most 64 key poses.
    """
    document = Document()
    root = {"name": "scene", "children": [], "matrix": _columns(animation.upright)}
    document.tree["nodes"].append(root)
    if len(animation.still.ids):
        still = document.primitive(POINTS, animation.still.positions, animation.still.colors)
        root["children"].append(document.node("still", still))
    if len(animation.moving.ids):
        root["children"].append(_moving(document, animation))
    for name, curves in animation.curves.items():
        lines = document.primitive(LINES, curves.nodes, curves.colors)
        edges = np.ascontiguousarray(curves.edges.flatten().numpy().astype("<u4"))
        lines["indices"] = document.accessor(edges, UINT32)
        root["children"].append(document.node(f"{name} trajectories", lines))
    with replacing(path) as temporary:
        temporary.write_bytes(document.bytes())


def _moving(document: Document, animation: Animation) -> int:
    """The node of the moving points with its animation.

    Target k holds the way from the first pose to key pose k; weights that fade from one target to
    the next move every point on a straight line between its key positions.
    """
    steps = animation.paths.shape[1]
    keys = torch.linspace(0, steps - 1, min(steps, MOST_KEYS)).round().long()
    poses = animation.paths[:, keys]
    primitive = document.primitive(POINTS, poses[:, 0], animation.moving.colors)
    primitive["targets"] = [
        {"POSITION": document.positions(poses[:, k] - poses[:, 0])} for k in range(1, len(keys))
    ]
    node = document.node("moving", primitive, weights=[0.0] * (len(keys) - 1))
    seconds = animation.times[keys].numpy().astype("<f4")
    weights = np.eye(len(keys), dtype="<f4")[:, 1:].flatten()
    sampler = {
        "input": document.accessor(seconds, FLOAT, extremes=True),
        "output": document.accessor(weights, FLOAT),
        "interpolation": "LINEAR",
    }
    channel = {"sampler": 0, "target": {"node": node, "path": "weights"}}
    document.tree["animations"] = [
        {"name": "motion", "samplers": [sampler], "channels": [channel]}
    ]
    return node


def _columns(rotation: Tensor) -> list[float]:
    """A rotation [3, 3] as glTF's 4x4 matrix, column by column."""
    matrix = torch.eye(4)
    matrix[:3, :3] = rotation
    return matrix.T.flatten().tolist()
