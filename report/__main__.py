"""`python -m report`: renders the book into `_book/`, with Quarto where it is installed, else by itself.

The book that was there stays until the new one is whole. Exit codes: 0 rendered and checked, 1 the book cannot be
rendered or its check failed, 2 usage.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from report.check import check, pdf_of, run_in_utf8

NAME = "_book"
SHARED = "analysis.shared"  # what the kernels of the report have in common
QUARTO = (1, 9)


def main(arguments: list[str] | None = None, once: bool = False) -> int:
    """Renders, checks, and says where the book is; `once` if this process renders no other one."""
    parser = argparse.ArgumentParser(prog="python -m report", description="Renders the report into _book/.")
    parser.add_argument(
        "--engine", choices=("auto", "quarto", "press"), default="auto", help="what renders (auto)"
    )
    parser.add_argument(
        "--project", type=Path, default=Path(), metavar="DIR", help="the book's folder (here)"
    )
    parser.add_argument(
        "--times", action="store_true", help="print how long the offline renderer's stages take"
    )
    options = parser.parse_args(arguments)
    if (code := run_in_utf8("report", arguments)) is not None:
        return code
    project = options.project.resolve()
    if not project.is_dir():
        parser.error(f"--project {options.project}: no such folder")
    engine, version = options.engine, quarto_version()
    if engine == "quarto" and version < QUARTO:
        found = ".".join(map(str, version)) if version else "none"
        parser.error(f"--engine quarto needs Quarto 1.9 or newer, found {found}: try --engine press")
    if engine == "auto":
        engine = "quarto" if version >= QUARTO else "press"
    try:
        remove_leftovers(project)
        failed = with_quarto(project) if engine == "quarto" else with_press(project, options.times, once)
    except OSError as error:
        failed = [f"{error.filename or project}: {error.strerror}"]
    for line in failed:
        print(line, file=sys.stderr)
    if failed:
        return 1
    book = project / NAME
    print(f"site  {book / 'index.html'}")
    print(f"PDF   {pdf_of(book)}")
    return 0


def quarto_version() -> tuple[int, ...]:
    """The version of the Quarto program; empty where there is none."""
    program = shutil.which("quarto")
    if not program:
        return ()
    told = subprocess.run([program, "--version"], capture_output=True, encoding="utf-8", check=False)
    return tuple(int(part) for part in re.findall(r"\d+", told.stdout)[:3])


def remove_leftovers(project: Path) -> None:
    """Remove what an interrupted render of Quarto leaves beside the chapters, but nothing that git tracks."""
    leftovers = [project / "site_libs"]
    for chapter in (*project.glob("*.qmd"), *project.glob("report/*.qmd")):
        leftovers += [chapter.with_suffix(suffix) for suffix in (".html", ".typ", ".quarto_ipynb")]
        leftovers.append(chapter.with_name(f"{chapter.stem}_files"))
    for leftover in leftovers:
        if leftover.is_dir() and not git(project, "ls-files", "--", str(leftover)):
            shutil.rmtree(leftover, ignore_errors=True)
        elif leftover.is_file() and not git(project, "ls-files", "--", str(leftover)):
            leftover.unlink()


def uncommitted(project: Path) -> set[str]:
    """Return the files that differ from the last commit, without ignored ones."""
    return {line[3:] for line in git(project, "status", "--porcelain", "--untracked-files=all", "--", ".")}


def git(project: Path, *arguments: str) -> list[str]:
    """Return the lines that git prints; none where it is missing or the project is no repository."""
    program = shutil.which("git")
    if not program:
        return []
    command = [program, "-c", "core.quotePath=false", "-C", str(project), *arguments]
    told = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    return told.stdout.splitlines() if told.returncode == 0 else []


def with_press(project: Path, times: bool = False, once: bool = False) -> list[str]:
    """Renders beside the last book and takes its place when all is well."""
    from report.press import BookError, render  # Quarto needs none of its libraries
    from report.press.kernels import share
    from report.press.times import timed, times_told

    # another book's analysis is its own
    if once and project == Path(__file__).resolve().parents[1]:
        share(SHARED)
    with times_told(times), tempfile.TemporaryDirectory(prefix=f"{NAME}.", dir=project) as place:
        work, site = Path(place) / "work", Path(place) / NAME
        work.mkdir()
        try:
            render(project, site, work)
        except BookError as error:
            return [str(problem) for problem in error.problems]
        with timed("check"):
            failures = check(site, project)
        if not failures:
            replace(project / NAME, site, Path(place))
    return [str(failure) for failure in failures]


def with_quarto(project: Path) -> list[str]:
    """Let Quarto render in place; when it fails, put the last book back."""
    book, before = project / NAME, uncommitted(project)
    with tempfile.TemporaryDirectory(prefix=f"{NAME}.", dir=project) as place:
        last = Path(place) / "last"
        if book.is_dir():
            book.rename(last)
        whole = False
        try:
            done = subprocess.run(["quarto", "render"], cwd=project, check=False)
            whole = done.returncode == 0
        finally:
            if not whole:
                shutil.rmtree(book, ignore_errors=True)
                if last.is_dir():
                    last.rename(book)
    if not whole:
        return [f"quarto render failed (exit code {done.returncode}): its messages are above"]
    changed = [f"{file}: the render changed it" for file in sorted(uncommitted(project) - before)]
    return changed + [str(failure) for failure in check(book)]


def replace(book: Path, new: Path, place: Path) -> None:
    """Put the new book where the last one is; both are whole at any moment, and of two at once the later one stays."""
    for attempt in itertools.count():
        try:
            new.rename(book)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            return
        with suppress(FileNotFoundError):  # another render has put it away
            book.rename(place / f"last{attempt}")


if __name__ == "__main__":
    sys.exit(main(once=True))
