import re
from io import BytesIO

import numpy as np
import pytest
import trimesh

from fantasyid_engine.face.ply import MAX_NUMBERS, read_header, read_rows
from tests.face.pictures import little_memory
from tests.face.plys import ply

POINTS = np.random.default_rng(0).normal(size=(7, 3))
FACES = np.array([[0, 1, 2], [2, 1, 3], [6, 4, 5]])
ASCII = ply(POINTS, format="ascii")
FORMATS = ["ascii", "binary_little_endian", "binary_big_endian"]

FORMS = [
    pytest.param({}, id="plain"),
    pytest.param({"before": ["uchar", "double"]}, id="properties-before"),
    pytest.param({"between": ["short"]}, id="property-between"),
    pytest.param({"after": ["float"] * 3 + ["uchar"] * 4}, id="normals-and-colours"),
    pytest.param({"faces": FACES}, id="faces"),
    pytest.param({"faces": FACES, "corner": "uint", "corners_name": "vertex_index"}, id="faces-unsigned"),
    pytest.param({"faces": FACES, "face_extra": True}, id="faces-with-more"),
    pytest.param({"faces": FACES, "faces_first": True}, id="faces-first"),
    pytest.param({"faces": FACES[:0]}, id="no-faces"),
    pytest.param({"faces": FACES, "camera": True}, id="camera"),
    pytest.param({"comments": ["comment made by hand", "comment end_header", "obj_info x", ""]}, id="comments"),
    pytest.param({"comments": ["comment \u00fc \u4e00"]}, id="comment-not-ascii"),
    pytest.param({"newline": "\r\n"}, id="carriage-returns"),
]


def read(data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    return read_rows(data, read_header(data))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("number", ["float", "double", "float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_every_number_is_what_was_written(form: dict, number: str, format: str) -> None:
    points = POINTS.astype(np.float32) if number in ("float", "float32") else POINTS
    vertices, faces = read(ply(points, format=format, number=number, **form))
    assert (vertices == points).all()
    wanted = form.get("faces", ())
    assert faces is None if len(wanted) == 0 else (faces == wanted).all()


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_trimesh_writes_what_is_read(encoding: str) -> None:
    mesh = trimesh.Trimesh(POINTS, FACES, process=False, vertex_colors=np.full((7, 4), 9, np.uint8))
    vertices, faces = read(mesh.export(file_type="ply", encoding=encoding, vertex_normal=True))
    assert np.abs(vertices - POINTS).max() < 1e-6
    assert (faces == FACES).all()


@pytest.mark.parametrize("format", FORMATS)
def test_trimesh_reads_alike(format: str) -> None:
    data = ply(POINTS, FACES, format=format, after=["uchar"])
    mesh = trimesh.load(BytesIO(data), file_type="ply", process=False)
    vertices, faces = read(data)
    assert (np.asarray(mesh.vertices) == vertices).all() and (np.asarray(mesh.faces) == faces).all()


def test_ascii_is_free_in_its_white_space() -> None:
    data = ply(POINTS, FACES, format="ascii")
    head, body = data.split(b"end_header\n")
    loose = re.sub(rb"\s", b"\r\n\t ", body)
    assert (read(head + b"end_header\n" + loose)[0] == POINTS).all()


def replaced(old: str, new: str, **form: object) -> bytes:
    data = ply(POINTS, FACES, format="ascii", **form)  # pyright: ignore[reportArgumentType]
    assert old.encode() in data
    return data.replace(old.encode(), new.encode(), 1)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"\x93NUMPY\x01\0", "first line", id="numpy"),
        pytest.param(b"v 0 0 0\nv 1 0 0\nf 1 2 3\n", "first line", id="obj"),
        pytest.param(b"ply", "first line", id="name-only"),
        pytest.param(b"plywood\n", "first line", id="other-word"),
        pytest.param(b"ply\n", "no end", id="nothing-else"),
        pytest.param(b"ply\r" + ply(POINTS)[4:], "first line", id="old-mac-lines"),
        pytest.param(ply(POINTS).split(b"end_header")[0], "no end", id="header-cut"),
        pytest.param(ply(POINTS, comments=["comment " + "x" * 70_000]), "no end", id="header-too-long"),
        pytest.param(ply(POINTS, comments=["comment\n"] * 9_000), "no end", id="header-of-many-lines"),
        pytest.param(replaced("ascii", "utf-8"), "format utf-8", id="format-unknown"),
        pytest.param(replaced("1.0", "2.0"), "format ascii 2.0", id="version"),
        pytest.param(replaced("format ascii 1.0\n", ""), "names no format", id="no-format"),
        pytest.param(replaced("format ascii", "format ascii 1.0\nformat ascii"), "line", id="two-formats"),
        pytest.param(replaced("vertex 7", "vertex -7"), "vertex -7", id="count-negative"),
        pytest.param(replaced("vertex 7", "vertex 7.0"), "vertex 7.0", id="count-not-whole"),
        pytest.param(replaced("vertex 7", "vertex 7_0"), "vertex 7_0", id="count-with-underscore"),
        pytest.param(replaced("vertex 7", "vertex 70000000000"), "vertex 700", id="count-of-11-digits"),
        pytest.param(replaced("vertex 7", "vertex"), "element vertex", id="count-missing"),
        pytest.param(replaced("element vertex", "element point"), "needs one named 'vertex'", id="no-vertices"),
        pytest.param(
            replaced("element face", "element vertex 7\nelement face"), "vertex, vertex, face", id="vertices-twice"
        ),
        pytest.param(replaced("double x", "int x"), "no x, y, z as float", id="integers"),
        pytest.param(replaced("property double z\n", ""), "no x, y, z", id="no-z"),
        pytest.param(replaced("double y", "double x"), "one twice", id="x-twice"),
        pytest.param(replaced("double x", "float128 x"), "float128", id="type-unknown"),
        pytest.param(replaced("double x", "double"), "property double", id="name-missing"),
        pytest.param(replaced("element vertex", "property int i\nelement vertex"), "property int i", id="no-element"),
        pytest.param(replaced("double x", "list uchar double x"), "only triangles may be lists", id="list-of-vertices"),
        pytest.param(replaced("vertex_indices", "neighbours"), "lists named 'neighbours'", id="list-unknown"),
        pytest.param(replaced("uchar int", "uchar float"), "no vertex_indices", id="corners-of-float"),
        pytest.param(replaced("property list uchar int vertex_indices\n", ""), "no properties", id="faces-of-nothing"),
        pytest.param(replaced("list uchar int vertex_indices", "int a"), "no vertex_indices", id="faces-of-scalars"),
        pytest.param(replaced("3 0 1 2", "4 0 1 2"), "not all its faces are triangles", id="quads"),
        pytest.param(ply(POINTS)[:-1], "168 bytes should follow its header, not 167", id="binary-cut"),
        pytest.param(ply(POINTS) + b"\n", "168 bytes should follow its header, not 169", id="binary-longer"),
        pytest.param(ply(POINTS, FACES)[:-13], "bytes should follow", id="binary-face-missing"),
        pytest.param(ASCII.rsplit(b" ", 1)[0], "21 numbers should follow its header, not 20", id="ascii-cut"),
        pytest.param(ASCII + b"1", "21 numbers should follow its header, not 22", id="ascii-longer"),
        pytest.param(ASCII.split(b"end_header")[0] + b"end_header\n", "not 0 bytes", id="ascii-empty"),
        pytest.param(ASCII.rsplit(b" ", 1)[0] + b" abc", "abc", id="ascii-word"),
        pytest.param(ASCII.rsplit(b" ", 1)[0] + b" 1,5", "1,5", id="ascii-comma"),
        pytest.param(ASCII + b" " * 5000, "not 5", id="ascii-padded"),
        pytest.param(replaced("vertex 7", f"vertex {MAX_NUMBERS}"), "above", id="too-many-numbers"),
        pytest.param(replaced("vertex 7", "vertex 4000000000"), "above", id="giant"),
    ],
)
def test_what_is_no_such_file(data: bytes, says: str) -> None:
    with little_memory(64), pytest.raises(ValueError) as caught:
        read(data)
    assert says in str(caught.value)


def test_one_long_word_takes_no_more_memory() -> None:
    """A word as long as all the others together may be."""
    points = np.zeros((30_000, 3))
    data = ply(points, format="ascii")[:-4] + b" 0." + b"0" * 4_000_000 + b"\n"
    with little_memory():
        assert (read(data)[0] == 0).all()
