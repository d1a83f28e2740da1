"""Q1, why this is gradient descent: the optimizer's step against the gradient over all training examples."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from analysis.engine.run import CLASSES, INPUTS
from analysis.exhibits import Table, exhibit, sketch
from analysis.findings import Evidence, finding
from analysis.formatting import (
    count_words,
    format_fixed,
    format_percent,
    format_range,
    format_scientific,
)
from analysis.plotting import INK, ORANGE, write_in
from analysis.questions.gradient_descent.runs import BATCH_SIZE, LEARNING_RATE
from analysis.results import Results

NUM_PARAMETERS = 300 * (INPUTS + 1) + CLASSES * (300 + 1)  # of the program's 784-300-10
CHECKS = {
    "step": "steps of the program against $-\\eta \\nabla R(w)$",
    "weighted_batches": "size-weighted mean of the batches' gradients against $\\nabla R(w)$",
    "shuffled": "gradient of the shuffled examples against $\\nabla R(w)$",
    "one_batch": "for comparison: gradient of each batch by itself against $\\nabla R(w)$",
}
EXACT = 1e-12  # relative deviations below it are rounding errors of double precision


@exhibit("tbl-gradient-descent", "gradient_descent")
def deviations(found: Results) -> Table:
    """Tabulate the relative deviation of each check."""
    checks = found.programs["checks"].groupby("check")["deviation"]
    lines = [
        {
            "Check": CHECKS[name],
            "Relative deviation": f"{format_range(each, 2)}, mean {format_fixed(each.mean(), 2)}"
            if name == "one_batch"
            else format_scientific(each.max()),
        }
        for name in CHECKS
        for each in [checks.get_group(name)]
    ]
    return Table(
        pd.DataFrame(lines),
        f"Relative deviations ‖difference‖ / ‖reference‖ over all {NUM_PARAMETERS:,} parameters, in double precision. "
        f"Of the steps, the largest of the first {count_words(_count(found, 'step'))} with $\\eta = "
        f"{LEARNING_RATE:g}$. "
        f"Gradients are those at the start; a random permutation is cut into {_count(found, 'one_batch')} batches of "
        f"{BATCH_SIZE}, the last of them smaller.",
        (75, 25),
    )


def _count(found: Results, check: str) -> int:
    return int((found.programs["checks"]["check"] == check).sum())


def _deviations(found: Results) -> pd.Series[float]:
    """Return the deviation of every check, over steps and single batches the mean."""
    return found.programs["checks"].groupby("check")["deviation"].mean()


@sketch(
    "gradient_descent",
    alt="The program's step does not deviate from the full gradient, that of one batch does.",
)
def sketch_of_deviations(axes: Axes, found: Results) -> None:
    deviation = _deviations(found)
    axes.barh([1, 0], deviation[["step", "one_batch"]], color=(INK, ORANGE), height=0.4)
    axes.set_ylim(-0.6, 1.7)
    write_in(axes, 0.03, 0.84, f"program: off by {format_percent(deviation['step'], 0)}", INK)
    write_in(axes, 0.03, 0.42, f"one batch: {format_percent(deviation['one_batch'], 0)}", ORANGE)


@finding("gradient_descent", headline=True)
def gradient_descent_is_full(found: Results) -> Evidence:
    deviation, checks = _deviations(found), found.programs["checks"]
    single = checks.loc[checks["check"] == "one_batch", "deviation"]
    return Evidence(
        f"Measured, the program's first {count_words(_count(found, 'step'))} steps are $-\\eta \\nabla R(w)$ up to "
        f"rounding; the gradient of a random batch of {BATCH_SIZE} examples deviates from $\\nabla R$ by "
        f"{format_range(100 * single, 0)} % (@tbl-gradient-descent).",
        {
            "every step is the full gradient's": bool(
                checks.loc[checks["check"] == "step", "deviation"].max() < EXACT
            ),
            "there are several": _count(found, "step") > 1,
            "the batches' gradients average to the full gradient": bool(
                deviation["weighted_batches"] < EXACT
            ),
            "shuffling does not change the gradient": bool(deviation["shuffled"] < EXACT),
            "no batch's gradient is near it": bool(single.min() > 0.25),
        },
        "The optimizer takes whatever gradient it gets, here that of all training examples.",
    )
