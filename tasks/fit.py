"""``semaflow fit``: from a video or scene to a run folder."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import resource
from collections.abc import Callable, Collection
from pathlib import Path

import torch
import yaml

from ..fields.gaussians.config import PRESETS, FitConfig, preset
from ..fields.gaussians.field import GaussianField
from ..fields.gaussians.trainer import Trainer, learned_bytes
from ..scenes import BadInput, Scene, load
from ..scenes.files import append_text, write_json
from ..scenes.labels import label_map, labelled, with_classes
from ..scenes.splits import LabelSplit
from .device import device
from .progress import bar, console
from .run import Run, whereabouts

READING = ("cameras", "max_width", "every", "max_frames", "holdout")  # options of all readers, each with a flag


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("scene", nargs="+", help="video, folder of frames, or scene folder; several for one flow field")
    parser.add_argument("-o", "--output", required=True, help="run folder to make")
    parser.add_argument("--method", default="gaussians", choices=["gaussians", "flow"], help="kind of field")
    parser.add_argument("--preset", default="fast", choices=list(PRESETS), help="sets all settings together")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one setting")
    parser.add_argument("--teacher", default=None, help="feature teacher: a name, local folder, hub id or maps")
    parser.add_argument("--semantics", default=None, choices=["lift", "distill", "none"], help="how features come in")
    parser.add_argument(
        "--moving", default=None, metavar="CLASSES",
        help="comma separated, what moves: wherever there are labels, these classes are the motion mask",
    )
    parser.add_argument("--cameras", default=None, help="your own cameras: COLMAP folder, transforms.json or npz")
    parser.add_argument("--format", default=None, help="scene format, when detection guesses wrong")
    parser.add_argument("--max-width", type=int, default=None, help="shrink wider images to this width")
    parser.add_argument("--every", type=int, default=None, help="take every n-th frame")
    parser.add_argument("--max-frames", type=int, default=None, help="take at most this many frames")
    parser.add_argument("--holdout", type=int, default=None, help="hold out every n-th frame as test; 0 for none")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE",
        help="an option of the scene's reader that has no flag here, value in YAML; a name that is none lists all",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")


def run(arguments: argparse.Namespace) -> None:
    """The verb."""
    if arguments.resume:
        resume(arguments.output)
        return
    learner(arguments.method)(**asked(arguments))


def learner(method: str) -> Callable[..., Run]:
    """The fit of a kind of field."""
    if method == GaussianField.kind:
        return fit
    from .fit_flow import fit_flow

    return fit_flow


def asked(arguments: argparse.Namespace) -> dict:
    """What the command line says, as arguments of :func:`fit`."""
    options = {name: getattr(arguments, name) for name in READING if getattr(arguments, name) is not None}
    for name, value in pairs(arguments.option, "--option"):
        if name in READING:
            raise BadInput(f"--option {name}: expected --{name.replace('_', '-')} instead")
        options[name] = plain(name, value)
    changes = dict(pairs(arguments.set, "--set"))
    for name in ("teacher", "semantics"):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    if arguments.moving is not None:
        changes["moving_classes"] = arguments.moving
    return {
        "source": arguments.scene if len(arguments.scene) > 1 else arguments.scene[0], "output": arguments.output,
        "preset_name": arguments.preset,
        "format": arguments.format, "options": options, **changes,
    }


def pairs(given: list[str], flag: str) -> list[tuple[str, str]]:
    """Names and values of ``NAME=VALUE``; BadInput names the ``flag`` that something else was given to."""
    found = []
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadInput(f"{flag} {pair!r}: expected NAME=VALUE")
        found.append((name, value))
    return found


def plain(name: str, value: str):
    """What the YAML ``value`` of the option ``name`` says."""
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise BadInput(f"--option {name}: expected a value in YAML, got {value!r}") from None


def fit(source: str | Path, output: str | Path, preset_name: str = "fast", format: str | None = None,
        options: dict | None = None, split: Callable[[int], LabelSplit] = LabelSplit.full, **changes) -> Run:
    """Learn a field of the scene at ``source`` into the run folder ``output``.

    Args:
        preset_name: tiny, fast, paper or release.
        options: passed on to ``scenes.load``.
        split: makes of the number of training frames which of their labels and pictures are used.
        changes: settings of :class:`FitConfig` to change.

    Raises BadInput: unusable input, an unknown setting, labels that are asked for and not there or of unknown classes,
    or a folder that holds a run already.
    """
    from ..scenes.motion.named import class_ids
    from ..scenes.teachers import located, teacher

    if not isinstance(source, (str, Path)):
        raise BadInput(f"{source[1]}: several scenes make one field with --method flow alone")
    Run.vacant(output)
    config = preset(preset_name).replaced(**changes)
    config = dataclasses.replace(config, teacher=located(config.teacher))
    scene = with_classes(load(source, format, **(options or {})))
    chosen = split(len(scene.train))
    if chosen.unseen and not labelled(chosen.seen(scene)):
        raise BadInput(f"{source}: label: no frame that is to give labels has any")
    class_ids(config.moving_classes, scene.label_names)
    if config.semantics != "none":
        teacher(config.teacher)  # where it cannot be had, that is better said before the cameras are estimated
    scene = posed(scene)
    config = suited(config, scene, changes)
    where = whereabouts(source, scene.format or format, options)
    record = dataclasses.asdict(chosen) if chosen.unseen else None
    made = Run.create(output, GaussianField.kind, where, {"name": config.teacher}, dataclasses.asdict(config), record)
    made.save_scene(scene)
    return learn(made, config)


def resume(output: str | Path) -> Run:
    """Go on with an interrupted fit from its last checkpoint."""
    made = Run.open(output)
    if (made.folder / "field.safetensors").exists() and not (made.folder / "checkpoint.safetensors").exists():
        console.print(f"{made.folder}: already finished")
        return made
    if made.config["method"] != GaussianField.kind:
        from . import fit_flow, perceive

        others = {"flow": fit_flow.resume_flow, "perception": perceive.resume_perception}
        method = made.config["method"]
        if method not in others:
            known = ", ".join((GaussianField.kind, *others))
            raise BadInput(f"{made.folder / 'config.yaml'}: method: expected one of {known}, got {method!r}")
        return others[method](made)
    if not (made.folder / "scene.json").exists():
        made.save_scene(posed(made.scene))
    return learn(made, FitConfig().replaced(**made.config["settings"]))


def posed(scene: Scene) -> Scene:
    """The scene with cameras, estimated where it has none; says what was done."""
    if not scene.posed:
        from ..scenes.sfm import estimate_cameras

        scene = estimate_cameras(scene)
    for note in scene.notes:
        console.print(f"[dim]{note}[/dim]")
    return scene


def suited(config: FitConfig, scene: Scene, asked: Collection[str] = ()) -> FitConfig:
    """``config`` with what ``scene`` needs, but for settings that were ``asked`` for by name.

    Estimated cameras are refined. Where frames jump, motion is learned by a network at nodes.
    """
    from ..scenes.motion.jumps import jumping

    changed = config
    if scene.estimated and config.pose_rate == 0:
        changed = dataclasses.replace(changed, pose_rate=1e-3)
    if config.motion == "scaffold" and "motion" not in asked and scene.timed and jumping(scene):
        console.print("[dim]frames jump too far to follow anything: motion is learned by a network at nodes[/dim]")
        changed = dataclasses.replace(changed, motion="nodes")
    if changed.motion in ("nodes", "network") and config.warmup == 0:
        changed = changed.without_following()
    return dataclasses.replace(changed, **{name: getattr(config, name) for name in asked})


def learn(made: Run, config: FitConfig) -> Run:
    """Train, lift semantics and labels and write everything into the run folder."""
    from ..scenes.motion.masks import motion_masks
    from ..scenes.motion.named import with_moving

    scene = with_moving(made.split.seen(made.scene), config.moving_classes)
    checkpoint = made.folder / "checkpoint.safetensors"
    torch.manual_seed(config.seed)
    maps = None if config.semantics == "none" else teacher_maps(made, scene, config)
    moving = motion_masks(scene) if config.moving else None
    if checkpoint.exists():
        placeholder = GaussianField(*(torch.zeros(1, *s) for s in ((3,), (3,), (4,), (), (1, 3), (0, 3))))
        trainer = Trainer(placeholder.to(device()), scene, config, maps and maps.maps, flows(scene, config), moving)
        trainer.load_checkpoint(checkpoint)
    else:
        from ..fields.gaussians.start import start_field

        said = len(scene.notes)
        with console.status("first Gaussians from the video"):
            field = start_field(scene, config)
        for note in scene.notes[said:]:
            console.print(f"[dim]{note}[/dim]")
        if config.motion == "scaffold" and field.motion.kind != "scaffold":
            console.print("[dim]nothing moves that could be followed from frame to frame: the field is still; "
                          "--set motion=nodes learns motion without that[/dim]")
        trainer = Trainer(field.to(device()), scene, config, maps and maps.maps, flows(scene, config), moving)
    train(trainer, made)
    if maps is not None and config.semantics == "lift":
        with bar() as progress:
            task = progress.add_task("lifting features", total=100, note="")
            trainer.lift(config.lift_sweeps, lambda share: progress.update(task, completed=100 * share))
    if maps is not None and maps.mean is not None:
        field = trainer.field
        field.set_features(field.features, maps.mean, maps.basis)
    frames = [frame.with_camera(own) for frame, own in zip(trainer.frames, trainer.refined_cameras(), strict=True)]
    learn_classes(trainer.field, dataclasses.replace(scene, frames=frames))
    finish(made, trainer)
    return made


def learn_classes(field: GaussianField, scene: Scene) -> None:
    """Lift the labels of the training frames, where they have any, onto trained Gaussians."""
    from ..fields.gaussians.classes import lift_labels

    frames, names = list(labelled(scene).values()), scene.label_names
    if not frames:
        return
    maps = [label_map(frame, len(names)) for frame in frames]
    with bar() as progress:
        task = progress.add_task("lifting labels", total=100, note="")
        shares = lift_labels(
            field, [frame.camera for frame in frames], [frame.time for frame in frames], maps, len(names),
            progress=lambda share: progress.update(task, completed=100 * share),
        )
    field.set_classes(shares, names)


def train(trainer: Trainer, made: Run) -> None:
    """All remaining iterations, with a progress bar, a log and checkpoints; Ctrl-C saves before it leaves."""
    config, checkpoint = trainer.config, made.folder / "checkpoint.safetensors"
    recent = {}
    with bar() as progress:
        task = progress.add_task("training", total=config.iterations, completed=trainer.iteration, note="")
        try:
            while not trainer.finished:
                terms = trainer.step()
                recent = {name: 0.95 * recent.get(name, value) + 0.05 * value for name, value in terms.items()}
                if trainer.iteration % config.log_every == 0 or trainer.finished:
                    speed = progress.tasks[0].speed or 0.0
                    note = f"loss {recent['loss']:.4f}  psnr {recent['psnr']:.2f} dB  {trainer.field.count} Gaussians"
                    progress.update(task, completed=trainer.iteration, note=f"{note}  {speed:.1f} it/s")
                    entry = {"iteration": trainer.iteration, **recent, "gaussians": trainer.field.count}
                    append_text(made.folder / "log.jsonl", json.dumps(entry | {"seconds": trainer.seconds}) + "\n")
                if trainer.iteration % config.checkpoint_every == 0:
                    trainer.save_checkpoint(checkpoint)
        except KeyboardInterrupt:
            trainer.save_checkpoint(checkpoint)
            console.print(f"saved {checkpoint}; go on with --resume")
            raise


def finish(made: Run, trainer: Trainer) -> None:
    """Write field, PLY, refined cameras and metrics; the checkpoint has served."""
    from ..fields.gaussians.ply import write_ply
    from .evaluate import field_quality

    field, scene = trainer.field.eval(), made.scene
    if trainer.config.pose_rate:
        scene = refined(scene, trainer.refined_cameras(), made.split.filmed)
        made.save_scene(scene)
    field.save(made.folder)
    with torch.no_grad():
        write_ply(made.folder / "field.ply", field)
        quality = field_quality(field, scene, made.split)
    made.__dict__["field"] = field
    metrics = {
        **quality, "train_seconds": trainer.seconds, "iterations": trainer.iteration, "gaussians": field.count,
        "bytes": learned_bytes(field), "peak_memory_mb": peak_memory(), "machine": machine(),
        "versions": {"torch": torch.__version__, "semaflow": made.config["semaflow"]},
    }
    write_json(made.folder / "metrics.json", metrics)
    (made.folder / "checkpoint.safetensors").unlink(missing_ok=True)
    shown = f", held-out PSNR {quality['psnr']:.2f} dB" if "psnr" in quality else ""
    for key, cameras in (("labels", "test"), ("labels_train", "training")):
        if key in quality:
            shown += f", labels of {cameras} cameras {quality[key]['miou']:.3f} mIoU"
    console.print(f"{made.folder}: {field.count} Gaussians, {trainer.seconds:.0f} s{shown}")


def refined(scene: Scene, cameras: list, filmed: Collection[int]) -> Scene:
    """The scene with its ``filmed`` training cameras refined, and those held out moved along with them."""
    from ..fields.gaussians.poses import followed

    frames, moved = list(scene.frames), [scene.train[position] for position in filmed]
    before, times = [frames[index].camera for index in moved], [frames[index].time for index in moved]
    for index in set(scene.train + scene.test) - set(moved):
        held = frames[index]
        frames[index] = held.with_camera(followed(before, cameras, times, held.camera, held.time))
    for index, camera in zip(moved, cameras, strict=True):
        frames[index] = frames[index].with_camera(camera)
    return dataclasses.replace(scene, frames=frames)


def teacher_maps(made: Run, scene: Scene, config: FitConfig):
    """The teacher's maps of the training frames of ``scene``, cached in the run folder, coded if the settings ask."""
    from ..scenes.teachers.cache import compress, feature_maps

    teacher = made.teacher()
    maps = feature_maps(scene.split("train"), teacher, made.folder / "features")
    if not config.feature_dim or maps[0].shape[-1] <= config.feature_dim:
        return Codes([m.float() for m in maps])
    mean, basis, report = compress(maps, config.feature_dim)
    kept = f"{maps[0].shape[-1]} to {config.feature_dim} numbers, cosine {report['mean_cosine']:.3f}"
    console.print(f"features compressed from {kept}")
    return Codes([(m.float() - mean) @ basis.T for m in maps], mean, basis)


@dataclasses.dataclass
class Codes:
    """Teacher maps of the training frames as codes [h, w, d]; ``mean`` [D] and ``basis`` [d, D] decode them."""

    maps: list[torch.Tensor]
    mean: torch.Tensor | None = None
    basis: torch.Tensor | None = None


def flows(scene: Scene, config: FitConfig):
    """Forward optical flow of the training video and where it is consistent, if the settings use it."""
    if not config.flow or config.motion == "still" or len(scene.train) < 2:
        return None
    from ..scenes.motion.flow import flow_validity, video_flow

    frames = scene.split("train")
    forward, backward = video_flow(frames)
    return forward, flow_validity(frames, forward, backward)[0]


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> dict:
    """What this ran on."""
    from ..kernels.bridge import threads

    on_cuda = device().type == "cuda"
    name = torch.cuda.get_device_name() if on_cuda else platform.processor() or platform.machine()
    return {"device": name, "threads": threads(), "python": platform.python_version()}
