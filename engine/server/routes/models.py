"""The model that is served."""

from typing import Annotated

from fastapi import APIRouter, Path

from fantasyid_engine.server.access import Asking
from fantasyid_engine.server.errors import ApiError
from fantasyid_engine.server.routes.asking import Serving
from fantasyid_engine.server.routes.described import errors
from fantasyid_engine.server.schemas import Model, ModelList
from fantasyid_engine.server.service import Service
from fantasyid_engine.server.views import model

router = APIRouter(prefix="/v1", tags=["models"])


def _models(service: Service) -> list[Model]:
    facts = service.pool.facts
    return [] if facts is None else [model(facts, service.settings, created=service.started_at)]


@router.get("/models", responses=errors())
async def list_models(service: Serving, caller: Asking) -> ModelList:
    """The model that is served, and what may be asked of it; none while it has never been loaded."""
    return ModelList(data=_models(service))


@router.get("/models/{model_id}", responses=errors(400, 404))
async def retrieve_model(service: Serving, caller: Asking, model_id: Annotated[str, Path(max_length=200)]) -> Model:
    """The model of this name."""
    for found in _models(service):
        if found.id == model_id:
            return found
    raise ApiError(404, "model_not_found", f"there is no model {model_id!r} here; GET /v1/models tells its name")
