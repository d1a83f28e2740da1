"""Cached results load as tidy tables, or fail with one clear reason."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from analysis import results
from analysis.campaign.keys import Job, Program, key
from analysis.campaign.store import Provenance, Store
from analysis.data import MNIST_DIGEST
from analysis.engine.run import Measure, Run
from analysis.errors import ResultsError, UnknownExperimentError
from analysis.question import Jobs, Preset
from analysis.results import Results, SingleSeedError

MEASURES = (Measure(metrics=("train_loss",), every=1),)
EPOCHS: dict[Preset, int] = {"full": 5, "quick": 2}


def no_table() -> pd.DataFrame:
    """Stands for the programs' functions, none of which is called here."""
    raise AssertionError


def mixed(preset: Preset) -> tuple[Job, ...]:
    """Two runs that differ in layers, rate and batch size, and two programs, one with two sets of arguments."""
    epochs = EPOCHS[preset]
    return (
        Run(hidden=(300,), learning_rate=0.5, epochs=epochs, measures=MEASURES),
        Run(hidden=(10, 10), learning_rate=2, batch_size=16, epochs=epochs, measures=MEASURES),
        Program(
            name="mixed.table", function=no_table, arguments=(("sizes", (1, 2)), ("epochs", EPOCHS[preset]))
        ),
        Program(
            name="mixed.table", function=no_table, arguments=(("sizes", (3, 4)), ("epochs", EPOCHS[preset]))
        ),
        Program(name="mixed.picture", function=no_table),
    )


MIXED: Mapping[str, Jobs] = {"mixed": mixed}


def fill(
    store: Store, preset: Preset, rows: pd.DataFrame, provenance: Provenance, jobs: Jobs = mixed
) -> None:
    """Write all results of a preset."""
    for job in jobs(preset):
        store.write(job, MNIST_DIGEST, rows, provenance)


def test_rows_have_the_fields_in_which_runs_differ(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    fill(store, "full", rows, provenance)
    found = results.load("mixed", store.folder, experiments=MIXED)
    assert found.preset == "full"
    assert list(found.rows.columns) == ["hidden", "learning_rate", "batch_size", "seed", *rows.columns, "key"]
    assert list(found.rows["hidden"]) == ["300"] * 3 + ["10-10"] * 3
    assert list(found.rows["learning_rate"]) == [0.5] * 3 + [2.0] * 3
    assert list(found.rows["batch_size"].isna()) == [True] * 3 + [False] * 3
    first = mixed("full")[0]
    assert set(found.rows["key"][:3]) == {key(first, MNIST_DIGEST)}
    pd.testing.assert_frame_equal(found.rows[rows.columns][:3], rows.astype({"metric": "category"}))


def test_programs_have_the_arguments_in_which_they_differ(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    fill(store, "full", rows, provenance)
    programs = results.load("mixed", store.folder, experiments=MIXED).programs
    assert list(programs) == ["table", "picture"]
    assert list(programs["table"].columns) == ["sizes", *rows.columns, "key"]
    assert list(programs["table"]["sizes"]) == ["1-2"] * 3 + ["3-4"] * 3
    pd.testing.assert_frame_equal(programs["picture"][rows.columns], rows)


def test_full_is_preferred_to_quick(store: Store, rows: pd.DataFrame, provenance: Provenance) -> None:
    fill(store, "quick", rows, provenance)
    assert results.load("mixed", store.folder, experiments=MIXED).preset == "quick"
    fill(store, "full", rows, provenance)
    assert results.load("mixed", store.folder, experiments=MIXED).preset == "full"


def test_an_incomplete_experiment_lists_reasons_and_the_command_to_run(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    for job in mixed("quick")[:2]:
        store.write(job, MNIST_DIGEST, rows, provenance)
    first = store.path(key(mixed("quick")[0], MNIST_DIGEST))
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


def test_the_summary_has_dates_commits_devices_and_duration(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    fill(store, "full", rows, provenance)
    found = results.load("mixed", store.folder, experiments=MIXED)
    assert len(found.provenance) == 5
    assert found.seconds == 300
    assert found.summary() == ("5 results, 2026-01-31, commit 0123456, some processor, 5.0 min of computing")


def test_cached_loads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def load(name: str) -> Results:
        calls.append(name)
        return Results(name, "full", pd.DataFrame(), {}, ())

    monkeypatch.setattr(results, "load", load)
    results.cached.cache_clear()
    assert results.cached("mixed") is results.cached("mixed")
    assert results.cached("other").name == "other"
    results.cached.cache_clear()
    assert calls == ["mixed", "other"]


# Leaving seeds out


def seeded(preset: Preset) -> tuple[Job, ...]:
    """Two settings, one with a missing batch size, with seeds 0 and 2; a program with a seed, and one without."""
    return (
        *(
            Run(learning_rate=0.5, batch_size=batch_size, epochs=2, measures=MEASURES, seed=seed)
            for batch_size in (None, 16)
            for seed in (2, 0)
        ),
        *(Program(name="seeded.drawn", function=no_table, arguments=(("seed", seed),)) for seed in (0, 2)),
        Program(name="seeded.fixed", function=no_table),
    )


def test_without_seed_drops_the_rows_of_that_seed(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    fill(store, "full", rows, provenance, seeded)
    found = results.load("seeded", store.folder, experiments={"seeded": seeded})
    left = found.without_seed(2)
    assert found.seeds == (0, 2)
    assert left.seeds == (0,)
    assert all(type(seed) is int for seed in left.seeds)
    assert len(left.rows) == len(found.rows) / 2
    assert list(left.rows.columns) == list(found.rows.columns)
    assert set(left.programs["drawn"]["seed"]) == {0}
    pd.testing.assert_frame_equal(left.programs["fixed"], found.programs["fixed"])
    assert left.provenance == found.provenance
    assert found.seeds == (0, 2)  # the original is unchanged
    pd.testing.assert_frame_equal(found.without_seed(1).rows, found.rows)
    with pytest.raises(SingleSeedError, match="seeded: 2 of 2 settings have no seed other than 0"):
        left.without_seed(0)


def test_without_a_seed_groups_that_never_had_it_are_the_same_tables(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    def jobs(preset: Preset) -> tuple[Job, ...]:
        first, *others = seeded(preset)
        return (*others, dataclasses.replace(first, seed=1))  # its batch size, none, has no seed 2

    @results.of_groups
    def by_batch_size(found: Results) -> dict[str, pd.DataFrame]:
        return {str(size): some for size, some in found.rows.groupby("batch_size", dropna=False)}

    fill(store, "full", rows, provenance, jobs)
    found = results.load("seeded", store.folder, experiments={"seeded": jobs})
    whole, left = by_batch_size(found), by_batch_size(found.without_seed(2))
    with_seed, never_had = sorted(whole, key=lambda size: 2 not in set(whole[size]["seed"]))
    assert left[never_had] is whole[never_had]
    assert set(whole[with_seed]["seed"]) == {0, 2}
    assert set(left[with_seed]["seed"]) == {0}
    assert by_batch_size(found) is whole


def test_without_seed_refuses_if_one_setting_would_be_left_without_a_run(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    def jobs(preset: Preset) -> tuple[Job, ...]:
        return seeded(preset)[:-4]  # of the last setting, only seed 2

    fill(store, "full", rows, provenance, jobs)
    found = results.load("seeded", store.folder, experiments={"seeded": jobs})
    assert found.seeds == (0, 2)
    assert found.without_seed(0).seeds == (2,)
    with pytest.raises(SingleSeedError, match="1 of 2 settings have no seed other than 2"):
        found.without_seed(2)


def test_an_experiment_without_runs_has_no_seeds() -> None:
    table = pd.DataFrame({"seed": [0, 1], "value": [1.0, 2.0]})
    found = Results("programs", "full", pd.DataFrame(), {"drawn": table}, ())
    assert found.seeds == ()
    assert list(found.without_seed(1).programs["drawn"]["seed"]) == [0]
    assert dataclasses.replace(found, programs={}).without_seed(0).programs == {}


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


def test_an_unknown_name_exits_with_2_and_lists_the_known_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["mxied"], experiments=MIXED) == 2
    assert "results: unknown experiment 'mxied': choose from mixed" in capsys.readouterr().err
    with pytest.raises(UnknownExperimentError):
        results.load("mxied", experiments=MIXED)


def test_missing_results_exit_with_1(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["mixed", "--cache", str(store.folder)], experiments=MIXED) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "results: the results of mixed are incomplete" in printed.err


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = sys.modules["numba"] = None  # importing them raises
from analysis import results
from tests.test_results import MIXED
sys.exit(results.main(["mixed", "--cache", sys.argv[1]], experiments=MIXED))
"""


def _command(store: Store) -> list[str]:
    return [sys.executable, "-c", WITHOUT_TORCH, str(store.folder)]


def test_it_needs_no_torch(store: Store, rows: pd.DataFrame, provenance: Provenance) -> None:
    fill(store, "full", rows, provenance)
    done = subprocess.run(_command(store), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 16


def test_it_prints_utf8_whatever_the_locale(store: Store, rows: pd.DataFrame, provenance: Provenance) -> None:
    fill(store, "full", rows.assign(metric="größte Änderung"), provenance)
    done = subprocess.run(
        _command(store),
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "größte Änderung" in done.stdout


def test_a_reader_that_exits_early_is_not_an_error(store: Store, provenance: Provenance) -> None:
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


def test_the_command_knows_the_projects_experiments() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "analysis.results", "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "learning_rate" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_results_are_not_read(
    store: Store, rows: pd.DataFrame, provenance: Provenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, "full", rows, provenance)
    paths = [store.path(key(job, MNIST_DIGEST)) for job in mixed("full")]
    for number, path in enumerate(paths):  # beside each of them
        os.link(path, path.with_name(f"{path.name[:2]}{number:014x}-01234567.parquet"))
    read: list[Path] = []
    read_bytes = Path.read_bytes

    def watched(path: Path) -> bytes:
        read.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", watched)
    assert len(results.load("mixed", store.folder, experiments=MIXED).rows) == 6
    assert read == paths
