"""What the jobs of every experiment satisfy, whatever its question is."""

from __future__ import annotations

import pytest

from analysis.engine.run import Run
from analysis.question import PRESETS, Preset
from analysis.questions import EXPERIMENTS

pytestmark = [pytest.mark.parametrize("name", EXPERIMENTS), pytest.mark.parametrize("preset", PRESETS)]


def test_no_job_counts_twice(name: str, preset: Preset) -> None:
    """As it would if runs that should differ in their seeds had one."""
    jobs = EXPERIMENTS[name].jobs(preset)
    assert len(set(jobs)) == len(jobs)


def test_validation_examples_are_held_out_where_they_are_measured(name: str, preset: Preset) -> None:
    for job in EXPERIMENTS[name].jobs(preset):
        if isinstance(job, Run):
            measured = {metric for measure in job.measures for metric in measure.metrics}
            assert job.validation_examples > 0 or not measured & {"validation_loss", "validation_accuracy"}
