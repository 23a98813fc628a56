"""The avatar renderer: many frames at once against one by one, and its z-buffer against a loop over triangles.

    python benchmarks/bench_avatar_render.py

Pictures: clips of the avatar world -> 8-bit pictures. The baseline is the same renderer, given one frame at a time; of
large pictures a CPU takes one at a time by default, so there both are the same.
Z-buffer: projected triangles -> which of them is seen at each pixel. The baseline is the textbook loop in NumPy: for
each triangle, edge functions over its bounding box. Both start from the same projected vertices.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from report import medians_s, write_report

from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.frames import Frames, pack
from fantasyid_engine.training.avatar.geometry import Posed, make_model, pose
from fantasyid_engine.training.avatar.raster import rasterise
from fantasyid_engine.training.avatar.render import SUPERSAMPLING, render

SIZES = (64, 96, 256)
CLIPS = {"cpu": 4, "cuda": 40}
ROUNDS, ZBUFFER_SIZE = 7, 96
AGREES = 0.999


def frames_of(clips: int) -> Frames:
    world = World(seed=0, split="test", people=clips)
    return pack([world.sample(index).target for index in range(clips)])


def timed(ways: dict[str, Callable[[], object]], device: torch.device) -> dict[str, float]:
    """Median seconds, the device's work included."""

    def waiting(way: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            way()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return run

    ready = {name: waiting(way) for name, way in ways.items()}
    for way in ready.values():
        way()
    return medians_s(ready, ROUNDS)


def bench_pictures(size: int, device: torch.device) -> dict[str, Any]:
    """Each way is given as many frames as it needs to be timed well; speeds are a frame's."""
    many = frames_of(CLIPS[device.type])
    few = many.part(0, min(len(many), 52), torch.device("cpu"))
    counts = {"batched": len(many), "one at a time": len(few)}
    check_pictures(few, size, device)
    seconds = timed(
        {
            "batched": lambda: render(many, size, device=device),
            "one at a time": lambda: render(few, size, device=device, chunk=1),
        },
        device,
    )
    speeds = {name: counts[name] / value for name, value in seconds.items()}
    return {
        "size": size,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "frames": counts,
        "median_s": seconds,
        "frames_per_s": speeds,
        "ratio": speeds["batched"] / speeds["one at a time"],
    }


def check_pictures(frames: Frames, size: int, device: torch.device) -> None:
    """No figure for pictures that differ in more than a few roundings."""
    some = frames.part(0, 16, torch.device("cpu"))
    together, alone = (render(some, size, device=device, chunk=chunk).pictures.int() for chunk in (None, 1))
    same = float((together == alone).float().mean())
    if same < AGREES:
        raise SystemExit(f"only {same:.2%} of batched pictures of {size} are as single ones are: no figures")


def bench_zbuffer() -> dict[str, Any]:
    frames = frames_of(1)
    frames = frames.part(0, 4, torch.device("cpu"))
    model, size = make_model(torch.device("cpu")), ZBUFFER_SIZE * SUPERSAMPLING
    posed = pose(frames, size)

    def batched() -> object:
        return rasterise(posed.screen, posed.cut, model.faces, model.two_sided, size)

    fragments = rasterise(posed.screen, posed.cut, model.faces, model.two_sided, size)
    ours = torch.full((len(frames) * size * size,), -1)
    ours[fragments.pixel] = fragments.triangle
    agrees = float((ours[: size * size].view(size, size).numpy() == triangle_loop(posed, 0, size)).mean())
    if agrees < AGREES:
        raise SystemExit(
            f"z-buffer: only {agrees:.2%} of pixels show the triangle that the plain loop shows: no figures"
        )
    seconds = timed({"batched": batched, "loop": lambda: triangle_loop(posed, 0, size)}, torch.device("cpu"))
    seconds["batched"] /= len(frames)
    return {
        "size": size,
        "triangles": len(model.faces),
        "threads": torch.get_num_threads(),
        "agrees": agrees,
        "median_s_a_frame": seconds,
        "ratio": seconds["loop"] / seconds["batched"],
    }


def triangle_loop(posed: Posed, frame: int, size: int) -> NDArray[np.int64]:
    """Triangle at each pixel of one frame, -1 where there is none."""
    model = make_model(torch.device("cpu"))
    points, cut = posed.screen[frame].numpy(), posed.cut[frame].numpy()
    two_sided = model.two_sided.numpy()
    nearest, shown = np.zeros((size, size)), np.full((size, size), -1)
    for number, corners in enumerate(model.faces.numpy()):
        (x, y, near), there = points[:, corners], cut[corners]
        area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
        if there.max() <= 0 or abs(area) < 1e-6 or (area > 0 and not two_sided[number]):
            continue
        left, right = max(int(np.ceil(x.min() - 0.5)), 0), min(int(np.floor(x.max() - 0.5)), size - 1)
        top, bottom = max(int(np.ceil(y.min() - 0.5)), 0), min(int(np.floor(y.max() - 0.5)), size - 1)
        if left > right or top > bottom:
            continue
        dx = x[:, None, None] - (np.arange(left, right + 1) + 0.5)
        dy = y[:, None, None] - (np.arange(top, bottom + 1) + 0.5)[:, None]
        share = np.stack([dx[i - 2] * dy[i - 1] - dx[i - 1] * dy[i - 2] for i in range(3)]) / area
        depth = np.tensordot(near, share, 1)
        box = np.s_[top : bottom + 1, left : right + 1]
        wins = (share >= 0).all(0) & (np.tensordot(near * there, share, 1) > 0) & (depth > nearest[box])
        nearest[box][wins], shown[box][wins] = depth[wins], number
    return shown


def main() -> None:
    devices = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    pictures = [bench_pictures(size, device) for device in devices for size in SIZES]
    zbuffer = bench_zbuffer()
    rows = [
        "| pictures | device | one at a time | batched | ratio |",
        "|---|---|---|---|---|",
        *(
            f"| {result['size']} x {result['size']} | {result['device']} | "
            f"{result['frames_per_s']['one at a time']:.0f} frames/s | "
            f"{result['frames_per_s']['batched']:.0f} frames/s | {result['ratio']:.2f} x |"
            for result in pictures
        ),
        "",
        f"| z-buffer, {zbuffer['triangles']} triangles, {zbuffer['size']} x {zbuffer['size']}, cpu | a frame | ratio |",
        "|---|---|---|",
        *(
            f"| {name} | {1000 * seconds:.1f} ms | {zbuffer['median_s_a_frame']['loop'] / seconds:.0f} x |"
            for name, seconds in zbuffer["median_s_a_frame"].items()
        ),
    ]
    write_report("bench_avatar_render", {"pictures": pictures, "zbuffer": zbuffer}, "\n".join(rows), devices[-1])


if __name__ == "__main__":
    main()
