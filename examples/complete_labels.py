"""Complete labels: a quarter of a video's frames is labelled, the field labels all others.

The labelled frames lie at both ends of the video; between them things move, turn and hide one
another. All pictures are used to learn the field. What the labels say is then lifted onto its
Gaussians, without training, and rendered at any time, also from cameras that nobody held.

    python examples/complete_labels.py

Writes run/labels/labels.mp4 (picture | true labels | found), run/labels/labels.png with some frames
of the gap, and checks that the gap is labelled better than by copies of the nearest labels.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from semaflow.fields.metrics import confusion, mean_iou
from semaflow.scenes import simulate
from semaflow.scenes.files import read_json
from semaflow.tasks.complete import complete


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    simulate("balls", frames=12, width=128, height=72, test=4).save(folder / "scene")
    run = complete(folder / "scene", folder / "run", 25, preset_name="tiny", iterations=300)
    print(f"labels of frames {run.split.labelled} given, of {len(run.split.unseen)} others found")
    check(run)


def check(run) -> None:
    """The field must label the gap better than whoever copies the nearest frame's labels."""
    frames, count = run.scene.split("train"), len(run.scene.label_names)
    matrix = torch.zeros(count, count, dtype=torch.long)
    for position in run.split.unseen:
        nearest = min(run.split.labelled, key=lambda known: abs(known - position))
        matrix += confusion(frames[position].label, frames[nearest].label, count)
    copied, metrics = mean_iou(matrix), read_json(run.folder / "metrics.json")
    found, new = metrics["labels_train"]["miou"], metrics["labels"]["miou"]
    print(f"mIoU in the gap: {found:.3f}, from new cameras {new:.3f}; copied labels {copied:.3f}")
    assert found > copied + 0.2, "the field labels no better than copies"
    assert new > 0.5, "labels from new cameras are not of this world"


if __name__ == "__main__":
    main()
