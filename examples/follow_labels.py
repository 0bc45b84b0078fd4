"""Follow labels: those of a video's first half are given, its second half is labelled.

Twice: once the field may look at the pictures of the second half, and once it has to foretell it:
then things go on as they last moved. Two cubes of this world look the same, and are told apart only
by one of them moving.

    python examples/follow_labels.py

Writes all/labels/labels.mp4 and seen/labels/labels.mp4 (picture | true labels | found), and checks
that both cubes are followed, better with pictures than without.
"""

import argparse
import tempfile
from pathlib import Path

from semaflow.scenes import simulate
from semaflow.scenes.files import read_json
from semaflow.tasks.follow import follow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    simulate("twins", frames=12, width=128, height=72, test=0).save(folder / "scene")
    scores = {}
    for pictures in ("all", "seen"):
        options = {"pictures": pictures, "preset_name": "tiny", "iterations": 300}
        run = follow(folder / "scene", folder / pictures, 50, **options)
        scores[pictures] = read_json(run.folder / "metrics.json")["labels_train"]
    check(scores)


def check(scores: dict) -> None:
    """Each cube must be followed, the one that stands still no less than the one that moves."""
    for pictures, found in scores.items():
        cubes = {name: round(iou, 3) for name, iou in found["iou"].items() if "cube" in name}
        print(f"pictures {pictures}: mIoU of the second half {found['miou']:.3f}, {cubes}")
        assert found["miou"] > 0.5, "the labels were lost"
        assert min(cubes.values()) > 0.5, "a cube was lost"
    assert scores["all"]["miou"] > scores["seen"]["miou"], "it makes no difference to look"


if __name__ == "__main__":
    main()
