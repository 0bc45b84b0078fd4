"""What every feature teacher offers, and the geometry they share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import BadInput
from ..scene import Frame


class Teacher:
    """A frozen 2D network (or recipe) that describes every part of an image by a vector.

    Attributes:
        name: what to call it.
        dim: D, channels of its maps; None for given maps before the first one was read.
        can_mask: whether :meth:`mask` and :meth:`masks` turn clicks into masks.
        cached: whether its maps are worth keeping on disk.

    A new teacher subclasses this, sets ``name`` and ``dim``, defines :meth:`map` and :meth:`key`,
    and is entered in ``TEACHERS`` (by name) or ``HUB_KINDS`` (by the model type in a hub model's
    config.json)."""

    name: str = ""
    dim: int | None = None
    can_mask: bool = False
    cached: bool = True

    def map(self, image: Tensor) -> Tensor:
        """Features [h, w, D] float32 of ``image`` [H, W, 3] in 0..1; cells have unit length.

        The grid covers the whole image: cell (i, j) is the pixel rectangle
        [j W/w, (j+1) W/w) x [i H/h, (i+1) H/h).
        """
        raise NotImplementedError

    def key(self) -> str:
        """All that a map depends on beside the image: kind, weights, options."""
        raise NotImplementedError

    def of_frame(self, frame: Frame, neighbour: Frame | None = None) -> Tensor:
        """The map [h, w, D] of a frame.

        ``neighbour`` is the next frame, or else the previous one, for teachers that see motion.
        """
        return self.map(frame.image)

    def inputs(self, frame: Frame, neighbour: Frame | None = None) -> list[Tensor]:
        """The arrays that :meth:`of_frame` reads: their content is part of a cached map's key."""
        return [frame.image]

    def text(self, prompts: Sequence[str]) -> Tensor:
        """Unit vectors [P, D] of ``prompts``, to compare with map cells by cosine.

        :class:`BadInput` where the teacher has no text tower.
        """
        raise BadInput(f"teacher {self.name} has no text tower; use --click or a CLIP teacher")

    def mask(
        self,
        image: Tensor,
        clicks: Sequence[tuple[float, float]],
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
        grain: str | None = None,
    ) -> Tensor:
        """Mask [H, W] bool of the thing at the pixels ``clicks`` (x, y).

        ``labels`` of the clicks: 1 inside (the default), 0 outside. ``box``: left, top, right,
        bottom edge of the thing in pixels, where it is known. ``grain``: where a click may mean
        several things, the ``whole`` or a ``part``; None for the likeliest. :class:`BadInput` where
        a click is outside the image or the teacher has no mask decoder.
        """
        raise BadInput(f"teacher {self.name} has no mask decoder; use sam or mobilesam")

    def masks(
        self,
        image: Tensor,
        clicks: Sequence[tuple[float, float]],
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """All that clicks and box may mean: masks [C, H, W] bool, and how good each is [C], 0 to 1.

        Arguments and errors as for :meth:`mask`.
        """
        raise BadInput(f"teacher {self.name} has no mask decoder; use sam or mobilesam")


def built(what: str, build: Callable, options: dict):
    """``build(**options)``, or :class:`BadInput` about ``what`` where it does not take one of the options."""
    try:
        return build(**options)
    except TypeError as error:
        if not any(told in str(error) for told in ("unexpected keyword", "multiple values", "takes no arguments")):
            raise
        raise BadInput(f"{what}: {str(error).split('()')[-1].strip()}") from error


def check_image(image: Tensor) -> Tensor:
    """``image`` as float32, or :class:`BadInput` where it is not [H, W, 3] of numbers in 0..1."""
    image = torch.as_tensor(image)
    if image.ndim != 3 or image.shape[-1] != 3 or not image.is_floating_point() or 0 in image.shape:
        raise BadInput(
            f"image: expected [H, W, 3] floats in 0..1, got {list(image.shape)} {image.dtype}"
        )
    if not bool(torch.isfinite(image).all()):
        raise BadInput("image: contains NaN or infinity")
    return image.float()


def working_size(height: int, width: int, longest: int, multiple: int) -> tuple[int, int]:
    """Size (h, w) in multiples of ``multiple``, the longer near ``longest``, the aspect kept."""
    scale = longest / max(height, width)
    return tuple(
        max(multiple, round(side * scale / multiple) * multiple) for side in (height, width)
    )


def network_input(
    image: Tensor, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """``image`` [H, W, 3] resized to ``size`` and normalised as the network expects: [1, 3, h, w].

    Resizing keeps the borders where they are, so that the grid covers the whole image.
    """
    pixels = check_image(image).permute(2, 0, 1)[None]
    if tuple(pixels.shape[-2:]) != tuple(size):
        pixels = F.interpolate(
            pixels, size, mode="bicubic", antialias=True, align_corners=False
        ).clamp(0, 1)
    shape = (1, 3, 1, 1)
    return (pixels - pixels.new_tensor(mean).view(shape)) / pixels.new_tensor(std).view(shape)


def unit(features: Tensor) -> Tensor:
    """Vectors of the last axis scaled to length one; a zero vector stays zero."""
    return F.normalize(features.float(), dim=-1, eps=1e-8)


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, or CUDA where there is one, or the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def content_hash(*parts: Tensor | str) -> str:
    """A hexadecimal digest of arrays (shape, dtype, values) and texts."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:
            array = part.detach().cpu().contiguous().numpy()
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(array.tobytes())
        digest.update(b"|")
    return digest.hexdigest()
