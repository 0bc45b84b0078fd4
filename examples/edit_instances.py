"""Edit things in a learned field without training it again: remove one, repeat another in a new colour.

A flow field knows what everything is along every ray, moving or not. A removed thing has no density, so
that what was seen behind it in other frames appears; a repeated thing is asked for where it comes from and
shown where it shall be; a recoloured one keeps its brightness. An edited run is a run: it is rendered,
measured and edited further like any other. The world filmed again without the thing tells how good that is.

    python examples/edit_instances.py

Writes removed/edited.mp4, removed/edited.png, twice/edited.mp4 (before beside after) and checks them.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from semaflow.scenes import simulate
from semaflow.tasks.edit import edit
from semaflow.tasks.edit_quality import edit_quality
from semaflow.tasks.fit_flow import fit_flow

WORLD = {"frames": 8, "width": 80, "height": 45, "test": 2}
QUICK = {
    "teacher": "given", "static_iterations": 200, "dynamic_iterations": 350, "samples": 12, "proposals": 16,
    "flow_stride": 1, "static_semantics": 0.5, "semantics_full": 0.5, "semantics_dynamic": 0.25,
    # in so short and coarse a film motion masks hardly find what moves
    "moving_classes": ("red ball", "blue ball", "green ball", "yellow ball"),
}  # fmt: skip
AWAY = (-0.9, 0.0, 0.0)  # to the left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    simulate("balls", **WORLD).save(folder / "scene")
    run = fit_flow(folder / "scene", folder / "run", "tiny", **QUICK)

    removed = edit(run, folder / "removed", "red ball", remove=True)
    twice = edit(removed, folder / "twice", "green ball", duplicate=AWAY, recolor=(0.6, 0.2, 0.9))

    again = simulate("balls", without="red ball", **WORLD)
    figures = edit_quality(removed.field, run.scene, again, ["red ball"])["region"]
    print(f"where the red ball was: {figures['psnr']:.1f} dB against the world without it, "
          f"{figures['unedited']:.1f} dB before the edit, {figures['original']:.1f} dB the field itself")
    print(f"wrote {folder / 'removed' / 'edited.mp4'} and {folder / 'twice' / 'edited.mp4'}")
    check(run, removed, twice, figures)


def check(run, removed, twice, figures: dict) -> None:
    """One ball must be gone and what is behind it seen; the other be there twice, violet and as bright as it was."""
    frame = run.scene.split("train")[4]
    red, green = (run.scene.label_names.index(name) for name in ("red ball", "green ball"))
    before, gone, after = (
        opened.field.render(frame.camera, frame.time, ("color", "logits")) for opened in (run, removed, twice)
    )
    assert (gone.labels == red).sum() < 0.05 * (before.labels == red).sum(), "the red ball is still there"
    assert figures["psnr"] > figures["unedited"] + 1, "what is behind it is not seen"

    old, new = before.labels == green, after.labels == green
    assert new.sum() > 1.25 * old.sum(), "the green ball is there only once"
    assert middle(new & ~old) < middle(old) - 8, "the copy is not to the left of it"

    luma = torch.tensor([0.2126, 0.7152, 0.0722])
    colors = [picture.color[old & new] for picture in (before, after)]
    assert (colors[0].argmax(-1) == 1).float().mean() > 0.7, "the ball was not green"
    assert (colors[1].argmax(-1) == 2).float().mean() > 0.9, "the ball is not violet"
    assert ((colors[1] - colors[0]) @ luma).abs().mean() < 0.05, "the ball is not as bright as before"


def middle(mask: torch.Tensor) -> float:
    """The median column of a mask."""
    return mask.nonzero()[:, 1].float().median().item()


if __name__ == "__main__":
    main()
