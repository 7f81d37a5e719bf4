"""Downloads, against a server on this machine that knows ranges and can break off."""

import threading

import pytest
from soak import WATCHDOG
from soak.server import Server, archive

from fashionlib.data.sources import download
from fashionlib.data.sources.download import DownloadError, Item

BODY = bytes(range(256)) * 400


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "BLOCK", 1000)
    monkeypatch.setattr(download, "TIMEOUT", WATCHDOG)
    server = Server({"/f": BODY})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(server, path, **expected):
    return download.fetch(f"{server.url}/f", path, progress=False, **expected)


def test_a_file_arrives_whole_and_once(server, tmp_path):
    path = fetch(server, tmp_path / "f", size=len(BODY))
    assert path.read_bytes() == BODY
    fetch(server, path)
    assert server.asked == [0]
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.cut = 40_000
    with pytest.raises(DownloadError, match="after 40,000 bytes"):
        fetch(server, tmp_path / "f", size=len(BODY))
    assert not (tmp_path / "f").exists()
    with pytest.raises(DownloadError, match="after 80,000 bytes"):
        fetch(server, tmp_path / "f")
    server.cut = None
    assert fetch(server, tmp_path / "f").read_bytes() == BODY
    assert server.asked == [0, 40_000, 80_000]


def test_without_ranges_it_starts_over(server, tmp_path):
    (tmp_path / "f.part").write_bytes(b"left from before")
    server.ranges = False
    assert fetch(server, tmp_path / "f").read_bytes() == BODY


def test_a_part_that_was_complete_is_not_fetched_again(server, tmp_path):
    for expected in ({}, {"size": len(BODY)}):
        (tmp_path / "f").unlink(missing_ok=True)
        (tmp_path / "f.part").write_bytes(BODY)
        assert fetch(server, tmp_path / "f", **expected).read_bytes() == BODY
    assert server.asked == [len(BODY)]  # asked only where the size was unknown


def test_a_part_longer_than_the_file_starts_over(server, tmp_path):
    (tmp_path / "f.part").write_bytes(BODY + b"more")
    with pytest.raises(DownloadError, match="shorter than what was begun"):
        fetch(server, tmp_path / "f")
    assert fetch(server, tmp_path / "f").read_bytes() == BODY


def test_another_size_is_refused_before_the_transfer(server, tmp_path):
    with pytest.raises(DownloadError, match="has 102,400 bytes now, not 102,401"):
        fetch(server, tmp_path / "f", size=len(BODY) + 1)
    assert not list(tmp_path.iterdir())


def test_no_room_is_said_before_the_transfer(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(DownloadError, match="needs 102,400 bytes more .* 10 are free"):
        fetch(server, tmp_path / "f")


def test_no_network_and_no_such_file_are_one_sentence(server, tmp_path):
    with pytest.raises(DownloadError, match="/g answers 404 Not Found") as caught:
        download.fetch(f"{server.url}/g", tmp_path / "g")
    assert "\n" not in str(caught.value)
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=f"Can't reach http.*/f .*put it at {tmp_path / 'f'}") as caught:
        fetch(server, tmp_path / "f")
    assert "\n" not in str(caught.value)


def test_a_data_set_is_fetched_unpacked_and_then_left_alone(server, tmp_path, monkeypatch):
    server.files["/train.zip"] = archive({"train/a.jpg": "photo", "__MACOSX/._a": "junk"})
    items = (
        Item(f"{server.url}/f", "x.json", len(BODY)),
        Item(f"{server.url}/train.zip", "train", member="train"),
    )
    monkeypatch.setitem(download.SETS, "fashionpedia", items)
    for _ in range(2):
        folder = download.download("fashionpedia", tmp_path, progress=False)
    assert folder == tmp_path / "cache" / "fashionpedia"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        "train",
        "train/a.jpg",
        "x.json",
    ]
    assert len(server.asked) == 2


def test_a_set_of_one_archive_is_that_folder(server, tmp_path, monkeypatch):
    server.files["/ccp.zip"] = archive({"ccp-master/photos/1.jpg": "photo"})
    monkeypatch.setitem(download.SETS, "ccp", (Item(f"{server.url}/ccp.zip", "ccp", member="ccp-master"),))
    folder = download.download("ccp", tmp_path, progress=False)
    assert (folder / "photos" / "1.jpg").read_text() == "photo"


def test_kaggle_and_unknown_names():
    with pytest.raises(ValueError, match="Kaggle .* README.md"):
        download.download("imaterialist")
    with pytest.raises(ValueError, match="Did you mean 'fashionpedia'"):
        download.download("fashionpedai")
