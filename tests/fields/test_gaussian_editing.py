"""Removal of Gaussians: what goes with a thing, and what is seen where nothing was behind it."""

import pytest
import torch
from semaflow.fields.edit import Edit
from semaflow.fields.gaussians.editing import EditedState, Editing
from semaflow.fields.gaussians.field import GaussianField
from semaflow.fields.gaussians.hidden import hidden
from semaflow.fields.gaussians.infill import infilled
from semaflow.scenes import Camera

RED, GREY = (0.8, 0.2, 0.2), (0.5, 0.5, 0.5)
CAMERAS = [Camera.look_at((x, -3, 0.2), (0, 0, 0), 48, 36) for x in (-2.2, -0.4, 0.4, 2.2)]
VIEWS = [(camera, 0.0) for camera in CAMERAS]
SIZES = {"ball": 200, "fog": 20, "wall": 900}


@pytest.fixture(scope="module")
def field():
    """A red ball before a grey wall; within it, fog that only its own little transparency lets through."""
    generator = torch.Generator().manual_seed(0)
    ball = 0.4 * torch.nn.functional.normalize(torch.randn(SIZES["ball"], 3, generator=generator), dim=-1)
    fog = 0.1 * torch.randn(SIZES["fog"], 3, generator=generator)
    x, z = torch.meshgrid(*2 * [torch.linspace(-2, 2, 30)], indexing="ij")
    wall = torch.stack([x, torch.full_like(x, 1.2), z], -1).view(-1, 3)
    means, parts = torch.cat([ball, fog, wall]), torch.tensor(list(SIZES.values()))
    colors = torch.tensor([RED, RED, GREY]).repeat_interleave(parts, 0)
    scales = torch.tensor([0.06, 0.08, 0.12]).repeat_interleave(parts).log()[:, None].expand(-1, 3)
    opacities = torch.tensor([1.0, 3.0, 4.0]).repeat_interleave(parts)
    return GaussianField(
        means, scales, torch.tensor([1.0, 0, 0, 0]).repeat(len(means), 1), opacities,
        ((colors - 0.5) / 0.28209479)[:, None], torch.zeros(len(means), 0, 3),
    )


@pytest.fixture(scope="module")
def parts(field):
    """Which Gaussians are of what."""
    ids = torch.arange(3).repeat_interleave(torch.tensor(list(SIZES.values())))
    return {name: ids == k for k, name in enumerate(SIZES)}


@torch.no_grad()
def reddest(field, camera) -> float:
    color = field.render(camera, 0.0).color
    return float((color[..., 0] - color[..., 1]).amax())


def test_what_was_seen_through_a_thing_alone_goes_with_it(field, parts):
    found = hidden(field, parts["ball"], VIEWS)
    assert found[parts["fog"]].all() and not found[parts["ball"]].any()
    assert found[parts["wall"]].float().mean() < 0.03
    thing = {"ball": parts["ball"]}
    field.edit = Editing(field, Edit(removed=("ball",)), thing)
    assert reddest(field, CAMERAS[1]) > 0.2
    field.edit = Editing(field, Edit(removed=("ball",)), thing, {"ball": found})
    assert reddest(field, CAMERAS[1]) < 0.02
    field.edit = None


def test_nothing_is_hidden_by_what_is_not_there(field, parts):
    assert not hidden(field, torch.zeros_like(parts["ball"]), VIEWS).any()
    assert not hidden(field, parts["ball"], []).any()


def test_a_hole_in_a_wall_is_filled_and_one_in_nothing_is_not(field, parts):
    """Where the wall is missing behind the ball, its colour is seen; without the wall, nothing."""
    middle = parts["wall"] & (field.means[:, [0, 2]].norm(dim=-1) < 0.9)
    for gone, expected in ((middle, 0.5), (parts["wall"], 0.0)):
        things = {"ball": parts["ball"], "rest": parts["fog"] | gone}
        bare = Editing(field, Edit(), {})(0.0).subset(~things["rest"])
        whole = field.posed(0.0).subset(~things["rest"])
        keep = ~parts["ball"][~things["rest"]]
        state = EditedState(**vars(bare) | {"opacities": torch.where(keep, whole.opacities, 0.0), "whole": whole})
        color = state.render(CAMERAS[1]).color[18, 24]
        assert torch.allclose(color, torch.full((3,), expected), atol=0.06), expected


def test_only_holes_change():
    generator = torch.Generator().manual_seed(1)
    color, alpha = torch.rand(9, 7, 3, generator=generator), torch.rand(9, 7, generator=generator)
    assert torch.equal(infilled(color, alpha, alpha, torch.zeros(3)), color)
    assert torch.equal(infilled(color, alpha, 0.5 * alpha, torch.ones(3)), color)


@pytest.mark.parametrize("background", [0.0, 1.0])
@pytest.mark.parametrize("size", [(9, 7), (1, 5), (16, 16)])
def test_a_hole_in_one_colour_has_that_colour(size, background):
    truth = torch.tensor([0.3, 0.6, 0.1])
    alpha = torch.ones(size)
    alpha[size[0] // 2, size[1] // 2] = 0
    behind = torch.full((3,), background)
    color = alpha[..., None] * truth + (1 - alpha)[..., None] * behind
    filled = infilled(color, alpha, torch.ones(size), behind)
    assert torch.allclose(filled, truth.expand_as(filled), atol=1e-5)


def test_where_all_is_gone_the_background_is_seen():
    behind = torch.tensor([0.2, 0.4, 0.6])
    color = behind.expand(4, 6, 3).clone()
    assert torch.allclose(infilled(color, torch.zeros(4, 6), torch.ones(4, 6), behind), color)
