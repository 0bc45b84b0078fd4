"""Measure a run against the truth: pictures, masks and 3D tracks, as a table and as JSON.

Held-out views tell what was learned from what was copied. Each thing that the truth knows is
selected by one click, as a person would, and the same click is given to the 2D teacher alone,
frame by frame: what the field knows beyond its teacher is the difference of the two columns.

    python examples/evaluate_a_run.py

Writes figures.json, prints it as tables, and checks that the field beats its teacher.
"""

import argparse
import tempfile
from pathlib import Path

from semaflow.scenes import simulate
from semaflow.scenes.files import read_json, write_json
from semaflow.tasks.baselines import teacher_alone
from semaflow.tasks.evaluate import evaluate
from semaflow.tasks.fit import fit
from semaflow.tasks.report import print_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    simulate("balls", frames=12, width=128, height=72, test=4).save(folder / "scene")
    run = fit(folder / "scene", folder / "run", "tiny", teacher="scene", iterations=300)

    figures = evaluate(run.field, run.scene)
    figures["teacher_alone"] = teacher_alone(run.scene, run.teacher())
    write_json(folder / "figures.json", figures)
    print_table(figures)
    print(f"wrote {folder / 'figures.json'}")
    check(read_json(folder / "figures.json"))


def check(figures: dict) -> None:
    """Held-out pictures and masks must be there and good for what a coarse field can do."""
    ours = figures["masks_train"]["objects"]["iou"]
    teacher = figures["teacher_alone"]["masks_train"]["objects"]["iou"]
    print(f"mean IoU of objects: {ours:.3f}, teacher alone {teacher:.3f}")
    assert figures["held_out"], "the figures are not of held-out views"
    assert figures["psnr"] > 16, "the held-out views do not look like the world"
    assert figures["train"]["psnr"] > figures["psnr"], "held-out views cannot be the easier ones"
    assert ours > teacher, "the field knows less than its teacher"


if __name__ == "__main__":
    main()
