"""The server's OpenAPI document, and the file that it is frozen in.

    python -m fantasyid_engine.server.openapi docs/serving/openapi.json      # writes it anew

The framework describes answers; bodies, which `bodies` reads itself, are described here, as JSON and as forms.
"""

import json
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.server.forms import NESTED
from fantasyid_engine.server.schemas import CreateVideo, PurgeSubject, RemixVideo

TITLE = "fantasyid-engine"
VERSION = "1"
"""Of this interface, not of the package."""
DESCRIPTION = "One photo of a face and one prompt in, a video of that person out; OpenAI's video API, and beyond."
BODIES = (CreateVideo, RemixVideo, PurgeSubject)
FILES = {"CreateVideo": "input_reference", "PurgeSubject": "photo"}
"""Fields of forms that are files."""
FILE = {"type": "string", "format": "binary"}
EXTRA = "Further parameters, as one JSON object; the same as if they stood beside it."


def describe(app: FastAPI) -> None:
    """Makes `app.openapi` the document that follows from its routes."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=TITLE, version=VERSION, description=DESCRIPTION, routes=app.routes)
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):  # what is not valid is a 400 here
        schemas.pop(name, None)
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    _, made = models_json_schema([(body, "validation") for body in BODIES], ref_template="#/components/schemas/{model}")
    schemas |= made["$defs"]
    for body in BODIES:
        if body is not PurgeSubject:
            schemas[body.__name__] = _with_extras(schemas[body.__name__], {"type": ["object", "string", "null"]})
        schemas[f"{body.__name__}Form"] = _form(schemas[body.__name__], FILES.get(body.__name__))
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _with_extras(schema: dict[str, Any], kind: dict[str, Any]) -> dict[str, Any]:
    extras = {name: {**kind, "description": EXTRA} for name in NESTED}
    return {**schema, "properties": {**schema["properties"], **extras}}


def _form(schema: dict[str, Any], file: str | None) -> dict[str, Any]:
    """The same fields in a form, one of them a file; in forms nothing is null."""
    properties = {name: _without_null(rules) for name, rules in schema["properties"].items()}
    if file is not None:
        properties[file] = {**FILE, "description": schema["properties"][file].get("description", "The photo.")}
    return {**schema, "title": f"{schema['title']}Form", "properties": properties}


def _without_null(rules: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in rules.items() if name != "default" or value is not None}
    if isinstance(kept.get("type"), list):
        kept["type"] = [kind for kind in kept["type"] if kind != "null"]
    others = [choice for choice in kept.pop("anyOf", []) if choice != {"type": "null"}]
    return {**kept, **({"anyOf": others} if len(others) > 1 else others[0] if others else {})}


def text(app: FastAPI) -> str:
    """The document as it is frozen."""
    return json.dumps(app.openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> None:
    """Writes the document to the file that is named."""
    from fantasyid_engine.server.app import make_app
    from fantasyid_engine.server.settings import Settings

    with atomic_file(Path(arguments[0])) as temporary:
        temporary.write_text(text(make_app(Settings())), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
