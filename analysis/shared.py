"""What the kernels of one render share, imported by the process from which they fork (`report/press/kernels.py`).

They inherit all results as they were read here, and the verdicts on them, instead of reading and judging each for
itself. That process ends with its render, so nothing of it gets stale. Under Quarto nothing imports this module, and
every chapter reads what it needs.
"""

from __future__ import annotations

import warnings
from contextlib import suppress

with suppress(Exception), warnings.catch_warnings():  # what fails or warns here does so again in its chapter
    warnings.simplefilter("error")
    from analysis.findings import Finding, Statement, of_kind, verdict
    from analysis.questions import QUESTIONS
    from analysis.results import cached

    for question in QUESTIONS:
        with suppress(Exception):
            cached(question.name)
    for question in QUESTIONS:
        with suppress(Exception):
            for claim in (*of_kind(question, Finding).values(), *of_kind(question, Statement).values()):
                with suppress(Exception):
                    verdict(claim)
