"""Teacher features of the simulated worlds: grid, noise, granularity."""

import pytest
import torch
from semaflow.scenes import simulate
from semaflow.scenes.simulate.teacher import Embeddings, coverage
from torch.nn.functional import cosine_similarity, normalize

from tests.reference.worlds import built

NAMES = (("walker", "head"), ("walker", "left hand"), ("floor", ""), ("wall", ""))


def test_a_cell_is_the_mean_of_its_pixels():
    ids = torch.randint(0, 4, (28, 42), generator=torch.Generator().manual_seed(0))
    patch = Embeddings(NAMES, "patch", 16, noise=0)
    dense = Embeddings(NAMES, "dense", 16, noise=0)
    pixels = dense.map(ids, "a")
    assert torch.equal(pixels, patch.table()[ids]) or torch.allclose(pixels, patch.table()[ids])
    cells = pixels.view(2, 14, 3, 14, 16).mean((1, 3))
    torch.testing.assert_close(patch.map(ids, "a"), normalize(cells, dim=-1), atol=1e-5, rtol=0)


def test_cells_share_the_pixels_on_their_border():
    # Four pixels in three cells: each cell is 4/3 pixels wide.
    expected = torch.tensor([[3, 1, 0, 0], [0, 2, 2, 0], [0, 0, 1, 3]]) / 4
    torch.testing.assert_close(coverage(4, 3), expected)
    torch.testing.assert_close(coverage(135, 10).sum(1), torch.ones(10))
    torch.testing.assert_close(coverage(135, 10).sum(0), torch.full((135,), 10 / 135))


def test_the_grid_is_that_of_a_vision_transformer():
    scene = simulate(built("twins"), frames=2, test=0, width=240, height=135, feature_dim=8)
    assert scene.frames[0].features.shape == (10, 17, 8)
    assert scene.frames[0].features.dtype == torch.float32


def test_noise_has_the_length_asked_for_and_differs_between_frames():
    ids = torch.zeros(60, 60, dtype=torch.int64)
    clean = Embeddings(NAMES, "dense", 32, noise=0).map(ids, "a")
    noisy = Embeddings(NAMES, "dense", 32, noise=0.5)
    one, again, other = noisy.map(ids, "a"), noisy.map(ids, "a"), noisy.map(ids, "b")
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)
    torch.testing.assert_close(one.norm(dim=-1), torch.ones(60, 60))
    cosine = cosine_similarity(one, clean, dim=-1).mean().item()
    assert cosine == pytest.approx(1 / (1 + 0.5**2) ** 0.5, abs=0.01)


def test_parts_of_one_thing_are_nearer_to_each_other_than_to_other_things():
    within, across = [], []
    for seed in range(20):
        table = Embeddings(NAMES, dim=32, seed=seed).table()
        torch.testing.assert_close(table.norm(dim=-1), torch.ones(4))
        cosines = table @ table.T
        within.append(cosines[0, 1])
        across += [cosines[0, 2], cosines[1, 2], cosines[2, 3]]
    assert torch.stack(within).mean() == pytest.approx(0.5, abs=0.1)
    assert torch.stack(across).mean() == pytest.approx(0.0, abs=0.1)


def test_a_thing_has_the_same_embedding_in_every_world():
    one, other = (
        simulate(
            built(name), frames=2, test=0, width=42, height=28, teacher="dense", feature_noise=0
        )
        for name in ("walker", "flag")
    )
    floors = [
        scene.frames[0].features[scene.frames[0].label == scene.label_names.index("floor")][0]
        for scene in (one, other)
    ]
    torch.testing.assert_close(*floors)


def test_unlabelled_pixels_have_no_embedding():
    ids = torch.full((14, 28), -1)
    ids[:, :14] = 2
    teacher = Embeddings(NAMES, "patch", 16, noise=0)
    features = teacher.map(ids, "a")
    torch.testing.assert_close(features[0, 0], teacher.table()[2])
    assert features[0, 1].abs().sum() == 0
