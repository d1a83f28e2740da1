"""What the chapters call beside figures and tables: findings in the text, provenance lines, notices.

Files that a chapter links to (CSV, the appendix's figures) are written to `report/generated/` while it renders.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from analysis import claims, tables
from analysis.claims import results
from analysis.claims.registry import CLAIMS, STATEMENTS
from analysis.data import MNIST_SHA256
from analysis.engine.run import Run
from analysis.figures import assignment1 as figures1
from analysis.files import write_atomically
from analysis.questions import EXPERIMENTS
from analysis.tables import assignment1 as tables1

QUESTIONS = {  # by section
    "sec-exercise-1": "The program",
    "sec-q1": "Gradient descent",
    "sec-q2": "Over-fitting",
    "sec-q3": "Depth and width",
    "sec-q4": "Why cross entropy",
    "sec-q5": "Why one-hot targets",
    "sec-q6": "Sensitivity to the learning rate",
    "sec-q7": "Vanishing gradients",
    "sec-minibatch": "Minibatches",
    "sec-constant-start": "A constant start",
    "sec-sorted": "Examples sorted by label, usable rates",
    "sec-adam": "SGD and Adam",
}
GENERATED = Path(__file__).resolve().parents[1] / "report" / "generated"


def notice() -> Markdown:
    """A warning that the report shows quick results, or nothing where all are full."""
    quick = [name for name in EXPERIMENTS if results(name).preset == "quick"]
    if not quick:
        return Markdown("")
    return Markdown(
        f"**Provisional.** These experiments show the *quick* preset, a rehearsal cut down to seconds, because "
        f"their full runs are not in the cache: {', '.join(f'`{name}`' for name in quick)}."
    )


def claim(name: str) -> Markdown:
    """A finding's sentence; where the results contradict it, that is said in its place."""
    verdict = claims.judge(name)
    if verdict.holds:
        return Markdown(verdict.text)
    return Markdown(f"**Not supported by these results:** “{verdict.text}”")


def findings() -> Markdown:
    """The first finding of every question, with a link to it."""
    first: dict[str, str] = {}
    for name, found in CLAIMS.items():
        first.setdefault(found.section, name)
    return Markdown(
        "\n".join(
            f"- **{question}** (@{section}). {claim(first[section]).data}"
            for section, question in QUESTIONS.items()
        )
    )


def ledger() -> Markdown:
    """All findings with their verdicts, as a table."""
    verdicts = [claims.judge(name) for name in CLAIMS]
    return tables.markdown(
        pd.DataFrame(
            {
                "Section": [f"@{verdict.claim.section}" for verdict in verdicts],
                "Finding": [verdict.text for verdict in verdicts],
                "Verdict": ["supported" if verdict.holds else "**not supported**" for verdict in verdicts],
                "Experiment": [", ".join(verdict.claim.experiments) for verdict in verdicts],
            }
        )
    )


def statements() -> Markdown:
    """What others state, and what our results say of it, as a table."""
    words = {True: "confirmed", False: "refuted", None: "not testable"}
    verdicts = [claims.judge(name) for name in STATEMENTS]
    return tables.markdown(
        pd.DataFrame(
            {
                "Section": [f"@{verdict.claim.section}" for verdict in verdicts],
                "Statement": [verdict.claim.said for verdict in verdicts],
                "Verdict": [words[verdict.holds] for verdict in verdicts],
                "Our results": [verdict.text for verdict in verdicts],
            }
        )
    )


def plain(text: str) -> str:
    """Text from a result's file as markdown that shows it as it stands: a stranger may have put markup there."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$^@!])", r"\\\1", " ".join(text.split()))


@cache
def provenance(name: str) -> Markdown:
    """The line below a figure or table: experiment, data as CSV, command, when and on what it was computed."""
    found = results(name)
    named = {f"{name}-{function}.csv": table for function, table in found.programs.items()}
    if len(found.rows):
        named[f"{name}.csv"] = found.rows
    for file, frame in named.items():
        columns = frame.columns.drop("key")  # which is long, and for this project's own use
        text = frame.to_csv(index=False, columns=columns, float_format="%.6g")
        write_atomically(GENERATED / file, text.encode())  # chapters that render at once may write the same
    links = ", ".join(f"[{file}](generated/{file})" for file in named)
    return Markdown(
        f"Experiment `{name}` ({found.preset}); data: {links}; "
        f"recompute: `python -m analysis.run_all --only {name} --force`; {plain(found.summary())}."
    )


def digests() -> Markdown:
    """The data's files and their SHA-256."""
    frame = pd.DataFrame({"File": [f"`{name}`" for name in MNIST_SHA256], "SHA-256": MNIST_SHA256.values()})
    frame["SHA-256"] = frame["SHA-256"].map(lambda digest: f"`{digest[:32]}` `{digest[32:]}`")
    return tables.markdown(frame)


def experiments() -> Markdown:
    """Every experiment's preset and budget."""
    lines = []
    for name, experiment in EXPERIMENTS.items():
        found = results(name)
        runs = [job for job in experiment.jobs(found.preset) if isinstance(job, Run)]
        lines.append(
            {
                "Experiment": f"`{name}`",
                "Question": experiment.question,
                "Results": len(found.provenance),
                "Seeds": len({run.seed for run in runs}) or "–",
                "Epochs": " / ".join(f"{epochs:,}" for epochs in sorted({run.epochs for run in runs})) or "–",
                "Minutes": f"{found.seconds / 60:.1f}",
            }
        )
    return tables.markdown(pd.DataFrame(lines))


def origins() -> Markdown:
    """When, from which commit and on what each experiment was computed."""
    return tables.markdown(
        pd.DataFrame(
            {
                "Experiment": [f"`{name}`" for name in EXPERIMENTS],
                "Preset": [results(name).preset for name in EXPERIMENTS],
                "Computed": [plain(results(name).summary()) for name in EXPERIMENTS],
            }
        )
    )


def machines() -> Markdown:
    """On what, and with which versions, how many of the results were computed."""
    made = Counter(
        (
            plain(each.device_name),
            plain(each.device),
            each.threads,
            plain(each.torch),
            plain(each.numba or "–"),
        )
        for name in EXPERIMENTS
        for each in results(name).provenance
    )
    columns = ["Processor", "Device", "Threads", "PyTorch", "Numba"]
    frame = pd.DataFrame(list(made), columns=columns)
    return tables.markdown(frame.assign(Results=list(made.values())))


def listing(path: str) -> None:
    """Prints a source file as a code block."""
    print(f"```python\n{Path(GENERATED.parents[1] / path).read_text(encoding='utf-8')}```")


def networks(contrast: bool = False) -> dict[str, pd.DataFrame]:
    """Q2: the rows of each network, by the name that figures give it."""
    rows = results("curves").rows
    contrasted = {"300, few examples": tables1.few_examples(rows)} if contrast else {}
    return {**tables1.networks(rows), **contrasted}


def learning_rate_figures() -> None:
    """Saves one figure per learning rate and prints the markdown that shows them (Q6, appendix)."""
    rows = tables1.long_runs(results("learning_rate").rows)
    GENERATED.mkdir(exist_ok=True)
    numbers = tables1.learning_rate_numbers(rows).set_index("learning_rate")
    for rate, run in rows.groupby("learning_rate"):
        figure = figures1.learning_rate_curves(run)
        label = tables1.learning_rate_label(rate)
        figure.savefig(GENERATED / f"{label}.svg", metadata={"Date": None})
        plt.close(figure)
        line = numbers.loc[rate]
        caption = (
            f"$\\eta = {rate:g}$, {line['verdict']}: after {line['epochs']:,} epochs the train loss is "
            f"{tables.number(line['train_loss'], 4)}, the test loss {tables.number(line['test_loss'], 4)}, "
            f"the test accuracy {tables.percent(line['test_accuracy'], 2)}."
        )
        alt = f"Train and test loss over epochs at learning rate {rate:g}, on linear and on logarithmic axes."
        print(f'![{caption}](generated/{label}.svg){{#{label} fig-alt="{alt}"}}\n')
