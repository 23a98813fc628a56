"""Writes the tables of `docs/photos.md` anew."""

from tests.face.corpus import CASES, FACE_CASES, MARK, PAGE, tables

if __name__ == "__main__":
    PAGE.write_text(PAGE.read_text().partition(MARK)[0] + MARK + tables([*CASES, *FACE_CASES]))
