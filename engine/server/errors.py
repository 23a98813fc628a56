"""What clients are told when something goes wrong: one mapping of exceptions to answers, in the shape of OpenAI's API.

    {"error": {"code": "...", "message": "one line", "type": "...", "param": "..." or null}}

Nothing internal is told: no paths, no types of exceptions, no text of errors that were not written for clients.
"""

import math
import re
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fantasyid_engine.errors import InputError, OutputError, one_line
from fantasyid_engine.server.schemas import Error, ErrorBody
from fantasyid_engine.server.store import KeyReused, TooMany

MOST_CHARS = 2_000
MOST_NAME_CHARS = 100
"""Of a name that a client gave, which may be as long as a body."""
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
RETRY_LATER_S = 5
FAILED_AS = {
    "cancelled": 409,
    "internal_error": 500,
    "interrupted": 503,
    "out_of_memory": 503,
    "storage_failed": 507,
    "worker_died": 500,
}
"""Statuses of failed jobs, where the answer would have been the video; all other codes are about the request: 400."""


class ApiError(Exception):
    """An answer that is an error; `param` is the field of the request that it is about."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.headers = status, code, param, dict(headers or {})


def bad(code: str, message: str, param: str | None = None) -> ApiError:
    """A request that cannot be served as it is."""
    return ApiError(400, code, message, param=param)


def not_found(what: str = "video") -> ApiError:
    """Not there, or not this key's: the two are not told apart."""
    return ApiError(404, "not_found", f"there is no such {what}; it may have been deleted or expired")


def later(code: str, message: str, after_s: float = RETRY_LATER_S) -> ApiError:
    """Cannot be served now."""
    return ApiError(503, code, message, headers={"Retry-After": whole_seconds(after_s)})


def whole_seconds(seconds: float) -> str:
    """As `Retry-After` has them: at least one."""
    return str(max(1, math.ceil(seconds)))


def answer(error: ApiError) -> JSONResponse:
    """The response."""
    kind = TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    message, param = _clean(str(error), MOST_CHARS), error.param and _clean(error.param, MOST_NAME_CHARS)
    body = Error(error=ErrorBody(code=error.code, message=message, type=kind, param=param))
    return JSONResponse(body.model_dump(), error.status, error.headers)


def _clean(text: str, most: int) -> str:
    """One line of at most so many characters; cut first, so that no more of them are looked at."""
    return one_line(text[:most])[:most]


def mapped(error: Exception) -> ApiError | None:
    """What clients are told of an exception; None where nobody foresaw it."""
    match error:
        case ApiError():
            return error
        case InputError():
            return bad(error.code, str(error), PARAMS.get(error.code))
        case TooMany():
            headers = {"Retry-After": whole_seconds(error.retry_after_s)}
            return ApiError(429, "too_many_jobs", error.message, headers=headers)
        case KeyReused():
            message = "this idempotency key was used for another request; use a new one"
            return ApiError(409, "idempotency_key_reused", message, headers={"x-should-retry": "false"})
        case OutputError():
            message = "the server cannot write files now; its operator knows more"
            return ApiError(507, "storage_full", message, headers={"Retry-After": "60"})
        case SQLAlchemyError():
            return later("store_unavailable", "the server cannot read or write its store now; try again")
        case ClientDisconnect():
            return bad("disconnected", "the request ended before its body did")
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            return _of_framework(error)
    return None


def internal() -> ApiError:
    """Something that nobody foresaw; the log has it, under the request's id."""
    return ApiError(500, "internal_error", "something went wrong in the server; its log has it under this x-request-id")


def _invalid(error: RequestValidationError) -> ApiError:
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return bad("invalid_parameter", f"{name}: {first['msg']}", name)


def _of_framework(error: HTTPException) -> ApiError:
    phrase = HTTPStatus(error.status_code).phrase.lower()
    known = {
        404: ("not_found", "there is nothing at this address; GET /openapi.json tells what is where"),
        405: ("method_not_allowed", "this address takes other methods; the header Allow names them"),
        400: ("invalid_body", f"the body cannot be read: {error.detail}"),
    }
    code, message = known.get(error.status_code, (phrase.replace(" ", "_"), phrase))
    return ApiError(error.status_code, code, message, headers=error.headers)


async def _handle(request: Request, error: Exception) -> JSONResponse:
    told = mapped(error)
    if told is None:
        raise error
    if told.status == 405:
        allowed = _methods(request)
        told.headers |= {"Allow": ", ".join(sorted(allowed))} if allowed else {}
    return answer(told)


def _methods(request: Request) -> set[str]:
    """All methods of an address, of which the framework names those of one route."""
    return {
        method.upper()
        for template, operations in request.app.openapi()["paths"].items()
        if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", template), request.url.path)
        for method in operations
    }


def handle_errors(app: FastAPI) -> None:
    """Every error that is foreseen is answered in one shape."""
    for kind in (
        ApiError,
        InputError,
        OutputError,
        TooMany,
        KeyReused,
        SQLAlchemyError,
        ClientDisconnect,
        RequestValidationError,
        HTTPException,
    ):
        app.add_exception_handler(kind, _handle)


PARAMS = {
    "prompt_empty": "prompt",
    "seed_invalid": "seed",
    "steps_invalid": "num_inference_steps",
    "guidance_invalid": "guidance_scale",
    "frames_unsupported": "num_frames",
    "face_index": "face_index",
    "shape_invalid": "shape",
    "shape_unknown": "shape",
    "shape_unsupported": "shape",
    "consent_invalid": "consent_ref",
    "consent_required": "consent_ref",
    "image_missing": "input_reference",
    "image_unreadable": "input_reference",
    "image_too_small": "input_reference",
    "image_too_large": "input_reference",
}
"""The field that an error of the engine is about."""
