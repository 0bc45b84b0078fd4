"""Removal on the simulated worlds, preset fast: a thing removed from a field, against the world filmed again without
it, by flow fields and by Gaussians.

``python -m benchmarks.edit WORLD...`` measures some worlds alone and leaves the other rows as they are.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from semaflow.fields import metrics
from semaflow.scenes import Scene, simulate
from semaflow.tasks.edit import edit
from semaflow.tasks.edit_quality import CHANGED, edit_quality
from semaflow.tasks.fit import fit
from semaflow.tasks.fit_flow import fit_flow

from .table import Table, machine, others, write

THINGS = {"balls": "red ball", "walker": "walker", "twins": "moving cube"}
PRESET = "fast"
FILM = 64  # width of the film of before and after, which is not what is measured
FIGURES = ["edited", "edited, no shadow", "unedited", "the field itself", "elsewhere"]  # dB
COLUMNS = ["world", "removed", "field", *FIGURES, "commit"]


def run() -> list[Table]:
    """One table, PSNR in dB where the two films differ: each world by both fields, and by the film itself with the
    thing gone and its shadow kept."""
    return [table([row for name in THINGS for row in rows(name)])]


def table(found: list[dict]) -> Table:
    made = Table(f"Things removed, against the world filmed again, preset {PRESET}", COLUMNS)
    for row in found:
        made.add(**row)
    return made


def rows(name: str) -> Iterator[dict]:
    """Those of one world."""
    with tempfile.TemporaryDirectory() as folder:
        for row in measured(name, THINGS[name], Path(folder)):
            print(row, flush=True)
            yield row | {"commit": machine()["commit"]}


def measured(name: str, thing: str, folder: Path, preset: str = PRESET, world: dict | None = None,
             flow: dict | None = None, gaussians: dict | None = None) -> list[dict]:
    """The rows of one world, filmed twice and fitted in ``folder``; the thing is a class of either field.

    ``flow``, ``gaussians``: settings of either.
    """
    before, after = simulate(name, **world or {}), simulate(name, without=thing, **world or {})
    before.save(folder / "scene")
    made = {"flow": fit_flow(folder / "scene", folder / "flow", preset, **{"teacher": "given", **(flow or {})})}
    made["Gaussians"] = fit(folder / "scene", folder / "gaussians", preset, semantics="none", **gaussians or {})
    rows = []
    for field, opened in made.items():
        removed = edit(opened, folder / f"{field} without", thing, remove=True, width=FILM)
        parts = edit_quality(removed.field, before, after, [thing])
        region = parts["region"]
        rows.append({
            "world": name, "removed": thing, "field": field, "edited": region["psnr"],
            "edited, no shadow": parts["object"]["psnr"], "unedited": region["unedited"],
            "the field itself": region["original"], "elsewhere": parts["rest"]["psnr"],
        })
    return [*rows, {"world": name, "removed": thing, "field": "film, shadow kept", **_film(before, after, thing)}]


def _film(before: Scene, after: Scene, thing: str) -> dict:
    """What the best removal that leaves the shadow reaches, and no removal at all."""
    number = before.label_names.index(thing)
    pairs = list(zip(before.split("test"), after.split("test"), strict=True))
    old, new = (torch.cat([pair[k].image.flatten(0, 1) for pair in pairs]) for k in (0, 1))
    shown = torch.cat([(a.label == number).flatten() for a, _ in pairs])
    differs = (old - new).abs().amax(-1) > CHANGED
    kept = torch.where(shown[:, None], new, old)
    return {"edited": metrics.psnr(kept, new, differs), "unedited": metrics.psnr(old, new, differs)}


def main(worlds: list[str]) -> None:
    """Measure ``worlds``, all if there are none, each written as soon as it is there."""
    for name in worlds or list(THINGS):
        for row in rows(name):
            found = others("edit", row, ("world", "field"))
            made = table(sorted(found, key=lambda row: list(THINGS).index(row["world"])))
            write("edit", machine(), [made])
    print(made)


if __name__ == "__main__":
    main(sys.argv[1:])
