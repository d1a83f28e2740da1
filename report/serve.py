"""`python -m report.serve`: shows the book on this machine, and renders it again when a file of the project changes."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from report.__main__ import NAME

WATCHED = (
    "_quarto.yml",
    "*.qmd",
    "404.html",
    "report/*.qmd",
    "report/*.bib",
    "report/s*/**/*",
    "_extensions/**/*",
)
SECONDS = 1  # between looks at the files


def main(arguments: list[str] | None = None) -> int:
    """Renders, serves, and goes on until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m report.serve", description="Shows the book; renders it again when a file changes."
    )
    parser.add_argument("--port", type=int, default=8000, help="of the local server (8000)")
    options = parser.parse_args(arguments)
    project = Path().resolve()
    handler = partial(SimpleHTTPRequestHandler, directory=str(project / NAME))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", options.port), handler)
    except OSError as error:
        parser.error(f"--port {options.port}: {error.strerror}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}/ (interrupt to end)", flush=True)
    seen: dict[Path, int] = {}
    try:
        while True:
            if (now := changes(project)) != seen:
                seen = now
                # in a process of its own, whose kernels share what they read and nothing older
                render = [sys.executable, "-m", "report", "--engine", "press", "--project", str(project)]
                subprocess.run(render, check=False)
            time.sleep(SECONDS)
    except KeyboardInterrupt:
        server.shutdown()
    return 0


def changes(project: Path) -> dict[Path, int]:
    """When the files that make the book were last written."""
    found: dict[Path, int] = {}
    for path in {path for pattern in WATCHED for path in project.glob(pattern) if path.is_file()}:
        with contextlib.suppress(FileNotFoundError):  # an editor's own, gone again
            found[path] = path.stat().st_mtime_ns
    return found


if __name__ == "__main__":
    sys.exit(main())
