"""An audit accepts an authentic cache, wherever it was computed, and detects forged values."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import audit
from analysis.campaign.keys import Job, Program, key
from analysis.campaign.store import Provenance, Store
from analysis.data import Data
from analysis.engine.run import Measure, Run
from analysis.question import Jobs, Preset
from tests.helpers import campaigns, digits

torch = pytest.importorskip("torch")

from analysis.engine import training  # noqa: E402 (needs torch)

CPU = torch.device("cpu")
LOSSES = ("train_loss", "train_accuracy", "test_loss")
MEASURES = (
    Measure(metrics=(*LOSSES, "class_accuracy"), every=2, dense_until=3),
    Measure(metrics=("sharpness", "gradient_norm", "confusion", "unit_distance"), every=4),
)
CALM = Run(hidden=(50,), learning_rate=0.3, epochs=9, measures=MEASURES, train_examples=200)
RUNS = {
    "calm": CALM,
    "decaying": dataclasses.replace(
        CALM, batch_size=32, decay=0.5, measures=(Measure(metrics=("test_loss", "gradient_cosine"), every=5),)
    ),
    "adam": dataclasses.replace(CALM, batch_size=32, optimizer="adam", learning_rate=0.01, hidden=(8, 8)),
    "sorted": dataclasses.replace(
        CALM,
        batch_size=1,
        order="label_sorted",
        epochs=2,
        measures=(
            Measure(metrics=(*LOSSES, "class_accuracy"), every=40, dense_until=3),
            Measure(metrics=("sharpness", "gradient_norm", "confusion", "unit_distance"), every=150),
        ),
    ),
    "alike": dataclasses.replace(CALM, init="constant", init_scale=0.1),
    "never firing": dataclasses.replace(  # the slopes of its units are exactly zero
        CALM,
        activation="relu",
        init="constant",
        init_scale=0.0,
        measures=(Measure(metrics=("train_loss", "mean_slope"), every=3),),
    ),
    "chaotic": dataclasses.replace(
        CALM, learning_rate=8.0, epochs=40, train_examples=None, measures=(Measure(metrics=LOSSES, every=1),)
    ),
    "diverged": dataclasses.replace(CALM, activation="relu", learning_rate=1e38, epochs=6),
}
Forgery = Callable[[pd.DataFrame], pd.DataFrame]


def curve(data: Data, device: object, epochs: int) -> pd.DataFrame:
    """A curve and a final value."""
    rows = [(epoch, "loss", 1 / (epoch + 1)) for epoch in range(epochs)]
    return pd.DataFrame([*rows, (epochs, "accuracy", 0.5)], columns=["epoch", "metric", "value"])


def table(data: Data, device: object) -> pd.DataFrame:
    """Text, numbers, missing values and a time."""
    return pd.DataFrame(
        {"name": ["a", None], "count": [1, 2], "share": [0.25, float("nan")], "seconds": [0.1, 0.2]}
    )


def broken(data: Data, device: object) -> pd.DataFrame:
    """Fail."""
    raise RuntimeError("no more")


PROGRAMS = {
    "curve": Program(name="audit.curve", function=curve, arguments=(("epochs", 40),)),
    "table": Program(name="audit.table", function=table),
}
JOBS: tuple[Job, ...] = (*RUNS.values(), *PROGRAMS.values())
EXPERIMENTS: dict[str, Jobs] = {
    "runs": lambda preset: tuple(RUNS.values()) if preset == "full" else (),
    "programs": lambda preset: tuple(PROGRAMS.values()),
}


def compute(job: Job, data: Data) -> pd.DataFrame:
    """Return a job's rows."""
    if isinstance(job, Program):
        return job.function(data, CPU, **dict(job.arguments))
    return training.train([job], data, CPU)[0].rows


def run_audit(
    cache: Path,
    *options: str,
    job: Job | None = None,
    experiments: Mapping[str, Jobs] = EXPERIMENTS,
    load: Callable[[Path], Data] = digits.load,
) -> int:
    """Run the command line on these experiments, or on a single job."""
    return audit.main(
        ["--cache", str(cache), "--device", "cpu", *options],
        experiments={"one": lambda preset: (job,)} if job else experiments,
        load=load,
        data_digest=digits.DIGEST,
    )


@pytest.fixture(scope="module")
def authentic(small: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache computed by torch, which rounds differently from the numba kernels of the audit."""
    store = Store(tmp_path_factory.mktemp("authentic"))
    provenance = Provenance(
        date="2026-01-31T12:00:00+00:00", commit=None, dirty=False, torch="2.9.0", numba=None, device="cpu",
        device_name="some processor", threads=1, backend="torch on cpu", stack=1, seconds=1.0,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "NumbaBackend", None)
        for job in JOBS:
            store.write(job, digits.DIGEST, compute(job, small), provenance)
    return store.folder


@pytest.fixture
def forge(authentic: Path, tmp_path: Path) -> Callable[[Job, Forgery], Path]:
    """Return a function that copies the authentic cache with one job's rows altered and a valid digest."""

    def copy(job: Job, alter: Forgery) -> Path:
        cache = Path(shutil.copytree(authentic, tmp_path / "cache"))
        result = Store(cache).read(job, digits.DIGEST)
        Store(cache).write(job, digits.DIGEST, alter(result.rows), result.provenance)
        return cache

    return copy


def lines(printed: str, job: Job) -> list[str]:
    """Return the lines of the table on a job."""
    return [line for line in printed.splitlines() if line.strip().startswith(key(job, digits.DIGEST)[:16])]


@pytest.mark.parametrize("options", [[], ["--epochs", "4"]])
def test_an_authentic_cache_passes(
    authentic: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_audit(authentic, "--runs", "99", *options) == 0
    printed = capsys.readouterr().out
    assert "10 of 10 results agree" in printed
    assert "DIFFERS" not in printed
    for job in JOBS:
        assert lines(printed, job)
    # Every value of every metric of a calm run is compared.
    compared = [line.split() for line in lines(printed, CALM)]
    assert {line[2] for line in compared} == {metric for measure in MEASURES for metric in measure.metrics}
    assert all(line[3] == line[5] != "0" for line in compared)


def test_a_chaotic_run_is_compared_while_it_is_predictable(
    authentic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_audit(authentic, job=RUNS["chaotic"]) == 0
    printed = lines(capsys.readouterr().out, RUNS["chaotic"])
    (loss,) = [line.split() for line in printed if "train_loss" in line]
    assert 3 <= int(loss[3]) < int(loss[5])
    assert 2 < float(loss[8]) < 30


def test_where_both_precisions_agree_by_chance_the_other_losses_give_the_spread() -> None:
    """As in one of Nielsen's networks after 5,000 updates: single precision gave 0.2053, double precision 0.2054."""
    measures = (Measure(metrics=("train_loss", "test_loss"), every=1),)
    run = dataclasses.replace(CALM, epochs=1, batch_size=None, measures=measures)
    rows = pd.DataFrame(
        {
            "epoch": [0.0, 0.0, 1.0, 1.0],
            "update": [0, 0, 1, 1],
            "metric": ["train_loss", "test_loss"] * 2,
            "index": 0,
            "value": [2.0, 2.0, 0.2, 0.2],
        }
    )
    double = rows.assign(value=[2.0, 2.0, 0.201, 0.2])  # rounding moves the train loss by 0.5 %

    def verdicts(test_loss: float) -> list[str]:
        cached = rows.assign(value=[2.0, 2.0, 0.2, test_loss])
        parts = {"train": 200, "validation": 0, "test": 1_000}
        return [each.verdict.split(":")[0] for each in audit.compare_run(run, cached, rows, double, parts)]

    assert verdicts(0.205) == ["agrees", "agrees"]
    assert verdicts(0.22) == ["agrees", "DIFFERS"]


def at(metric: str, update: int, change: Callable[[float], float]) -> Forgery:
    """Return a forgery of a metric's values at one update."""

    def alter(rows: pd.DataFrame) -> pd.DataFrame:
        here = (rows["metric"] == metric) & (rows["update"] == update)
        assert here.any()
        return rows.assign(value=rows["value"].where(~here, rows["value"].map(change)))

    return alter


FORGERIES: dict[str, tuple[Job, Forgery, str]] = {
    "loss": (CALM, at("train_loss", 8, lambda v: v * 1.001), "train_loss"),
    "loss at the end": (CALM, at("test_loss", 9, lambda v: v - 1e-3), "test_loss"),
    "accuracy": (CALM, at("train_accuracy", 9, lambda v: v + 0.05), "train_accuracy"),
    "accuracy of a class": (CALM, at("class_accuracy", 2, lambda v: v + 0.2), "class_accuracy"),
    "counts": (CALM, at("confusion", 4, lambda v: v + 9), "confusion"),
    "norm": (CALM, at("gradient_norm", 4, lambda v: v * 1.001), "gradient_norm"),
    "sharpness": (CALM, at("sharpness", 8, lambda v: v * 1.1), "sharpness"),
    "not a number": (CALM, at("test_loss", 6, lambda v: float("nan")), "test_loss"),
    "with minibatches": (RUNS["decaying"], at("test_loss", 10, lambda v: v * 1.001), "test_loss"),
    "before chaos": (RUNS["chaotic"], at("train_loss", 1, lambda v: v * 1.01), "train_loss"),
    "no divergence": (RUNS["diverged"], at("train_loss", 6, lambda v: 2.3), "train_loss"),
    "another run": (CALM, lambda rows: rows.assign(value=rows["value"][::-1].to_numpy()), "train_loss"),
    "a missing row": (
        CALM,
        lambda rows: rows.drop(index=7).reset_index(drop=True),
        "cached values are not the",
    ),
    "a repeated row": (
        CALM,
        lambda rows: pd.concat([rows, rows.tail(1)], ignore_index=True),
        "cached values are not the",
    ),
    "epochs": (CALM, lambda rows: rows.assign(epoch=rows["epoch"] * 2), "epochs do not match the updates"),
    "columns": (CALM, lambda rows: rows.assign(extra=1), "cached columns epoch, update"),
    "text": (CALM, lambda rows: rows.assign(value=rows["value"].astype(str)), "hold no numbers"),
    "program": (PROGRAMS["curve"], lambda rows: rows.assign(value=rows["value"] * 1.01), "value"),
    "program's rows": (PROGRAMS["table"], lambda rows: rows.head(1), "the 1 cached rows are not the 2"),
    "program's text": (PROGRAMS["table"], lambda rows: rows.assign(name=["a", "b"]), "the 2 cached rows"),
    "program's count": (PROGRAMS["table"], lambda rows: rows.assign(count=[1, 3]), "the 2 cached rows"),
    "program's columns": (PROGRAMS["table"], lambda rows: rows.drop(columns="name"), "columns count"),
    "program's type": (PROGRAMS["table"], lambda rows: rows.assign(share=["x", "y"]), "hold no numbers"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_result_with_a_valid_digest_is_detected(
    forge: Callable[[Job, Forgery], Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job, alter, expected = FORGERIES[name]
    assert run_audit(forge(job, alter), job=job) == 1
    printed = capsys.readouterr().out
    assert "0 of 1 results agree" in printed
    differing = [line for line in printed.splitlines() if "DIFFERS" in line]
    assert differing
    assert any(expected in line for line in differing)
    assert set(differing) <= set(lines(printed, job))


def test_an_audit_of_the_first_epochs_detects_forgeries_in_them(
    forge: Callable[[Job, Forgery], Path],
) -> None:
    cache = forge(CALM, at("train_loss", 2, lambda v: v * 1.001))
    assert run_audit(cache, "--epochs", "4", job=CALM) == 1
    assert run_audit(cache, "--epochs", "1", job=CALM) == 0


@pytest.mark.parametrize("job", [CALM, PROGRAMS["table"]])
def test_times_are_not_compared(forge: Callable[[Job, Forgery], Path], job: Job) -> None:
    assert run_audit(forge(job, lambda rows: rows.assign(seconds=99.0)), job=job) == 0


@pytest.mark.parametrize("back_end", ["numba", "torch"])
@pytest.mark.parametrize("name", ["calm", "decaying", "adam", "sorted"])
def test_a_shortened_run_begins_like_the_whole_run(
    small: Data, name: str, back_end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bitwise, except that a full batch evaluates its end in a separate pass: there up to rounding."""
    if back_end == "torch":
        monkeypatch.setattr(training, "NumbaBackend", None)
    run = RUNS[name]
    whole = training.train([run], small, CPU)[0].rows
    shortened = audit.shortened(run, 1 + run.epochs // 2, whole)
    assert isinstance(shortened, Run)
    short = training.train([shortened], small, CPU)[0].rows
    row = ["epoch", "update", "metric", "index"]
    last = short["update"].max()
    both = whole.merge(short, on=row, suffixes=("", "_short"))
    assert set(whole[whole["update"] <= last]["update"]) == set(both["update"])
    before = both[both["update"] < last]
    assert (before["value"] == before["value_short"]).all()
    assert both["value_short"].to_numpy() == pytest.approx(both["value"].to_numpy(), rel=1e-5)


def test_a_seed_repeats_the_draw(authentic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def drawn(*options: str) -> tuple[str, frozenset[str]]:
        assert run_audit(authentic, "--runs", "2", "--epochs", "1", *options) == 0
        first, _, *rest = capsys.readouterr().out.splitlines()
        return first, frozenset(line.split()[0] for line in rest[:-1])

    sets = {seed: drawn("--seed", str(seed))[1] for seed in range(5)}
    assert drawn("--seed", "3")[1] == sets[3]
    assert len(set(sets.values())) > 1
    assert all(len(each) == 2 for each in sets.values())
    first_line, unseeded = drawn()  # draws a seed, and prints it
    assert first_line.startswith("2 of 10 cached results, drawn with --seed ")
    assert drawn("--seed", first_line.split()[-1])[1] == unseeded


def test_costly_programs_without_epochs_are_excluded_from_a_short_audit(
    forge: Callable[[Job, Forgery], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cache = forge(CALM, lambda rows: rows)
    for job in PROGRAMS.values():
        result = Store(cache).read(job, digits.DIGEST)
        slow = dataclasses.replace(result.provenance, seconds=3600.0)
        Store(cache).write(job, digits.DIGEST, result.rows, slow)
    programs = {"programs": EXPERIMENTS["programs"]}
    assert run_audit(cache, "--runs", "99", "--epochs", "1", experiments=programs) == 0
    printed = capsys.readouterr().out
    assert lines(printed, PROGRAMS["curve"])
    assert not lines(printed, PROGRAMS["table"])


def test_a_result_that_cannot_be_recomputed_is_reported(
    store: Store, provenance: Provenance, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Program(name="audit.broken", function=broken)
    store.write(job, digits.DIGEST, pd.DataFrame({"value": [1.0]}), provenance)
    assert run_audit(store.folder, job=job) == 1
    printed = capsys.readouterr().out
    assert "DIFFERS: cannot be recomputed: RuntimeError: no more" in printed
    assert "0 of 1 results agree" in printed


def test_a_damaged_result_is_reported_instead_of_drawn(
    forge: Callable[[Job, Forgery], Path], caplog: pytest.LogCaptureFixture
) -> None:
    cache = forge(CALM, lambda rows: rows)
    path = Store(cache).path(key(CALM, digits.DIGEST))
    path.write_bytes(path.read_bytes()[:-1])
    assert run_audit(cache, "--runs", "1", "--epochs", "1") == 0
    assert f"damaged: {path}" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runs", "0"], "'0' is not a positive integer"),
        (["--runs", "many"], "'many' is not a positive integer"),
        (["--epochs", "-1"], "'-1' is not a positive integer"),
        (["--seed", "x"], "invalid int value: 'x'"),
        (["--device", "abacus"], "invalid choice: 'abacus'"),
        (["--only", "runs"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_exits_with_2(
    authentic: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_audit(authentic, *options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_without_results_data_or_device_it_exits_with_2(
    authentic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = "mps" if torch.cuda.is_available() else "cuda"
    attempts: list[tuple[Path, list[str], dict[str, Any], str]] = [
        (
            tmp_path / "none",
            [],
            {},
            "holds no results to audit; compute them with: python -m analysis.run_all",
        ),
        (authentic, [], {"load": campaigns.no_data}, "Could not obtain MNIST"),
        (authentic, ["--device", absent], {}, f"no {absent} device is available"),
    ]
    for cache, options, more, expected in attempts:
        assert run_audit(cache, *options, **more) == 2
        assert f"audit: {'' if cache == authentic else cache}" in (error := capsys.readouterr().err)
        assert expected in error
    assert not (tmp_path / "none").exists()


def presets_of(preset: Preset) -> tuple[Job, ...]:
    """One run of the full preset, another of the quick one."""
    return (RUNS["calm"],) if preset == "full" else (RUNS["adam"],)


def test_candidates_come_from_both_presets_and_are_distinct(authentic: Path) -> None:
    found = audit.candidates({**EXPERIMENTS, "both": presets_of}, Store(authentic), digits.DIGEST, False)
    assert len(found) == 10
    named = {candidate.job: candidate.experiments for candidate in found}
    assert named[RUNS["calm"]] == named[RUNS["adam"]] == ("runs", "both")
    only_both = audit.candidates({"both": presets_of}, Store(authentic), digits.DIGEST, False)
    assert {candidate.job for candidate in only_both} == {RUNS["calm"], RUNS["adam"]}
