"""MobileSAM (Zhang et al., 2023) from an npz of weights: SAM with TinyViT as its image encoder."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from ..files import BadInput, read_npz
from .base import pick_device
from .hub import import_transformers
from .sam import SamTeacher
from .tiny_vit import TinyViT, fold_batchnorm
from .vit import IMAGENET_MEAN, IMAGENET_STD
from .weights import file_ends, find_weights

FILE_NAME = "mobile_sam_fp16.npz"
RENAMED = (  # official names to those of transformers' SamModel
    (
        r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$",
        "prompt_encoder.shared_embedding.positional_embedding",
    ),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"(_mlps\.\d|_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(_mlps\.\d|_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(_mlps\.\d|_head)\.layers\.2\.", r"\1.proj_out."),
)


class MobileSamTeacher(SamTeacher):
    """MobileSAM's 256 channels on a grid of 64 cells along the longer side, and masks from clicks.

    Args:
        weights: npz file of the official tensors (``mobile_sam_fp16.npz``); by default the one in
            the folder ``weights`` of what the environment variable SEMAFLOW_DATA names.
        device: where to run; CUDA where there is one by default.
    """

    def __init__(self, weights: str | Path | None = None, device: str | None = None):
        path = Path(weights) if weights else find_weights(FILE_NAME)
        if path is None:
            raise BadInput(
                f"teacher mobilesam: no weights; give weights=PATH of {FILE_NAME}, or put it "
                "into the folder weights of what SEMAFLOW_DATA names; or give precomputed maps; "
                "or use the teacher classical"
            )
        tensors = {name: torch.from_numpy(array) for name, array in read_npz(path).items()}
        self.device = pick_device(device)
        self.encoder = TinyViT()
        model = _prompt_model()
        _fill(self.encoder, fold_batchnorm(_encoder_tensors(tensors)), path)
        _fill(model, _prompt_tensors(tensors), path)
        self.encoder.to(self.device).eval().requires_grad_(False)
        model.to(self.device).eval().requires_grad_(False)
        key = f"mobilesam {file_ends(path)}"
        self._finish("mobilesam", model, IMAGENET_MEAN, IMAGENET_STD, key)

    def encode(self, pixels: Tensor) -> Tensor:
        return self.encoder(pixels)


def _prompt_model() -> torch.nn.Module:
    """A SamModel whose own image encoder is nothing: our encoder stands in for it."""
    transformers = import_transformers()
    vision = {
        "hidden_size": 16,
        "num_hidden_layers": 0,
        "num_attention_heads": 1,
        "use_abs_pos": False,
    }
    model = transformers.SamModel(transformers.SamConfig(vision_config=vision))
    model.vision_encoder = torch.nn.Identity()
    return model


def _encoder_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix, classifier = "image_encoder.", ("norm_head.", "head.")
    chosen = {
        name.removeprefix(prefix): value.float()
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    return {name: value for name, value in chosen.items() if not name.startswith(classifier)}


def _prompt_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in tensors.items():
        if name.startswith(("prompt_encoder.", "mask_decoder.")):
            for pattern, replacement in RENAMED:
                name = re.sub(pattern, replacement, name)
            renamed[name] = value.float()
    shared = "shared_embedding.positional_embedding"
    if f"prompt_encoder.{shared}" in renamed:
        renamed["shared_image_embedding.positional_embedding"] = renamed[f"prompt_encoder.{shared}"]
    return renamed


def _fill(module: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    for name, shape in expected.items():
        if name not in tensors:
            raise BadInput(
                f"{path}: {name}: missing; expected MobileSAM's tensors under their official names"
            )
        if tuple(tensors[name].shape) != shape:
            raise BadInput(
                f"{path}: {name}: expected shape {list(shape)}, got {list(tensors[name].shape)}"
            )
    unknown = sorted(set(tensors) - set(expected))
    if unknown:
        raise BadInput(f"{path}: {unknown[0]}: not a tensor of MobileSAM")
    module.load_state_dict(tensors)
