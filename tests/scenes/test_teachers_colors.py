"""Colours of features."""

import pytest
import torch
from semaflow.scenes import BadInput
from semaflow.scenes.teachers.pca import pca_colors


def clusters(per=50, dim=24):
    torch.manual_seed(0)
    centres = torch.randn(4, dim) * 3
    return (centres[:, None] + 0.05 * torch.randn(4, per, dim)), centres


def test_things_that_differ_get_colours_that_differ():
    features, _ = clusters()
    colors, _ = pca_colors(features)
    assert colors.shape == (4, 50, 3) and colors.min() >= 0 and colors.max() <= 1
    middles = colors.mean(1)
    spread = (colors - middles[:, None]).abs().max()
    apart = torch.pdist(middles).min()
    assert apart > 0.3 > 3 * spread


def test_one_outlier_does_not_bleach_the_picture():
    features, _ = clusters()
    calm, _ = pca_colors(features)
    wild = features.clone()
    wild[0, 0] = 30.0
    colors, _ = pca_colors(wild)
    assert torch.pdist(colors[:, 1:].mean(1)).min() > 0.5 * torch.pdist(calm[:, 1:].mean(1)).min()


def test_a_basis_keeps_colours_over_pictures():
    features, _ = clusters()
    colors, basis = pca_colors(features)
    some, same = pca_colors(features[1:2, :7], basis)
    assert same is basis and torch.allclose(some[0], colors[1, :7], atol=1e-6)


def test_nothing_rendered_stays_black():
    features, _ = clusters()
    features[2, :10], features[3, :10] = 0.0, float("nan")
    colors, _ = pca_colors(features)
    assert not colors[2, :10].any() and not colors[3, :10].any() and torch.isfinite(colors).all()
    with pytest.raises(BadInput, match="no features to show"):
        pca_colors(torch.zeros(4, 4, 8))


def test_repeated_runs_agree_and_few_channels_do():
    features, _ = clusters()
    assert torch.equal(pca_colors(features)[0], pca_colors(features.clone())[0])
    assert pca_colors(torch.rand(5, 6, 2))[0].shape == (5, 6, 3)
