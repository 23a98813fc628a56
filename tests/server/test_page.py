"""The page in a real browser, before a real server with workers that sleep: all that can be done with a video.

`test_page_for_all.py` has for whom it works, and under what conditions.
"""

import base64
import hashlib
import re
from collections.abc import Callable

import pytest

from fantasyid_engine.server.jobs import LOCAL
from tests.server.browsing import MINIATURE, Desk
from tests.server.serving import Running

pytestmark = pytest.mark.browser
MAKE_FILE = """([base64, name, type]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], name, { type }));
  return files;
}"""


def test_a_video_from_its_photo_to_its_player(look: Callable[..., Desk], server: Running, photo: bytes) -> None:
    desk = look(server, permissions=["clipboard-read", "clipboard-write"])
    assert desk.at("#model").inner_text().replace("\u00d7", "x") == "avatar-mini · 64 x 64 pixels · 9 frames, 1.1 s"
    assert desk.at("#notice").inner_text() == MINIATURE
    desk.at("#empty").wait_for()
    desk.page.evaluate("""() => {
      window.seen = new Set();
      new MutationObserver(() => {
        const where = document.querySelector(".where:not([hidden])")?.textContent;
        if (where) window.seen.add(where);
      }).observe(document.body, { subtree: true, childList: true, characterData: true });
    }""")
    job = desk.make(photo, "nods [slow 150] [note it was cut]", seed="7")
    desk.becomes(job, "rendering")
    job.locator(".picture img").wait_for()
    assert desk.at("#photo-view").evaluate("image => image.naturalWidth") == 64, "a preview of the photo"
    desk.becomes(job, "completed")
    seen = desk.page.evaluate("[...window.seen].join('\\n')")
    percents = [int(found) for found in re.findall(r"(\d+) % · Denoising", seen)]
    assert len(percents) >= 3 and percents == sorted(percents), seen

    job.locator(".play").wait_for()
    desk.real_video(job.get_attribute("data-id") or "")
    player = job.locator("video")
    assert player.is_hidden(), "nothing plays by itself"
    job.locator(".play").click()
    desk.until("document.querySelector('video').currentTime > 0.2")
    assert player.evaluate("video => [video.muted, video.loop, video.controls, video.videoWidth]") == [
        True,
        False,
        True,
        64,
    ]
    assert player.get_attribute("poster")
    desk.at("#loop").check()
    assert player.evaluate("video => video.loop")

    job.get_by_role("button", name="7, copy this seed").click()
    assert desk.page.evaluate("navigator.clipboard.readText()") == "7"
    with desk.page.expect_download() as download:
        job.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == f"{job.get_attribute('data-id')}.mp4"


def test_photos_by_drop_and_paste(look: Callable[..., Desk], taking: Running, photo: bytes) -> None:
    desk = look(taking, allowed="status of 503")
    for event, name in (("drop", "dropped.png"), ("paste", "pasted.png")):
        files = desk.page.evaluate_handle(MAKE_FILE, [base64.b64encode(photo).decode(), name, "image/png"])
        init = {"dataTransfer": files} if event == "drop" else {"clipboardData": files}
        desk.page.evaluate(
            """([event, init]) => {
              const made = event === "drop" ? new DragEvent(event, { ...init, bubbles: true, cancelable: true })
                : new ClipboardEvent(event, { ...init, bubbles: true, cancelable: true });
              document.body.dispatchEvent(made);
              if (!made.defaultPrevented) throw new Error("the browser would open the photo");
            }""",
            [event, init],
        )
        assert name in desk.at("#photo-says").inner_text()
        desk.at("#photo-view").wait_for()
        desk.at("#prompt").fill(name)
        desk.at("#send").click()
        desk.job(name).wait_for()
    jobs, _ = taking.service.store.list(LOCAL, after=None, limit=9, newest_first=True)
    assert [job.photo_sha256 for job in jobs] == 2 * [hashlib.sha256(photo).hexdigest()], "as it was, not drawn anew"
    desk.at("#photo-clear").click()
    assert desk.at("#photo-view").is_hidden() and desk.focused().get_attribute("id") == "input_reference"


def test_cancel_and_delete(look: Callable[..., Desk], server: Running, photo: bytes) -> None:
    desk = look(server)
    job = desk.make(photo, "is cancelled [slow 500]")
    desk.becomes(job, "rendering")
    job.get_by_role("button", name="Cancel").click()
    desk.becomes(job, "cancelled")
    video_id = job.get_attribute("data-id")
    assert server.wait(str(video_id))["error"]["code"] == "cancelled"
    assert job.locator(".error").is_hidden(), "somebody wanted it so"
    delete = job.locator("[data-act=delete]")
    delete.click()
    assert delete.inner_text() == "Really delete?" and server.get(f"/v1/videos/{video_id}").status_code == 200
    delete.click()
    job.wait_for(state="detached")
    assert server.get(f"/v1/videos/{video_id}").status_code == 404
    desk.page.reload()
    desk.at("#queue-title").wait_for()
    assert desk.job("is cancelled [slow 500]").count() == 0


def test_the_same_face_again(look: Callable[..., Desk], server: Running, photo: bytes) -> None:
    desk = look(server)
    first = desk.make(photo, "the first one", seed="11")
    desk.becomes(first, "completed")
    first.locator(".picture img").wait_for()
    first.get_by_role("button", name="Same face, new prompt").click()
    assert desk.focused().get_attribute("id") == "prompt" and desk.at("#prompt").input_value() == ""
    assert "the first one" in desk.at("#photo-says").inner_text() and desk.at("#photo-view").is_visible()
    desk.page.keyboard.type("another one")
    desk.page.keyboard.press("Control+Enter")
    desk.becomes(desk.job("another one"), "completed")
    first.get_by_role("button", name="Again with this seed").click()
    assert [desk.at(f"#{name}").input_value() for name in ("prompt", "seed")] == ["the first one", "11"]
    desk.at("#prompt").fill("the third one")
    desk.at("#send").click()
    desk.becomes(desk.job("the third one"), "completed")
    videos = {video["prompt"]: video for video in server.get("/v1/videos").json()["data"]}
    assert videos["another one"]["remixed_from_video_id"] == videos["the first one"]["id"]
    assert videos["another one"]["seed"] != 11, "an empty seed draws one"
    assert videos["the third one"]["seed"] == 11
    prompts = desk.at("li.job h3").all_inner_texts()
    assert prompts[:3] == ["the third one", "another one", "the first one"], "newest first"


def test_errors_stand_where_they_belong(look: Callable[..., Desk], server: Running, photo: bytes) -> None:
    desk = look(server, allowed="status of 400")
    desk.at("#send").click()
    assert desk.at("#input_reference-error").inner_text() == "Add a photo of a face first."
    assert desk.at("#prompt-error").inner_text() == "Say what happens in the video."
    assert desk.focused().get_attribute("id") == "input_reference"
    assert desk.at("#prompt").get_attribute("aria-invalid") == "true"
    assert desk.at("#prompt").get_attribute("aria-describedby") == "prompt-error"
    desk.at("#input_reference").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": photo[:90]})
    desk.at("#prompt").fill("smiles")
    assert desk.at("#prompt-error").is_hidden(), "an error goes when its field is changed"
    desk.at("#send").click()
    desk.at("#input_reference-error").wait_for()
    assert "\n" not in desk.at("#input_reference-error").inner_text()
    desk.at("#input_reference").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": photo})
    desk.at("#seed").fill("-1")
    desk.at("#send").click()
    assert "from 0 to 4294967295" in desk.at("#seed-error").inner_text()
    desk.at("#seed").fill("")
    desk.at("#more summary").first.click()
    desk.at("#num_inference_steps").fill("1000")
    desk.at("#more summary").first.click()
    desk.at("#send").click()
    desk.at("#num_inference_steps-error").wait_for()
    assert "allows up to 200" in desk.at("#num_inference_steps-error").inner_text(), "and More is open again"
    desk.at("#num_inference_steps").fill("")
    job = desk.make(photo, "goes wrong [fail out_of_memory]")
    desk.becomes(job, "failed")
    assert job.locator(".error").inner_text() == "it was asked to fail"


def test_an_api_key(look: Callable[..., Desk], start: Callable[..., Running], photo: bytes) -> None:
    server = start(keys=("ours", "theirs"))
    server.wait_ready()
    server.with_key("theirs").made(photo, "of another key")
    desk = look(server, allowed="status of 401")
    assert desk.at("#key-panel").is_visible() and desk.at("#desk").is_hidden()
    assert desk.focused().get_attribute("id") == "key" and desk.at("#key-error").is_hidden()
    desk.page.keyboard.type("fid_wrong")
    desk.page.keyboard.press("Enter")
    desk.at("#key-error").wait_for()
    assert "not valid" in desk.at("#key-error").inner_text()
    desk.at("#key").fill(server.tokens["ours"])
    desk.page.keyboard.press("Enter")
    desk.at("#empty").wait_for()
    job = desk.make(photo, "with a key")
    desk.becomes(job, "completed")
    job.locator(".picture img").wait_for()
    assert server.tokens["ours"] not in desk.page.content()
    desk.page.reload()
    desk.job("with a key").wait_for()
    assert desk.at("li.job").count() == 1, "of this key alone"
    desk.at("#forget-key").click()
    desk.at("#key-panel").wait_for()
    assert desk.at("li.job").count() == 0
    assert desk.page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [0, 0, ""]
