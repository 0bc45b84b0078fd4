"""TinyViT-5M (Wu et al., ECCV 2022) as the image encoder of MobileSAM (Zhang et al., 2023).

Batch norms are folded into their convolutions when the weights are read, so that every convolution
here is a plain one. Parameters keep the official names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS, DEPTHS, HEADS, WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)


def fold_batchnorm(weights: dict[str, Tensor], epsilon: float = 1e-5) -> dict[str, Tensor]:
    """Weights with each ``X.c`` (convolution) and ``X.bn`` merged into one convolution ``X``."""
    folded = {
        name: value for name, value in weights.items() if ".bn." not in name and ".c." not in name
    }
    for name in weights:
        if name.endswith(".c.weight"):
            prefix = name.removesuffix(".c.weight")
            mean, variance = (
                weights[f"{prefix}.bn.running_mean"],
                weights[f"{prefix}.bn.running_var"],
            )
            gain = weights[f"{prefix}.bn.weight"] / (variance + epsilon).sqrt()
            folded[f"{prefix}.weight"] = weights[name] * gain[:, None, None, None]
            folded[f"{prefix}.bias"] = weights[f"{prefix}.bn.bias"] - mean * gain
    return folded


class PatchEmbed(nn.Module):
    """Two strided convolutions: [B, 3, H, W] to [B, 64, H/4, W/4]."""

    def __init__(self, width: int):
        super().__init__()
        self.seq = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, 2, 1), nn.GELU(), nn.Conv2d(width // 2, width, 3, 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.seq(x)


class MobileBlock(nn.Module):
    """Inverted residual: widen by four, filter each channel, narrow."""

    def __init__(self, width: int):
        super().__init__()
        inner = 4 * width
        self.conv1 = nn.Conv2d(width, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.conv3 = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Downsample(nn.Module):
    """Change of width between stages; halves the grid if ``stride`` is 2."""

    def __init__(self, width: int, wider: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, wider, 1)
        self.conv2 = nn.Conv2d(wider, wider, 3, stride, 1, groups=wider)
        self.conv3 = nn.Conv2d(wider, wider, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class WindowAttention(nn.Module):
    """Attention among the cells of one window, with a learned bias per head and absolute offset."""

    def __init__(self, width: int, heads: int, window: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        row, column = (
            grid.flatten() for grid in torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij")
        )
        offsets = (row[:, None] - row).abs() * window + (column[:, None] - column).abs()
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape  # windows, cells of a window, channels
        # Ordered by head first: each head's query, key and value lie together.
        qkv = self.qkv(self.norm(x)).view(batch, count, self.heads, -1).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(
            *qkv.chunk(3, dim=-1), attn_mask=self.attention_biases[:, self.offsets]
        )
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class WindowBlock(nn.Module):
    """Window attention, a 3x3 filter per channel, and a feed-forward part, on [B, H, W, C]."""

    def __init__(self, width: int, heads: int, window: int):
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.mlp = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attend(x)
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.mlp(x)

    def _attend(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        side = self.window
        padded = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = padded.shape[1] // side, padded.shape[2] // side
        windows = padded.view(batch, rows, side, columns, side, channels).transpose(2, 3)
        mixed = self.attn(windows.reshape(-1, side * side, channels))
        mixed = mixed.view(batch, rows, columns, side, side, channels).transpose(2, 3)
        return mixed.reshape(batch, rows * side, columns * side, channels)[:, :height, :width]


class Stage(nn.Module):
    """Blocks of one resolution, then the change to the next; [B, C, H, W] in and out."""

    def __init__(self, index: int):
        super().__init__()
        width = WIDTHS[index]
        self.convolutional, self.downsample = index == 0, None
        if self.convolutional:
            self.blocks = nn.ModuleList(MobileBlock(width) for _ in range(DEPTHS[0]))
        else:
            self.blocks = nn.ModuleList(
                WindowBlock(width, HEADS[index], WINDOWS[index]) for _ in range(DEPTHS[index])
            )
        if index + 1 < len(WIDTHS):
            # SAM wants a stride of 16 in all, so the last change of width keeps the grid.
            self.downsample = Downsample(width, WIDTHS[index + 1], stride=2 if index < 2 else 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.convolutional else x.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        x = x if self.convolutional else x.permute(0, 3, 1, 2)
        return x if self.downsample is None else self.downsample(x)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TinyViT(nn.Module):
    """[B, 3, H, W] normalised pixels to [B, 256, H/16, W/16] features."""

    def __init__(self, channels: int = 256):
        super().__init__()
        self.patch_embed = PatchEmbed(WIDTHS[0])
        self.layers = nn.ModuleList(Stage(index) for index in range(len(WIDTHS)))
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], channels, 1, bias=False),
            ChannelNorm(channels, eps=1e-6),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            ChannelNorm(channels, eps=1e-6),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        for stage in self.layers:
            x = stage(x)
        return self.neck(x)
