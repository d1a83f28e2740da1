"""Q7: factors per layer, and activations that the answer does not know."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from torch import nn

from analysis.data import Data
from analysis.engine.network import reference_model
from analysis.engine.run import Run
from analysis.questions.vanishing_gradient.answer import (
    accuracies_table,
    descent_means,
    errors_and_updates,
    first_layer_updates,
    first_over_second,
    layer_factors,
)
from analysis.questions.vanishing_gradient.runs import (
    DESCENT_EVERY,
    DESCENT_MEASURES,
    DESCENT_RATES,
    fitted_readout,
    frozen_first_layer,
)
from analysis.results import Results, cached
from tests.helpers.altered import assert_follows_results, assert_refuted, constant, times

CONTRADICTIONS = {
    "shallow_gradient_does_not_vanish": times(1e-3, "gradient_norm", index=1),
    "sizes_slow_the_first_layer": times(10, "weight_norm", index=1),
    "frozen_first_layer_holds_back": constant(0.5, "test_accuracy"),
    "factors_are_as_predicted": times(10, "error_norm", index=1),
    "depth_makes_the_gradient_vanish": constant(1, "gradient_norm"),
    "more_training_leaves_the_deepest_at_chance": constant(0.5, "test_accuracy"),
    "skip_keeps_the_gradient": times(0.01, "gradient_norm", skip=True),
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


def test_the_account_of_relative_updates_closes() -> None:
    rows = cached("vanishing_gradient").rows
    means = descent_means(rows)
    relative = {layer: means["gradient_norm", layer] / means["weight_norm", layer] for layer in (1, 2)}
    pd.testing.assert_series_equal(
        first_over_second(rows)["update"], relative[1] / relative[2], check_names=False
    )


def test_gradient_descent_does_not_enter_the_comparison_of_depths() -> None:
    rows = cached("vanishing_gradient").rows
    pd.testing.assert_frame_equal(
        first_layer_updates(rows), first_layer_updates(rows[rows["batch_size"].notna()])
    )
    assert set(descent_means(rows).index.unique("learning_rate")) == set(DESCENT_RATES)


def test_an_activation_that_is_new_to_the_runs_is_tabulated_and_drawn() -> None:
    genuine = cached("vanishing_gradient")
    added = genuine.rows[genuine.rows["activation"] == "tanh"].assign(activation="soft_plus")
    found = Results(
        genuine.name, genuine.preset, pd.concat([genuine.rows, added]), genuine.programs, genuine.provenance
    )
    table = accuracies_table.contents(lambda name: found)["tbl-vanishing"].frame
    names = ["sigmoid", "tanh", "ReLU", "soft plus", "sigmoid, skip connections"]
    names += ["sigmoid, longer", "ReLU, longer"]
    assert table["Hidden layers"].tolist() == names
    figure = errors_and_updates.contents(lambda name: found)["fig-vanishing"].figure
    assert "soft plus" in [text.get_text() for text in figure.legends[0].get_texts()]
    plt.close(figure)


def test_a_frozen_first_layer_is_left_at_its_start_and_the_second_descends(small: Data) -> None:
    rows = frozen_first_layer(small, torch.device("cpu"), epochs=DESCENT_EVERY, rates=(0.1,), seeds=(3,))
    run = Run(learning_rate=0.1, epochs=DESCENT_EVERY, measures=DESCENT_MEASURES, seed=3)
    network = reference_model(run)
    optimizer = torch.optim.SGD(network[-1].parameters(), lr=0.1)
    losses = []
    for _ in range(DESCENT_EVERY + 1):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(small.train_images), small.train_labels)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    found = rows[rows["metric"] == "train_loss"].set_index("epoch")["value"]
    assert found.to_dict() == pytest.approx({0: losses[0], DESCENT_EVERY: losses[-1]}, rel=1e-5)
    assert losses[-1] < losses[0]
    accuracies = rows.loc[rows["metric"] == "test_accuracy", "value"]
    assert len(accuracies) == 2
    assert accuracies.between(0, 1).all()


def test_a_readout_fitted_to_the_end_is_better_than_one_trained_for_a_while(small: Data) -> None:
    cpu = torch.device("cpu")
    few, many = (fitted_readout(small, cpu, iterations=n, seeds=(3,)).iloc[0] for n in (1, 300))
    trained = frozen_first_layer(small, cpu, epochs=DESCENT_EVERY, rates=(0.1,), seeds=(3,))
    descended = trained.loc[trained["metric"] == "train_loss", "value"].iloc[-1]
    assert many["train_loss"] < min(few["train_loss"], descended) / 2
    assert many["gradient_norm"] < few["gradient_norm"] / 10
    assert 0 <= many["test_accuracy"] <= 1
