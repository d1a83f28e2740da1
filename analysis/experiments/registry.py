"""All experiments, in the order of the questions."""

from __future__ import annotations

from analysis.experiments import (
    Experiment,
    adam_vs_sgd,
    capacity,
    constant_init,
    curves,
    encoding,
    exercise1,
    gradient_descent,
    label_sorted_stream,
    learning_rate,
    losses,
    minibatch,
    parameters,
    published,
    vanishing_gradient,
)

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (
        exercise1,
        gradient_descent,
        curves,
        parameters,
        capacity,
        losses,
        encoding,
        learning_rate,
        vanishing_gradient,
        minibatch,
        constant_init,
        label_sorted_stream,
        adam_vs_sgd,
        published,
    )
}
