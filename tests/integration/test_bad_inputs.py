"""What users get wrong, through the command line: one line, the exit code of its class, nothing left behind."""

import json
import os
import pickle
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage import data
from torch import Tensor

from tests.face.pictures import avatar, blocks, encoded, on, portrait
from tests.face.plys import ply
from tests.integration.cases import COMMAND, PREFIX, CommandLine, Finished, check_line, check_refused
from tests.small import hierarchy
from tests.whole_model import VAE, write_parts, write_released_model

INPUT, DEVICE, OUTPUT, RESOURCE, CONFIG, USAGE = 65, 69, 73, 75, 78, 2

SETTINGS = ("--seed", "3", "--steps", "1", "--frames", "1", "--device", "cpu", "--out", "out.mp4")
ESCAPES = "a\nfantasyid-engine: all is well\x1b[31m"
ESCAPED = r"a\nfantasyid-engine: all is well\x1b[31m"
LONG = "x" * 300
case = pytest.param


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of the released form, which looks for a face and needs vertices; `face.png`, `face.ply` beside it.

    The vertices are of its mesh, a sphere.
    """
    folder = tmp_path_factory.mktemp("given")
    (folder / "face.png").write_bytes(encoded(avatar(), "PNG"))
    (folder / "face.ply").write_bytes(ply(SPHERE, hierarchy().faces.tolist()))
    return write_released_model(folder / "model")


@pytest.fixture
def generate(command: CommandLine, model: Path, tmp_path: Path) -> Callable[..., Finished]:
    """Renders one frame with avatar-mini in `tmp_path`; options that are given replace its own."""

    def run(*options: str | bytes | Path, **limits: Any) -> Finished:
        own = {"--image": model.with_name("face.png"), "--prompt": "smiles"}
        words = [word for pair in own.items() if pair[0] not in options for word in pair]
        return command("generate", *words, *SETTINGS, *options, cwd=tmp_path, **limits)

    return run


@pytest.fixture
def generate_with(generate: Callable[..., Finished], model: Path) -> Callable[..., Finished]:
    """The same with a model folder and its vertices."""

    def run(folder: Path, *options: str | Path, **limits: Any) -> Finished:
        vertices = () if "--vertices" in options else ("--vertices", model.with_name("face.ply"))
        return generate("--model", folder, *vertices, *options, **limits)

    return run


# Photos.


def png_claiming(width: int, height: int) -> bytes:
    """A header of this size, and a few bytes of pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def zipped() -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("face.jpg", b"x")
    return stream.getvalue()


def cut(data: bytes, kept: float = 0.6) -> bytes:
    return data[: int(len(data) * kept)]


PHOTOS = {
    "empty": (b"", "it is empty"),
    "text": (b"<html>not found</html>\n" * 9, "it is no picture of a known format", "PNG"),
    "zip": (zipped(), "it is no picture of a known format", "PNG"),
    "truncated-jpeg": (cut(encoded(blocks(), "JPEG")), "it is damaged or cut off", "give a whole JPEG"),
    "jpeg-that-ends-in-zeros": (
        cut(encoded(blocks(), "JPEG"), 0.8).ljust(9000, b"\0"),
        "it is cut off",
        "give a whole JPEG",
    ),
    "truncated-png": (cut(encoded(blocks(), "PNG")), "it is damaged or cut off", "give a whole JPEG"),
    "truncated-webp": (cut(encoded(blocks(), "WEBP")), "it is damaged or cut off", "give a whole JPEG"),
    "header-only": (encoded(blocks(), "PNG")[:33], "it is damaged or cut off", "give a whole JPEG"),
    "giant-png": (png_claiming(50_000, 50_000), "too large", "50000 x 50000", "at most 89 million pixels"),
    "giant-in-one-direction": (png_claiming(2**31 - 1, 16), "too large", "at most 89 million pixels"),
    "one-pixel": (encoded(blocks(1, 1), "PNG"), "1 x 1 pixels", "at least 16 pixels a side"),
}


@pytest.mark.parametrize("photo", PHOTOS)
def test_photos(generate: Callable[..., Finished], tmp_path: Path, photo: str) -> None:
    data, *says = PHOTOS[photo]
    (tmp_path / "photo.jpg").write_bytes(data)
    check_refused(generate("--image", "photo.jpg"), INPUT, "photo.jpg", *says, under_way=True)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        case("nowhere.jpg", "nowhere.jpg does not exist; give the path of a photo file", id="missing"),
        case("", "no photo; name a picture of a face", id="no-name"),
        case("folder", "folder is a folder; give the path of a photo file", id="folder"),
        case("pipe", "pipe is no regular file", id="pipe"),
        case("huge.png", "huge.png has more than 64 MiB; give a smaller photo file", id="huge"),
        case(LONG, "cannot be opened (File name too long); give the path", id="long-name"),
        case("/proc/self/mem", "/proc/self/mem cannot be opened (Input/output error)", id="disk-error"),
        case(ESCAPES, f"{ESCAPED} does not exist", id="escapes"),
        case(b"\xff.png", r"\udcff.png does not exist", id="not-utf8"),
    ],
)
def test_photo_files(generate: Callable[..., Finished], tmp_path: Path, name: str | bytes, says: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate((64 << 20) + 1)
    check_refused(generate("--image", name), INPUT, says)


@pytest.mark.parametrize(
    ("photo", "options", "says"),
    [
        case(
            blocks(80, 60), [], ("no face found in photo.png", "tried 80", "use a photo that shows one face"), id="none"
        ),
        case(portrait(200), ["--face", "2"], ("face 2 was asked for", "shows 1; choose 1"), id="too-few"),
        case(on((100, 100), (portrait(60), 20, 20)), [], ("pixels, under 48", "larger or taken nearer"), id="tiny"),
    ],
)
def test_faces_in_photos(
    generate_with: Callable[..., Finished],
    model: Path,
    tmp_path: Path,
    photo: Any,
    options: list[str],
    says: tuple[str, ...],
) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(photo, "PNG"))
    done = generate_with(model, "--image", "photo.png", *options)
    check_refused(done, INPUT, "photo.png", *says, under_way=True)


@pytest.mark.parametrize(
    ("photo", "options", "says"),
    [
        case(blocks(80, 60), [], ("no face found in photo.png (avatar detector", "tried 80"), id="none"),
        case(data.astronaut(), [], ("photo.png is a real photo, and this model knows avatars",), id="real"),
        case(avatar(), ["--face", "2"], ("face 2 was asked for", "shows 1; choose 1"), id="too-few"),
    ],
)
def test_avatars_in_photos(
    generate: Callable[..., Finished], tmp_path: Path, photo: Any, options: list[str], says: tuple[str, ...]
) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(photo, "PNG"))
    check_refused(generate("--image", "photo.png", *options), INPUT, "photo.png", *says, under_way=True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        case(["nowhere.png"], INPUT, "nowhere.png does not exist", id="missing"),
        case(["noise.png", "--out", "boxes.png"], INPUT, "no face found in noise.png", id="no-face"),
        case(["noise.png", "--avatars"], INPUT, "no face found in noise.png (avatar detector", id="no-avatar"),
        case(["noise.png", "--out", "boxes.gif"], OUTPUT, "boxes.gif: pictures are .png or .jpg", id="suffix"),
        case(["noise.png", "--out", "noise.png"], OUTPUT, "noise.png: it exists already; name another", id="exists"),
        case(["noise.png", "--out", f"{LONG}.png"], OUTPUT, "File name too long", id="long-name"),
    ],
)
def test_faces(command: CommandLine, tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    (tmp_path / "noise.png").write_bytes(encoded(blocks(80, 60), "PNG"))
    check_refused(command("faces", *arguments, cwd=tmp_path), code, says)


# Vertices.

SPHERE = hierarchy().template.double().numpy()


def with_nan() -> bytes:
    vertices = SPHERE.copy()
    vertices[5, 1] = np.nan
    return ply(vertices)


PLYS = {
    "empty": (b"", "it is empty"),
    "not-a-ply": (b"solid face\n", "its first line is not 'ply'"),
    "header-without-end": (ply(SPHERE)[:60], "its header has no end"),
    "truncated": (ply(SPHERE)[:-5], "3888 bytes should follow its header, not 3883", "write it again"),
    "truncated-text": (cut(ply(SPHERE, format="ascii")), "486 numbers should follow its header", "write it again"),
    "giant-count": (
        ply(SPHERE).replace(b"vertex 162", b"vertex 4000000000"),
        "cannot be read",
        "its header declares 12000000000 numbers",
    ),
    "wrong-count": (ply(SPHERE[:-1]), "161 vertices, but this model takes 162"),
    "nan": (with_nan(), "1 vertices are no finite numbers, the first is number 5"),
    "millimetres": (ply(1000 * SPHERE), "it looks like millimetres: divide by 1000"),
    "one-place": (ply(0 * SPHERE), "all vertices are in nearly one place"),
    "shuffled": (
        ply(SPHERE[np.random.default_rng(1).permutation(162)]),
        "times as long as they should be",
        "in the order of the face model",
    ),
    "other-triangles": (ply(SPHERE, hierarchy().faces.tolist()[1:]), "it has 319 triangles, this model's mesh 320"),
}


@pytest.mark.parametrize("file", PLYS)
def test_vertices(generate_with: Callable[..., Finished], model: Path, tmp_path: Path, file: str) -> None:
    data, *says = PLYS[file]
    (tmp_path / "cloud.ply").write_bytes(data)
    done = generate_with(model, "--vertices", "cloud.ply")
    check_refused(done, INPUT, "cloud.ply", *says, under_way=True)


def test_vertex_files(
    generate: Callable[..., Finished], generate_with: Callable[..., Finished], model: Path, tmp_path: Path
) -> None:
    says = "nowhere.ply does not exist; give the path of a vertex file"
    check_refused(generate_with(model, "--vertices", "nowhere.ply"), INPUT, says)
    check_refused(generate_with(model, "--vertices", "."), INPUT, ". is a folder")
    check_refused(generate("--model", model), INPUT, "face.png", "needs", "pass --vertices FILE", under_way=True)


# Prompts and numbers.


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        case(["--prompt", ""], INPUT, "the prompt is empty; say what happens", id="prompt-empty"),
        case(["--prompt", " \t\n"], INPUT, "the prompt is empty; say what happens", id="prompt-spaces"),
        case(["--prompt", '""'], INPUT, "the prompt is empty; say what happens", id="prompt-quotes"),
        case(["--prompt", b"smi\xffles"], INPUT, "the prompt is no text", id="prompt-not-utf8"),
        case(["--negative-prompt", b"\xed\xa0\x80"], INPUT, "the negative_prompt is no text", id="negative-not-utf8"),
        case(["--seed", "-1"], INPUT, "seed is -1; it must be an integer from 0", id="seed-negative"),
        case(["--seed", str(2**63)], INPUT, f"seed is {2**63}; it must be an integer", id="seed-large"),
        case(["--steps", "0"], INPUT, "num_inference_steps is 0; it must be an integer from 1 to 1000", id="steps-0"),
        case(["--steps", "1001"], INPUT, "num_inference_steps is 1001; it must be", id="steps-1001"),
        case(["--guidance", "0.5"], INPUT, "guidance_scale is 0.5; it must be a number from 1 to 100", id="guidance"),
        case(["--guidance", "nan"], INPUT, "guidance_scale is nan; it must be a number", id="guidance-nan"),
        case(["--guidance", "1e9"], INPUT, "guidance_scale is 1000000000.0; it must be", id="guidance-large"),
        case(["--guidance", "1e400"], INPUT, "guidance_scale is inf; it must be", id="guidance-infinite"),
        case(["--frames", "2"], INPUT, "2 frames cannot be made by this model; it makes 1, 5, 9", id="frames-2"),
        case(["--frames", "1000000"], INPUT, "num_frames is 1000000; it must be", id="frames-million"),
        case(["--face", "0"], INPUT, "face_index is 0; it must be an integer from 1", id="face-0"),
        case(["--bit-depth", "12"], INPUT, "bit_depth is 12; it must be 8 or 16", id="bit-depth"),
        case(["--device", "tpu"], DEVICE, "there is no device 'tpu'; name cpu, cuda or cuda:N", id="device-unknown"),
        case(["--device", "meta"], DEVICE, "does not run on meta; name cpu, cuda or cuda:N", id="device-meta"),
        case(["--device", ""], DEVICE, "there is no device ''", id="device-empty"),
        case(["--device", f"cuda:{ESCAPES}"], DEVICE, ESCAPED, id="device-escapes"),
        case(["--device", "cuda:99"], DEVICE, "device cuda:99 is not there", id="device-absent"),
    ],
)
def test_settings(generate: Callable[..., Finished], options: list[str | bytes], code: int, says: str) -> None:
    check_refused(generate(*options), code, says)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU is there")
def test_gpu_that_is_not_there(generate: Callable[..., Finished]) -> None:
    done = generate("--device", "cuda")
    check_refused(done, DEVICE, "device cuda is not there", "sees no CUDA device; use --device cpu")


def test_names_and_prompts_forge_no_lines(generate: Callable[..., Finished], tmp_path: Path, model: Path) -> None:
    """Where all goes well."""
    shutil.copy(model.with_name("face.png"), tmp_path / f"{ESCAPES}.png")
    done = generate("--image", f"{ESCAPES}.png", "--prompt", ESCAPES, "--out", f"{ESCAPES}.mp4")
    assert done.code == 0, done.stderr
    assert all(line.isprintable() for line in (done.stdout + done.stderr).split("\n"))
    assert done.stdout.startswith(rf"wrote {ESCAPED}.mp4: 1 frames of 64 x 64") and done.stdout.count("\n") == 2
    assert all(line.startswith(PREFIX) for line in done.stderr.splitlines())
    assert done.changed == [f"{ESCAPES}.json", f"{ESCAPES}.mp4"]


def test_photo_whose_name_is_no_text(generate: Callable[..., Finished], tmp_path: Path, model: Path) -> None:
    """It can be read, and so rendered; the sidecar is JSON all the same."""
    name = b"\xff.png"
    shutil.copy(model.with_name("face.png"), tmp_path / os.fsdecode(name))
    done = generate("--image", name)
    assert done.code == 0, done.stderr
    assert done.changed == ["out.json", "out.mp4"]
    json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    again = generate("--from", "out.json", "--image", name, "--out", "again.mp4")
    assert again.code == 0, again.stderr
    assert again.stdout.splitlines()[1] == done.stdout.splitlines()[1]


# Usage.


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        case(
            ["--prompt", "smiles", "--out", "out.mp4"],
            "needs --image (or --face with a file), or --from with",
            id="no-image",
        ),
        case(["--image", "face.png", "--out", "out.mp4"], "needs --prompt, or --from with a sidecar", id="no-prompt"),
        case(["--image", "face.png", "--prompt", "smiles"], "Missing option '--out'", id="no-out"),
        case(["--out", "out.mp4", "--stepps", "1"], "No such option: --stepps", id="unknown-option"),
        case(["--out", "out.mp4", f"--{ESCAPES}"], "No such option", id="escapes-in-an-option"),
        case(["--out", "out.mp4", ESCAPES], "unexpected extra argument", id="escapes-in-an-argument"),
        case(["--out", "out.mp4", "--seed", ESCAPES], "Invalid value for '--seed'", id="escapes-in-a-number"),
        case(["--out", "out.mp4", "--seed"], "Option '--seed' requires an argument", id="no-value"),
        case(["--out", "out.mp4", "--steps", "1.5"], "Invalid value for '--steps'", id="no-integer"),
        case(["--out", "out.mp4", "--vae-tile", "-1"], "Invalid value for '--vae-tile'", id="tile-negative"),
        case(["--out", "out.mp4", "--vae-tile", "100000"], "Invalid value for '--vae-tile'", id="tile-large"),
        case(["--out", "out.mp4", "--precision", "fp8"], "Invalid value for '--precision'", id="precision"),
    ],
)
def test_usage(command: CommandLine, tmp_path: Path, model: Path, arguments: list[str], says: str) -> None:
    shutil.copy(model.with_name("face.png"), tmp_path)
    complete = ["--image", "face.png", "--prompt", "smiles"] if arguments[0] == "--out" else []
    done = command("generate", *complete, *arguments, cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert done.code == USAGE, done.stderr
    assert lines[-1].startswith("Error: ") and says in lines[-1], done.stderr
    assert lines[:1] == ["Usage: fantasyid-engine generate [OPTIONS]"] or len(lines) == 1, done.stderr
    assert len(lines) <= 4 and all(line.isprintable() for line in lines), done.stderr
    assert (done.stdout, done.changed) == ("", [])


# Models.

Damage = Callable[[Path], object]
VAE_FILE, TEXT_FILE = "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
DIT_FILE = "transformer/diffusion_pytorch_model.safetensors"


def without(path: str) -> Damage:
    return lambda folder: shutil.rmtree(folder / path) if (folder / path).is_dir() else (folder / path).unlink()


def holding(path: str, data: bytes) -> Damage:
    return lambda folder: (folder / path).write_bytes(data)


def with_values(path: str, **values: Any) -> Damage:
    def change(folder: Path) -> None:
        kept = json.loads((folder / path).read_text())
        (folder / path).write_text(json.dumps(kept | values))

    return change


def with_bytes(path: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda folder: (folder / path).write_bytes(change((folder / path).read_bytes()))


def with_tensors(path: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Damage:
    return lambda folder: save_file(change(load_file(folder / path)), folder / path)


def of_nan(prefix: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {key: t * (torch.nan if key.startswith(prefix) else 1) for key, t in tensors.items()}


def first_missing(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensors[key] for key in sorted(tensors)[1:]}


def narrower(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"shared.weight": tensors["shared.weight"][:, 1:].contiguous()}


def unreadable(path: str) -> Damage:
    """Reading it fails as on a broken disk."""

    def link(folder: Path) -> None:
        (folder / path).unlink()
        (folder / path).symlink_to("/proc/self/mem")

    return link


def other_vae(folder: Path) -> None:
    write_parts(folder / "other", 24, replace(VAE, latent_channels=6))
    shutil.rmtree(folder / "vae")
    (folder / "other" / "vae").rename(folder / "vae")
    shutil.rmtree(folder / "other")


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / VAE_FILE), folder / "vae" / "diffusion_pytorch_model.bin")
    (folder / VAE_FILE).unlink()


MODELS: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "empty-folder": (
        lambda folder: [shutil.rmtree(path) for path in folder.iterdir()],
        ("model is no model folder", "transformer/"),
    ),
    "no-vae": (without("vae"), ("vae/config.json is missing", "fetch the folder again")),
    "no-tokenizer": (without("tokenizer"), ("tokenizer is missing or empty", "fetch the folder again")),
    "no-scheduler": (without("scheduler"), ("scheduler_config.json is missing", "fetch the folder again")),
    "no-text-encoder": (without("text_encoder"), ("text_encoder/config.json is missing", "fetch the folder again")),
    "no-mesh": (without("face_encoder/mesh.safetensors"), ("mesh.safetensors is missing", "weights convert")),
    "no-weights": (without(TEXT_FILE), ("no weights in", "text_encoder")),
    "only-pickles": (pickled, ("vae holds diffusion_pytorch_model.bin", "fantasyid-engine weights convert")),
    "truncated": (with_bytes(VAE_FILE, lambda data: data[:-100]), (VAE_FILE, "truncated", "fetch")),
    "truncated-in-its-header": (with_bytes(DIT_FILE, lambda data: data[:100]), (DIT_FILE, "truncated", "fetch")),
    "giant-header": (with_bytes(TEXT_FILE, lambda data: b"\xff" * 8 + data[8:]), (TEXT_FILE, "truncated", "fetch")),
    "web-page": (holding(VAE_FILE, b"<html>not found</html>"), (VAE_FILE, "no safetensors file", "fetch")),
    "empty-file": (holding(VAE_FILE, b""), (VAE_FILE, "truncated", "fetch")),
    "damaged-mesh": (
        with_bytes("face_encoder/mesh.safetensors", lambda data: data[:-8]),
        ("mesh.safetensors is no mesh hierarchy",),
    ),
    "disk-error-in-weights": (unreadable(VAE_FILE), (VAE_FILE, "Input/output error")),
    "disk-error-in-tokenizer": (unreadable("tokenizer/spiece.model"), ("spiece.model", "Input/output error")),
    "missing-key": (with_tensors(VAE_FILE, first_missing), ("vae does not fit", "1 missing: decoder.conv_in")),
    "wrong-shape": (
        with_tensors(TEXT_FILE, narrower),
        ("text_encoder does not fit", "1 wrongly shaped: shared.weight [42, 23] instead of [42, 24]"),
    ),
    "integers": (
        with_tensors(TEXT_FILE, lambda tensors: tensors | {"shared.weight": tensors["shared.weight"].int()}),
        ("text_encoder does not fit", "shared.weight I32"),
    ),
    "config-no-json": (holding("vae/config.json", b"{'a': 1}"), ("vae/config.json cannot be read", "JSON")),
    "config-no-object": (holding("text_encoder/config.json", b"[]"), ("text_encoder/config.json is no JSON object",)),
    "config-too-deep": (holding("transformer/config.json", b"[" * 10**5), ("transformer/config.json cannot be read",)),
    "config-not-utf8": (holding("vae/config.json", b'{"a": "\xff"}'), ("vae/config.json cannot be read",)),
    "config-of-no-network": (
        with_values("vae/config.json", block_out_channels=[]),
        ("vae/config.json", "the number of block_out_channels is 0"),
    ),
    "config-of-another-encoder": (
        with_values("text_encoder/config.json", model_type="bert"),
        ("model_type is 'bert'", "'t5' only"),
    ),
    "config-of-giant-pictures": (
        with_values("transformer/config.json", sample_width=10**6),
        ("transformer/config.json", "sample_width"),
    ),
    "scale-zero": (with_values("vae/config.json", scaling_factor=0), ("vae/config.json", "scaling_factor")),
    "scale-text": (with_values("vae/config.json", scaling_factor="0.7"), ("vae/config.json", "scaling_factor")),
    "scheduler-linear": (
        with_values("scheduler/scheduler_config.json", beta_schedule="linear"),
        ("scheduler_config.json: beta_schedule is 'linear'", "'scaled_linear' only"),
    ),
    "scheduler-out-of-range": (
        with_values("scheduler/scheduler_config.json", beta_end=2),
        ("scheduler_config.json", "beta_end is 2.0; it must be"),
    ),
    "render-settings": (
        with_values("transformer/config.json", render={"fps": 0}),
        ("transformer/config.json", "fps is 0; it must be"),
    ),
    "vae-of-other-channels": (other_vae, ("takes latent channels 4", "gives 6")),
    "tokenizer-junk": (holding("tokenizer/spiece.model", b"junk" * 99), ("tokenizer holds no tokenizer",)),
    "tokenizer-empty": (holding("tokenizer/spiece.model", b""), ("tokenizer holds no tokenizer",)),
    "tokenizer-without-vocabulary": (without("tokenizer/spiece.model"), ("tokenizer",)),
    "tokenizer-without-padding": (with_values("tokenizer/tokenizer_config.json", pad_token=None), ("tokenizer", "pad")),
    "tokenizer-of-another-kind": (
        with_values("tokenizer/tokenizer_config.json", tokenizer_class="CLIPTokenizer"),
        ("tokenizer",),
    ),
    "tokenizer-of-bytes": (
        with_values("tokenizer/tokenizer_config.json", tokenizer_class="ByT5Tokenizer"),
        ("its tokenizer has 259 tokens, its text encoder 42",),
    ),
    "manifest-no-json": (holding("manifest.json", b"{"), ("manifest.json cannot be read",)),
    "manifest-without-files": (holding("manifest.json", b"{}"), ("manifest.json is no manifest",)),
}
UNDER_WAY: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "transformer-of-nan": (with_tensors(DIT_FILE, of_nan("transformer_blocks.1")), ("no numbers",)),
    "text-encoder-of-nan": (with_tensors(TEXT_FILE, of_nan("shared")), ("no numbers",)),
    "decoder-of-nan": (with_tensors(VAE_FILE, of_nan("decoder.conv_out")), ("no numbers",)),
}


@pytest.fixture
def damaged(model: Path, tmp_path: Path) -> Callable[[Damage], Path]:
    """A copy of the model without its manifest, so that damage itself is seen."""

    def make(damage: Damage) -> Path:
        folder = shutil.copytree(model, tmp_path / "model")
        (folder / "manifest.json").unlink()
        damage(folder)
        return folder

    return make


@pytest.mark.parametrize("what", [*MODELS, *UNDER_WAY])
def test_models(generate_with: Callable[..., Finished], damaged: Callable[[Damage], Path], what: str) -> None:
    damage, says = (MODELS | UNDER_WAY)[what]
    check_refused(generate_with(damaged(damage)), CONFIG, *says, under_way=what in UNDER_WAY)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        case(
            lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is corrupt (its SHA-256 is not the manifest's)", id="bit"
        ),
        case(lambda data: data + b"\0", "bytes instead of", id="byte-more"),
    ],
)
@pytest.mark.parametrize("file", [VAE_FILE, DIT_FILE, "text_encoder/config.json", "tokenizer/spiece.model"])
def test_files_that_the_manifest_knows_otherwise(
    generate_with: Callable[..., Finished],
    model: Path,
    tmp_path: Path,
    file: str,
    change: Callable[[bytes], bytes],
    says: str,
) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    with_bytes(file, change)(folder)
    check_refused(generate_with(folder), CONFIG, file, says, "fetch it again")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        case("nowhere", "no model folder at nowhere", id="unknown"),
        case("a-file", "a-file is a file; name its model folder", id="file"),
        case("fantasyid-5b", "no weights for fantasyid-5b at", id="preset-without-weights"),
        case("", "no model", id="empty"),
        case(LONG, "File name too long", id="long-name"),
        case(ESCAPES, f"no model folder at {ESCAPED}", id="escapes"),
    ],
)
def test_names_of_models(generate: Callable[..., Finished], tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "a-file").write_text("")
    done = generate("--model", name, env={"FANTASYID_MODELS": str(tmp_path)})
    check_refused(done, CONFIG, says)


def test_out_of_memory(generate_with: Callable[..., Finished], damaged: Callable[[Damage], Path]) -> None:
    folder = damaged(with_values("transformer/config.json", max_text_seq_length=10**6))
    done = generate_with(folder, more_memory=4 << 30)
    check_refused(done, RESOURCE, "out of memory while encoding the prompt", under_way=True)


class Hostile:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch hacked",)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        case(["convert", "nowhere.pt", "new.safetensors"], CONFIG, "nothing to convert at nowhere.pt", id="missing"),
        case(["convert", "cut.pt", "new.safetensors"], CONFIG, "cut.pt", id="truncated"),
        case(["convert", "text.pt", "new.safetensors"], CONFIG, "text.pt", id="text"),
        case(["convert", "hostile.pkl", "new.safetensors"], CONFIG, "hostile.pkl", id="hostile"),
        case(["convert", f"{LONG}.pt", "new.safetensors"], CONFIG, "File name too long", id="long-name"),
        case(["convert", "good.pt", "text.pt/new.safetensors"], OUTPUT, "text.pt is not a folder", id="below-a-file"),
        case(["inspect", "nowhere"], CONFIG, "no model folder at nowhere", id="inspect-missing"),
        case(["inspect", "good.pt"], CONFIG, "good.pt is a file; name its model folder", id="inspect-file"),
        case(["inspect", LONG], CONFIG, "File name too long", id="inspect-long-name"),
    ],
)
def test_weights(command: CommandLine, tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    torch.save({"a": torch.ones(2000)}, tmp_path / "good.pt")
    (tmp_path / "cut.pt").write_bytes(cut((tmp_path / "good.pt").read_bytes()))
    (tmp_path / "text.pt").write_text("not found\n")
    (tmp_path / "hostile.pkl").write_bytes(pickle.dumps(Hostile()))
    check_refused(command("weights", *arguments, cwd=tmp_path), code, says)


# Sidecars.


@pytest.fixture(scope="module")
def record(command: CommandLine, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the sidecar of a render with avatar-mini holds."""
    folder = tmp_path_factory.mktemp("rendered")
    done = command("generate", "--image", model.with_name("face.png"), "--prompt", "smiles", *SETTINGS, cwd=folder)
    assert done.code == 0, done.stderr
    return json.loads((folder / "out.json").read_text())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        case(None, "was.json cannot be read: No such file or directory", id="missing"),
        case(b"", "was.json cannot be read", id="empty"),
        case(b"\x89PNG\r\n", "was.json cannot be read", id="picture"),
        case(b"[1]", "was.json is no JSON object", id="list"),
        case(b"[" * 10**5, "was.json cannot be read", id="deep"),
        case(b'{"format": "another"}', "was.json is no sidecar of a render", id="other-json"),
        case(b'{"format": "fantasyid-render-1"}', "was.json is no sidecar of a render: request", id="no-request"),
    ],
)
def test_sidecar_files(command: CommandLine, tmp_path: Path, data: bytes | None, says: str) -> None:
    if data is not None:
        (tmp_path / "was.json").write_bytes(data)
    check_refused(command("generate", "--from", "was.json", "--out", "out.mp4", cwd=tmp_path), INPUT, says)


def test_giant_sidecar(command: CommandLine, tmp_path: Path) -> None:
    """Of zeros that take no space on the disk, but would in memory."""
    with (tmp_path / "was.json").open("wb") as file:
        file.truncate(16 << 30)
    done = command("generate", "--from", "was.json", "--out", "out.mp4", cwd=tmp_path, more_memory=1 << 30)
    check_refused(done, INPUT, "was.json")


@pytest.mark.parametrize(
    ("place", "value", "code", "says"),
    [
        case("request.image", "gone.png", INPUT, "gone.png cannot be read again", id="photo-gone"),
        case("request.image", "a\0b.png", INPUT, r"a\x00b.png", id="photo-with-nul"),
        case("request.image", None, INPUT, "pass --image", id="photo-from-bytes"),
        case("request.vertices", "gone.ply", INPUT, "gone.ply cannot be read again", id="vertices-gone"),
        case("inputs.image_sha256", "0" * 64, INPUT, "face.png is not the file that the video", id="photo-changed"),
        case("request.prompt", "", INPUT, "the prompt is empty", id="prompt-empty"),
        case("request.seed", -1, INPUT, "seed is -1; it must be", id="seed-negative"),
        case("request.seed", "3", INPUT, "no sidecar of a render: request.seed", id="seed-text"),
        case("request.surprise", 1, INPUT, "no sidecar of a render: request.surprise", id="request-unknown"),
        case("plan.surprise", 1, INPUT, "no sidecar of a render: plan.surprise", id="plan-unknown"),
        case(f"plan.{ESCAPES}", 1, INPUT, f"plan.{ESCAPED}", id="plan-escapes"),
        case("plan.device", "tpu", INPUT, "device is 'tpu'; it must be one of", id="plan-device-unknown"),
        case("plan.vae_tile", [0, 1], INPUT, "vae_tile is (0, 1); it must be", id="plan-tile"),
        case("model.name", "nowhere", CONFIG, "no model folder at nowhere", id="model-gone"),
        case("model.name", LONG, CONFIG, "File name too long", id="model-long-name"),
        case(
            "model.weights",
            {"dit.safetensors": "0" * 64},
            CONFIG,
            "weights of avatar-mini are not those",
            id="weights-changed",
        ),
    ],
)
def test_sidecars(
    command: CommandLine, record: dict[str, Any], tmp_path: Path, place: str, value: Any, code: int, says: str
) -> None:
    changed = json.loads(json.dumps(record))
    *path, last = place.split(".")
    table = changed
    for name in path:
        table = table[name]
    table[last] = value
    (tmp_path / "was.json").write_text(json.dumps(changed))
    check_refused(command("generate", "--from", "was.json", "--out", "out.mp4", cwd=tmp_path), code, says)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU is there")
def test_sidecar_from_a_gpu(command: CommandLine, record: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "was.json").write_text(json.dumps(record | {"plan": record["plan"] | {"device": "cuda"}}))
    done = command("generate", "--from", "was.json", "--out", "out.mp4", cwd=tmp_path)
    check_refused(done, DEVICE, "device cuda is not there", "use --device cpu")


# As users start it.


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        case(["faces", "nowhere.png"], INPUT, "nowhere.png does not exist; give the path of a photo file", id="input"),
        case(["faces", "face.png", "--out", "face.png"], OUTPUT, "face.png: it exists already; name", id="output"),
        case(
            ["generate", "--image", "face.png", "--prompt", "smiles", "--model", ".", *SETTINGS],
            CONFIG,
            ". is no model folder",
            id="model",
        ),
    ],
)
def test_processes(model: Path, tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    """The installed command itself."""
    shutil.copy(model.with_name("face.png"), tmp_path)
    done = subprocess.run([COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    check_line(done.stderr, says)
    assert (done.returncode, done.stdout) == (code, "")
    assert [path.name for path in tmp_path.iterdir()] == ["face.png"]
