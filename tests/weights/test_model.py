"""Whole models: loaded from either layout, saved, made from a seed; and one line for whatever is wrong with a part."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import ByT5Tokenizer

from fantasyid_engine.config.presets import MINIATURES
from fantasyid_engine.config.render import ModelConfig, RenderConfig, ScheduleConfig, TextConfig
from fantasyid_engine.config.schema import MOST_LAYERS
from fantasyid_engine.errors import ConfigError, EngineError, OutputError, WeightsError, WriteError
from fantasyid_engine.weights import parts
from fantasyid_engine.weights.home import model_home
from fantasyid_engine.weights.model import Model, load_model, save_model
from fantasyid_engine.weights.parts import TIED
from fantasyid_engine.weights.untrained import make_vae, untrained_model
from tests.small import PAPER
from tests.whole_model import SIZE, VAE, paper_model, write_released_model

CPU = torch.device("cpu")
TEXT_WEIGHTS = "text_encoder/model.safetensors"
VAE_WEIGHTS = "vae/diffusion_pytorch_model.safetensors"
SCHEDULE = "scheduler/scheduler_config.json"
PROMPT = "a person turns the head"
READERS: dict[str, Callable[[Path], Any]] = {
    "text_encoder": lambda folder: parts.read_text_encoder(folder, CPU, torch.float32),
    "vae": lambda folder: parts.read_vae(folder, CPU, torch.float32),
    "scheduler": parts.read_schedule,
    "tokenizer": parts.read_tokenizer,
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in the authors' layout, not to be changed."""
    return write_released_model(tmp_path_factory.mktemp("released") / "model")


@pytest.fixture
def released(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(original, tmp_path / "model")


@pytest.fixture(scope="module")
def loaded(original: Path) -> Model:
    return load_model(original, dtype=torch.float32)


def refused(call: Callable[[], object], kind: type[EngineError] = WeightsError) -> str:
    with pytest.raises(kind) as error:
        call()
    message = str(error.value)
    assert type(error.value) is kind and error.value.exit_code == 78
    assert "\n" not in message and message == message.strip() and len(message) < 900
    return message


def edit_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def edit(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def modules_of(model: Model) -> dict[str, nn.Module]:
    return {"network": model.network, "text": model.text_encoder, "vae": model.vae}


def assert_same_weights(one: Model, other: Model) -> None:
    for (name, module), expected in zip(modules_of(one).items(), modules_of(other).values(), strict=True):
        state, values = module.state_dict(), expected.state_dict()
        assert state.keys() == values.keys(), name
        assert all(torch.equal(state[key], values[key]) for key in state), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_authors_layout(original: Path, dtype: torch.dtype) -> None:
    model = load_model(original, dtype=dtype)
    for module, path in ((model.text_encoder, TEXT_WEIGHTS), (model.vae, VAE_WEIGHTS)):
        state = module.state_dict()
        for key, value in load_file(original / path).items():
            assert torch.equal(state[key], value.to(dtype)), key
    assert model.text_encoder.encoder.embed_tokens.weight is model.text_encoder.shared.weight
    for name, module in modules_of(model).items():
        assert not module.training
        for key, parameter in module.named_parameters():
            island = key.startswith("conditioner.vertex_net.")
            assert parameter.dtype == (torch.float32 if island else dtype), f"{name} {key}"
            assert parameter.device == CPU and not parameter.requires_grad
    assert model.schedule == ScheduleConfig() and model.render == RenderConfig()
    assert model.name == str(original.resolve())


@pytest.mark.parametrize("verify", [True, False], ids=["verified", "not verified"])
def test_digests_are_those_of_the_files(original: Path, verify: bool) -> None:
    assert load_model(original, verify=verify).digests == hashes(original)


def test_digests_without_a_manifest(released: Path) -> None:
    (released / "manifest.json").unlink()
    assert load_model(released).digests == hashes(released)


def test_every_part_works(loaded: Model) -> None:
    """Nothing is left on the meta device."""
    ids = loaded.tokenizer(PROMPT, return_tensors="pt").input_ids
    with torch.inference_mode():
        assert loaded.text_encoder(ids).last_hidden_state.isfinite().all()
        latents = loaded.vae.encode(torch.zeros(1, 3, 1, *SIZE)).latent_dist.mean
        assert loaded.vae.decode(latents).sample.shape == (1, 3, 1, *SIZE)


@pytest.mark.parametrize("form", ["released", "paper"])
def test_own_layout(form: str, loaded: Model, tmp_path: Path) -> None:
    """Saved and loaded again: the same weights, tokens, schedule and defaults."""
    model = loaded if form == "released" else paper_model()
    render = RenderConfig(fps=24, num_inference_steps=7, guidance_scale=2.5, solver="ddim", trained=False)
    model = replace(model, render=render, schedule=ScheduleConfig(snr_shift_scale=3.0, beta_end=0.02))
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model", dtype=torch.float32)
    assert_same_weights(again, model)
    assert again.network.config == model.network.config
    assert (again.render, again.schedule) == (model.render, model.schedule)
    assert again.vae.config["scaling_factor"] == model.vae.config["scaling_factor"]
    assert again.tokenizer(PROMPT).input_ids == model.tokenizer(PROMPT).input_ids
    assert len(again.tokenizer) == len(model.tokenizer)
    assert torch.equal(again.hierarchy.template, model.hierarchy.template)
    assert again.digests == hashes(tmp_path / "model") and "manifest.json" not in again.digests
    assert (tmp_path / "model" / "manifest.json").is_file()


def test_bfloat16_is_stored_as_it_is(original: Path, tmp_path: Path) -> None:
    model = load_model(original, dtype=torch.bfloat16)
    save_model(model, tmp_path / "model")
    assert_same_weights(load_model(tmp_path / "model", dtype=torch.bfloat16), model)
    stored = {tensor.dtype for tensor in load_file(tmp_path / "model" / VAE_WEIGHTS).values()}
    assert stored == {torch.bfloat16}


def test_saving_over_a_folder_is_refused(loaded: Model, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("mine")
    with pytest.raises(OutputError, match="it exists already"):
        save_model(loaded, tmp_path / "model")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "mine"]


def test_saving_that_stops_leaves_nothing(loaded: Model, tmp_path: Path) -> None:
    """The tokenizer, written after the weights, is a fake that finds the disk full."""

    class Full(ByT5Tokenizer):
        def save_pretrained(self, *arguments: Any, **options: Any) -> Any:
            raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match="No space left on device"):
        save_model(replace(loaded, tokenizer=Full()), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("names", [["shared.weight"], [TIED], ["shared.weight", TIED]], ids=["one", "other", "both"])
def test_either_name_of_the_tied_embedding(released: Path, loaded: Model, names: list[str]) -> None:
    """Which of T5's two names of one tensor a file has is up to the program that wrote it."""

    def change(tensors: dict[str, Tensor]) -> None:
        value = tensors.pop("shared.weight")
        tensors.update({name: value.clone() for name in names})

    edit(released / TEXT_WEIGHTS, change)
    encoder = READERS["text_encoder"](released)
    expected = loaded.text_encoder.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize("path", [TEXT_WEIGHTS, VAE_WEIGHTS])
def test_shards(released: Path, loaded: Model, path: str) -> None:
    single, part = released / path, path.partition("/")[0]
    tensors = load_file(single)
    single.unlink()
    size = sum(tensor.nbytes for tensor in tensors.values()) // 3
    pattern = f"{single.stem}{{suffix}}.safetensors"
    save_torch_state_dict(tensors, single.parent, filename_pattern=pattern, max_shard_size=size)
    shards = sorted(single.parent.glob("*-of-*.safetensors"))
    assert len(shards) > 2
    (released / "manifest.json").unlink()
    model = load_model(released, dtype=torch.float32)
    assert_same_weights(model, loaded)
    assert set(model.digests) >= {shard.relative_to(released).as_posix() for shard in shards}
    shards[1].unlink()
    message = refused(lambda: READERS[part](released))
    assert f"lacks {shards[1].name}: the download is not complete" in message


@pytest.mark.parametrize("manifest", [True, False], ids=["manifest", "no manifest"])
@pytest.mark.parametrize(
    "gone",
    [
        *("text_encoder", "text_encoder/config.json", TEXT_WEIGHTS, "vae", "vae/config.json", VAE_WEIGHTS),
        *("scheduler", SCHEDULE, "tokenizer", "tokenizer/spiece.model"),
    ],
)
def test_missing_part(released: Path, gone: str, manifest: bool) -> None:
    (released / gone).rename(released.parent / "away")
    if not manifest:
        (released / "manifest.json").unlink()
    message = refused(lambda: load_model(released))
    assert str(released / gone.partition("/")[0]) in message


@pytest.mark.parametrize(
    ("path", "key"),
    [(TEXT_WEIGHTS, "encoder.final_layer_norm.weight"), (VAE_WEIGHTS, "decoder.conv_out.conv.bias")],
    ids=["text_encoder", "vae"],
)
def test_keys_of_the_parts(released: Path, path: str, key: str) -> None:
    """All that is wrong is counted and named in one error."""

    def change(tensors: dict[str, Tensor]) -> None:
        gone, misshapen = sorted(set(tensors) - {key})[:2]
        named.update(gone=gone, misshapen=misshapen, shape=list(tensors[misshapen].shape))
        del tensors[gone]
        tensors[misshapen] = torch.zeros(3, 1, 2)
        tensors |= {"unheard_of": torch.zeros(1), "unheard_of.2": torch.zeros(1)}
        tensors[key] = tensors[key].to(torch.int64)

    named: dict[str, Any] = {}
    edit(released / path, change)
    part = path.partition("/")[0]
    message = refused(lambda: READERS[part](released))
    assert message.startswith(f"{released / part} does not fit this network: 1 missing: {named['gone']}; 2 unknown: ")
    assert "unheard_of, unheard_of.2; " in message
    assert f"1 wrongly shaped: {named['misshapen']} [3, 1, 2] instead of {named['shape']}" in message
    assert message.endswith(f"1 of a type other than F64, F32, F16, BF16: {key} I64")


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("vae", {"latent_channels": "4"}),
        ("vae", {"latent_channels": 4.0}),
        ("vae", {"block_out_channels": 8}),
        ("vae", {"block_out_channels": []}),
        ("vae", {"layers_per_block": 2.5}),
        ("vae", {"layers_per_block": MOST_LAYERS + 1}),
        ("vae", {"norm_num_groups": 3}),
        ("vae", {"norm_eps": "a"}),
        ("vae", {"norm_eps": None}),
        ("vae", {"act_fn": "none such"}),
        ("vae", {"down_block_types": ["none such"]}),
        ("vae", {"temporal_compression_ratio": "4"}),
        ("vae", {"temporal_compression_ratio": 4.0}),
        ("vae", {"scaling_factor": "a"}),
        ("vae", {"scaling_factor": None}),
        ("vae", {"scaling_factor": 0}),
        ("vae", {"scaling_factor": -0.7}),
        ("text_encoder", {"d_model": "a"}),
        ("text_encoder", {"d_kv": -3}),
        ("text_encoder", {"num_layers": 2.0}),
        ("text_encoder", {"num_layers": MOST_LAYERS + 1}),
        ("text_encoder", {"layer_norm_epsilon": "a"}),
        ("text_encoder", {"vocab_size": None}),
        ("text_encoder", {"feed_forward_proj": 3}),
        ("text_encoder", {"model_type": "umt5"}),
        ("scheduler", {"num_train_timesteps": "1000"}),
        ("scheduler", {"num_train_timesteps": 0}),
        ("scheduler", {"_class_name": "PNDMScheduler"}),
        ("scheduler", {"beta_start": 1}),
        ("scheduler", {"snr_shift_scale": 0}),
        ("scheduler", {"prediction_type": "sample"}),
        ("scheduler", {"rescale_betas_zero_snr": 1}),
    ],
    ids=str,
)
def test_configs_that_describe_nothing(released: Path, part: str, values: dict[str, Any]) -> None:
    """Wrong types, and sizes and numbers that no model has."""
    path = released / (SCHEDULE if part == "scheduler" else f"{part}/config.json")
    edit_json(path, **values)
    assert refused(lambda: READERS[part](released), ConfigError).startswith(str(path))


def test_a_wrong_type_is_named_with_its_reason(released: Path) -> None:
    """Not the first line of a longer message, which ends where the reason would begin."""
    edit_json(released / "text_encoder" / "config.json", d_model="a")
    message = refused(lambda: READERS["text_encoder"](released), ConfigError)
    assert "d_model" in message and not message.endswith(":")


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 200_000], ids=["empty", "cut", "list", "deep"])
@pytest.mark.parametrize("path", ["vae/config.json", "text_encoder/config.json", SCHEDULE])
def test_unreadable_configs(released: Path, path: str, text: str) -> None:
    (released / path).write_text(text)
    assert str(released / path) in refused(lambda: READERS[path.partition("/")[0]](released), ConfigError)


@pytest.mark.parametrize(
    ("part", "name", "value", "only"),
    [
        ("scheduler", "beta_schedule", "linear", "'scaled_linear'"),
        ("scheduler", "clip_sample", True, "False"),
        ("scheduler", "set_alpha_to_one", False, "True"),
        ("scheduler", "timestep_spacing", "leading", "'trailing'"),
        ("scheduler", "trained_betas", [0.1], "None"),
        ("vae", "in_channels", 4, "3"),
        ("vae", "out_channels", 1, "3"),
        ("vae", "invert_scale_latents", True, "False"),
        ("vae", "shift_factor", 0.1, "None"),
        ("vae", "use_quant_conv", True, "False"),
        ("vae", "use_post_quant_conv", True, "False"),
        ("text_encoder", "model_type", "mt5", "'t5'"),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else "",
)
def test_options_that_are_not_run(released: Path, part: str, name: str, value: Any, only: str) -> None:
    path = released / (SCHEDULE if part == "scheduler" else f"{part}/config.json")
    edit_json(path, **{name: value})
    message = refused(lambda: READERS[part](released), ConfigError)
    assert message == f"{path}: {name} is {value!r}; this engine runs {only} only"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: replace(model, vae=make_vae(replace(VAE, latent_channels=8))), "latent channels 4, .* gives 8"),
        (
            lambda model: replace(model, vae=make_vae(replace(VAE, temporal_compression_ratio=8))),
            "temporal compression 4, .* gives 8",
        ),
        (lambda model: replace(model, text_encoder=text_encoder(32, 384)), "text width 24, .* gives 32"),
        (lambda model: replace(model, text_encoder=text_encoder(24, 300)), "tokenizer has 384 tokens, .* encoder 300"),
        (
            lambda model: replace(model, render=RenderConfig(skip_guidance_layers=(3,))),
            r"skip_guidance_layers is \(3,\); it must be a tuple of layers from 0 to 2",
        ),
    ],
    ids=["latent channels", "temporal compression", "text width", "tokenizer", "layers to skip"],
)
def test_parts_that_do_not_go_together(tmp_path: Path, change: Callable[[Model], Model], message: str) -> None:
    save_model(change(paper_model()), tmp_path / "model")
    with pytest.raises(ConfigError, match=message):
        load_model(tmp_path / "model")
    assert str(tmp_path / "model") in refused(lambda: load_model(tmp_path / "model"), ConfigError)


def text_encoder(dim: int, vocab_size: int) -> Any:
    from fantasyid_engine.weights.untrained import make_text_encoder

    return make_text_encoder(TextConfig(dim=dim, num_layers=1, num_heads=2, head_dim=4, mlp_dim=32), vocab_size)


@pytest.mark.parametrize("path", [TEXT_WEIGHTS, VAE_WEIGHTS, SCHEDULE, "tokenizer/spiece.model", "vae/config.json"])
def test_flipped_bit(released: Path, path: str) -> None:
    data = bytearray((released / path).read_bytes())
    data[-2] ^= 4
    (released / path).write_bytes(data)
    assert f"{path} is corrupt (its SHA-256 is not the manifest's)" in refused(lambda: load_model(released))


def broken_tokenizer(folder: Path, config: str | None = None, **files: bytes | None) -> None:
    """Replaces files of a tokenizer; None takes one away."""
    names = {"pieces": "spiece.model", "fast": "tokenizer.json"}
    if config is not None:
        (folder / "tokenizer_config.json").write_text(config)
    for name, data in files.items():
        if data is None:
            (folder / names[name]).unlink()
        else:
            (folder / names[name]).write_bytes(data)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"config": "{"}, id="config cut"),
        pytest.param({"config": "[]"}, id="config a list"),
        pytest.param({"config": '{"tokenizer_class": "NoneSuch"}'}, id="unknown class"),
        pytest.param({"pieces": b""}, id="pieces empty"),
        pytest.param({"pieces": b"junk" * 50}, id="pieces junk"),
        pytest.param({"pieces": None}, id="pieces gone"),
        pytest.param({"pieces": None, "fast": b"{}"}, id="fast file empty"),
    ],
)
def test_broken_tokenizers(released: Path, change: dict[str, Any]) -> None:
    broken_tokenizer(released / "tokenizer", **change)
    assert str(released / "tokenizer") in refused(lambda: parts.read_tokenizer(released))


def test_a_tokenizer_that_makes_the_library_panic(
    loaded: Model, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Rust's panic is no `Exception` in Python."""
    loaded.tokenizer.save_pretrained(tmp_path / "tokenizer")
    path = tmp_path / "tokenizer" / "tokenizer.json"
    edit_json(path, normalizer={"type": "Precompiled", "precompiled_charsmap": 1.5})
    assert str(tmp_path / "tokenizer") in refused(lambda: parts.read_tokenizer(tmp_path))


@pytest.mark.parametrize("known", [True, False], ids=["known class", "unknown class"])
def test_code_in_a_model_folder_never_runs(released: Path, known: bool) -> None:
    ran = released / "it ran"
    code = f"from pathlib import Path\nPath({str(ran)!r}).touch()\nclass Evil: pass\n"
    for part, auto in (("tokenizer", "AutoTokenizer"), ("text_encoder", "AutoModel"), ("vae", "AutoModel")):
        (released / part / "evil.py").write_text(code)
        names = [["evil.Evil", "evil.Evil"], "evil.Evil"][auto == "AutoModel"]
        name = "tokenizer_config.json" if part == "tokenizer" else "config.json"
        edit_json(released / part / name, auto_map={auto: names, "AutoConfig": "evil.Evil"})
    if known:
        for reader in READERS.values():
            reader(released)
    else:
        edit_json(released / "tokenizer" / "tokenizer_config.json", tokenizer_class="Evil")
        assert str(released / "tokenizer") in refused(lambda: parts.read_tokenizer(released))
    assert not ran.exists()


def mini() -> ModelConfig:
    return MINIATURES["avatar-mini"]


def test_untrained_model_follows_its_seed() -> None:
    one, same, other = (untrained_model("x", mini(), seed=seed) for seed in (3, 3, 4))
    assert_same_weights(one, same)
    assert one.digests == same.digests and set(one.digests) == {"network", "vae", "text_encoder"}
    for name, module in modules_of(one).items():
        values, others = module.state_dict(), modules_of(other)[name].state_dict()
        assert any(not torch.equal(values[key], others[key]) for key in values), name
    assert not set(one.digests.values()) & set(other.digests.values())


def test_untrained_model_is_ready_to_run() -> None:
    model = untrained_model("x", mini())
    for module in modules_of(model).values():
        assert not module.training
        assert all(p.dtype == torch.float32 and not p.requires_grad for p in module.parameters())
    assert (model.name, model.schedule, model.render) == ("x", mini().schedule, mini().render)
    assert model.hierarchy.levels == mini().network.mesh.levels
    assert model.text_encoder.config.d_model == mini().text.dim


def test_untrained_model_leaves_torchs_randomness_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that of GPUs, whose seeding is watched here: it would be seen only where there is one."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.get_rng_state()
    untrained_model("x", mini(), seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert seeded == []


def test_mesh_levels_that_no_subdivision_gives() -> None:
    config = replace(mini(), network=replace(mini().network, mesh=replace(mini().network.mesh, levels=(640, 160, 40))))
    with pytest.raises(ValueError, match="no subdivisions"):
        untrained_model("x", config)


def test_sizes(loaded: Model) -> None:
    assert loaded.spatial_scale == 8
    assert loaded.frame_size == SIZE
    assert loaded.frame_counts == [1, 9]


@pytest.mark.parametrize(
    ("sample_frames", "ratio", "learned", "counts"),
    [
        (49, 4, False, [1, 9, 17, 25, 33, 41, 49]),
        (49, 4, True, [49]),
        (5, 4, False, [1]),
        (1, 4, False, [1]),
        (13, 2, False, [1, 5, 9, 13]),
    ],
)
def test_frame_counts(loaded: Model, sample_frames: int, ratio: int, learned: bool, counts: list[int]) -> None:
    """Odd numbers of latent frames, up to the model's; with learned positions that one only.

    The network is a fake that has a config and nothing else.
    """
    dit = replace(
        PAPER.dit,
        sample_frames=sample_frames,
        temporal_compression_ratio=ratio,
        use_learned_positional_embeddings=learned,
    )
    network = nn.Module()
    network.config = replace(PAPER, dit=dit)
    assert replace(loaded, network=network).frame_counts == counts


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("my models", Path("my models")), ("", None), (None, None)],
    ids=["named", "empty", "unset"],
)
def test_model_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str | None, expected: Path | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FANTASYID_MODELS", raising=False)
    if variable is not None:
        monkeypatch.setenv("FANTASYID_MODELS", variable)
    assert model_home() == (expected or tmp_path / ".cache" / "fantasyid-engine" / "models")
