"""Same request, same plan, same frames: twice, from the sidecar, after a stop, in threads, in a fresh process."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fantasyid_engine import (
    Cancelled,
    ConfigError,
    Engine,
    EngineConfig,
    ExecutionPlan,
    InputError,
    Progress,
    RenderState,
    ResourceError,
    VideoRequest,
)
from fantasyid_engine.video.read import read_video
from fantasyid_engine.video.sidecar import read_sidecar
from fantasyid_engine.video.verify import verify
from fantasyid_engine.weights.shipped import MODELS
from tests.face.pictures import avatar
from tests.whole_model import paper_model

COMMAND = Path(sys.executable).with_name("fantasyid-engine")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "face.png"
    Image.fromarray(avatar(80)).save(path)
    return path


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(paper_model()) as engine:
        yield engine


@pytest.fixture
def request_(image: Path) -> VideoRequest:
    return VideoRequest(image=image, prompt="smiles", seed=11, num_inference_steps=4)


@pytest.mark.parametrize("backend", ["fused", "folded"])
def test_a_backend_is_recorded_and_pinned(backend: str, engine: Engine, request_: VideoRequest) -> None:
    """The same picture but for rounding, and its plan says where it is from."""
    plain = engine.generate(request_)
    with Engine(paper_model(), EngineConfig(backend=backend)) as other:
        made = other.generate(request_)
        assert made.record["plan"]["backend"] == backend
        again = other.generate(request_, plan=ExecutionPlan(device="cpu", precision="float32", backend=backend))
        assert np.array_equal(made.frames, again.frames)
        with pytest.raises(ConfigError, match=f"has backend eager; this engine runs {backend}"):
            other.generate(request_, plan=ExecutionPlan(device="cpu", precision="float32"))
        with pytest.raises(ConfigError, match=r"has kernels triton; .* set FANTASYID_KERNELS=triton, or leave"):
            other.generate(
                request_, plan=ExecutionPlan(device="cpu", precision="float32", backend=backend, kernels="triton")
            )
        with pytest.raises(ConfigError, match="another engine has taken its DiT"):
            Engine(other.model)
    assert np.abs(made.frames.astype(int) - plain.frames.astype(int)).max() <= 2


def test_twice(engine: Engine, request_: VideoRequest) -> None:
    first, second = engine.generate(request_), engine.generate(request_)
    assert first.frames_sha256 == second.frames_sha256
    assert np.array_equal(first.frames, second.frames)
    assert engine.generate(replace(request_, seed=12)).frames_sha256 != first.frames_sha256


def test_from_its_sidecar(engine: Engine, request_: VideoRequest, tmp_path: Path) -> None:
    """With a seed that was drawn, and settings that were the model's."""
    result = engine.generate(replace(request_, seed=None, num_inference_steps=None, prompt='a "quoted"\nprompt, é'))
    result.save(tmp_path / "a.mp4")
    sidecar = read_sidecar(tmp_path / "a.json")
    assert sidecar.request.seed == result.seed
    assert sidecar.request.num_inference_steps == 4 and sidecar.request.guidance_scale == 6.0
    again = engine.generate(sidecar.request, plan=sidecar.plan)
    assert again.frames_sha256 == result.frames_sha256
    comment = read_video(tmp_path / "a.mp4").metadata["comment"]
    assert json.loads(comment) == json.loads((tmp_path / "a.json").read_text()) == result.record


def test_consent_is_recorded_and_changes_nothing_else(engine: Engine, request_: VideoRequest, tmp_path: Path) -> None:
    """A stopped render goes on with it, and one that has it without: frames do not depend on it."""
    named = replace(request_, consent_ref="contract 5")
    result = engine.generate(named)
    result.save(tmp_path / "a.mp4")
    assert result.frames_sha256 == engine.generate(request_).frames_sha256
    assert (
        read_sidecar(tmp_path / "a.json").request.consent_ref == verify(tmp_path / "a.mp4").consent_ref == "contract 5"
    )
    stop = Stop(2)
    with pytest.raises(Cancelled):
        engine.generate(request_, on_progress=stop)
    assert engine.generate(named, resume=stop.states[0]).frames_sha256 == result.frames_sha256


def test_an_engine_that_requires_consent(request_: VideoRequest) -> None:
    seen: list[Progress] = []
    with Engine(paper_model(), EngineConfig(require_consent=True)) as engine:
        with pytest.raises(InputError, match="names no consent") as error:
            engine.generate(request_, on_progress=seen.append)
        assert error.value.code == "consent_required" and not seen
        engine.generate(replace(request_, consent_ref="contract 5"))


class Stop:
    """Stops a render after a number of steps, keeping its state."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.states: list[RenderState] = []

    def __call__(self, progress: Progress) -> None:
        if progress.stage == "denoise" and progress.step == self.after:
            assert progress.state is not None
            self.states.append(progress.state())
            raise Cancelled("stopped by the test")


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_stopped_and_resumed(engine: Engine, request_: VideoRequest, tmp_path: Path, after: int) -> None:
    whole = engine.generate(request_).frames_sha256
    stop = Stop(after)
    with pytest.raises(Cancelled):
        engine.generate(request_, on_progress=stop)
    stop.states[0].save(tmp_path / "state.safetensors")
    state = RenderState.load(tmp_path / "state.safetensors")
    steps: list[int] = []

    def count(progress: Progress) -> None:
        if progress.stage == "denoise" and progress.step:
            steps.append(progress.step)

    assert engine.generate(request_, resume=state, on_progress=count).frames_sha256 == whole
    assert [step for step in steps if step > after] == list(range(after + 1, 5)) and min(steps, default=4) > after - 1


def test_resumed_without_naming_the_seed(engine: Engine, request_: VideoRequest) -> None:
    stop = Stop(2)
    with pytest.raises(Cancelled):
        engine.generate(replace(request_, seed=None), on_progress=stop)
    resumed = engine.generate(replace(request_, seed=None), resume=stop.states[0])
    assert resumed.frames_sha256 == engine.generate(replace(request_, seed=resumed.seed)).frames_sha256


@pytest.mark.parametrize(
    "change",
    [{"prompt": "frowns"}, {"num_inference_steps": 5}, {"seed": 3}, {"guidance_scale": 2.0}, {"num_frames": 1}],
)
def test_a_state_of_another_request_is_refused(engine: Engine, request_: VideoRequest, change: dict) -> None:
    stop = Stop(2)
    with pytest.raises(Cancelled):
        engine.generate(request_, on_progress=stop)
    with pytest.raises(ConfigError, match="another request"):
        engine.generate(replace(request_, **change), resume=stop.states[0])


def test_a_plan_of_another_engine_is_refused(engine: Engine, request_: VideoRequest) -> None:
    for plan in (
        ExecutionPlan(device="cuda", precision="float32"),
        ExecutionPlan(device="cpu", precision="bfloat16"),
    ):
        with pytest.raises(ConfigError, match="this engine runs"):
            engine.generate(request_, plan=plan)


def test_the_tiles_of_a_plan_are_kept(engine: Engine, request_: VideoRequest) -> None:
    plan = ExecutionPlan(device="cpu", precision="float32", vae_tile=(8, 8))
    tiled = engine.generate(request_, plan=plan)
    assert tiled.record["plan"]["vae_tile"] == [8, 8]
    assert tiled.frames_sha256 == engine.generate(request_, plan=plan).frames_sha256
    assert tiled.frames_sha256 != engine.generate(request_).frames_sha256


def test_threads_take_turns(engine: Engine, request_: VideoRequest) -> None:
    alone = {seed: engine.generate(replace(request_, seed=seed)).frames_sha256 for seed in range(4)}
    found: dict[int, str] = {}

    def work(seed: int) -> None:
        found[seed] = engine.generate(replace(request_, seed=seed)).frames_sha256

    threads = [threading.Thread(target=work, args=(seed,)) for seed in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


def test_random_state_of_the_process_is_left_alone(engine: Engine, request_: VideoRequest) -> None:
    before = torch.get_rng_state()
    engine.generate(request_)
    assert torch.equal(torch.get_rng_state(), before)


def test_cancelled_in_every_stage(engine: Engine, request_: VideoRequest) -> None:
    """Whatever a callback raises comes out, and the engine renders on."""
    whole = engine.generate(request_).frames_sha256
    for stage in ("face", "text", "denoise", "decode"):

        def stop(progress: Progress, stage: str = stage) -> None:
            if progress.stage == stage:
                raise Cancelled(stage)

        with pytest.raises(Cancelled, match=stage):
            engine.generate(request_, on_progress=stop)
    assert engine.generate(request_).frames_sha256 == whole


def test_a_closed_engine_says_so(request_: VideoRequest) -> None:
    with Engine(paper_model()) as engine:
        pass
    engine.close()
    with pytest.raises(ConfigError, match="closed"):
        engine.generate(request_)


def test_out_of_memory_in_the_decoder_takes_smaller_tiles(
    engine: Engine, request_: VideoRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocator's error is a fake: it is raised here for whole pictures and large tiles."""
    from fantasyid_engine import engine as module
    from fantasyid_engine.vae.decode import decode

    def short_of_memory(vae, latents, tile, **options):
        if tile is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(vae, latents, tile, **options)

    monkeypatch.setattr(module, "decode", short_of_memory)
    result = engine.generate(request_)
    assert result.record["plan"]["vae_tile"] == [8, 8]
    assert any("out of memory" in note for note in result.notes)
    plan = ExecutionPlan(device="cpu", precision="float32")
    with pytest.raises(ResourceError, match="decoding the video"):
        engine.generate(request_, plan=plan)


def test_numbers_that_are_none_are_an_error(image: Path) -> None:
    model = paper_model()
    model.network.dit.proj_out.bias.data.fill_(float("nan"))
    with Engine(model) as engine, pytest.raises(ConfigError, match="no numbers in float32"):
        engine.generate(VideoRequest(image=image, prompt="smiles", num_inference_steps=1))


@pytest.mark.parametrize("frames", [2, 5, 8, 13, 17])
def test_frame_counts_that_no_model_makes(engine: Engine, request_: VideoRequest, frames: int) -> None:
    with pytest.raises(InputError, match="it makes 1, 9") as error:
        engine.generate(replace(request_, num_frames=frames))
    assert error.value.code == "frames_unsupported"


def test_one_frame_and_sixteen_bits(engine: Engine, request_: VideoRequest, tmp_path: Path) -> None:
    result = engine.generate(replace(request_, num_frames=1, bit_depth=16))
    assert result.frames.dtype == np.uint16 and len(result.frames) == 1
    result.save(tmp_path / "pictures")
    assert np.array_equal(read_video(tmp_path / "pictures").frames, result.frames)
    assert read_sidecar(tmp_path / "pictures.json").request.bit_depth == 16


def test_guidance_of_one_is_no_guidance(engine: Engine, request_: VideoRequest) -> None:
    """The DiT sees the prompt alone, once a step."""
    batches: list[int] = []
    hook = engine.model.network.dit.register_forward_pre_hook(lambda module, inputs: batches.append(len(inputs[0])))
    engine.generate(replace(request_, guidance_scale=1.0))
    engine.generate(replace(request_, guidance_scale=1.5))
    hook.remove()
    assert batches == [1] * 4 + [2] * 4


def test_a_picture_that_is_the_crop_has_no_second_face(engine: Engine, request_: VideoRequest) -> None:
    with pytest.raises(InputError, match="there is no second face to choose"):
        engine.generate(replace(request_, face_index=2))


def test_a_photo_as_bytes(engine: Engine, request_: VideoRequest, image: Path, tmp_path: Path) -> None:
    result = engine.generate(replace(request_, image=image.read_bytes()))
    assert result.frames_sha256 == engine.generate(request_).frames_sha256
    result.save(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="--image"):
        read_sidecar(tmp_path / "a.json")
    assert read_sidecar(tmp_path / "a.json", image=image).request.image == str(image)


def test_command_line_from_sidecar_in_a_fresh_process(image: Path, tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [COMMAND, "generate", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    first = run("--image", image, "--prompt", "smiles", "--out", "a.mp4", "--steps", "2")
    again = run("--from", "a.json", "--out", "b.mp4")
    render = json.loads((MODELS / "avatar-mini" / "config.json").read_text())["render"]
    assert ("not trained" in first.stderr) is not render["trained"]
    assert first.stdout.splitlines()[1] == again.stdout.splitlines()[1]
    assert "9 frames of 64 x 64 at 8 fps" in first.stdout
    other = run("--from", "a.json", "--seed", "5", "--out", "c.mov")
    assert other.stdout.splitlines()[1] != first.stdout.splitlines()[1]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a.mp4", "a.json", "b.mp4", "b.json", "c.mov", "c.json"}
