"""The OpenAPI document: frozen, and true of the server, as schemathesis finds out with a few hundred requests.

The same requests every time, unless FANTASYID_API_EXAMPLES says how many new ones an operation gets, valid and not:

    FANTASYID_API_EXAMPLES=200 pytest tests/server/test_openapi.py

A photo that a schema allows need not be one, so that valid requests may be refused; they are in tests of their own.
"""

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import BaseSchema, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from fantasyid_engine.server.app import make_app
from fantasyid_engine.server.openapi import text
from fantasyid_engine.server.settings import Settings
from tests.server.serving import Running, serving

FROZEN = Path(__file__).parents[2] / "docs" / "serving" / "openapi.json"


def test_the_frozen_document_is_the_server_s() -> None:
    renew = "python -m fantasyid_engine.server.openapi docs/serving/openapi.json"
    assert FROZEN.read_text(encoding="utf-8") == text(make_app(Settings())), f"it changed on purpose? {renew}"


def test_it_is_served(taking: Running) -> None:
    assert taking.get("/openapi.json").json() == json.loads(FROZEN.read_text(encoding="utf-8"))


def test_every_schema_that_is_named_is_there() -> None:
    document = json.loads(FROZEN.read_text(encoding="utf-8"))
    named = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert named <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


LONGER = os.environ.get("FANTASYID_API_EXAMPLES")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    allow_header_conformance,
]


MOST_ID = 200
PROFILE = settings(
    max_examples=int(LONGER or 15),
    derandomize=not LONGER,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
OPERATIONS = [
    pytest.param(method.upper(), path, mode, id=f"{method}-{path}-{mode.value}")
    for path, operations in json.loads(FROZEN.read_text(encoding="utf-8"))["paths"].items()
    for method, operation in operations.items()
    for mode in ((POSITIVE, NEGATIVE) if "parameters" in operation or "requestBody" in operation else (POSITIVE,))
]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("data"), keys=("ann",)) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def api(keyed: Running, photo: bytes) -> dict[GenerationMode, BaseSchema]:
    """The document as it is served; photos are real ones, and some of the ids that are asked for are there."""
    schemathesis.openapi.format("binary", st.just(photo))
    return {mode: adapted(keyed, photo, mode) for mode in (POSITIVE, NEGATIVE)}


def adapted(server: Running, photo: bytes, mode: GenerationMode) -> BaseSchema:
    document = server.get("/openapi.json").json()
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)  # keys are tested by themselves
    url = f"data:image/png;base64,{base64.b64encode(photo).decode()}"
    for name in ("CreateVideo", "CreateVideoForm") if mode is NEGATIVE else ("CreateVideo",):
        document["components"]["schemas"][name]["properties"]["input_reference"] = {"enum": [url]}
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=server.url)

    def with_known(context: schemathesis.HookContext, path_parameters: dict[str, Any] | None) -> Any:
        if not path_parameters or "video_id" not in path_parameters:
            return path_parameters
        known = [video["id"] for video in server.get("/v1/videos?limit=4").json()["data"]]
        name = str(path_parameters["video_id"])
        replaced = known and len(name) % 3 and len(name) <= MOST_ID  # none that is not valid
        return {"video_id": known[len(name) % len(known)] if replaced else name}

    schema.hooks.hook("map_path_parameters")(with_known)
    return schema


@pytest.mark.parametrize(("method", "path", "mode"), OPERATIONS)
def test_the_server_does_as_the_document_says(
    api: dict[GenerationMode, BaseSchema],
    keyed: Running,
    photo: bytes,
    method: str,
    path: str,
    mode: GenerationMode,
    record_property: Callable[[str, object], None],
) -> None:
    for _ in range(2):
        keyed.made(photo)
    cases = 0

    @PROFILE
    @given(api[mode][path][method].as_strategy(generation_mode=mode))
    def every(case: schemathesis.Case) -> None:
        nonlocal cases
        cases += 1
        case.call_and_validate(checks=CHECKS, headers=keyed.headers, timeout=30)

    every()
    record_property("cases", cases)
