"""``semaflow fit --method flow``: a flow field of one or several labelled videos."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..fields.flow.clip import Clip
from ..fields.flow.config import LEARNED, NONE, FlowConfig, preset
from ..fields.flow.field import FlowField
from ..fields.flow.start import start_clip, start_field
from ..fields.flow.targets import Targets, targets
from ..fields.flow.trainer import FlowTrainer
from ..scenes import BadInput, Scene, load
from ..scenes.files import write_json
from ..scenes.labels import common_classes, labelled, with_classes
from ..scenes.motion.named import class_ids, with_moving
from ..scenes.splits import LabelSplit
from .device import device
from .progress import console
from .run import Run, whereabouts
from .training import train_all


def fit_flow(source: str | Path | Sequence[str | Path], output: str | Path, preset_name: str = "fast",
             format: str | None = None, options: dict | None = None,
             split: Callable[[int], LabelSplit] = LabelSplit.full, **changes) -> Run:
    """Learn a flow field of the scene at ``source``, or of several at once, into the run folder ``output``.

    Args:
        preset_name: tiny, fast or paper.
        format, options: as for ``scenes.load``, of every scene.
        split: makes of the number of a scene's training frames which of their labels and pictures are used.
        changes: settings of :class:`FlowConfig` to change; ``teacher`` is another name for ``encoder``.

    Raises BadInput: unusable input, an unknown setting or class, a loss asked for whose input is missing, a scene
    without the labels that were asked for, or a folder that holds a run already.
    """
    from .fit import posed

    Run.vacant(output)
    if "teacher" in changes:
        changes["encoder"] = changes.pop("teacher")
    config = preset(preset_name).replaced(**changes)
    config = dataclasses.replace(config, encoder=found_encoder(config.encoder))
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    scenes, where = [], []
    for path in sources:
        scene = with_classes(load(path, format, **(options or {})))
        chosen = split(len(scene.train))
        if chosen.unseen and not labelled(chosen.seen(scene)):
            raise BadInput(f"{path}: label: no frame that is to give labels has any")
        scenes.append(scene)
        where.append(whereabouts(path, scene.format or format, options))
    class_ids(config.moving_classes, common_classes(scenes)[0].label_names)
    scenes = [posed(scene) for scene in scenes]
    if len({len(scene.train) for scene in scenes}) > 1 and split(len(scenes[0].train)).unseen:
        raise BadInput(f"{sources[-1]}: expected as many training frames as {sources[0]} for one split of both")
    chosen = split(len(scenes[0].train))
    record = dataclasses.asdict(chosen) if chosen.unseen else None
    teacher = {"name": config.encoder}
    made = Run.create(output, FlowField.kind, where[0], teacher, dataclasses.asdict(config), record, where[1:])
    made.save_scene(*common_classes(scenes))
    return learn(made, config, tuple(changes))


def resume_flow(made: Run) -> Run:
    """Go on with an interrupted fit from its last checkpoint."""
    from .fit import posed

    if not (made.folder / "scene.json").exists():
        made.save_scene(*(posed(scene) for scene in made.scenes))
    return learn(made, FlowConfig().replaced(**made.config["settings"]))


def learn(made: Run, config: FlowConfig, asked: tuple[str, ...] = ()) -> Run:
    """Train and write everything into the run folder."""
    clips, found, code = prepared(made, config)
    field = start_field(clips, made.scene.label_names, config)
    if code is not None:
        field.code_mean, field.code_axes = code.mean, code.axes
    return trained(made, field, found, asked)


def prepared(made: Run, config: FlowConfig, code=None) -> tuple[dict[str, Clip], list[Targets], object]:
    """The clips of a run's scenes by name, what their videos tell, and how features were compressed (None: not)."""
    scenes = made.scenes
    splits = [made.split if made.split.unseen else LabelSplit.full(len(scene.train)) for scene in scenes]
    encodings, code = encoded(scenes, splits, config, made.folder / "features", code)
    found = []
    for scene, split, (maps, _, seen) in zip(scenes, splits, encodings, strict=True):
        with console.status(f"{scene.name}: what moves in the video, and how far away it is"):
            known = with_moving(split.seen(scene), config.moving_classes)
            maps = filmed_maps(maps, seen, split, config)
            found.append(targets(known, split.filmed, maps, config.pseudo_labels))
    clips: dict[str, Clip] = {}
    for scene, known, (maps, latent, seen) in zip(scenes, found, encodings, strict=True):
        name = scene.name if scene.name not in clips else f"{scene.name}_{len(clips)}"
        clips[name] = start_clip(scene, known, maps, latent, seen)
    return clips, found, code


def filmed_maps(maps: Tensor, seen: Tensor | None, split: LabelSplit, config: FlowConfig) -> Tensor | None:
    """Of ``maps`` [T, C, h, w] those of the filmed frames; None where nothing is known of some before training."""
    blind = config.encoder in (LEARNED, NONE) or (seen is not None and not bool(seen[split.filmed].all()))
    return None if blind else maps[split.filmed]


def trained(made: Run, field: FlowField, found: list[Targets], asked: tuple[str, ...] = ()) -> Run:
    """Train ``field`` on what was ``found``, from the run's checkpoint on where there is one, and write everything."""
    if field.config.encoder == LEARNED:
        field.pictures = [pictures(s, clip.seen) for s, clip in zip(made.scenes, field.clips, strict=True)]
    trainer = FlowTrainer(field.to(device()), field.config, found, asked)
    for name, words in trainer.missing.items():
        console.print(f"[dim]loss {name} is off: it needs {words}[/dim]")
    checkpoint = made.folder / "checkpoint.safetensors"
    if checkpoint.exists():
        trainer.load_checkpoint(checkpoint)
    train_all(trainer, made)
    finish(made, trainer)
    return made


def found_encoder(name: str) -> str:
    """``name`` as it will be found from everywhere; BadInput for one that cannot be had."""
    from ..scenes.encoders import encoder
    from ..scenes.teachers import located

    if name in (LEARNED, NONE):
        return name
    encoder(located(name))
    return located(name)


def encoded(scenes: list[Scene], splits: list[LabelSplit], config: FlowConfig, folder: Path,
            code) -> tuple[list, object]:
    """Maps [T, C, h, w], latent [G] and which frames were seen [T] of each scene, and the code of their channels: as
    given, or made of these scenes where there are too many."""
    from ..scenes.encoders import common_code, encode, encoder, watch

    seen = [None if config.encoder_frames == "all" else split.filmed for split in splits]
    if config.encoder in (LEARNED, NONE):
        channels = config.encoder_channels if config.encoder == LEARNED else 1
        counts = [len(scene.train) for scene in scenes]
        blank = [torch.zeros(count, channels, 2, 2) for count in counts]
        known = [positions(own, count) for own, count in zip(seen, counts, strict=True)]
        return [(maps, torch.zeros(1), own) for maps, own in zip(blank, known, strict=True)], None
    network = encoder(config.encoder)
    watched = [watch(scene.split("train"), own) for scene, own in zip(scenes, seen, strict=True)]
    channels = config.encoder_channels
    if code is None and channels and network.maps(watched[0], folder)[0].shape[-1] > channels:
        code = common_code(watched, network, folder, channels)
    made = [
        encode(scene.split("train"), network, folder, own, code) for scene, own in zip(scenes, seen, strict=True)
    ]
    return [(encoding.maps, encoding.vector, encoding.seen) for encoding in made], code


def positions(chosen: list[int] | None, count: int) -> Tensor:
    """Which of ``count`` frames are ``chosen`` (None: all), [count] bool."""
    marked = torch.zeros(count, dtype=torch.bool)
    marked[list(range(count)) if chosen is None else chosen] = True
    return marked


def pictures(scene: Scene, seen: Tensor) -> Tensor:
    """The training frames, [T, 3, H, W]; the nearest that may be seen in place of each that may not."""
    frames, known = scene.split("train"), seen.nonzero()[:, 0]
    nearest = [int(known[(known - k).abs().argmin()]) for k in range(len(frames))]
    return torch.stack([frames[k].image for k in nearest]).permute(0, 3, 1, 2).contiguous()


def finish(made: Run, trainer: FlowTrainer) -> None:
    """Write field and metrics; the checkpoint has served."""
    from .evaluate import field_quality
    from .fit import machine, peak_memory

    field = trainer.field.eval()
    field.keep_maps()
    field.save(made.folder)
    made.__dict__["field"] = field
    quality: dict = {}
    for name, scene in zip(field.names, made.scenes, strict=True):
        field.of(name)
        own = field_quality(field, scene, made.split if made.split.unseen else None)
        if len(field.names) == 1:
            quality = own
        else:
            quality.setdefault("clips", {})[name] = own
    field.of(field.names[0])
    metrics = {
        **quality, "train_seconds": trainer.seconds, "iterations": trainer.iteration,
        "parameters": field.count, "peak_memory_mb": peak_memory(), "machine": machine(),
        "versions": {"torch": torch.__version__, "semaflow": made.config["semaflow"]},
    }
    write_json(made.folder / "metrics.json", metrics)
    (made.folder / "checkpoint.safetensors").unlink(missing_ok=True)
    shown = f", held-out PSNR {quality['psnr']:.2f} dB" if "psnr" in quality else ""
    shown += f", mIoU {quality['labels']['miou']:.3f}" if "labels" in quality else ""
    console.print(f"{made.folder}: {len(field.names)} clip(s), {trainer.seconds:.0f} s{shown}")
