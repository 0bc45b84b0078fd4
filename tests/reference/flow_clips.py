"""A tiny clip for flow fields, with everything known about it, all random but consistent in shape."""

import torch
from semaflow.fields.flow.clip import Clip
from semaflow.fields.flow.config import FlowConfig
from semaflow.fields.flow.start import start_field
from semaflow.fields.flow.targets import Targets
from semaflow.scenes import Camera

SMALL = {
    "plane_resolution": 8, "plane_channels": 4, "plane_levels": 1, "moments": 5, "width": 8, "static_width": 8,
    "token_width": 8, "samples": 6, "proposals": 0, "static_rays": 6, "dynamic_rays": 6, "surface_rays": 6,
    "flow_share": 0.5, "static_iterations": 5, "dynamic_iterations": 5, "flow_stride": 1,
}  # fmt: skip


def clip(frames: int = 5, channels: int = 4, dtype=torch.float32, seed: int = 0) -> Clip:
    """Cameras on a line that look at the origin from about 3 units away, 12 by 8 pixels, with random feature maps."""
    generator = torch.Generator().manual_seed(seed)
    cameras = [Camera.look_at((0.2 * k - 0.4, -3.0, 0.3), (0, 0, 0), 12, 8) for k in range(frames)]
    made = Clip(
        torch.linspace(0, 1, frames), torch.stack([c.viewmat for c in cameras]), torch.stack([c.K for c in cameras]),
        torch.tensor([12, 8]), torch.randn(frames, 4, 6, channels, generator=generator),
        torch.randn(3, generator=generator), torch.zeros(3), torch.tensor(1.5), torch.tensor(1.0), torch.tensor(6.0),
    )  # fmt: skip
    return made.to(dtype)


def targets(frames: int = 5, classes: int = 3, dtype=torch.float32, seed: int = 1) -> Targets:
    """Random truth of every kind for such a clip; the left half of each picture moves."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.rand(frames, 8, 12, *shape, generator=generator, dtype=dtype)

    moving = torch.zeros(frames, 8, 12, dtype=torch.bool)
    moving[:, :, :6] = True
    valid = torch.ones(frames, 8, 12, dtype=torch.bool)
    return Targets(
        list(range(frames)), noise(3), moving, (noise() * classes).long(), ((noise(2), valid), (noise(2), valid)),
        noise() + 0.1, 2.5 + noise(), 2.5 + noise(), torch.rand(7, frames, 3, generator=generator, dtype=dtype) - 0.5,
    )


def field(dtype=torch.float32, clips: int = 1, **changes):
    """A fresh field of such clips that has three classes; its blends and densities are far from 0."""
    config = FlowConfig().replaced(**{**SMALL, **changes})
    made = start_field({f"clip{k}": clip(dtype=dtype, seed=k) for k in range(clips)}, ["a", "b", "c"], config).to(dtype)
    torch.nn.init.normal_(made.dynamic.speed.weight, std=0.2)
    return made
