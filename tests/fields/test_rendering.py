"""A state's picture: all channels of one call are those of calls of their own."""

import itertools

import pytest
import torch
from semaflow.fields.gaussians.state import GaussianState
from semaflow.scenes import BadInput, Camera

CAMERA = Camera.look_at((0, -4, 1), (0, 0, 0), 40, 24)


def state(**changes) -> GaussianState:
    g = torch.Generator().manual_seed(0)
    given = {
        "means": 2 * torch.rand(60, 3, generator=g) - 1,
        "quats": torch.randn(60, 4, generator=g),
        "scales": 0.05 + 0.2 * torch.rand(60, 3, generator=g),
        "opacities": 0.1 + 0.8 * torch.rand(60, generator=g),
        "sh": 0.5 * torch.randn(60, 4, 3, generator=g),
        "features": torch.randn(60, 5, generator=g),
        "classes": torch.rand(60, 4, generator=g),
    }
    return GaussianState(**{**given, **changes}, time=0.5, background=torch.tensor([0.2, 0.4, 0.6]))


VALUES = torch.linspace(-1, 1, 120).view(60, 2)
CHANNELS = ("color", "depth", "features", "logits")
SUBSETS = [s for n in range(5) for s in itertools.combinations(CHANNELS, n)]


@pytest.mark.parametrize("values", [None, VALUES])
@pytest.mark.parametrize("channels", SUBSETS)
def test_channels_together_are_the_channels_alone(channels, values):
    together = state().render(CAMERA, channels, values)
    for name in CHANNELS:
        shown = getattr(together, name)
        if name not in channels:
            assert shown is None
            continue
        torch.testing.assert_close(shown, getattr(state().render(CAMERA, (name,)), name), rtol=0, atol=1e-5)
    if values is None:
        assert together.values is None
    else:
        torch.testing.assert_close(together.values, state().render(CAMERA, (), values).values, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.alpha, state().render(CAMERA).alpha, rtol=0, atol=1e-6)


def test_the_background_lies_behind_colour_only():
    seen = state(opacities=torch.zeros(60)).render(CAMERA, CHANNELS, VALUES)
    assert torch.equal(seen.color, state().background.expand_as(seen.color))
    for layer in (seen.depth, seen.features, seen.logits, seen.values, seen.alpha):
        assert not layer.any()


def test_labels_are_the_highest_scores_where_any_class_is_known():
    seen = state().render(CAMERA, ("logits",))
    assert seen.logits.shape == (24, 40, 4) and seen.labels.dtype == torch.int64
    shown = seen.alpha > 0
    assert shown.any() and not shown.all()
    assert torch.equal(seen.labels[shown], seen.logits.argmax(-1)[shown]) and (seen.labels[~shown] == -1).all()
    assert state().render(CAMERA).labels is None
    unknown = state(classes=torch.zeros(60, 4)).render(CAMERA, ("logits",))
    assert (unknown.labels == -1).all()


def test_logits_of_gaussians_without_classes_are_refused():
    with pytest.raises(BadInput, match="logits: the field knows no classes"):
        state(classes=None).render(CAMERA, ("color", "logits"))


def test_gradients_of_channels_together_are_the_sums_of_those_alone():
    g = torch.Generator().manual_seed(1)
    weights = {name: torch.randn(24, 40, width, generator=g) for name, width in (("color", 3), ("features", 5))}

    def gradients(*calls):
        leaves = {name: getattr(state(), name).requires_grad_() for name in ("means", "opacities", "sh", "features")}
        for channels in calls:
            seen = state(**leaves).render(CAMERA, channels)
            sum((getattr(seen, name) * weights[name]).sum() for name in channels).backward()
        return [leaf.grad for leaf in leaves.values()]

    for once, twice in zip(gradients(("color", "features")), gradients(("color",), ("features",)), strict=True):
        torch.testing.assert_close(once, twice, rtol=1e-4, atol=1e-4)
