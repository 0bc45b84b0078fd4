"""How a flow field stands wrong flow and few labels, on the world ``balls``, preset fast.

Noise is added to the optical flow before anything is made of it (motion masks, depth, tracks, the flow loss), with a
deviation of a share of the flow's range; labels are cut to every tenth frame.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import torch
from semaflow.scenes import Scene, simulate
from semaflow.scenes.motion.flow import flow_validity, video_flow
from semaflow.scenes.splits import LabelSplit
from semaflow.tasks.fit_flow import fit_flow

from .table import Table

WORLD, PRESET = "balls", "fast"
NOISE = (0.0, 0.01, 0.05, 0.1)
EVERY = 10  # frames of which one is labelled
COLUMNS = ["case", "mIoU", "PSNR"]


def run() -> list[Table]:
    """One table."""
    table = Table(f"Robustness of a flow field on {WORLD}, preset {PRESET}, held-out cameras", COLUMNS)
    scene = simulate(WORLD)
    with tempfile.TemporaryDirectory() as folder:
        for share in NOISE:
            noisy(scene, share).save(Path(folder) / f"scene {share}")
            table.add(**row(f"flow noise {share:.0%}", Path(folder) / f"scene {share}", Path(folder) / f"run {share}"))
            print(table.rows[-1], flush=True)
        few = row("labels of 10% of the frames", Path(folder) / "scene 0.0", Path(folder) / "few", tenth)
        table.add(**few)
    return [table]


def row(case: str, scene: Path, folder: Path, split=LabelSplit.full) -> dict:
    """The figures of one fit."""
    made = fit_flow(scene, folder, PRESET, teacher="given", split=split)
    figures = json.loads((made.folder / "metrics.json").read_text())
    return {"case": case, "mIoU": figures["labels"]["miou"], "PSNR": figures["psnr"]}


def tenth(count: int) -> LabelSplit:
    """Labels of every tenth frame, pictures of all."""
    labelled = list(range(0, count, EVERY))
    return LabelSplit(labelled, list(range(count)), [k for k in range(count) if k not in labelled])


def noisy(scene: Scene, share: float, seed: int = 0) -> Scene:
    """``scene`` with estimated flow as given flow, and noise of ``share`` of its range (its 99% quantile) in it."""
    frames = scene.split("train")
    flows = video_flow(frames)
    valid = flow_validity(frames, *flows)
    generator = torch.Generator().manual_seed(seed)
    spread = share * torch.stack(flows).norm(dim=-1).flatten()[::97].quantile(0.99)
    ahead, back = (flow + spread * torch.randn(flow.shape, generator=generator) for flow in flows)
    changed = list(scene.frames)
    for k, index in enumerate(scene.train):
        layers: dict = {"flow_forward": None, "flow_backward": None}
        if k < len(ahead):
            layers |= {"flow_forward": ahead[k], "flow_forward_valid": valid[0][k]}
        if k:
            layers |= {"flow_backward": back[k - 1], "flow_backward_valid": valid[1][k - 1]}
        changed[index] = changed[index].with_layers(**layers)
    return dataclasses.replace(scene, frames=changed)
