from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fantasyid_engine.errors import InputError
from fantasyid_engine.evaluation.clips import Clip
from fantasyid_engine.evaluation.references import Reference, pair, read_references
from fantasyid_engine.weights.manifest import sha256
from tests.evaluation.stand_ins import BLUE, GREEN, RED, write_reference

PICTURE = np.zeros((16, 16, 3), np.uint8)
ANNA, BEN = Reference(Path("p/anna.png"), "aa", PICTURE), Reference(Path("p/ben.jpg"), "bb", PICTURE)


def video(name: str, digest: str | None = None) -> Clip:
    return Clip(Path(name), None, digest, None)


def test_pairing() -> None:
    assert pair(video("ben.mp4", "aa"), (ANNA, BEN)) is ANNA, "the sidecar comes first"
    assert pair(video("ben.mp4", "cc"), (ANNA, BEN)) is BEN, "then the name"
    assert pair(video("ben.mp4"), (ANNA, BEN)) is BEN
    assert pair(video("other.mp4"), (BEN,)) is BEN, "then the only one"


def test_refused_pairs() -> None:
    with pytest.raises(
        InputError, match=r"none of 2 photos belongs to o/carl.mp4.*called carl; add its photo"
    ) as caught:
        pair(video("o/carl.mp4", "cc"), (ANNA, BEN))
    assert caught.value.code == "reference_missing"
    with pytest.raises(InputError, match=r"anna.mp4 could belong to p/anna.png and q/anna.jpg") as caught:
        pair(video("anna.mp4"), (ANNA, replace(ANNA, path=Path("q/anna.jpg")), BEN))
    assert caught.value.code == "reference_ambiguous"


def test_reads_photos_and_folders_once(tmp_path: Path) -> None:
    for name, colour in (("b", RED), ("a", GREEN)):
        write_reference(tmp_path / "people" / f"{name}.png", colour)
    write_reference(tmp_path / "c.png", BLUE)
    (tmp_path / "people" / "notes.txt").write_text("no photo")
    found = read_references([tmp_path / "people", tmp_path / "c.png", tmp_path / "people" / "a.png"])
    assert [reference.path.name for reference in found] == ["a.png", "b.png", "c.png"]
    assert [reference.sha256 for reference in found] == [sha256(reference.path) for reference in found]
    assert found[2].picture.shape == (64, 64, 3)


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no photo"):
        read_references([tmp_path])
    with pytest.raises(InputError, match="does not exist"):
        read_references([tmp_path / "x.png"])
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"x\.png cannot be read"):
        read_references([tmp_path])
