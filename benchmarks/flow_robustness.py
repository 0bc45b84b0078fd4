"""How a flow field stands wrong flow and few labels, on the world ``balls``, preset fast.

Noise is added to the optical flow before anything is made of it (motion masks, depth, tracks, the flow loss), with a
deviation of a share of the flow's range; labels are cut to every tenth frame.

``python -m benchmarks.flow_robustness CASE...`` measures some rows alone and leaves the others as they are.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from semaflow.scenes import Scene, simulate
from semaflow.scenes.motion.flow import flow_validity, video_flow
from semaflow.scenes.splits import LabelSplit
from semaflow.tasks.fit_flow import fit_flow

from .table import Table, machine, others, write

WORLD, PRESET = "balls", "fast"
NOISE = (0.0, 0.01, 0.05, 0.1)
EVERY = 10  # frames of which one is labelled
COLUMNS = ["case", "mIoU", "PSNR", "commit"]


def run() -> list[Table]:
    """One table."""
    return [table(list(rows(cases())))]


def table(found: list[dict]) -> Table:
    made = Table(f"Robustness of a flow field on {WORLD}, preset {PRESET}, held-out cameras", COLUMNS)
    for row in found:
        made.add(**row)
    return made


def cases() -> dict[str, tuple[float, Callable[[int], LabelSplit]]]:
    """Noise of the flow, and which frames are labelled, of every row."""
    noise = {f"flow noise {share:.0%}": (share, LabelSplit.full) for share in NOISE}
    return noise | {"labels of 10% of the frames": (0.0, tenth)}


def rows(chosen: Iterable[str]) -> Iterator[dict]:
    """Those of some cases."""
    scene = simulate(WORLD)
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            share, split = cases()[case]
            path = Path(folder) / f"scene {share}"
            if not path.exists():
                noisy(scene, share).save(path)
            yield row(case, path, Path(folder) / case, split)


def row(case: str, scene: Path, folder: Path, split=LabelSplit.full) -> dict:
    """The figures of one fit."""
    made = fit_flow(scene, folder, PRESET, teacher="given", split=split)
    figures = json.loads((made.folder / "metrics.json").read_text())
    quality = {"mIoU": figures["labels"]["miou"], "PSNR": figures["psnr"]}
    return {"case": case, **quality, "commit": machine()["commit"]}


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


def main(wanted: list[str]) -> None:
    """Measure the cases that ``wanted`` names, all if there are none, each written as soon as it is there."""
    for row in rows(wanted or list(cases())):
        order = list(cases())
        made = table(sorted(others("flow_robustness", row, ("case",)), key=lambda found: order.index(found["case"])))
        write("flow_robustness", machine(), [made])
        print(row, flush=True)
    print(made)


if __name__ == "__main__":
    main(sys.argv[1:])
