"""Files of videos: their headers, ranges of them, previews on the way."""

import time
from typing import Any

import pytest

from tests.server.serving import Running, error_of


def test_progress_preview_and_notes(server: Running, photo: bytes) -> None:
    video = server.made(photo, "[slow 100] [note it was cut]", priority=60)
    until = time.monotonic() + 30
    seen: list[int] = []
    while time.monotonic() < until and len(set(seen)) < 3:
        now = server.get(f"/v1/videos/{video['id']}").json()
        seen.append(now["progress"])
        time.sleep(0.05)
    assert sorted(seen) == seen and max(seen) < 100 and len(set(seen)) >= 3
    assert now["stage"] == "denoise" and now["notes"] == ["it was cut"]
    preview = server.get(f"/v1/videos/{video['id']}/preview")
    assert (preview.status_code, preview.headers["content-type"]) == (200, "image/jpeg")
    assert preview.content.startswith(b"\xff\xd8")
    server.post(f"/v1/videos/{video['id']}/cancel")
    gone = server.get(f"/v1/videos/{video['id']}/preview")
    assert (gone.status_code, error_of(gone)["code"]) == (404, "not_found")


@pytest.fixture(scope="module")
def done(server: Running, photo: bytes) -> dict[str, Any]:
    return server.wait(server.made(photo)["id"])


def test_headers_of_a_file(server: Running, done: dict[str, Any]) -> None:
    answer = server.get(f"/v1/videos/{done['id']}/content")
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"] == f'attachment; filename="{done["id"]}.mp4"'
    again = server.get(f"/v1/videos/{done['id']}/content", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = server.get(f"/v1/videos/{done['id']}/content?variant=thumbnail")
    assert other.headers["etag"] != answer.headers["etag"]
    wrong = server.get(f"/v1/videos/{done['id']}/content?variant=photo")
    assert (wrong.status_code, error_of(wrong)["param"]) == (400, "variant")


def test_head_tells_of_a_file_without_sending_it(server: Running, done: dict[str, Any]) -> None:
    path = f"/v1/videos/{done['id']}/content"
    whole, head = server.get(path), server.ask("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "accept-ranges"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-4", 206, slice(0, 5)),
        ("bytes=5-", 206, slice(5, None)),
        ("bytes=-3", 206, slice(-3, None)),
        ("bytes=2-999999", 206, slice(2, None)),
        ("bytes=3-2", 200, slice(None)),
        ("bytes=0-1,4-5", 200, slice(None)),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(5_000)), 200, slice(None)),
        ("bytes=0-" + ",0-" * 10_000, 200, slice(None)),
        ("bytes=" + "9" * 400 + "-", 200, slice(None)),
        ("rows=0-4", 200, slice(None)),
        ("bytes=-", 200, slice(None)),
        ("bytes=99999999-", 416, None),
        ("bytes=-0", 416, None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_ranges(server: Running, done: dict[str, Any], asked: str, status: int, part: slice | None) -> None:
    whole = server.get(f"/v1/videos/{done['id']}/content").content
    began = time.monotonic()
    answer = server.get(f"/v1/videos/{done['id']}/content", headers={"range": asked})
    assert time.monotonic() - began < 5
    assert answer.status_code == status
    if part is None:
        assert error_of(answer)["code"] == "range_not_satisfiable"
        assert answer.headers["content-range"] == f"bytes */{len(whole)}"
    else:
        assert answer.content == whole[part]
    if status == 206:
        start = part.indices(len(whole))[0] if part else 0
        assert answer.headers["content-range"] == f"bytes {start}-{start + len(answer.content) - 1}/{len(whole)}"


def test_range_of_another_version_gets_the_whole(server: Running, done: dict[str, Any]) -> None:
    path, whole = f"/v1/videos/{done['id']}/content", server.get(f"/v1/videos/{done['id']}/content")
    for tag, status in ((whole.headers["etag"], 206), ('"another"', 200)):
        assert server.get(path, headers={"range": "bytes=0-1", "if-range": tag}).status_code == status
