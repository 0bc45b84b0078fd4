"""MobileSAM: its encoder's parts against plain formulas, and real masks from its real weights."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from semaflow.scenes import BadInput
from semaflow.scenes.teachers import teacher
from semaflow.scenes.teachers.sam import chosen
from semaflow.scenes.teachers.tiny_vit import TinyViT, WindowBlock, fold_batchnorm
from torch import nn

DATA = os.environ.get("SEMAFLOW_DATA")


def test_folded_convolution_equals_convolution_and_batch_norm():
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(6, 8, 3, bias=False, groups=2), nn.BatchNorm2d(8).eval()
    for values in (norm.weight, norm.bias, norm.running_mean):
        values.data.normal_()
    norm.running_var.uniform_(0.1, 3)
    weights = {"x.c.weight": convolution.weight.data, "y.weight": torch.ones(2)}
    weights |= {f"x.bn.{name}": value for name, value in norm.state_dict().items()}
    folded = fold_batchnorm(weights)
    assert sorted(folded) == ["x.bias", "x.weight", "y.weight"]
    image = torch.randn(2, 6, 9, 9)
    once = nn.functional.conv2d(image, folded["x.weight"], folded["x.bias"], groups=2)
    assert torch.allclose(once, norm(convolution(image)), atol=1e-5)


def test_window_attention_against_loops():
    """Windows of 3 on a grid of 4x5: padded with zeros, each window and head on its own."""
    torch.manual_seed(0)
    block = WindowBlock(width=8, heads=2, window=3).eval()
    block.attn.attention_biases.data.normal_()
    x = torch.randn(1, 4, 5, 8)
    padded = torch.zeros(6, 6, 8)
    padded[:4, :5] = x[0]
    expected = torch.zeros(6, 6, 8)
    cells = [(i, j) for i in range(3) for j in range(3)]
    for top in (0, 3):
        for left in (0, 3):
            window = torch.stack([padded[top + i, left + j] for i, j in cells])
            qkv = block.attn.qkv(block.attn.norm(window))
            heads = []
            for head in range(2):
                q, k, v = qkv[:, head * 12 : (head + 1) * 12].split(4, dim=1)
                scores = q @ k.T / 4**0.5
                for a, (i, j) in enumerate(cells):
                    for b, (m, n) in enumerate(cells):
                        offset = abs(i - m) * 3 + abs(j - n)
                        scores[a, b] = scores[a, b] + block.attn.attention_biases[head, offset]
                heads.append(scores.softmax(-1) @ v)
            mixed = block.attn.proj(torch.cat(heads, 1))
            for (i, j), value in zip(cells, mixed, strict=True):
                expected[top + i, left + j] = value
    assert torch.allclose(block._attend(x)[0], expected[:4, :5], atol=1e-5)


def test_encoder_reduces_by_sixteen():
    with torch.no_grad():
        assert TinyViT().eval()(torch.rand(1, 3, 96, 160)).shape == (1, 256, 6, 10)


def test_missing_weights_name_the_ways_on(monkeypatch):
    monkeypatch.delenv("SEMAFLOW_DATA", raising=False)
    with pytest.raises(BadInput, match="give weights=PATH.*precomputed maps.*classical"):
        teacher("mobilesam")
    with pytest.raises(BadInput, match="no such file"):
        teacher("mobilesam", weights="nosuch.npz")


def test_foreign_npz_is_refused(tmp_path):
    pytest.importorskip("transformers", reason="needs the extra semaflow[teachers]")
    np.savez(tmp_path / "w.npz", **{"image_encoder.neck.0.weight": np.zeros((256, 320, 1, 1))})
    with pytest.raises(BadInput, match="w.npz: .*missing; expected MobileSAM's tensors"):
        teacher("mobilesam", weights=tmp_path / "w.npz")


@pytest.fixture(scope="module")
def mobilesam():
    if not DATA:
        pytest.skip("SEMAFLOW_DATA is not set")
    return teacher("mobilesam")


def picture(clip):
    folder = Path(DATA) / "davis" / clip
    image = np.asarray(Image.open(folder / "images" / "00000.jpg").convert("RGB"))
    truth = np.asarray(Image.open(folder / "masks" / "00000.png")) > 0
    return torch.from_numpy(image.copy()).float() / 255, torch.from_numpy(truth)


@pytest.mark.data
@pytest.mark.parametrize(("clip", "click"), [("cows", (254, 113)), ("camel", (276, 114))])
def test_one_click_finds_the_animal(mobilesam, clip, click):
    image, truth = picture(clip)
    mask = mobilesam.mask(image, [click])
    overlap = (mask & truth).sum() / (mask | truth).sum()
    assert overlap > 0.85

    features = mobilesam.map(image)  # the same encoder pass: clicks and maps share it
    assert features.shape == (36, 64, 256)
    assert torch.allclose(features.norm(dim=-1), torch.ones(36, 64), atol=1e-4)
    # The map covers the image cell by cell: the clicked cell is most like the animal's cells.
    cells = nn.functional.interpolate(truth[None, None].float(), (36, 64), mode="area")[0, 0]
    query = features[int(click[1] / 270 * 36), int(click[0] / 480 * 64)]
    likeness = features @ query
    assert likeness[cells > 0.9].mean() > likeness[cells < 0.1].mean() + 0.2


@pytest.mark.data
def test_outside_clicks_take_away(mobilesam):
    image, truth = picture("camel")
    one = mobilesam.mask(image, [(276, 114)])
    two = mobilesam.mask(image, [(276, 114), (60, 230)], labels=[1, 0])
    assert one[114, 276] and two[114, 276] and not two[230, 60]
    with pytest.raises(BadInput, match="480,3 is outside the image of 480x270"):
        mobilesam.mask(image, [(480, 3)])


@pytest.mark.data
def test_a_box_says_how_much_is_meant(mobilesam):
    image, truth = picture("camel")
    rows, columns = truth.nonzero().T
    box = [float(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]
    whole = mobilesam.mask(image, [(365, 85)], box=box)  # a click on the head
    assert (whole & truth).sum() / (whole | truth).sum() > 0.9
    head = mobilesam.mask(image, [(365, 85)], box=[330, 60, 400, 150])
    assert head.sum() < 0.4 * whole.sum()


@pytest.mark.data
def test_a_click_on_the_saddle_means_horse_and_rider_or_the_saddle(mobilesam):
    image, truth = picture("horsejump-high")
    whole = mobilesam.mask(image, [(122, 129)], grain="whole")
    assert (whole & truth).sum() / (whole | truth).sum() > 0.75
    part = mobilesam.mask(image, [(122, 129)], grain="part")
    assert 0 < part.sum() < 0.2 * whole.sum() and (part & truth).sum() > 0.9 * part.sum()


def test_among_nearly_equal_candidates_the_grain_decides():
    logits = torch.full((3, 8, 8), -1.0)
    for k, side in enumerate((2, 4, 7)):
        logits[k, :side, :side] = 1.0
    assert [chosen(logits, torch.tensor([0.91, 0.85, 0.89]), grain) for grain in (None, "whole", "part")] == [0, 2, 0]
    assert [chosen(logits, torch.tensor([0.60, 0.99, 0.97]), grain) for grain in (None, "whole", "part")] == [1, 2, 1]
