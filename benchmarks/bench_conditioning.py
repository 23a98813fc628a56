"""A face that was read before against one that is read: photo and vertices to ID tokens, up to the DiT's door.

    python benchmarks/bench_conditioning.py [--model PRESET|DIR] [--image PHOTO] [--vertices FILE]

The baseline reads the face each time: decode, detect, crop, tower, conditioner. `memory` and `disk` are the caches that
an engine keeps; each is asked for a face that it has, `disk` by a cache that has nothing in memory.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from report import medians_s, write_report

from fantasyid_engine.engine import Engine
from fantasyid_engine.face.cache import FaceCache
from fantasyid_engine.face.conditioning import condition
from fantasyid_engine.job import face_input
from fantasyid_engine.request import VideoRequest

ROUNDS = 15
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="avatar-mini")
    parser.add_argument("--image", type=Path, default=Path("docs/examples/face.png"))
    parser.add_argument("--vertices", type=Path)
    options = parser.parse_args()
    request = VideoRequest(image=options.image, vertices=options.vertices, prompt="-")
    with Engine.open(options.model) as engine, tempfile.TemporaryDirectory() as folder:
        model, face = engine.model, face_input(engine.model, request)
        memory, disk = FaceCache(model, 64 * MIB, None, 0), FaceCache(model, 0, Path(folder), 64 * MIB)
        ways = {
            "read": lambda: condition(model, face),
            "memory": lambda: memory(face),
            "disk": lambda: disk(face),
        }
        tokens = {name: way().id_tokens for name, way in ways.items()}
        if not all(torch.equal(ways[name]().id_tokens, tokens["read"]) for name in ways):
            raise SystemExit("a face that was kept is not the face that is read: no figures")
        seconds = medians_s(ways, ROUNDS)
        device = tokens["read"].device
    ratios = {name: seconds["read"] / value for name, value in seconds.items()}
    rows = [
        f"| {options.model}, {options.image.name} | a face | ratio |",
        "|---|---|---|",
        *(f"| {name} | {1000 * value:.2f} ms | {ratios[name]:.0f} x |" for name, value in seconds.items()),
    ]
    values = {"model": options.model, "device": device.type, "median_s": seconds, "ratio": ratios}
    write_report("bench_conditioning", values, "\n".join(rows), device)


if __name__ == "__main__":
    main()
