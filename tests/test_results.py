"""Cached results come back as tidy tables, or with one clear reason why not."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from analysis import results
from analysis.campaign.keys import Job, Program, key
from analysis.campaign.store import Provenance, Store
from analysis.data import MNIST_DIGEST
from analysis.engine.run import Measure, Run
from analysis.errors import ResultsError
from analysis.question import Experiment, Preset

MEASURES = (Measure(metrics=("train_loss",), every=1),)
EPOCHS: dict[Preset, int] = {"full": 5, "quick": 2}


def jobs(preset: Preset) -> tuple[Job, ...]:
    """Two runs that differ in layers, rate and batch, and two calls of one function."""
    return (
        Run(hidden=(300,), learning_rate=0.5, epochs=EPOCHS[preset], measures=MEASURES),
        Run(hidden=(10, 10), learning_rate=2, batch_size=16, epochs=EPOCHS[preset], measures=MEASURES),
        Program(function="somewhere:table", arguments=(("sizes", (1, 2)), ("epochs", EPOCHS[preset]))),
        Program(function="somewhere:table", arguments=(("sizes", (3, 4)), ("epochs", EPOCHS[preset]))),
        Program(function="somewhere:picture"),
    )


MIXED = {"mixed": Experiment("mixed", "What is mixed?", jobs)}


def fill(store: Store, preset: Preset, rows: pd.DataFrame, provenance: Provenance) -> None:
    """Write all of a preset's results."""
    for job in jobs(preset):
        store.write(job, MNIST_DIGEST, rows, provenance)


def test_rows_carry_what_differs_between_runs(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    fill(store, "full", rows, provenance)
    found = results.load("mixed", store.folder, experiments=MIXED)
    assert found.preset == "full"
    assert list(found.rows.columns) == ["hidden", "learning_rate", "batch_size", "seed", *rows.columns, "key"]
    assert list(found.rows["hidden"]) == ["300"] * 3 + ["10-10"] * 3
    assert list(found.rows["learning_rate"]) == [0.5] * 3 + [2.0] * 3
    assert list(found.rows["batch_size"].isna()) == [True] * 3 + [False] * 3
    first = jobs("full")[0]
    assert set(found.rows["key"][:3]) == {key(first, MNIST_DIGEST)}
    pd.testing.assert_frame_equal(found.rows[rows.columns][:3], rows)


def test_programs_come_by_name_with_the_arguments_that_differ(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    fill(store, "full", rows, provenance)
    programs = results.load("mixed", store.folder, experiments=MIXED).programs
    assert list(programs) == ["table", "picture"]
    assert list(programs["table"].columns) == ["sizes", *rows.columns, "key"]
    assert list(programs["table"]["sizes"]) == ["1-2"] * 3 + ["3-4"] * 3
    pd.testing.assert_frame_equal(programs["picture"][rows.columns], rows)


def test_full_comes_before_quick(store: Store, rows: pd.DataFrame, provenance: Provenance) -> None:
    fill(store, "quick", rows, provenance)
    assert results.load("mixed", store.folder, experiments=MIXED).preset == "quick"
    fill(store, "full", rows, provenance)
    assert results.load("mixed", store.folder, experiments=MIXED).preset == "full"


def test_what_is_missing_is_counted_and_the_command_named(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    for job in jobs("quick")[:2]:
        store.write(job, MNIST_DIGEST, rows, provenance)
    first = store.path(key(jobs("quick")[0], MNIST_DIGEST))
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(ResultsError) as caught:
        results.load("mixed", store.folder, experiments=MIXED)
    message = str(caught.value)
    # The picture is the same job in both presets.
    assert "full: 5 of 5 not computed yet" in message
    assert "quick: 3 of 5 not computed yet" in message
    assert f"quick: 1 of 5 damaged: {first}" in message
    assert "python -m analysis.run_all --only mixed" in message
    assert caught.value.exit_code == 1


def test_the_summary_names_dates_commits_devices_and_time(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    fill(store, "full", rows, provenance)
    found = results.load("mixed", store.folder, experiments=MIXED)
    assert len(found.provenance) == 5
    assert found.seconds == 300
    assert found.summary() == ("5 results, 2026-01-31, commit 0123456, some processor, 5.0 min of computing")


# The command line


def test_it_prints_csv(
    store: Store, rows: pd.DataFrame, provenance: Provenance, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store, "full", rows, provenance)
    assert results.main(["mixed", "--cache", str(store.folder)], experiments=MIXED) == 0
    printed = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert len(printed) == 15
    assert set(printed["program"].dropna()) == {"table", "picture"}
    assert {"learning_rate", "epoch", "metric", "value"} <= set(printed.columns)


def test_an_unknown_name_ends_with_2_and_the_known_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["mxied"], experiments=MIXED) == 2
    assert "no experiment is called 'mxied': choose from mixed" in capsys.readouterr().err


def test_missing_results_end_with_1(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["mixed", "--cache", str(store.folder)], experiments=MIXED) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "results: the results of mixed are not complete" in printed.err


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = sys.modules["numba"] = None  # importing them raises
sys.path.insert(0, sys.argv[1])
from analysis import results
from test_results import MIXED
sys.exit(results.main(["mixed", "--cache", sys.argv[2]], experiments=MIXED))
"""


def _command(store: Store) -> list[str]:
    return [sys.executable, "-c", WITHOUT_TORCH, str(Path(__file__).parent), str(store.folder)]


def test_it_needs_no_torch(store: Store, rows: pd.DataFrame, provenance: Provenance) -> None:
    fill(store, "full", rows, provenance)
    done = subprocess.run(_command(store), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 16


def test_a_reader_that_has_seen_enough_is_no_error(store: Store, provenance: Provenance) -> None:
    fill(store, "full", pd.DataFrame({"value": range(20_000)}), provenance)
    with subprocess.Popen(
        _command(store), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("hidden")
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 0
    assert "Error" not in errors


def test_the_project_knows_its_own_experiments() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "analysis.results", "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "learning_rate" in done.stderr
    assert "Traceback" not in done.stderr


def test_ten_thousand_other_results_do_not_slow_it_down(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    fill(store, "full", rows, provenance)
    a_result = store.path(key(jobs("full")[0], MNIST_DIGEST))
    for number in range(10_000):
        other = store.path(f"{number * 7919 % 65536:04x}{number:012x}-01234567")
        other.parent.mkdir(exist_ok=True)
        os.link(a_result, other)
    started = time.monotonic()
    assert len(results.load("mixed", store.folder, experiments=MIXED).rows) == 6
    assert time.monotonic() - started < 2
