"""Q7: factors per layer, and activations that the answer does not know."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from analysis.questions.vanishing_gradient.answer import (
    accuracies_table,
    errors_and_updates,
    layer_factors,
)
from analysis.results import Results, cached
from tests.helpers.altered import assert_follows_results, assert_refuted, constant, times

CONTRADICTIONS = {
    "shallow_gradient_does_not_vanish": times(1e-3, "gradient_norm", index=1),
    "sizes_slow_the_first_layer": times(10, "weight_norm", index=1),
    "factors_are_as_predicted": times(10, "error_norm", index=1),
    "depth_makes_the_gradient_vanish": constant(1, "gradient_norm"),
    "skip_keeps_the_gradient": times(0.01, "gradient_norm", skip=True),
    "skip_helps_where_gradients_vanish": times(0.1, "test_accuracy", skip=True),
}
REVERSALS = {"relu_explodes": times(1e6, "error_norm", index=1)}
UNDECIDED = {"residual_connections_drop"}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("vanishing_gradient", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("name", REVERSALS)
def test_the_verdict_on_a_statement_by_others_follows_the_results(name: str) -> None:
    assert_follows_results("vanishing_gradient", name, REVERSALS[name])


def test_the_factor_per_layer_is_a_geometric_mean() -> None:
    rows = cached("vanishing_gradient").rows
    doubling = rows.assign(value=rows["value"].where(rows["metric"] != "error_norm", 2.0 ** rows["index"]))
    factors = layer_factors(doubling)
    assert [factor.mean for factor in factors.values()] == pytest.approx([0.5, 0.5, 0.5])
    assert [factor.half_width for factor in factors.values()] == pytest.approx([0, 0, 0], abs=1e-12)


def test_an_activation_that_is_new_to_the_runs_is_tabulated_and_drawn() -> None:
    genuine = cached("vanishing_gradient")
    added = genuine.rows[genuine.rows["activation"] == "tanh"].assign(activation="soft_plus")
    found = Results(
        genuine.name, genuine.preset, pd.concat([genuine.rows, added]), genuine.programs, genuine.provenance
    )
    table = accuracies_table.contents(lambda name: found)["tbl-vanishing"].frame
    assert table["Activation"].unique().tolist() == ["sigmoid", "tanh", "ReLU", "soft plus"]
    figure = errors_and_updates.contents(lambda name: found)["fig-vanishing"].figure
    assert "soft plus" in [text.get_text() for text in figure.legends[0].get_texts()]
    plt.close(figure)
