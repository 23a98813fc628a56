"""The tables of `docs/photos.md`: what is tried, group by group, and what becomes of it."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from tests.face.corpus.model import Case, FaceCase, Refused, Shown

PAGE = Path(__file__).parents[3] / "docs" / "photos.md"
MARK = "<!-- From here on the page is written by: python -m tests.face.corpus -->\n"


def said(case: Case | FaceCase) -> str:
    """A result in the page's words."""
    match case.result:
        case Refused(code, says):
            return f"`{code}`: {says}"
        case Shown(picture, _, words):
            height, width = picture().shape[:2]
            return f"{width} x {height}" + (f", {words}" if words else "")
        case str(code):
            return f"`{code}`"
        case places:
            return f"found: {len(places)}"


def listed(names: list[str]) -> str:
    """Names that differ in what stands behind their last comma share what is before it."""
    parts = []
    for start, group in groupby(names, key=lambda name: name.rpartition(", ")[0]):
        alike = list(group)
        ends = [name.rpartition(", ")[2] for name in alike]
        parts += [f"{start}: {' / '.join(ends)}"] if start and len(alike) > 1 else alike
    return "; ".join(parts)


def tables(cases: Iterable[Case | FaceCase]) -> str:
    """The page behind its mark."""
    groups: dict[str, dict[str, list[str]]] = {}
    for case in cases:
        groups.setdefault(case.group, {}).setdefault(said(case), []).append(case.name)
    text = ""
    for group, rows in groups.items():
        lines = (f"| {listed(names)} | {result} |\n" for result, names in rows.items())
        text += f"\n## {group}\n\n| what | result |\n|---|---|\n{''.join(lines)}"
    return text
