"""Q5: confusions and label permutations are read as the findings say."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.questions.encoding.answer import (
    ONE_HOT,
    SINGLE,
    accuracies,
    neighbour_shares,
)
from tests.helpers.altered import assert_refuted, constant, times

CONTRADICTIONS = {
    "one_hot_beats_a_single_output": times(1.8, "test_accuracy", target="scaled_label"),
    "errors_fall_on_neighbours": constant(1, "confusion"),
    "renumbering_moves_the_single_output": times(
        0.9, "test_accuracy", target="one_hot", labels="2-8-4-9-1-6-7-3-0-5"
    ),
    "saturation_slows_and_the_metric_stays": times(0.5, "test_accuracy", loss="cross_entropy"),
    "linear_output_is_no_better": constant(1, "train_accuracy", output="identity"),
    "line_generalises_worse": times(1.2, "test_accuracy", epochs=120),
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
