"""Assignment 1, Q3: the number of parameters β, by formula and counted in the built networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis.experiments import Experiment, Preset
from analysis.runs import CLASSES, INPUTS, Program

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

HIDDEN = ((2,), (10,), (30,), (100,), (300,), (1024,), (10, 10), (20, 20), (300, 300), (300, 300, 300))


def count(data: Data, device: torch.device) -> pd.DataFrame:
    """Builds every network and counts its parameters.

    Returns:
        One row per network: hidden, beta (formula), counted (elements of the built network's tensors).
    """
    from analysis.network import parameters, plain
    from analysis.runs import Measure, Run

    measures = (Measure(metrics=("train_loss",), every=1),)
    rows = []
    for hidden in HIDDEN:
        built = plain(Run(hidden=hidden, learning_rate=1, epochs=1, measures=measures))
        counted = sum(tensor.numel() for tensor in built.parameters())
        beta = parameters((INPUTS, *hidden, CLASSES))
        rows.append({"hidden": "-".join(map(str, hidden)), "beta": beta, "counted": counted})
    return pd.DataFrame(rows)


def jobs(preset: Preset) -> tuple[Program, ...]:
    """The same table for both presets: it costs a second."""
    return (Program(function="analysis.experiments.parameters:count"),)


EXPERIMENT = Experiment("parameters", "Assignment 1, exercise 2, Q3: number of parameters", jobs)
