"""A page of a server in a real browser, Debian's chromium, and what went wrong in it."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from fantasyid_engine.video.write import write_video
from tests.server.serving import Running
from tests.video.pictures import moving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
NO_PREVIEW_YET = re.compile("status of 404.*/preview$")
MINIATURE = "This is a miniature for drawn avatars; it takes no photos of real people."


@dataclass
class Desk:
    """A page before a server; what went wrong in it is kept."""

    page: "Page"
    server: Running
    problems: list[str] = field(default_factory=list)

    def at(self, selector: str) -> "Locator":
        return self.page.locator(selector)

    def job(self, prompt: str) -> "Locator":
        return self.page.locator("li.job").filter(has=self.page.get_by_role("heading", name=prompt, exact=True))

    def open(self) -> None:
        self.page.goto(self.server.url)
        self.at("#desk, #key-panel").locator("visible=true").wait_for()

    def make(self, photo: bytes, prompt: str, **fields: str) -> "Locator":
        self.at("#input_reference").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": photo})
        for name, value in {"prompt": prompt, **fields}.items():
            self.at(f"#{name}").fill(value)
        self.at("#send").click()
        self.job(prompt).wait_for()
        return self.job(prompt)

    def becomes(self, job: "Locator", state: str) -> None:
        job.and_(self.at(f"[data-state={state}]")).wait_for()

    def until(self, condition: str) -> None:
        """Playwright's own waiting is not allowed by the page's policy."""
        end = time.monotonic() + 20
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, condition
            self.page.wait_for_timeout(50)

    def focused(self) -> "Locator":
        return self.at(":focus")

    def real_video(self, video_id: str) -> None:
        """The fake worker's are none."""
        path = self.server.data / "videos" / video_id / "video.mp4"
        path.unlink()
        write_video(moving(frames=9, width=64), path, 8)


@contextmanager
def chromium() -> "Iterator[Browser]":
    """A browser; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def looking(browser: "Browser", shared: Running) -> "Iterator[Callable[..., Desk]]":
    """Gives what opens the page of a server; at the end nothing may have gone wrong but what `allowed` names.

    Jobs of the server that tests share are deleted then, so that no test waits for what another left to render.
    """
    opened: list[tuple[Desk, BrowserContext, str]] = []

    def look(server: Running, *, allowed: str = "$^", **options: Any) -> Desk:
        context = browser.new_context(viewport=options.pop("viewport", DESK), accept_downloads=True, **options)
        desk = Desk(context.new_page(), server)
        desk.page.set_default_timeout(20_000)

        def keep(problem: str) -> None:
            desk.problems.append(problem)

        def on_request(url: str) -> None:
            if not url.startswith((f"{server.url}/", "blob:", "data:")):
                keep(f"left the host: {url}")

        desk.page.on("pageerror", lambda error: keep(str(error)))
        desk.page.on("request", lambda request: on_request(request.url))
        desk.page.on("console", lambda message: keep(f"{message.text} {message.location.get('url')}"))
        opened.append((desk, context, allowed))
        desk.open()
        return desk

    yield look
    for video in shared.get("/v1/videos?limit=100").json()["data"]:
        shared.ask("DELETE", f"/v1/videos/{video['id']}")
    for desk, context, allowed in opened:
        known = (NO_PREVIEW_YET, re.compile(allowed))
        context.close()
        assert [text for text in desk.problems if not any(pattern.search(text) for pattern in known)] == []
