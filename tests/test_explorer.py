"""The scripts with all curves: complete, exact to what they promise, and small enough for a page."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import explorer
from analysis.question import Question
from analysis.questions import QUESTIONS
from analysis.results import Results, cached

# bytes, compressed as servers send them; a page loads a few scripts, never all
SCRIPT_LIMIT, ALL_LIMIT = 150_000, 850_000
QUESTION = next(question for question in QUESTIONS if question.name == "learning_rate")
EXPLORED = [(question, metric) for question, metrics in explorer.explored().items() for metric in metrics]


def described(question: Question, metric: str) -> dict[str, Any]:
    """Return what a script hands over, as a browser reads it."""
    call = explorer.script(question, metric).decode()
    file, _, content = call.removeprefix("receiveCurves(").removesuffix(");\n").partition(",")
    assert json.loads(file) == explorer.file_name(question, metric)
    return json.loads(content)


def decode(differences: list[int | None], linear: bool) -> Any:
    """Return the values as the explorer's script decodes them."""
    known = np.array([each is not None for each in differences])
    steps = np.cumsum([each or 0 for each in differences])
    if linear:
        values = steps / explorer.LINEAR_STEPS
    else:
        values = np.sinh(steps / explorer.RELATIVE_STEPS) * explorer.NEXT_TO_ZERO
    return np.where(known, values, np.nan)


def integers(text: str) -> list[int | None]:
    """Return what the explorer's script reads in letters."""
    found: list[int | None] = []
    number = shift = 0
    for letter in text:
        if letter == "!":
            found.append(None)
            continue
        digit = explorer.BASE64.index(letter)
        number |= (digit & 31) << shift
        shift += 5
        if digit < 32:
            found.append(-(number >> 1) if number & 1 else number >> 1)
            number = shift = 0
    return found


@given(st.lists(st.integers(-(2**29), 2**29) | st.none()))
def test_letters_stand_for_any_integers(numbers: list[int | None]) -> None:
    assert integers(explorer.letters(numbers)) == numbers


@given(st.lists(st.floats(-1, 1) | st.sampled_from([np.nan, np.inf])))
def test_shares_are_kept_to_half_a_step(values: list[float]) -> None:
    numbers = np.array(values, dtype=float)
    decoded = decode(explorer.encode(numbers, linear=True), linear=True)
    finite = np.isfinite(numbers)
    assert np.array_equal(np.isfinite(decoded), finite)
    np.testing.assert_allclose(decoded[finite], numbers[finite], rtol=0, atol=0.51e-4)


@given(st.lists(st.floats(1e-9, 1e30) | st.sampled_from([0.0, np.nan, np.inf])))
def test_losses_are_kept_to_a_part_in_four_thousand(values: list[float]) -> None:
    numbers = np.array(values, dtype=float)
    decoded = decode(explorer.encode(numbers, linear=False), linear=False)
    finite = np.isfinite(numbers)
    assert np.array_equal(np.isfinite(decoded), finite)
    np.testing.assert_allclose(decoded[finite], numbers[finite], rtol=1 / 3_900, atol=1e-14)


def frame(found: dict[str, Any]) -> pd.DataFrame:
    """Return the curves that a script hands over as rows."""
    parts = []
    for positions, index, time, _, seeds in found["curves"]:
        parameters = zip(found["parameters"], positions, strict=True)
        setting = {each["name"]: str(each["values"][position]) for each, position in parameters}
        update = np.cumsum(found["times"][time][0])
        for seed, values in seeds:
            curve = pd.DataFrame({"update": update, "kept": decode(integers(values), found["linear"])})
            parts.append(curve.assign(index=index, seed=seed, **setting))
    return pd.concat(parts)


@pytest.mark.parametrize(("question", "metric"), EXPLORED, ids=lambda each: getattr(each, "name", each))
def test_every_measurement_of_every_run_is_there(question: Question, metric: str) -> None:
    found = described(question, metric)
    rows = cached(question.name).rows
    rows = rows[rows["metric"] == metric].copy()
    setting = [each["name"] for each in found["parameters"]] + ["index", "seed"]
    for name in setting[:-2]:
        rows[name] = rows[name].map(lambda value: str(explorer.plain(value)))
    rows["last"] = rows.groupby("key")["update"].transform("max")
    rows = rows[rows["last"] == rows.groupby(setting)["last"].transform("max")]
    rows = rows.drop_duplicates([*setting, "update"])
    merged = rows.merge(frame(found), on=[*setting, "update"], how="outer", indicator=True)
    assert set(merged["_merge"]) == {"both"}
    expected = merged["value"].where(np.isfinite(merged["value"]))
    np.testing.assert_allclose(
        merged["kept"], expected, rtol=3e-4, atol=0.51e-4 if found["linear"] else 1e-14
    )


def test_scripts_are_small_enough_for_a_page() -> None:
    sizes = {
        explorer.file_name(*each): len(gzip.compress(explorer.script(*each), mtime=0)) for each in EXPLORED
    }
    assert {name: size for name, size in sizes.items() if size > SCRIPT_LIMIT} == {}
    assert sum(sizes.values()) <= ALL_LIMIT


def test_of_runs_that_differ_in_their_epochs_only_the_longest_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(key: str, epochs: int) -> pd.DataFrame:
        times = np.arange(epochs + 1)
        columns = {"epoch": times * 1.0, "update": times * 3, "seconds": times / 8, "index": 0}
        fixed = {"learning_rate": 0.5, "epochs": epochs, "seed": 0, "key": key, "metric": "train_loss"}
        return pd.DataFrame(columns).assign(value=2.0, **fixed)

    rows = pd.concat([run("short", 4), run("long", 9)], ignore_index=True)
    rows = rows[
        ["learning_rate", "epochs", "seed", "epoch", "update", "seconds", "metric", "index", "value", "key"]
    ]
    found = Results("learning_rate", "full", rows, {}, ())
    monkeypatch.setattr(explorer, "cached", lambda _: found)
    (curve,) = explorer.describe(QUESTION, "train_loss")["curves"]
    *_, updates_per_epoch, ((_, values),) = curve
    assert (updates_per_epoch, len(integers(values))) == (3, 10)


def test_a_link_leads_to_an_experiment_on_the_site_alone() -> None:
    link = explorer.link("learning_rate")
    assert '<a href="explorer.html?experiment=learning_rate">' in link
    assert 'when-format="html"' in link
