"""PLY files of vertices and triangles, for input that is not trusted.

    header -> what it declares, to be judged by the caller -> exactly that many numbers, or an error

ASCII or binary of either byte order; scalar properties and elements of any name, of lists only the triangles. Strict
where trimesh is lenient (rows with more numbers than declared, a comment that ends the header), and the size of all is
known before any of it is allocated; what trimesh reads is read alike, to the last bit.
V vertices, F triangles. Source of the format: Turk, The PLY Polygon File Format, 1994.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_HEADER_BYTES = 64 << 10
MAX_NUMBERS = 1 << 22
"""In all rows of a file; FLAME with colours and normals has 100 thousand."""
MAX_DIGITS = 64
"""Bytes that a number takes in an ASCII file, with the space after it."""

FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
TRIANGLES = ("vertex_indices", "vertex_index")
CORNERS, CORNERS_COUNT = "corners of a face", "their count"  # spaces: no property can have these names


@dataclass(frozen=True, slots=True)
class Element:
    """A table of the file: `fields` are names and types in their order."""

    name: str
    count: int
    fields: list[tuple[str, str]]

    @property
    def width(self) -> int:
        """Numbers a row."""
        return sum(3 if name == CORNERS else 1 for name, _ in self.fields)

    def row(self, order: str) -> np.dtype:
        """A row in a binary file."""
        return np.dtype([(name, order + kind, (3,) if name == CORNERS else ()) for name, kind in self.fields])


@dataclass(frozen=True, slots=True)
class Header:
    """What a file declares: its elements, byte order ("" for ASCII), and where in the file the rows begin."""

    elements: list[Element]
    order: str
    start: int

    def count(self, name: str) -> int:
        """Rows of an element, 0 where there is none."""
        return sum(element.count for element in self.elements if element.name == name)


def read_header(data: bytes) -> Header:
    """The header of a file; nothing of the size that it declares is allocated.

    Raises:
        ValueError: it is none, has no end within 64 KiB, or declares other things than the module reads.
    """
    head = data[:MAX_HEADER_BYTES]
    if not head.startswith((b"ply\n", b"ply\r\n")):
        raise ValueError("its first line is not 'ply'" if data else "it is empty")
    order: str | None = None
    elements: list[Element] = []
    start, words = head.index(b"\n") + 1, []
    while words != ["end_header"]:
        end = head.find(b"\n", start)
        if end < 0:
            raise ValueError("its header has no end")
        words = head[start:end].decode("latin-1").split()
        start = end + 1
        match words:
            case ["end_header"] | ["comment" | "obj_info", *_] | []:
                pass
            case ["format", kind, "1.0"] if kind in FORMATS and order is None:
                order = FORMATS[kind]
            case ["element", name, count] if count.isdecimal() and len(count) <= 10:
                elements.append(Element(name, int(count), []))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].fields.append((name, TYPES[kind]))
            case ["property", "list", count, kind, name] if elements and {count, kind} <= TYPES.keys():
                if elements[-1].name != "face" or name not in TRIANGLES:
                    raise ValueError(f"it has lists named {name[:40]!r}; only triangles may be lists")
                elements[-1].fields.extend([(CORNERS_COUNT, TYPES[count]), (CORNERS, TYPES[kind])])
            case _:
                raise ValueError(f"its header has the line {' '.join(words)[:80]!r}")
    if order is None:
        raise ValueError("its header names no format")
    _check(elements)
    return Header(elements, order, start)


def _check(elements: list[Element]) -> None:
    names = [element.name for element in elements]
    if "vertex" not in names or len(set(names)) < len(names):
        raise ValueError(f"its elements are {', '.join(names)[:80] or 'none'}; it needs one named 'vertex'")
    for element in elements:
        kinds = dict(element.fields)
        if len(kinds) < len(element.fields) or (element.count and not kinds):
            raise ValueError(f"its element {element.name[:40]!r} has no properties, or one twice")
        if element.name == "vertex" and not all(kinds.get(axis, "").startswith("f") for axis in "xyz"):
            raise ValueError("its vertices have no x, y, z as float or double")
        if element.name == "face" and element.count and kinds.get(CORNERS, "f").startswith("f"):
            raise ValueError("its faces have no vertex_indices")
    numbers = sum(element.count * element.width for element in elements)
    if numbers > MAX_NUMBERS:
        raise ValueError(f"its header declares {numbers} numbers, above {MAX_NUMBERS}")


def read_rows(data: bytes, header: Header) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Vertices [V, 3] in the file's type (float64 from ASCII), and triangles [F, 3], or None where it has none.

    Raises:
        ValueError: other bytes than the header declares follow it, or faces that are no triangles.
    """
    columns = _binary(data, header) if header.order else _ascii(data, header)
    vertices_V3 = np.stack([columns["vertex", axis] for axis in "xyz"], axis=1)
    if not header.count("face"):
        return vertices_V3, None
    if not (columns["face", CORNERS_COUNT] == 3).all():
        raise ValueError("not all its faces are triangles")
    return vertices_V3, columns["face", CORNERS]


Columns = dict[tuple[str, str], NDArray[Any]]
"""The values of each property, by element and name."""


def _binary(data: bytes, header: Header) -> Columns:
    rows = [element.row(header.order) for element in header.elements]
    sizes = [element.count * row.itemsize for element, row in zip(header.elements, rows, strict=True)]
    start, columns = header.start, {}
    if len(data) - start != sum(sizes):
        raise ValueError(f"{sum(sizes)} bytes should follow its header, not {len(data) - start}")
    for element, row, size in zip(header.elements, rows, sizes, strict=True):
        table = np.frombuffer(data[start : start + size], row)
        columns |= {(element.name, name): table[name] for name, _ in element.fields}
        start += size
    return columns


def _ascii(data: bytes, header: Header) -> Columns:
    numbers = sum(element.count * element.width for element in header.elements)
    size = len(data) - header.start
    # Judged before the rows are split: a word takes many times its bytes.
    words = data[header.start :].split() if size <= MAX_DIGITS * numbers else []
    if len(words) != numbers:
        raise ValueError(f"{numbers} numbers should follow its header, not {len(words) or f'{size} bytes'}")
    values = np.fromiter(map(float, words), np.float64, numbers)
    start, columns = 0, {}
    for element in header.elements:
        table = values[start : start + element.count * element.width].reshape(element.count, element.width)
        start, column = start + table.size, 0
        for name, _ in element.fields:
            width = 3 if name == CORNERS else 1
            part = table[:, column : column + width]
            columns[element.name, name] = part if name == CORNERS else part[:, 0]
            column += width
    return columns
