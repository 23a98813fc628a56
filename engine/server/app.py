"""The server's application: what is opened with it, in which order a request passes what, and all routes.

observe -> guard -> body limit -> routes -> service -> store, files, pool
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware

from fantasyid_engine.server.access import Access
from fantasyid_engine.server.errors import handle_errors
from fantasyid_engine.server.files import Files
from fantasyid_engine.server.hub import Hub
from fantasyid_engine.server.limits import BodyLimit
from fantasyid_engine.server.lock import only_one
from fantasyid_engine.server.metrics import Metrics
from fantasyid_engine.server.observe import Observe
from fantasyid_engine.server.openapi import describe
from fantasyid_engine.server.outbound import Outbound
from fantasyid_engine.server.page import page_router
from fantasyid_engine.server.pool import Pool
from fantasyid_engine.server.routes import content, health, models, purge, videos, waiting
from fantasyid_engine.server.security import Guard
from fantasyid_engine.server.service import Service
from fantasyid_engine.server.settings import Settings
from fantasyid_engine.server.store import Store
from fantasyid_engine.server.telemetry import Telemetry
from fantasyid_engine.server.tracing import tracer_of_environment
from fantasyid_engine.server.webhooks import Courier

STORE = "jobs.sqlite"
THREADS = 40
"""In which store and files are waited for."""


def make_app(settings: Settings, *, command: Sequence[str] | None = None) -> FastAPI:
    """The application of one server; nothing is opened before it starts.

    Args:
        settings: of the server.
        command: what starts a worker instead of the product's own; for benchmarks and tests.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _opened(settings, metrics, command) as service:
            app.state.service, app.state.access = service, Access(settings, service.store)
            yield

    app = FastAPI(
        lifespan=lifespan,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(Observe, metrics=metrics),
            Middleware(Guard, names=(settings.host, *settings.allowed_hosts)),
            Middleware(BodyLimit, most_bytes=settings.max_body_bytes, most_in_flight=settings.max_bytes_in_flight),
        ],
    )
    # `/videos/sync` before `/videos/{video_id}`
    for routes in (waiting, videos, content, models, health, purge):
        app.include_router(routes.router)
    app.include_router(page_router())
    handle_errors(app)
    describe(app)
    return app


@asynccontextmanager
async def _opened(settings: Settings, metrics: Metrics, command: Sequence[str] | None) -> AsyncIterator[Service]:
    """Everything that a server has open, closed again in reverse order."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    async with AsyncExitStack() as stack:
        stack.enter_context(only_one(settings.data))
        tracer = tracer_of_environment()
        stack.callback(tracer.close)
        files, store = Files(settings.data), Store(settings.data / STORE)
        stack.callback(store.close)
        outbound = Outbound(http=settings.webhook_http, allowed_networks=settings.allowed_networks)
        stack.callback(outbound.close)
        hub = Hub()
        pool = Pool(settings, store, files, hub, events=Telemetry(metrics, tracer), command=command)
        service = Service(settings, store, files, hub, pool, outbound, metrics)
        await asyncio.to_thread(service.photos.sweep)
        await pool.start()
        stack.push_async_callback(pool.kill)
        stop = asyncio.Event()
        background = [asyncio.create_task(service.remover.run(stop))]
        if settings.webhook_secret is not None:
            courier = Courier(store, outbound, settings.webhook_secret, on_outcome=metrics.webhook)
            background.append(asyncio.create_task(courier.run(stop)))
        try:
            yield service
        finally:
            await service.drain()
            stop.set()
            await asyncio.gather(*background, return_exceptions=True)
