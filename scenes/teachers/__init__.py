"""Feature teachers: frozen 2D networks (and a classical recipe) whose maps a field learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..files import BadInput
from .base import Teacher, built
from .cache import FeatureMaps, compress, feature_maps
from .classical import ClassicalTeacher
from .clip import ClipTeacher
from .given import PrecomputedTeacher, SceneTeacher
from .hub import HubModel, is_hub_id
from .joint import JointTeacher
from .mobilesam import MobileSamTeacher
from .sam import SamTeacher
from .vit import VisionTransformerTeacher

__all__ = ["HUB_KINDS", "TEACHERS", "FeatureMaps", "Teacher", "compress", "feature_maps", "located", "teacher"]

TEACHERS: dict[str, Callable[..., Teacher]] = {
    "dinov2": VisionTransformerTeacher,
    "clip": ClipTeacher,
    "sam": SamTeacher,
    "mobilesam": MobileSamTeacher,
    "classical": ClassicalTeacher,
    "scene": SceneTeacher,
}
"""Teachers by name."""

HUB_KINDS: dict[str, Callable[..., Teacher]] = {
    "dinov2": VisionTransformerTeacher,
    "dinov2_with_registers": VisionTransformerTeacher,
    "dinov3_vit": VisionTransformerTeacher,
    "clip": ClipTeacher,
    "sam": SamTeacher,
}
"""Teachers of hub models, by the ``model_type`` in config.json."""


def teacher(name: str | Path = "dinov2", **options) -> Teacher:
    """A feature teacher.

    Args:
        name: one of ``TEACHERS``; or a local folder of a hub model (config.json says which kind);
            or a file (npz, safetensors) or folder of precomputed maps by frame name; or a hub id
            ``organisation/model``; or several joined by +, as in ``mobilesam+classical``.
        options: of that teacher: ``weights``, ``size`` (working resolution, longer side in pixels),
            ``device``. For joined teachers, options by part: ``mobilesam={"weights": path}``.

    Raises:
        BadInput: unknown name or option, or weights that cannot be had (the message names the ways
            to get them).
    """
    build, defaults = _find(name)
    return built(f"teacher {name}", build, {**defaults, **options})


def located(name: str | Path) -> str:
    """``name`` with local files and folders by absolute paths, so that it means the same in every working folder."""
    text = str(name)
    if text in TEACHERS:
        return text
    if Path(text).exists():
        return str(Path(text).resolve())
    return "+".join(located(part) for part in text.split("+")) if "+" in text else text


def _find(name: str | Path) -> tuple[Callable[..., Teacher], dict]:
    text = str(name)
    if text in TEACHERS:
        return TEACHERS[text], {}
    path = Path(text)
    if "+" in text and not path.exists():
        return _join, {"names": text.split("+")}
    if path.is_file() or (path.is_dir() and not (path / "config.json").is_file()):
        return PrecomputedTeacher, {"path": path}
    if path.is_dir() or is_hub_id(text):
        kind = HubModel(text).model_type
        if kind not in HUB_KINDS:
            raise BadInput(
                f"{text}: config.json: model_type {kind!r}, expected one of {', '.join(HUB_KINDS)}"
            )
        return HUB_KINDS[kind], {"weights": text}
    raise BadInput(
        f"teacher {text!r}: expected one of {', '.join(TEACHERS)}, "
        "an existing file or folder, or a hub id"
    )


def _join(names: list[str], **options) -> Teacher:
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise BadInput(
            f"teacher {'+'.join(names)}: option {unknown[0]}: "
            f"expected options by part, {', '.join(names)}"
        )
    return JointTeacher([teacher(name, **options.get(name, {})) for name in names])
