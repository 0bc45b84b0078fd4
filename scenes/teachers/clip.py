"""Dense CLIP features with their text tower (Radford et al., 2021), without training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import BadInput
from .base import Teacher, network_input, pick_device, unit, working_size
from .hub import HubModel
from .vit import check_size

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
TEMPLATES = ("{}", "a photo of {}", "a close-up photo of {}")
"""A prompt's vector is the mean over these phrasings."""


class ClipTeacher(Teacher):
    """CLIP's image tower read densely, and its text tower for prompts.

    CLIP is trained for one vector per image, and in its last block every patch token collects that
    global vector. As in ClearCLIP (Lan et al., 2024), the last block is therefore reduced to
    self-attention by query-query similarity on the value path, without the residual connection and
    the feed-forward part; then the model's own final norm and projection.

    Args:
        weights: local folder or hub id.
        size: working resolution: pixels of the image's longer side as the network sees it. Position
            embeddings are interpolated, so that about twice the training resolution is a good
            choice.
        device: where to run; CUDA where there is one by default.
    """

    def __init__(
        self,
        weights: str = "openai/clip-vit-base-patch16",
        size: int = 448,
        device: str | None = None,
    ):
        hub = HubModel(weights)
        if hub.model_type != "clip":
            raise BadInput(f"{weights}: model type {hub.model_type!r}, expected clip")
        self.name = "clip"
        self.device = pick_device(device)
        self.model = hub.load("CLIPModel", self.device)
        self.dim = self.model.config.projection_dim
        self.patch = self.model.config.vision_config.patch_size
        self.size = check_size(size, self.patch)
        self.mean, self.std = hub.normalisation(CLIP_MEAN, CLIP_STD)
        self._hub, self._tokenizer = hub, None
        self._key = f"clip {hub.fingerprint()} size={self.size} {self.mean} {self.std}"

    def key(self) -> str:
        return self._key

    @torch.no_grad()
    def map(self, image: Tensor) -> Tensor:
        height, width = working_size(*image.shape[:2], self.size, self.patch)
        pixels = network_input(image, (height, width), self.mean, self.std).to(self.device)
        vision = self.model.vision_model
        outputs = vision(
            pixel_values=pixels, interpolate_pos_encoding=True, output_hidden_states=True
        )
        tokens = _last_block(vision.encoder.layers[-1], outputs.hidden_states[-2])
        tokens = self.model.visual_projection(vision.post_layernorm(tokens))[0, 1:]
        return unit(tokens).reshape(height // self.patch, width // self.patch, -1).to(image.device)

    @torch.no_grad()
    def text(self, prompts: Sequence[str]) -> Tensor:
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        if not prompts or not all(isinstance(prompt, str) and prompt.strip() for prompt in prompts):
            raise BadInput(f"text: expected one or more words, got {prompts!r}")
        if self._tokenizer is None:
            self._tokenizer = self._hub.tokenizer()
        phrases = [template.format(prompt.strip()) for prompt in prompts for template in TEMPLATES]
        longest = self.model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            phrases, padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        pooled = self.model.text_model(
            input_ids=tokens["input_ids"].to(self.device),
            attention_mask=tokens["attention_mask"].to(self.device),
        ).pooler_output
        vectors = unit(self.model.text_projection(pooled)).reshape(len(prompts), len(TEMPLATES), -1)
        return unit(vectors.mean(1)).cpu()


def _last_block(layer: torch.nn.Module, tokens: Tensor) -> Tensor:
    """Query-query self-attention on the value path of a CLIP block: [B, T, C] to [B, T, C]."""
    attention, normed = layer.self_attn, layer.layer_norm1(tokens)
    batch, count, channels = normed.shape

    def heads(projection: torch.nn.Module) -> Tensor:
        return projection(normed).view(batch, count, attention.num_heads, -1).transpose(1, 2)

    queries = heads(attention.q_proj)
    mixed = F.scaled_dot_product_attention(queries, queries, heads(attention.v_proj))
    return attention.out_proj(mixed.transpose(1, 2).reshape(batch, count, channels))
