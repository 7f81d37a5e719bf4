"""The engine ray: URLs on any machine; the rest where the extra [ray] and moto are installed."""

import os
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from cutout_stub import PERSON, scene
from PIL import Image

from fashionlib import models
from fashionlib.cutout import batch, on_ray
from fashionlib.cutout.tasks import Options, Task

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "RAY_AUTH_MODE": "disabled",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def test_without_the_extra_one_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"needs the extra of that name .* pip install 'fashionlib\[ray\]'"):
        batch.run(tmp_path, tmp_path / "out", "model", engine="ray")


@pytest.fixture
def shop():
    """memory://shop/in with photos in a tree, a hidden one, and what is no photo."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    names = "in/a.jpg", "in/sub/b.png", "in/.cache/c.jpg", "in/notes.txt", "in/out/a.png", "more/A.webp"
    for name in names:
        memory.pipe_file(f"/shop/{name}", name.encode())
    return "memory:///shop"


def tasks(shop, *inputs):
    inputs = [f"{shop}/{name}" for name in inputs]
    found = on_ray._tasks(inputs, f"{shop}/in/out", Options(), "model and options")
    return {task.photo: task for task in found}


def test_urls_keep_their_tree_and_their_keys(shop):
    found = tasks(shop, "in")
    assert {url: task.output for url, task in found.items()} == {
        "memory:///shop/in/a.jpg": "a.png",
        "memory:///shop/in/sub/b.png": "sub/b.png",
    }
    globbed, alone = tasks(shop, "in/*/*.png"), tasks(shop, "in/sub/b.png")
    assert {task.output for task in globbed.values()} == {"sub/b.png"}
    assert {task.output for task in alone.values()} == {"b.png"}
    fsspec.filesystem("memory").pipe_file("/shop/in/a.jpg", b"another photo")
    again = tasks(shop, "in")
    changed = [url for url in found if found[url].key != again[url].key]
    assert "memory:///shop/in/a.jpg" in changed


def test_urls_that_collide_or_lead_nowhere_are_refused(shop):
    with pytest.raises(ValueError, match="would both become"):
        tasks(shop, "in", "more")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        tasks(shop, "nowhere")
    with pytest.raises(ValueError, match="holds no photo"):
        tasks(shop, "in/*.txt")
    with pytest.raises(ValueError, match="/in/a.png is a photo and would be overwritten"):
        fsspec.filesystem("memory").pipe_file("/shop/in/a.png", b"")
        on_ray._tasks(f"{shop}/in/a.png", "memory:///shop/in", Options(), "")


# on a cluster of this machine -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster and an S3-compatible server on the loopback; the file system of the latter."""
    reason = "needs the extra [test-ray]: pip install 'fashionlib[test-ray]'"
    ray, s3fs, server = (pytest.importorskip(name, reason=reason) for name in ("ray", "s3fs", "moto.server"))
    pytest.importorskip("pyarrow", reason=reason)
    s3 = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    before = dict(os.environ)
    os.environ |= ENVIRONMENT | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3.get_host_and_port()[1]}"}
    try:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=200_000_000,
        )
        yield s3fs.S3FileSystem()
    finally:
        ray.shutdown()
        s3.stop()
        os.environ.clear()
        os.environ.update(before)


def test_a_bucket_becomes_what_a_folder_becomes(cluster, tmp_path):
    torch.manual_seed(0)
    info = models.metadata_for("segmenter_vit_t", PERSON, "mini")
    network = models.build("segmenter_vit_t", len(PERSON), scale="mini")
    model = models.save(network, tmp_path / "model.safetensors", info)
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "ground.png")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    Image.fromarray(scene()).save(tmp_path / "in" / "a.png")
    Image.fromarray(scene()[:, ::-1].copy()).save(tmp_path / "in" / "sub" / "b.jpg")
    (tmp_path / "in" / "zero.jpg").touch()
    cluster.mkdir("shop")
    cluster.put(f"{tmp_path}/in/", "shop/in/", recursive=True)
    options = {"background": str(tmp_path / "ground.png"), "layers": True, "preview": True, "progress": False}
    local = batch.run(tmp_path / "in", tmp_path / "out", model, **options)
    urls = "s3://shop/in", "s3://shop/out"
    first, again = (batch.run(*urls, model, engine="ray", **options) for _ in range(2))
    assert first[:3] == local[:3] == (2, 0, 1) and again[:3] == (0, 2, 1)
    there = {path.removeprefix("shop/out/") for path in cluster.find("shop/out")}
    assert there == {
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*") if path.is_file()
    }
    for name in ("a.png", "sub/b.png"):
        with cluster.open(f"shop/out/{name}") as file:
            pair = np.asarray(Image.open(file)).astype(int), np.asarray(Image.open(tmp_path / "out" / name))
        assert pair[0].shape == (80, 60, 3) and (pair[0] != pair[1]).mean() < 0.01
    assert "s3://shop/in/zero.jpg is empty (0 bytes)" in cluster.cat_file("shop/out/report.csv").decode()


def test_actors_that_die_lose_no_photo_but_one_that_always_kills(cluster, tmp_path, monkeypatch):
    class Dying:
        """Dies of ``weak`` once, of ``deadly`` each time."""

        def __init__(self, weights, folder):
            self.seen = Path(folder) / "seen"

        def __call__(self, item):
            once = item["photo"] == "weak" and not self.seen.exists()
            self.seen.touch() if once else None
            if once or item["photo"] == "deadly":
                os._exit(1)
            return {"output": item["output"], "source": item["photo"], "key": item["key"]}

    monkeypatch.setattr(on_ray, "_Actor", Dying)
    monkeypatch.setattr(on_ray, "RETRIES", 1)
    names = ["a", "weak", "b", "deadly", "c"]
    jobs = [Task(name, f"{name}.png") for name in names]
    rows = list(on_ray._rows(jobs, 1, (b"weights", str(tmp_path))))
    assert {row.source: row.status for row in rows} == dict.fromkeys(names, "done") | {"deadly": "failed"}
    assert [row.note for row in rows if row.note] == ["deadly: its actor died 2 times: out of memory?"]
