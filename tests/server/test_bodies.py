"""Bodies in all their encodings, and what is said of those that are none."""

import difflib
import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fantasyid_engine.errors import InputError
from fantasyid_engine.server.bodies import checked
from fantasyid_engine.server.checks import check
from fantasyid_engine.server.errors import ApiError
from fantasyid_engine.server.forms import from_form, with_extras
from fantasyid_engine.server.schemas import CreateVideo
from fantasyid_engine.server.settings import Settings
from tests.server.serving import FACTS, TAKING, Running, error_of

EXTRAS = {"seed": 7, "guidance_scale": 2.5, "shape": {"jaw": -1.0}, "face_index": "center"}
AS_FIELDS = [("seed", "7"), ("guidance_scale", "2.5"), ("shape[jaw]", "-1"), ("face_index", "center")]


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param(AS_FIELDS, id="fields"),
        pytest.param([("extra_body", json.dumps(EXTRAS))], id="extra_body"),
        pytest.param([("extra_params", json.dumps(EXTRAS))], id="extra_params"),
        pytest.param([*AS_FIELDS[:2], ("extra_body", json.dumps(dict(list(EXTRAS.items())[2:])))], id="both"),
    ],
)
def test_three_encodings_say_the_same(pairs: list[tuple[str, str]]) -> None:
    assert with_extras(from_form([("prompt", "smiles"), *pairs])) == {"prompt": "smiles", **EXTRAS}


def test_extras_in_json() -> None:
    assert with_extras({"prompt": "a", "extra_body": EXTRAS, "extra_params": None}) == {"prompt": "a", **EXTRAS}


def test_nested_names() -> None:
    pairs = [("a[b][c]", "1"), ("a[b][d]", "2"), ("l[]", "x"), ("l[]", "y"), ("m[][n]", "z")]
    assert from_form(pairs) == {"a": {"b": {"c": "1", "d": "2"}}, "l": ["x", "y"], "m": [{"n": "z"}]}


@pytest.mark.parametrize(
    "pairs",
    [
        [("prompt", "a"), ("prompt", "b")],
        [("a", "1"), ("a[b]", "2")],
        [("a[b]", "2"), ("a", "1")],
        [("a[]", "2"), ("a[b]", "1")],
        [("a[b", "1")],
        [("[b]", "1")],
        [("", "1")],
        [("a" + "[b]" * 6, "1")],
    ],
    ids=str,
)
def test_names_that_clash_or_cannot_be_read(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(ApiError) as caught:
        from_form(pairs)
    assert caught.value.status == 400


@given(st.lists(st.tuples(st.text("ab[].", max_size=12), st.text(max_size=3)), max_size=6))
@settings(max_examples=300, derandomize=True, database=None)
def test_any_form_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    with suppress(ApiError):
        assert isinstance(from_form(pairs), dict)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("promt", "did you mean prompt?"), ("guidance", "did you mean guidance_scale?"), ("zzz", "known are model,")],
)
def test_unknown_fields_are_named_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ApiError) as caught:
        checked({"prompt": "a", "input_reference": "data:", name: 1}, CreateVideo)
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", name)
    assert hint in str(caught.value)


def test_names_are_cut_before_the_nearest_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds for one of a megabyte."""
    near, lengths = difflib.get_close_matches, []

    def recorded(name: str, known: Sequence[str], **options: Any) -> list[str]:
        lengths.append(len(name))
        return near(name, known, **options)

    monkeypatch.setattr(difflib, "get_close_matches", recorded)
    name = "promt" * 200_000
    with pytest.raises(ApiError) as caught:
        checked({name: 1}, CreateVideo)
    body = CreateVideo(prompt="a", input_reference="x", shape={name: 1.0})
    with pytest.raises(InputError, match="knows no shape 'promt") as of_shape:
        check(body, FACTS, Settings())
    assert lengths == [100, 100]
    assert max(len(str(caught.value)), len(str(of_shape.value))) < 1_000


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input_reference": "x"}, "missing_parameter", "prompt"),
        ({"prompt": 1}, "invalid_parameter", "prompt"),
        ({"prompt": "a", "seed": "7"}, "invalid_parameter", "seed"),
        ({"prompt": "a", "seed": True}, "invalid_parameter", "seed"),
        ({"prompt": "a", "priority": 101}, "invalid_parameter", "priority"),
        ({"prompt": "a", "shape": {"jaw": "1"}}, "invalid_parameter", "shape"),
        ({"prompt": "a", "model": "\ud800"}, "invalid_parameter", "model"),
        ({"prompt": "a", "idempotency_key": "a\0b"}, "invalid_parameter", "idempotency_key"),
    ],
    ids=str,
)
def test_fields_of_other_types(fields: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        checked({"input_reference": "x", **fields}, CreateVideo)
    assert (caught.value.code, caught.value.param) == (code, param)


@pytest.mark.parametrize(
    ("kind", "content", "status", "code"),
    [
        ("text/plain", b"prompt=a", 415, "unsupported_media_type"),
        ("", b"{}", 415, "unsupported_media_type"),
        ("application/json", b"", 400, "invalid_json"),
        ("application/json", b"[]", 400, "invalid_json"),
        ("application/json", b'{"a": NaN}', 400, "invalid_json"),
        ("application/json", b'{"a": "\xff"}', 400, "invalid_json"),
        ("application/json", b"[" * 100_000, 400, "invalid_json"),
        ("application/json", b'{"seed": 1' + b"0" * 5_000 + b"}", 400, "invalid_json"),
        ("application/json", b'{"extra_body": "{", "prompt": "a"}', 400, "invalid_json"),
        ("application/json", b'{"extra_body": {"seed": 1}, "seed": 2}', 400, "duplicate_parameter"),
        ("multipart/form-data", b"", 400, "invalid_body"),
        ("multipart/form-data; boundary=b", b"nonsense", 400, "invalid_body"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data\r\n\r\na\r\n--b--\r\n",
            400,
            "invalid_body",
        ),
    ],
    ids=str,
)
def test_bodies_that_are_none(taking: Running, kind: str, content: bytes, status: int, code: str) -> None:
    answer = taking.post("/v1/videos", content=content, headers={"content-type": kind})
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)


@pytest.mark.parametrize(
    "charset",
    ["punycode", "undefined", '"punycode"', "Punycode", "idna", "utf-16", "latin-1", "zlib", "unicode_escape", "x", ""],
)
def test_clients_choose_no_codec(taking: Running, charset: str) -> None:
    """Some of Python's take a time that grows with the square of the text, some always fail."""
    kind = f"multipart/form-data; boundary=b; CHARSET={charset}"
    content = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + b"a-b9a" * 50 + b"\r\n--b--\r\n"
    answer = taking.post("/v1/videos", content=content, headers={"content-type": kind})
    assert (answer.status_code, error_of(answer)["code"]) == (415, "unsupported_media_type")
    assert "UTF-8" in error_of(answer)["message"]


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "utf8", "us-ascii"])
def test_clients_may_name_the_usual_ones(taking: Running, photo: bytes, charset: str) -> None:
    made = httpx.Request("POST", "http://x", data={"prompt": "nods"}, files={"input_reference": ("a", photo)})
    kind = f"{made.headers['content-type']}; charset={charset}"
    assert taking.post("/v1/videos", content=made.read(), headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (r'{"\ud800": 1}', "unknown_parameter", r"\ud800"),
        (r'{"extra_body": {"\ud800": 1}}', "unknown_parameter", r"\ud800"),
        (r'{"a\n\u202e": 1}', "unknown_parameter", r"a\n\u202e"),
        (r'{"shape": {"\ud800": 1}, "prompt": "a"}', "shape_unknown", "shape"),
        (r'{"shape": {"\ud800": "1"}, "prompt": "a"}', "invalid_parameter", "shape"),
    ],
)
def test_names_that_are_no_text(taking: Running, content: str, code: str, param: str) -> None:
    content = content.replace("{", '{"input_reference": "data:,", ', 1)
    answer = taking.post("/v1/videos", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, error_of(answer)["code"]) == (400, code)
    assert error_of(answer)["param"] == param


def test_a_file_where_none_belongs(taking: Running, photo: bytes) -> None:
    answer = taking.post("/v1/videos", data={"prompt": "a"}, files={"prompt2": ("a.png", photo)})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "unexpected_file")


def test_too_many_fields(taking: Running) -> None:
    answer = taking.post("/v1/videos", files=[(f"f{number}", (None, "1")) for number in range(300)])
    assert answer.status_code == 400


def test_a_declared_body_over_the_cap_is_refused_unread(taking: Running) -> None:
    most = taking.service.settings.max_body_bytes
    with socket.create_connection(("127.0.0.1", taking.port), timeout=30) as connection:
        connection.sendall(
            f"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {most + 1}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ") and b"body_too_large" in answer and b"100 Continue" not in answer


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
def test_a_chunked_body_is_cut_at_the_cap(taking: Running, kind: str) -> None:
    most, chunk, sent = taking.service.settings.max_body_bytes, bytes(1 << 20), 0
    with socket.create_connection(("127.0.0.1", taking.port), timeout=30) as connection:
        connection.sendall(
            f"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        head = b'--b\r\nContent-Disposition: form-data; name="input_reference"; filename="a"\r\n\r\n'
        connection.sendall(f"{len(head):x}\r\n".encode() + head + b"\r\n")
        try:
            while sent < 10 * most:
                connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
                sent += len(chunk)
        except OSError:
            pass
    assert sent < 3 * most


def test_a_chunked_body_just_over_the_cap_hears_why(start: Any) -> None:
    server = start(max_body_bytes=10_000, **TAKING)
    answer = server.post("/v1/videos", content=iter([b"[" * 6_000] * 2), headers={"content-type": "application/json"})
    assert (answer.status_code, error_of(answer)["code"]) == (413, "body_too_large")
