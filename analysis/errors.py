"""Errors for users: the command lines print the message, which says what to do, and no traceback.

And what all command lines do about their output.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator


class AnalysisError(Exception):
    """An error that a user can resolve; a command that ends with it exits with `exit_code`."""

    exit_code = 2


class DataError(AnalysisError):
    """MNIST could not be obtained."""


class StoreError(AnalysisError):
    """The cache cannot be written."""


class ResultsError(AnalysisError):
    """The cache does not hold the requested results."""

    exit_code = 1


class UnknownExperimentError(ResultsError):
    """No experiment has the requested name."""

    exit_code = 2


class DeviceError(AnalysisError):
    """The requested device, or torch itself, is not available."""


class ClusterError(AnalysisError):
    """The cluster cannot be reached, or its workers cannot compute."""


def print_utf8() -> None:
    """Make the standard streams UTF-8, whatever the locale: not every encoding has η."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def ignore_broken_pipe() -> Iterator[None]:
    """Tolerate that the reader of standard output, such as `head`, exits early; discard all further output."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # silences the interpreter's own flush
