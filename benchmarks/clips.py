"""Real clips from beginning to end: fit, one click on the first frame, track; scored against the clips' own masks.

``SEMAFLOW_DATA`` names the folder that holds ``davis/NAME`` and the teacher's weights. Frames that the fit holds out
give the PSNR; J is the mean over the training frames that show the object, for the masks that the field draws of what
was clicked, those of ``track --refine``, and those that the field draws of what these show. Cameras that lie beside
the frames and masks of a clip are left aside: what is measured is what a video alone gives.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from semaflow.fields import metrics
from semaflow.scenes import BadInput, Frame, Scene
from semaflow.tasks.baselines import teacher_alone
from semaflow.tasks.fit import fit
from semaflow.tasks.masks import read_mask
from semaflow.tasks.scores import image_quality
from semaflow.tasks.targets import targets
from semaflow.tasks.track import track

from .data import clicked, fill
from .table import Table

CLIPS = ("camel", "cows", "horsejump-high", "parkour", "train")
PRESET = "tiny"
TEACHER = "mobilesam+classical"
COLUMNS = [
    "clip", "cameras", "PSNR", "PSNR train", "J", "J refined", "J reselected", "J teacher alone", "fit min",
    "track min", "Gaussians",
]


def run() -> list[Table]:
    """One table, a row for each clip, and the mean of those that have masks."""
    table = Table(f"Real clips, preset {PRESET}, teacher {TEACHER}", COLUMNS)
    fill(table, [f"davis/{name}" for name in CLIPS], measured)
    scored = [row for row in table.rows if "J" in row]
    means = {key: sum(row[key] for row in scored) / len(scored) for key in COLUMNS if key.startswith("J")}
    table.add(clip="mean", **means)
    return [table]


def measured(clip: Path, folder: Path) -> dict:
    """The row of one clip, fitted into ``folder``."""
    start = time.perf_counter()
    made = fit(clip, folder, PRESET, "davis" if (clip / "masks").is_dir() else "frames", teacher=TEACHER)
    figures = {"clip": clip.name, "cameras": cameras(made.scene), "fit min": (time.perf_counter() - start) / 60}
    figures["PSNR train"] = image_quality(made.field, made.scene, "train")["psnr"]
    if made.scene.test:
        figures["PSNR"] = image_quality(made.field, made.scene)["psnr"]
    figures["Gaussians"] = made.field.count
    found = targets(made.scene)
    if not found:
        return figures
    frames = made.scene.split("train")
    clicked(made, found[0], "object")
    for column, refine in (("J", False), ("J refined", True), ("J reselected", False)):
        start = time.perf_counter()
        track(made, made.object("object"), refine=refine)
        if refine:
            figures["track min"] = (time.perf_counter() - start) / 60
        masks = folder / "tracks" / "object" / "masks"
        figures[column] = jaccard([drawn(masks / f"{i:05d}.png", f) for i, f in enumerate(frames)], frames)
    alone = teacher_alone(made.scene, made.teacher(), found)
    figures["J teacher alone"] = alone["masks_train"]["objects"]["iou"]
    return figures


def cameras(scene: Scene) -> str:
    """Where a scene's cameras came from, in a word or two."""
    if not scene.estimated:
        return "given"
    note = next(note for note in scene.notes if note.startswith("cameras:"))
    for words, short in {"turns in place": "turning", "at rest": "at rest"}.items():
        if words in note:
            return short
    return note.split("registered ")[1].split(" frames")[0].replace(" of ", "/")


def drawn(path: Path, frame: Frame) -> torch.Tensor:
    """A mask that ``track`` wrote, [H, W]; nowhere true where the object is not seen."""
    try:
        return read_mask(path, frame.camera)
    except BadInput:
        return torch.zeros(frame.camera.height, frame.camera.width, dtype=torch.bool)


def jaccard(masks: list[torch.Tensor], frames: list[Frame]) -> float:
    """Mean intersection over union with the frames' own masks, where these show something."""
    pairs = [(mask, frame.mask) for mask, frame in zip(masks, frames, strict=True) if frame.mask.any()]
    return sum(metrics.jaccard(mask, truth) for mask, truth in pairs) / len(pairs)
