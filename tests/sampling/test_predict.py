"""The predictor against the DiT called by hand: guidance, precision, and what is computed once a request."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from fantasyid_engine.config.render import ScheduleConfig
from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.kernels.id_injection import fold
from fantasyid_engine.models import fused
from fantasyid_engine.models.block import Block
from fantasyid_engine.models.network import Network
from fantasyid_engine.sampling.guidance import Predict
from fantasyid_engine.sampling.loop import denoise
from fantasyid_engine.sampling.noise import SeededNoise
from fantasyid_engine.sampling.predict import dit_predictor
from fantasyid_engine.sampling.solvers import DPMSolver, Step
from tests.small import PAPER, RELEASED, hierarchy, randomise

SIZE = (3, 12, 8)
SHAPE = (1, 3, 4, 12, 8)
SCALE = 6.0


class Request(NamedTuple):
    """A network and what it is asked to denoise."""

    network: Network
    id_kv: Tensor
    text: Tensor
    image: Tensor | None
    latents: Tensor

    def predictor(self, *, guided: bool) -> Predict:
        text = self.text if guided else self.text[1:]
        return dit_predictor(self.network.dit, self.id_kv, text, self.image, SIZE, SCALE, range(1000))


def make(config: NetworkConfig, dtype: torch.dtype = torch.float32) -> Request:
    network, noise = Network(config, hierarchy()), SeededNoise(0)
    randomise(network)
    network.eval().requires_grad_(False).to_dtype(dtype)
    picture, text = noise(torch.empty(1, 3, 32, 32)).to(dtype), noise(torch.empty(2, 6, 24)).to(dtype)
    channels = config.dit.image_channels
    image = noise(torch.empty(1, 3, channels, 12, 8)).to(dtype) if channels else None
    id_kv = network.id_kv(picture, 0.1 * hierarchy().template[None])
    return Request(network, id_kv, text, image, noise(torch.empty(SHAPE)))


@pytest.fixture(scope="module", params=[PAPER, RELEASED], ids=["text-to-video", "image-to-video"])
def request_(request: pytest.FixtureRequest) -> Request:
    return make(request.param)


@pytest.fixture(scope="module")
def in_bfloat16() -> Request:
    return make(RELEASED, torch.bfloat16)


@contextmanager
def calls_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """The inputs of every call of a module."""
    seen: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    yield seen
    hook.remove()


@torch.inference_mode()
def by_hand(made: Request, row: int, t: int) -> Tensor:
    """The DiT for one of the two prompts, in float32."""
    dit = made.network.dit
    embedded = dit.embed(made.text[row : row + 1], *SIZE, made.image)
    latents = made.latents.to(dit.proj_out.weight.dtype)
    return dit(latents, torch.tensor([t]), embedded, made.id_kv).float()


@pytest.mark.parametrize("t", [999, 0])
@torch.inference_mode()
def test_guided(request_: Request, t: int) -> None:
    """u + s (c - u), the negative prompt first."""
    negative, positive = by_hand(request_, 0, t), by_hand(request_, 1, t)
    made = request_.predictor(guided=True)(request_.latents, t)
    torch.testing.assert_close(made, negative + SCALE * (positive - negative), rtol=1e-4, atol=1e-4)
    wrong_way_round = positive + SCALE * (negative - positive)
    assert (made - wrong_way_round).abs().max() > 0.1


@pytest.mark.parametrize("dit_of", ["eager", "fused", "folded"])
@pytest.mark.parametrize("guidance", ["batched", "in_turn"])
@torch.inference_mode()
def test_the_negative_prompt_may_have_a_face_of_its_own(
    guidance: Literal["batched", "in_turn"], dit_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a model guides by the photo; without guidance the prompt's face is the one."""
    monkeypatch.setenv("FANTASYID_KERNELS", "torch")
    made = make(PAPER)
    nobody = made.id_kv.roll(1, dims=-2).neg()
    negative, positive = by_hand(made._replace(id_kv=nobody), 0, 500), by_hand(made, 1, 500)
    assert (negative - by_hand(made, 0, 500)).abs().max() > 0.05, "the face matters"
    faces = torch.cat([nobody, made.id_kv], dim=2)
    dit = made.network.dit if dit_of == "eager" else fused.FusedDiT(made.network.dit, folds=dit_of == "folded")
    predict = dit_predictor(dit, faces, made.text, made.image, SIZE, SCALE, (500,), guidance)
    torch.testing.assert_close(
        predict(made.latents, 500), negative + SCALE * (positive - negative), rtol=1e-4, atol=1e-3
    )
    plain = dit_predictor(dit, faces, made.text[1:], made.image, SIZE, 1.0, (500,), guidance)
    torch.testing.assert_close(plain(made.latents, 500), positive, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dit_of", ["eager", "fused", "folded"])
@torch.inference_mode()
def test_the_negative_pass_may_skip_blocks(dit_of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that is skipped is one whose gates are shut."""
    monkeypatch.setenv("FANTASYID_KERNELS", "torch")
    made = make(PAPER)
    whole, positive = by_hand(made, 0, 500), by_hand(made, 1, 500)
    shut = make(PAPER)
    for layer in (0, 1):
        block = shut.network.dit.blocks[layer]
        assert isinstance(block, Block)
        for linear in (block.attn_mod.linear, block.ff_mod.linear):
            for rows in (linear.weight, linear.bias):
                rows.unflatten(0, (6, -1))[[2, 5]] = 0
    negative = by_hand(shut, 0, 500)
    assert (negative - whole).abs().max() > 0.05, "the blocks matter"
    dit = made.network.dit if dit_of == "eager" else fused.FusedDiT(made.network.dit, folds=dit_of == "folded")
    predict = dit_predictor(dit, made.id_kv, made.text, made.image, SIZE, SCALE, (500,), "batched", (0, 1))
    guided = negative + SCALE * (positive - negative)
    torch.testing.assert_close(predict(made.latents, 500), guided, rtol=1e-4, atol=1e-3)
    plain = dit_predictor(dit, made.id_kv, made.text[1:], made.image, SIZE, 1.0, (500,), "batched", (0, 1))
    torch.testing.assert_close(plain(made.latents, 500), positive, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_without_guidance(request_: Request) -> None:
    made = request_.predictor(guided=False)(request_.latents, 500)
    torch.testing.assert_close(made, by_hand(request_, 1, 500), rtol=0, atol=0)


@torch.inference_mode()
def test_latents_and_timestep_matter(request_: Request) -> None:
    predict = request_.predictor(guided=True)
    made = predict(request_.latents, 500)
    assert not torch.allclose(made, predict(request_.latents, 100))
    assert not torch.allclose(made, predict(request_.latents + 1, 500))
    assert torch.equal(made, predict(request_.latents, 500)), "nothing is left from call to call"


@pytest.mark.parametrize("guided", [True, False], ids=["guided", "plain"])
@torch.inference_mode()
def test_what_the_steps_share_is_computed_once(request_: Request, guided: bool) -> None:
    """Text projection (of both prompts together) and the image's part; the network itself once a step."""
    dit = request_.network.dit
    with (
        calls_of(dit.patch_embed.text_proj) as texts,
        calls_of(dit) as steps,
        calls_of(request_.network.tower) as faces,
    ):
        predict = request_.predictor(guided=guided)
        assert (len(texts), len(steps)) == (1, 0)
        for t in (999, 500, 1):
            predict(request_.latents, t)
    assert (len(texts), len(steps), len(faces)) == (1, 3, 0)
    assert len(texts[0]) == len(steps[0]) == 1 + guided


@pytest.mark.parametrize("guidance", ["batched", "in_turn"])
@torch.inference_mode()
def test_a_face_is_folded_once(guidance: Literal["batched", "in_turn"], monkeypatch: pytest.MonkeyPatch) -> None:
    """At 5B it takes about 1 GB, and two prompts are rendered in turn where memory is short."""
    monkeypatch.setenv("FANTASYID_KERNELS", "torch")
    made, folded = make(RELEASED), []
    monkeypatch.setattr(fused, "fold", lambda *arguments: folded.append(arguments) or fold(*arguments))
    dit = fused.FusedDiT(made.network.dit, folds=True)
    predict = dit_predictor(dit, made.id_kv, made.text, made.image, SIZE, SCALE, (999, 500), guidance)
    for t in (999, 500):
        predict(made.latents, t)
    assert len(folded) == dit.config.num_injections > 0


@pytest.mark.parametrize("guided", [True, False], ids=["guided", "plain"])
@torch.inference_mode()
def test_latents_stay_float32_in_a_bfloat16_model(in_bfloat16: Request, guided: bool) -> None:
    """From step to step; only what the network sees is bfloat16."""
    seen: list[torch.dtype] = []

    def on_step(step: Step, x: Tensor, history: Tensor | None) -> None:
        seen.append(x.dtype)
        assert history is not None and history.dtype == torch.float32

    with calls_of(in_bfloat16.network.dit) as steps:
        predict = in_bfloat16.predictor(guided=guided)
        solver = DPMSolver(ScheduleConfig(), 3, SeededNoise(1))
        denoise(predict, solver, in_bfloat16.latents, on_step=on_step)
    assert seen == [torch.float32] * 3
    assert [x.dtype for x in steps] == [torch.bfloat16] * 3


@torch.inference_mode()
def test_guidance_of_a_bfloat16_model_is_float32(in_bfloat16: Request) -> None:
    """Its two predictions are bfloat16; their combination is not rounded again."""
    outputs: list[Tensor] = []
    hook = in_bfloat16.network.dit.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    made = in_bfloat16.predictor(guided=True)(in_bfloat16.latents, 500)
    hook.remove()
    assert made.dtype == torch.float32 and [output.dtype for output in outputs] == [torch.bfloat16]
    negative, positive = outputs[0].double().chunk(2)
    exact = negative + SCALE * (positive - negative)
    torch.testing.assert_close(made.double(), exact, rtol=1e-6, atol=1e-6)
    assert (exact - exact.bfloat16().double()).abs().max() > 1e-3, "rounding would show"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: made._replace(text=torch.zeros(2, 7, 24)), "7 text tokens"),
        (lambda made: made._replace(image=torch.zeros(1, 2, 4, 12, 8)), "image latents of"),
        (lambda made: made._replace(image=None), "needs image latents"),
    ],
    ids=["text", "image of another size", "no image"],
)
def test_what_the_model_cannot_take(change: Callable[[Request], Request], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change(make(RELEASED)).predictor(guided=True)
