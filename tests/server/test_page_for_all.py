"""The page by keyboard, on a phone, in the dark, with hostile text, over a bad line, before a long queue."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.server.browsing import DESK, MINIATURE, PHONE, Desk
from tests.server.serving import FACTS, NEVER_READY, Running

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.browser
LEAST_CONTRAST = 4.5
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour, below) => {
    canvas.fillStyle = below; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const lightness = (colour) => colour.map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const css = (colour) => `rgb(${colour.join(" ")})`;
  const behind = (element) => {
    const under = element.parentElement ? behind(element.parentElement) : "rgb(255 255 255)";
    return css(rgb(getComputedStyle(element).backgroundColor, under));
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = {};
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const back = behind(element);
    const both = [rgb(getComputedStyle(element).color, back), rgb(back, back)].map((one) => lightness(one) + 0.05);
    found[walker.currentNode.data.trim().slice(0, 40)] = Math.max(...both) / Math.min(...both);
  }
  return found;
}"""
SMALL = """[...document.querySelectorAll("button, input, select, summary")].filter((one) => one.checkVisibility())
  .map((one) => [one.id || one.textContent, (one.closest("label") ?? one).getBoundingClientRect()])
  .filter(([, box]) => box.height < 24 || box.width < 24).map(([name]) => name)"""


def test_by_keyboard_alone(look: Callable[..., Desk], server: Running, photo: bytes, tmp_path: Path) -> None:
    desk, press = look(server), lambda key: desk.page.keyboard.press(key)
    (tmp_path / "me.png").write_bytes(photo)
    desk.page.on("filechooser", lambda chooser: chooser.set_files(tmp_path / "me.png"))

    def go(what: str) -> None:
        """Tabs to it, and looks whether the focus is seen there."""
        for _ in range(40):
            press("Tab")
            here = desk.focused()
            if here.count() and here.evaluate("(element, what) => element.matches(what)", what):
                ring = "element => getComputedStyle(element.closest('.drop') ?? element).outlineStyle"
                assert here.evaluate(ring) == "solid", f"the focus on {what} is not seen"
                return
        raise AssertionError(f"no way to {what} by Tab")

    go("#input_reference")
    press("Space")
    desk.at("#photo-view").wait_for()
    go("#prompt")
    desk.page.keyboard.type("typed [slow 100]")
    go("#more > summary")
    press("Enter")
    go("#num_inference_steps")
    desk.page.keyboard.type("4")
    go("#shape summary")
    press("Enter")
    go("[name='shape[jaw]']")
    press("ArrowRight")
    go("#send")
    press("Enter")
    job = desk.job("typed [slow 100]")
    desk.becomes(job, "completed")
    job.locator(".play").wait_for()
    desk.until("document.querySelector('#announce').textContent.includes('Ready: typed')")
    video_id = str(job.get_attribute("data-id"))
    stored = server.service.store.get(video_id)
    assert stored is not None and stored.settings["num_inference_steps"] == 4
    assert stored.settings["shape"] == {"jaw": 0.1}
    desk.real_video(video_id)
    go(".play")
    press("Space")
    desk.until("document.activeElement.tagName === 'VIDEO'")
    go(f"[data-id={video_id}] [data-act=again]")
    press("Enter")
    assert desk.focused().get_attribute("id") == "prompt"
    go(f"[data-id={video_id}] [data-act=delete]")
    press("Enter")
    press("Enter")
    job.wait_for(state="detached")
    assert desk.page.evaluate("document.activeElement !== document.body"), "the focus is not lost"


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_sizes_and_colours(
    look: Callable[..., Desk], server: Running, photo: bytes, viewport: dict[str, int], scheme: str
) -> None:
    desk = look(server, viewport=viewport, color_scheme=scheme)
    desk.becomes(desk.make(photo, f"{scheme} {viewport['width']} done [note " + 60 * "long" + "]"), "completed")
    desk.becomes(desk.make(photo, f"{scheme} {viewport['width']} [fail out_of_memory]"), "failed")
    running = desk.make(photo, f"{scheme} {viewport['width']} [slow 500] " + 80 * "wide")
    desk.becomes(running, "rendering")
    waiting = desk.make(photo, f"{scheme} {viewport['width']} waits")
    desk.at("#prompt").fill("")
    desk.at("#send").click()
    desk.at("#more").evaluate("more => (more.open = true)")
    assert desk.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    cut_off = "element => element.checkVisibility() && element.getBoundingClientRect().right > innerWidth"
    assert (
        desk.page.evaluate(f"[...document.body.querySelectorAll('*')].filter({cut_off}).map((one) => one.className)")
        == []
    )
    waiting.get_by_text("Next in the queue").wait_for()
    contrasts = desk.page.evaluate(CONTRASTS)
    assert len(contrasts) > 30
    assert {text: ratio for text, ratio in contrasts.items() if ratio < LEAST_CONTRAST} == {}
    red, *_ = map(int, re.findall(r"\d+", desk.at("body").evaluate("body => getComputedStyle(body).backgroundColor")))
    assert red < 64 if scheme == "dark" else red > 192
    assert desk.page.evaluate(SMALL) == []
    for job in (waiting, running):
        job.get_by_role("button", name="Cancel").click()
        desk.becomes(job, "cancelled")


def test_text_stays_text(look: Callable[..., Desk], server: Running, photo: bytes) -> None:
    desk, evil = look(server), '<img src=x onerror="alert(1)"><b>bold</b> [note <i>note</i>]'
    job = desk.make(photo, evil)
    desk.becomes(job, "completed")
    assert job.locator("h3").inner_text() == evil and job.locator("b, i, img[src=x]").count() == 0
    assert desk.at("[onerror]").count() == 0


def test_without_events_it_polls(look: Callable[..., Desk], server: Running, photo: bytes) -> None:
    desk = look(server, allowed="/events$")
    desk.page.route("**/events", lambda route: route.abort())
    job = desk.make(photo, "polled [slow 150]")
    desk.becomes(job, "rendering")
    desk.becomes(job, "completed")


def test_an_answer_that_is_lost(look: Callable[..., Desk], server: Running, photo: bytes) -> None:
    desk = look(server, allowed="ERR_(INTERNET_DISCONNECTED|FAILED)")

    def lose(route: "Route") -> None:
        if route.request.method == "POST":
            route.fetch()
            route.abort()
        else:
            route.continue_()

    desk.page.route("**/v1/videos", lose)
    desk.at("#input_reference").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": photo})
    desk.at("#prompt").fill("sent twice, made once")
    desk.at("#send").click()
    desk.at("#form-error").wait_for()
    assert "does not answer" in desk.at("#form-error").inner_text()
    desk.page.unroute("**/v1/videos", lose)
    desk.at("#send").click()
    desk.becomes(desk.job("sent twice, made once"), "completed")
    assert len(server.get("/v1/videos").json()["data"]) == 1


def test_a_server_that_is_away_for_a_while(look: Callable[..., Desk], server: Running, photo: bytes) -> None:
    desk = look(server, allowed="ERR_INTERNET_DISCONNECTED")
    job = desk.make(photo, "goes on [slow 300]")
    desk.becomes(job, "rendering")
    desk.page.context.set_offline(True)
    desk.at("#trouble").wait_for()
    assert desk.at("#trouble").inner_text() == "The server does not answer; trying again."
    desk.page.context.set_offline(False)
    desk.becomes(job, "completed")
    assert desk.at("#trouble").is_hidden()


def test_what_the_model_is_and_why_videos_wait(
    look: Callable[..., Desk], start: Callable[..., Running], photo: bytes
) -> None:
    facts = replace(FACTS, trained=False, one_face=True, shape_names=())
    desk = look(start(command=NEVER_READY, facts=facts, require_consent=True), allowed="status of 503")
    assert desk.at("#notice").inner_text() == f"{MINIATURE} It is not trained: its videos show noise."
    assert desk.at("#shape").is_hidden() and desk.at("[data-field=face_index]").is_hidden()
    assert desk.at("#consent_ref").is_visible(), "what is needed is not under More"
    desk.at("#prompt").fill("smiles")
    desk.at("#input_reference").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": photo})
    desk.at("#send").click()
    assert desk.at("#consent_ref-error").is_visible()
    desk.make(photo, "smiles", consent_ref="form 12")
    desk.at("#waits").wait_for()
    assert "no worker is ready" in desk.at("#waits").inner_text()


def test_a_long_queue(look: Callable[..., Desk], start: Callable[..., Running], photo: bytes) -> None:
    server = start(command=NEVER_READY, facts=FACTS)
    for number in range(53):
        server.made(photo, f"number {number}")
    desk = look(server, allowed="status of 503")
    desk.at("#older").wait_for()
    assert desk.at("li.job h3").all_inner_texts() == [f"number {number}" for number in range(52, 2, -1)]
    desk.at("#older").click()
    desk.job("number 0").wait_for()
    assert desk.at("li.job h3").all_inner_texts() == [f"number {number}" for number in range(52, -1, -1)]
    assert desk.at("#counts").inner_text() == "53 waiting" and desk.at("#older").is_hidden()
    server.ask("DELETE", f"/v1/videos/{desk.at('li.job').nth(5).get_attribute('data-id')}")
    desk.job("number 47").wait_for(state="detached")
