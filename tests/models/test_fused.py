"""The DiT on the kernels against the plain one: every form, plain and folded faces, tables for every schedule."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from fantasyid_engine.config.schema import InjectionConfig, NetworkConfig
from fantasyid_engine.kernels import ops, reference
from fantasyid_engine.kernels.id_injection import Folded
from fantasyid_engine.models.dit import DiT
from fantasyid_engine.models.fused import FusedDiT
from tests.kernels.cases import no_worse_than_torch
from tests.small import PAPER, RELEASED, randomise

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIZE = (3, 4, 6)
TIMESTEPS = (999, 500, 19)
SHARED = InjectionConfig(form="shared", num_heads=2, head_dim=8, id_dim=32)
FORMS = {
    "released": RELEASED,
    "layer_aware": PAPER,
    "shared": replace(PAPER, dit=replace(PAPER.dit, injection=SHARED)),
    "every-second": replace(PAPER, dit=replace(PAPER.dit, injection=replace(SHARED, form="layer_aware", interval=2))),
    "sin-cos-positions": replace(RELEASED, dit=replace(RELEASED.dit, use_rotary_positional_embeddings=False)),
}


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def plain(config: NetworkConfig, dtype: torch.dtype = torch.float32) -> DiT:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dit = DiT(config.dit)
    randomise(dit)
    return dit.eval().requires_grad_(False).to(DEVICE, dtype)


def asked(config: NetworkConfig, keys: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Returns latents of a batch of two, text, image latents, id_kv."""
    dit, injection = config.dit, config.dit.injection
    assert injection is not None
    image = drawn(2, 1, 3, dit.image_channels, 4, 6).to(dtype) if dit.image_channels else None
    id_kv = drawn(3, dit.num_injections, 2, 1, injection.num_heads, keys, injection.head_dim)
    return drawn(0, 2, 3, 4, 4, 6), drawn(1, 2, 5, 24).to(dtype), image, id_kv.to(dtype)


INTERPRETED = [(form, "triton") for form in ("released", "layer_aware", "every-second")]


@pytest.mark.parametrize(("form", "kernels"), [*((form, "torch") for form in FORMS), *INTERPRETED])
@torch.inference_mode()
def test_is_the_plain_dit(form, kernels, monkeypatch):
    monkeypatch.setenv("FANTASYID_KERNELS", kernels)
    config = FORMS[form]
    latents, text, image, id_kv = asked(config, 11, torch.float32)
    dit = plain(config)
    embedded = dit.embed(text, *SIZE, image)
    right = [dit.predictor(id_kv, TIMESTEPS)(embedded, latents, t) for t in TIMESTEPS]
    assert (right[0] - right[1]).abs().max() > 1e-2
    fused = FusedDiT(dit)
    predict, embedded = fused.predictor(id_kv, TIMESTEPS), fused.embed(text, *SIZE, image)
    # The interpreter takes seconds for a step.
    for t, expected in list(zip(TIMESTEPS, right, strict=True))[: 1 if kernels == "triton" else None]:
        torch.testing.assert_close(predict(embedded, latents, t), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("form", "kernels"),
    [("released", "torch"), ("layer_aware", "torch"), ("shared", "torch"), ("released", "triton")],
)
@torch.inference_mode()
def test_a_folded_face_says_the_same(form, kernels, monkeypatch):
    monkeypatch.setenv("FANTASYID_KERNELS", kernels)
    config = FORMS[form]
    latents, text, image, id_kv = asked(config, 5, torch.float32)
    right, fused = FusedDiT(plain(config)), FusedDiT(plain(config), folds=True)
    embedded = fused.embed(text, *SIZE, image)
    assert all(isinstance(part, Folded) for part in fused.face(id_kv))
    made, expected = (
        dit(latents, dit.steps(TIMESTEPS, face)[0], embedded, face)
        for dit, face in ((dit, dit.face(id_kv)) for dit in (fused, right))
    )
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_gated_weights_live_for_one_product(monkeypatch):
    """Every product has its own in every step; together they would be a second copy of the network."""
    monkeypatch.setenv("FANTASYID_KERNELS", "torch")
    made: list[StorageWeakRef] = []

    def watched(weight: Tensor, gate: Tensor) -> Tensor:
        assert all(storage.expired() for storage in made)
        gated = reference.gate_weight(weight, gate)
        made.append(StorageWeakRef(gated.untyped_storage()))
        return gated

    monkeypatch.setattr(ops, "gate_weight", watched)
    latents, text, image, id_kv = asked(RELEASED, 5, torch.float32)
    fused = FusedDiT(plain(RELEASED))
    fused.predictor(id_kv, TIMESTEPS)(fused.embed(text, *SIZE, image), latents, 500)
    assert len(made) == 2 * RELEASED.dit.num_layers


@torch.inference_mode()
def test_biases_that_outweigh_the_tokens(monkeypatch):
    """The video lies without them until it is read: nothing may be lost or counted twice, however large they are."""
    monkeypatch.setenv("FANTASYID_KERNELS", "torch")
    dit = plain(RELEASED)
    for block in dit.blocks:
        block.attn.to_out.bias.mul_(50)
        block.ff.down.bias.mul_(50)
    latents, text, image, id_kv = asked(RELEASED, 5, torch.float32)
    embedded = dit.embed(text, *SIZE, image)
    right = dit.predictor(id_kv, TIMESTEPS)(embedded, latents, 500)
    made = FusedDiT(dit).predictor(id_kv, TIMESTEPS)(embedded, latents, 500)
    torch.testing.assert_close(made, right, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_tables_are_made_once_a_schedule():
    fused = FusedDiT(plain(RELEASED))
    first = fused.tables(TIMESTEPS)
    assert first.blocks.shape == (3, 2 * RELEASED.dit.num_layers, 6, RELEASED.dit.dim)
    assert fused.tables(TIMESTEPS) is first
    other = fused.tables((999, 19))
    torch.testing.assert_close(other.blocks, first.blocks[[0, 2]])
    with pytest.raises(RuntimeError, match="stays where its weights were"):
        fused.to("cpu")
    names = [name for name, _ in fused.named_parameters()]
    assert not [name for name in names if "linear.weight" in name], "they would lie on the GPU"


@torch.inference_mode()
def test_what_it_cannot_take_is_named():
    fused = FusedDiT(plain(RELEASED))
    latents, text, image, id_kv = asked(RELEASED, 5, torch.float32)
    embedded = fused.embed(text, *SIZE, image)
    with pytest.raises(ValueError, match="latents of"):
        fused.predictor(id_kv, TIMESTEPS)(embedded, latents[:, :2], 999)
    with pytest.raises(ValueError, match="id_kv of"):
        fused.predictor(id_kv[:1], TIMESTEPS)(embedded, latents, 999)
    with pytest.raises(ValueError, match="no face to render"):
        FusedDiT(DiT(replace(RELEASED.dit, injection=None)))


class _Counted(TorchDispatchMode):
    """Counts operators that do something: views are free."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view and func.namespace != "prim"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("form", ["released", "layer_aware"])
@torch.inference_mode()
def test_a_step_launches_a_third_of_the_operators(form, monkeypatch):
    config = FORMS[form]
    latents, text, image, id_kv = asked(config, 11, torch.float32)
    dit = plain(config)
    predict, embedded = dit.predictor(id_kv, TIMESTEPS), dit.embed(text, *SIZE, image)
    with _Counted() as before:
        predict(embedded, latents, 500)
    monkeypatch.setenv("FANTASYID_KERNELS", "triton")
    fused = FusedDiT(dit)
    predict, embedded = fused.predictor(id_kv, TIMESTEPS), fused.embed(text, *SIZE, image)
    with _Counted() as after:
        predict(embedded, latents, 500)
    assert 3 * after.count <= before.count, f"{before.count} before, {after.count} after"


@pytest.mark.gpu
@pytest.mark.parametrize("folds", [False, True], ids=["apart", "folded"])
@pytest.mark.parametrize("form", ["released", "layer_aware"])
@torch.inference_mode()
def test_bfloat16_on_the_kernels(form, folds, monkeypatch):
    """What renders on a GPU, against float64 of the same weights: at most twice eager's error."""
    monkeypatch.setenv("FANTASYID_KERNELS", "auto")
    dtype = torch.bfloat16
    latents, text, image, id_kv = asked(FORMS[form], 5, dtype)
    dit, exact = plain(FORMS[form], dtype), plain(FORMS[form], dtype).double()
    wide = exact.embed(text.double(), *SIZE, None if image is None else image.double())
    right = exact.predictor(id_kv.double(), TIMESTEPS)(wide, latents, 500)
    eager = dit.predictor(id_kv, TIMESTEPS)(dit.embed(text, *SIZE, image), latents, 500)
    fused = FusedDiT(dit, folds=folds)
    made = fused.predictor(id_kv, TIMESTEPS)(fused.embed(text, *SIZE, image), latents, 500)
    no_worse_than_torch("prediction", made, eager, right)
