from dataclasses import replace

from fantasyid_engine.evaluation.table import Column, Table, markdown_text, results_table, table_markdown
from tests.evaluation.evaluations import EVALUATION, OURS, THEIRS

TEXT = """\
        FID-avatar ↓  RS ↑  IFS ↑  FM ↑  faces ↑  motion (chance 11%) ↑  light from (chance 25%) ↑
ours          142.50  0.57   0.95  0.61     100%                    75%                        50%
theirs        138.27  0.35   0.98     -     100%                    10%                          -"""

MARKDOWN = """\
|  | FID-avatar ↓ | RS ↑ | IFS ↑ | FM ↑ | faces ↑ | motion (chance 11%) ↑ | light from (chance 25%) ↑ |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| ours | 142.50 | **0.57** | 0.95 | **0.61** | **100%** | **75%** | **50%** |
| theirs | **138.27** | 0.35 | **0.98** | - | **100%** | 10% | - |

- FID-avatar: face crops of ours 2, theirs 2; against 50 of references
- RS, IFS: cosines; FM: pixels of a 224-pixel face square per frame; faces: share of frames with a face
- something to know
"""


def test_text() -> None:
    assert results_table(EVALUATION).text() == TEXT


def test_markdown() -> None:
    assert table_markdown(EVALUATION) == MARKDOWN


def test_one_row_has_no_best() -> None:
    assert "**" not in results_table(replace(EVALUATION, methods=(OURS,))).markdown()


def test_no_measures_at_all() -> None:
    empty = replace(THEIRS, fid=None, ifs=None, adherence={})
    text = results_table(replace(EVALUATION, methods=(empty, empty))).text()
    assert text.splitlines()[0].split() == ["FID-avatar", "↓", "RS", "↑", "IFS", "↑", "FM", "↑", "faces", "↑"]


def test_ties_as_printed_are_both_best() -> None:
    table = Table((Column("x", "lower", ".1f"),), (("a", (1.01,)), ("b", (1.04,)), ("c", (2.0,)), ("d", (None,))))
    assert table.best == ((True,), (True,), (False,), (False,))


def test_text_from_outside_stays_text() -> None:
    name = "a|b\n<script>*x*`"
    table = Table((Column("x", None, ".1f"),), ((name, (1.0,)),))
    assert table.markdown().splitlines()[2] == "| a\\|b\\\\n&lt;script>\\*x\\*\\` | 1.0 |"
    assert table.text().splitlines()[1] == "a|b\\n<script>*x*`  1.0"
    assert markdown_text("[x](y)") == "\\[x\\](y)"
