"""Pictures changed as if they were of another scene: what views show of each other stays as it was."""

import dataclasses

import pytest
import torch
from semaflow.fields.perception.augment import mirrored, relit
from semaflow.fields.perception.trainer import PerceptionTrainer
from semaflow.fields.perception.views import Views
from semaflow.scenes import BadInput

from tests.reference import perception_views as small


def slanted():
    """Targets whose cameras are turned, off their axis, and skewed."""
    own = small.targets()
    Ks = own.views.Ks.clone()
    Ks[:, 0, 1], Ks[:, 0, 2] = 0.7, Ks[:, 0, 2] + 1.3
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, 0.3, -0.2], [-0.3, 0.0, 0.4], [0.2, -0.4, 0.0]]))
    viewmats = own.views.viewmats.clone()
    viewmats[:, :3] = turn @ viewmats[:, :3]
    return dataclasses.replace(own, views=own.views.replaced(viewmats=viewmats, Ks=Ks))


def seen(views: Views, points: torch.Tensor) -> torch.Tensor:
    """Pixels [N, P, 2] of points in all views, behind the camera or not."""
    inside = points @ views.viewmats[:, :3, :3].mT + views.viewmats[:, None, :3, 3]
    pixels = inside @ views.Ks.mT
    return pixels[..., :2] / pixels[..., 2:]


def test_a_mirrored_scene_is_seen_at_mirrored_pixels():
    own = slanted()
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    before = seen(own.views, points)
    after = seen(mirrored(own).views, points * torch.tensor([-1.0, 1.0, 1.0]))
    before[..., 0] = own.views.size[0] - before[..., 0]
    assert torch.allclose(after, before, rtol=1e-4, atol=1e-3)
    assert torch.allclose(torch.linalg.det(mirrored(own).views.viewmats), torch.ones(len(own.views)))


def test_every_layer_is_mirrored_and_twice_is_as_before():
    own = slanted()
    once = mirrored(own)
    for name in ("labels", "instances", "depths"):
        assert torch.equal(getattr(once, name), getattr(own, name).flip(-1))
    assert torch.equal(once.views.images[..., 0], own.views.images[..., -1])
    twice = mirrored(once)
    assert all(torch.allclose(a, b) for a, b in zip(twice.views.buffers(), own.views.buffers(), strict=True))


def test_another_light_changes_all_pictures_alike_and_nothing_else():
    own = small.targets()
    own.views.images[:, :, :4] = 90  # the same in all pictures
    changed = relit(own, 0.5, torch.Generator().manual_seed(0))
    assert changed.labels is own.labels and changed.views.viewmats is own.views.viewmats
    patch = changed.views.images[:, :, :4]
    assert all(len(patch[:, k].unique()) == 1 for k in range(3)) and (patch != 90).any()
    before, after = (made.views.images[:, 1].flatten().int() for made in (own, changed))
    assert (after[before.argsort()].diff() >= 0).all(), "brighter stays brighter"
    assert torch.equal(relit(own, 0.0, torch.Generator()).views.images, own.views.images)


def test_a_training_on_mirrored_pictures_is_one_on_the_mirrored_scene():
    errors = []
    for own, share in ((slanted(), 1.0), (mirrored(slanted()), 1e-9)):  # as many draws in both
        made = PerceptionTrainer(small.field(mirrored=share, relit=0.0), [own])
        made.generator.manual_seed(2)
        terms, error = made.terms(own, 1)
        errors.append([error.item(), *(value.item() for value in terms.values())])
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)


def test_pixels_by_themselves_take_a_head_that_needs_no_others():
    with pytest.raises(BadInput, match="setting 'fused': expected true, unless 'head' is pixel"):
        small.field(fused=False)
    made = PerceptionTrainer(small.field(fused=False, head="pixel", reference_semantics=0.0), [small.targets()])
    terms, _ = made.terms(made.found[0], 1)
    assert terms["semantics"] > 0
    found = torch.autograd.grad(terms["semantics"], list(made.field.head.parameters()))
    assert all(grad.abs().max() > 0 for grad in found)
