"""The study's page in a real browser, Debian's chromium: rate, reload, save, and read what was saved."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fantasyid_engine.evaluation.answers import read_answers, read_key, study_result
from fantasyid_engine.evaluation.clips import Method
from fantasyid_engine.evaluation.study import QUESTIONS, write_study
from fantasyid_engine.video.write import write_video
from tests.evaluation.stand_ins import GREEN, RED, clip, write_patches, write_reference
from tests.video.pictures import moving

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.browser


@pytest.fixture
def context() -> "Iterator[BrowserContext]":
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_context(viewport={"width": 390, "height": 844}, accept_downloads=True)
        browser.close()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_video(moving(frames=3), tmp_path / "ours" / "a.mp4", 8)
    write_patches(tmp_path / "theirs" / "a", [RED, GREEN])
    photo = write_reference(tmp_path / "a.png", RED)
    methods = [
        Method("ours", (clip(tmp_path / "ours" / "a.mp4"),)),
        Method("theirs", (clip(tmp_path / "theirs" / "a"),)),
    ]
    write_study(tmp_path / "page.html", methods, [photo], seed=5)
    return tmp_path / "page.html"


def rate(page: "Page", ratings: dict[str, int]) -> None:
    for code, value in ratings.items():
        page.locator(f'fieldset[data-code="{code}"] label').nth(value).click()


def says(page: "Page") -> str:
    return page.locator("#says").inner_text()


def test_rate_reload_save_and_read(context: "BrowserContext", study: Path, tmp_path: Path) -> None:
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    page.goto(study.as_uri())
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    assert page.evaluate("document.querySelector('#photo').naturalWidth") == 64
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing to scroll sideways on a phone"

    page.locator("#next").click()
    assert "all four ratings" in says(page)
    page.locator("#save").click()
    assert "2 videos are not rated" in says(page)
    page.locator("#rater").fill('A"<B>')
    rate(page, {"OQ": 0, "F-Sim": 10, "F-Str": 5})
    assert page.locator("fieldset output").all_inner_texts() == ["0", "10", "5", "-"]

    page.reload()
    assert page.locator("fieldset output").all_inner_texts() == ["0", "10", "5", "-"], "answers survive a reload"
    assert page.locator("#rater").input_value() == 'A"<B>'
    page.locator("#next").click()
    assert page.locator("#count").inner_text() == "Video 1 of 2"
    rate(page, {"FD": 7})
    page.locator("#next").click()
    assert page.locator("#count").inner_text() == "Video 2 of 2"
    assert page.locator("fieldset output").all_inner_texts() == ["-"] * 4
    page.locator('fieldset[data-code="OQ"] input').first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    assert page.locator("fieldset output").first.inner_text() == "1", "works from the keyboard"
    page.locator("#save").click()
    assert "One video is not rated yet" in says(page)
    rate(page, {"OQ": 9, "F-Sim": 8, "F-Str": 7, "FD": 6})
    assert "All videos are rated" in says(page)

    with page.expect_download() as started:
        page.locator("#save").click()
    key = read_key(study)
    assert started.value.suggested_filename.startswith(f"answers-{key.study}-")
    started.value.save_as(tmp_path / "answers.json")
    (answers,) = read_answers([tmp_path / "answers.json"], key)
    assert answers.rater == 'A"<B>'
    given = [{q.code: answers.answers[item].of(q.code) for q in QUESTIONS} for item in key.items]
    assert given == [{"OQ": 0, "F-Sim": 10, "F-Str": 5, "FD": 7}, {"OQ": 9, "F-Sim": 8, "F-Str": 7, "FD": 6}]
    means = study_result(key, [answers]).means
    assert sorted(row["OQ"] for row in means.values()) == [0, 9]
    assert problems == []


def test_two_browsers_are_two_raters(context: "BrowserContext", study: Path) -> None:
    page = context.new_page()
    page.goto(study.as_uri())
    session = page.evaluate("state.session")
    page.reload()
    assert page.evaluate("state.session") == session
    assert context.browser is not None
    other = context.browser.new_context().new_page()
    other.goto(study.as_uri())
    assert other.evaluate("state.session") != session
