"""Out of memory while denoising: negative prompt and prompt in turn, by itself, and the same frames from its plan."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fantasyid_engine import (
    Cancelled,
    Engine,
    EngineConfig,
    ExecutionPlan,
    Progress,
    RenderState,
    ResourceError,
    VideoRequest,
)
from fantasyid_engine import engine as module
from fantasyid_engine.config.serialise import from_json_object, to_json_object
from fantasyid_engine.sampling.predict import dit_predictor
from tests.face.pictures import avatar
from tests.whole_model import paper_model

STEPS = 4


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "face.png"
    Image.fromarray(avatar(80)).save(path)
    return path


@pytest.fixture(scope="module", params=["eager", "fused", "folded"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(paper_model(), EngineConfig(backend=request.param)) as engine:
        yield engine


@pytest.fixture
def request_(image: Path) -> VideoRequest:
    return VideoRequest(image=image, prompt="smiles", seed=11, num_inference_steps=STEPS)


def plan_of(engine: Engine, request: VideoRequest, **changes: Any) -> ExecutionPlan:
    """The plan that a render of this request has, changed."""
    recorded = engine.generate(replace(request, num_frames=1, num_inference_steps=1)).record["plan"]
    return replace(from_json_object(ExecutionPlan, recorded, Path("record")), **changes)


def short_of_memory(monkeypatch: pytest.MonkeyPatch, at_step: int, *, least: int = 2) -> list[int]:
    """A fault that is put in: the predictor raises torch's error for batches of `least` and more, from a step on.

    Returns:
        The sizes of all batches that came, in order.
    """
    batches: list[int] = []

    def make(*arguments: Any) -> Callable[[Tensor, int], Tensor]:
        predict, steps = dit_predictor(*arguments), 0
        size = 2 if len(arguments) < 8 or arguments[7] == "batched" else 1

        def faulty(x: Tensor, t: int) -> Tensor:
            nonlocal steps
            steps += 1
            batches.append(size)
            if size >= least and steps > at_step:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return predict(x, t)

        return faulty

    monkeypatch.setattr(module, "dit_predictor", make)
    return batches


def test_in_turn_makes_the_same_picture(engine: Engine, request_: VideoRequest) -> None:
    """But for rounding: products of one row and of two are summed in another order."""
    batched = engine.generate(request_)
    plan = plan_of(engine, request_, guidance="in_turn")
    in_turn = engine.generate(request_, plan=plan)
    assert in_turn.record["plan"]["guidance"] == "in_turn" and batched.record["plan"]["guidance"] == "batched"
    assert np.abs(in_turn.frames.astype(int) - batched.frames.astype(int)).max() <= 2
    assert engine.generate(request_, plan=plan).frames_sha256 == in_turn.frames_sha256
    other = engine.generate(replace(request_, guidance_scale=3.0), plan=plan)
    assert np.abs(in_turn.frames.astype(int) - other.frames.astype(int)).max() > 2, "guidance does something"


@pytest.mark.parametrize("at_step", [0, 2])
def test_out_of_memory_goes_on_in_turn(
    engine: Engine, request_: VideoRequest, monkeypatch: pytest.MonkeyPatch, at_step: int
) -> None:
    """From the first step, so that all frames are of the plan that is recorded."""
    wanted = engine.generate(request_, plan=plan_of(engine, request_, guidance="in_turn"))
    batches = short_of_memory(monkeypatch, at_step)
    reports: list[tuple[int, str | None]] = []

    def note(progress: Progress) -> None:
        if progress.stage == "denoise":
            reports.append((progress.step, progress.note))

    made = engine.generate(request_, on_progress=note)
    assert made.frames_sha256 == wanted.frames_sha256
    assert made.record["plan"]["guidance"] == "in_turn"
    assert [text for text in made.notes if "out of memory while denoising" in text]
    assert batches == [2] * (at_step + 1) + [1] * STEPS
    steps = [step for step, text in reports if text is None]
    assert steps == [*range(at_step + 1), *range(STEPS + 1)]


def test_a_pinned_plan_is_kept(engine: Engine, request_: VideoRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(engine, request_)
    batches = short_of_memory(monkeypatch, 0)
    with pytest.raises(ResourceError, match="out of memory while denoising"):
        engine.generate(request_, plan=plan)
    assert batches == [2]


def test_nothing_leaner_is_left(engine: Engine, request_: VideoRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In turn fails as well; and without guidance there is nothing to take apart. The engine works on."""
    whole = engine.generate(request_).frames_sha256
    with monkeypatch.context() as patched:
        batches = short_of_memory(patched, 1, least=1)
        with pytest.raises(ResourceError, match="out of memory while denoising"):
            engine.generate(request_)
        assert batches == [2, 2, 1, 1]
        batches.clear()
        with pytest.raises(ResourceError, match="out of memory while denoising"):
            engine.generate(replace(request_, guidance_scale=1.0))
        assert len(batches) == 2, "no second try"
    assert engine.generate(request_).frames_sha256 == whole


def test_a_state_brings_its_guidance(engine: Engine, request_: VideoRequest, tmp_path: Path) -> None:
    plan = plan_of(engine, request_, guidance="in_turn")
    whole = engine.generate(request_, plan=plan).frames_sha256

    def stop(progress: Progress) -> None:
        if progress.state is not None and progress.step == 2:
            progress.state().save(tmp_path / "state")
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        engine.generate(request_, plan=plan, on_progress=stop)
    state = RenderState.load(tmp_path / "state")
    assert state.plan.guidance == "in_turn"
    resumed = engine.generate(request_, resume=state)
    assert resumed.frames_sha256 == whole and resumed.record["plan"]["guidance"] == "in_turn"


def test_a_plan_from_before_is_batched() -> None:
    """Sidecars and states that were written without the field."""
    values = to_json_object(ExecutionPlan(device="cpu", precision="float32"))
    del values["guidance"]
    assert from_json_object(ExecutionPlan, values, Path("old.json")).guidance == "batched"


def test_what_is_kept_is_forgotten(image: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Faces and prompts are read again; files stay, and the frames are the same."""
    from fantasyid_engine.face import cache
    from fantasyid_engine.text.encoder import TextTokens

    read: list[str] = []
    condition = cache.condition
    monkeypatch.setattr(cache, "condition", lambda model, face: read.append(face.name) or condition(model, face))
    request = VideoRequest(image=image, prompt="a prompt that is nowhere else", seed=1, num_frames=1)
    with Engine(paper_model()) as engine:
        first = engine.generate(request).frames_sha256
        engine.generate(request)
        assert len(read) == 1
        gc.collect()  # of engines before this one
        kept = sum(type(item) is TextTokens for item in gc.get_objects())
        engine.forget()
        gc.collect()
        assert sum(type(item) is TextTokens for item in gc.get_objects()) == kept - 2, "both prompts are gone"
        assert engine.generate(request).frames_sha256 == first and len(read) == 2
    with Engine(paper_model(), EngineConfig(face_cache_dir=str(tmp_path))) as engine:
        engine.generate(request)
        engine.forget()
        assert len(list(tmp_path.iterdir())) == 1
        engine.generate(request)
    assert len(read) == 3


def test_forgetting_waits_for_a_render(image: Path) -> None:
    """It may be called while a render is under way, from another thread."""
    import threading

    request = VideoRequest(image=image, prompt="smiles", seed=1, num_frames=1, num_inference_steps=2)
    with Engine(paper_model()) as engine:
        alone = engine.generate(request).frames_sha256
        thread = threading.Thread(target=engine.forget)

        def forget(progress: Progress) -> None:
            if progress.stage == "denoise" and progress.step == 1:
                thread.start()
                thread.join(0.2)
                assert thread.is_alive(), "it waits"

        assert engine.generate(request, on_progress=forget).frames_sha256 == alone
        thread.join()
        assert engine.generate(request).frames_sha256 == alone
