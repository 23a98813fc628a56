"""The real worker with the miniature, alone: what it answers, what it leaves on disk, how it ends."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from fantasyid_engine import Engine, ExecutionPlan, RenderState, VideoRequest
from fantasyid_engine.server.messages import (
    Alive,
    Cancel,
    Done,
    Failed,
    Forget,
    FromWorker,
    Preview,
    Progress,
    Ready,
    Refused,
    Render,
    SaveAndStop,
    Saved,
    Stopped,
    from_worker,
    line,
)
from fantasyid_engine.video.read import read_video

PHOTO = (files("fantasyid_engine") / "face" / "avatar_example.png").read_bytes()
REAL = (sys.executable, "-m", "fantasyid_engine.server.worker")
FAULTY = (sys.executable, str(Path(__file__).with_name("faulty_worker.py")))


class Worker:
    """A worker process, as the server has it."""

    def __init__(self, root: Path, command: tuple[str, ...] = REAL, **options: str) -> None:
        self.root = root
        ours, theirs = socket.socketpair()
        ours.settimeout(300)
        given = {"model": "avatar-mini", "device": "cpu", "precision": "auto", "faces": str(root / "faces")} | options
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        with theirs:
            self.process = subprocess.Popen(
                [*command, "--fd", str(theirs.fileno()), *words],
                pass_fds=(theirs.fileno(),),
                stderr=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        self.socket, self.stream = ours, ours.makefile("rb")
        (root / "photo").write_bytes(PHOTO)

    def send(self, message: Any) -> None:
        self.socket.sendall(line(message))

    def hear(self) -> FromWorker | None:
        """The next message but for those of life; None at the end."""
        while data := self.stream.readline():
            message = from_worker.validate_json(data)
            if not isinstance(message, Alive):
                return message
        return None

    def order(self, prompt: str = "smiles", *, job: str = "", **settings: Any) -> Render:
        lease = secrets.token_hex(16)
        folder = self.root / lease
        folder.mkdir()
        order = Render(
            lease=lease,
            job=f"video_{job or lease}",
            photo=str(self.root / "photo"),
            settings={"prompt": prompt, "seed": 7, "num_inference_steps": 3, "num_frames": 1, **settings},
            folder=str(folder),
            state=str(self.root / f"{job or lease}.safetensors"),
            save_every_steps=5,
            preview_every_s=0.001,
        )
        self.send(order)
        return order

    def answer(self, order: Render, on: Callable[[FromWorker], None] = lambda message: None) -> tuple[Any, list[Any]]:
        """How a render ended, and all that was said before."""
        said: list[Any] = []
        while (message := self.hear()) is not None:
            assert getattr(message, "lease", order.lease) == order.lease
            if isinstance(message, Done | Failed | Stopped):
                return message, said
            said.append(message)
            on(message)
        raise AssertionError("the worker ended: " + (self.process.stderr.read() if self.process.stderr else ""))

    def close(self) -> str:
        """Ends it; what it wrote to its log."""
        self.stream.close()
        self.socket.close()
        _, log = self.process.communicate(timeout=30)
        return log


@contextmanager
def worker_of(root: Path, command: tuple[str, ...] = REAL, **options: str) -> Iterator[Worker]:
    worker = Worker(root, command, **options)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.close()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """The real one, ready."""
    with worker_of(tmp_path_factory.mktemp("worker")) as worker:
        ready = worker.hear()
        assert isinstance(ready, Ready), ready
        facts = ready.facts
        assert (facts.name, facts.frame_counts, facts.fps, facts.width, facts.height) == (
            *("avatar-mini", (1, 5, 9), 8),
            *(64, 64),
        )
        assert "jaw" in facts.shape_names and not facts.one_face
        yield worker


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with worker_of(tmp_path_factory.mktemp("faulty"), FAULTY) as worker:
        assert isinstance(worker.hear(), Ready)
        yield worker


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.from_preset("avatar-mini") as engine:
        yield engine


def test_a_render(worker: Worker, engine: Engine) -> None:
    """The engine's frames; all files; progress in order; and no path of this machine in the video."""
    order = worker.order("a person smiles", num_frames=9, num_inference_steps=12)
    done, said = worker.answer(order)
    assert isinstance(done, Done), done
    request = VideoRequest(image=PHOTO, prompt="a person smiles", seed=7, num_inference_steps=12, num_frames=9)
    whole = engine.generate(request)
    result = done.result
    assert result["frames_sha256"] == whole.frames_sha256 and result["seed"] == 7
    assert (result["num_frames"], result["fps"], result["width"], result["height"]) == (9, 8, 64, 64)
    assert set(result["durations_s"]) == {"face", "text", "denoise", "decode", "write"}
    assert result["resumed_at_step"] == 0 and result["notes"] == list(whole.notes)
    assert result["render_s"] >= result["durations_s"]["denoise"] > 0

    folder = Path(order.folder)
    video = read_video(folder / "video.mp4")
    assert video.frames.shape == (9, 64, 64, 3)
    record = json.loads(video.metadata["comment"])
    assert record["request"]["image"] is None and record["model"]["name"] == "avatar-mini"
    assert str(worker.root).encode() not in (folder / "video.mp4").read_bytes()
    with Image.open(folder / "thumbnail.webp") as thumbnail, Image.open(folder / "spritesheet.jpg") as sheet:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (64, 64))
        assert (sheet.format, sheet.size) == ("JPEG", (192, 192))
    with Image.open(folder / "preview.jpg") as preview:
        assert (preview.format, preview.size) == ("JPEG", (64, 64))

    steps = [(message.stage, message.step) for message in said if isinstance(message, Progress) and not message.note]
    assert {("face", 0), ("face", 1), ("text", 0), ("denoise", 0), ("denoise", 12), ("decode", 1)} <= set(steps)
    assert steps == sorted(steps, key=lambda step: (("face", "text", "denoise", "decode").index(step[0]), step[1]))
    assert [message.steps_done for message in said if isinstance(message, Saved)] == [5, 10, 12]
    assert any(isinstance(message, Preview) for message in said)
    assert RenderState.load(Path(order.state)).steps_done == 12


def test_cancelled_within_a_step(worker: Worker) -> None:
    """The next report after the order is the last."""
    order = worker.order(num_inference_steps=1000)
    told_at: list[float] = []

    def cancel(message: FromWorker) -> None:
        if isinstance(message, Progress) and message.stage == "denoise" and message.step > 10 and not told_at:
            worker.send(Cancel(lease=order.lease))
            told_at.append(time.monotonic())

    stopped, said = worker.answer(order, cancel)
    assert isinstance(stopped, Stopped) and time.monotonic() - told_at[0] < 2
    steps = [message.step for message in said if isinstance(message, Progress) and message.stage == "denoise"]
    assert steps[-1] < 1000 / 4
    assert isinstance(worker.answer(worker.order())[0], Done), "and it works on"


def test_cancelled_before_it_began(worker: Worker) -> None:
    """Orders that came while another render was under way."""
    first, second = worker.order(num_inference_steps=5), worker.order(num_inference_steps=1000)
    worker.send(Cancel(lease=second.lease))
    worker.send(Cancel(lease="0" * 32))
    assert isinstance(worker.answer(first)[0], Done)
    stopped, said = worker.answer(second)
    assert isinstance(stopped, Stopped) and not said


def test_saved_stopped_and_gone_on_with(worker: Worker) -> None:
    """The same frames as without a stop."""
    whole, _ = worker.answer(worker.order(num_inference_steps=20))
    order = worker.order(num_inference_steps=20, job="stopped")

    def stop(message: FromWorker) -> None:
        if isinstance(message, Saved) and message.steps_done == 5:
            worker.send(SaveAndStop(lease=order.lease))

    stopped, said = worker.answer(order, stop)
    assert isinstance(stopped, Stopped) and 5 < stopped.steps_done < 20
    assert [message.steps_done for message in said if isinstance(message, Saved)][-1] == stopped.steps_done
    resumed, said = worker.answer(worker.order(num_inference_steps=20, job="stopped"))
    assert resumed.result["resumed_at_step"] == stopped.steps_done
    assert resumed.result["frames_sha256"] == whole.result["frames_sha256"]
    first = next(m.step for m in said if isinstance(m, Progress) and m.stage == "denoise" and m.step)
    assert first > stopped.steps_done


@pytest.mark.parametrize("kind", ["garbage", "another request", "another plan"])
def test_a_state_that_does_not_fit_is_dropped(worker: Worker, engine: Engine, kind: str) -> None:
    path = worker.root / f"{kind.replace(' ', '-')}.safetensors"
    request = VideoRequest(image=PHOTO, prompt="smiles", seed=7, num_inference_steps=3, num_frames=1)

    def keep(progress: Any) -> None:
        if progress.state is not None and progress.step == 2:
            progress.state().save(path)

    engine.generate(request, on_progress=keep)
    state = RenderState.load(path)
    if kind == "garbage":
        path.write_bytes(b"no state")
    elif kind == "another plan":
        plan = ExecutionPlan(device="cpu", precision="float32", kernels="triton")
        RenderState(
            state.request_digest, state.seed, plan, 2, state.latents, state.history, torch.as_tensor(state.noise)
        ).save(path)
    prompt = "frowns" if kind == "another request" else "smiles"
    done, _ = worker.answer(worker.order(prompt, job=path.stem))
    assert isinstance(done, Done) and done.result["resumed_at_step"] == 0
    assert any("begun anew" in note for note in done.result["notes"])
    if prompt == "smiles":
        assert done.result["frames_sha256"] == engine.generate(request).frames_sha256


@pytest.mark.parametrize(
    ("settings", "photo", "code"),
    [
        ({}, b"no picture", "image_unreadable"),
        ({}, None, "image_missing"),
        ({"num_frames": 3}, PHOTO, "frames_unsupported"),
        ({"shape": {"nose": 1.0}}, PHOTO, "shape_unknown"),
        ({"no_such_setting": 1}, PHOTO, "internal_error"),
    ],
    ids=["picture", "gone", "frames", "shape", "setting"],
)
def test_what_cannot_be_rendered(worker: Worker, settings: dict[str, Any], photo: bytes | None, code: str) -> None:
    """A code and one line for the client, without paths; and the worker works on."""
    path = worker.root / "photo"
    if photo is None:
        path.unlink()
    else:
        path.write_bytes(photo)
    failed, _ = worker.answer(worker.order(**settings))
    path.write_bytes(PHOTO)
    assert isinstance(failed, Failed) and failed.code == code
    assert failed.message.isprintable() and str(worker.root) not in failed.message and "Error" not in failed.message
    assert isinstance(worker.answer(worker.order())[0], Done)


def test_a_place_that_cannot_be_written(worker: Worker) -> None:
    """A state that cannot be kept costs nothing; a video that cannot is an error of the server's."""
    order = worker.order(job="no-such-folder/x")
    assert isinstance(worker.answer(order)[0], Done)
    order = worker.order(num_inference_steps=50)
    Path(order.folder).rmdir()
    Path(order.folder).write_bytes(b"a file in the place of the folder")
    failed, _ = worker.answer(order)
    assert isinstance(failed, Failed) and failed.code == "storage_failed" and "/" not in failed.message
    assert isinstance(worker.answer(worker.order())[0], Done)


def test_forgetting(worker: Worker) -> None:
    """Faces are read again; what the render before kept on disk goes too."""
    kept = {path.name for path in (worker.root / "faces").iterdir()}
    assert kept
    for path in (worker.root / "faces").iterdir():
        path.unlink()
    assert isinstance(worker.answer(worker.order())[0], Done)
    assert not list((worker.root / "faces").iterdir()), "it was in memory"
    worker.send(Forget())
    assert isinstance(worker.answer(worker.order())[0], Done)
    assert {path.name for path in (worker.root / "faces").iterdir()} <= kept
    worker.send(Forget())
    until = time.monotonic() + 60
    while any((worker.root / "faces").iterdir()):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_out_of_memory(faulty: Worker) -> None:
    """A leaner way, then an error; and five good renders without a restart."""
    whole, _ = faulty.answer(faulty.order())
    lean, said = faulty.answer(faulty.order("[oom batched]"))
    assert isinstance(lean, Done) and any("prompts in turn" in note for note in lean.result["notes"])
    assert any(isinstance(message, Progress) and message.note for message in said)
    once, _ = faulty.answer(faulty.order("[oom once]"))
    assert isinstance(once, Done) and any("nothing else in memory" in note for note in once.result["notes"])
    short, _ = faulty.answer(faulty.order("[oom]"))
    assert isinstance(short, Failed) and short.code == "out_of_memory" and "GiB" not in short.message
    for _ in range(5):
        done, _ = faulty.answer(faulty.order())
        assert isinstance(done, Done) and done.result["frames_sha256"] == whole.result["frames_sha256"]


def test_an_error_that_nobody_foresaw(tmp_path: Path) -> None:
    """Clients learn nothing of it, the log everything; where the device is broken, the worker leaves."""
    with worker_of(tmp_path, FAULTY) as worker:
        assert isinstance(worker.hear(), Ready)
        failed, _ = worker.answer(worker.order("[boom]"))
        assert isinstance(failed, Failed) and failed.code == "internal_error" and "secret" not in failed.message
        assert isinstance(worker.answer(worker.order())[0], Done)
        worker.order("[broken]")
        while worker.hear() is not None:
            pass
        assert worker.process.wait(30) == 69
        log = worker.close()
        assert log.count("RuntimeError: a secret of the engine") == 2 and "faulty_worker.py" in log


@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        ({"model": "/nowhere"}, 78, "/nowhere"),
        ({"device": "cuda:70"}, 69, "cuda:70"),
    ],
    ids=["model", "device"],
)
def test_refused(tmp_path: Path, options: dict[str, str], exit_code: int, message: str) -> None:
    with worker_of(tmp_path, **options) as worker:
        refused = worker.hear()
        assert isinstance(refused, Refused) and refused.exit_code == exit_code and message in refused.message
        assert worker.hear() is None and worker.process.wait(30) == exit_code


def test_the_end_of_the_socket_is_its_end(tmp_path: Path) -> None:
    """In the middle of a render, at once; nothing of it is left but in its folder."""
    with worker_of(tmp_path) as worker:
        assert isinstance(worker.hear(), Ready)
        worker.order(num_inference_steps=1000)
        while not (isinstance(message := worker.hear(), Progress) and message.step > 5):
            pass
        worker.stream.close()
        worker.socket.close()
        assert worker.process.wait(5) == 0


def test_signals_for_the_server_do_not_stop_it(worker: Worker) -> None:
    """A service manager sends them to all processes; renders under way are to be saved first."""
    order = worker.order(num_inference_steps=20)
    for number in (signal.SIGTERM, signal.SIGINT):
        worker.process.send_signal(number)
    assert isinstance(worker.answer(order)[0], Done)


def test_what_is_no_message_ends_it(tmp_path: Path) -> None:
    with worker_of(tmp_path) as worker:
        worker.socket.sendall(b'{"type": "render"}\n')
        assert worker.process.wait(60) == 76
        assert "is no message" in worker.close()


def test_a_dead_server_takes_its_workers_along(tmp_path: Path) -> None:
    """Killed hard, and although somebody else holds the server's end of the socket open."""
    script = (
        "import socket, subprocess, sys, time\n"
        "ours, theirs = socket.socketpair()\n"
        "ours.set_inheritable(True)\n"
        "fd = str(theirs.fileno())\n"
        "command = [*sys.argv[2:], '--fd', fd, '--model', 'avatar-mini', '--device', 'cpu', '--precision', 'auto']\n"
        "worker = subprocess.Popen([*command, '--faces', sys.argv[1]], pass_fds=(theirs.fileno(), ours.fileno()))\n"
        "theirs.close()\n"
        "print(worker.pid, flush=True)\n"
        "ours.recv(1)\n"  # it is alive: the kernel was told by now
        "print('alive', flush=True)\n"
        "time.sleep(600)\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), *REAL], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdout is not None
    with server.stdout:
        worker = int(server.stdout.readline())
        assert server.stdout.readline() == b"alive\n"
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
    until = time.monotonic() + 5
    while Path(f"/proc/{worker}").exists() and "\nState:\tZ" not in Path(f"/proc/{worker}/status").read_text():
        assert time.monotonic() < until, "it lives on"
        time.sleep(0.01)
