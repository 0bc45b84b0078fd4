"""Encoders: real network classes, tiny and randomly initialised, saved here and loaded like any folder."""

import json

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="needs the extra semaflow[teachers]")

from semaflow.scenes import BadInput, Camera, Frame  # noqa: E402
from semaflow.scenes.encoders import ENCODERS, common_code, encode, encoder, watch  # noqa: E402
from semaflow.scenes.encoders.resnet import on_grid  # noqa: E402
from semaflow.scenes.teachers import hub  # noqa: E402


def saved(model, folder):
    folder.mkdir(exist_ok=True)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of tiny models by kind."""
    torch.manual_seed(0)
    widths = {"embedding_size": 4, "hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1]}
    video = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 1, "patch_size": 8, "tubelet_size": 2}
    videomae = transformers.VideoMAEConfig(**video, image_size=32, num_frames=4, intermediate_size=32)
    predictor = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    vjepa2 = transformers.VJEPA2Config(**video, **predictor, crop_size=32, frames_per_clip=8)
    dinov2 = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=70, patch_size=14
    )
    made = {
        "resnet": transformers.ResNetModel(transformers.ResNetConfig(**widths, layer_type="basic")),
        "bottleneck": transformers.ResNetModel(transformers.ResNetConfig(**widths, layer_type="bottleneck")),
        "videomae": transformers.VideoMAEModel(videomae),
        "vjepa2": transformers.VJEPA2Model(vjepa2),
        "dinov2": transformers.Dinov2Model(dinov2),
    }
    root = tmp_path_factory.mktemp("models")
    return {kind: saved(model, root / kind) for kind, model in made.items()}


def frames(count=5, height=36, width=64, seed=0, **layers):
    camera = Camera.look_at((0, -3, 1), (0, 0, 0), width, height)
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, height, width, 3, generator=generator)
    return [
        Frame(f"v/{i:03d}", camera, i / count, image=image, **{name: values[i] for name, values in layers.items()})
        for i, image in enumerate(images)
    ]


KINDS = [
    ("resnet", {}, 4 + 8 + 12 + 16, (9, 16), 20),
    ("resnet", {"stages": (0, 1, 2), "pool": False}, 4 + 8 + 12, (18, 32), 20),
    ("bottleneck", {"stages": [4]}, 20, (9, 16), 20),
    ("videomae", {}, 24, (4, 4), 24),
    ("vjepa2", {}, 24, (4, 4), 24),
    ("dinov2", {"size": 56}, 16, (2, 4), 16),
]


@pytest.mark.parametrize(("kind", "options", "channels", "grid", "latent"), KINDS)
@pytest.mark.parametrize("count", [1, 11])
def test_maps_and_vector_of_a_folder_of_each_kind(models, tmp_path, kind, options, channels, grid, latent, count):
    encoding = encode(frames(count), encoder(models[kind], **options), tmp_path)
    assert encoding.maps.shape == (count, channels, *grid) and encoding.maps.dtype == torch.float16
    assert encoding.vector.shape == (latent,) and encoding.vector.dtype == torch.float32
    assert bool(encoding.seen.all()) and encoding.code is None
    assert bool(torch.isfinite(encoding.maps).all()) and bool(torch.isfinite(encoding.vector).all())
    assert encoding.maps.float().std(dim=(2, 3)).max() > 1e-3  # cells differ


def test_the_papers_widths_and_resolutions():
    """ResNet-18: 512 channels at H/4, rounded up; the stages of the video encoder: 832 at H/2."""
    made = {}
    for name, layer, hidden in (("resnet18", "basic", [64, 128, 256, 8]), ("resnet50", "bottleneck", [256, 512, 8, 8])):
        config = transformers.ResNetConfig(hidden_sizes=hidden, depths=[1, 1, 1, 1], layer_type=layer)
        made[name] = transformers.ResNetModel(config)
    for name, expected in (("resnet18", (14, 24, 512)), ("resnet50", (27, 48, 832))):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("semaflow.scenes.encoders.resnet.HubModel", lambda source, name=name: Loaded(made[name]))
            network = encoder(name).teacher
        assert network.map(torch.rand(54, 96, 3)).shape == expected and network.dim == expected[-1]


class Loaded:
    """A hub model whose network is at hand."""

    model_type = "resnet"

    def __init__(self, network):
        self.network = network.eval().requires_grad_(False)

    def load(self, *_):
        return self.network

    def normalisation(self, mean, std):
        return mean, std

    def fingerprint(self):
        return "made here"


def test_stages_are_those_of_the_network(models):
    """With the grid's own stage alone, cells at the window's middles are the network's hidden states."""
    network = encoder(models["resnet"], stages=(0, 1, 2, 3)).teacher
    image = torch.rand(36, 64, 3)
    with torch.no_grad():
        hidden = network.model(network.pixels(image), output_hidden_states=True).hidden_states
    expected = [on_grid(hidden[i], stride, (36, 64), (9, 16)) for i, stride in enumerate((4, 4, 8, 16))]
    torch.testing.assert_close(network.map(image).permute(2, 0, 1)[None], torch.cat(expected, 1))


@pytest.mark.parametrize("size", [(128, 192), (118, 189)])
def test_every_stage_lies_where_the_image_does(size):
    """What a stack of padded, strided convolutions makes of a ramp is, on the grid, the ramp again."""
    rows, columns = torch.meshgrid(*(torch.arange(side) + 0.5 for side in size), indexing="ij")
    ramp = torch.stack([rows, columns])[:, None]
    grid = tuple(-(-side // 4) for side in size)
    middles = [(torch.arange(cells) + 0.5) * side / cells for cells, side in zip(grid, size, strict=True)]
    expected = torch.stack(torch.meshgrid(*middles, indexing="ij"))
    window = torch.full((1, 1, 3, 3), 1 / 9)
    values, stride = ramp, 1
    for _ in range(4):
        values = torch.nn.functional.conv2d(values, window, stride=2, padding=1)
        stride *= 2
        got = on_grid(values.transpose(0, 1), stride, size, grid)[0]
        inside = (slice(None), slice(8, -8), slice(8, -8))  # zeros beyond the border bend the ramp there
        torch.testing.assert_close(got[inside], expected[inside], atol=0.05, rtol=0)


def test_a_clip_is_seen_as_a_whole_but_only_what_may_be_seen(models, tmp_path):
    clip = frames(6)
    changed = list(clip)
    changed[3] = frames(6, seed=1)[3]
    for kind in ("videomae", "vjepa2"):
        chosen = encoder(models[kind])
        whole, other = (encode(some, chosen, tmp_path).maps for some in (clip, changed))
        assert not torch.equal(whole[2], other[2])
        some, same = (encode(one, chosen, tmp_path, seen=[5, 0, 2]) for one in (clip, changed))
        assert torch.equal(some.maps, same.maps) and torch.equal(some.vector, same.vector)
        assert some.seen.tolist() == [True, False, True, False, False, True]
        assert not bool(some.maps[~some.seen].any()) and bool(some.maps[some.seen].flatten(1).any(1).all())


def test_order_and_length_of_a_clip(models):
    """Windows of the network's own length; the last one ends with the clip."""
    chosen = encoder(models["videomae"])  # four frames, two to a token
    images = [frame.image for frame in frames(6)]
    maps = chosen.encode(images)
    assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[1], maps[2])
    torch.testing.assert_close(maps[:2], chosen.encode(images[:4])[:2])
    torch.testing.assert_close(maps[2:], chosen.encode(images[2:]))
    assert not torch.allclose(chosen.encode(images[:4]), chosen.encode(images[:4][::-1]).flip(0), atol=1e-4)


def test_video_cells_are_their_own_rectangles(models):
    chosen = encoder(models["vjepa2"])
    chosen.model.encoder.layer = torch.nn.ModuleList()  # without layers a token is its own patch alone
    dark = torch.zeros(45, 80, 3)
    lit = dark.clone()
    lit[1 * 45 // 4 + 2 : 2 * 45 // 4 - 2, 62:78] = 1.0
    change = (chosen.encode([dark, lit]) - chosen.encode([dark, dark])).norm(dim=-1)[1]
    assert (change > 0.1 * change.max()).nonzero().tolist() == [[1, 3]]


def test_flows_to_frames_that_may_not_be_seen_are_left_out():
    flow = torch.zeros(4, 36, 64, 2)
    clip = frames(4, flow_forward=flow, flow_backward=flow)
    first, second, last = watch(clip, [0, 1, 3])
    assert first.has("flow_forward") and not first.has("flow_backward")
    assert not second.has("flow_forward") and second.has("flow_backward")
    assert not last.has("flow_forward") and not last.has("flow_backward")
    assert watch(clip)[1].has("flow_forward")


def test_the_classical_teacher_reads_no_hidden_frame(tmp_path):
    clip = frames(4)
    changed = [clip[0], clip[1], frames(4, seed=1)[2], clip[3]]
    one, other = (encode(some, encoder("classical"), tmp_path / "a", seen=[0, 1]) for some in (clip, changed))
    assert torch.equal(one.maps, other.maps)
    assert one.maps.shape == (4, 64, 9, 16) and one.vector.shape == (64,)


def test_given_maps(tmp_path):
    values = torch.rand(3, 5, 7, 6)
    encoding = encode(frames(3, features=values), encoder("given"), tmp_path)
    torch.testing.assert_close(encoding.maps, values.permute(0, 3, 1, 2).half())
    torch.testing.assert_close(encoding.vector, values.mean((0, 1, 2)))
    assert encoding.maps.permute(0, 2, 3, 1).is_contiguous()  # nothing for the lookup kernels to copy
    with pytest.raises(BadInput, match="v/000: features: the scene has none"):
        encode(frames(3), encoder("given"), tmp_path)


def test_precomputed_and_joined(models, tmp_path):
    import numpy as np

    clip = frames(2)
    np.savez(tmp_path / "maps.npz", **{frame.name: np.ones((3, 4, 2), np.float32) for frame in clip})
    assert encode(clip, encoder(tmp_path / "maps.npz"), tmp_path).maps.shape == (2, 2, 3, 4)
    joined = encode(clip, encoder(f"{models['dinov2']}+classical"), tmp_path)
    assert joined.maps.shape[:2] == (2, 16 + 64)


@pytest.mark.parametrize("kind", ["resnet", "videomae"])
def test_nothing_is_encoded_twice(models, tmp_path, kind, monkeypatch):
    clip = frames(3)
    first = encode(clip, encoder(models[kind]), tmp_path)
    again = encoder(models[kind])
    network = again.teacher.model if kind == "resnet" else again.model
    monkeypatch.setattr(network, "forward", lambda *a, **k: pytest.fail("encoded again"))
    if kind == "resnet":
        monkeypatch.setattr(again.teacher, "map", lambda image: pytest.fail("encoded again"))
    second = encode(clip, again, tmp_path)
    assert torch.equal(first.maps, second.maps) and torch.equal(first.vector, second.vector)


def test_other_options_and_another_order_are_other_maps(models, tmp_path):
    clip = frames(4)
    shapes = [
        encode(clip, encoder(models["resnet"], **options), tmp_path).maps.shape[1:]
        for options in ({}, {"size": 128}, {"pool": False}, {"stages": (1, 2)})
    ]
    assert shapes == [(40, 9, 16), (40, 18, 32), (40, 18, 32), (20, 9, 16)]
    chosen = encoder(models["videomae"])
    turned = encode(clip[::-1], chosen, tmp_path).maps.flip(0)
    assert not torch.allclose(encode(clip, chosen, tmp_path).maps, turned, atol=1e-3)


def test_equal_frames_at_two_times_keep_their_own_maps(models, tmp_path):
    clip = frames(4)
    clip[2] = clip[0].with_layers()
    encoding = encode(clip, encoder(models["videomae"]), tmp_path)
    assert not torch.equal(encoding.maps[0], encoding.maps[2])


def test_a_code_keeps_what_varies_and_has_unit_size(models, tmp_path):
    clip, chosen = frames(4), encoder(models["resnet"])
    whole = encode(clip, chosen, tmp_path)
    coded = encode(clip, chosen, tmp_path, code=12)
    assert coded.maps.shape == (4, 12, 9, 16) and torch.equal(coded.vector, whole.vector)
    assert coded.maps.float().square().mean() == pytest.approx(1.0, abs=0.02)
    flat = whole.maps.float().permute(0, 2, 3, 1).reshape(-1, 40)
    codes = coded.maps.float().permute(0, 2, 3, 1).reshape(-1, 12)
    # The best linear reconstruction from the codes leaves what the twelve strongest components leave.
    centred = flat - flat.mean(0)
    left = (centred - codes @ torch.linalg.lstsq(codes, centred).solution).square().sum()
    beyond = torch.linalg.svdvals(centred)[12:].square().sum()
    assert left == pytest.approx(beyond.item(), rel=0.02)


def test_a_common_code_serves_several_clips(models, tmp_path):
    chosen = encoder(models["resnet"])
    one, other = frames(3), frames(4, seed=1)
    code = common_code([one, watch(other, [0, 1])], chosen, tmp_path, 6)
    first, second = encode(one, chosen, tmp_path, code=code), encode(other, chosen, tmp_path, code=code)
    assert first.code is code is second.code
    mixed = encode([one[0], other[0], one[2]], chosen, tmp_path, code=code)
    assert torch.equal(mixed.maps, torch.stack([first.maps[0], second.maps[0], first.maps[2]]))
    with pytest.raises(BadInput, match="code: expected features of 40 channels, got 24"):
        encode(one, encoder(models["vjepa2"]), tmp_path, code=code)


def test_a_code_is_made_of_seen_frames_alone(models, tmp_path):
    clip = frames(4)
    bright = [*clip[:3], clip[3].with_layers(image=torch.ones(36, 64, 3))]
    chosen = encoder(models["resnet"])
    one, other = (encode(some, chosen, tmp_path, seen=[0, 1, 2], code=5) for some in (clip, bright))
    assert torch.equal(one.maps, other.maps)


@pytest.mark.parametrize("seen", [[], [4], [-1], [1, 1]])
def test_frames_to_see_must_be_there(seen):
    with pytest.raises(BadInput, match="seen: expected different positions among 4 frames"):
        watch(frames(4), seen)


def test_maps_of_different_sizes_are_refused(tmp_path):
    values = [torch.rand(5, 7, 6), torch.rand(5, 8, 6)]
    with pytest.raises(BadInput, match=r"v/001: scene map \[5, 8\], expected \[5, 7\]"):
        encode(frames(2, features=values), encoder("given"), tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("resnet19", {}, "encoder 'resnet19': expected one of resnet18, resnet50, videomae, vjepa2, given, dinov2"),
        ("./nowhere/model", {}, "an existing file or folder, or a hub id"),
        ("classical", {"colour": 1}, "teacher classical: got an unexpected keyword argument 'colour'"),
        ("given", {"weights": "x"}, "takes no arguments"),
    ],
)
def test_unknown_names_and_options(name, options, complaint):
    with pytest.raises(BadInput, match=complaint) as caught:
        encoder(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "options", "complaint"),
    [
        ("resnet", {"stage": 1}, "unexpected keyword argument 'stage'"),
        ("resnet", {"stages": (0, 5)}, r"option stages: expected different ones of 0..4, got \(0, 5\)"),
        ("resnet", {"stages": ()}, "option stages"),
        ("resnet", {"size": 9}, "option size: expected 32..8192 pixels, got 9"),
        ("videomae", {"size": 64}, "unexpected keyword argument 'size'"),
    ],
)
def test_bad_options_of_hub_models(models, kind, options, complaint):
    with pytest.raises(BadInput, match=complaint):
        encoder(models[kind], **options)


def test_weights_that_cannot_be_had_name_the_ways_on(monkeypatch):
    monkeypatch.setattr(hub, "_hub_answers", lambda: False)
    for name in [*set(ENCODERS) - {"given"}, "dinov2", "some-organisation/some-model"]:
        with pytest.raises(BadInput) as caught:
            encoder(name)
        message = str(caught.value)
        assert "\n" not in message
        for way in ("local folder", "download", "precomputed maps", "classical"):
            assert way in message


def test_folders_that_are_no_models(models, tmp_path):
    with pytest.raises(BadInput, match="neither config.json of a hub model nor maps by frame name"):
        encoder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((models["resnet"] / "model.safetensors").read_bytes())
    with pytest.raises(BadInput, match="neither config.json"):
        encoder(tmp_path)
    with pytest.raises(BadInput, match="config.json: no such file"):
        encoder("resnet18", weights=tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(BadInput, match="model_type 'bert', expected one of resnet, videomae, vjepa2, dinov2"):
        encoder(tmp_path)


def test_weights_of_another_kind(models):
    with pytest.raises(BadInput, match="model type 'videomae', expected resnet"):
        encoder("resnet18", weights=models["videomae"])
    with pytest.raises(BadInput, match="model type 'resnet', expected one of videomae, vjepa2"):
        encoder("vjepa2", weights=models["resnet"])


def test_pickled_weights_are_not_read(models, tmp_path):
    (tmp_path / "config.json").write_text((models["resnet"] / "config.json").read_text())
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(BadInput, match="no .*safetensors weights beside config.json"):
        encoder(tmp_path)
