"""Checkpoints that others made may hold anything: nothing in them runs, and what is wrong is one sentence.

Each hostile file would make a folder, the canary, if any part of it ran.
"""

import contextlib
import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from mmengine.logging import HistoryBuffer
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import recipe

from fashionlib import models, train
from fashionlib.cli import main
from fashionlib.cutout.segment import about
from fashionlib.export import export
from fashionlib.models import init_weights, weight_files
from fashionlib.train import run_folder
from tools.cutout_model.__main__ import main as tool
from tools.cutout_model.average import average_checkpoints

BUFFER = b"cmmengine.logging.history_buffer\nHistoryBuffer\n"
REBUILD = b"ctorch._tensor\n_rebuild_from_type_v2\n"


class Call:
    """Calls `function(*arguments)` when it is unpickled by a loader that lets it."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """The name of a folder that is never to be made, whatever the working folder of what runs."""
    monkeypatch.chdir(tmp_path)
    yield "canary"
    assert not (tmp_path / "canary").exists()


def text(value: str) -> bytes:
    """The opcode that pushes a string."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def zipped(path: Path, program: bytes, compression=zipfile.ZIP_STORED, **more: bytes) -> Path:
    """A file of torch's zip format whose pickle is `program`; `more` are other records."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in (("data.pkl", program), ("version", b"3\n"), *more.items()):
            archive.writestr(f"archive/{name.replace('__', '/')}", content)
    return path


def saved(path: Path, value, **options) -> Path:
    torch.save(value, path, **options)
    return path


def old_tar(path: Path, canary: str) -> Path:
    """Torch's format before 0.1.10: three pickles in an archive."""
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Call(os.mkdir, canary), protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def script(path: Path, canary: str) -> Path:
    """A TorchScript program, which torch.load would hand to torch.jit.load."""
    with warnings.catch_warnings(action="ignore"):
        module = torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1))
        torch.jit.save(module, path)
    return path


def nested(canary: str) -> bytes:
    """A pickle inside a pickle, called for by the outer one."""
    return pickle.dumps(Call(pickle.loads, pickle.dumps(Call(os.mkdir, canary))), protocol=2)


def objects(canary: str) -> dict:
    """numpy arrays and scalars of Python objects, in which pickles hide."""
    bomb = np.array([Call(os.mkdir, canary)], dtype=object)
    return {"array": bomb, "state_dict": {"w": torch.ones(1)}}


MKDIR, END = b"cos\nmkdir\n", b"."
PROGRAMS = {  # name -> (pickle program, given the canary's name; what the sentence says)
    "mkdir": (lambda c: MKDIR + text(c) + b"\x85R.", "asks for os.mkdir"),
    "eval": (lambda c: b"c__builtin__\neval\n" + text(f"__import__('os').mkdir('{c}')") + b"\x85R.",
             "asks for eval"),
    "inst": (lambda c: b"(" + text(c) + b"ios\nmkdir\n.", "does more than store"),
    "obj": (lambda c: b"(" + MKDIR + text(c) + b"o.", "asks for os.mkdir"),
    "stack global": (lambda c: b"\x80\x04" + text("os") + text("mkdir") + b"\x93" + text(c) + b"\x85R.",
                     "does more than store"),
    "extension registry": (lambda c: b"\x82\x01" + text(c) + b"\x85R.", "does more than store"),
    "nested": (nested, "asks for _?pickle.loads"),
    "protocol 5": (lambda c: pickle.dumps(Call(os.mkdir, c), protocol=5), "does more than store"),
    "getattr of a class": (lambda c: b"cbuiltins\ngetattr\n" + BUFFER + text("__init__") + b"\x86"
                           b"R" + text(c) + b"\x85R.", "does more than store"),
    "getattr of a module": (lambda c: b"cbuiltins\ngetattr\ncos\n__dict__\n" + text("mkdir") + b"\x86R.",
                            "asks for os.__dict__"),
    "submodule": (lambda c: b"cnumpy\nf2py.os.mkdir\n" + text(c) + b"\x85R.", "asks for numpy.f2py.os.mkdir"),
    "torch.load": (lambda c: b"ctorch.serialization\nload\n" + text(c) + b"\x85R.",
                   "asks for torch.serialization.load"),
    "item of a blank": (lambda c: BUFFER + b")R" + text("a") + text(c) + b"s.", "does more than store"),
    "no stack": (lambda c: b"R.", "damaged"),
    "no end": (lambda c: b"(" * 1000, "damaged"),
    "no name": (lambda c: b"c\n", "asks for ."),
    "not utf-8": (lambda c: b"c\xff\n\xff\n.", "damaged"),
    "memo": (lambda c: b"h\x63.", "damaged"),
    "foreign storage": (lambda c: text("storage") + b"Q.", "damaged|more than store"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "bin"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_pickle_that_does_more_than_store_is_refused(name, suffix, canary, tmp_path):
    program, sentence = PROGRAMS[name]
    path = zipped(tmp_path / f"bad.{suffix}", program(canary))
    bare = tmp_path / f"bare.{suffix}"
    bare.write_bytes(program(canary))
    for file in (path, bare):
        with pytest.raises(weight_files.WeightsError, match=rf"{file.name} can't be loaded safely") as error:
            weight_files.safe_load(file)
        assert "\n" not in str(error.value) and len(str(error.value)) < 400 + len(str(file))
    if suffix != "safetensors":
        with pytest.raises(weight_files.WeightsError, match=sentence):
            weight_files.safe_load(path)


FORMATS = {
    "zip": (lambda p, c: saved(p, {"a": Call(os.mkdir, c)}), "asks for posix.mkdir"),
    "legacy": (lambda p, c: saved(p, {"a": Call(os.mkdir, c)}, _use_new_zipfile_serialization=False),
               "asks for posix.mkdir"),
    "old tar": (old_tar, "old tar format"),
    "TorchScript": (script, "compressed, as no weights"),
    "numpy objects": (lambda p, c: saved(p, objects(c)), "asks for posix.mkdir"),
    "bare pickle": (lambda p, c: p.write_bytes(pickle.dumps({"a": Call(os.mkdir, c)})) and p, "damaged|more"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["pth", "pt", "bin", "ckpt", ""])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_under_every_name(kind, suffix, canary, tmp_path):
    make, sentence = FORMATS[kind]
    path = make(tmp_path / f"bad{'.' * bool(suffix)}{suffix}", canary)
    with pytest.raises(weight_files.WeightsError, match=rf"^{path} can't be loaded safely \(.*({sentence})"):
        init_weights.load_into(None, path, spec=None, scale="full")


def statistics_replaced() -> bytes:
    """The state of a HistoryBuffer that makes `mean` the maximum in the whole process."""
    largest = b"cbuiltins\ngetattr\n" + BUFFER + text("max") + b"\x86R"
    replaced = b"}" + text("statistics_methods") + b"}" + text("mean") + largest + b"ss"
    return b"}" + text("a") + BUFFER + b")\x81" + replaced + b"bs" + END


def class_replaced() -> bytes:
    """An attribute of a class, set by torch's `_rebuild_from_type_v2` by way of a method of a HistoryBuffer.

    `current` returns whatever lies last in `_log_history`, so torch is handed a class as its "tensor".
    """

    def attributes(name: str, content: bytes) -> bytes:
        return BUFFER + b")R}" + text(name) + content + b"sb"

    current = b"cbuiltins\ngetattr\n" + BUFFER + text("current") + b"\x86R"
    chosen = attributes("_log_history", b"]" + BUFFER + b"a")
    tensor = attributes("_log_history", b"]" + attributes("as_subclass", current) + b"a")
    arguments = b"(" + current + chosen + tensor + b"\x85" + b"}" + text("mean") + b"K\x00s" + b"t"
    return b"}" + text("a") + REBUILD + arguments + b"Rs" + END


@pytest.mark.parametrize("make", [statistics_replaced, class_replaced])
def test_no_file_changes_a_class_for_the_whole_process(make, tmp_path):
    before = dict(HistoryBuffer._statistics_methods), HistoryBuffer.mean
    path = zipped(tmp_path / "gadget.pth", make())
    with contextlib.suppress(weight_files.WeightsError):
        weight_files.safe_load(path)
    try:
        assert (dict(HistoryBuffer._statistics_methods), HistoryBuffer.mean) == before
    finally:
        HistoryBuffer._statistics_methods.update(before[0])
        HistoryBuffer.mean = before[1]


# ---------------------------------------------------------------- data that lie


def repeated(path: Path) -> Path:
    """One number that says it is a terabyte of them."""
    return saved(path, {"state_dict": {"backbone.pos_embed": torch.zeros(1).expand(1, 1 + 512 * 512, 10**6)}})


def small_model() -> dict:
    return {name: tensor.detach() for name, tensor in torch.nn.Linear(2, 2).state_dict().items()}


def legacy_claims(path: Path) -> Path:
    """A storage that says in the legacy format's header that it has 10^15 numbers."""
    saved(path, {"w": torch.zeros(3)}, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    claim = b"\x8a\x07" + (10**15).to_bytes(7, "little")  # LONG1
    assert content.count(b"cpuq\x06K\x03N") == 1
    path.write_bytes(content.replace(b"cpuq\x06K\x03N", b"cpuq\x06" + claim + b"N"))
    return path


def beyond_storage(path: Path) -> Path:
    """A tensor that reaches past its storage."""
    zipped_tensor = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, zipped_tensor)
    with zipfile.ZipFile(zipped_tensor) as archive:
        program = archive.read("archive/data.pkl")
    assert program.count(b"QK\x00K\x03\x85") == 1
    return zipped(path, program.replace(b"QK\x00K\x03\x85", b"QK\x00J\xff\xff\xff\x7f\x85"),
                  data__0=b"\0" * 12, byteorder=b"little")  # fmt: skip


def header(path: Path, text: str, size: int | None = None, body: bytes = b"\0" * 8) -> Path:
    """A safetensors file with this header, which claims to be `size` bytes long."""
    path.write_bytes(struct.pack("<Q", len(text) if size is None else size) + text.encode() + body)
    return path


def entry(shape: list, begin: int, end: int, dtype: str = "F32") -> str:
    return json.dumps(dict(dtype=dtype, shape=shape, data_offsets=[begin, end]))


def described(path: Path, text: str) -> Path:
    """A safetensors file that says `text` of itself."""
    save_file({"w": torch.ones(1)}, path, {"fashionlib": text})
    return path


LIES = {
    "repeated.pth": (repeated, "more than named tensors"),
    "claims.pth": (legacy_claims, "damaged|more memory than there is"),
    "beyond.pth": (beyond_storage, "damaged"),
    "bomb.pth": (lambda p: zipped(p, b"}.", zipfile.ZIP_DEFLATED, data__0=b"\0" * 10**6), "compressed"),
    "sparse.pth": (lambda p: saved(p, {"w": torch.eye(3).to_sparse()}), "more than named tensors"),
    "quantised.pth": (lambda p: saved(p, {"w": torch.quantize_per_tensor(torch.ones(3), 1, 0, torch.qint8)}),
                      "more than named tensors"),
    "meta.pth": (lambda p: saved(p, {"w": torch.zeros(3, device="meta")}), "more than named tensors"),
    "numbers.pth": (lambda p: saved(p, {"state_dict": {"w": 3}}), "more than named tensors: use an epoch"),
    "unnamed.pth": (lambda p: saved(p, {"state_dict": {3: torch.ones(1)}}), "more than named tensors"),
    "blank.pth": (lambda p: saved(p, {"state_dict": {"w": np.ones(3)}}), "more than named tensors"),
    "list.pth": (lambda p: saved(p, {"state_dict": [torch.ones(1)]}), "more than named tensors"),
    "tensor.pth": (lambda p: saved(p, torch.ones(1)), "holds a Tensor"),
    "past_end.safetensors": (lambda p: header(p, f'{{"w":{entry([4], 0, 16)}}}'), "damaged"),
    "overlap.safetensors": (lambda p: header(p, f'{{"a":{entry([1], 0, 4)},"b":{entry([2], 0, 8)}}}'),
                            "damaged"),
    "huge_shape.safetensors": (lambda p: header(p, f'{{"w":{entry([2**40, 2**40], 0, 8)}}}'), "damaged"),
    "negative.safetensors": (lambda p: header(p, f'{{"w":{entry([-2], 0, 8)}}}'), "damaged"),
    "dtype.safetensors": (lambda p: header(p, f'{{"w":{entry([1], 0, 8, "O")}}}'), "damaged"),
    "long_header.safetensors": (lambda p: header(p, "{}", 10**8 + 1), "damaged"),
    "endless_header.safetensors": (lambda p: header(p, "{}", 2**64 - 1), "damaged"),
    "no_json.safetensors": (lambda p: header(p, "{nonsense"), "damaged"),
    "scales.safetensors": (lambda p: save_file({"w": torch.ones(2, 3), "w:scale": torch.ones(7)}, p) or p,
                           "damaged"),
    "card.safetensors": (lambda p: described(p, "[]"), "describes itself by"),
    "card_text.safetensors": (lambda p: described(p, "{"), "does not say which model"),
    "crop.safetensors": (lambda p: described(p, '{"crop": "ab"}'), "does not say its model"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_data_that_lie_are_one_sentence_that_names_the_file(name, tmp_path):
    make, sentence = LIES[name]
    with pytest.raises(weight_files.WeightsError, match=f"^{make(tmp_path / name)} .*({sentence})") as error:
        init_weights.load_into(None, tmp_path / name, spec=None, scale="full")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w", "w.safetensors"])
def test_tensors_alone_load_under_every_name(name, tmp_path):
    """Safetensors are known by how they begin, so a `.pth` may be one; a `.safetensors` may be no other."""
    expected = small_model()
    save_file(expected, tmp_path / name)
    assert weight_files.safe_load(tmp_path / name).keys() == expected.keys()
    if not name.endswith(".safetensors"):
        for new in (False, True):
            saved(tmp_path / name, expected, _use_new_zipfile_serialization=new)
            assert torch.equal(weight_files.safe_load(tmp_path / name)["weight"], expected["weight"])


@pytest.mark.parametrize("core", ["core", "_core"])
def test_metadata_of_numpy_1_and_2_pass_unread(core, tmp_path):
    """The published files are older than numpy 2, which renamed the module of its constructors."""
    content = io.BytesIO()
    torch.save({"meta": {"seed": np.int64(3), "shape": np.arange(3)}, "state_dict": small_model()}, content)
    with zipfile.ZipFile(content) as archive:
        parts = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    program = parts.pop("data.pkl").replace(b"numpy._core.", f"numpy.{core}.".encode())
    del parts["version"]  # `zipped` writes one
    path = zipped(tmp_path / "old.pth", program, **parts)
    loaded = weight_files.safe_load(path)
    assert loaded["state_dict"]["weight"].flatten().tolist() == list(struct.unpack("<4f", parts["data/0"]))
    assert type(loaded["meta"]["seed"]) is type(loaded["meta"]["shape"]) is weight_files._Unread


# ---------------------------------------------------------------- what our own checkpoints say of themselves


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    """A sound checkpoint of a small model."""
    model = models.build("segmenter_vit_t", num_classes=3, scale="mini", crop=(64, 64))
    return models.save(
        model,
        tmp_path_factory.mktemp("ours") / "epoch_1.safetensors",
        model.metadata | dict(epoch=1, run="r"),
    )


def retold(ours: Path, path: Path, change) -> Path:
    """`ours` with another story: `change` is a dict of facts (... takes one out), or the whole text."""
    with safe_open(ours, "pt") as file:
        info = json.loads(file.metadata()["fashionlib"])
    if isinstance(change, dict):
        told = info | change
        change = json.dumps({key: value for key, value in told.items() if value is not ...})
    save_file(load_file(ours), path, {"fashionlib": change})
    return path


SLIDE = dict(mode="slide", crop_size=[64, 64], stride=[32, 32])
STORIES = [
    *((dict([(key, ...)]), f"does not say its {key}") for key in
      ("model", "scale", "classes", "crop", "mean", "std", "test_cfg", "resize")),
    *((dict([(key, value)]), f"its {key} is ") for key, value in [
        ("model", "resnet"), ("model", 3), ("model", ["unet"]), ("model", "../../unet"), ("scale", "huge"),
        ("classes", []), ("classes", "abc"), ("classes", [1, 2, 3]), ("classes", ["a", "a", "b"]),
        ("classes", ["a", "b", "\x1b[2J"]), ("classes", [str(i) for i in range(256)]), ("classes", {"a": 1}),
        ("crop", [31623, 31623]), ("crop", [64]), ("crop", [64.0, 64]), ("crop", [-64, 64]),
        ("crop", [True, 64]), ("crop", None), ("resize", [10**12, 64]),
        ("resize", "ab"), ("mean", [1, 2]), ("mean", [1, 2, "3"]),
        ("mean", [1, 2, float("nan")]), ("std", [1, 1, 0]), ("std", [1, 1, float("inf")]), ("test_cfg", []),
        ("patch", 1), ("patch", 8.0), ("patch", 8), ("norm", "instance"), ("norm", "group"),
        ("test_cfg", dict(mode="exec")), ("test_cfg", dict(mode="slide")),
        ("test_cfg", SLIDE | dict(stride=[1, 1])), ("test_cfg", SLIDE | dict(stride=[65, 32])),
        ("test_cfg", SLIDE | dict(crop_size=[10**6, 64])),
        ("recipe", "quick"), ("init_report", 5), ("init_report", {"note": 1}),
        ("mean", [1, 2, 10**400]), ("quality", [1]), ("quality", {"weights": {}}),
        ("quality", {"weights": {"bias": "x"}, "limits": {}}), ("epochs", 5), ("run", 7), ("data", {}),
    ]),
    ("[]", "describes itself by []"), ("3", "describes itself by 3"), ("null", "describes itself by None"),
    ("{", "does not say which model"), ("[" * 100_000, "can't be read as a checkpoint"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), STORIES, ids=lambda value: str(value)[:40])
def test_what_a_checkpoint_says_of_itself_is_checked_first(change, sentence, ours, tmp_path, monkeypatch):
    path = retold(ours, tmp_path / "told.safetensors", change)
    monkeypatch.setattr("fashionlib.models.checkpoint._network", lambda *_: pytest.fail("built"))
    for use in (models.load, models.read_metadata, about):
        with pytest.raises(ValueError) as error:
            use(path)
        assert str(error.value).startswith(str(path)) and sentence in str(error.value)
        assert "\n" not in str(error.value) and len(str(error.value)) < 300 + len(str(path))


def test_the_sound_checkpoint_loads_and_needs_no_calibration_in_full(ours, tmp_path):
    assert models.load(ours).metadata["classes"] == models.read_metadata(ours)["classes"]
    assert (
        models.read_metadata(retold(ours, tmp_path / "a.safetensors", dict(quality=None)))["quality"] is None
    )


FITS = [
    (dict(classes=["a", "b"]), r"with 2 classes, but its decode_head.cls_emb is \(1, 3, \d+\), not \(1, 2"),
    (dict(model="unet"), "says that it is unet at scale mini .* is missing, not "),
    (dict(crop=[128, 128]), "backbone.pos_embed is"),
]


@pytest.mark.parametrize(("change", "sentence"), FITS, ids=lambda value: str(value)[:30])
def test_weights_of_another_make_are_named(change, sentence, ours, tmp_path):
    path = retold(ours, tmp_path / "other.safetensors", change)
    with pytest.raises(ValueError, match=f"^{path} .*{sentence}") as error:
        models.load(path)
    assert "\n" not in str(error.value)


def test_epochs_without_their_run_are_not_averaged(ours, tmp_path):
    with pytest.raises(ValueError, match="told.safetensors does not say its run and epoch"):
        average_checkpoints(
            [ours, retold(ours, tmp_path / "told.safetensors", dict(epoch=...))], tmp_path / "out"
        )
    state_dict = {name: tensor for name, tensor in load_file(ours).items() if "cls_emb" not in name}
    with safe_open(ours, "pt") as file:
        save_file(state_dict, tmp_path / "less.safetensors", file.metadata())
    with pytest.raises(ValueError, match="less.safetensors holds other weights than"):
        average_checkpoints([ours, tmp_path / "less.safetensors"], tmp_path / "out.safetensors")


DOORS = {
    "cutout": (["cutout", "photo.jpg", "--out", "out", "--model", "bad"], 2),
    "draft": (["draft", "photo.jpg", "--out", "out", "--model", "bad"], 1),
    "about": (["cutout", "--about", "--model", "bad"], 2),
    "export": (["export", "bad", "out.onnx"], 1),
    "average": (["average", "bad", "out.safetensors"], 1),
    "pseudo-labels": (["pseudo-labels", "raw", "out", "--model", "bad"], 1),
    "calibrate": (["calibrate", "bad", "."], 1),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_command_that_takes_a_checkpoint_refuses_a_pickle(door, canary, ours, tmp_path):
    """They take checkpoints of ours, that is safetensors, and have no flag that would let a pickle in."""
    arguments, code = DOORS[door]
    (tmp_path / "photo.jpg").touch()
    for name in ("bad.pth", "bad.safetensors"):
        saved(tmp_path / name, {"a": Call(os.mkdir, canary)})
        command = main if arguments[0] in main.commands else tool
        done = CliRunner().invoke(command, [name if word == "bad" else word for word in arguments])
        assert done.exit_code == code and f"{name} can't be read as a checkpoint" in done.output, done.output
        assert "Traceback" not in done.output and not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value, ours, tmp_path):
    """At every door: cutout and all that loads a checkpoint, export, average, initial weights."""
    state, bad, out = load_file(ours), tmp_path / "bad.safetensors", tmp_path / "out"
    name = next(name for name in state if name.endswith("weight"))
    state[name].view(-1)[3] = value
    with safe_open(ours, "pt") as file:
        save_file(state, bad, file.metadata())
    torch.save({"state_dict": state}, tmp_path / "bad.pth")
    for door in (
        lambda: models.load(bad),
        lambda: export(bad, out),
        lambda: average_checkpoints([bad], out),
        lambda: models.build("segmenter_vit_t", 3, "mini", init=str(bad), crop=(64, 64)),
        lambda: models.build("segmenter_vit_t", 3, "mini", init=str(tmp_path / "bad.pth"), crop=(64, 64)),
    ):
        with pytest.raises(ValueError, match=rf"/bad\.\w+ can't be used: its {name} holds NaN or infinity"):
            door()
    assert not out.exists()


# ---------------------------------------------------------------- trust


def test_trust_is_the_only_way_past_and_says_what_it_means(tmp_path, caplog):
    path, made = tmp_path / "theirs.pth", tmp_path / "made"
    saved(path, {"state_dict": small_model(), "meta": Call(os.mkdir, str(made))})
    with pytest.raises(weight_files.WeightsError) as error:
        weight_files.safe_load(path)
    assert "--trust-checkpoint (trust_checkpoint=True) loads it and lets it run code with" in str(error.value)
    assert not made.exists() and not caplog.records
    loaded = weight_files.safe_load(path, trust=True)
    assert made.is_dir() and loaded["state_dict"].keys() == small_model().keys()
    (warning,) = caplog.records
    assert warning.getMessage() == (
        f"{path} is trusted: loading it may run any code that its maker put in, with your rights."
    )


def test_trust_changes_nothing_for_tensors_and_repairs_no_damage(tmp_path, caplog):
    saved(tmp_path / "plain.pth", small_model())
    assert weight_files.safe_load(tmp_path / "plain.pth", trust=True).keys() == small_model().keys()
    (tmp_path / "torn.pth").write_bytes((tmp_path / "plain.pth").read_bytes()[:-100])
    with pytest.raises(weight_files.WeightsError, match="torn.pth can't be loaded safely .*tensors only.$"):
        weight_files.safe_load(tmp_path / "torn.pth", trust=True)
    assert not caplog.records
    (tmp_path / "broken.pth").write_bytes(b"cos\nnothing\n.")
    with pytest.raises(weight_files.WeightsError, match="broken.pth can't be loaded"):
        weight_files.safe_load(tmp_path / "broken.pth", trust=True)


def test_a_recipe_carries_the_trust_to_the_loader(tmp_path):
    made, spec = tmp_path / "made", dict(num_classes=3, scale="mini", crop=(64, 64))
    theirs = models.build("segmenter_vit_t", **spec).state_dict()
    path = saved(tmp_path / "theirs.pth", {"state_dict": theirs, "meta": Call(os.mkdir, str(made))})
    with pytest.raises(weight_files.WeightsError, match="asks for posix.mkdir"):
        models.build("segmenter_vit_t", init=str(path), **spec)
    assert not made.exists()
    models.build("segmenter_vit_t", init=str(path), trust_checkpoint=True, **spec)
    assert made.is_dir()
    assert recipe(init=str(path)).trust_checkpoint is None
    with pytest.raises(ValueError, match="trust_checkpoint='yes': must be True or False"):
        recipe(trust_checkpoint="yes")


def test_the_command_line_hands_trust_to_every_run(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "fashionlib.reproduce.reproduce", lambda data, plan, **_: seen.append(plan["03_train"])
    )
    for flags in ([], ["--trust-checkpoint"]):
        done = CliRunner().invoke(main, ["reproduce", "--data", "sample", "--models", "unet", *flags])
        assert done.exit_code == 0, done.output
    without, trusted = ([run.get("settings") for run in runs] for runs in seen)
    assert trusted == [{**(settings or {}), "trust_checkpoint": True} for settings in without]
    assert not any("trust_checkpoint" in (settings or {}) for settings in without)


# ---------------------------------------------------------------- the engine's own loader, and last.pth


def test_nothing_of_ours_unpickles_freely(prepared_home, tmp_path, monkeypatch):
    """Building from a file, training, stopping and going on: every torch.load says `weights_only=True`."""
    asked, load = [], torch.load

    def guarded(*args, **kwargs):
        asked.append(kwargs.get("weights_only"))
        return load(*args, **kwargs)

    monkeypatch.setattr(torch, "load", guarded)  # one of ours may not reach the engine's, which falls back
    monkeypatch.setattr("mmengine.runner.checkpoint.CheckpointLoader.load_checkpoint",
                        lambda *_, **__: pytest.fail("MMEngine's loader"))  # fmt: skip
    start = saved(
        tmp_path / "start.pth", {"state_dict": models.build("segmenter_vit_t", scale="mini").state_dict()}
    )
    asked_for = recipe(init=str(start), variant="guarded", epochs=2, photos=8)

    def stop(row):
        if row["iter"] == 3:
            os.kill(os.getpid(), 15)

    with pytest.raises(KeyboardInterrupt):
        train.train(asked_for, home=prepared_home, progress=False, on_iteration=stop)
    folder = train.train(asked_for, home=prepared_home, progress=False)
    assert (folder / "epoch_2.safetensors").is_file()
    assert asked == [True] * 3  # twice the start, once the state


@pytest.mark.parametrize("lie", ["code", "no state", "other model"])
def test_a_state_that_is_not_ours_is_refused_though_its_checksum_is_right(lie, canary, prepared_home):
    name = lie.replace(" ", "")
    folder = prepared_home / "runs" / "tiny" / recipe(variant=name).name
    folder.mkdir(parents=True)
    content = {
        "code": {"model": Call(os.mkdir, canary)}, "no state": {"epoch": 1},
        "other model": dict(model=small_model(), optimizer={}, schedulers=[], epoch=1, iter=1, generators=[]),
    }[lie]  # fmt: skip
    saved(folder / run_folder.LAST, content)
    with pytest.raises(
        ValueError, match=f"{folder / run_folder.LAST} is no state of this run: remove .*variant="
    ):
        train.train(recipe(variant=name), home=prepared_home, progress=False)


def test_large_weights_whose_sum_overflows_are_finite():
    weight_files.check_finite(
        "a.safetensors", {"large": torch.full((4,), 3e38), "counts": torch.ones(2, dtype=torch.int64)}
    )
    for bad in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="its large holds NaN or infinity"):
            weight_files.check_finite("a.safetensors", {"large": torch.tensor([3e38, 3e38, bad])})
