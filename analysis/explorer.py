"""The curves of all runs as scripts that the explorer's page loads, one a metric of an experiment.

A script calls `receiveCurves` with its file's name and one object:

- `about`: what was measured; `linear`, `steps` and `unit`: see `encode`;
- `index`: where a run has several curves, of what;
- `parameters`: in what the experiment's settings differ, each with `name`, `label` and its `values`,
  sorted, with the `words` for those that are names;
- `times`: when it was measured; each is the differences of the updates, every how many of these a time in seconds
  follows (the last one does as well; others lie on a line between), the differences of these times, and their unit;
- `curves`: each is the positions of its parameters' values, its index, the position of its times, its updates per
  epoch, and for every seed the seed and its values, as `encode` and `letters` give them.

No value is left out: spikes are what many of these curves are about.
"""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.engine.run import METRICS, PER_LAYER
from analysis.formatting import label
from analysis.question import Question
from analysis.questions import QUESTIONS
from analysis.results import cached

# Values within [-1, 1] are stored in steps of a ten-thousandth; others on a scale that is linear next to 0 and beyond
# logarithmic, in steps of a two-thousandth of the value. The differences of such integers are small where curves are
# smooth, and compress to half of decimal numbers.
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
LINEAR_STEPS, RELATIVE_STEPS, NEXT_TO_ZERO = 10_000, 2_000, 1e-12
KNOTS = 5  # so many times in seconds suffice for a run, whose updates take about equally long
LINEAR = tuple(name for name in METRICS if name.endswith(("accuracy", "cosine")))
PARAMETERS = {
    "hidden": "hidden layers",
    "skip": "skip connections",
    "init": "initialization",
    "init_scale": "scale of the initialization",
    "labels": "label permutation",
    "learning_rate": "learning rate η",
    "decay": "decay of η",
    "order": "order of the examples",
    "train_examples": "training examples",
    "validation_examples": "validation examples",
}

Numbers = np.ndarray[Any, Any]


def metrics(name: str) -> list[str]:
    """Return of which metrics an experiment has curves.

    Not of the confusion, which is a table at each of its times, nor of the validation loss, which chooses nothing.
    """
    measured = set(cached(name).rows.get("metric", ()))
    return [
        metric for metric in METRICS if metric in measured and metric not in ("confusion", "validation_loss")
    ]


def explored() -> dict[Question, list[str]]:
    """Return the questions whose experiments have curves, each with its metrics."""
    return {question: found for question in QUESTIONS if (found := metrics(question.name))}


def link(experiment: str, state: str = "") -> str:
    """Return Markdown of a link to an experiment in the explorer, in the state that its address gives."""
    query = "&amp;".join([f"experiment={experiment}", *filter(None, state.split("&"))])
    tag = f'<a href="explorer.html?{query}">Explore these runs</a>'
    return f'[`{tag}`{{=html}}]{{.content-visible when-format="html"}}'


def file_name(question: Question, metric: str) -> str:
    """Return the name of a script."""
    return f"data-{question.name}-{metric}.js"


def script(question: Question, metric: str) -> bytes:
    """Return the script with the curves of one metric."""
    content = json.dumps(describe(question, metric), separators=(",", ":"), allow_nan=False)
    return f'receiveCurves("{file_name(question, metric)}",{content});\n'.encode()


def describe(question: Question, metric: str) -> dict[str, Any]:
    """Return the object that a script hands over."""
    rows = cached(question.name).rows
    rows = rows[rows["metric"] == metric]
    fields = [
        name
        for name in rows.columns[: rows.columns.get_loc("epoch")]
        if name not in ("seed", "epochs") and rows[name].nunique(dropna=False) > 1
    ]
    values = {name: _sorted(rows[name]) for name in fields}
    times: dict[str, int] = {}
    curves: dict[tuple[Any, ...], list[Any]] = {}  # what seeds share is told once
    for curve in _longest(rows, fields):
        time = times.setdefault(json.dumps(_times(curve.updates, curve.seconds)), len(times))
        setting = tuple(values[name].index(value) for name, value in zip(fields, curve.setting, strict=True))
        of_setting = curves.setdefault((setting, curve.index, time, curve.updates_per_epoch), [])
        of_setting.append([curve.seed, letters(encode(curve.values, metric in LINEAR))])
    described = {
        "about": METRICS[metric].partition("; index")[0],
        "linear": metric in LINEAR,
        "steps": LINEAR_STEPS if metric in LINEAR else RELATIVE_STEPS,
        "unit": 1 if metric in LINEAR else NEXT_TO_ZERO,
        "parameters": [
            {
                "name": name,
                "label": PARAMETERS.get(name, label(name)),
                "values": values[name],
                "words": [label(value) if isinstance(value, str) else "" for value in values[name]],
            }
            for name in fields
        ],
        "times": [json.loads(time) for time in times],
        "curves": [[*shared, seeds] for shared, seeds in curves.items()],
    }
    if rows["index"].nunique() > 1:
        described["index"] = "layer" if metric in PER_LAYER else "class"
    return described


def encode(values: Numbers, linear: bool) -> list[int | None]:
    """Return values as differences of whole steps, None where a value is not finite.

    A sum s of differences stands for s / steps · unit if the metric is linear, else for sinh(s / steps) · unit.
    """
    finite = np.isfinite(values)
    known = values[finite]
    steps = known * LINEAR_STEPS if linear else np.arcsinh(known / NEXT_TO_ZERO) * RELATIVE_STEPS
    differences = iter(_differences(np.round(steps)))
    return [next(differences) if each else None for each in finite]


def letters(differences: list[int | None]) -> str:
    """Return integers in the base64 VLQ of source maps, a letter for five bits; an exclamation mark for None.

    Compressed, that takes a ninth less than decimal numbers.
    """
    text = []
    for each in differences:
        if each is None:
            text.append("!")
            continue
        rest = abs(each) << 1 | (each < 0)
        while rest > 31:
            text.append(BASE64[rest & 31 | 32])
            rest >>= 5
        text.append(BASE64[rest])
    return "".join(text)


@dataclass(frozen=True)
class _Curve:
    """The values of the metric along a run, or of one layer or class.

    Attributes:
        setting: The run's values of the fields in which the experiment's runs differ.
        index, seed, updates, seconds, values: As in the rows.
    """

    setting: tuple[Any, ...]
    index: int
    seed: int
    updates: Numbers
    updates_per_epoch: int
    seconds: Numbers
    values: Numbers


def _longest(rows: pd.DataFrame, fields: list[str]) -> list[_Curve]:
    """Return all curves.

    Of runs that differ in nothing but the number of epochs the longest, as the others are its beginning.
    """
    runs = rows.drop_duplicates("key")[["key", "seed", *fields]].itertuples(index=False)
    settings = {key: (tuple(map(plain, values)), int(seed)) for key, seed, *values in runs}
    columns = {name: rows[name].to_numpy() for name in ("update", "epoch", "seconds", "value")}
    chosen: dict[tuple[Any, ...], _Curve] = {}
    for (index, key), places in rows.groupby(["index", "key"], sort=False).indices.items():
        updates, epochs, seconds, values = (column[places] for column in columns.values())
        setting, seed = settings[key]
        per_epoch = round(updates[-1] / epochs[-1])
        curve = _Curve(setting, int(index), seed, updates, per_epoch, seconds, values)
        same = setting, index, seed
        if same not in chosen or chosen[same].updates[-1] < updates[-1]:
            chosen[same] = curve
    return list(chosen.values())


def _times(updates: Numbers, seconds: Numbers) -> tuple[list[int], int, list[int], float]:
    every = max(1, (len(updates) - 1) // KNOTS)
    knots = np.append(seconds[:-1:every], seconds[-1])
    unit = 10.0 ** (np.floor(np.log10(max(seconds[-1], 1e-3))) - 3)
    return _differences(updates), every, _differences(np.round(knots / unit)), float(unit)


def _differences(numbers: Numbers) -> list[int]:
    """Return the first number and every later one less the one before."""
    whole = numbers.astype(int)
    whole[1:] -= whole[:-1].copy()
    differences: list[int] = whole.tolist()
    return differences


def _sorted(column: pd.Series[Any]) -> list[Any]:
    """Return the values of a column: numbers by size, nothing last, names as they come."""
    values = list(dict.fromkeys(map(plain, column.drop_duplicates())))
    numeric = all(value is None or isinstance(value, int | float) for value in values)
    return sorted(values, key=lambda value: (value is None, value)) if numeric else values


def plain(value: Any) -> Any:
    """Return the value as JSON has it; in a column with gaps, pandas has floats for integers."""
    if isinstance(value, str | bool):
        return value
    if value is None or pd.isna(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.12g}")
