"""How to cite the report: its CITATION.cff as BibTeX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).resolve().parents[1] / "CITATION.cff"


def read() -> dict[str, Any]:
    """Return the fields of CITATION.cff."""
    fields: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return fields


def bibtex(fields: dict[str, Any]) -> str:
    """Return the entry for a bibliography. It is a `misc`, which all styles know."""
    year, month, _ = str(fields["date-released"]).split("-")
    entries = {
        "author": " and ".join(map(_author, fields["authors"])),
        "title": f"{{{fields['title']}}}",
        "year": year,
        "month": str(int(month)),
        "note": f"Version {fields['version']}, {fields['license']} licence",
        "doi": fields.get("doi"),
        "url": fields.get("url") or fields.get("repository-code"),
    }
    lines = [f"  {name:<6} = {{{text}}}" for name, text in entries.items() if text]
    return f"@misc{{mnist-report-{year},\n" + ",\n".join(lines) + "\n}\n"


def words(fields: dict[str, Any]) -> str:
    """Return the citation in words."""
    authors = ", ".join(map(_author, fields["authors"])).replace("{", "").replace("}", "")
    year = str(fields["date-released"])[:4]
    return f"{authors} ({year}). *{fields['title']}*. Version {fields['version']}."


def _author(author: dict[str, str]) -> str:
    """Return a person's name, family name first; braces keep an organization's as it is."""
    if "name" in author:
        return f"{{{author['name']}}}"
    return f"{author['family-names']}, {author['given-names']}"
