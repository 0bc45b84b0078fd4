"""Losses of a perception field: values by hand, gradients by finite differences, and what the switches cut off."""

import math

import pytest
import torch
from semaflow.fields.perception import losses
from semaflow.fields.perception.instances import instance_error, matched
from semaflow.fields.perception.targets import cells, pixels_in
from semaflow.fields.perception.trainer import PerceptionTrainer
from semaflow.scenes import BadInput

from tests.reference import perception_views as small

NAMES = (
    "color", "coarse_color", "semantics", "reference_semantics", "distill", "guided", "known_depth", "sure_depth",
    "instance",
)  # fmt: skip
EVERYTHING = {"coarse_color": 0.5, "instances": 4, "patches": 0.0}


def trainer(dtype=torch.float32, **changes) -> PerceptionTrainer:
    found = small.targets()
    found.views.to(dtype)
    if dtype == torch.float64:
        found.depths = found.depths.double()
    return PerceptionTrainer(small.field(dtype=dtype, **{**EVERYTHING, **changes}), [found])


def terms(made: PerceptionTrainer) -> dict:
    made.generator.manual_seed(5)
    return made.terms(made.found[0], 2)[0]


def gradient(made: PerceptionTrainer, name: str) -> dict:
    """Parameters that the loss ``name`` reaches, by name."""
    parameters = dict(made.field.named_parameters())
    found = torch.autograd.grad(terms(made)[name], list(parameters.values()), allow_unused=True)
    return {key: g for key, g in zip(parameters, found, strict=True) if g is not None and g.abs().max() > 0}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rendering", ["density", "attention"])
def test_every_loss_has_the_gradient_of_finite_differences(name, rendering):
    # no samples are drawn anew: where they lie has no gradient
    made = trainer(torch.float64, rendering=rendering, gradient_block=False, importance=0)
    found = gradient(made, name)
    assert found
    generator = torch.Generator().manual_seed(3)
    parameters = dict(made.field.named_parameters())
    ways = {key: torch.randn(g.shape, generator=generator, dtype=g.dtype) for key, g in found.items()}
    # the targets of distillation stay as they are: only what renders may move
    if name in ("distill", "guided"):
        ways = {key: way for key, way in ways.items() if key.startswith("aggregation.")}
    values, step = [], 1e-7
    with torch.no_grad():
        for sign in (1, -2):
            for key, way in ways.items():
                parameters[key] += sign * step * way
            values.append(float(terms(made)[name]))
    expected = (values[0] - values[1]) / (2 * step)
    along = float(sum((found[key] * way).sum() for key, way in ways.items()))
    assert along == pytest.approx(expected, rel=2e-4, abs=1e-7)


def test_the_gradient_block_keeps_distillation_out_of_the_extractor():
    for name in ("distill", "guided"):
        blocked, free = (gradient(trainer(gradient_block=block), name) for block in (True, False))
        assert any(key.startswith("aggregation.") for key in blocked)
        assert not any(key.startswith(("extractor.lateral", "extractor.smooth")) for key in blocked)
        assert any(key.startswith("extractor.lateral") for key in free)
    last = "extractor.stages.2."
    assert not any(key.startswith(last) for key in gradient(trainer(), "color"))
    assert any(key.startswith(last) for key in gradient(trainer(gradient_block=False), "color"))


def test_without_joint_attention_semantics_leave_the_attention_alone():
    shared = ("aggregation.views", "aggregation.rays", "aggregation.tokens")
    for name in ("distill", "guided", "semantics"):
        assert any(key.startswith(shared) for key in gradient(trainer(), name))
        frozen = gradient(trainer(joint_attention=False, gradient_block=False), name)
        assert not any(key.startswith(shared) for key in frozen)


def test_switches_take_their_losses_out():
    assert set(terms(trainer())) == set(NAMES)
    assert set(NAMES) - set(terms(trainer(distill_2d=False))) == {"distill"}
    assert set(NAMES) - set(terms(trainer(distill_depth=False))) == {"guided"}


def test_what_no_ray_renders_is_filled_with_the_target_s_own_features():
    made = trainer()
    found = gradient(made, "semantics")
    for part in ("extractor.lateral", "aggregation"):
        assert any(key.startswith(part) for key in found)
    whole = trainer(rays=10_000, patches=0.0, joint_attention=False)
    assert not any(key.startswith("extractor.lateral") for key in gradient(whole, "semantics"))


def test_losses_whose_input_is_missing_are_left_out_and_named():
    found = small.targets()
    found.depths = None
    made = PerceptionTrainer(small.field(), [found])
    assert made.missing == dict.fromkeys(("guided", "known_depth", "sure_depth"), "true depth")
    assert not {"guided", "known_depth", "sure_depth"} & set(made.terms(found, 0)[0])
    with pytest.raises(BadInput, match="loss guided: needs true depth, which no scene has; set guided=0"):
        PerceptionTrainer(small.field(), [found], ("guided",))


def test_rays_of_unknown_depth_do_not_count():
    matter, teacher = torch.randn(4, 6, 3), torch.randn(4, 3)
    depths, truth = torch.linspace(1, 6, 6).expand(4, -1), torch.tensor([2.1, 0.0, 5.0, 0.0])
    found = losses.guided_distillation(matter, teacher, depths, truth, 2)
    assert found == losses.guided_distillation(matter[[0, 2]], teacher[[0, 2]], depths[:2], truth[[0, 2]], 2)
    assert losses.guided_distillation(matter, teacher, depths, torch.zeros(4), 2) == 0
    for unknown in (torch.zeros(4), torch.zeros(0)):
        assert losses.depth_error(truth[: len(unknown)], unknown) == 0
        assert losses.depth_likelihood(torch.rand(len(unknown), 6), depths[: len(unknown)], unknown) == 0


def test_the_error_of_a_depth_is_that_of_its_logarithm():
    depth = torch.tensor([2.0, 8.0, 5.0, 0.0], requires_grad=True)
    loss = losses.depth_error(depth, torch.tensor([4.0, 4.0, 0.0, 1.0]))
    assert loss.item() == pytest.approx((2 * math.log(2) + math.log(1000)) / 3)
    loss.backward()
    assert depth.grad.isfinite().all() and depth.grad[2] == 0
    small = 1e-6 * torch.tensor([2.0, 8.0, 5.0, 0.0])
    assert torch.isclose(losses.depth_error(small, 1e-6 * torch.tensor([4.0, 4.0, 0.0, 1.0])), loss)


def test_samples_on_either_side_of_the_true_depth_are_to_have_the_weight():
    depths = torch.tensor([1.0, 2.0, 4.0, 8.0]).expand(3, -1)
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).expand(3, -1)
    for truth, here in ((3.0, 0.5), (0.5, 0.3), (9.0, 0.7)):  # the last two are before and behind all samples
        found = losses.depth_likelihood(weights, depths, torch.tensor([truth, 0.0, 0.0]))
        assert found.item() == pytest.approx(-math.log(here + 1e-3))
    alone = losses.depth_likelihood(torch.tensor([[0.4]]), torch.tensor([[2.0]]), torch.tensor([3.0]))
    assert alone.item() == pytest.approx(-math.log(0.4 + 1e-3))
    nothing = torch.zeros(1, 4, requires_grad=True)
    losses.depth_likelihood(nothing, depths[:1], torch.tensor([3.0])).backward()
    assert nothing.grad.isfinite().all() and (nothing.grad[0] < 0).tolist() == [False, True, True, False]


def test_guided_distillation_wants_likeness_at_the_true_depth_and_none_elsewhere():
    teacher, depths = torch.tensor([[1.0, 0.0]]), torch.arange(1.0, 8.0)[None]
    like = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0])[None]  # samples 3 to 5, the true depth is that of 4
    best = torch.stack([like, 1 - like], -1)
    right, wrong = (losses.guided_distillation(best, teacher, depths, torch.tensor([z]), 2) for z in (5.0, 2.0))
    assert right == 0 and wrong == pytest.approx(6 / 7)
    opposite = torch.tensor([-1.0, 0.0]).expand(1, 7, 2)
    assert losses.guided_distillation(opposite, teacher, depths, torch.tensor([5.0]), 2) == pytest.approx(3 * 2 / 7)


def test_unlabelled_pixels_neither_help_nor_hurt():
    logits, labels = torch.randn(1, 3, 4, 5), torch.randint(0, 3, (1, 4, 5))
    labels[0, 0] = -1
    other = logits.clone()
    other[0, :, 0] = 50 * torch.randn(3, 5)
    assert losses.class_error(logits, labels) == losses.class_error(other, labels)
    assert losses.class_error(logits, torch.full_like(labels, -1)) == 0
    assert losses.class_error(torch.zeros_like(logits), labels) == pytest.approx(math.log(3))


def test_things_are_matched_to_the_slots_that_show_them():
    instances = torch.tensor([[7, 7, 7, 4], [7, 7, 4, 4], [-1, 2, 2, -1]])
    logits = torch.full((5, 3, 4), -9.0)
    for thing, slot in ((2, 3), (4, 0), (7, 4)):
        logits[slot][instances == thing] = 9.0
    things, slots, _ = matched(logits, instances)
    assert things.tolist() == [0, 1, 2] and slots.tolist() == [3, 0, 4]
    right = instance_error(logits, instances)
    assert right < 0.01
    assert instance_error(logits[torch.randperm(5)], instances) == pytest.approx(float(right), abs=1e-6)
    assert instance_error(torch.zeros(5, 3, 4), instances) > 0.8
    unknown = torch.full_like(instances, -1)
    assert instance_error(logits, unknown) == 0
    with pytest.raises(BadInput, match="instances: expected at most 2 in a picture"):
        matched(logits[:2], instances)


def test_rays_come_in_patches_and_hit_their_cells():
    generator = torch.Generator().manual_seed(0)
    single = cells(10, 13, 24, 1, generator)
    assert len(single.unique()) == 24 and single.max() < 130
    patch = cells(10, 13, 16, 4, generator)
    assert len(patch) == 16
    assert (patch // 13).unique().tolist() == list(range(int(patch[0]) // 13, int(patch[0]) // 13 + 4))
    assert len(cells(3, 2, 100, 8, generator)) <= 6
    x, y = pixels_in(single, 13, 19, 26, generator).unbind(1)  # the last row of cells has one row of pixels
    assert torch.equal((y // 2) * 13 + x // 2, single) and y.max() < 19 and x.max() < 26
