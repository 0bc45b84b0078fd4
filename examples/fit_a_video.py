"""Fit a video whose cameras you know: mp4 and npz in, a field that moves out.

A simulated world stands in for your film: only its pictures (clip.mp4) and its cameras
(cameras.npz) are handed on. Without cameras= they would be estimated by structure from motion.
Every 8th frame is held out, and the field has to show what it never saw at times it never saw.
The field is coarse, for half a minute: leave the presets' own iterations for a real one.

    python examples/fit_a_video.py

Writes clip.mp4, cameras.npz and a run folder with run/field.safetensors, run/field.ply (opens in
any viewer of splats) and run/metrics.json, and checks the held-out frames.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from semaflow.scenes import Scene, simulate
from semaflow.scenes.files import replacing
from semaflow.scenes.video import write_video
from semaflow.tasks.fit import fit
from semaflow.tasks.scores import image_quality


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    clip, cameras = folder / "clip.mp4", folder / "cameras.npz"
    film = simulate("balls", frames=18, width=128, height=72, test=0)
    write_video(clip, (frame.image for frame in film.frames), fps=12)
    write_cameras(cameras, film)

    options = {"cameras": str(cameras), "holdout": 8}
    run = fit(clip, folder / "run", "tiny", options=options, teacher="classical", iterations=400)
    check(run)


def write_cameras(path: Path, film: Scene) -> None:
    """What ``cameras=`` takes: a world-to-camera matrix and intrinsics in pixels for each frame."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            viewmats=torch.stack([camera.viewmat for camera in film.cameras]).numpy(),
            Ks=torch.stack([camera.K for camera in film.cameras]).numpy(),
            width=film.cameras[0].width,
            height=film.cameras[0].height,
        )


def check(run) -> None:
    """Frames that were held out must be shown clearly better than by their neighbours in time."""
    held, trained = run.scene.split("test"), run.scene.split("train")
    psnr = image_quality(run.field, run.scene, "test")["psnr"]
    errors = []
    for frame in held:
        nearest = min(trained, key=lambda other: abs(other.time - frame.time))
        errors.append(-10 * ((frame.image - nearest.image) ** 2).mean().log10().item())
    copied = sum(errors) / len(errors)
    print(f"{len(held)} held-out frames: PSNR {psnr:.2f} dB, of the nearest frame {copied:.2f} dB")
    assert psnr > 20, "the field does not show the held-out frames"
    assert psnr > copied + 1, "the field is little better than repeating frames"


if __name__ == "__main__":
    main()
