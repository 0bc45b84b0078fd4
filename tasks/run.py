"""A run folder: everything a fit made, as plain files."""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path

import yaml

from ..scenes import BadInput, Scene, load
from ..scenes.files import existing, read_json, write_json, write_text
from ..scenes.splits import LabelSplit
from .device import device

FORMAT = 1


class Run:
    """An open run folder.

    Files: ``config.yaml`` all settings; ``scene.json`` cameras, times and splits as used (refined poses included);
    ``field.safetensors`` everything learned; ``field.ply`` canonical Gaussians; ``metrics.json``; ``log.jsonl``;
    ``objects/NAME.safetensors``; ``renders/``; ``tracks/``.
    """

    def __init__(self, folder: str | Path, config: dict):
        self.folder, self.config = Path(folder), config

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """The run in ``folder``; BadInput when it is none, is damaged, or is newer than this version."""
        folder = existing(folder, folder=True)
        path = folder / "config.yaml"
        if not path.is_file():
            raise BadInput(f"{folder}: not a run folder (it has no config.yaml)")
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise BadInput(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
        if not isinstance(config, dict):
            raise BadInput(f"{path}: expected settings by name, got {type(config).__name__}")
        version = config.get("format")
        if not isinstance(version, int) or version > FORMAT:
            raise BadInput(f"{path}: format: {version!r} is newer than this version reads ({FORMAT})")
        for key, kind in {"method": str, "scene": dict, "teacher": dict, "settings": dict}.items():
            if not isinstance(config.get(key), kind):
                raise BadInput(f"{path}: {key}: expected {kind.__name__}, got {config.get(key)!r}")
        return cls(folder, config)

    @classmethod
    def create(cls, folder: str | Path, method: str, scene: dict, teacher: dict, settings: dict,
               split: dict | None = None) -> Run:
        """A new run folder. ``scene`` says how to load the scene (path, format, options), ``teacher`` how to make
        the teacher (name, options), ``split`` holds the lists of a :class:`LabelSplit`, None that of all frames.
        BadInput when the folder holds a run already."""
        folder = cls.vacant(folder)
        config = {
            "format": FORMAT, "semaflow": importlib.metadata.version("semaflow"), "method": method, "scene": scene,
            "teacher": teacher, "settings": settings,
        } | ({} if split is None else {"split": split})
        write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
        return cls(folder, config)

    @staticmethod
    def vacant(folder: str | Path) -> Path:
        """``folder`` if a run can be made there; BadInput when it holds one already."""
        folder = Path(folder)
        if (folder / "config.yaml").exists():
            raise BadInput(f"{folder}: holds a run already; go on with --resume or choose another folder")
        return folder

    @functools.cached_property
    def scene(self) -> Scene:
        """The scene with the cameras, times and splits that the fit used."""
        from ..scenes.store import apply_record

        where = self.config["scene"]
        scene = load(where["path"], where.get("format"), **where.get("options", {}))
        record = self.folder / "scene.json"
        return apply_record(scene, read_json(record), record) if record.exists() else scene

    @functools.cached_property
    def split(self) -> LabelSplit:
        """Of which training frames the fit used labels and pictures."""
        count, record = len(self.scene.train), self.config.get("split")
        if record is None:
            return LabelSplit.full(count)
        return LabelSplit.checked(record, count, self.folder / "config.yaml")

    def save_scene(self, scene: Scene) -> None:
        """Write ``scene.json``: cameras, times and splits as used, and remember ``scene``."""
        from ..scenes.store import scene_record

        write_json(self.folder / "scene.json", scene_record(scene))
        self.__dict__["scene"] = scene

    @functools.cached_property
    def field(self):
        """The learned field, on the device that :func:`.device.device` names."""
        from ..fields.gaussians.field import GaussianField

        if self.config["method"] != GaussianField.kind:
            raise BadInput(f"{self.folder / 'config.yaml'}: method: expected gaussians, got {self.config['method']!r}")
        return GaussianField.load(self.folder).to(device())

    def teacher(self):
        """The feature teacher that the run was made with."""
        from ..scenes.teachers import teacher

        return teacher(self.config["teacher"]["name"], **self.config["teacher"].get("options", {}))

    def objects(self) -> list[str]:
        """Names of the selected objects."""
        return sorted(path.stem for path in (self.folder / "objects").glob("*.safetensors"))

    def object(self, name: str):
        """The selection called ``name``; BadInput lists the names there are."""
        from .select import Selection

        if name not in self.objects():
            raise BadInput(f"no such object {name!r}; there are: {', '.join(self.objects()) or 'none yet'}")
        return Selection.load(self.folder / "objects" / f"{name}.safetensors", self.field.count)

    def save_object(self, selection) -> None:
        """Write a selection under its name."""
        selection.save(self.folder / "objects" / f"{selection.name}.safetensors")
