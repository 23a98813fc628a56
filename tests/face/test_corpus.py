"""Every file of the corpus becomes what `docs/photos.md` says, in silence; what only claims to be large stays small."""

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fantasyid_engine.errors import InputError
from fantasyid_engine.face.avatar import find_avatars
from fantasyid_engine.face.detect import find_faces
from fantasyid_engine.face.haar import HaarDetector
from fantasyid_engine.face.photo import decode_photo
from tests.face.corpus import CASES, FACE_CASES, MARK, PAGE, WHOLE, Case, FaceCase, Refused, tables
from tests.face.pictures import assert_refused, little_memory
from tests.integration.cases import CommandLine, check_refused

NAME = "photo.jpg"
MOST_MIB = 300
"""What a file that is refused may need at the most."""


def named(case: Case | FaceCase) -> str:
    return f"{case.group}: {case.name}"


def test_the_page_is_up_to_date() -> None:
    _, mark, rest = PAGE.read_text().partition(MARK)
    assert mark, f"{PAGE} lacks the line {MARK}"
    assert rest == tables([*CASES, *FACE_CASES]), "write it anew: python -m tests.face.corpus"


def test_names_differ() -> None:
    assert len({named(case) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", [pytest.param(case, id=named(case)) for case in CASES])
def test_file(case: Case, capfd: pytest.CaptureFixture[str]) -> None:
    data = case.make()
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if isinstance(case.result, Refused):
            assert_refused(case.result.code, NAME, lambda: decode_photo(data, NAME), case.result.says)
        else:
            decoded, expected = decode_photo(data, NAME), case.result.picture()
            assert decoded.shape == expected.shape and decoded.dtype == np.uint8
            if case.result.tolerance:
                decoded, expected = decoded[4::8, 4::8], expected[4::8, 4::8]
            assert np.abs(decoded.astype(int) - expected).max() <= case.result.tolerance
    assert not caught
    assert capfd.readouterr() == ("", "")


def refused_cases() -> Iterator[tuple[str, bytes]]:
    """Files that can be made here, by their names."""
    for case in CASES:
        if isinstance(case.result, Refused) or case.group == "Claims":
            with suppress(pytest.skip.Exception):
                yield named(case), case.make()


def code_of(data: bytes) -> str:
    try:
        decode_photo(data, NAME)
    except InputError as error:
        return error.code
    return "shown"


def report() -> None:
    """Decodes what is refused and what claims much, in a process of its own, and writes a line of JSON.

    name: [how far memory rose, in MiB; the code; the code where no more than MOST_MIB can be had]
    """
    for make in WHOLE.values():  # what each reader needs once
        with suppress(pytest.skip.Exception):
            decode_photo(make(), NAME)

    def status(what: str) -> int:
        return int(Path("/proc/self/status").read_text().partition(f"{what}:")[2].split()[0]) >> 10

    found = {}
    for name, data in refused_cases():
        Path("/proc/self/clear_refs").write_text("5")  # the peak is where memory is now
        before, code = status("VmRSS"), code_of(data)
        rise = status("VmHWM") - before
        with little_memory(MOST_MIB):
            found[name] = rise, code, code_of(data)
    sys.stdout.write(json.dumps(found))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_bounded_and_nothing_is_printed() -> None:
    command = [sys.executable, "-c", "from tests.face.test_corpus import report; report()"]
    done = subprocess.run(command, cwd=PAGE.parents[1], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert len(found) > 100
    assert {name: rise for name, (rise, *_) in found.items() if rise > MOST_MIB} == {}
    assert {name: codes for name, (_, *codes) in found.items() if codes[0] != codes[1]} == {}


def face_case(case: FaceCase) -> Any:
    needs = [pytest.mark.reference_data] if case.group == "Real faces" else []
    return pytest.param(case, id=named(case), marks=needs)


@pytest.mark.parametrize("case", [face_case(case) for case in FACE_CASES])
def test_faces(case: FaceCase) -> None:
    picture = case.make()

    def find() -> list[tuple[float, float, float]]:
        avatars = case.group == "Faces of avatars"
        found = find_avatars(picture, NAME) if avatars else find_faces(HaarDetector(), picture, NAME)
        return [(face.left + face.width / 2, face.top + face.height / 2, face.width) for face in found.faces]

    if isinstance(case.result, str):
        assert_refused(case.result, NAME, find)
        return
    found = find()
    assert len(found) == len(case.result)
    for x, y in case.result:
        assert any(math.dist((x, y), face[:2]) < 0.15 * face[2] for face in found), (x, y, found)


@pytest.fixture(scope="module")
def command() -> Iterator[CommandLine]:
    with CommandLine() as command:
        yield command


@pytest.mark.parametrize(
    "name",
    [
        "No photos: HTML, saved as photo.jpg",
        "No photos: PostScript (EPS)",
        "JPEG: cut off, but its thumbnail is whole",
        "TIFF: one strip, of zeros, as LZW",
        "TIFF: 3000 channels",
        "Claims: PNG, 20,000 x 20,000, whole, of one bit",
        "Claims: TIFF, 64 x 48 in a tile of 20,000 x 20,000",
        "Size: PNG, 1 x 1",
    ],
)
def test_through_the_command_line(command: CommandLine, tmp_path: Path, name: str) -> None:
    (case,) = (case for case in CASES if named(case) == name)
    assert isinstance(case.result, Refused)
    (tmp_path / NAME).write_bytes(case.make())
    check_refused(command("faces", NAME, "--out", "boxes.png", cwd=tmp_path), 65, NAME, case.result.says)
