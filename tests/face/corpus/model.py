"""A file that claims to be a photo, or a picture of faces, and what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.face.pictures import Picture, blocks

Places = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What is decoded: `picture()`; with a tolerance, so near to it at the blocks' centres, without one to the bit."""

    picture: Callable[[], Picture] = blocks
    tolerance: int = 0
    words: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The error's code, and what its message says."""

    code: str
    says: str


@dataclass(frozen=True, slots=True)
class Case:
    """A file of a group and what becomes of it."""

    group: str
    name: str
    make: Callable[[], bytes]
    result: Shown | Refused


@dataclass(frozen=True, slots=True)
class FaceCase:
    """A picture, and the middles (x, y) of the faces that are found in it, or the error's code."""

    group: str
    name: str
    make: Callable[[], Picture]
    result: Places | str


Group = dict[Shown | Refused, dict[str, Callable[[], bytes]]]
FaceGroup = dict[str, tuple[Callable[[], Picture], Places | str]]
