import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fantasyid_engine.errors import InputError, OutputError
from fantasyid_engine.evaluation.measure import Evaluation
from fantasyid_engine.evaluation.outputs import check_folder, write_files
from fantasyid_engine.evaluation.plots import Axis, adherence_bars, round_above, similarity_line, similarity_over_motion
from fantasyid_engine.evaluation.references import Reference
from fantasyid_engine.evaluation.report import FILES, STRIP, Strips, read_evaluation, report_html, write_report
from tests.evaluation.evaluations import CLIP, EVALUATION, OURS

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&{{7*7}}"


def references(*paths: str) -> tuple[Reference, ...]:
    return tuple(Reference(Path(path), "00", np.zeros((64, 48, 3), np.uint8)) for path in paths)


def strips() -> Strips:
    made = Strips()
    made.add(CLIP, np.zeros((20, 32, 32, 3), np.uint8))
    return made


class Tags(HTMLParser):
    """Every tag, and every address that a page would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_writes_three_files_that_can_be_read_again(tmp_path: Path) -> None:
    write_report(tmp_path / "deep" / "out", EVALUATION, {"settings": {"x": 1}}, strips(), references("people/a.png"))
    assert sorted(path.name for path in (tmp_path / "deep" / "out").iterdir()) == sorted(FILES)
    values = json.loads((tmp_path / "deep" / "out" / "evaluation.json").read_text())
    assert values["settings"] == {"x": 1} and values["methods"][0]["clips"][0]["rs_by_frame"] == [0.4, None, 0.6]
    assert read_evaluation(tmp_path / "deep" / "out" / "evaluation.json") == EVALUATION


@pytest.mark.parametrize("content", ["{", "{}", '{"format": "fantasyid-evaluation-1", "methods": 3}'])
def test_refuses_other_json(tmp_path: Path, content: str) -> None:
    (tmp_path / "e.json").write_text(content)
    with pytest.raises(InputError, match=r"e\.json"):
        read_evaluation(tmp_path / "e.json")


def test_page_needs_nothing_beside_it() -> None:
    page = report_html(EVALUATION, strips(), references("people/a.png"))
    tags = Tags(page)
    assert tags.addresses and all(address.startswith("data:image/") for address in tags.addresses)
    assert not {"script", "link", "iframe"} & set(tags.names)
    assert tags.names.count("img") == 4 + 2 * STRIP, "two rows of two clips; one clip of each has a strip"
    assert "url(" not in page and "@import" not in page
    assert tags.names.count("svg") == 5, "four clips, one scatter"
    assert "chance 11%" in page and "142.50" in page


def hostile() -> Evaluation:
    clip = replace(CLIP, video=f"out/{HOSTILE}.mp4", prompt=HOSTILE, reference="people/" + HOSTILE)
    return replace(
        EVALUATION, notes=(HOSTILE,), fid_label=HOSTILE, methods=(replace(OURS, name=HOSTILE, clips=(clip,)), OURS)
    )


def test_text_from_outside_is_escaped() -> None:
    tags = Tags(report_html(hostile(), strips(), references("people/a.png", "people/" + HOSTILE)))
    plain = Tags(report_html(EVALUATION, strips(), references("people/a.png")))
    assert set(tags.names) == set(plain.names)
    page = report_html(hostile(), strips(), references("people/a.png", "people/" + HOSTILE))
    assert "onerror=alert(1)&gt;" in page and "{{7*7}}" in page and "<img src=x" not in page


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "table.md").write_text("mine")
    with pytest.raises(OutputError, match=r"table\.md: it exists already"):
        check_folder(tmp_path, FILES, overwrite=False)
    check_folder(tmp_path, FILES, overwrite=True)
    with pytest.raises(OutputError, match="cannot write"):
        check_folder(tmp_path / "table.md", FILES, overwrite=True)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        check_folder(tmp_path, FILES, overwrite=True)


def test_all_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").touch()
    with pytest.raises(OutputError):
        write_files({tmp_path / "a": "1", tmp_path / "b": "2"})
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_line_is_broken_where_no_face_is() -> None:
    line = similarity_line([0.0, 1.0, None, 0.5, None, 0.5, 0.5])
    assert [len(piece.split()) for piece in line.pieces] == [2, 2] and len(line.dots) == 1
    assert line.pieces[0] == f"{line.x.start:.1f},92.0 {line.x.at(2)},8.0".replace("34.0", "34.0")
    assert similarity_line([None]).pieces == ()
    assert similarity_line([-0.5]).y.low == -0.5
    assert similarity_line([]).dots == ()


def test_scatter_and_bars() -> None:
    scatter = similarity_over_motion(EVALUATION.methods)
    assert [point.row for point in scatter.points] == [0, 1], "clips without motion have no place"
    assert all(re.search(r"out/a\.mp4", point.title) for point in scatter.points)
    assert similarity_over_motion([]).points == ()
    (motion,) = adherence_bars(EVALUATION.methods, {"motion": 1 / 9})
    assert (motion.chance, [(bar.row, bar.percent) for bar in motion.bars]) == (11.1, [(0, 75.0), (1, 10.0)])


def test_axis() -> None:
    axis = Axis(0, 2, 10, 20)
    assert axis.at(0.5) == 12.5
    assert axis.ticks == (("0", 10), ("1", 15), ("2", 20))


def test_round_above() -> None:
    values = (0.1, 0.11, 0.45, 0.9, 1, 7, 83)
    assert [round_above(value) for value in values] == pytest.approx([0.1, 0.2, 0.6, 1, 1, 8, 100])


def test_strip_of_a_short_clip() -> None:
    made = Strips()
    made.add(CLIP, np.zeros((3, 32, 32, 3), np.uint8))
    assert len(made.pictures[CLIP.video]) == 3
