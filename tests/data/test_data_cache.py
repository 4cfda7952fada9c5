"""The cache downloads once, checks always, and leaves no half file behind. A local server plays the web."""

import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from moduli.data import cache
from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.errors import InputError

CLOSED = "http://127.0.0.1:9/"


class Site:
    """What a local web server answers to each path, and which paths were asked for."""

    def __init__(self):
        self.pages: dict[str, list[tuple[int, bytes]]] = {}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(self.path)
                answers = site.pages.get(self.path, [(404, b"")])
                status, body = answers.pop(0) if len(answers) > 1 else answers[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()


@pytest.fixture
def site():
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)


def upper(downloads):
    return b"+".join(path.read_bytes() for path in downloads).upper()


def parse(content: bytes) -> str:
    if not content.startswith(b"GOOD"):
        raise ValueError("it does not start with GOOD")
    return content.decode()


def make(*mirrors, path="set/file.txt") -> Dataset:
    mirrors = tuple(tuple(Remote(url) for url in mirror) for mirror in mirrors)
    return Dataset(
        "toy", "Toy set", "one task", 3, "CC0", "Somebody (2020)", "http://home.example",
        (CacheFile(path, mirrors, upper, parse),), list,
    )  # fmt: skip


def read(dataset: Dataset) -> str:
    return dataset.read(dataset.files[0])


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_missing_file_is_downloaded_and_converted_once(site, data_folder):
    site.pages["/raw"] = [(200, b"good news")]
    dataset = make([site.url + "/raw"])
    assert not dataset.present
    assert [read(dataset), read(dataset)] == ["GOOD NEWS"] * 2
    assert dataset.present
    assert site.asked == ["/raw"]
    assert contents(data_folder) == ["set/file.txt"]
    assert [path.name for path in (data_folder / "set").iterdir()] == ["file.txt"]


def test_a_file_made_of_two_downloads(site, data_folder):
    site.pages = {"/a": [(200, b"good")], "/b": [(200, b"news")]}
    assert read(make([site.url + "/a", site.url + "/b"])) == "GOOD+NEWS"


def test_licence_and_citation_are_shown_when_a_set_is_first_fetched_only(site, data_folder, capsys):
    site.pages["/raw"] = [(200, b"good")]
    dataset = make([site.url + "/raw"])
    dataset.fetch()
    shown = capsys.readouterr()
    assert "CC0" in shown.err
    assert "Somebody (2020)" in shown.err
    assert shown.out == ""
    dataset.fetch()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("bad", [(404, b""), (200, b"<html>moved</html>")])
def test_the_next_mirror_is_tried(site, data_folder, bad):
    site.pages = {"/old": [bad], "/new": [(200, b"good")]}
    assert read(make([site.url + "/old"], [site.url + "/new"])) == "GOOD"


def test_a_failed_download_is_tried_again(site, data_folder):
    site.pages["/raw"] = [(503, b""), (200, b"good")]
    assert read(make([site.url + "/raw"])) == "GOOD"
    assert site.asked == ["/raw", "/raw"]


def test_a_download_with_another_hash_than_published_is_refused(site, data_folder):
    site.pages["/raw"] = [(200, b"good")]
    remote = Remote(site.url + "/raw", "md5:" + "0" * 32)
    file = CacheFile("file.txt", ((remote,),), upper, parse)
    dataset = Dataset("toy", "", "", 3, "", "", "", (file,), list)
    with pytest.raises(InputError, match="hash"):
        dataset.fetch()
    assert contents(data_folder) == []


def test_without_a_network_one_line_says_what_to_do(data_folder):
    with pytest.raises(InputError) as error:
        read(make([CLOSED + "file.zip"]))
    line = one_line(error)
    assert f"{CLOSED}file.zip (no connection)" in line
    assert str(data_folder / "raw" / "file.zip") in line
    assert "MODULI_DATA" in line
    assert contents(data_folder) == []


def test_a_file_downloaded_by_hand_is_used(data_folder):
    (data_folder / "raw").mkdir(parents=True)
    (data_folder / "raw" / "file.zip").write_bytes(b"good")
    assert read(make([CLOSED + "file.zip"])) == "GOOD"


def test_unexpected_content_everywhere_leaves_nothing(site, data_folder):
    site.pages["/raw"] = [(200, b"bad")]
    with pytest.raises(InputError) as error:
        read(make([site.url + "/raw"]))
    assert "unexpected content: it does not start with GOOD" in one_line(error)
    assert contents(data_folder) == []


def test_an_interrupted_download_leaves_nothing(data_folder, monkeypatch):
    def interrupted(self, url, output_file, pooch, check_only=False):
        Path(output_file).write_bytes(b"goo")
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(make([CLOSED + "file"]))
    assert list((data_folder / "set").iterdir()) == []


def test_a_damaged_file_is_named_and_kept(data_folder):
    place = data_folder / "set" / "file.txt"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"GOO")
    with pytest.raises(InputError) as error:
        make([CLOSED + "file"]).fetch()
    line = one_line(error)
    assert str(place) in line
    assert "damaged (it does not start with GOOD)" in line
    assert "delete it" in line
    assert place.read_bytes() == b"GOO"


def forbid_writing(monkeypatch):
    """As in a folder without permission to write, also for the superuser."""

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "write_bytes", refuse)


def test_a_read_only_folder_serves_what_it_has(data_folder, monkeypatch):
    place = data_folder / "set" / "file.txt"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"GOOD")
    forbid_writing(monkeypatch)
    assert make([CLOSED + "file"]).fetch() == [place]


def test_a_read_only_folder_that_lacks_a_file(data_folder, monkeypatch):
    forbid_writing(monkeypatch)
    with pytest.raises(InputError) as error:
        read(make([CLOSED + "file"]))
    line = one_line(error)
    assert f"cannot write {data_folder / 'set' / 'file.txt'} (Permission denied)" in line
    assert "MODULI_DATA" in line


def test_a_data_folder_that_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MODULI_DATA", str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot write"):
        read(make([CLOSED + "file"]))


def test_the_folder_is_the_users_cache_unless_chosen(monkeypatch):
    monkeypatch.setenv("MODULI_DATA", "~/somewhere")
    assert cache.folder() == Path.home() / "somewhere"
    monkeypatch.delenv("MODULI_DATA")
    assert cache.folder() == Path(pooch.os_cache("moduli"))
