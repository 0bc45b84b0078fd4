"""Arguments of the public functions, checked."""

from torch import Tensor


def expect(name: str, value: Tensor, *shapes: tuple) -> None:
    """ValueError naming the argument unless its shape is one of ``shapes``; None in a shape stands for any size."""
    for shape in shapes:
        if value.ndim == len(shape) and all(b is None or a == b for a, b in zip(value.shape, shape, strict=True)):
            return
    wanted = " or ".join(str(list(s)).replace("None", "any") for s in shapes)
    raise ValueError(f"{name}: expected shape {wanted}, got {list(value.shape)}")
