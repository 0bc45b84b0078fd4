"""Encoders: frozen networks whose features a flow field gathers along trajectories."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..files import BadInput
from ..teachers import HUB_KINDS, TEACHERS, teacher
from ..teachers.base import built
from ..teachers.given import SUFFIXES
from ..teachers.hub import HubModel, is_hub_id
from .base import Encoder, FrameEncoder
from .encoding import Code, Encoding, common_code, encode, watch
from .resnet import ResNetStages, ResNetSummary
from .video import VideoTransformer

__all__ = ["ENCODERS", "ENCODER_KINDS", "Code", "Encoder", "Encoding", "common_code", "encode", "encoder", "watch"]


def _resnet(**options) -> Encoder:
    stages = ResNetStages(**options)
    return FrameEncoder(stages, ResNetSummary(stages))


def _given(**options) -> Encoder:
    return FrameEncoder(teacher("scene", **options))


ENCODERS: dict[str, Callable[..., Encoder]] = {
    "resnet18": _resnet,
    "resnet50": partial(_resnet, weights="microsoft/resnet-50", stages=(0, 1, 2), pool=False),
    "videomae": VideoTransformer,
    "vjepa2": partial(VideoTransformer, weights="facebook/vjepa2-vitl-fpc64-256"),
    "given": _given,
}
"""Encoders by name, beside every teacher: Semantic Flow's image encoder (512 channels at a quarter of
the resolution), the stages of its video encoder (832 at half of it), video transformers, and the
frames' own features."""

ENCODER_KINDS: dict[str, Callable[..., Encoder]] = {
    "resnet": _resnet,
    "videomae": VideoTransformer,
    "vjepa2": VideoTransformer,
}
"""Encoders of hub models, by the ``model_type`` in config.json, beside every kind of teacher."""


def encoder(name: str | Path, **options) -> Encoder:
    """An encoder.

    Args:
        name: one of ``ENCODERS``; or all that :func:`semaflow.scenes.teachers.teacher` takes: a
            teacher's name, a local folder of a hub model, precomputed maps, a hub id, several of
            these joined by +.
        options: of that encoder: ``weights``, ``size`` (working resolution, longer side in pixels),
            ``device``; of a residual network also ``stages`` and ``pool``.

    Raises:
        BadInput: unknown name or option, or weights that cannot be had (the message names the ways
            to get them).
    """
    text, path = str(name), Path(name)
    if text in ENCODERS:
        return built(f"encoder {text}", ENCODERS[text], options)
    if path.is_dir() and not (path / "config.json").is_file() and not _has_maps(path):
        raise BadInput(f"{path}: neither config.json of a hub model nor maps by frame name ({', '.join(SUFFIXES)})")
    if (path.is_dir() and (path / "config.json").is_file()) or (is_hub_id(text) and not path.exists()):
        kind = HubModel(text).model_type
        if kind in ENCODER_KINDS:
            return built(f"encoder {text}", ENCODER_KINDS[kind], {"weights": text, **options})
        if kind not in HUB_KINDS:
            known = ", ".join([*ENCODER_KINDS, *HUB_KINDS])
            raise BadInput(f"{text}: config.json: model_type {kind!r}, expected one of {known}")
    elif text not in TEACHERS and "+" not in text and not path.exists():
        names = ", ".join([*ENCODERS, *TEACHERS])
        raise BadInput(f"encoder {text!r}: expected one of {names}, an existing file or folder, or a hub id")
    return FrameEncoder(teacher(name, **options))


def _has_maps(folder: Path) -> bool:
    if (folder / "model.safetensors").is_file():
        return False
    return any(file.suffix in SUFFIXES for file in folder.rglob("*"))
