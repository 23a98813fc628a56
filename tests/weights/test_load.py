"""The loader: both layouts, every key accounted for, and one line for everything that can be wrong with a file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.errors import ConfigError, WeightsError
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights import manifest
from fantasyid_engine.weights.folder import load_network, save_network
from fantasyid_engine.weights.manifest import write_manifest
from tests.small import PAPER, RELEASED, TRANSFORMER, hierarchy, randomise, split_into_shards, write_released_folder

KINDS = ("bias", "weight")


def network(config: NetworkConfig) -> Network:
    made = Network(config, hierarchy(config.mesh))
    randomise(made)
    return made.eval()


@pytest.fixture
def released(tmp_path: Path) -> Path:
    write_released_folder(network(RELEASED), tmp_path / "model")
    write_manifest(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    save_network(network(PAPER), hierarchy(), tmp_path / "model")
    return tmp_path / "model"


def assert_same_network(one: Network, other: Network) -> None:
    assert one.config == other.config
    state, expected = one.state_dict(), other.state_dict()
    assert state.keys() == expected.keys()
    for name, value in state.items():
        assert torch.equal(value, expected[name]), name
    tables = dict(one.named_buffers())
    for name, table in other.named_buffers():
        assert torch.equal(tables[name], table), name


def test_authors_layout(released: Path) -> None:
    loaded = load_network(released, dtype=torch.float32)
    assert_same_network(loaded, network(RELEASED))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_own_layout(paper: Path) -> None:
    assert_same_network(load_network(paper, dtype=torch.float32), network(PAPER))


def test_own_layout_in_shards(tmp_path: Path) -> None:
    save_network(network(PAPER), hierarchy(), tmp_path / "model", max_shard_size="100KB")
    assert len(list((tmp_path / "model").glob("dit-*-of-*.safetensors"))) > 1
    assert_same_network(load_network(tmp_path / "model", dtype=torch.float32), network(PAPER))


def test_released_form_in_own_layout(tmp_path: Path) -> None:
    save_network(network(RELEASED), hierarchy(), tmp_path / "model")
    assert_same_network(load_network(tmp_path / "model", dtype=torch.float32), network(RELEASED))


def test_a_loaded_network_runs(released: Path) -> None:
    """Nothing is left on the meta device."""
    loaded = load_network(released, dtype=torch.float32)
    id_kv = loaded.id_kv(torch.zeros(1, 3, 32, 32), 0.1 * hierarchy().template[None])
    embedded = loaded.dit.embed(torch.zeros(1, 6, 24), 3, 12, 8, torch.zeros(1, 3, 4, 12, 8))
    assert loaded.dit(torch.zeros(1, 3, 4, 12, 8), torch.tensor([5]), embedded, id_kv).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_vertex_net_stays_float32(released: Path, dtype: torch.dtype) -> None:
    loaded = load_network(released, dtype=dtype)
    for name, parameter in loaded.named_parameters():
        expected = torch.float32 if name.startswith("conditioner.vertex_net.") else dtype
        assert parameter.dtype == expected, name
    id_kv = loaded.id_kv(torch.zeros(1, 3, 32, 32, dtype=dtype), hierarchy().template[None].double())
    assert id_kv.dtype == dtype


def test_to_dtype_follows_the_same_rule(released: Path) -> None:
    cast, loaded = network(RELEASED).to_dtype(torch.bfloat16), load_network(released, dtype=torch.bfloat16)
    assert_same_network(loaded, cast)
    assert all(p.dtype == q.dtype for p, q in zip(cast.parameters(), loaded.parameters(), strict=True))


def test_ema_weights_are_preferred(released: Path) -> None:
    (released / "transformer").rename(released / "transformer_ema")
    write_released_folder(network(replace(RELEASED, dit=replace(RELEASED.dit, num_layers=1))), released / "other")
    (released / "other" / "transformer").rename(released / "transformer")
    (released / "manifest.json").unlink()
    assert load_network(released).config.dit.num_layers == 3


def test_layers_and_interval_are_read_from_the_keys(tmp_path: Path) -> None:
    assert RELEASED.dit.injection is not None
    every_second = replace(RELEASED.dit, num_layers=4, injection=replace(RELEASED.dit.injection, interval=2))
    made = network(replace(RELEASED, dit=every_second))
    write_released_folder(made, tmp_path / "model")
    path = tmp_path / "model" / "transformer" / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"num_layers": 42, "cross_attn_interval": 1}))
    assert load_network(tmp_path / "model", dtype=torch.float32).config.dit == every_second


def edit(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def refused(folder: Path, kind: type[Exception] = WeightsError) -> str:
    with pytest.raises(kind) as error:
        load_network(folder)
    message = str(error.value)
    assert "\n" not in message and len(message) < 900
    assert str(folder) in message
    return message


def test_missing_unknown_and_misshapen_keys_are_one_error(released: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["transformer_blocks.1.ff.net.2.bias"]
        tensors["transformer_blocks.1.ff.net.3.bias"] = torch.zeros(3)
        tensors["unheard_of"] = torch.zeros(3)
        tensors["norm_final.weight"] = torch.zeros(31)

    edit(released / TRANSFORMER, change)
    (released / "manifest.json").unlink()
    message = refused(released)
    assert "1 missing: dit.blocks.1.ff.down.bias" in message
    assert "2 unknown: " in message and "transformer_blocks.1.ff.net.3.bias" in message and "unheard_of" in message
    assert "1 wrongly shaped: norm_final.weight [31] instead of [32]" in message


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.float8_e4m3fn], ids=str)
def test_weights_of_a_type_that_does_not_compute(released: Path, dtype: torch.dtype) -> None:
    edit(released / TRANSFORMER, lambda tensors: tensors.update({"norm_final.weight": torch.ones(32).to(dtype)}))
    (released / "manifest.json").unlink()
    assert "1 of a type other than F64, F32, F16, BF16: norm_final.weight" in refused(released)


def test_layer_numbers_must_run_from_zero(released: Path) -> None:
    """A key that names layer 199,999 does not make the loader build so many."""
    tensors = {f"{name}.199999.x": torch.ones(1) for name in ("transformer_blocks", "layer_attention")}
    tensors |= {f"transformer_blocks.{'9' * 5000}.x": torch.ones(1)}
    edit(released / TRANSFORMER, lambda all_tensors: all_tensors.update(tensors))
    (released / "manifest.json").unlink()
    assert "3 unknown: " in refused(released)


def test_many_wrong_keys_are_counted(released: Path) -> None:
    """The message names the first few; the error lists them all."""
    edit(released / TRANSFORMER, lambda tensors: [tensors.pop(key) for key in list(tensors) if "attn1.to_" in key])
    (released / "manifest.json").unlink()
    with pytest.raises(WeightsError, match=r"24 missing: .+ and 19 more") as error:
        load_network(released)
    layers = [f"dit.blocks.{i}.attn.to_{x}.{kind}" for i in range(3) for x in ("k", "out", "q", "v") for kind in KINDS]
    assert error.value.keys == {"missing": sorted(layers)}


def test_nothing_is_hashed_without_a_manifest(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder as downloaded loads without reading 13 GB twice."""
    (released / "manifest.json").unlink()
    monkeypatch.setattr(manifest, "sha256", lambda path: pytest.fail(f"hashed {path}"))
    load_network(released)


@pytest.mark.parametrize("keep", [0, 4, 200, -1], ids=["empty", "length cut", "header cut", "last byte cut"])
def test_truncated_file(released: Path, keep: int) -> None:
    data = (released / TRANSFORMER).read_bytes()
    (released / TRANSFORMER).write_bytes(data[:keep])
    assert f"diffusion_pytorch_model.safetensors has {len(data[:keep])} bytes instead of {len(data)}" in refused(
        released
    )
    (released / "manifest.json").unlink()
    assert "diffusion_pytorch_model.safetensors is truncated or no safetensors file" in refused(released)


@pytest.mark.parametrize("file", [TRANSFORMER, "face_encoder/mesh.safetensors"])
def test_flipped_bit(released: Path, file: str) -> None:
    data = bytearray((released / file).read_bytes())
    data[-7] ^= 4
    (released / file).write_bytes(data)
    assert f"{file} is corrupt (its SHA-256 is not the manifest's)" in refused(released)
    if file == TRANSFORMER:  # a flipped value, which only the hash can tell
        load_network(released, verify=False)


def test_flipped_bit_in_the_header(released: Path) -> None:
    data = bytearray((released / TRANSFORMER).read_bytes())
    data[data.index(b"transformer_blocks")] ^= 1
    (released / TRANSFORMER).write_bytes(data)
    assert "diffusion_pytorch_model.safetensors" in refused(released)
    (released / "manifest.json").unlink()
    assert "1 missing" in refused(released)


def test_file_of_another_size(released: Path) -> None:
    edit(released / TRANSFORMER, lambda tensors: tensors.pop("face_abstractor.latents"))
    assert "bytes instead of" in refused(released)


@pytest.mark.parametrize("index", [True, False], ids=["with index", "without index"])
def test_shards(released: Path, index: bool) -> None:
    shards = split_into_shards(released, index)
    assert len(shards) == 3
    assert_same_network(load_network(released, dtype=torch.float32), network(RELEASED))
    shards[1].unlink()
    assert f"lacks {shards[1].name}: the download is not complete" in refused(released)


def test_key_in_two_files(released: Path) -> None:
    save_file({"norm_final.weight": torch.zeros(32)}, released / "transformer" / "zz.safetensors")
    (released / "manifest.json").unlink()
    assert "norm_final.weight is in both" in refused(released)


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        "[" * 200_000,
        '{"weight_map": {"a": "../../secret.safetensors"}}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": []}',
    ],
    ids=["cut", "list", "deep", "path", "number", "no map"],
)
def test_bad_index(released: Path, index: str) -> None:
    (released / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_text(index)
    assert "safetensors.index.json" in refused(released)


def test_only_pickles_are_there(released: Path) -> None:
    (released / TRANSFORMER).rename(released / "transformer" / "diffusion_pytorch_model.bin")
    message = refused(released)
    assert "diffusion_pytorch_model.bin and no safetensors; convert the model folder first: " in message


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("face_encoder/mesh.safetensors", "weights convert transform.pkl"),
        ("face_encoder/EVA02_CLIP_L_336_psz14_s6B.safetensors", "expected EVA02_CLIP_L_336_psz14_s6B.safetensors"),
        (TRANSFORMER, "no weights in"),
    ],
)
def test_missing_files(released: Path, gone: str, message: str) -> None:
    (released / gone).rename(released / "away")
    assert message in refused(released)


@pytest.mark.parametrize("left", ["nothing", "a folder"])
def test_missing_transformer_config(released: Path, left: str) -> None:
    path = released / "transformer" / "config.json"
    path.unlink()
    if left == "a folder":
        path.mkdir()
    assert "transformer/config.json is missing" in refused(released, ConfigError)


def test_folder_of_no_layout(released: Path) -> None:
    """Also the natural slip: the transformer's folder, which has a config.json, instead of the model's."""
    assert "is no model folder" in refused(released / "transformer", ConfigError)
    (released / "transformer").rename(released / "away")
    assert "is no model folder" in refused(released, ConfigError)


def test_unknown_keys_of_the_tower(released: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors |= {"entirely.unknown": torch.zeros(1), "visual.blocks.777.norm1.weight": torch.zeros(1)}
        tensors |= {"visual.blocks.20.bogus": torch.zeros(1)}

    edit(released / "face_encoder" / "EVA02_CLIP_L_336_psz14_s6B.safetensors", change)
    (released / "manifest.json").unlink()
    assert "3 unknown" in refused(released)


def test_no_folder(tmp_path: Path) -> None:
    assert "no model folder at" in refused(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch_size_t": 2}, "patch_size_t is 2; this engine runs None only"),
        ({"activation_fn": "gelu"}, "activation_fn is 'gelu'"),
        ({"attention_head_dim": 15}, "multiple of 16"),
        ({"sample_frames": 10}, "sample_frames is 10"),
        ({"fantasyid": {"mash": {}}}, "mash"),
        ({"num_attention_heads": "many"}, "num_attention_heads"),
        ({"num_attention_heads": 10**15}, "num_attention_heads"),
        ({"text_embed_dim": 10**6, "num_attention_heads": 10**6, "attention_head_dim": 10**6 - 16}, "cannot be built"),
        ({"fantasyid": [1, 2]}, "must be JSON objects"),
        ({"fantasyid": None}, "must be JSON objects"),
        ({"fantasyid": {"injection": 3}}, "must be JSON objects"),
    ],
)
def test_config_that_is_not_run(released: Path, values: dict, message: str) -> None:
    path = released / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    (released / "manifest.json").unlink()
    assert message in refused(released, ConfigError)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 200_000], ids=["empty", "cut", "list", "deep"])
def test_unreadable_config(released: Path, text: str) -> None:
    (released / "transformer" / "config.json").write_text(text)
    (released / "manifest.json").unlink()
    refused(released, ConfigError)


def test_changed_config_is_found(paper: Path) -> None:
    path = paper / "config.json"
    path.write_text(path.read_text().replace('"norm_eps": 1e-05', '"norm_eps": 2e-05'))
    assert "config.json is corrupt" in refused(paper)


def test_file_that_the_manifest_does_not_name(released: Path) -> None:
    split_into_shards(released, index=True)
    write_manifest(released)
    rows = json.loads((released / "manifest.json").read_text())
    del rows["files"]["transformer/diffusion_pytorch_model-00002-of-00003.safetensors"]
    (released / "manifest.json").write_text(json.dumps(rows))
    assert "diffusion_pytorch_model-00002-of-00003.safetensors is not in" in refused(released)


def test_missing_mesh_of_own_layout(paper: Path) -> None:
    (paper / "mesh.safetensors").unlink()
    assert "mesh.safetensors is missing" in refused(paper)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other"}', '{"format": "fantasyid-network-1"}'])
def test_own_config_is_checked(paper: Path, text: str) -> None:
    (paper / "config.json").write_text(text)
    (paper / "manifest.json").unlink()
    refused(paper, ConfigError)


def test_mesh_of_another_size(released: Path) -> None:
    config = replace(RELEASED.mesh, levels=(150, 42, 12))
    hierarchy(config).save(released / "face_encoder" / "mesh.safetensors")
    (released / "manifest.json").unlink()
    assert "mesh hierarchy with levels (150, 42, 12)" in refused(released)


def test_injections_must_go_into_layers(released: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        for key in [key for key in tensors if key.startswith("layer_attention.2.")]:
            del tensors[key]

    edit(released / TRANSFORMER, change)
    (released / "manifest.json").unlink()
    assert "3 layers and 2 injections" in refused(released)


@pytest.mark.parametrize("text", ["{", '{"files": []}', '{"files": {"a": {"sha256": "x", "size_bytes": 1e999}}}'])
def test_bad_manifest(released: Path, text: str) -> None:
    (released / "manifest.json").write_text(text)
    assert "manifest.json" in refused(released)


def test_manifest_that_is_a_folder(released: Path) -> None:
    (released / "manifest.json").unlink()
    (released / "manifest.json").mkdir()
    assert "manifest.json cannot be read: Is a directory" in refused(released)


def test_saving_over_a_folder_is_refused(paper: Path) -> None:
    from fantasyid_engine.errors import OutputError

    before = {path: path.read_bytes() for path in paper.iterdir()}
    with pytest.raises(OutputError, match="it exists already"):
        save_network(network(PAPER), hierarchy(), paper)
    assert {path: path.read_bytes() for path in paper.iterdir()} == before
    assert not list(paper.parent.glob(".*"))
