"""The set-up box says what a question's runs have in common, and in what they differ."""

from __future__ import annotations

import pandas as pd

from analysis.campaign.keys import Program
from analysis.engine.run import Measure, Run
from analysis.setup import describe_setup

MEASURES = (Measure(metrics=("train_loss",), every=1),)


def nothing(data: object, device: object) -> pd.DataFrame:
    return pd.DataFrame()


def test_what_runs_share_stands_apart_from_what_varies() -> None:
    runs = [
        Run(
            hidden=(300,),
            learning_rate=rate,
            batch_size=128,
            validation_examples=10_000,
            epochs=15,
            measures=MEASURES,
            seed=seed,
        )
        for rate in (1.0, 0.1)
        for seed in (0, 1, 2)
    ]
    assert describe_setup(runs) == [
        (
            "All runs",
            "784-300-10, sigmoid units, cross entropy of softmax outputs, SGD, batches of 128, "
            "50,000 training examples, 10,000 for validation, 15 epochs",
        ),
        ("Varied", "$\\eta$ 0.1, 1"),
        ("Size", "six runs, three seeds"),
    ]


def test_programs_stand_with_the_values_of_their_arguments() -> None:
    calls = [
        Program(name="x.count", function=nothing, arguments=(("examples", n), ("hidden", (4, 4))))
        for n in (1_000, 5_000)
    ]
    assert describe_setup(calls) == [("Programs", "`x.count` (examples 1,000, 5,000; hidden 4-4)")]


def test_a_set_up_follows_the_preset() -> None:
    (alone,) = (Run(learning_rate=0.5, epochs=2, measures=MEASURES),)
    (line, size) = describe_setup([alone])
    assert line[1].endswith("SGD, $\\eta$ = 0.5, batches of all examples, 60,000 training examples, 2 epochs")
    assert size == ("Size", "one run, one seed")
