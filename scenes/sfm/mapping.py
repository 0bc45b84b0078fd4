"""Structure from motion by pycolmap, in a process of its own: an abort of the library ends only that.

``python -m semaflow.scenes.sfm.mapping FOLDER`` reads FOLDER/job.json, images and masks or tracks, and writes
FOLDER/result.npz; :func:`map_frames` prepares the folder, runs it and reads the answer. Features are those that the
library detects (SIFT), or given tracks of points.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...kernels.threads import cores, setting
from ..motion.follow import Tracks2D

FEATURES = 3000  # per image: more only costs time
OVERLAP = 12  # frames that each frame is matched with, besides those 2^k later
TRACKED = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24)  # frames later in which tracks are matched with a frame
SHARED = 40  # tracks that two frames must share
# What COLMAP asks of the first pair and of a frame to be added; the first try is its own default, the
# others accept less parallax and fewer matches.
ATTEMPTS = (
    {},
    {"init_min_tri_angle": 8.0, "init_min_num_inliers": 60},
    {
        "init_min_tri_angle": 3.0,
        "init_min_num_inliers": 40,
        "abs_pose_min_num_inliers": 15,
        "filter_min_tri_angle": 0.5,
    },
    {
        "init_min_tri_angle": 1.0,
        "init_min_num_inliers": 30,
        "abs_pose_min_num_inliers": 15,
        "abs_pose_min_inlier_ratio": 0.15,
        "filter_min_tri_angle": 0.2,
    },
)


@dataclass
class Model:
    """The largest reconstruction found.

    Attributes:
        frames: [F] indices of the registered frames, ascending.
        K: [3, 3] shared intrinsics in pixels.
        viewmats: [F, 4, 4] world to camera.
        points, colors: [P, 3] sparse points and their colours in 0..1.
        error: mean reprojection error in pixels.
        attempt: which of ``ATTEMPTS`` gave it.
    """

    frames: np.ndarray
    K: np.ndarray
    viewmats: np.ndarray
    points: np.ndarray
    colors: np.ndarray
    error: float
    attempt: int


def map_frames(
    images: list[np.ndarray],
    moving: list[np.ndarray],
    enough: float = 0.98,
    minutes: float = 20,
    tracks: Tracks2D | None = None,
    seed: int = 1,
) -> Model | str:
    """Reconstruct a video: RGB ``images`` [H, W, 3] uint8, without features where ``moving`` [H, W].

    Tries ``ATTEMPTS`` in order until a model holds the share ``enough`` of the frames, for at most
    ``minutes``; with ``tracks`` of points over the frames only the first, by these instead of features.
    Returns the largest model, or in words why there is none. The same ``seed`` gives the same model; another one
    other inliers between pairs of frames, and so another start. (On hard clips 0 has led astray where others agree.)
    """
    import cv2

    with tempfile.TemporaryDirectory(prefix="semaflow-sfm-") as name:
        folder = Path(name)
        (folder / "images").mkdir()
        if tracks is None:
            (folder / "masks").mkdir()
        else:
            np.savez(folder / "tracks.npz", pixels=tracks.pixels, visible=tracks.visible)
        for index, (image, mask) in enumerate(zip(images, moving, strict=True)):
            cv2.imwrite(str(folder / "images" / f"{index:05d}.png"), image[..., ::-1])
            if tracks is None:  # tracks are of what is still already
                still = np.where(mask, 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / "masks" / f"{index:05d}.png.png"), still)
        job = {"enough": enough, "seconds": minutes * 60, "threads": setting() or cores(), "seed": seed}
        job["tracked"] = tracks is not None
        (folder / "job.json").write_text(json.dumps(job))
        command = [sys.executable, "-m", "semaflow.scenes.sfm.mapping", name]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=minutes * 60 + 60, check=False
            )
            ending = f"ended with status {done.returncode}"
            if done.returncode and done.stderr.strip():
                ending += f" ({done.stderr.strip().splitlines()[-1][:200]})"
        except subprocess.TimeoutExpired:
            ending = f"took longer than {minutes:g} minutes"
        # a model found before an abort is as good as any
        if not (folder / "result.npz").exists():
            return f"structure from motion {ending}"
        with np.load(folder / "result.npz", allow_pickle=False) as result:
            if len(result["frames"]) == 0:
                return "structure from motion found no model"
            fields = {key: result[key] for key in result.files}
    fields["error"], fields["attempt"] = float(fields["error"]), int(fields["attempt"])
    return Model(**fields)


def _reconstruct(folder: Path) -> None:
    """The child's work: features, matches and the attempts; the best model so far is on disk at any time."""
    import time

    import pycolmap

    started = time.monotonic()
    job = json.loads((folder / "job.json").read_text())
    count = len(list((folder / "images").iterdir()))
    database, images = folder / "database.db", folder / "images"
    pycolmap.set_random_seed(job["seed"])
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = job["seed"]  # else each thread draws on from the pairs that it happened to get
    if job["tracked"]:
        _tracked(folder, verification)
    else:
        _detected(folder, job["threads"], verification)

    _store(folder, None, -1)
    best = 0
    for attempt, settings in enumerate(ATTEMPTS[:1] if job["tracked"] else ATTEMPTS):
        left = job["seconds"] - (time.monotonic() - started)
        if left < 5 or best >= job["enough"] * count:
            break
        options = pycolmap.IncrementalPipelineOptions()
        options.num_threads = 1  # sums of several threads differ from run to run
        options.random_seed = attempt
        options.min_model_size = 3
        options.max_runtime_seconds = int(left)
        for name, value in settings.items():
            setattr(options.mapper, name, value)
        options.triangulation.min_angle = options.mapper.filter_min_tri_angle
        output = folder / f"models{attempt}"
        output.mkdir()
        for model in pycolmap.incremental_mapping(database, images, output, options).values():
            if model.num_reg_images() > best:
                best = model.num_reg_images()
                _store(folder, model, attempt)


def _tracked(folder: Path, verification) -> None:
    """Fill the database with the points of tracks.npz, matched where two frames show the same."""
    import pycolmap

    database = folder / "database.db"
    with np.load(folder / "tracks.npz", allow_pickle=False) as tracks:
        pixels, visible = tracks["pixels"].astype(np.float32), tracks["visible"]
    pycolmap.Database.open(database).close()  # makes it
    pycolmap.import_images(database, folder / "images", pycolmap.CameraMode.SINGLE, options=_one_pinhole())
    names = [f"{frame:05d}.png" for frame in range(visible.shape[1])]
    pairs = []
    with pycolmap.Database.open(database) as kept:
        ids = {image.name: image.image_id for image in kept.read_all_images()}
        for frame, name in enumerate(names):
            kept.write_keypoints(ids[name], pixels[visible[:, frame], frame])
        place = np.cumsum(visible, 0) - 1
        for first in range(len(names)):
            for second in [first + later for later in TRACKED if first + later < len(names)]:
                both = visible[:, first] & visible[:, second]
                if both.sum() >= SHARED:
                    matches = np.stack([place[both, first], place[both, second]], 1).astype(np.uint32)
                    kept.write_matches(ids[names[first]], ids[names[second]], matches)
                    pairs.append(f"{names[first]} {names[second]}\n")
    (folder / "pairs.txt").write_text("".join(pairs))
    pycolmap.verify_matches(database, folder / "pairs.txt", verification)


def _one_pinhole():
    import pycolmap

    reading = pycolmap.ImageReaderOptions()
    reading.camera_model = "SIMPLE_PINHOLE"
    return reading


def _detected(folder: Path, threads: int, verification) -> None:
    """Fill the database with features that are detected in the pictures and matched."""
    import pycolmap

    extraction = pycolmap.FeatureExtractionOptions()
    extraction.num_threads = threads
    extraction.sift.max_num_features = FEATURES
    reading = _one_pinhole()
    reading.mask_path = folder / "masks"
    pycolmap.extract_features(
        folder / "database.db",
        folder / "images",
        camera_mode=pycolmap.CameraMode.SINGLE,
        reader_options=reading,
        extraction_options=extraction,
        device=pycolmap.Device.cpu,
    )
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = threads
    pairing = pycolmap.SequentialPairingOptions()
    pairing.overlap = OVERLAP
    pycolmap.match_sequential(
        folder / "database.db",
        matching_options=matching,
        pairing_options=pairing,
        verification_options=verification,
        device=pycolmap.Device.cpu,
    )


def _store(folder: Path, model, attempt: int) -> None:
    arrays = {
        "frames": np.zeros(0, np.int64),
        "K": np.eye(3),
        "viewmats": np.zeros((0, 4, 4)),
        "points": np.zeros((0, 3)),
        "colors": np.zeros((0, 3)),
        "error": np.array(0.0),
        "attempt": np.array(attempt),
    }
    if model is not None:
        seen = sorted((model.image(index) for index in model.reg_image_ids()), key=lambda i: i.name)
        matrices = np.tile(np.eye(4), (len(seen), 1, 1))
        matrices[:, :3] = [image.cam_from_world().matrix() for image in seen]
        points = list(model.points3D.values())
        arrays["frames"] = np.array([int(Path(image.name).stem) for image in seen])
        arrays["K"] = model.camera(seen[0].camera_id).calibration_matrix()
        arrays["viewmats"] = matrices
        arrays["points"] = np.array([point.xyz for point in points]).reshape(-1, 3)
        arrays["colors"] = np.array([point.color for point in points]).reshape(-1, 3) / 255.0
        arrays["error"] = np.array(model.compute_mean_reprojection_error())
    temporary = folder / "result.part.npz"
    np.savez(temporary, **arrays)
    os.replace(temporary, folder / "result.npz")


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        _reconstruct(Path(sys.argv[1]))
