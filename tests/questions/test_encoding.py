"""Q5: confusions and label permutations are read as the findings say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.data import Data
from analysis.engine import network, training
from analysis.questions.encoding.answer import (
    ONE_HOT,
    SINGLE,
    accuracies,
    neighbour_shares,
)
from analysis.questions.encoding.runs import best_thresholds, learnt_thresholds
from tests.helpers.altered import assert_refuted, constant, times

CONTRADICTIONS = {
    "one_hot_beats_a_single_output": times(1.8, "test_accuracy", target="scaled_label"),
    "errors_fall_on_neighbours": constant(1, "confusion"),
    "renumbering_moves_the_single_output": times(
        0.9, "test_accuracy", target="one_hot", labels="2-8-4-9-1-6-7-3-0-5"
    ),
    "saturation_slows_and_the_metric_stays": times(0.5, "test_accuracy", loss="cross_entropy"),
    "ends_are_read_well": constant(1, "confusion"),
    "linear_output_is_no_better": constant(1, "train_accuracy", output="identity"),
    "line_generalises_worse": times(1.2, "test_accuracy", epochs=120),
    "second_layer_narrows_the_gap": constant(0.5, "test_accuracy", hidden="300-300"),
    "thresholds_gain_little": lambda rows: (
        rows.assign(value=rows["value"].rsub(1)) if "reading" in rows else rows
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("encoding", name, CONTRADICTIONS[name])


def run(target: str = "scaled_label", output: str = "sigmoid", seed: int = 0) -> pd.DataFrame:
    """Return a run's last rows: three of ten errors lie next to the diagonal."""
    confusion = [90.0 if place % 11 == 0 else 0.0 for place in range(100)]
    confusion[1], confusion[98], confusion[5] = 2.0, 1.0, 7.0
    parts = [
        pd.DataFrame({"metric": "confusion", "index": range(100), "value": confusion}),
        pd.DataFrame({"metric": ["validation_accuracy", "test_accuracy"], "index": 0, "value": [0.8, 0.7]}),
    ]
    return pd.concat(parts, ignore_index=True).assign(
        target=target,
        loss="quadratic",
        output=output,
        optimizer="sgd",
        labels="0-1-2-3-4-5-6-7-8-9",
        learning_rate=1.0,
        seed=seed,
        update=100,
        key=f"{target}-{output}-{seed}",
    )


def test_neighbours_are_numbered_next_to_the_true_class() -> None:
    assert neighbour_shares(run())[SINGLE, 0] == pytest.approx(0.3)


def test_a_new_encoding_takes_its_place_after_the_others() -> None:
    rows = pd.concat([run(), run("one_hot"), run("one_hot", "softmax")])
    assert list(accuracies(rows)) == [SINGLE, ONE_HOT, "one_hot_quadratic_softmax"]


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_read_as_many_as_ascending_stretches_can(seed: int) -> None:
    """The most that can be read right is the longest run of labels that do not descend along the outputs."""
    numbers = np.random.default_rng(seed)
    outputs, labels = numbers.random(40), numbers.integers(0, 10, 40)
    thresholds = best_thresholds(outputs, labels)
    longest = [1] * 40
    along = labels[np.argsort(outputs)]
    for place, label in enumerate(along):
        before = [longest[i] for i in range(place) if along[i] <= label]
        longest[place] = 1 + max(before, default=0)
    assert len(thresholds) == 9
    assert (np.searchsorted(thresholds, outputs) == labels).sum() == max(longest)


def test_a_single_output_is_read_by_thresholds_of_the_training_examples(
    small: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output that is the label, squeezed: thresholds read all of it, halfway between the targets few."""
    first, second = torch.zeros(4, 785), torch.zeros(1, 5)
    monkeypatch.setattr(network, "logits_of", lambda _, images: images[:, :1])
    trained = SimpleNamespace(weights=[first, second])
    monkeypatch.setattr(training, "train", lambda runs, *_: [trained] * len(runs))
    told = replace(
        small, train_images=_squeezed(small.train_labels), test_images=_squeezed(small.test_labels)
    )
    enough = replace(  # for what is held out
        told, train_images=told.train_images.repeat(13, 1), train_labels=told.train_labels.repeat(13)
    )
    found = learnt_thresholds(enough, torch.device("cpu"), "quick").groupby("reading")["value"].mean()
    assert found["thresholds"] == 1
    assert found["nearest"] < 0.3


def _squeezed(labels: torch.Tensor) -> torch.Tensor:
    """Images whose first pixel tells the label."""
    images = torch.zeros(len(labels), 784)
    images[:, 0] = labels / 100
    return images
