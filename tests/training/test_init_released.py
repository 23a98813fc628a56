"""A model of the paper's form, begun from the released one: what is taken over, what is new, and that it renders."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fantasyid_engine import Engine, VideoRequest
from fantasyid_engine.config.presets import NETWORKS
from fantasyid_engine.config.schema import AbstractorConfig, QFormerConfig, ResConvConfig
from fantasyid_engine.errors import ConfigError, OutputError, WeightsError
from fantasyid_engine.models.network import Network
from fantasyid_engine.training.init_released import IDENTITY_SIGMA, init_from_released, paper_form
from fantasyid_engine.weights.manifest import write_manifest
from fantasyid_engine.weights.model import Model, load_model, save_model
from tests.face.plys import ply
from tests.small import RELEASED, hierarchy, randomise, write_released_folder
from tests.whole_model import paper_model, write_parts

LEARNT = replace(RELEASED, dit=replace(RELEASED.dit, use_learned_positional_embeddings=True))
"""With learned positions, as the release has them."""

TAKEN_OVER = ("tower.", "conditioner.abstractor.", "dit.")
NEW = ("conditioner.vertex_net.", "conditioner.resconv.", "conditioner.key_values.", "dit.injections.")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init") / "released"
    network = Network(LEARNT, hierarchy())
    randomise(network)
    positions = network.dit.patch_embed.pos_embedding
    positions.copy_(0.3 * torch.randn(positions.shape, generator=torch.Generator().manual_seed(9)))
    write_released_folder(network, folder)
    write_parts(folder, LEARNT.dit.text_embed_dim)
    write_manifest(folder)
    return folder


@pytest.fixture(scope="module")
def released(source: Path) -> Model:
    return load_model(source)


@pytest.fixture(scope="module")
def begun(source: Path) -> Callable[..., Model]:
    """The models that are made of `source`, loaded from their folders."""
    made: dict[tuple[object, ...], Model] = {}

    def make(*without: str, seed: int = 0) -> Model:
        key = (*without, seed)
        if key not in made:
            folder = source.parent / "-".join(map(str, key))
            init_from_released(source, folder, without=without, seed=seed)
            made[key] = load_model(folder)
        return made[key]

    return make


Begun = Callable[..., Model]


def test_a_release_becomes_the_preset_of_the_papers_form() -> None:
    """At full size: the preset that the recipes are for, with the positions that the released DiT learnt."""
    preset = NETWORKS["fantasyid-5b-paper"]
    positions = replace(preset.dit, use_learned_positional_embeddings=True)
    assert paper_form(NETWORKS["fantasyid-5b"]) == replace(preset, dit=positions)


@torch.inference_mode()
@pytest.mark.parametrize("without", [(), ("layer_aware_injection",)], ids=["full", "w/o layer-aware injection"])
@pytest.mark.parametrize("face", [False, True], ids=["no face", "a face"])
def test_predicts_what_the_released_dit_does(released: Model, begun: Begun, face: bool, without: tuple[str]) -> None:
    """The same bits as the release that sees no picture and no face, whether the new one sees a face or not."""
    generator = torch.Generator().manual_seed(4)
    latents = torch.randn(2, 3, 4, 12, 8, generator=generator).bfloat16()
    text = torch.randn(2, 6, 24, generator=generator).bfloat16()
    timesteps = torch.tensor([801, 3])
    theirs, mine = released.network.dit, begun(*without).network
    embedded = theirs.embed(text, 3, 12, 8, torch.zeros(2, 3, 4, 12, 8).bfloat16())
    expected = theirs(latents, timesteps, embedded)
    id_kv = None
    if face:
        picture = torch.randn(2, 3, 32, 32, generator=generator).bfloat16()
        id_kv = mine.id_kv(picture, 0.1 * hierarchy().template[None])
        assert id_kv.abs().max() > 0
    assert torch.equal(mine.dit(latents, timesteps, mine.dit.embed(text, 3, 12, 8), id_kv), expected)
    assert expected.float().std() > 0.1


def test_what_is_taken_over(released: Model, begun: Begun) -> None:
    """Every weight is the release's or one of those that start anew."""
    theirs, mine = released.network.state_dict(), begun().network.state_dict()
    inside = "conditioner.abstractor.abstractor."
    same = {name.replace(inside, "conditioner.abstractor."): value for name, value in theirs.items()}
    tables = [same.pop(f"conditioner.abstractor.positions.{n}").float() for n in (0, 1)]
    same["conditioner.abstractor.positions.0"] = sum(tables, torch.zeros(())).bfloat16()
    patches = "dit.patch_embed.proj.weight"
    same[patches] = same[patches][:, :4]
    old = [name for name in mine if name.startswith(TAKEN_OVER) and not name.startswith(NEW)]
    assert len(old) > 100 and all(torch.equal(mine[name], same[name]) for name in old)
    assert all(name.startswith(NEW) for name in mine.keys() - set(old))
    assert all(name.startswith("dit.injections.") for name in theirs.keys() - mine.keys() if name.startswith("dit."))


def test_the_other_parts_are_the_releases(released: Model, begun: Begun) -> None:
    model = begun()
    for part in ("text_encoder", "vae"):
        theirs, mine = getattr(released, part).state_dict(), getattr(model, part).state_dict()
        assert theirs.keys() == mine.keys() and all(torch.equal(theirs[name], mine[name]) for name in theirs)
    assert model.vae.config["scaling_factor"] == released.vae.config["scaling_factor"]
    prompt = "a woman talks to the camera"
    assert model.tokenizer(prompt).input_ids == released.tokenizer(prompt).input_ids
    assert (model.schedule, model.render) == (released.schedule, released.render)


def test_what_is_new(begun: Begun) -> None:
    """Drawn from the seed; vertices enter as offsets from the mesh, in units of 3 mm, float32."""
    first, second = begun().network, begun(seed=1).network
    net = first.conditioner.vertex_net
    assert torch.equal(net.template, hierarchy().template) and net.sigma.tolist() == [pytest.approx(IDENTITY_SIGMA)]
    assert net.encoder.conv0.linear.weight.dtype == net.template.dtype == torch.float32
    one, other = first.state_dict(), second.state_dict()
    drawn = [name for name in one if name.startswith(NEW) and one[name].ndim > 1 and "template" not in name]
    assert all(not torch.equal(one[name], other[name]) for name in drawn)
    assert all(torch.equal(one[name], other[name]) for name in one if not name.startswith(NEW))
    assert one["conditioner.key_values.0.to_kv.weight"].float().std() > 0.01


def test_the_same_seed_gives_the_same_files(source: Path, begun: Begun, tmp_path: Path) -> None:
    """Also of a folder in our own layout, and whatever was drawn before; nothing is drawn from the program's stream."""
    save_model(load_model(source), tmp_path / "own")
    torch.manual_seed(99)
    state = torch.get_rng_state()
    init_from_released(tmp_path / "own", tmp_path / "out")
    assert torch.equal(torch.get_rng_state(), state)
    mine, expected = load_model(tmp_path / "out").digests, begun().digests
    assert {name: d for name, d in mine.items() if name.endswith(".safetensors")} == {
        name: d for name, d in expected.items() if name.endswith(".safetensors")
    }


def test_without_rows_of_table_3(begun: Begun) -> None:
    no_abstractor = begun("face_abstractor").network
    assert isinstance(no_abstractor.config.conditioner.abstractor, QFormerConfig)
    no_vertices = begun("face_vertices").network
    assert not no_vertices.config.takes_vertices
    assert isinstance(no_vertices.config.conditioner.abstractor, AbstractorConfig)
    no_layers = begun("layer_aware_injection").network
    assert no_layers.dit.injections.shared_out.weight.abs().max() == 0
    assert no_layers.dit.injections.layers[0].to_q.weight.float().std() > 0.01
    assert begun("multi_view").network.config == begun().network.config


def test_renders(begun: Begun) -> None:
    model = begun()
    model = replace(model, render=replace(model.render, face="picture", crop_size=32))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    vertices = ply(hierarchy().template.numpy(), hierarchy().faces.numpy())
    data = BytesIO()
    image.save(data, "PNG")
    request = VideoRequest(
        image=data.getvalue(), prompt="a person smiles", vertices=vertices, seed=7, num_inference_steps=2
    )
    with Engine(model) as engine:
        frames = engine.generate(request).frames
    assert frames.shape == (9, 96, 64, 3) and frames.std() > 1


def paper_folder(folder: Path) -> Path:
    save_model(paper_model(), folder)
    return folder


def test_refusals(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^\S+/paper is of the paper's form already; train it as it is, or name .*$"):
        init_from_released(paper_folder(tmp_path / "paper"), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"^there is no row 'hair' to be without; there are face_abstractor, .*$"):
        init_from_released(source, tmp_path / "out", without=["hair"])
    with pytest.raises(WeightsError, match=r"^no model folder at \S+/nowhere$"):
        init_from_released(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("mine")
    with pytest.raises(OutputError, match="it exists already; name a new folder"):
        init_from_released(source, tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()].count("full") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"full", "paper"}


def test_widths_of_resconv() -> None:
    """C' doubles while the DiT is wider, in groups that divide every width."""
    small = paper_form(RELEASED).conditioner.resconv
    assert (small.channels, small.kernels, small.strides, small.groups) == ((32,) * 4, (3,) * 4, (1,) * 4, 4)
    reducer = ResConvConfig(channels=(32, 32), kernels=(5, 3), strides=(4, 2), groups=32)
    dit = replace(RELEASED.dit, num_attention_heads=11, attention_head_dim=16)
    uneven = replace(RELEASED, conditioner=replace(RELEASED.conditioner, reducer=reducer), dit=dit)
    made = paper_form(uneven).conditioner.resconv
    assert (made.channels, made.groups) == ((32, 64, 128, 176), 16)
    narrow = replace(uneven, dit=replace(dit, num_attention_heads=1, attention_head_dim=48))
    made = paper_form(narrow).conditioner.resconv
    assert (made.channels, made.groups) == ((32, 48, 48, 48), 16)
