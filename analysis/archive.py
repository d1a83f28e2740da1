"""All results as CSV, and as one archive with a guide to its columns."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

import pandas as pd
import pyarrow.csv

from analysis.engine.run import METRICS
from analysis.questions import QUESTIONS
from analysis.results import cached

ROOT = Path(__file__).resolve().parents[1]
NAME = "mnist-report-data"  # of the archive, and of the folder in it
INCLUDED = ("LICENSE", "CITATION.cff")

COLUMNS = {
    "hidden": "numbers of units in the hidden layers: 300, or 10-10",
    "activation": "function of the hidden units",
    "skip": "whether each hidden layer after the first adds its input to its activation",
    "init": "distribution of the initial weights and biases",
    "init_scale": "scale of that distribution",
    "loss": "loss that is minimized",
    "output": "function from logits to outputs",
    "target": "what the outputs are compared with",
    "labels": "the class as which digit 0, 1, … 9 is trained and tested",
    "optimizer": "rule of the updates",
    "learning_rate": "learning rate η at the first update",
    "beta1": "decay rate of Adam's running mean of the gradients, and of the sum of them that is a momentum",
    "decay": "η at update t is learning_rate / (1 + decay · t / updates per epoch)",
    "batch_size": "examples per update; empty: all training examples",
    "order": "order of the examples",
    "train_examples": "size of the training set; empty: all that validation leaves",
    "train_subset": "number of the training set among the disjoint ones of that size",
    "validation_examples": "examples held out of training",
    "epochs": "passes over the training set in the whole run",
    "seed": "determines initialization and order of the examples",
    "epoch": "passes over the training set so far",
    "update": "updates so far",
    "seconds": "training time so far; in minibatch-plain_seconds.csv, of one update in plain PyTorch",
    "metric": "what was measured, see below",
    "index": "of what the metric was measured, see below; else 0",
    "value": "the measured value; empty where it is not finite; in exercise1-digits.csv, the pixel's brightness",
    "example": "number of a training example",
    "label": "its digit",
    "pixel": "number of a pixel, row by row",
    "check": "what was compared with the gradient of the mean loss by formula",
    "deviation": "relative deviation",
    "examples": "size of each training set",
    "subset": "number of the training set; of squared_error, bias2 and variance the one that is left out, -1: none",
    "subsets": "number of training sets without common examples",
    "rates": "learning rates of the call that computed the line; empty: those planned first",
    "rate": "learning rate",
    "beta": "number of parameters by the formula",
    "reading": "a single output read as the nearest digit, or between thresholds; the value is the test accuracy",
    "outcome": "test digits misread at the least test loss alone, at the end alone, or at both; the value is how many",
    "pass": "passes of SGD after the sorted stream",
    "counted": "number of parameters of the network as PyTorch counts them",
    "constant": "the value of all weights and biases at the start",
    "units": "number of hidden units",
    "train_loss": "mean loss over the training examples",
    "gradient_norm": "length of the gradient of the mean loss, in the fitted layer",
    "test_accuracy": "share of the test examples whose digit is read",
    "position": "position in the order of the examples",
    "shuffled": "label of the example there, in shuffled order",
    "label_sorted": "the same, sorted by label",
}
"""What the columns hold, in the order of the guide."""

METRICS_OF_PROGRAMS = {
    "squared_error": "mean squared error of the outputs, over examples and training sets",
    "bias2": "its part due to the mean output: bias²",
    "variance": "its part due to the spread of the outputs: variance",
    "variance_start": "the part of the variance that is due to the start",
    "variance_set": "the part that is due to the training set",
    "off": "share of the hidden activations below 0.01, over units and training examples",
    "on": "share of those above 0.99",
}


@cache
def tables(name: str) -> dict[str, bytes]:
    """Return an experiment's results as CSV, by file name: its runs', and a file for each of its programs."""
    found = cached(name)
    frames = {f"{name}-{function}.csv": table for function, table in found.programs.items()}
    if len(found.rows):
        frames[f"{name}.csv"] = found.rows
    # without the key, which is long, and for this project's own use
    return {file: _csv(frame.drop(columns="key")) for file, frame in frames.items()}


def _csv(frame: pd.DataFrame) -> bytes:
    """Return a table as CSV, its fractions in single precision, as which they were computed."""
    fractions = frame.columns[frame.dtypes == "float64"]
    text = io.BytesIO()
    # an order of magnitude faster than pandas, which took most of the data chapter's time
    pyarrow.csv.write_csv(
        pyarrow.Table.from_pandas(frame.astype(dict.fromkeys(fractions, "float32")), preserve_index=False),
        text,
        pyarrow.csv.WriteOptions(quoting_style="needed"),
    )
    return text.getvalue()


def metrics_guide() -> dict[str, str]:
    """Return what each metric is."""
    return METRICS | METRICS_OF_PROGRAMS


def guide() -> str:
    """Return the archive's README: which file holds what, and what the columns and metrics are."""
    lines = ["# Results of the report “Two assignments on MNIST”", ""]
    lines += [
        "In the files of runs, one row is one measurement. The licence is in LICENSE, how to cite in CITATION.cff.",
        "",
    ]
    lines += ["## Files", ""]
    for question in QUESTIONS:
        lines += [f"- {', '.join(tables(question.name))}: {question.asked}"]
    lines += ["", "A column that a file lacks is the same for all its runs.", "", "## Columns", ""]
    lines += [f"- {name}: {text}" for name, text in COLUMNS.items()]
    lines += ["", "## Metrics", ""]
    lines += [f"- {name}: {text}" for name, text in metrics_guide().items()]
    return "\n".join(lines) + "\n"


def archive() -> bytes:
    """Return the archive as ZIP: the same bytes for the same results."""
    contents = {"README.md": guide().encode()}
    contents |= {name: (ROOT / name).read_bytes() for name in INCLUDED}
    for question in QUESTIONS:
        contents |= tables(question.name)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(f"{NAME}/{name}")  # of 1980: no clock
            entry.external_attr = 0o644 << 16
            # level 4 takes half the time of the usual 6
            packed.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=4)
    return file.getvalue()
