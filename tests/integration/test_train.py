"""Training from the command line: runs that are killed, stopped, given again, and exported."""

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fantasyid_engine.engine import Engine
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.training import release
from fantasyid_engine.training.data.shards import write_shards
from fantasyid_engine.training.parts import start_model
from fantasyid_engine.weights.model import save_model
from tests.integration.cases import CommandLine, check_line, check_refused
from tests.training.cases import TINY, clips, tiny, with_latents

RECIPE = """
base = "{tiny}"
log_every = 13
[train]
kind = "shards"
folder = "shards"
[validation]
kind = "shards"
folder = "shards"
[[stages]]
kind = "diffusion"
name = "identity"
trainable = ["dit.*", "text_encoder.*", "conditioner.*"]
steps = 20
batch_size = 4
micro_batch = 3
null_face_tokens = 0.25
checkpoint_every = 10
validate_every = 15
{more}
[stages.optimiser]
lr = {lr}
schedule = "cosine"
warmup_steps = 4
ema_decay = 0.9
"""
AS_5B = """
name = "as-5b"
precision = "bfloat16"
frozen = "bfloat16"
parallel = "fsdp"
[model]
folder = "start"
[train]
kind = "shards"
folder = "pictures"
[validation]
kind = "shards"
folder = "pictures"
[[stages]]
kind = "diffusion"
name = "identity"
steps = 2
batch_size = 4
micro_batch = 2
checkpointing = true
videos = 1
video_steps = 2
"""
RESULT = "stages/00-identity.safetensors"
STOPS = ("fantasyid_engine.training.stage_loop.peak_memory_mib", "fantasyid_engine.training.checkpoints.save_file")
"""At step 13, the first line of the log; and within the first checkpoint's files."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards of four clips, a recipe, and the run that went straight through."""
    folder = tmp_path_factory.mktemp("train")
    write_shards(folder / "shards", with_latents())
    write_recipe(folder)
    return folder


def write_recipe(folder: Path, name: str = "recipe.toml", more: str = "", lr: float = 1e-3) -> None:
    (folder / name).write_text(RECIPE.format(tiny=TINY, more=more, lr=lr))


@pytest.fixture(scope="module")
def command() -> Iterator[CommandLine]:
    with CommandLine() as made:
        yield made


@pytest.fixture(scope="module")
def straight(place: Path, command: CommandLine) -> Path:
    done = command("train", "recipe.toml", "--out", "straight", cwd=place)
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "trained straight; next: fantasyid-engine train export straight DIR"
    return place / "straight"


def same(one: Path, other: Path) -> bool:
    mine, theirs = load_file(one), load_file(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("at", STOPS, ids=["between", "while-saving"])
def test_killed_and_given_again_it_is_bit_for_bit_the_same(
    place: Path, straight: Path, command: CommandLine, at: str
) -> None:
    out = f"killed-{at.rpartition('.')[2]}"
    killed = command("train", "recipe.toml", "--out", out, cwd=place, stop=(at, signal.SIGKILL))
    assert killed.code == -signal.SIGKILL
    assert not (place / out / RESULT).exists()
    saved = list((place / out / "checkpoints" / "00-identity").glob("step-*"))
    assert [path.name for path in saved] == (["step-00000010"] if "peak" in at else [])
    again = command("train", "recipe.toml", "--out", out, cwd=place)
    assert again.code == 0, again.stderr
    assert ("identity: going on from step 10" in again.stdout) is ("peak" in at)
    assert same(place / out / RESULT, straight / RESULT)


def test_the_last_checkpoint_holds_the_same_state(place: Path, straight: Path) -> None:
    """Not only the average, but weights, moments and the window of losses too."""
    killed = place / "killed-peak_memory_mib"
    for name in ("weights", "average", "optimiser"):
        last = f"checkpoints/00-identity/step-00000020/{name}.safetensors"
        assert same(killed / last, straight / last)
    one, other = (
        json.loads((run / "checkpoints/00-identity/step-00000020/state.json").read_text()) for run in (killed, straight)
    )
    assert one == other


def test_a_signal_saves_and_the_same_command_goes_on(place: Path, straight: Path, command: CommandLine) -> None:
    at = "fantasyid_engine.training.stage_loop.peak_memory_mib"
    stopped = command("train", "recipe.toml", "--out", "stopped", cwd=place, stop=(at, signal.SIGTERM))
    # The stand-in for the function gives no memory, which the log takes for none.
    assert stopped.code == 128 + signal.SIGTERM, stopped.stderr
    check_line(stopped.stderr, "interrupted at step 13 of stage identity; saved in", "the same command goes on")
    assert (place / "stopped/checkpoints/00-identity/step-00000013").is_dir()
    assert command("train", "recipe.toml", "--out", "stopped", cwd=place).code == 0
    assert same(place / "stopped" / RESULT, straight / RESULT)


def test_a_signal_while_clips_are_made_leaves_none_half_made(place: Path, command: CommandLine) -> None:
    (place / "avatars.toml").write_text(f'base = "{TINY}"\n')
    at = "fantasyid_engine.training.data.avatar._look"
    stopped = command("train", "avatars.toml", "--out", "avatars", cwd=place, stop=(at, signal.SIGTERM))
    assert stopped.code == 128 + signal.SIGTERM, stopped.stderr
    check_line(stopped.stderr, "interrupted with 1 of 8 clips rendered")
    assert [path for path in (place / "avatars" / "data").rglob("*") if path.is_file()] == []


def test_a_finished_run_given_again_does_nothing(place: Path, straight: Path, command: CommandLine) -> None:
    before = (straight / RESULT).stat().st_mtime_ns
    done = command("train", "recipe.toml", "--out", "straight", cwd=place)
    assert done.code == 0 and "identity: done already" in done.stdout
    assert (straight / RESULT).stat().st_mtime_ns == before


def test_what_a_run_leaves(straight: Path) -> None:
    assert {path.name for path in straight.iterdir()} >= {"recipe.json", "log.jsonl", "tensorboard", "stages"}
    lines = [json.loads(line) for line in (straight / "log.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines if line["kind"] != "videos"] == [
        ("train", 13),
        ("validation", 15),
        ("train", 20),
        ("validation", 20),
    ]
    assert {"loss", "grad_norm", "lr", "samples_per_s", "memory_mib"} <= lines[0].keys()
    assert list((straight / "tensorboard").glob("events.*"))


def test_a_release_has_weights_log_and_times(
    place: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "MODELS", tmp_path / "models")
    monkeypatch.setattr(release, "RUNS", tmp_path / "runs")
    for _ in range(2):  # the second takes the first one's place
        folder = release.release(straight)
    assert folder == tmp_path / "models" / "tiny"
    with Engine.from_pretrained(folder) as engine:
        assert engine.model.render.trained
    kept = tmp_path / "runs" / "tiny"
    # What the last stage made, here the only one, is the model.
    assert {path.name for path in kept.iterdir()} == {"recipe.json", "log.jsonl", "curves.svg", "stages.json"}
    said = json.loads((kept / "stages.json").read_text())
    assert said["exported"] == "stage identity, done" and said["seconds"].keys() == {"identity"}


def test_export_renders(place: Path, straight: Path, command: CommandLine) -> None:
    done = command("train", "export", "straight", "exported", cwd=place)
    assert done.code == 0, done.stderr
    assert done.stdout == "wrote exported: stage identity, done\n"
    with Engine.from_pretrained(place / "exported") as engine:
        photo = with_latents()[0].views[0].permute(1, 2, 0).numpy()
        import io

        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(photo).save(file, "PNG")
        request = VideoRequest(image=file.getvalue(), prompt="the person smiles", seed=1, num_inference_steps=2)
        result = engine.generate(request)
    assert result.frames.shape == (9, 32, 32, 3)
    assert not any("not trained" in note for note in result.notes)


def test_export_of_a_stage_under_way(place: Path, command: CommandLine) -> None:
    at = "fantasyid_engine.training.stage_loop.peak_memory_mib"
    command("train", "recipe.toml", "--out", "half", cwd=place, stop=(at, signal.SIGKILL))
    done = command("train", "export", "half", "half-exported", cwd=place)
    assert (done.code, done.stdout) == (0, "wrote half-exported: stage identity at step 10\n"), done.stderr
    raw = command("train", "export", "half", "half-raw", "--raw", cwd=place)
    assert raw.code == 0
    assert not same(place / "half-raw/dit.safetensors", place / "half-exported/dit.safetensors")


def test_export_of_a_checkpoint_and_of_the_best(place: Path, straight: Path, command: CommandLine) -> None:
    at = "straight/checkpoints/00-identity/step-00000020"
    done = command("train", "export", "straight", "at-20", "--checkpoint", at, cwd=place)
    assert (done.code, done.stdout) == (0, "wrote at-20: stage identity at step 20\n"), done.stderr
    best = command("train", "export", "straight", "best", "--best", cwd=place)
    assert best.code == 0 and best.stdout.startswith("wrote best: stage identity at step "), best.stderr
    refused = command("train", "export", "straight", "x", "--checkpoint", "shards", cwd=place)
    check_refused(refused, 78, "shards is no checkpoint of this run")


def test_as_paper_5b_does_it(place: Path, command: CommandLine) -> None:
    """From a model folder: weights stored as bfloat16, text tokens cached, vertices as files, a clip to watch."""
    start = tiny()
    network = replace(start.model.network, shape=None)
    save_model(start_model(replace(start, model=replace(start.model, network=network))), place / "start")
    write_shards(place / "pictures", clips())
    (place / "as-5b.toml").write_text(AS_5B)
    done = command("train", "as-5b.toml", "--out", "as-5b", cwd=place)
    assert done.code == 0, done.stderr
    lines = [json.loads(line) for line in (place / "as-5b" / "log.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines][:2] == ["train", "validation"]
    assert len(list((place / "as-5b" / "validation").rglob("*.mp4"))) == 1
    assert command("train", "export", "as-5b", "as-5b-exported", cwd=place).code == 0


def test_a_recogniser_that_is_missing_is_told_of_at_once(place: Path, command: CommandLine) -> None:
    (place / "arcface.toml").write_text('base = "recipe.toml"\navatars = false\narcface = "nowhere.onnx"')
    done = command("train", "arcface.toml", "--out", "arcface", cwd=place)
    assert done.code == 78 and not list((place / "arcface").glob("checkpoints"))
    check_line(done.stderr, "nowhere.onnx")


def test_a_loss_that_explodes_stops_with_the_state_before_it(place: Path, command: CommandLine) -> None:
    write_recipe(place, "wild.toml", lr=1e30)
    done = command("train", "wild.toml", "--out", "wild", cwd=place)
    assert done.code == 70
    says = ("stage identity stopped at step ", "the loss is", "the state before it is in", "raise spike_factor")
    check_line(done.stderr, *says)
    saved = list((place / "wild/checkpoints/00-identity").glob("step-*"))
    assert len(saved) == 1


def test_rates_may_change_when_a_run_goes_on_but_no_model(place: Path, straight: Path, command: CommandLine) -> None:
    at = "fantasyid_engine.training.stage_loop.peak_memory_mib"
    command("train", "recipe.toml", "--out", "changed", cwd=place, stop=(at, signal.SIGKILL))
    write_recipe(place, "slower.toml", more="spike_factor = 50", lr=1e-4)
    done = command("train", "slower.toml", "--out", "changed", cwd=place)
    assert done.code == 0 and "going on from step 10" in done.stdout
    assert not same(place / "changed" / RESULT, straight / RESULT)
    (place / "shared-out.toml").write_text('base = "recipe.toml"\nparallel = "fsdp"\nlog_every = 1')
    assert command("train", "shared-out.toml", "--out", "straight", cwd=place).code == 0
    (place / "other.toml").write_text('base = "recipe.toml"\nseed = 1\nname = "other"')
    refused = command("train", "other.toml", "--out", "straight", cwd=place)
    check_refused(refused, 78, "straight was begun with another recipe (its name, seed differ)", "name a new folder")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "nothing", "--out", "x"], 78, "nothing cannot be read: No such file or directory; name a .toml"),
        (["train", "recipe.toml", "--out", "shards"], 78, "shards is not empty and no run; name a new folder"),
        (["train", "export", "shards", "x"], 78, "shards is no run's folder: it has no recipe.json"),
        (["train", "export", "straight", "shards"], 73, "cannot write shards: it exists already; name a new folder"),
        (["train", "empty.toml", "--out", "x"], 78, "empty holds no samples to learn from"),
        (["train", "init", "--from-released", "nowhere", "x"], 78, "no model folder at nowhere"),
    ],
)
def test_mistakes(
    place: Path, straight: Path, command: CommandLine, arguments: list[str], code: int, message: str
) -> None:
    (place / "empty.toml").write_text('base = "recipe.toml"\n[train]\nfolder = "empty"')
    if not (place / "empty").exists():
        write_shards(place / "empty", [])
    done = command(*arguments, cwd=place)
    assert (done.code, done.stdout) == (code, "")
    check_line(done.stderr, message)


def test_wrong_usage(place: Path, command: CommandLine) -> None:
    done = command("train", "recipe.toml", cwd=place)
    assert done.code == 2 and "Missing option '--out'" in done.stderr
