"""Layers whose files may be larger or smaller than the frames that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor

from ..files import BadInput
from ..images import image_size
from ..layers import resample
from .views import same_proportions

Size = tuple[int, int]  # width and height


def sized_picture(
    file: Path, layer: str, read: Callable[[Path], Tensor], size: Size
) -> Callable[[], Tensor]:
    """What gives ``layer`` at ``size`` from a picture; BadInput now if its proportions are others."""
    proportional(image_size(file), file, layer, size)
    return sized(layer, partial(read, file), size)


def sized(layer: str, load: Callable[[], Tensor], size: Size) -> Callable[[], Tensor]:
    """What gives at ``size`` the ``layer`` that ``load`` gives at any."""
    return partial(_resampled, layer, load, size)


def proportional(found: Size, file: Path, layer: str, size: Size) -> None:
    """BadInput where a layer of size ``found`` cannot show what frames of ``size`` show."""
    if not same_proportions(found, size):
        raise BadInput(
            f"{file}: {layer} is {found[0]}x{found[1]}, "
            f"expected {size[0]}x{size[1]} or those proportions"
        )


def _resampled(layer: str, load: Callable[[], Tensor], size: Size) -> Tensor:
    return resample(layer, load(), *size)
