"""PLY files written by struct, number by number, in every form that users have."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
CODES = {
    "float": "f",
    "double": "d",
    "float32": "f",
    "float64": "d",
    "uchar": "B",
    "int": "i",
    "uint": "I",
    "short": "h",
}


def ply(
    vertices: Any,
    faces: Any = None,
    *,
    format: str = "binary_little_endian",
    number: str = "double",
    before: Sequence[str] = (),
    between: Sequence[str] = (),
    after: Sequence[str] = (),
    corner: str = "int",
    corners_name: str = "vertex_indices",
    face_extra: bool = False,
    comments: Sequence[str] = (),
    newline: str = "\n",
    faces_first: bool = False,
    camera: bool = False,
) -> bytes:
    """A file of `vertices` [V, 3] and `faces` [F, 3].

    Args:
        vertices: x, y, z, written as `number`; `before`, `between` and `after` x, y, z come properties of these types.
        faces: triangles; None writes no element of that name.
        format: ascii, binary_little_endian, binary_big_endian.
        number: type of x, y, z.
        before: types of properties before x.
        between: types of properties between y and z.
        after: types of properties after z.
        corner: type of a triangle's corners.
        corners_name: name of the list.
        face_extra: a byte before the list and a float after it.
        comments: lines of the header.
        newline: of the header.
        faces_first: faces before vertices.
        camera: one more element, in front of all.
    """
    before_names = [f"property {kind} before{i}" for i, kind in enumerate(before)]
    between_names = [f"property {kind} between{i}" for i, kind in enumerate(between)]
    after_names = [f"property {kind} after{i}" for i, kind in enumerate(after)]
    x, y, z = (f"property {number} {axis}" for axis in "xyz")
    vertex_head = [f"element vertex {len(vertices)}", *before_names, x, y, *between_names, z, *after_names]
    kinds = [*before, number, number, *between, number, *after]
    vertex_rows = [
        (kinds, [7] * len(before) + [a, b] + [8] * len(between) + [c] + [9] * len(after)) for a, b, c in vertices
    ]
    face_head, face_rows = [], []
    if faces is not None:
        first, last = (["property uchar flag"], ["property float quality"]) if face_extra else ([], [])
        face_head = [f"element face {len(faces)}", *first, f"property list uchar {corner} {corners_name}", *last]
        kinds = ["uchar"] * face_extra + ["uchar"] + [corner] * 3 + ["float"] * face_extra
        face_rows = [(kinds, [5] * face_extra + [3, *map(int, face)] + [0.5] * face_extra) for face in faces]
    camera_head = ["element camera 1", "property float view_px", "property uchar on"] if camera else []
    camera_rows: list[Any] = [(["float", "uchar"], [1.5, 1])] if camera else []
    parts = [(camera_head, camera_rows), (vertex_head, vertex_rows), (face_head, face_rows)]
    if faces_first:
        parts[1:] = parts[:0:-1]
    head = ["ply", f"format {format} 1.0", *comments, *(line for lines, _ in parts for line in lines), "end_header", ""]
    rows = [row for _, rows in parts for row in rows]
    return newline.join(head).encode() + b"".join(_row(format, *row) for row in rows)


def _row(format: str, kinds: list[str], values: list[Any]) -> bytes:
    if format == "ascii":
        written = (np.float32(v) if kind in ("float", "float32") else v for kind, v in zip(kinds, values, strict=True))
        return (
            " ".join(repr(float(v)) if isinstance(v, np.floating | float) else str(v) for v in written) + "\n"
        ).encode()
    return struct.pack(ORDERS[format] + "".join(CODES[kind] for kind in kinds), *values)
