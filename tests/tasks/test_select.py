"""Selecting by click, text and mask; combining; what a selection file may and may not be."""

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from semaflow.scenes import BadInput
from semaflow.tasks import __main__ as command_line
from semaflow.tasks.likeness import Likeness
from semaflow.tasks.masks import object_mask, write_mask
from semaflow.tasks.queries import mask_share, patch_feature
from semaflow.tasks.run import Run
from semaflow.tasks.select import by_mask, select
from semaflow.tasks.selection import Selection, combine
from semaflow.tasks.targets import targets

from tests.tasks.doubles import BLUE, FLOOR, RED, BallsField, BallsRun


@pytest.fixture(scope="module")
def field():
    return BallsField()


@pytest.fixture
def run(field, tmp_path):
    return BallsRun(tmp_path, field)


def on(run, body: int) -> tuple[float, float]:
    """A pixel well inside a ball in the first frame."""
    target = targets(run.scene)[body - RED]
    return target.click(run.scene.split("train"))[1]


def overlap(selection: Selection, field, body: int) -> float:
    true = field.body == body
    return ((selection.selected & true).sum() / (selection.selected | true).sum()).item()


@pytest.mark.parametrize("pick", ["gaussian", "patch"])
@pytest.mark.parametrize("grain", ["whole", "part"])
def test_click_selects_the_ball_and_nothing_else(run, field, pick, grain):
    chosen = select(run, "red", click=on(run, RED), pick=pick, grain=grain)
    assert overlap(chosen, field, RED) > 0.9
    assert run.objects() == ["red"]


@pytest.mark.parametrize("pixel", [(17.5, 25.5), (32.0, 20.9), (0.2, 47.9)])
def test_patch_feature_weighs_gaussians_by_the_square_of_what_they_show(field, run, pixel):
    frame = run.scene.frames[0]
    state = field.at(0.0)
    whole = state.render(frame.camera, channels=(), values=torch.eye(field.count)).values
    x, y = int(pixel[0]), int(pixel[1])
    weight = whole[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].sum((0, 1)).square()
    expected = weight @ field.features / weight.sum()
    found = patch_feature(field, state, frame.camera, pixel)
    # Not bit for bit: a Gaussian's outline is linearised at most a little outside the picture.
    assert torch.nn.functional.cosine_similarity(found, expected, dim=0) > 0.9999


def test_click_on_another_frame_selects_the_same(run, field):
    frame = run.scene.split("train")[4]
    pixel = targets(run.scene)[0].click([frame])[1]
    assert overlap(select(run, "red", frame=4, click=pixel), field, RED) > 0.9


def test_higher_threshold_selects_a_subset(run):
    low = select(run, "red", click=on(run, RED), threshold=0.3)
    high = low.cut(low.scores[low.selected].median().item())
    assert high.selected.sum() < low.selected.sum()
    assert not (high.selected & ~low.selected).any()


def test_text_selects_by_contrast_with_negatives(run, field):
    chosen = select(run, "ball", text=["a red ball"])
    assert overlap(chosen, field, RED) > 0.9
    both = select(run, "balls", text=["red", "blue"])
    assert overlap(both, field, RED) + overlap(both, field, BLUE) > 0.9
    assert not both.selected[field.body == FLOOR].any()


def test_text_without_a_text_tower_is_bad_input(run, monkeypatch):
    def text(prompts):
        raise BadInput("teacher x has no text tower")

    monkeypatch.setattr(run.teacher(), "text", text)
    with pytest.raises(BadInput, match="no text tower"):
        select(run, "ball", text=["red"])


def test_mask_selects_the_far_side_too(run, field, tmp_path):
    frame = run.scene.frames[2]
    mask = frame.instance == BLUE
    write_mask(tmp_path / "mask.png", mask)
    chosen = select(run, "blue", pixels=tmp_path / "mask.png", frame=2)
    assert overlap(chosen, field, BLUE) > 0.9


def test_mask_of_a_moving_thing_leaves_out_what_rests_and_looks_alike(tmp_path):
    field = BallsField()
    field.features = field.features.clone()
    field.features[field.body == BLUE] = field.features[field.body == RED]
    run = BallsRun(tmp_path, field)
    for name, body in (("red", RED), ("blue", BLUE)):
        write_mask(tmp_path / "mask.png", run.scene.frames[2].instance == body)
        chosen = select(run, name, pixels=tmp_path / "mask.png", frame=2)
        assert overlap(chosen, field, body) > 0.9


def test_what_all_features_have_in_common_says_nothing():
    generator = torch.Generator().manual_seed(0)
    common = 20 * torch.randn(8, generator=generator)
    own = torch.nn.functional.one_hot(torch.arange(60) % 3, 8).float()
    likeness = Likeness(torch.cat([own + common, torch.zeros(2, 8)]))
    query = own[0] + common
    assert (likeness.cosine(query)[:60] > 0.9).all()
    centred = likeness.centred(query)
    assert (centred[0:60:3] > 0.99).all() and (centred[1:60:3] < 0).all() and (centred[60:] == -1).all()


def test_mask_without_semantics_selects_what_the_frame_shows(tmp_path):
    field = BallsField(semantic=False)
    run = BallsRun(tmp_path, field)
    frame = run.scene.frames[2]
    write_mask(tmp_path / "mask.png", frame.instance == BLUE)
    chosen = select(run, "blue", pixels=tmp_path / "mask.png", frame=2)
    share, weight = mask_share(field, [(frame.camera, frame.time, frame.instance == BLUE)])
    assert 0 < chosen.selected.sum() < (field.body == BLUE).sum()
    assert not chosen.selected[field.body != BLUE].any()
    assert (share[chosen.selected] > 0.5).all() and (weight[chosen.selected] > 0.1).all()
    drawn = object_mask(field.at(frame.time), chosen.selected, frame.camera) > 0.5
    both = drawn & (frame.instance == BLUE)
    assert both.sum() > 0.9 * (frame.instance == BLUE).sum()


def test_mask_of_a_place_where_the_field_shows_nothing(run, tmp_path):
    mask = torch.zeros(48, 64, dtype=torch.bool)
    mask[:3] = True
    write_mask(tmp_path / "sky.png", mask)
    with pytest.raises(BadInput, match="mask: the field shows nothing"):
        select(run, "sky", pixels=tmp_path / "sky.png")
    assert run.objects() == []


def test_share_is_the_mask_itself_for_whole_and_empty_pictures(run, field):
    frame = run.scene.frames[0]
    whole = torch.ones(frame.camera.height, frame.camera.width, dtype=torch.bool)
    share, weight = mask_share(field, [(frame.camera, frame.time, whole)])
    assert torch.allclose(share[weight > 1e-6], torch.ones(()), atol=1e-4)


def test_click_becomes_a_mask_with_a_teacher_that_can(field, tmp_path):
    run = BallsRun(tmp_path, field, can_mask=True)
    assert overlap(select(run, "blue", click=on(run, BLUE)), field, BLUE) > 0.9
    assert "mask" in run.object("blue").how
    plain = select(run, "blue", click=on(run, BLUE), refine=False)
    assert "mask" not in plain.how


def test_combining_objects(run, field):
    red = select(run, "red", click=on(run, RED))
    select(run, "blue", click=on(run, BLUE))
    balls = select(run, "balls", either=["red", "blue"])
    assert torch.equal(balls.selected, red.selected | run.object("blue").selected)
    again = select(run, "again", either=["balls"], minus=["blue"])
    assert torch.equal(again.selected, red.selected & ~run.object("blue").selected)
    both = select(run, "both", both=["balls", "red"])
    assert torch.equal(both.selected, red.selected)
    assert torch.equal(balls.scores >= balls.threshold, balls.selected)
    with pytest.raises(BadInput, match="selection is empty"):
        select(run, "none", both=["red", "blue"], minus=["red"])
    with pytest.raises(BadInput, match="nothing to start from"):
        combine("x", None, minus=[red])


def test_file_round_trip(run, tmp_path):
    chosen = select(run, "red ball", click=on(run, RED))
    loaded = run.object("red ball")
    assert torch.equal(loaded.selected, chosen.selected)
    assert torch.equal(loaded.scores, chosen.scores)
    assert torch.equal(loaded.query, chosen.query)
    assert (loaded.name, loaded.threshold, loaded.how) == (
        "red ball",
        chosen.threshold,
        chosen.how,
    )
    assert loaded.frame is None and loaded.pixels is None


def test_what_was_pointed_at_is_kept_with_the_selection_it_made_and_no_other(run):
    frame = run.scene.split("train")[1]
    chosen = by_mask(run.field, frame, frame.instance == RED, "pointed")
    run.save_object(chosen)
    loaded = run.object("pointed")
    assert loaded.frame == frame.name and torch.equal(loaded.pixels, frame.instance == RED)
    select(run, "blue", click=on(run, BLUE))
    at_another_cut = by_mask(run.field, frame, frame.instance == RED, "more", threshold=-0.1)
    for other in (loaded.cut(-0.1), at_another_cut, select(run, "less", either=["pointed"], minus=["blue"])):
        assert other.frame is None and other.pixels is None


def test_files_that_are_not_this_fields_selection(run, tmp_path):
    select(run, "red", click=on(run, RED))
    path = tmp_path / "objects" / "red.safetensors"
    with pytest.raises(BadInput, match=r"selected: expected torch.bool \(99,\), got .*761"):
        Selection.load(path, 99)
    tensors = load_file(path)
    header = {"format": "2", "kind": "selection", "name": "red", "how": "", "threshold": "0"}
    save_file(tensors, path, metadata=header)
    with pytest.raises(BadInput, match="format: 2 is newer"):
        run.object("red")
    save_file(tensors, path, metadata=header | {"format": "1", "threshold": "high"})
    with pytest.raises(BadInput, match="threshold unusable"):
        run.object("red")
    save_file(tensors | {"pixels": torch.zeros(4, 4)}, path, metadata=header | {"format": "1"})
    with pytest.raises(BadInput, match=r"pixels: expected torch.bool \(H, W\), got torch.float32 \(4, 4\)"):
        run.object("red")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadInput, match="corrupt"):
        run.object("red")


def test_a_failed_selection_leaves_the_saved_one_alone(run):
    before = select(run, "red", click=on(run, RED))
    with pytest.raises(BadInput, match="selection is empty: .* highest is"):
        select(run, "red", click=on(run, RED), threshold=1.5)
    assert torch.equal(run.object("red").selected, before.selected)


BAD = [
    (["--click", "70,5"], "click: (70, 5) is outside the image, expected 0 <= x < 64"),
    (["--click=-1,5"], "outside the image"),
    (["--click", "5,5", "--frame", "5"], "frame: expected 0 to 4, got 5"),
    (["--click", "5,5", "--frame=-1"], "frame: expected 0 to 4, got -1"),
    (["--pixels", "empty.png"], "empty.png: the mask is empty"),
    (["--pixels", "small.png"], "small.png: mask is 10x10, expected 64x48"),
    (["--pixels", "missing.png"], "missing.png: no such file"),
    (["--pixels", "broken.png"], "broken.png: not a readable picture"),
    (["--click", "20,20", "--minus", "ghost"], "no such object 'ghost'; there are: red"),
    (["--click", "20,20", "--threshold", "2"], "selection is empty"),
    (["--text", " "], "text: expected words"),
    ([], "nothing to start from"),
]


@pytest.mark.parametrize("arguments, message", BAD, ids=[" ".join(a) or "nothing" for a, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(run, tmp_path, monkeypatch, capsys, arguments, message):
    select(run, "red", click=on(run, RED))
    Image.new("L", (64, 48)).save(tmp_path / "empty.png")
    Image.new("L", (10, 10), 255).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Run, "open", lambda folder: run)
    code = command_line.main(["select", str(tmp_path), "--name", "new", *arguments])
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert run.objects() == ["red"]


@pytest.mark.parametrize("name", ["", "../red", "a/b", " red", "red.", "x" * 65])
def test_names_that_cannot_name_a_file(run, name):
    with pytest.raises(BadInput, match="name: expected letters"):
        select(run, name, click=(20.0, 20.0))


def test_click_where_nothing_is(run, field):
    frame = run.scene.frames[0]
    row, column = (frame.instance < 0).nonzero()[0].tolist()
    for pick in ("gaussian", "patch"):
        with pytest.raises(BadInput, match="shows nothing"):
            select(run, "sky", click=(column + 0.5, row + 0.5), pick=pick)


def test_click_on_the_command_line(run, field, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Run, "open", lambda folder: run)
    x, y = on(run, BLUE)
    arguments = ["select", str(tmp_path), "--name", "blue", "--click", f"{x},{y}"]
    assert command_line.main(arguments) == 0
    assert "of 761 Gaussians" in capsys.readouterr().out
    assert overlap(run.object("blue"), field, BLUE) > 0.9
