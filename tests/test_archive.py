"""The archive of all results: complete, described, the same at every time, and how the report is cited."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from analysis import archive, citation
from analysis.question import Question
from analysis.questions import QUESTIONS
from analysis.results import cached


def columns(table: bytes) -> set[str]:
    """Return the names of the columns of a CSV."""
    return set(pd.read_csv(io.BytesIO(table), nrows=0))


questions = pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)


@questions
def test_every_column_and_every_metric_is_described(question: Question) -> None:
    for file, table in archive.tables(question.name).items():
        assert columns(table) <= set(archive.COLUMNS), file
        frame = pd.read_csv(io.BytesIO(table), usecols=lambda name: name == "metric")
        assert set(frame.get("metric", ())) <= set(archive.metrics_guide()), file


def test_no_column_is_described_that_no_file_has() -> None:
    found = {
        name
        for question in QUESTIONS
        for table in archive.tables(question.name).values()
        for name in columns(table)
    }
    # in which runs of other experiments may differ again
    assert set(archive.COLUMNS) - found <= {"train_subset", "labels", "target"}


def test_tables_hold_all_results() -> None:
    rows = cached("adam_vs_sgd").rows
    table = pd.read_csv(io.BytesIO(archive.tables("adam_vs_sgd")["adam_vs_sgd.csv"]))
    assert list(table.columns) == list(rows.columns.drop("key"))
    np.testing.assert_allclose(table["value"], rows["value"], rtol=1e-5)


def test_the_archive_unpacks_into_one_folder_with_guide_and_licence() -> None:
    packed = archive.archive()
    assert packed == archive.archive()
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        assert opened.testzip() is None
        names = {name.removeprefix(f"{archive.NAME}/") for name in opened.namelist()}
        guide = opened.read(f"{archive.NAME}/README.md").decode()
    files = {file for question in QUESTIONS for file in archive.tables(question.name)}
    assert names == files | {"README.md", *archive.INCLUDED}
    assert all(file in guide for file in files)


def test_the_citation_is_that_of_the_file() -> None:
    fields = citation.read()
    entry, words = citation.bibtex(fields), citation.words(fields)
    for text in (fields["title"], str(fields["date-released"])[:4], fields["version"]):
        assert text in entry
        assert text in words


def test_people_are_cited_by_their_family_names() -> None:
    people = [{"given-names": "Ada", "family-names": "Lovelace"}, {"name": "The society"}]
    fields = citation.read() | {"authors": people, "doi": "10.1/2"}
    assert "author = {Lovelace, Ada and {The society}}" in citation.bibtex(fields)
    assert "doi    = {10.1/2}" in citation.bibtex(fields)
    assert citation.words(fields).startswith("Lovelace, Ada, The society (")
