"""Edits of a flow field made by hand, whose ball, cube and wall are where they are known to be."""

import json

import pytest
import torch
from scipy import ndimage
from semaflow.fields.edit import Copy, Edit, repainted
from semaflow.fields.flow import locate
from semaflow.fields.flow.editing import Editing
from semaflow.scenes import BadInput

from tests.reference import flow_clips, flow_worlds
from tests.reference.flow_worlds import BALL, COLORS, CUBE, CUBE_AT, WALL, ball_at

CHANNELS = ("color", "depth", "logits")
CAMERA = flow_worlds.camera()
OFFSET = (-0.2, 0.3, -0.7)
LUMA = torch.tensor([0.2126, 0.7152, 0.0722])


@pytest.fixture(scope="module")
def field():
    return flow_worlds.field()


@pytest.fixture(scope="module")
def before(field):
    field.edit = None
    return {time: field.render(CAMERA, time, CHANNELS) for time in (0.0, 0.5, 1.0)}


@pytest.fixture
def edited(field):
    """``edited(edit, time) -> Rendering``, of the first video unless ``clip`` says otherwise."""
    def render(edit: Edit, time: float = 0.5, clip: str = "first", channels=CHANNELS):
        field.edit = Editing(field, edit)
        return field.of(clip).render(CAMERA, time, channels)

    yield render
    field.edit = None
    field.of("first")


def middle(labels, what=BALL):
    """Mean pixel (x, y) of a class."""
    rows, columns = (labels == what).nonzero().T.float()
    return torch.stack([columns.mean(), rows.mean()]) + 0.5


def projected(point):
    return CAMERA.project(point[None])[0][0]


def test_where_a_moving_thing_is_removed_what_stands_behind_is_seen(edited, before):
    old, new = before[0.5], edited(Edit(removed=("ball",)))
    was, cube = old.labels == BALL, old.labels == CUBE
    assert was.sum() > 200
    assert (new.labels[was] == WALL).all()
    assert torch.allclose(new.color[was], COLORS[0][WALL].expand_as(new.color[was]), atol=1e-3)
    assert (new.depth[was] > old.depth[was] + 0.5).all()
    assert torch.equal(new.labels[cube], old.labels[cube])
    assert torch.allclose(new.color[~was], old.color[~was], atol=0.02)


class Rimmed(flow_worlds.Network):
    """Shows a dark rim around the far half of the ball, which it takes for the wall."""

    def radiate(self, code, features=None, noise=0.0):
        center = ball_at(float(code[0, 3])) if len(code) else torch.zeros(3)
        wide = torch.cat([center + (code[:, :3] - center) / 1.3, code[:, 3:]], -1)
        rim = (code[:, 1] > center[1]) & flow_worlds._in_ball(wide) & ~flow_worlds._in_ball(code)
        shown = super().radiate(code)[1]
        return code, shown._replace(
            color=torch.where(rim[:, None], 0.05, shown.color), blend=torch.where(rim, 1.0, shown.blend),
            density=torch.where(rim, flow_worlds.DENSE, shown.density),
        )


def test_the_rim_of_a_moving_thing_is_removed_with_it():
    rimmed = flow_worlds.field()
    rimmed.dynamic.__class__ = Rimmed
    old = rimmed.render(CAMERA, 0.5, CHANNELS)
    was = (old.color.amax(-1) < 0.1) & (old.labels == WALL)
    assert was.sum() > 100
    rimmed.edit = Editing(rimmed, Edit(removed=("ball",)))
    new = rimmed.render(CAMERA, 0.5, CHANNELS)
    assert torch.allclose(new.color[was], COLORS[0][WALL].expand_as(new.color[was]), atol=1e-3)
    assert torch.equal(new.labels == CUBE, old.labels == CUBE)


def test_a_thing_that_rests_is_removed_from_the_static_branch(edited, before):
    old, new = before[0.5], edited(Edit(removed=("cube",)))
    was = old.labels == CUBE
    assert was.sum() > 100
    assert (new.labels[was] == WALL).all()
    assert torch.allclose(new.color[was], COLORS[0][WALL].expand_as(new.color[was]), atol=1e-3)
    assert torch.equal(new.labels == BALL, old.labels == BALL)


@pytest.mark.parametrize("time", [0.0, 0.5, 1.0])
def test_a_moved_thing_is_where_it_was_put_and_nowhere_else(edited, before, time):
    new = edited(Edit().changed("ball", offset=OFFSET), time)
    there = projected(ball_at(time) + torch.tensor(OFFSET))
    assert (middle(new.labels) - there).norm() < 0.7
    assert ndimage.label((new.labels == BALL).numpy())[1] == 1
    away = (middle(before[time].labels) - there).norm()
    assert away > 5  # or else this test says nothing
    x, y = middle(before[time].labels).long().tolist()
    assert new.labels[y, x] == WALL
    assert torch.allclose(new.color[y, x], COLORS[0][WALL], atol=1e-3)


def test_a_moved_thing_that_rests_is_where_it_was_put(edited):
    new = edited(Edit().changed("cube", offset=(-1.5, 0.0, 0.1)))
    assert (middle(new.labels, CUBE) - projected(CUBE_AT + torch.tensor([-1.5, -0.1, 0.1]))).norm() < 1.5


@pytest.mark.parametrize(("name", "what"), [("ball", BALL), ("cube", CUBE)])
def test_a_thing_is_seen_twice(edited, before, name, what):
    offset = (-0.3, 0.0, -0.9) if name == "ball" else (-1.8, 0.0, 0.0)
    new = edited(Edit().repeated(name, offset=offset))
    parts, count = ndimage.label((new.labels == what).numpy())
    assert count == 2
    was = before[0.5].labels == what
    assert (new.labels[was] == what).all()
    sizes = [(parts == k).sum() for k in (1, 2)]
    assert max(sizes) < 1.25 * min(sizes)


def test_a_thing_keeps_its_brightness_in_another_color(edited, before):
    blue = (0.1, 0.2, 0.9)
    old, new = before[0.5], edited(Edit().recolored("ball", blue).repeated("ball", offset=(0, 0, -0.9)))
    was, now = old.labels == BALL, new.labels == BALL
    assert now.sum() > 1.5 * was.sum()  # the copy too
    core = torch.from_numpy(ndimage.binary_erosion(now.numpy()))
    luma = (COLORS[0][BALL] * LUMA).sum()
    assert torch.allclose((new.color[core] * LUMA).sum(-1), luma.expand(int(core.sum())), atol=1e-3)
    assert (new.color[core].argmax(-1) == 2).all()
    assert (old.color[was].argmax(-1) == 0).all()
    rest = ~torch.from_numpy(ndimage.binary_dilation((was | now).numpy()))
    assert torch.equal(new.color[rest], old.color[rest])


def test_repainting_keeps_luma_and_takes_the_hue():
    generator = torch.Generator().manual_seed(0)
    colors = torch.rand(200, 3, generator=generator)
    for wanted in ((0.9, 0.1, 0.2), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)):
        made = repainted(colors, wanted)
        assert made.min() >= -1e-6 and made.max() <= 1 + 1e-6
        assert torch.allclose((made * LUMA).sum(-1), (colors * LUMA).sum(-1), atol=1e-6)
        chroma, target = made - (made * LUMA).sum(-1, keepdim=True), torch.tensor(wanted)
        target = target - (target * LUMA).sum()
        along = torch.nn.functional.cosine_similarity(chroma, target.expand_as(chroma), dim=-1)
        if target.norm() > 1e-3:
            assert along.min() > 0.999
        else:
            assert chroma.abs().max() < 1e-5


def test_a_thing_of_another_video_is_inserted(edited, before):
    offset = (0.9, 0.0, 0.1)
    for time in (0.0, 1.0):
        new = edited(Edit().inserted("ball", "second", offset=offset), time)
        there = projected(ball_at(time, 1) + torch.tensor(offset))
        x, y = there.long().tolist()
        assert new.labels[y, x] == BALL
        assert torch.allclose(new.color[y, x], COLORS[1][BALL], atol=1e-3)
        own = middle(before[time].labels).long().tolist()
        assert torch.allclose(new.color[own[1], own[0]], COLORS[0][BALL], atol=1e-3)


def test_the_static_field_of_another_video_stands_in(edited, before):
    old, new = before[0.5], edited(Edit(background="second"))
    assert torch.equal(new.labels, old.labels)
    core = torch.from_numpy(ndimage.binary_erosion((old.labels == BALL).numpy()))
    assert torch.allclose(new.color[core], COLORS[0][BALL].expand_as(new.color[core]), atol=1e-3)
    for what in (WALL, CUBE):
        core = torch.from_numpy(ndimage.binary_erosion((old.labels == what).numpy(), border_value=1))
        assert torch.allclose(new.color[core], COLORS[1][what].expand_as(new.color[core]), atol=1e-3)


def test_a_frozen_thing_stays_and_a_retimed_one_is_early(edited):
    for time in (0.0, 1.0):
        assert (middle(edited(Edit().changed("ball", time=0.25), time).labels) - projected(ball_at(0.25))).norm() < 0.7
    fast, back = Edit().changed("ball", speed=2.0), Edit().changed("ball", speed=-1.0)
    assert (middle(edited(fast, 0.5).labels) - projected(ball_at(1.0))).norm() < 0.7
    assert (middle(edited(fast, 1.0).labels) - projected(ball_at(1.0))).norm() < 0.7
    assert (middle(edited(back, 0.25).labels) - projected(ball_at(0.75))).norm() < 0.7


def test_scaling_changes_how_much_is_covered(edited, before):
    small = edited(Edit().changed("ball", scale=0.6))
    ratio = (small.labels == BALL).sum() / (before[0.5].labels == BALL).sum()
    assert float(ratio) == pytest.approx(0.36, abs=0.05)
    assert (middle(small.labels) - middle(before[0.5].labels)).norm() < 1.0


@pytest.mark.parametrize("turn", [45.0, 90.0, -20.0])
def test_a_turned_thing_shows_its_corners(edited, turn):
    corners = CUBE_AT + flow_worlds.HALF * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    copy = Copy(("cube",), turn=turn, about=((0.0, *CUBE_AT.tolist()),))
    seen = (edited(Edit(removed=("cube",), copies=(copy,))).labels == CUBE).nonzero()
    angle = torch.tensor(turn).deg2rad()
    away = corners - CUBE_AT
    east = angle.cos() * away[:, 0] - angle.sin() * away[:, 1]
    north = angle.sin() * away[:, 0] + angle.cos() * away[:, 1]
    pixels = CAMERA.project(CUBE_AT + torch.stack([east, north, away[:, 2]], -1))[0]
    for axis in (0, 1):  # rows are y
        found = seen[:, 1 - axis].float()
        assert float(found.min()) == pytest.approx(float(pixels[:, axis].min()), abs=1.2)
        assert float(found.max()) + 1 == pytest.approx(float(pixels[:, axis].max()), abs=1.2)


def test_a_mirrored_thing_moves_the_other_way(edited):
    """About a fixed place, so that its path is mirrored with it."""
    copy = Copy(("ball",), mirror="x", about=((0.0, 0.2, 0.0, 0.0),))
    edit = Edit(removed=("ball",), copies=(copy,))
    for time in (0.0, 1.0):
        there = ball_at(time) * torch.tensor([-1.0, 1.0, 1.0]) + torch.tensor([0.4, 0.0, 0.0])
        assert (middle(edited(edit, time).labels) - projected(there)).norm() < 0.7


def test_edits_add_up(edited, field):
    twice = Edit().changed("ball", offset=(0.5, 0.0, 0.0)).changed("ball", offset=(0.0, 0.0, -0.5), scale=0.5)
    assert len(twice.copies) == 1
    there = projected(ball_at(0.5) + torch.tensor([0.5, 0.0, -0.5]))
    assert (middle(edited(twice).labels) - there).norm() < 1.5
    assert not (edited(twice.repeated("ball", offset=(0.5, 0, 0)).without("ball")).labels == BALL).any()


def test_places_that_are_asked_again_lie_on_what_is_there_after_the_edit(before):
    few = flow_worlds.field(samples=12)
    few.config = few.config.replaced(proposals=64)
    few.edit = Editing(few, Edit().changed("ball", offset=OFFSET))
    new = few.render(CAMERA, 0.5, CHANNELS)
    assert float((new.labels == BALL).sum() / (before[0.5].labels == BALL).sum()) == pytest.approx(0.85, abs=0.12)
    was = (before[0.5].labels == BALL) & (new.labels == WALL)
    assert was.sum() > 100
    assert torch.allclose(new.color[was], COLORS[0][WALL].expand_as(new.color[was]), atol=0.02)


def test_nothing_changed_is_the_field_itself():
    plain = flow_clips.field(flow_share=1.0)
    camera = plain.clip.camera(1)
    one = plain.render(camera, 0.3, CHANNELS)
    plain.edit = Editing(plain, Edit())
    other = plain.render(camera, 0.3, CHANNELS)
    for channel in CHANNELS:
        assert torch.equal(getattr(one, channel), getattr(other, channel)), channel


def test_a_copy_in_its_own_place_is_the_thing_itself(edited, before):
    new = edited(Edit().changed("ball").changed("cube"))
    assert (new.labels == before[0.5].labels).float().mean() > 0.98
    assert (new.color - before[0.5].color).abs().mean() < 0.01


def test_another_video_of_the_field_is_left_alone(edited, field):
    field.edit = None
    old = field.of("second").render(CAMERA, 0.5)
    assert torch.equal(edited(Edit(removed=("ball",)), clip="second", channels=("color",)).color, old.color)


def test_trajectories_of_what_was_moved_and_of_what_took_its_place(field, edited):
    edited(Edit().changed("ball", offset=OFFSET, speed=0.5))
    offset, times = torch.tensor(OFFSET), torch.tensor([1.0, 0.0, 0.4])
    points = torch.stack([ball_at(0.2) + offset, ball_at(0.4), torch.tensor([0.0, 1.5, 0.0])])
    paths = field.trajectories(points, 0.4, times)
    expected = torch.stack([ball_at(0.5 * float(time)) + offset for time in times])
    assert torch.allclose(paths[0], expected, atol=1e-4)
    assert torch.equal(paths[1:], points[1:, None].expand(-1, 3, -1))


EDIT = Edit(
    removed=("ball",), recoloured={"cube": (0.1, 0.2, 0.3)}, background="second", clip="first",
    copies=(Copy(("ball", "cube"), "second", (1, 2, 3), 0.5, 30, "z", 0.25, 2.0, ((0, 1, 2, 3), (1, 2, 3, 4)), 0.7),),
)  # fmt: skip


def test_an_edit_comes_back_from_its_file(tmp_path):
    EDIT.write(tmp_path / "edit.json", {"classes": ["a"]})
    assert Edit.read(tmp_path / "edit.json", {"classes": ["a"]}) == EDIT


@pytest.mark.parametrize(("change", "said"), [
    ({"of": {"classes": ["b"]}}, "of: expected an edit of a field of"),
    ({"format": 3}, "format: 3 is newer"),
    ({"format": None}, "format: expected"),
    ({"removed": "ball"}, "removed: expected a list of names"),
    ({"recoloured": {"ball": [1, 2]}}, "recoloured: expected 3 finite numbers"),
    ({"recoloured": {"ball": [1, 2, 0]}}, "color: expected three numbers in 0..1"),
    ({"shrunk": []}, "shrunk"),
    ({"copies": [{"names": ["ball"], "scale": 0}]}, "scale: expected a number above 0"),
    ({"copies": [{"names": ["ball"], "time": 2}]}, "time: expected 0 to 1"),
    ({"copies": [{"names": ["ball"], "offset": [1, 2]}]}, "offset: expected 3 finite numbers"),
    ({"copies": [{"names": ["ball"], "mirror": "w"}]}, "mirror: expected one of x, y, z"),
    ({"copies": [3]}, "edit.json"),
    ({"gone": [3]}, "edit.json"),
    ({"gone": [{"names": [], "reach": 1}]}, "gone: expected copies of one name each"),
    ({"gone": [{"names": ["ball"]}]}, "gone: expected copies of one name each, with their reach"),
    ({"moving": "ball"}, "moving: expected a list of names"),
])  # fmt: skip
def test_a_damaged_edit_is_one_line(tmp_path, change, said):
    path = tmp_path / "edit.json"
    EDIT.write(path, {"classes": ["a"]})
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadInput, match="edit.json") as error:
        Edit.read(path, {"classes": ["a"]})
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("edit", "said"), [
    (Edit(removed=("dog",)), "object 'dog': expected one of wall, cube, ball"),
    (Edit(background="third"), "clip 'third': expected one of first, second"),
    (Edit().inserted("ball", "third"), "clip 'third': expected one of first, second"),
])  # fmt: skip
def test_what_the_field_does_not_know_is_named(field, edit, said):
    with pytest.raises(BadInput) as error:
        Editing(field, edit)
    assert str(error.value) == said


def test_what_was_found_in_the_field_is_kept_with_the_edit(field, tmp_path, monkeypatch):
    """What moves, and where a removed thing was, is not looked for at every opening."""
    first = Editing(field, Edit(removed=("ball", "cube")))
    assert first.edit.moving == ("ball",) and [copy.names for copy in first.edit.gone] == [("ball",)]
    first.edit.write(tmp_path / "edit.json", {})
    monkeypatch.setattr(locate, "_traced", None)
    again = Editing(field, Edit.read(tmp_path / "edit.json", {}))
    assert again.edit == first.edit and again.gone == first.gone and torch.equal(again.movers, first.movers)
    assert Editing(field, first.edit.recolored("wall", (1, 0, 0))).gone == first.gone
    monkeypatch.undo()
    written = json.loads((tmp_path / "edit.json").read_text())
    written = {name: value for name, value in written.items() if name not in ("moving", "gone")}
    (tmp_path / "old.json").write_text(json.dumps(written | {"format": 1}))  # from before they were kept
    assert Editing(field, Edit.read(tmp_path / "old.json", {})).edit == first.edit


def test_a_class_that_is_nowhere_to_be_seen_cannot_be_copied(field):
    nowhere = flow_worlds.field()
    nowhere.label_names = [*flow_worlds.NAMES, "dog"]
    with pytest.raises(BadInput, match="object dog: the field shows none of it in clip first"):
        Editing(nowhere, Edit().repeated("dog"))
