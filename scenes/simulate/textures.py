"""Solid textures: colour as a function of where a point lay on the body at rest.

A texture is a small volume of smoothed random fields, read with trilinear interpolation. Its finest
wavelength is a few cells, so it stays band-limited however closely a camera samples it, and it
needs no unwrapping of a surface.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import grid_sample

OCTAVES = ((1.1, 0.7), (2.2, 0.8), (4.5, 0.7))  # standard deviation in cells, weight
LIGHT, DARK = 0.6, 0.45  # how far the light and dark blotches are from the body's own colour
MARGIN = 2  # cells around the body, so that interpolation never reads past the edge


class SolidTexture:
    """Random relief of brightness, blotches and tiles in a box around a body.

    Args:
        lower, upper: corners of the body's box at rest, [3], scene units.
        seed: which pattern.
        cell: edge of a texture cell in scene units; the finest wavelength is about four of these.
        tile: edge of tiles of differing brightness in scene units, 0 for none; three edges for planks
            and stripes.
        contrast: 0 plain to 1 strong.
        blotches: how much of light and dark blotches there is, 0 none to 1.
    """

    def __init__(
        self,
        lower,
        upper,
        seed: int,
        cell: float = 0.02,
        tile: float | tuple[float, float, float] = 0.0,
        contrast: float = 1.0,
        blotches: float = 1.0,
    ):
        self.cell, self.contrast = cell, contrast
        self.lower = np.asarray(lower, dtype=np.float64) - MARGIN * cell
        extent = np.asarray(upper, dtype=np.float64) + MARGIN * cell - self.lower
        self.shape = tuple(int(n) for n in np.ceil(extent / cell) + 1)
        generator = np.random.default_rng([seed, 7])
        fine = sum(
            weight * _smooth_noise(generator, self.shape, sigma) for sigma, weight in OCTAVES
        )
        patches = [_smooth_noise(generator, self.shape, sigma) for sigma in (3.0, 4.0)]
        # A steep but smooth step gives corners to follow without edges sharper than a cell.
        light, dark = (0.5 + 0.5 * np.tanh(3.5 * (field - 0.6)) for field in patches)
        edges = np.broadcast_to(tile, 3) / cell
        tones = _tiles(generator, self.shape, edges) if edges.all() else np.zeros(self.shape)
        channels = np.stack([0.12 * fine + 0.16 * tones, LIGHT * blotches * light, DARK * blotches * dark])
        # grid_sample wants [1, C, z, y, x].
        self._volume = torch.from_numpy(
            channels.transpose(0, 3, 2, 1)[None].astype(np.float32).copy()
        )

    def colors(self, points: Tensor, base: Tensor) -> Tensor:
        """sRGB colours [N, 3] of points at rest [N, 3] on surfaces of colour ``base`` [N, 3]."""
        lower = torch.as_tensor(self.lower, dtype=torch.float32)
        size = torch.tensor(self.shape, dtype=torch.float32) - 1
        place = 2 * (points.float() - lower) / (self.cell * size) - 1
        values = grid_sample(
            self._volume, place.view(1, 1, 1, -1, 3), align_corners=True, padding_mode="border"
        ).view(3, -1)
        tone, light, dark = (self.contrast * values)[..., None]
        color = base + light * (1 - base)
        color = color * (1 - dark) * torch.exp(2 * tone)
        return color.clamp(0, 1)


def _smooth_noise(
    generator: np.random.Generator, shape: tuple[int, ...], sigma: float
) -> np.ndarray:
    """Gaussian random field of unit variance with correlation length ``sigma`` cells."""
    noise = gaussian_filter(generator.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    return (noise - noise.mean()) / max(float(noise.std()), 1e-6)


def _tiles(generator: np.random.Generator, shape: tuple[int, ...], size: np.ndarray) -> np.ndarray:
    """Boxes of ``size`` [3] cells, each of one random tone, with edges softened over a cell."""
    index = [(np.arange(n) / edge).astype(int) for n, edge in zip(shape, size, strict=True)]
    tones = generator.standard_normal([i[-1] + 1 for i in index]).astype(np.float32)
    return gaussian_filter(tones[np.ix_(*index)], 0.8, mode="nearest")
