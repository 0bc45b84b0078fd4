"""Pictures of results: overlays, coloured depth and features, labelled sheets.

Images are [H, W, 3] in 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..scenes.files import replacing

# Colours of objects, far apart in hue and bright enough to read on any picture.
PALETTE = torch.tensor(
    [
        [0.94, 0.27, 0.23],
        [0.20, 0.60, 0.98],
        [0.35, 0.82, 0.31],
        [0.99, 0.78, 0.15],
        [0.72, 0.38, 0.95],
        [0.10, 0.83, 0.80],
        [0.98, 0.53, 0.13],
        [0.95, 0.42, 0.75],
    ]
)

# Near to far: warm and bright to dark blue.
DEPTH_STOPS = torch.tensor(
    [
        [0.99, 0.93, 0.60],
        [0.98, 0.60, 0.30],
        [0.83, 0.27, 0.38],
        [0.50, 0.16, 0.47],
        [0.22, 0.12, 0.39],
        [0.06, 0.05, 0.18],
    ]
)


def overlay(
    image: Tensor, mask: Tensor, color: Tensor = PALETTE[0], strength: float = 0.45
) -> Tensor:
    """``image`` with a boolean or soft ``mask`` [H, W] tinted in ``color`` [3] and outlined.

    What lies outside is dimmed, so that a small object shows.
    """
    soft = mask.float().clamp(0, 1)[..., None]
    tinted = image * (1 - strength * soft) + strength * soft * color
    shown = tinted * (0.62 + 0.38 * soft)
    edge = contour(mask > 0.5)[..., None]
    return torch.where(edge, color, shown)


def label_colors(labels: Tensor) -> Tensor:
    """A label map [H, W] as colours, one for each class; -1 black. The palette comes again darker where it ends."""
    number = labels.clamp_min(0).cpu()
    darker = 0.55 ** (number // len(PALETTE)).float()
    return PALETTE[number % len(PALETTE)] * darker[..., None] * (labels.cpu() >= 0)[..., None]


def contour(mask: Tensor) -> Tensor:
    """Pixels of a boolean mask [H, W] that touch its outside, bool [H, W]."""
    outside = (~mask).float()[None, None]
    return mask & (torch.nn.functional.max_pool2d(outside, 3, 1, 1)[0, 0] > 0)


def depth_colors(depth: Tensor, near: float | None = None, far: float | None = None) -> Tensor:
    """Colours of a depth map [H, W], near bright, far dark, 0 (nothing) black.

    Equal steps of disparity get equal steps of colour. ``near`` and ``far`` default to the 1st and
    99th percentile; give them to keep the colours of a video steady.
    """
    seen = depth > 0
    if not seen.any():
        return torch.zeros(*depth.shape, 3)
    low, high = depth_range([depth])
    near, far = near or low, far or high
    disparity = 1 / depth.clamp_min(1e-9)
    share = (1 / near - disparity) / max(1 / near - 1 / far, 1e-9)
    position = share.clamp(0, 1) * (len(DEPTH_STOPS) - 1)
    below = position.floor().long().clamp_max(len(DEPTH_STOPS) - 2)
    rest = (position - below)[..., None]
    colors = DEPTH_STOPS[below] * (1 - rest) + DEPTH_STOPS[below + 1] * rest
    return colors * seen[..., None]


def depth_range(maps: Sequence[Tensor]) -> tuple[float, float]:
    """1st and 99th percentile of the depths of several maps; (1, 2) when all are empty."""
    values = torch.cat(
        [depth[depth > 0].flatten()[:: max(1, depth.numel() // 4096)] for depth in maps]
    )
    if len(values) == 0:
        return 1.0, 2.0
    low, high = torch.quantile(values.float(), torch.tensor([0.01, 0.99])).tolist()
    return low, max(high, low * 1.001)


def write_text_on(image: Tensor, text: str, size: int = 12, at: tuple[int, int] = (4, 3)) -> Tensor:
    """``image`` with ``text`` in white on a dark edge, its upper left corner at pixel ``at``."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(to_bytes(image))
    ImageDraw.Draw(picture).text(
        at, text, fill=(255, 255, 255), font=_font(size), stroke_width=2, stroke_fill=(20, 20, 24)
    )
    return torch.from_numpy(np.asarray(picture).copy()).float() / 255


def sheet(
    rows: Sequence[Sequence[Tensor]], columns: Sequence[str], labels: Sequence[str]
) -> Tensor:
    """A contact sheet: ``rows`` of images of one size, headings over columns, a label per row."""
    height, width = rows[0][0].shape[:2]
    size = max(11, min(22, width // 20))
    gap, head = max(2, width // 60), int(size * 1.9)
    canvas = torch.full(
        (head + len(rows) * (height + gap) + gap, len(columns) * (width + gap) + gap, 3), 0.09
    )
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = head + gap + i * (height + gap), gap + j * (width + gap)
            shown = write_text_on(image, labels[i], int(size * 0.85)) if j == 0 else image
            canvas[top : top + height, left : left + width] = shown
    for j, heading in enumerate(columns):
        canvas = write_text_on(
            canvas, heading, size, (gap + j * (width + gap) + 2, int(size * 0.45))
        )
    return canvas


def to_bytes(image: Tensor) -> np.ndarray:
    """Image in 0..1 as uint8 [H, W, 3]."""
    return (image.detach().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()


def write_image(path: str | Path, image: Tensor) -> None:
    """Write an image as 8-bit PNG, atomically."""
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(to_bytes(image)).save(temporary, format="PNG")


def _font(size: int):
    from PIL import ImageFont

    return ImageFont.load_default(size)
