"""What raters saved from a study's page, and Table 1 of it.

    a method's score for a question = mean over its videos and all raters' answers

Source: paper, section 4.2 and Table 1.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fantasyid_engine.config.serialise import read_json_object
from fantasyid_engine.errors import InputError, one_line, some_of
from fantasyid_engine.evaluation.study import QUESTIONS, key_path
from fantasyid_engine.evaluation.table import Column, Table, markdown_text

Rating = Annotated[int, Field(ge=0, le=10)]
SHORT = 200


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Ratings(_Strict):
    """One rater's four answers for one video, 0 to 10."""

    OQ: Rating
    F_Sim: Rating = Field(alias="F-Sim")
    F_Str: Rating = Field(alias="F-Str")
    FD: Rating

    def of(self, code: str) -> int:
        """The answer to a question."""
        return getattr(self, code.replace("-", "_"))


class Answers(_Strict):
    """A file of answers; `session` is drawn by the page, so that one rater's file is not counted twice."""

    format: Literal["fantasyid-answers-1"]
    study: str
    session: str = Field(min_length=1, max_length=SHORT)
    rater: str = Field(max_length=SHORT)
    saved_at: str = Field(max_length=SHORT)
    answers: dict[str, Ratings]


class KeyItem(_Strict):
    """What one item of a study is."""

    method: str
    video: str
    reference: str


class Key(_Strict):
    """The key of a study."""

    format: Literal["fantasyid-study-1"]
    study: str
    seed: int
    items: dict[str, KeyItem] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Mean rating by method and question, and how many raters and videos they are from."""

    study: str
    raters: int
    videos: dict[str, int]
    means: dict[str, dict[str, float]]

    def table(self) -> Table:
        """The paper's Table 1."""
        columns = tuple(Column(question.code, "higher", ".2f") for question in QUESTIONS)
        rows = [(name, tuple(means[q.code] for q in QUESTIONS)) for name, means in self.means.items()]
        return Table(columns, tuple(rows))

    def below(self) -> list[str]:
        """What a reader needs to read the numbers."""
        videos = ", ".join(f"{name} {count}" for name, count in self.videos.items())
        return [f"{self.raters} rater{'' if self.raters == 1 else 's'}; videos: {videos}; ratings from 0 to 10"]

    def markdown(self) -> str:
        """The content of `study.md`."""
        return "\n".join([self.table().markdown(), "", *(f"- {markdown_text(line)}" for line in self.below()), ""])

    def json(self) -> str:
        """The content of `study.json`."""
        record = {"study": self.study, "raters": self.raters, "videos": self.videos, "means": self.means}
        return json.dumps({"format": "fantasyid-study-result-1"} | record, indent=1, ensure_ascii=False) + "\n"


def read_key(page: Path) -> Key:
    """The key beside a study's page.

    Raises:
        InputError: `study_unreadable`, it is missing or no key.
    """
    return _read(Key, key_path(page), "study_unreadable", "no key of a study")


def read_answers(files: Sequence[Path], key: Key) -> tuple[Answers, ...]:
    """Files that raters saved, all of this study, complete, and each rater once.

    Raises:
        InputError: `answers_unreadable`, a file is no such file; `answers_wrong`, it is of another study, incomplete or
            has other items; `answers_twice`, two are of the same rater.
    """
    read: dict[str, tuple[Path, Answers]] = {}
    for file in files:
        answers = _read(Answers, file, "answers_unreadable", "no file of answers")
        _check(file, answers, key)
        if answers.session in read:
            raise InputError(
                "answers_twice", f"{file} and {read[answers.session][0]} are of the same rater; name the later one"
            )
        read[answers.session] = file, answers
    return tuple(answers for _, answers in read.values())


def study_result(key: Key, answers: Sequence[Answers]) -> StudyResult:
    """Key and answers of one or more raters -> means."""
    items: dict[str, list[str]] = {}
    for item, told in sorted(key.items.items(), key=lambda row: row[1].method):
        items.setdefault(told.method, []).append(item)
    means = {
        method: {
            question.code: float(np.mean([rater.answers[item].of(question.code) for rater in answers for item in ids]))
            for question in QUESTIONS
        }
        for method, ids in items.items()
    }
    return StudyResult(key.study, len(answers), {method: len(ids) for method, ids in items.items()}, means)


def _check(file: Path, answers: Answers, key: Key) -> None:
    if answers.study != key.study:
        raise InputError(
            "answers_wrong", f"{file} is of the study {one_line(answers.study)}, not of {key.study}; name its own page"
        )
    missing, unknown = key.items.keys() - answers.answers.keys(), answers.answers.keys() - key.items.keys()
    if missing:
        raise InputError(
            "answers_wrong",
            f"{file} is not complete: {some_of(sorted(missing))} of {len(key.items)} videos are not rated; "
            "ask the rater to save it again",
        )
    if unknown:
        raise InputError(
            "answers_wrong", f"{file} rates videos that the study does not have: {some_of(sorted(unknown))}"
        )


T = TypeVar("T", bound=BaseModel)


def _read(kind: type[T], path: Path, code: str, what: str) -> T:
    class Unreadable(InputError):
        def __init__(self, message: str) -> None:
            super().__init__(code, message)

    values: dict[str, Any] = read_json_object(path, Unreadable)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Unreadable(f"{path} is {what}: {one_line(place)[:SHORT]}: {first['msg']}") from None
