"""A program written for gsplat, on CPU or CUDA alike: random Gaussians become a picture.

Two thousand Gaussians with random places, sizes and colours are rendered, compared with a picture
and moved along the gradient, all at once. Nothing here is special to semaflow but one import line:
arguments, shapes and the returned meta are those of gsplat's rasterization.

    python examples/gsplat_program.py
    python examples/gsplat_program.py my.png

The first takes a frame of a simulated world. Writes fitted.png (the picture | the Gaussians) and
checks the PSNR.
"""

import argparse
import math
import tempfile
from pathlib import Path

import torch
from semaflow.kernels.splat import rasterization  # from gsplat import rasterization
from semaflow.scenes import simulate
from semaflow.scenes.images import read_image, write_image

COUNT, STEPS, DISTANCE = 2000, 300, 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", type=Path, help="PNG or JPEG; else a simulated world")
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    options = parser.parse_args()
    folder = options.output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    if options.picture:
        target = read_image(options.picture)
    else:
        target = simulate("balls", frames=2, width=192, height=108, test=0).frames[0].image
    target = target.to("cuda" if torch.cuda.is_available() else "cpu")
    fitted, psnr = train(target)

    pixels = torch.cat([target, fitted], 1).mul(255).round().byte().cpu().numpy()
    write_image(folder / "fitted.png", pixels)
    print(f"wrote {folder / 'fitted.png'}")
    assert psnr > 25, "the Gaussians do not show the picture"


def train(target: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The picture [H, W, 3] as Gaussians show it after training, and its PSNR."""
    height, width = target.shape[:2]
    device = target.device
    focal = 0.5 * width / math.tan(math.pi / 8)
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    viewmat = torch.eye(4)
    viewmat[2, 3] = DISTANCE
    views, Ks = viewmat[None].to(device), intrinsics[None].to(device)

    generator = torch.Generator().manual_seed(0)
    half = torch.tensor([width, height, 0.2 * width]) * DISTANCE / (2 * focal)
    start = {
        "means": (2 * torch.rand(COUNT, 3, generator=generator) - 1) * half,
        "quats": torch.randn(COUNT, 4, generator=generator),
        "scales": (torch.rand(COUNT, 3, generator=generator) * 0.04 + 0.01).log(),
        "opacities": torch.zeros(COUNT),
        "colors": torch.randn(COUNT, 3, generator=generator),
    }
    rates = {"means": 3e-3, "quats": 1e-2, "scales": 1e-2, "opacities": 5e-2, "colors": 2e-2}
    splats = {name: value.to(device).requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.Adam([{"params": splats[k], "lr": rate} for k, rate in rates.items()])

    for step in range(STEPS + 1):
        images, _, meta = rasterization(
            splats["means"],
            splats["quats"],
            splats["scales"].exp(),
            splats["opacities"].sigmoid(),
            splats["colors"].sigmoid(),
            views,
            Ks,
            width,
            height,
        )
        loss = (images[0] - target).square().mean()
        psnr = -10 * math.log10(loss.item())
        if step % 50 == 0:
            print(f"step {step:3d}  PSNR {psnr:.2f} dB  {len(meta['gaussian_ids'])} visible")
        if step < STEPS:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return images[0].detach().clamp(0, 1), psnr


if __name__ == "__main__":
    main()
