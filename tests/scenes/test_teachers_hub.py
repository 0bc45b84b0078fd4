"""Hub models, tiny and randomly initialised, saved here and loaded like any local folder."""

import json
import threading

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="needs the extra semaflow[teachers]")

from semaflow.scenes import BadInput  # noqa: E402
from semaflow.scenes.teachers import hub, teacher  # noqa: E402


def saved(model, folder, **preprocessing):
    folder.mkdir(exist_ok=True)
    model.save_pretrained(folder)
    if preprocessing:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


def dinov2(layers=0, seed=0, registers=0):
    """With no layers each token sees its own patch alone, so that location shows."""
    torch.manual_seed(seed)
    kind = "Dinov2WithRegisters" if registers else "Dinov2"
    options = {"num_register_tokens": registers} if registers else {}
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        image_size=70,
        patch_size=14,
        **options,
    )
    return getattr(transformers, f"{kind}Model")(config)


def clip(folder, layers=2):
    torch.manual_seed(0)
    common = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    letters = "abcdefghijklmnopqrstuvwxyz-"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1}
    config = transformers.CLIPConfig(
        text_config={**common, **ends, "num_hidden_layers": 1, "vocab_size": len(tokens)},
        vision_config={**common, "num_hidden_layers": layers, "patch_size": 8, "image_size": 32},
        projection_dim=12,
    )
    vocabulary = {token: index for index, token in enumerate(tokens)}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return saved(transformers.CLIPModel(config), folder)


def sam(folder):
    torch.manual_seed(0)
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"output_channels": 32, "image_size": 64, "num_pos_feats": 16, "window_size": 2}
    prompt = {"hidden_size": 32, "image_size": 64, "image_embedding_size": 4}
    decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2}
    decoder |= {"iou_head_hidden_dim": 32}
    config = transformers.SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )
    return saved(transformers.SamModel(config), folder)


def test_dinov2_folder_gives_unit_vectors_on_the_patch_grid(tmp_path):
    dino = teacher(saved(dinov2(layers=1), tmp_path / "m"), size=112)
    image = torch.rand(48, 96, 3)
    features = dino.map(image)
    assert (dino.name, dino.dim) == ("dinov2", 16)
    assert features.shape == (4, 8, 16) and features.dtype == torch.float32  # 56x112 pixels
    assert torch.allclose(features.norm(dim=-1), torch.ones(4, 8), atol=1e-5)
    assert torch.equal(features, dino.map(image))


@pytest.mark.parametrize("registers", [0, 4])
def test_each_cell_is_its_own_rectangle_of_the_image(tmp_path, registers):
    dino = teacher(saved(dinov2(registers=registers), tmp_path / "m"), size=112)
    black = torch.zeros(56, 112, 3)
    lit = black.clone()
    lit[1 * 14 : 2 * 14, 5 * 14 : 6 * 14] = 1.0
    changed = (dino.map(lit) - dino.map(black)).norm(dim=-1) > 1e-4
    assert changed.nonzero().tolist() == [[1, 5]]


def test_small_images_are_enlarged_without_shifting(tmp_path):
    dino = teacher(saved(dinov2(), tmp_path / "m"), size=112)
    black = torch.zeros(27, 54, 3)  # resized to 56x112, four by eight cells
    lit = black.clone()
    lit[14:20, 41:47] = 1.0  # inside rows 13.5..20.2 and columns 40.5..47.2: cell (2, 6)
    change = (dino.map(lit) - dino.map(black)).norm(dim=-1)
    assert divmod(change.argmax().item(), 8) == (2, 6)


def test_pixels_are_normalised_as_the_models_own_preprocessing_says(tmp_path):
    constants = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.25, 0.125]}
    for folder, settings, mean, std in (
        ("own", constants, (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)),
        ("none", {}, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ):
        dino = teacher(saved(dinov2(), tmp_path / folder, **settings), size=28)
        seen = []
        dino.model.embeddings.register_forward_pre_hook(
            lambda _, args, kwargs, seen=seen: seen.append((*args, *kwargs.values())[0]),
            with_kwargs=True,
        )
        dino.map(torch.full((28, 28, 3), 0.6))
        expected = (0.6 - torch.tensor(mean)) / torch.tensor(std)
        assert torch.allclose(seen[0][0].mean((1, 2)), expected, atol=1e-5)


def test_named_teacher_takes_weights_from_a_folder(tmp_path):
    folder = saved(dinov2(), tmp_path / "m")
    image = torch.rand(28, 28, 3)
    by_name, by_path = teacher("dinov2", weights=folder, size=28), teacher(folder, size=28)
    assert torch.equal(by_name.map(image), by_path.map(image))
    assert by_name.key() == by_path.key() != teacher(folder, size=42).key()


def test_replaced_weights_change_the_key(tmp_path):
    before = teacher(saved(dinov2(seed=0), tmp_path / "m")).key()
    assert teacher(saved(dinov2(seed=1), tmp_path / "m")).key() != before


def test_clip_map_is_the_reduced_last_block(tmp_path):
    """Against the formula written out head by head, from what truly enters the last block."""
    dense = teacher(clip(tmp_path / "m"), size=48)
    entering = []
    vision = dense.model.vision_model
    layer = vision.encoder.layers[-1]
    layer.register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    features = dense.map(torch.rand(32, 48, 3))
    assert features.shape == (4, 6, 12) == (4, 6, dense.dim)

    x = layer.layer_norm1(entering[0][0])
    q, v = layer.self_attn.q_proj(x), layer.self_attn.v_proj(x)
    heads = []
    for part in (slice(0, 8), slice(8, 16)):
        scores = q[:, part] @ q[:, part].T / 8**0.5
        heads.append(scores.softmax(-1) @ v[:, part])
    tokens = vision.post_layernorm(layer.self_attn.out_proj(torch.cat(heads, -1)))
    expected = torch.nn.functional.normalize(dense.model.visual_projection(tokens)[1:], dim=-1)
    assert torch.allclose(features.reshape(24, 12), expected, atol=1e-5)


def test_clip_text_vectors(tmp_path):
    dense = teacher(clip(tmp_path / "m"))
    both = dense.text(["a ball", "a much longer prompt"])
    assert both.shape == (2, 12) and torch.allclose(both.norm(dim=-1), torch.ones(2), atol=1e-5)
    # A shorter neighbour's padding must not leak into a prompt.
    assert torch.allclose(both[0], dense.text(["a ball"])[0], atol=1e-5)
    assert not torch.allclose(both[0], both[1], atol=1e-3)
    with pytest.raises(BadInput, match="text: expected one or more words"):
        dense.text([" "])


def test_sam_map_leaves_the_padding_out(tmp_path):
    masks = teacher(sam(tmp_path / "m"))
    assert masks.can_mask and masks.dim == 32
    assert masks.map(torch.rand(32, 64, 3)).shape == (2, 4, 32)
    assert masks.map(torch.rand(90, 30, 3)).shape == (4, 1, 32)


def test_sam_mask_has_the_images_size_and_heeds_the_click(tmp_path):
    masks = teacher(sam(tmp_path / "m"))
    image = torch.rand(30, 50, 3)
    mask = masks.mask(image, [(10, 20)])
    assert mask.shape == (30, 50) and mask.dtype == torch.bool
    assert torch.equal(mask, masks.mask(image, [(10, 20)], labels=[1]))
    assert not torch.equal(mask, masks.mask(image, [(45, 2), (3, 28)], labels=[1, 0]))


def test_sam_answers_several_prompts_on_one_encoding(tmp_path, monkeypatch):
    masks = teacher(sam(tmp_path / "m"))
    encoded = []
    monkeypatch.setattr(masks, "encode", lambda pixels: encoded.append(1) or type(masks).encode(masks, pixels))
    image = torch.rand(30, 50, 3)
    candidates, quality = masks.masks(image, [(10, 20)], box=[2, 3, 40, 25])
    assert candidates.shape == (3, 30, 50) and candidates.dtype == torch.bool and quality.shape == (3,)
    assert torch.equal(masks.mask(image, [(10, 20)], box=[2, 3, 40, 25]), candidates[quality.argmax()])
    masks.map(image)
    assert len(encoded) == 1
    joint = teacher(f"{tmp_path / 'm'}+classical")
    assert torch.equal(joint.masks(image, [(10, 20)], box=[2, 3, 40, 25])[0], candidates)


@pytest.mark.parametrize(
    ("clicks", "labels", "complaint"),
    [
        ([(50, 3)], None, "50,3 is outside the image of 50x30 pixels"),
        ([(3, -1)], None, "3,-1 is outside"),
        ([], None, "expected one or more"),
        ([(3, 3)], [2], "labels: expected 1 values of 0 or 1"),
        ([(3, 3)], [1, 1], "labels: expected 1 values"),
    ],
)
def test_bad_clicks_are_refused(tmp_path, clicks, labels, complaint):
    masks = teacher(sam(tmp_path / "m"))
    with pytest.raises(BadInput, match=complaint):
        masks.mask(torch.rand(30, 50, 3), clicks, labels)


def test_weights_that_cannot_be_had_name_the_ways_on(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "_hub_answers", lambda: False)
    for name in ("dinov2", "clip", "sam", "some-organisation/some-model"):
        with pytest.raises(BadInput) as caught:
            teacher(name)
        message = str(caught.value)
        assert "\n" not in message
        for way in ("local folder", "download", "precomputed maps", "classical"):
            assert way in message


def test_hub_id_is_served_from_the_local_cache_without_a_network(monkeypatch, tmp_path):
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    stored = tmp_path / "models--some-organisation--some-model"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs" / "main").write_text(commit)
    (stored / "snapshots").mkdir()
    folder = saved(dinov2(), stored / "snapshots" / commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "_hub_answers", lambda: pytest.fail("the network was tried"))
    image = torch.rand(28, 28, 3)
    by_id = teacher("some-organisation/some-model", size=28)
    assert torch.equal(by_id.map(image), teacher(folder, size=28).map(image))
    assert "dinov2" in by_id.key()


def test_offline_setting_is_obeyed(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(
        hub.urllib.request, "urlopen", lambda *a, **k: pytest.fail("the network was tried")
    )
    with pytest.raises(BadInput, match="cannot be reached"):
        teacher("some-organisation/some-model")


def test_a_hub_that_never_answers_is_given_up(monkeypatch):
    over = threading.Event()

    def hang(*_, **__):
        over.wait(20)
        raise OSError

    monkeypatch.setattr(hub, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(hub.urllib.request, "urlopen", hang)
    assert hub._hub_answers() is False
    over.set()


def test_folder_without_weights(tmp_path):
    folder = saved(dinov2(), tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInput, match="no .*safetensors weights beside config.json"):
        teacher(folder)


def test_corrupt_and_incomplete_weights(tmp_path):
    folder = saved(dinov2(), tmp_path / "m")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="teacher weights"):
        teacher(folder)
    from safetensors.torch import load, save_file

    tensors = load(whole)
    del tensors["layernorm.weight"]
    save_file(tensors, str(folder / "model.safetensors"), {"format": "pt"})
    with pytest.raises(BadInput, match="layernorm.weight"):
        teacher(folder)


def test_folder_of_another_kind(tmp_path):
    folder = saved(dinov2(), tmp_path / "m")
    with pytest.raises(BadInput, match="model type 'dinov2', expected clip"):
        teacher("clip", weights=folder)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BadInput, match="model_type 'bert', expected one of dinov2"):
        teacher(folder)
    (folder / "config.json").write_text("{not json")
    with pytest.raises(BadInput, match="config.json"):
        teacher(folder)


@pytest.mark.parametrize("size", [3, 0, 9000, 2.5])
def test_bad_working_size(tmp_path, size):
    folder = saved(dinov2(), tmp_path / "m")
    with pytest.raises(BadInput, match="option size: expected 14..8192 pixels"):
        teacher(folder, size=size)
