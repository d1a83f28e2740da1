"""What goes wrong while a book is rendered, as lines that name where, what and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Problem:
    """One thing in the book's source that has to change."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message}"


class BookError(Exception):
    """The book cannot be rendered as it is written."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def refuse(file: Path | str, line: int, message: str) -> BookError:
    """A refusal with one problem, to be raised."""
    return BookError(Problem(str(file), line, message))
