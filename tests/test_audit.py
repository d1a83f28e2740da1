"""An audit passes an honest cache, wherever it was computed, and finds values that nobody could have computed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import audit
from analysis.campaign.keys import Job, Program, key
from analysis.campaign.store import Provenance, Store
from analysis.data import Data
from analysis.engine.run import Measure, Run
from analysis.errors import DataError
from analysis.question import Experiment, Preset
from tests.helpers import digits

torch = pytest.importorskip("torch")

from analysis import training  # noqa: E402 (needs torch

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
    "sorted": dataclasses.replace(CALM, batch_size=1, order="label_sorted", epochs=2),
    "alike": dataclasses.replace(CALM, init="constant", init_scale=0.1),
    "chaotic": dataclasses.replace(
        CALM, learning_rate=8.0, epochs=40, train_examples=None, measures=(Measure(metrics=LOSSES, every=1),)
    ),
    "diverged": dataclasses.replace(CALM, activation="relu", learning_rate=1e38, epochs=6),
}
PROGRAMS = {
    "curve": Program(function="test_audit:curve", arguments=(("epochs", 40),)),
    "table": Program(function="test_audit:table"),
}
EXPERIMENTS = {
    "runs": Experiment(
        "runs", "Which runs?", lambda preset: tuple(RUNS.values()) if preset == "full" else ()
    ),
    "programs": Experiment("programs", "Which programs?", lambda preset: tuple(PROGRAMS.values())),
}
Forge = Callable[[pd.DataFrame], pd.DataFrame]


def curve(data: Data, device: object, epochs: int) -> pd.DataFrame:
    """A curve, and what it ends with."""
    rows = [(epoch, "loss", 1 / (epoch + 1)) for epoch in range(epochs)]
    return pd.DataFrame([*rows, (epochs, "accuracy", 0.5)], columns=["epoch", "metric", "value"])


def table(data: Data, device: object) -> pd.DataFrame:
    """Words, numbers, nothing, and a time."""
    return pd.DataFrame(
        {"name": ["a", None], "count": [1, 2], "share": [0.25, float("nan")], "seconds": [0.1, 0.2]}
    )


def broken(data: Data, device: object) -> pd.DataFrame:
    """Cannot be computed again."""
    raise RuntimeError("no more")


def compute(job: Job, data: Data) -> pd.DataFrame:
    """A job's rows."""
    if isinstance(job, Program):
        rows: pd.DataFrame = globals()[job.function.partition(":")[2]](data, CPU, **dict(job.arguments))
        return rows
    return training.train([job], data, CPU)[0].rows


def run_audit(
    cache: Path, *options: str, job: Job | None = None, load: Callable[[Path], Data] = digits.load
) -> int:
    """The command line over these experiments, or over a single job."""
    one = {"one": Experiment("one", "Which?", lambda preset: (job,) if job else ())}
    return audit.main(
        ["--cache", str(cache), "--device", "cpu", *options],
        experiments=one if job else EXPERIMENTS,
        load=load,
        data_digest=digits.DIGEST,
    )


@pytest.fixture(scope="module")
def honest(small: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that torch has filled, which rounds otherwise than the numba kernels that audit it."""
    store = Store(tmp_path_factory.mktemp("honest"))
    how = Provenance(
        date="2026-01-31T12:00:00+00:00", commit=None, dirty=False, torch="2.9.0", numba=None, device="cpu",
        device_name="some processor", threads=1, backend="torch on cpu", stack=1, seconds=1.0,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "NumbaBackend", None)
        for job in (*RUNS.values(), *PROGRAMS.values()):
            store.write(job, digits.DIGEST, compute(job, small), how)
    return store.folder


@pytest.fixture
def forged(honest: Path, tmp_path: Path) -> Callable[[Job, Forge], Path]:
    """Makes a copy of the honest cache with one job's rows altered, and a digest that fits them."""

    def forge(job: Job, alter: Forge) -> Path:
        cache = Path(shutil.copytree(honest, tmp_path / "cache"))
        result = Store(cache).read(job, digits.DIGEST)
        Store(cache).write(job, digits.DIGEST, alter(result.rows), result.provenance)
        return cache

    return forge


def lines(printed: str, job: Job) -> list[str]:
    """What the table says of a job."""
    return [line for line in printed.splitlines() if line.strip().startswith(key(job, digits.DIGEST)[:16])]


@pytest.mark.parametrize("options", [[], ["--epochs", "4"]])
def test_an_honest_cache_passes(honest: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_audit(honest, "--runs", "99", *options) == 0
    printed = capsys.readouterr().out
    assert "9 of 9 results agree" in printed
    assert "DIFFERS" not in printed
    for job in (*RUNS.values(), *PROGRAMS.values()):
        assert lines(printed, job)
    # All of a calm run is compared, in every metric.
    compared = [line.split() for line in lines(printed, CALM)]
    assert {line[2] for line in compared} == {metric for measure in MEASURES for metric in measure.metrics}
    assert all(line[3] == line[5] != "0" for line in compared)


def test_a_chaotic_run_is_compared_while_it_can_be_predicted(
    honest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_audit(honest, job=RUNS["chaotic"]) == 0
    printed = lines(capsys.readouterr().out, RUNS["chaotic"])
    print(*printed, sep="\n")
    (loss,) = [line.split() for line in printed if "train_loss" in line]
    assert 3 <= int(loss[3]) < int(loss[5])
    assert 2 < float(loss[8]) < 30


def test_a_loss_in_which_two_precisions_happen_to_meet_is_judged_by_the_other() -> None:
    """As in a network of Nielsen's after 5,000 updates, where single and double precision gave 0.2053 and 0.2054."""
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


def at(metric: str, update: int, change: Callable[[float], float]) -> Forge:
    """Alters a metric's values at one update."""

    def alter(rows: pd.DataFrame) -> pd.DataFrame:
        here = (rows["metric"] == metric) & (rows["update"] == update)
        assert here.any()
        return rows.assign(value=rows["value"].where(~here, rows["value"].map(change)))

    return alter


FORGERIES: dict[str, tuple[Job, Forge, str]] = {
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
    "a row less": (CALM, lambda rows: rows.drop(index=7), "other values than"),
    "a row twice": (CALM, lambda rows: pd.concat([rows, rows.tail(1)]), "other values than"),
    "epochs": (CALM, lambda rows: rows.assign(epoch=rows["epoch"] * 2), "epochs are not those"),
    "columns": (CALM, lambda rows: rows.assign(extra=1), "columns epoch, update"),
    "words": (CALM, lambda rows: rows.assign(value=rows["value"].astype(str)), "not all numbers are numbers"),
    "program": (PROGRAMS["curve"], lambda rows: rows.assign(value=rows["value"] * 1.01), "value"),
    "program's rows": (PROGRAMS["table"], lambda rows: rows.head(1), "its 1 rows are not the 2"),
    "program's words": (PROGRAMS["table"], lambda rows: rows.assign(name=["a", "b"]), "its 2 rows are not"),
    "program's count": (PROGRAMS["table"], lambda rows: rows.assign(count=[1, 3]), "its 2 rows are not"),
    "program's columns": (PROGRAMS["table"], lambda rows: rows.drop(columns="name"), "columns count"),
    "program's type": (PROGRAMS["table"], lambda rows: rows.assign(share=["x", "y"]), "not all numbers are"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_result_is_found_although_its_digest_fits(
    forged: Callable[[Job, Forge], Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job, alter, told = FORGERIES[name]
    assert run_audit(forged(job, alter), job=job) == 1
    printed = capsys.readouterr().out
    assert "0 of 1 results agree" in printed
    wrong = [line for line in printed.splitlines() if "DIFFERS" in line]
    assert wrong
    assert any(told in line for line in wrong)
    assert set(wrong) <= set(lines(printed, job))


def test_the_first_epochs_suffice_to_find_what_is_wrong_in_them(forged: Callable[[Job, Forge], Path]) -> None:
    cache = forged(CALM, at("train_loss", 2, lambda v: v * 1.001))
    assert run_audit(cache, "--epochs", "4", job=CALM) == 1
    assert run_audit(cache, "--epochs", "1", job=CALM) == 0


@pytest.mark.parametrize("job", [CALM, PROGRAMS["table"]])
def test_times_are_not_compared(forged: Callable[[Job, Forge], Path], job: Job) -> None:
    assert run_audit(forged(job, lambda rows: rows.assign(seconds=99.0)), job=job) == 0


@pytest.mark.parametrize("back_end", ["numba", "torch"])
@pytest.mark.parametrize("name", ["calm", "decaying", "adam", "sorted"])
def test_fewer_epochs_begin_as_more_do(
    small: Data, name: str, back_end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for what a full batch measures at its end, which costs a pass of its own: the same up to rounding."""
    if back_end == "torch":
        monkeypatch.setattr(training, "NumbaBackend", None)
    run = RUNS[name]
    whole = training.train([run], small, CPU)[0].rows
    short = training.train([audit.shortened(run, 1 + run.epochs // 2, whole)], small, CPU)[0].rows
    place = ["epoch", "update", "metric", "index"]
    last = short["update"].max()
    both = whole.merge(short, on=place, suffixes=("", "_short"))
    assert set(whole[whole["update"] <= last]["update"]) == set(both["update"])
    before = both[both["update"] < last]
    assert (before["value"] == before["value_short"]).all()
    assert both["value_short"].to_numpy() == pytest.approx(both["value"].to_numpy(), rel=1e-5)


def test_a_seed_draws_the_same_results_again(honest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def drawn(*options: str) -> tuple[str, frozenset[str]]:
        assert run_audit(honest, "--runs", "2", "--epochs", "1", *options) == 0
        first, _, *rest = capsys.readouterr().out.splitlines()
        return first, frozenset(line.split()[0] for line in rest[:-1])

    sets = {seed: drawn("--seed", str(seed))[1] for seed in range(5)}
    assert drawn("--seed", "3")[1] == sets[3]
    assert len(set(sets.values())) > 1
    assert all(len(each) == 2 for each in sets.values())
    said, unseeded = drawn()  # draws a seed, and says which
    assert said.startswith("2 of 9 cached results, drawn with --seed ")
    assert drawn("--seed", said.split()[-1])[1] == unseeded


def test_costly_programs_without_epochs_are_left_out_of_a_short_audit(
    honest: Path, forged: Callable[[Job, Forge], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cache = forged(CALM, lambda rows: rows)
    for job in PROGRAMS.values():
        result = Store(cache).read(job, digits.DIGEST)
        slow = dataclasses.replace(result.provenance, seconds=3600.0)
        Store(cache).write(job, digits.DIGEST, result.rows, slow)
    assert run_audit(cache, "--runs", "99", "--epochs", "1") == 0
    printed = capsys.readouterr().out
    assert lines(printed, PROGRAMS["curve"])
    assert not lines(printed, PROGRAMS["table"])


def test_what_cannot_be_computed_again_is_told(
    store: Store, provenance: Provenance, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Program(function="test_audit:broken")
    store.write(job, digits.DIGEST, pd.DataFrame({"value": [1.0]}), provenance)
    assert run_audit(store.folder, job=job) == 1
    printed = capsys.readouterr().out
    assert "DIFFERS: cannot be computed: RuntimeError: no more" in printed
    assert "0 of 1 results agree" in printed


def test_a_damaged_result_is_not_drawn_but_named(
    honest: Path, forged: Callable[[Job, Forge], Path], caplog: pytest.LogCaptureFixture
) -> None:
    cache = forged(CALM, lambda rows: rows)
    path = Store(cache).path(key(CALM, digits.DIGEST))
    path.write_bytes(path.read_bytes()[:-1])
    assert run_audit(cache, "--runs", "1", "--epochs", "1") == 0
    assert f"damaged: {path}" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runs", "0"], "'0' is not a number from 1"),
        (["--runs", "many"], "'many' is not a number from 1"),
        (["--epochs", "-1"], "'-1' is not a number from 1"),
        (["--seed", "x"], "invalid int value: 'x'"),
        (["--device", "abacus"], "invalid choice: 'abacus'"),
        (["--only", "runs"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_ends_with_2(
    honest: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_audit(honest, *options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_without_results_data_or_device_it_ends_with_2(
    honest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_data(folder: Path) -> Data:
        raise DataError("MNIST is not to be had")

    absent = "mps" if torch.cuda.is_available() else "cuda"
    attempts: list[tuple[Path, list[str], dict[str, Any], str]] = [
        (tmp_path / "none", [], {}, "holds no result of the experiments: python -m analysis.run_all"),
        (honest, [], {"load": no_data}, "MNIST is not to be had"),
        (honest, ["--device", absent], {}, f"there is no {absent} device here"),
    ]
    for cache, options, more, told in attempts:
        assert run_audit(cache, *options, **more) == 2
        assert f"audit: {'' if cache == honest else cache}" in (said := capsys.readouterr().err)
        assert told in said
    assert not (tmp_path / "none").exists()


def presets_of(preset: Preset) -> tuple[Job, ...]:
    """One run of the full preset, another of the quick one."""
    return (RUNS["calm"],) if preset == "full" else (RUNS["adam"],)


def test_both_presets_are_drawn_from_and_shared_runs_once(honest: Path) -> None:
    both = Experiment("both", "Which?", presets_of)
    found = audit.candidates({**EXPERIMENTS, "both": both}, Store(honest), digits.DIGEST, False)
    assert len(found) == 9
    named = {candidate.job: candidate.experiments for candidate in found}
    assert named[RUNS["calm"]] == named[RUNS["adam"]] == ("runs", "both")
    alone = audit.candidates({"both": both}, Store(honest), digits.DIGEST, False)
    assert {candidate.job for candidate in alone} == {RUNS["calm"], RUNS["adam"]}
