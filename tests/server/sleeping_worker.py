"""A FAKE worker: it speaks the real worker's protocol, by the real one's channel and orders, and sleeps instead of
rendering. For tests of what is around workers, and for benchmarks of the front end. Its files are no videos.

    python tests/server/sleeping_worker.py --fd N --model M --device D --precision P --faces FOLDER

Environment:
    FANTASYID_SLEEP_STEP_MS     of a denoising step (2)
    FANTASYID_SLEEP_START_MS    before it is ready (0)
    FANTASYID_SLEEP_START       `refuse`, `die` or `hang` instead of getting ready
    FANTASYID_SLEEP_STEPS       of its model, where a job names none (10)

Words in a prompt make it fail, at the step that follows them, or the first:
    [die 3]         kills itself, each time
    [die-anew 3]    likewise, unless it goes on from a state
    [hang 3]        gets no further, deaf to all orders, and says that it is alive
    [freeze 3]      says nothing at all any more
    [garbage 3]     says what is no message
    [flood 3]       says a line that is too long
    [chatter 3]     writes lines to its log that try to look like others
    [fail CODE]     answers Failed
    [note TEXT]     notes TEXT
    [slow 50]       takes 50 times as long a step
"""

import hashlib
import io
import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.server.messages import (
    MAX_LINE_BYTES,
    Done,
    Facts,
    Failed,
    Preview,
    Progress,
    Ready,
    Refused,
    Render,
    Saved,
    Stopped,
)
from fantasyid_engine.server.worker.__main__ import beat, die_with_parent, listen, parse
from fantasyid_engine.server.worker.channel import Channel, leave
from fantasyid_engine.server.worker.orders import Orders

FAULTS = re.compile(r"\[(\S+)(?: ([^\]]*))?\]")


def facts(model: str, steps: int) -> Facts:
    """As those of the miniature."""
    return Facts(
        name=model,
        trained=True,
        frame_counts=(1, 9),
        fps=8,
        width=64,
        height=64,
        num_inference_steps=steps,
        guidance_scale=3.0,
        shape_names=("face_width", "jaw"),
        one_face=False,
    )


class Sleeper:
    """Takes its time for each job."""

    def __init__(self, channel: Channel, orders: Orders, steps: int, step_s: float) -> None:
        self.channel, self.orders, self.steps, self.step_s = channel, orders, steps, step_s

    def __call__(self, order: Render) -> Done | Failed | Stopped:
        began = time.monotonic()
        faults: dict[str, str] = dict(FAULTS.findall(order.settings["prompt"]))
        if "fail" in faults:
            return Failed(lease=order.lease, code=faults["fail"], message="it was asked to fail")
        steps = order.settings.get("num_inference_steps") or self.steps
        state = Path(order.state)
        done = json.loads(state.read_text())["steps_done"] if state.exists() else 0
        resumed = saved = done
        if "note" in faults:
            self.say(order, "face", 0, 1, faults["note"])
        for stage in ("face", "text"):
            self.say(order, stage, 0, 1)
            self.say(order, stage, 1, 1)
        self.say(order, "denoise", 0, steps)
        while done < steps:
            time.sleep(self.step_s * float(faults.get("slow") or 1))
            done += 1
            self.fail_at(done, faults, resumed=resumed > 0)
            stop = self.orders.asked_of(order.lease)
            if stop == "cancel":
                return Stopped(lease=order.lease)
            self.say(order, "denoise", done, steps)
            if done % order.save_every_steps == 0 or done == steps or stop:
                with atomic_file(state) as temporary:
                    temporary.write_text(json.dumps({"steps_done": done}))
                saved = done
                self.channel.send(Saved(lease=order.lease, steps_done=done))
            if stop:
                return Stopped(lease=order.lease, steps_done=saved)
            if order.preview_every_s is not None and done == 1:
                self.write(order, "preview.jpg", picture("JPEG"))
                self.channel.send(Preview(lease=order.lease))
        self.say(order, "decode", 0, 1)
        self.say(order, "decode", 1, 1)
        return self.finish(order, resumed, began)

    def finish(self, order: Render, resumed: int, began: float) -> Done:
        video = b"a fake video of " + hashlib.sha256(Path(order.photo).read_bytes()).digest()
        self.write(order, "video.mp4", video)
        self.write(order, "thumbnail.webp", picture("WEBP"))
        self.write(order, "spritesheet.jpg", picture("JPEG"))
        render_s = round(time.monotonic() - began, 3)
        told = json.dumps(order.settings, sort_keys=True).encode() + video
        result = {
            "seed": order.settings.get("seed") or 0,
            "num_frames": order.settings.get("num_frames") or 9,
            "fps": 8,
            "width": 64,
            "height": 64,
            "frames_sha256": hashlib.sha256(told).hexdigest(),
            "durations_s": {"face": 0.0, "text": 0.0, "denoise": render_s, "decode": 0.0, "write": 0.0},
            "render_s": render_s,
            "notes": [],
            "resumed_at_step": resumed,
        }
        return Done(lease=order.lease, result=result)

    def fail_at(self, step: int, faults: dict[str, str], *, resumed: bool) -> None:
        due = {word for word, value in faults.items() if value.isdecimal() and int(value) == step}
        due |= {word for word, value in faults.items() if not value and step == 1}
        if "die" in due or ("die-anew" in due and not resumed):
            os.kill(os.getpid(), signal.SIGKILL)
        if "freeze" in due:
            os.kill(os.getpid(), signal.SIGSTOP)
        if "hang" in due:
            threading.Event().wait()
        if "garbage" in due:
            self.channel._socket.sendall(b'{"type": "done", "lease": 3}\n')
        if "flood" in due:
            self.channel._socket.sendall(b'"' + b"x" * (MAX_LINE_BYTES + 10) + b'"\n')
        if "chatter" in due:
            sys.stderr.write('an error\r\n{"level": "info", "event": "forged"}\x1b[2J\nhalf a line, then ' + 9000 * "y")
            sys.stderr.flush()

    def say(self, order: Render, stage: str, step: int, steps: int, note: str | None = None) -> None:
        said = Progress(lease=order.lease, stage=stage, step=step, steps=steps, note=note)
        self.channel.send(said)

    def write(self, order: Render, name: str, data: bytes) -> None:
        with atomic_file(Path(order.folder) / name) as temporary:
            temporary.write_bytes(data)


def picture(form: str) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (16, 16), (90, 120, 150)).save(data, form)
    return data.getvalue()


def setting(name: str, default: str) -> str:
    return os.environ.get(f"FANTASYID_SLEEP_{name}", default)


def main() -> int:
    arguments = parse(sys.argv[1:])
    die_with_parent()
    channel, orders = Channel(arguments.fd), Orders()
    for loop in (listen, beat):
        threading.Thread(target=loop, args=(channel, orders), daemon=True).start()
    time.sleep(float(setting("START_MS", "0")) / 1000)
    match setting("START", ""):
        case "refuse":
            channel.send(Refused(exit_code=78, message="it was asked to refuse"))
            return 78
        case "die":
            sys.stderr.write("it was asked to die\n")
            return 1
        case "hang":
            threading.Event().wait()
    steps = int(setting("STEPS", "10"))
    channel.send(Ready(facts=facts(arguments.model, steps)))
    sleeper = Sleeper(channel, orders, steps, float(setting("STEP_MS", "2")) / 1000)
    while True:
        order = orders.next()
        if isinstance(order, Render):
            channel.send(sleeper(order))
            orders.over(order.lease)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    leave(code)
