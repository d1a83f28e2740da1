"""Files of the project: where their names lead, and their text."""

from __future__ import annotations

import posixpath
from pathlib import Path

from report.press.problems import refuse


def inside(*parts: str) -> str | None:
    """The path from the project's root that the parts lead to; None where they lead out of the project."""
    path = posixpath.normpath(posixpath.join(*parts))
    return None if path.startswith(("/", "../")) or path in (".", "..") else path


def read_text(project: Path, file: str) -> str:
    """Read UTF-8, whatever the locale, with or without a byte order mark and with any line ends."""
    content = (project / file).read_bytes()
    try:
        text = content.decode("utf-8-sig")
        at = text.find("\0")  # UTF-16 has them
    except UnicodeDecodeError as error:
        text, at = "", error.start
    if at >= 0:
        raise refuse(file, content.count(b"\n", 0, at) + 1, "this is not UTF-8: save the file as UTF-8 text")
    return text.replace("\r\n", "\n").replace("\r", "\n")
