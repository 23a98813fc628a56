"""For whoever runs the server: does it live, does it render, how is it."""

import asyncio

from fastapi import APIRouter, Response

from fantasyid_engine.server.access import Asking
from fantasyid_engine.server.errors import later
from fantasyid_engine.server.routes.asking import Serving
from fantasyid_engine.server.routes.described import KEYLESS, RETRY, errors
from fantasyid_engine.server.schemas import Error, Health

router = APIRouter(tags=["health"])


@router.get("/livez", responses=errors(always=KEYLESS))
async def live() -> Health:
    """It answers; no key is needed."""
    return Health()


@router.get(
    "/readyz",
    responses={
        **errors(always=KEYLESS),
        503: {"model": Error, "description": "No worker is ready; why.", "headers": RETRY},
    },
)
async def ready(service: Serving) -> Health:
    """At least one worker is ready; no key is needed."""
    if service.draining:
        raise later("draining", "this server is being stopped")
    if service.pool.refusal is not None:
        raise later("model_refused", "no worker can start here; the server's log says why", 60)
    if not service.pool.ready:
        states = sorted({worker.state for worker in service.pool.workers()})
        raise later("no_worker", f"no worker is ready: {', '.join(states) or 'there are none'}")
    return Health()


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "For Prometheus.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **errors(),
    },
)
async def metrics(service: Serving, caller: Asking) -> Response:
    """Counters and gauges as Prometheus reads them; any API key will do."""
    service.metrics.queue({str(state): count for state, count in (await service.counts()).items()})
    text, media_type = await asyncio.to_thread(service.metrics.render)
    return Response(text, headers={"content-type": media_type})
