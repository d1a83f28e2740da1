"""All experiments, in the order of the questions."""

from __future__ import annotations

from analysis.experiments import (
    Experiment,
    curves,
    exercise1,
    gradient_descent,
    learning_rate,
    parameters,
)

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (exercise1, gradient_descent, curves, parameters, learning_rate)
}
