"""One flow field of two videos, and a third to which it is adapted in a quarter of the steps.

Networks are shared by all videos and learn what classes look like and how they move; each video has
planes of its own. A new video therefore starts from networks that know the classes already, and its
labels are found in a number of steps that teaches a field that starts from nothing little.

    python examples/several_scenes.py

Writes both/metrics.json (figures of each video), adapted/metrics.json and fresh/metrics.json, and
checks labels seen by cameras that nobody held.
"""

import argparse
import tempfile
from pathlib import Path

from semaflow.scenes import simulate
from semaflow.scenes.files import read_json
from semaflow.tasks.adapt import adapt
from semaflow.tasks.fit_flow import fit_flow

WORLD = {"frames": 8, "width": 64, "height": 36, "test": 2}
SMALL = {
    "teacher": "given", "samples": 12, "proposals": 16, "flow_stride": 1, "static_rays": 64, "dynamic_rays": 64,
    "static_semantics": 0.5, "semantics_full": 0.5, "semantics_dynamic": 0.25,
}  # fmt: skip
FEW = {"static_iterations": 60, "dynamic_iterations": 60}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    for seed, name in enumerate(("first", "second", "new")):
        simulate("twins", seed=seed, **WORLD).save(folder / name)
    both = fit_flow(
        [folder / "first", folder / "second"], folder / "both", "tiny", static_iterations=200, dynamic_iterations=300,
        **SMALL,
    )
    adapted = adapt(both.folder, folder / "new", folder / "adapted", **FEW)
    fresh = fit_flow(folder / "new", folder / "fresh", "tiny", **SMALL, **FEW)
    check(*(read_json(run.folder / "metrics.json") for run in (both, adapted, fresh)))


def check(both: dict, adapted: dict, fresh: dict) -> None:
    """Labels of both videos must be right for the one field, and those of the new one better for having had them.

    Room alone, without either cube, makes a mean IoU of 0.2 on this world.
    """
    videos = {**both["clips"], "the new one, adapted to": adapted, "the new one from nothing": fresh}
    for name, figures in videos.items():
        print(f"{name}: mIoU {figures['labels']['miou']:.3f} from new cameras")
    for figures in (*both["clips"].values(), adapted):
        assert figures["labels"]["miou"] > 0.3, "the labels are not of this world"
        cubes = [iou for name, iou in figures["labels"]["iou"].items() if "cube" in name]
        assert min(cubes) > 0.2, "a cube was not learned"
    gained = adapted["labels"]["miou"] - fresh["labels"]["miou"]
    assert gained > 0.1, "the new video gained nothing from the others"


if __name__ == "__main__":
    main()
