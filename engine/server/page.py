"""The page for people: a few files of this package, each under its own name, and nothing else."""

from importlib import resources

from fastapi import APIRouter, Response

from fantasyid_engine.server.errors import ApiError

FOLDER = "page"
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def page_router() -> APIRouter:
    """Routes of the page: `/` and `/page/<name>`; its files are read once, now."""
    folder = resources.files("fantasyid_engine.server") / FOLDER
    files = {
        file.name: (file.read_bytes(), TYPES[f".{ending}"])
        for file in (folder.iterdir() if folder.is_dir() else ())
        for ending in [file.name.rpartition(".")[2]]
        if f".{ending}" in TYPES
    }
    router = APIRouter(include_in_schema=False)

    def answer(name: str) -> Response:
        if name not in files:
            raise ApiError(404, "not_found", "there is no such file of the page")
        data, media_type = files[name]
        return Response(data, headers={"content-type": media_type, "cache-control": "no-cache"})

    @router.get("/")
    async def index() -> Response:
        """The page."""
        return answer(INDEX)

    @router.get("/page/{name}")
    async def file(name: str) -> Response:
        """What belongs to it."""
        return answer(name)

    return router
