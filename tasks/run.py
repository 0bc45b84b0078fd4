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
from .edits import edited

FORMAT = 1


def whereabouts(source: str | Path, format: str | None, options: dict | None) -> dict:
    """How to load the scene at ``source`` again from any working folder."""
    options = dict(options or {})
    if options.get("cameras") is not None:
        options["cameras"] = str(Path(options["cameras"]).resolve())
    return {"path": str(Path(source).resolve()), "format": format, "options": options}


class Run:
    """An open run folder.

    Files: ``config.yaml`` all settings; ``scene.json`` cameras, times and splits as used (refined poses included);
    ``field.safetensors`` everything learned; ``field.ply`` canonical Gaussians; ``metrics.json``; ``log.jsonl``;
    ``objects/NAME.safetensors``; ``renders/``; ``tracks/``; ``edit.json`` what is changed before it is shown.
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
               split: dict | None = None, further: list[dict] | None = None) -> Run:
        """A new run folder. ``scene`` says how to load the scene (path, format, options), ``teacher`` how to make
        the teacher (name, options), ``split`` holds the lists of a :class:`LabelSplit`, None that of all frames,
        ``further`` says how to load more scenes of a field of several.
        BadInput when the folder holds a run already."""
        folder = cls.vacant(folder)
        config = {
            "format": FORMAT, "semaflow": importlib.metadata.version("semaflow"), "method": method, "scene": scene,
            "teacher": teacher, "settings": settings,
        } | ({} if split is None else {"split": split}) | ({"further": further} if further else {})
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
    def scenes(self) -> list[Scene]:
        """All scenes of the run, with the cameras, times and splits that the fit used and labels of common classes."""
        from ..scenes.labels import common_classes
        from ..scenes.store import apply_record

        found = []
        for number, where in enumerate([self.config["scene"], *self.config.get("further", [])]):
            scene = load(where["path"], where.get("format"), **where.get("options", {}))
            record = self._record(number)
            found.append(apply_record(scene, read_json(record), record) if record.exists() else scene)
        return common_classes(found)

    def _record(self, number: int) -> Path:
        return self.folder / (f"scene_{number}.json" if number else "scene.json")

    @property
    def scene(self) -> Scene:
        """The run's scene, the first of several."""
        return self.scenes[0]

    @functools.cached_property
    def split(self) -> LabelSplit:
        """Of which training frames the fit used labels and pictures."""
        count, record = len(self.scene.train), self.config.get("split")
        if record is None:
            return LabelSplit.full(count)
        return LabelSplit.checked(record, count, self.folder / "config.yaml")

    def save_scene(self, *scenes: Scene) -> None:
        """Write ``scene.json`` (``scene_1.json``... of more): cameras, times and splits as used, and remember these."""
        from ..scenes.store import scene_record

        for number, scene in enumerate(scenes):
            write_json(self._record(number), scene_record(scene))
        self.__dict__["scenes"] = list(scenes)

    @functools.cached_property
    def field(self):
        """The learned field, on the device that :func:`.device.device` names; edited as ``edit.json`` says, if there
        is one."""
        from ..fields.flow.field import FlowField
        from ..fields.gaussians.field import GaussianField
        from ..fields.perception.field import PerceptionField

        kinds = {kind.kind: kind for kind in (GaussianField, FlowField, PerceptionField)}
        kind = kinds.get(self.config["method"])
        if kind is None:
            where = self.folder / "config.yaml"
            raise BadInput(f"{where}: method: expected {', '.join(kinds)}, got {self.config['method']!r}")
        return edited(kind.load(self.folder).to(device()), self.folder)

    @property
    def gaussians(self):
        """The learned field, which must be of Gaussians: BadInput for a run of another method."""
        if self.config["method"] != "gaussians":
            raise BadInput(f"{self.folder}: needs a run of --method gaussians, this is one of {self.config['method']}")
        return self.field

    def clip(self, name: str | None = None):
        """The field, speaking of its video ``name``, and that video's scene; None: the first.

        BadInput lists the names there are.
        """
        names = self.field.names
        if not names:
            if name is not None:
                raise BadInput(f"clip {name!r}: the run is of one video alone; leave the clip out")
            return self.field, self.scene
        field = self.field.of(names[0] if name is None else name)
        return field, self.scenes[field.current]

    def teacher(self):
        """The feature teacher that the run was made with."""
        from ..scenes.teachers import teacher

        return teacher(self.config["teacher"]["name"], **self.config["teacher"].get("options", {}))

    def objects(self) -> list[str]:
        """Names of the selected objects."""
        from .selection import names

        return names(self.folder)

    def object(self, name: str):
        """The selection called ``name``, or the Gaussians of the class of that name; BadInput lists the names there
        are."""
        from .selection import named

        return named(self.folder, self.field, name)

    def save_object(self, selection) -> None:
        """Write a selection under its name."""
        selection.save(self.folder / "objects" / f"{selection.name}.safetensors")
