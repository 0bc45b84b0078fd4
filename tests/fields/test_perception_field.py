"""The parts of a perception field on pictures of noise: views, maps, transformers, heads, rendering, files."""

import dataclasses
import itertools

import pytest
import torch
from semaflow.fields.perception.adapt import adapted
from semaflow.fields.perception.config import ABLATIONS, PRESETS, SIZES, preset
from semaflow.fields.perception.extractor import Extractor
from semaflow.fields.perception.field import PerceptionField
from semaflow.fields.perception.head import FpnHead, PixelHead, UNetHead
from semaflow.fields.perception.render import directions, look, references, trace
from semaflow.fields.perception.state import grid
from semaflow.fields.perception.trainer import PerceptionTrainer
from semaflow.fields.perception.view_transformer import ViewBlock, first_query
from semaflow.fields.perception.views import Views, views_of
from semaflow.scenes import BadInput, Camera, simulate
from semaflow.scenes.files import read_tensors, write_tensors

from tests.reference import perception_views as small

HERE = Camera.look_at((0.1, -2.8, 0.5), (0, 0, 0.1), small.WIDTH, small.HEIGHT)
ALL = ("color", "depth", "logits", "instances", "features")


def looking(**changes) -> PerceptionField:
    return small.field(**changes).eval().look_at(small.views())


def before(field, camera=HERE, order=(0, 1, 2)):
    chosen = torch.tensor(order)
    maps = field.maps()
    return references(field.views, chosen, type(maps)(*(x[chosen] for x in maps)), camera)


def trace_depths(field):
    return trace(field.aggregation, before(field), directions(HERE, grid(HERE, 6, 7)), False).depths


def traced(field, views, semantics=True):
    return trace(field.aggregation, views, directions(HERE, grid(HERE, 6, 7)), semantics)


@pytest.mark.parametrize("rendering", ["density", "attention"])
def test_a_rendering_has_all_that_was_asked_for(rendering):
    shown = looking(rendering=rendering, instances=4).render(HERE, 0.0, ALL)
    size = small.HEIGHT, small.WIDTH
    assert shown.color.shape == (*size, 3) and shown.depth.shape == shown.alpha.shape == size
    assert shown.logits.shape == (*size, 3) and shown.instances.shape == (*size, 4)
    assert shown.features.shape == (size[0] // 2, size[1] // 2, 16) and shown.labels.max() < 3
    assert (shown.depth >= 0).all() and shown.depth.max() < 6
    assert shown.alpha.min() >= 0 and shown.alpha.max() <= 1 + 1e-5


def test_channels_that_were_not_asked_for_are_none():
    shown = looking().render(HERE, 0.0, ("logits",))
    assert shown.color is None and shown.depth is None and shown.features is None and shown.logits is not None


def test_colors_blended_from_views_are_between_theirs():
    field = looking()
    shown = traced(field, before(field)).fine
    assert (shown.color >= 0).all() and (shown.color <= shown.alpha[:, None] + 1e-5).all()


def test_samples_weigh_as_in_volume_rendering():
    field = looking().double()
    shown = traced(field, before(field)).fine
    assert shown.weights.min() >= 0 and shown.weights.max() > 0.05 and shown.alpha.max() <= 1 + 1e-9
    assert torch.allclose(shown.alpha, shown.weights.sum(1))
    mean = (shown.weights * trace_depths(field)).sum(1) / shown.alpha
    assert torch.allclose(shown.depth, mean, atol=1e-5)


@pytest.mark.parametrize("rendering", ["density", "attention"])
def test_the_order_of_reference_views_changes_nothing(rendering):
    field = looking(rendering=rendering).double()
    found = [traced(field, before(field, order=order)).fine for order in itertools.permutations((0, 1, 3))]
    for other in found[1:]:
        for name in ("color", "depth", "semantic", "matter"):
            assert torch.allclose(getattr(found[0], name), getattr(other, name), atol=1e-8), name


def test_moving_the_world_changes_nothing():
    field = looking().double()
    views = field.views
    first = traced(field, before(field)).fine
    turn = Camera.look_at((4.0, 2.0, 1.0), (0.3, 0, 0), 4, 4).viewmat.double()
    field.views = Views(views.images, views.viewmats @ turn, views.Ks, views.near, views.far).double()
    moved = dataclasses.replace(HERE, viewmat=(HERE.viewmat.double() @ turn))
    second = traced(field, before(field, moved)).fine
    assert torch.allclose(first.color, second.color, atol=1e-5)
    assert torch.allclose(first.semantic, second.semantic, atol=1e-5)


def test_what_views_show_is_what_they_show_where_points_project():
    field = looking()
    points = torch.rand(7, 5, 3) * torch.tensor([2.0, 1.5, 3.0]) + torch.tensor([-1.0, -0.75, 1.5])
    seen = look(before(field), points, True)
    world = (points - HERE.viewmat[:3, 3]) @ HERE.viewmat[:3, :3]
    maps = field.maps()
    for k in range(3):
        camera = Camera(field.views.Ks[k], field.views.viewmats[k], small.WIDTH, small.HEIGHT)
        pixels, depth = camera.project(world)
        size = torch.tensor([small.WIDTH, small.HEIGHT])
        inside = (depth > 0) & ((pixels >= 0) & (pixels < size)).all(-1)
        assert torch.equal(seen.valid[:, :, k], inside)
        picture = field.views.pictures(torch.tensor([k]))
        for found, shown in ((seen.colors, picture), (seen.semantic, maps.semantic[[k]])):
            expected = torch.nn.functional.grid_sample(
                shown, (pixels / size * 2 - 1)[None], align_corners=False, padding_mode="border"
            )[0].permute(1, 2, 0)
            assert torch.allclose(found[:, :, k], expected * inside[..., None], atol=1e-4)


def test_views_that_do_not_see_a_point_have_no_say():
    torch.manual_seed(0)
    block, tokens = ViewBlock(8, 2, 0.0), torch.randn(5, 4, 8)
    ways, valid = torch.randn(5, 4, 4), torch.rand(5, 4) < 0.5
    valid[0], valid[1] = False, torch.tensor([True, False, False, False])
    other = torch.where(valid[..., None], tokens, 100 * torch.randn(5, 4, 8))
    made = [block(first_query(x, valid), x, ways, valid) for x in (tokens, other)]
    assert torch.equal(made[0][0], made[1][0]) and torch.equal(made[0][1], made[1][1])
    attention = made[0][1]
    assert (attention[~valid] == 0).all() and torch.allclose(attention[1, 0], torch.ones(8))
    assert torch.allclose(attention.sum(1)[valid.any(1)], torch.ones(1), atol=1e-6) and (attention[0] == 0).all()


def test_one_view_is_enough_to_render():
    field = looking(views=1)
    assert field.render(HERE, 0.0).color.isfinite().all()


def test_rays_that_no_view_sees_are_clear_and_finite():
    field = looking()
    sideways = Camera.look_at((0.1, -2.8, 0.5), (2.2, -0.8, 0.1), small.WIDTH, small.HEIGHT)
    shown = field.render(sideways, 0.0, ("color", "depth", "logits"))
    found = trace(field.aggregation, before(field, sideways), directions(sideways, grid(sideways, 20, 26)), False)
    assert not found.seen.all() and found.seen.any()
    assert (found.fine.alpha[~found.seen] == 0).all() and (found.fine.color[~found.seen] == 0).all()
    assert shown.color.isfinite().all() and shown.logits.isfinite().all()


def test_a_camera_that_sees_nothing_known_is_refused():
    away = Camera.look_at((0, -3, 0), (0, -9, 0), small.WIDTH, small.HEIGHT)
    with pytest.raises(BadInput, match="sees nothing that a reference view shows"):
        looking().render(away, 0.0)


def test_reference_views_are_the_nearest_and_never_the_target():
    views = small.views(9)
    assert views.nearest(views.viewmats[4], 0.0, 3)[0] == 4
    assert set(views.nearest(views.viewmats[4], 0.0, 2, without=4).tolist()) == {3, 5}
    generator = torch.Generator().manual_seed(0)
    drawn = [views.drawn(4, 3, 2.0, generator) for _ in range(40)]
    assert all(4 not in own and len(own.unique()) == 3 for own in drawn)
    assert {k for own in drawn for k in own.tolist()} == set(range(1, 8)) - {4}


def test_of_a_moving_scene_the_views_around_the_time_are_looked_at():
    times = torch.linspace(0, 1, 9)
    views = small.views(9, times=times, window=0.125)
    assert set(views.nearest(views.viewmats[0], 0.5, 3).tolist()) == {3, 4, 5}
    assert views.nearest(views.viewmats[0], 0.5, 3)[0] == 3, "nearest in view first"
    assert set(views.nearest(views.viewmats[0], 0.5, 5).tolist()) == {2, 3, 4, 5, 6}, "else those nearest in time"
    assert set(views.nearest(views.viewmats[0], 0.5, 2, without=4).tolist()) == {3, 5}
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        assert set(views.drawn(4, 2, 3.0, generator).tolist()) == {3, 5}
    still = small.views(9, times=times)
    assert set(still.nearest(still.viewmats[0], 1.0, 3).tolist()) == {0, 1, 2}


def test_a_moving_scene_is_shown_as_it_is_at_the_time(tmp_path):
    """Where each picture is one grey that grows over time, what is blended from the views is the grey of the time."""
    views = small.views(9, times=torch.linspace(0, 1, 9), window=0.13)
    views.images = torch.arange(0, 225, 25, dtype=torch.uint8)[:, None, None, None].expand_as(views.images).contiguous()
    field = small.field().eval().look_at(views)
    field.save(tmp_path)
    for shown_by in (field, PerceptionField.load(tmp_path)):
        for time, low, high in ((0.0, 0, 50), (0.5, 75, 125), (1.0, 150, 200)):
            shown = shown_by.render(HERE, time)
            grey = (255 * shown.color / shown.alpha[..., None])[shown.alpha > 0.05]
            assert len(grey) and low - 1 < grey.min() and grey.max() < high + 1


def test_test_frames_are_never_reference_views():
    scene = simulate("balls", frames=4, width=24, height=18, samples=1, test=3)
    shuffled = dataclasses.replace(scene, train=[0, 2, 4, 6], test=[1, 3, 5])
    views = views_of(shuffled)
    assert len(views) == 4
    assert torch.equal(views.viewmats, torch.stack([scene.frames[k].camera.viewmat for k in (0, 2, 4, 6)]))
    depths = torch.cat([scene.frames[k].depth.flatten() for k in (0, 2, 4, 6)])
    assert float(views.near) < depths[depths > 0].quantile(0.01) and float(views.far) > depths.quantile(0.99)


def test_what_views_show_is_computed_once_until_the_networks_change():
    field = looking()
    first = field.maps()
    field.render(HERE, 0.0)
    assert field.maps() is first
    field.train()
    assert field.maps() is not first


@pytest.mark.parametrize("size", [(17, 23), (48, 64), (18, 40)])
def test_maps_and_heads_fit_any_size(size):
    maps = Extractor((4, 4, 6, 8), (1, 2, 1), 6, 5, 2, 4)(torch.rand(2, 3, *size))
    half = -(-size[0] // 2), -(-size[1] // 2)
    assert maps.color.shape == (2, 5, *half) and maps.semantic.shape == (2, 16, *half)
    for head in (UNetHead(4, 6, 3), UNetHead(4, 6, 3, True), FpnHead(4, 6, 3), PixelHead(4, 6, 3)):
        assert head(maps.semantic, *size).shape == (2, 3, *size)


def test_all_heads_but_the_per_pixel_one_see_around():
    for head, far in ((UNetHead(4, 6, 3), True), (FpnHead(4, 6, 3), True), (PixelHead(4, 6, 3), False)):
        features = torch.randn(1, 16, 16, 16, requires_grad=True)
        head(features, 16, 16)[0, :, 3, 3].sum().backward()
        reached = features.grad[0].abs().sum(0)
        assert bool(reached[8:].sum() > 0) == far and reached[3, 3] > 0


def test_the_paper_s_network_has_the_paper_s_sizes():
    config = preset("paper")
    extractor = Extractor(
        config.widths, config.blocks, config.decoder, config.color_channels, config.color_stride, config.level_channels
    )
    with torch.no_grad():
        maps = extractor(torch.rand(1, 3, 48, 64))
    assert maps.color.shape == (1, 32, 12, 16) and maps.semantic.shape == (1, 512, 24, 32)
    assert sum(len(stage) for stage in extractor.stages) == 13
    assert (config.coarse + config.importance, config.views, config.depth, config.width) == (64, 10, 8, 64)


@pytest.mark.parametrize("changes", [{}, {"instances": 3, "head": "fpn"}, {"rendering": "attention"}])
def test_a_saved_field_shows_the_same(changes, tmp_path):
    field = looking(**changes)
    field.save(tmp_path)
    again = PerceptionField.load(tmp_path)
    assert again.config == field.config and again.label_names == field.label_names
    for name in ("color", "logits"):
        first, second = (getattr(one.render(HERE, 0.0, (name,)), name) for one in (field, again))
        assert torch.equal(first, second)


def test_a_field_without_views_is_saved_too_and_says_what_it_needs(tmp_path):
    small.field().save(tmp_path)
    again = PerceptionField.load(tmp_path)
    with pytest.raises(BadInput, match="reference views: none given"):
        again.render(HERE, 0.0)
    with pytest.raises(BadInput, match="reference views: expected at least 3, got 2"):
        again.look_at(small.views(2))


def test_files_that_are_no_such_field_are_refused(tmp_path):
    small.field().save(tmp_path)
    path = tmp_path / "field.safetensors"
    tensors, header = read_tensors(path)
    for changed, line in (
        ({"kind": "flow"}, "kind: expected perception, got 'flow'"),
        ({"format": "99"}, "format: 99 is newer than this version reads"),
        ({"label_names": '["a", "b"]'}, "size mismatch"),
        ({"config": "{}{"}, "header"),
    ):
        write_tensors(path, tensors, header | changed)
        with pytest.raises(BadInput, match=line):
            PerceptionField.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"head": "none"}, "'head': expected one of unet, fpn, pixel, got 'none'"),
        ({"width": 12}, "'width'"), ({"widths": "4,4"}, "'widths': expected 4 positive numbers"),
        ({"blocks": "a"}, "'blocks': expected tuple"), ({"coarse": 0}, "'coarse': expected at least 1, got 0"),
        ({"window": -1.0}, "'window': expected at least 0, got -1"),
    ],
)  # fmt: skip
def test_settings_that_make_no_network_are_refused(changes, line):
    with pytest.raises(BadInput, match=line):
        small.field(**changes)


def test_an_unknown_channel_is_refused():
    with pytest.raises(BadInput, match="channel 'smell': expected color, depth"):
        looking().render(HERE, 0.0, ("smell",))
    with pytest.raises(BadInput, match="no instances"):
        looking().render(HERE, 0.0, ("instances",))


def test_a_trained_field_goes_on_with_an_instance_head():
    field = looking()
    again = adapted(field, field.config.replaced(instances=5, iterations=7)).eval().look_at(small.views())
    assert torch.equal(field.render(HERE, 0.0, ("logits",)).logits, again.render(HERE, 0.0, ("logits",)).logits)
    assert again.render(HERE, 0.0, ("instances",)).instances.shape[-1] == 5
    bare = adapted(again, again.config.replaced(instances=0))
    assert bare.instance_head is None
    for (name, a), b in zip(field.named_parameters(), bare.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(
    "changes", [{"views": 2}, {"views": 4}, {"coarse": 9, "importance": 0}, {"precision": "bfloat16"}, {"rays": 9}]
)
def test_a_trained_field_goes_on_with_other_settings(changes):
    field = looking()
    again = adapted(field, field.config.replaced(**changes))
    for (name, a), b in zip(field.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b), name
    again.eval().look_at(small.views())
    assert again.render(HERE, 0.0, ("color", "logits")).logits.isfinite().all()
    trainer = PerceptionTrainer(again, [small.targets()])
    while not trainer.finished:
        assert trainer.step()["loss"] > 0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"width": 4}, "'width': expected 8, as the run's networks have, got 4"), ({"depth": 1}, "'depth'"),
        ({"heads": 4}, "'heads'"), ({"head": "fpn", "instances": 3}, "'head': expected 'unet'"),
        ({"octaves": 3}, "'octaves'"), ({"rendering": "attention"}, "'rendering'"),
        ({"widths": (4, 4, 6, 9)}, "'widths'"), ({"head_width": 7}, "'head_width'"),
        ({"ratio": 3}, "'ratio'"), ({"concatenate": True}, "'concatenate'"),
    ],
)  # fmt: skip
def test_settings_of_other_networks_are_refused(changes, line):
    field = looking()
    with pytest.raises(BadInput, match=line):
        adapted(field, field.config.replaced(**changes))


def test_whatever_changes_a_network_is_refused_by_name():
    """No setting that changes the names or shapes of tensors may pass as one that does not."""
    field = looking(head="pixel")  # the one that any other setting goes with
    shapes = {name: value.shape for name, value in field.state_dict().items() if not name.startswith("views.")}
    for setting in dataclasses.fields(field.config):
        value = getattr(field.config, setting.name)
        if setting.name in SIZES or setting.name == "instances" or isinstance(value, str):
            continue
        other = not value if isinstance(value, bool) else value + 1
        made = adapted(field, field.config.replaced(**{setting.name: other}))
        assert {name: value.shape for name, value in made.state_dict().items()} == shapes, setting.name


def test_pictures_that_no_other_overlaps_are_found():
    assert small.views().alone(3, 2.0) == []
    seen = [*small.cameras(4), Camera.look_at((0, -3, 0), (0, -9, 0), small.WIDTH, small.HEIGHT)]
    for near in (1.0, 5.0):
        matrices = torch.stack([c.viewmat for c in seen]), torch.stack([c.K for c in seen])
        views = Views(small.views().images, *matrices, near, 6.0)
        assert views.alone(2, 2.0) == [4]
        for k, camera in enumerate(seen):  # as rendering finds it
            others = torch.tensor([j for j in range(5) if j != k])
            field = small.field(views=4).eval()
            field.look_at(Views(views.images[others], views.viewmats[others], views.Ks[others], near, 6.0))
            if k == 4:
                with pytest.raises(BadInput, match="sees nothing"):
                    field.render(camera, 0.0)
            else:
                field.render(camera, 0.0)


@pytest.mark.parametrize("changes", ABLATIONS.values(), ids=ABLATIONS)
def test_every_ablation_trains_and_renders(changes):
    field = small.field(**changes)
    trainer = PerceptionTrainer(field, [small.targets()])
    while not trainer.finished:
        assert trainer.step()["loss"] > 0
    assert field.eval().look_at(small.views()).render(HERE, 0.0, ("color", "logits")).logits.isfinite().all()


def test_presets_are_found_by_name():
    assert all(preset(name).preset == name for name in PRESETS)
    assert PRESETS["tiny"].iterations < PRESETS["fast"].iterations < PRESETS["paper"].iterations == 200_000
    with pytest.raises(BadInput, match="tiny, fast, paper"):
        preset("huge")
