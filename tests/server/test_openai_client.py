"""The unmodified client of OpenAI's API, against every row of the wire format."""

import io
import json
import warnings
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI
from PIL import Image

from tests.server.serving import TAKING, Running, serving

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


@pytest.fixture
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none is needed", max_retries=0) as client:
        yield client


def create_fields(photo: bytes, prompt: str = "smiles") -> dict:
    return {"prompt": prompt, "input_reference": ("face.png", photo, "image/png")}


def test_create_and_poll_of_a_video(client: OpenAI, photo: bytes) -> None:
    video = client.videos.create_and_poll(
        **create_fields(photo), model="avatar-mini", seconds="1", size="64x64", extra_body={"seed": 7}
    )
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert (video.object, video.model, video.seconds, video.size) == ("video", "avatar-mini", "1", "64x64")
    assert video.id.startswith("video_") and video.completed_at and video.completed_at >= video.created_at
    assert video.prompt == "smiles"
    extra = video.model_extra or {}
    assert (extra["seed"], extra["num_frames"], extra["fps"], extra["duration_s"]) == (7, 9, 8, 9 / 8)
    assert "denoise" in extra["stage_durations"] and len(extra["frames_sha256"]) == 64


def test_create_and_poll_of_one_that_fails(client: OpenAI, photo: bytes) -> None:
    video = client.videos.create_and_poll(**create_fields(photo, "[fail face_not_found]"))
    assert video.status == "failed" and video.error is not None
    assert (video.error.code, video.error.message) == ("face_not_found", "it was asked to fail")


def test_poll_interval_comes_from_the_header(client: OpenAI, photo: bytes) -> None:
    made = client.videos.with_raw_response.create(**create_fields(photo, "[slow 100]"), extra_body={"priority": -5})
    assert 0 < int(made.headers["openai-poll-after-ms"]) <= 5_000
    assert made.parse().status in ("queued", "in_progress")
    client.videos.delete(made.parse().id)


@pytest.mark.parametrize(
    "extra_body",
    [
        pytest.param({"seed": 5, "shape": {"jaw": -1.5}, "guidance_scale": 2}, id="fields"),
        pytest.param({"extra_params": json.dumps({"seed": 5, "shape": {"jaw": -1.5}, "guidance_scale": 2})}, id="JSON"),
        pytest.param({"extra_body": {"seed": 5, "shape": {"jaw": -1.5}, "guidance_scale": 2}}, id="nested"),
    ],
)
def test_extra_body(client: OpenAI, server: Running, photo: bytes, extra_body: dict) -> None:
    video = client.videos.create(**create_fields(photo), extra_body=extra_body)
    job = server.service.store.get(video.id)
    assert job is not None
    assert job.settings["seed"] == 5
    assert job.settings["shape"] == {"jaw": -1.5}
    assert job.settings["guidance_scale"] == 2


def test_download_of_all_variants(client: OpenAI, photo: bytes) -> None:
    video = client.videos.create_and_poll(**create_fields(photo))
    assert client.videos.download_content(video.id).read().startswith(b"a fake video")
    assert client.videos.download_content(video.id, variant="video").read().startswith(b"a fake video")
    for variant, format in (("thumbnail", "WEBP"), ("spritesheet", "JPEG")):
        data = client.videos.download_content(video.id, variant=variant).read()  # type: ignore[arg-type]
        assert Image.open(io.BytesIO(data)).format == format


def test_download_before_the_end(client: OpenAI, photo: bytes) -> None:
    video = client.videos.create(**create_fields(photo, "[slow 200]"))
    with pytest.raises(openai.ConflictError) as caught:
        client.with_options(max_retries=5).videos.download_content(video.id)
    assert caught.value.code == "not_ready"
    client.videos.delete(video.id)


def test_delete(client: OpenAI, photo: bytes) -> None:
    video = client.videos.create(**create_fields(photo))
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (video.id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)
    with pytest.raises(openai.NotFoundError):
        client.videos.delete(video.id)


def test_remix(client: OpenAI, server: Running, photo: bytes) -> None:
    video = client.videos.create_and_poll(**create_fields(photo), extra_body={"seed": 3, "shape": {"jaw": 1.0}})
    remix = client.videos.remix(video.id, prompt="frowns", extra_body={"guidance_scale": 2.0})
    assert remix.remixed_from_video_id == video.id and remix.prompt == "frowns"
    first, second = (server.service.store.get(each.id) for each in (video, remix))
    assert first and second and second.photo_sha256 == first.photo_sha256
    assert second.settings == first.settings | {"prompt": "frowns", "guidance_scale": 2.0}
    assert client.videos.poll(remix.id).status == "completed"


def test_list_pages(photo: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        serving(tmp_path_factory.mktemp("data"), **TAKING) as server,
        OpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
    ):
        made = [client.videos.create(**create_fields(photo)).id for _ in range(7)]
        page = client.videos.list(limit=3)
        assert [video.id for video in page.data] == made[:3:-1]
        assert page.has_more
        assert [video.id for video in client.videos.list(limit=3)] == made[::-1]
        assert [video.id for video in client.videos.list(limit=2, order="asc", after=made[1])] == made[2:]
        body = server.get("/v1/videos?limit=2&order=asc").json()
        assert (body["object"], body["first_id"], body["last_id"], body["has_more"]) == ("list", *made[:2], True)


def test_models(client: OpenAI) -> None:
    models = client.models.list().data
    assert [model.id for model in models] == ["avatar-mini"]
    assert client.models.retrieve("avatar-mini").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("sora-2")


def test_errors_are_the_client_s_own(client: OpenAI, photo: bytes) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.videos.create(**create_fields(photo), model="sora-2")
    assert missing.value.code == "model_not_found" and missing.value.param == "model"
    with pytest.raises(openai.BadRequestError) as seconds:
        client.videos.create(**create_fields(photo), seconds="4")
    assert seconds.value.code == "seconds_unsupported" and '"1"' in seconds.value.message
    assert seconds.value.type == "invalid_request_error"


def test_a_reference_as_an_object(client: OpenAI, photo: bytes) -> None:
    first = client.videos.create(**create_fields(photo))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = client.post(
            "/videos", body={"prompt": "a", "input_reference": {"file_id": first.id}}, cast_to=type(first)
        )
    assert again.id != first.id
