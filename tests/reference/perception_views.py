"""Reference views, targets and fields for tests of perception: small, random, consistent in shape."""

import torch
from semaflow.fields.perception.config import preset
from semaflow.fields.perception.field import PerceptionField
from semaflow.fields.perception.targets import Targets
from semaflow.fields.perception.views import Views
from semaflow.scenes import Camera

WIDTH, HEIGHT = 26, 20
SMALL = {
    "widths": (4, 4, 6, 8), "blocks": (1, 1, 1), "decoder": 6, "color_channels": 5, "level_channels": 4, "views": 3,
    "width": 8, "heads": 2, "depth": 2, "octaves": 2, "coarse": 6, "importance": 4, "head_width": 6, "rays": 24,
    "patch": 4, "iterations": 3, "warm_up": 1,
}  # fmt: skip


def cameras(count: int) -> list[Camera]:
    """Side by side, looking at the origin from about 3 units away."""
    return [Camera.look_at((0.3 * k - 0.6, -3.0, 0.3), (0, 0, 0), WIDTH, HEIGHT) for k in range(count)]


def views(count: int = 5, seed: int = 0, **timing) -> Views:
    """Pictures of noise; ``timing`` as of :class:`Views`."""
    generator = torch.Generator().manual_seed(seed)
    seen = cameras(count)
    images = torch.randint(256, (count, 3, HEIGHT, WIDTH), generator=generator).to(torch.uint8)
    return Views(images, torch.stack([c.viewmat for c in seen]), torch.stack([c.K for c in seen]), 1.0, 6.0, **timing)


def targets(count: int = 5, classes: int = 3, things: int = 2, seed: int = 1) -> Targets:
    """Random truth of every kind for such views."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, HEIGHT, WIDTH)
    labels = torch.randint(-1, classes, shape, generator=generator).to(torch.int16)
    instances = torch.randint(-1, things, shape, generator=generator).to(torch.int16)
    depths = 1.5 + 3 * torch.rand(shape, generator=generator)
    return Targets("noise", views(count), labels, instances, depths)


def field(classes: int = 3, dtype=torch.float32, seed: int = 0, **changes) -> PerceptionField:
    """A fresh field of the smallest networks; it looks at nothing yet."""
    torch.manual_seed(seed)
    config = preset("tiny").replaced(**{**SMALL, **changes})
    return PerceptionField(config, [f"class {k}" for k in range(classes)]).to(dtype)
