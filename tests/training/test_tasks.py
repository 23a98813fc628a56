"""What each task draws and what its loss is."""

from dataclasses import replace

import pytest
import torch

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.evaluation.vocabulary import VALUES
from fantasyid_engine.sampling.schedule import alphas_cumprod
from fantasyid_engine.training.draws import generator_at
from fantasyid_engine.training.feed import Feed, validation_batches
from fantasyid_engine.training.optimiser import trainable
from fantasyid_engine.training.recipe import DiffusionStage, TextStage, VaeStage
from fantasyid_engine.training.tasks.diffusion import DiffusionTask
from fantasyid_engine.training.tasks.head_weights import head_weights, latent_boxes
from fantasyid_engine.training.tasks.make import make_task
from fantasyid_engine.training.tasks.motion import DEVIATIONS, latent_motion
from fantasyid_engine.training.tasks.text import TextTask
from fantasyid_engine.training.tasks.vae import VaeTask, cut_out
from tests.training.cases import clips, stage, tiny_model, with_latents


def diffusion(name: str = "identity", *, cached_text: bool = False, **changes: object) -> DiffusionTask:
    made = stage(name, **changes)
    assert isinstance(made, DiffusionStage)
    return DiffusionTask(tiny_model(), made, views=3, cached_text=cached_text)


def generators(count: int, start: int = 0) -> list[torch.Generator]:
    return [generator_at(0, 0, start + i) for i in range(count)]


def test_a_sample_is_drawn_alike_in_any_batch() -> None:
    task = diffusion(null_text=0.5, null_face_tokens=0.5)
    whole = task.batch(with_latents(), generators(4), 0)
    parts = [task.batch(with_latents()[i : i + 2], generators(2, i), 0) for i in (0, 2)]
    for name, value in whole.items():
        assert torch.equal(value, torch.cat([part[name] for part in parts])), name


def test_shares_of_null_text_and_null_face_tokens() -> None:
    task = diffusion(null_text=0.1, null_face_tokens=0.3)
    batch = task.batch(with_latents() * 250, generators(1000), 0)
    assert 70 < int(batch["null_text"].sum()) < 130
    assert 250 < int((~batch["keep_face"]).sum()) < 350
    assert batch["t"].min() < 10 and batch["t"].max() > 990
    empty = task.tokenizer("", padding="max_length", max_length=32, return_tensors="pt").input_ids[0]
    nulls = (batch["text_ids"] == empty).all(dim=1)
    assert torch.equal(nulls, batch["null_text"])


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_timesteps_are_drawn_with_the_density_asked_for(power: float) -> None:
    t = diffusion(timestep_power=power).batch(with_latents() * 500, generators(2000), 0)["t"]
    for edge in (250, 500, 750):
        assert float((t < edge).float().mean()) == pytest.approx((edge / 1000) ** power, abs=0.04)
    assert t.max() <= 999


def test_cached_text_is_left_out_as_the_empty_prompt() -> None:
    task = diffusion(cached_text=True, null_text=1.0)
    text = torch.ones(32, 64, dtype=torch.float16)
    batch = task.batch([replace(sample, text=text) for sample in with_latents()[:2]], generators(2), 0)
    with torch.no_grad():
        ids = task.tokenizer("", padding="max_length", max_length=32, return_tensors="pt").input_ids
        empty = tiny_model().text_encoder(ids).last_hidden_state[0]
    torch.testing.assert_close(batch["text"], empty.expand(2, -1, -1))
    assert not hasattr(task, "text_encoder")


def test_latents_are_drawn_from_the_posterior_at_the_models_scale() -> None:
    task = diffusion()
    mean, log_variance = torch.full((1, 8, 32, 32), 3.0), torch.full((1, 8, 32, 32), -2.0)
    sample = replace(with_latents()[0], moments=torch.cat([mean, log_variance], dim=1).half())
    latents = task.batch([sample], generators(1), 0)["latents"] / task.scaling_factor
    assert float(latents.mean()) == pytest.approx(3, abs=0.02)
    assert float(latents.std()) == pytest.approx(torch.tensor(-1.0).exp().item(), rel=0.03)


def test_the_loss_is_that_of_the_velocity() -> None:
    task = diffusion()
    batch = task.batch(with_latents()[:1], generators(1), 0)
    with torch.no_grad():
        loss = task(batch)["loss"]
        alpha = alphas_cumprod(tiny_model().schedule)[int(batch["t"])]
        z, noise = batch["latents"].double(), batch["noise"].double()
        x = (alpha**0.5 * z + (1 - alpha) ** 0.5 * noise).float()
        text = task.text_encoder(batch["text_ids"]).last_hidden_state
        embedded = task.dit.embed(text, 3, 8, 8)
        features = task.tower(
            (batch["view"].float() / 255 - torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None])
            / torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None]
        )
        predicted = task.dit(x, batch["t"], embedded, task.conditioner(features, batch["vertices"]))
    wanted = alpha**0.5 * noise - (1 - alpha) ** 0.5 * z
    assert float(loss) == pytest.approx(float((predicted - wanted).square().mean()), rel=1e-4)


def test_pictures_are_first_frames_alone() -> None:
    sample = with_latents()[0]
    assert sample.moments is not None
    first = replace(sample, moments=sample.moments[:1])
    pictures = diffusion(pictures=True)
    batch = pictures.batch([sample], generators(1), 0)
    assert batch["latents"].shape[1] == 1 < diffusion().batch([sample], generators(1), 0)["latents"].shape[1]
    whole = diffusion().batch([first], generators(1), 0)
    assert all(torch.equal(batch[name], whole[name]) for name in whole)
    assert float(pictures(batch)["loss"].detach()) > 0


def test_pictures_come_between_clips() -> None:
    found = stage("identity", steps=6, picture_batch=4, batch_size=2)
    assert isinstance(found, DiffusionStage) and found.batches == (2, 4)
    assert [found.batch_at(step) for step in range(6)] == [4, 2, 4, 2, 4, 2]
    assert [found.position_at(step) for step in range(7)] == [0, 4, 6, 10, 12, 16, 18]
    task = DiffusionTask(tiny_model(), found, views=6, cached_text=False)
    latents = [task.batch(with_latents()[:2], generators(2), step)["latents"] for step in (2, 3)]
    assert [one.shape[1] for one in latents] == [1, 3]
    plain = stage("identity", steps=5, batch_size=2)
    assert plain.batches == (2,) and [plain.position_at(step) for step in range(3)] == [0, 2, 4]
    with pytest.raises(ValueError, match="steps is 5; it must be even"):
        stage("identity", steps=5, picture_batch=4)
    with pytest.raises(ValueError, match="picture_batch is 4; it must be 0 where all"):
        stage("identity", steps=6, picture_batch=4, pictures=True)
    with pytest.raises(ConfigError, match="a batch of 2 cannot be shared out evenly to 4"):
        Feed(task, found, with_latents(), 0, 0, 0, 4).check()


def test_errors_in_the_heads_box_weigh_more() -> None:
    """Where the head is all there is to predict, the weighted loss is above the plain one; elsewhere below."""
    box = torch.tensor([8.0, 8, 24, 24]).expand(9, 4)
    samples = [replace(sample, boxes=box) for sample in with_latents()[:2]]
    task, plain = diffusion(face_weight=5.0, pictures=True), diffusion(pictures=True)
    batch = task.batch(samples, generators(2), 0)
    assert batch["weights"].shape == (2, 1, 8, 8)
    assert torch.equal(batch["weights"][0, 0] > 1, torch.nn.functional.pad(torch.ones(4, 4), (2, 2, 2, 2)).bool())
    with torch.no_grad():
        found = task(batch)
        assert float(found["plain"]) == pytest.approx(float(plain(plain.batch(samples, generators(2), 0))["loss"]))
        for inside, above in ((True, True), (False, False)):
            mask = (batch["weights"][:, :, None] > 1) == inside
            large = task(batch | {"noise": torch.where(mask, 30 * batch["noise"], 0 * batch["noise"])})
            assert (large["loss"] > large["plain"]) == above
    with pytest.raises(ConfigError, match=r"has no boxes, which this stage learns from"):
        task.batch([replace(samples[0], boxes=None)], generators(1), 0)


def test_a_latents_box_is_around_the_head_in_all_its_frames() -> None:
    boxes = torch.tensor([[8.0, 4, 16, 12], [0, 4, 8, 12], [4, 8, 12, 16], [20, 20, 24, 24], [16, 16, 20, 28]])
    wanted = [[2.0, 1, 4, 3], [0, 1, 3, 4], [4, 4, 6, 7]]
    assert latent_boxes(boxes, 4, 2).tolist() == wanted
    assert latent_boxes(boxes[:1], 4, 2).tolist() == wanted[:1]


def test_motion_is_learnt_by_the_layers_before_the_middle() -> None:
    """Its error reaches them and the head, not what is behind; the velocity's is what it is without the head."""
    samples = [replace(sample, motion=torch.randn(9, len(DEVIATIONS))) for sample in with_latents()[:2]]
    task, plain = diffusion(motion_weight=0.5).requires_grad_(True), diffusion()
    batch = task.batch(samples, generators(2), 0)
    found, velocity = task(batch), plain(plain.batch(samples, generators(2), 0))["loss"]
    torch.testing.assert_close(found["loss"], velocity + 0.5 * found["motion"])
    found["motion"].backward()
    reached = {name for name, parameter in task.named_parameters() if parameter.grad is not None}
    half = len(task.dit.blocks) // 2
    before = {name for name in reached if name.startswith("dit.blocks.")}
    assert before and all(int(name.split(".")[2]) < half for name in before)
    assert {name for name, _ in task.named_parameters() if name.startswith("motion.")} <= reached
    with pytest.raises(ConfigError, match=r"has no motion, which this stage learns from"):
        task.batch([replace(samples[0], motion=None)], generators(1), 0)


def test_a_latents_motion_is_its_frames_mean() -> None:
    motion = torch.tensor([[1.0, 10], [2, 20], [4, 40], [5, 50], [5, 70]])
    assert latent_motion(motion, 2).tolist() == [[1, 10], [3, 30], [5, 60]]
    assert latent_motion(motion[:1], 2).tolist() == [[1, 10]]


def test_a_text_stage_sees_no_face() -> None:
    task = diffusion("text")
    batch = task.batch(with_latents()[:2], generators(2), 0)
    assert not {"view", "vertices", "keep_face"} & batch.keys()
    assert not hasattr(task, "tower") and not hasattr(task, "conditioner")
    assert task(batch)["loss"].ndim == 0


def test_images_come_before_clips_and_positions_go_on() -> None:
    found = stage("vae", steps=10, image_steps=4, image_batch=3, batch_size=2)
    assert [found.batch_at(step) for step in (0, 3, 4, 9)] == [3, 3, 2, 2]
    positions = [found.position_at(step) for step in range(11)]
    assert positions == [0, 3, 6, 9, 12, 14, 16, 18, 20, 22, 24]
    assert isinstance(found, VaeStage)
    task = VaeTask(tiny_model(), found)
    assert task.batch(clips()[:3], generators(3), 3)["frames"].shape == (3, 1, 3, 32, 32)
    assert task.batch(clips()[:2], generators(2), 4)["frames"].shape == (2, 9, 3, 32, 32)


def test_clips_are_cut_out_around_the_head_in_between() -> None:
    found = stage("vae", steps=10, image_steps=3, image_batch=3, crop_steps=4, crop_batch=4, crop=16, batch_size=2)
    assert [found.batch_at(step) for step in range(10)] == [3, 3, 3, 4, 4, 4, 4, 2, 2, 2]
    assert [found.position_at(step) for step in range(11)] == [0, 3, 6, 9, 13, 17, 21, 25, 27, 29, 31]
    assert isinstance(found, VaeStage)
    task = VaeTask(tiny_model(), found)
    shapes = {step: tuple(task.batch(clips()[:2], generators(2), step)["frames"].shape) for step in (2, 3, 6, 7)}
    assert shapes == {2: (2, 1, 3, 16, 16), 3: (2, 9, 3, 16, 16), 6: (2, 9, 3, 16, 16), 7: (2, 9, 3, 32, 32)}
    with pytest.raises(ValueError, match="crop_steps"):
        stage("vae", steps=10, image_steps=3, crop_steps=8)
    assert found.batches == (2, 3, 4)
    with pytest.raises(ConfigError, match="a batch of 2 cannot be shared out evenly to 3"):
        Feed(task, found, clips(), 0, 0, 0, 3).check()
    Feed(task, replace(found, batch_size=3, crop_batch=6), clips(), 0, 0, 0, 3).check()
    for crop in (18, 36):
        with pytest.raises(ConfigError, match=f"crop is {crop}; it must be a multiple of 4 and at most 32"):
            VaeTask(tiny_model(), replace(found, crop=crop))


def test_what_is_cut_out_lies_where_its_boxes_say() -> None:
    """A white head on black, moving; its middle is always inside, and the picture's edges are never crossed."""
    clip, boxes = torch.zeros(3, 3, 32, 40, dtype=torch.uint8), torch.zeros(3, 4)
    for frame, left in enumerate((20, 22, 24)):
        boxes[frame] = torch.tensor([left, 4, left + 12, 18])
        clip[frame, :, 4:18, left : left + 12] = 255
    places = set()
    for number in range(150):
        cut, inside = cut_out(clip, boxes, 16, generators(1, number)[0])
        assert cut.shape == (3, 3, 16, 16) and cut.any()
        for picture, (left, top, right, bottom) in zip(cut, inside.round().long().clamp(0, 16).tolist(), strict=True):
            white = torch.zeros(16, 16, dtype=torch.uint8)
            white[top:bottom, left:right] = 255
            assert torch.equal(picture[0], white)
        places.add(tuple(inside[0].tolist()))
    assert len(places) > 20


def test_heads_weigh_more_and_all_weighs_one() -> None:
    weights = head_weights(torch.tensor([[8.0, 4.0, 16.0, 20.0], [0, 0, 32, 32]]), (32, 32), 4.0)
    assert weights.shape == (2, 32, 32)
    assert float(weights[0, 10, 10] / weights[0, 0, 0]) == pytest.approx(4)
    assert int((weights[0] > weights[0, 0, 0]).sum()) == 8 * 16
    torch.testing.assert_close(weights.mean((1, 2)), torch.ones(2))
    assert float(weights[1].std()) == 0


def test_the_vaes_scale_is_measured() -> None:
    found = stage("vae", image_steps=0)
    assert isinstance(found, VaeStage)
    task = VaeTask(tiny_model(), found)
    batches = [task.batch(clips()[:2], generators(2), 0)]
    scale = task.finish(batches)["scaling_factor"]
    with torch.no_grad():
        (posterior,) = task.vae.encode(2 * batches[0]["frames"].transpose(1, 2).float() / 255 - 1, return_dict=False)
    assert float((scale * posterior.mean).std()) == pytest.approx(1, rel=1e-3)


def test_a_decoder_alone_leaves_the_scale() -> None:
    """Latents are what they were; another scale would be of other latents than the DiT learned."""
    found = stage("vae", image_steps=0, trainable=("vae.decoder.*",))
    assert isinstance(found, VaeStage)
    task = VaeTask(tiny_model(), found)
    assert task.finish([task.batch(clips()[:2], generators(2), 0)]) == {}


@pytest.mark.parametrize(
    ("name", "without", "message"),
    [
        ("tower", {"look": None}, "its samples say nothing of shape and look; only avatars' do"),
        ("vae", {"frames": None}, "a VAE stage needs clips with frames and heads' boxes"),
        ("words", {"look": None}, "stage words: its samples are of no avatars; only their prompts have a vocabulary"),
    ],
)
def test_samples_that_lack_what_a_stage_needs(name: str, without: dict[str, None], message: str) -> None:
    samples = [replace(clip, **without) for clip in clips()[:2]]
    found = TextStage(name=name, steps=2) if name == "words" else stage(name)
    with pytest.raises(ConfigError, match=message):
        make_task(found, tiny_model(), samples, views=3, cached_text=False, seed=0).batch(samples, generators(2), 0)


def test_what_no_model_keeps_starts_alike_each_time() -> None:
    one, other, third = (
        make_task(stage("tower"), tiny_model(), clips(), views=3, cached_text=False, seed=seed) for seed in (0, 0, 1)
    )
    torch.manual_seed(99)
    look = one.state_dict()["look.hidden.weight"]
    assert torch.equal(look, other.state_dict()["look.hidden.weight"])
    assert not torch.equal(look, third.state_dict()["look.hidden.weight"])


def test_looks_are_read_off_the_id_tokens_too() -> None:
    patterns = ("tower.*", "shape.*", "look.*", "token_look.*", "conditioner.*", "!conditioner.key_values.*")
    found = stage("tower", trainable=patterns)
    task = make_task(found, tiny_model(), clips(), views=3, cached_text=False, seed=0).requires_grad_(True)
    losses = task(task.batch(clips(), generators(4), 0))
    total = losses["shape"] + losses["look"] + losses["token_look"]
    assert float(losses["loss"].detach()) == pytest.approx(float(total.detach()))
    losses["token_look"].backward()
    for name, weight in trainable(task, found).items():
        reached = weight.grad is not None and bool(weight.grad.any())
        assert reached is not name.startswith(("shape.", "look.")), name
    plain = make_task(stage("tower"), tiny_model(), clips(), views=3, cached_text=False, seed=0)
    assert not hasattr(plain, "conditioner")


def test_a_batch_is_cut_into_equal_shares() -> None:
    task, found = diffusion(), stage("identity", batch_size=4, micro_batch=1, steps=3)
    whole = Feed(task, replace(found, micro_batch=None), with_latents(), 0, 0, 0, 1).micro_batches(2)
    shares = [Feed(task, found, with_latents(), 0, 0, rank, 2).micro_batches(2) for rank in (0, 1)]
    assert [len(share) for share in shares] == [2, 2]
    for name, value in whole[0].items():
        assert torch.equal(value, torch.cat([batch[name] for share in shares for batch in share])), name


def test_validation_draws_the_same_each_time_and_not_what_training_draws() -> None:
    task, found = diffusion(), stage("identity")
    one, other = (validation_batches(task, with_latents(), found, 0, 0) for _ in range(2))
    training = Feed(task, found, with_latents(), 0, 0, 0, 1).micro_batches(0)
    assert torch.equal(one[0]["noise"], other[0]["noise"])
    assert not any(torch.equal(one[0]["noise"][i], noise) for i in range(4) for noise in training[0]["noise"])


def test_the_text_encoder_learns_what_prompts_name() -> None:
    """Values by their place, 0 for what a prompt does not name; the loss is the mean cross-entropy of all heads."""
    model = tiny_model()
    task = TextTask(model, seed=1)
    prompts = ["a person nods on a plain red wall, warm light from the left", "someone smiles"]
    samples = [replace(clips()[0], prompt=prompt) for prompt in prompts]
    batch = task.batch(samples, generators(2), 0)
    named = {name: batch[name].tolist() for name in VALUES}
    assert named == {
        "motion": [VALUES["motion"].index("nod") + 1, VALUES["motion"].index("smile") + 1],
        "expression": [0, 0],
        "background": [VALUES["background"].index("plain") + 1, 0],
        "colour": [VALUES["colour"].index("red") + 1, 0],
        "light_from": [VALUES["light_from"].index("left") + 1, 0],
        "light_colour": [VALUES["light_colour"].index("warm") + 1, 0],
    }
    with torch.no_grad():
        found = task(batch)
        means = model.text_encoder(batch["text_ids"]).last_hidden_state.mean(1)
        logs = {name: torch.log_softmax(task.named[name](means), 1) for name in VALUES}
    right = [logs[name][i].argmax() == batch[name][i] for name in VALUES for i in range(2)]
    expected = -torch.stack([logs[name][i, batch[name][i]] for name in VALUES for i in range(2)]).mean()
    assert float(found["loss"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(found["right"]) == pytest.approx(sum(map(float, right)) / len(right))
