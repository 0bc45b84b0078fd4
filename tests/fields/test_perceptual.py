"""LPIPS against the definition, and with its real weights on real pictures."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from semaflow.fields.perceptual import LAYERS, Lpips
from semaflow.scenes import BadInput
from torch import nn

DATA = os.environ.get("SEMAFLOW_DATA")


def random_weights():
    torch.manual_seed(0)
    tensors = {}
    for index, (out, into, kernel, _, _) in enumerate(LAYERS):
        scale = 1.5 / (into * kernel**2) ** 0.5
        tensors[f"conv{index + 1}.weight"] = torch.randn(out, into, kernel, kernel) * scale
        tensors[f"conv{index + 1}.bias"] = torch.randn(out) * 0.1
        tensors[f"lin{index}.weight"] = torch.rand(out)
    return tensors


def test_distance_follows_the_definition():
    """AlexNet's feature layers as torch modules, in float64, tapped after each ReLU."""
    tensors = random_weights()
    stack, taps = [], []
    for index, (out, into, kernel, stride, padding) in enumerate(LAYERS):
        if index in (1, 2):
            stack.append(nn.MaxPool2d(3, 2))
        layer = nn.Conv2d(into, out, kernel, stride, padding)
        layer.weight.data, layer.bias.data = (
            tensors[f"conv{index + 1}.{part}"].double() for part in ("weight", "bias")
        )
        stack += [layer, nn.ReLU()]
        taps.append(len(stack) - 1)
    a, b = torch.rand(40, 56, 3), torch.rand(40, 56, 3)
    shift, scale = [-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]

    def layers(image):
        x = (image.double() * 2 - 1 - torch.tensor(shift).double()) / torch.tensor(scale).double()
        x = x.permute(2, 0, 1)[None]
        for index, module in enumerate(stack):
            x = module(x)
            if index in taps:
                yield x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)

    expected = 0.0
    for index, (x, y) in enumerate(zip(layers(a), layers(b), strict=True)):
        weighted = (x - y).pow(2)[0] * tensors[f"lin{index}.weight"].double()[:, None, None]
        expected += weighted.sum(0).mean().item()
    assert Lpips(random_weights())(a, b) == pytest.approx(expected, rel=1e-4)


def test_distance_of_equal_images_is_zero_and_order_does_not_matter():
    lpips = Lpips(random_weights())
    a, b = torch.rand(32, 32, 3), torch.rand(32, 32, 3)
    assert (
        lpips(a, a) == 0.0
        and lpips(a, b) == pytest.approx(lpips(b, a), rel=1e-5)
        and lpips(a, b) > 0
    )


def test_without_weights_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("SEMAFLOW_DATA", str(tmp_path))
    assert Lpips.load() is None
    monkeypatch.delenv("SEMAFLOW_DATA")
    assert Lpips.load() is None
    with pytest.raises(BadInput, match="no such file"):
        Lpips.load(tmp_path / "nosuch.npz")


def test_bad_weights_and_images_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", **{"conv1.weight": np.zeros((64, 3, 3, 3), np.float32)})
    with pytest.raises(BadInput, match=r"w.npz: conv1.weight: expected shape \[64, 3, 11, 11\]"):
        Lpips.load(tmp_path / "w.npz")
    lpips = Lpips(random_weights())
    for a, b in (
        ((40, 40, 3), (40, 41, 3)),
        ((20, 40, 3), (20, 40, 3)),
        ((3, 40, 40), (3, 40, 40)),
    ):
        with pytest.raises(BadInput, match="LPIPS: expected two images of one size"):
            lpips(torch.rand(a), torch.rand(b))


@pytest.mark.data
@pytest.mark.skipif(not DATA, reason="SEMAFLOW_DATA is not set")
def test_real_weights_order_distortions_as_people_would():
    lpips = Lpips.load()

    def picture(clip):
        path = Path(DATA) / "davis" / clip / "images" / "00000.jpg"
        return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).float() / 255

    image = picture("camel")
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(image.shape, generator=generator)
    rising = [lpips(image, (image + sigma * noise).clamp(0, 1)) for sigma in (0, 0.01, 0.03, 0.1)]
    assert rising[0] == 0.0 and rising == sorted(rising) and rising[1] < 0.01 < 0.2 < rising[3]
    # A shift by one pixel hardly shows, although it changes most pixel values; another scene does.
    shifted = lpips(image[:, 1:], image[:, :-1])
    assert shifted < 0.1 < 0.5 < lpips(image, picture("cows"))
