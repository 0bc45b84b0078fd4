"""Fixed calibrated cameras: ``cameras.json``, ``ims``, ``seg``, as cut from CMU Panoptic.

Luiten et al., Dynamic 3D Gaussians, 3DV 2024. One training camera per time makes a moving monocular
camera of the set.
"""

from __future__ import annotations

from pathlib import Path

from ..camera import Camera
from ..files import BadInput, inside, read_json
from ..images import image_files
from ..scene import Scene
from .views import View, beside, frames_of, numbers, pixel_count, upward

FORMAT = "panoptic"


def detect(path: Path) -> bool:
    return (path / "cameras.json").is_file() and (path / "ims").is_dir()


def read(path: Path) -> Scene:
    """Training frames: the list ``monocular_train``; test frames: all of ``test_cameras``.

    ``cameras`` maps names to ``K`` [3, 3], ``w2c`` [4, 4] with OpenCV axes, ``width`` and
    ``height``; images are ``ims/CAMERA/TIME.jpg``, masks ``seg/CAMERA/TIME.png`` where a camera has
    them.
    """
    source = path / "cameras.json"
    head = read_json(source)
    kinds = {"cameras": dict, "monocular_train": list, "test_cameras": list}
    for key, kind in kinds.items():
        if not isinstance(head, dict) or not isinstance(head.get(key), kind):
            raise BadInput(f"{source}: {key}: expected a {'map' if kind is dict else 'list'}")
    rig = {
        name: _camera(entry, f"{source}: cameras.{name}") for name, entry in head["cameras"].items()
    }
    taken = []
    for index, entry in enumerate(head["monocular_train"]):
        if not isinstance(entry, dict) or not isinstance(entry.get("time"), int):
            raise BadInput(f"{source}: monocular_train[{index}]: expected a time and a camera")
        taken.append((entry["time"], str(entry.get("camera"))))
    training = sorted(taken)
    files = {name: image_files(inside(path, f"ims/{name}", source, "cameras")) for name in rig}
    tested = [str(name) for name in head["test_cameras"]]
    for name in {name for _, name in training} | set(tested):
        if name not in rig:
            raise BadInput(f"{source}: camera {name} is not among cameras")
    testing = [(time, name) for name in tested for time in range(len(files[name]))]
    length = max(1, max((time for time, _ in training + testing), default=1))

    def view(time: int, name: str) -> View:
        if not 0 <= time < len(files[name]):
            raise BadInput(
                f"{source}: time {time} of camera {name}: it has {len(files[name])} images"
            )
        image = files[name][time]
        mask = beside(image, path / "seg" / name)
        layers = {"mask": mask} if mask else {}
        return View(f"{name}_{image.stem}", image, rig[name], time / length, layers=layers)

    frames = frames_of([view(*pair) for pair in training + testing], path)
    return Scene(
        path.resolve().name,
        frames,
        train=list(range(len(training))),
        test=list(range(len(training), len(frames))),
        frame_rate=float(numbers(head.get("fps", 30), (), source, "fps")),
        up=upward([frame.camera for frame in frames]),
        timed=True,
    )


def _camera(entry, source: str) -> Camera:
    if not isinstance(entry, dict) or not {"K", "w2c", "width", "height"} <= set(entry):
        raise BadInput(f"{source}: expected K, w2c, width and height")
    size = (pixel_count(entry[key], source, key) for key in ("width", "height"))
    K, viewmat = (
        numbers(entry["K"], (3, 3), source, "K"),
        numbers(entry["w2c"], (4, 4), source, "w2c"),
    )
    return Camera.checked(K, viewmat, *size, source)
