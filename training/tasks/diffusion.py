"""The DiT, with or without faces: predict the velocity or the noise of noised latents.

B batch, F latent frames, C channels, H W latent height / width, L text tokens, S side of a face picture, V vertices.
Source: FantasyID paper, section 3.1 and 4.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.face.tower_input import clip_normalised
from fantasyid_engine.sampling.schedule import alphas_cumprod
from fantasyid_engine.text.encoder import TextEncoder, token_ids
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.draws import chance
from fantasyid_engine.training.objective import Prediction, noised, target
from fantasyid_engine.training.recipe import DiffusionStage
from fantasyid_engine.training.tasks.head_weights import head_weights, latent_boxes
from fantasyid_engine.training.tasks.motion import MotionReader, latent_motion, middle_of
from fantasyid_engine.training.tasks.task import Batch, Task
from fantasyid_engine.weights.model import Model


class DiffusionTask(Task):
    """`dit`, and with faces `tower` and `conditioner`; `text_encoder` unless text tokens are cached.

    Where the stage weighs motion, also `motion`, a head that no model keeps.
    """

    alphas: Tensor

    def __init__(self, model: Model, stage: DiffusionStage, *, views: int, cached_text: bool, seed: int = 0) -> None:
        super().__init__()
        self.stage, self.views, self.cached_text = stage, views, cached_text
        self.tokenizer: PreTrainedTokenizerBase = model.tokenizer
        self.prediction: Prediction = model.schedule.prediction_type
        self.scaling_factor: float = model.vae.config["scaling_factor"]
        self.scales = model.spatial_scale, model.network.config.dit.temporal_compression_ratio
        self.text_length = model.network.config.dit.max_text_seq_length
        self.register_buffer("alphas", torch.tensor(alphas_cumprod(model.schedule)), persistent=False)
        self.dit = model.network.dit
        if stage.motion_weight:
            self.motion = MotionReader(self.dit, seed=seed)
        if cached_text:
            self.null_tokens = (
                TextEncoder(model.text_encoder, model.tokenizer, self.text_length, 1)("").tokens[0].float()
            )
        else:
            self.text_encoder = model.text_encoder
        if stage.faces:
            self.tower, self.conditioner = model.network.tower, model.network.conditioner

    def batch(self, samples: Sequence[TrainingSample], generators: Sequence[torch.Generator], step: int) -> Batch:
        """Draws of each sample its view, null text, null face, timestep, the posterior's noise and the latents'."""
        frames = 1 if self.stage.is_pictures(step) else None
        drawn = [self._draw(sample, frames, generator) for sample, generator in zip(samples, generators, strict=True)]
        batch = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
        null = batch["null_text"]
        if self.cached_text:
            tokens = torch.stack([_known(sample, "text").float() for sample in samples])
            batch["text"] = torch.where(null[:, None, None], self.null_tokens.cpu(), tokens)
        else:
            prompts = ["" if left_out else s.prompt for s, left_out in zip(samples, null.tolist(), strict=True)]
            batch["text_ids"] = token_ids(self.tokenizer, prompts, self.text_length)
        return batch

    def _draw(self, sample: TrainingSample, frames: int | None, generator: torch.Generator) -> Batch:
        view = int(torch.randint(min(self.views, len(sample.views)), (), generator=generator))
        null_text, null_face = (chance(x, generator) for x in (self.stage.null_text, self.stage.null_face_tokens))
        level = torch.rand((), generator=generator) ** (1 / self.stage.timestep_power)
        t = (len(self.alphas) * level).long().clamp(max=len(self.alphas) - 1)
        moments = _known(sample, "moments")[:frames]
        mean, log_variance = moments.float().chunk(2, dim=1)
        spread = torch.randn(mean.shape, generator=generator)
        drawn = {"null_text": torch.tensor(null_text), "t": t}
        drawn["latents"] = self.scaling_factor * (mean + torch.exp(0.5 * log_variance.clamp(-30, 20)) * spread)
        drawn["noise"] = torch.randn(mean.shape, generator=generator)
        if self.stage.face_weight != 1:
            boxes = latent_boxes(_known(sample, "boxes"), *self.scales)[: len(mean)]
            drawn["weights"] = head_weights(boxes, mean.shape[2:], self.stage.face_weight)
        if self.stage.motion_weight:
            drawn["motion"] = latent_motion(_known(sample, "motion"), self.scales[1])[: len(mean)]
        if self.stage.faces:
            drawn["view"], drawn["vertices"] = sample.views[view], sample.vertices
            drawn["keep_face"] = torch.tensor(not null_face)
        return drawn

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Mean squared error over the batch, weighted where the stage weighs heads; and the motion's."""
        z, noise, t = batch["latents"], batch["noise"], batch["t"]
        alpha_B = self.alphas[t]
        text_BLC = batch["text"] if self.cached_text else self.text_encoder(batch["text_ids"]).last_hidden_state
        embedded = self.dit.embed(text_BLC, z.shape[1], z.shape[3], z.shape[4])
        with middle_of(self.dit) as middle:
            predicted = self.dit(noised(z, noise, alpha_B), t, embedded, self._id_kv(batch))
        squared = (predicted.float() - target(self.prediction, z, noise, alpha_B)).square()
        losses = {"loss": squared.mean()}
        if "weights" in batch:
            losses = {"loss": (batch["weights"][:, :, None] * squared).mean(), "plain": squared.mean()}
        if "motion" in batch:
            losses["motion"] = self.motion.error(middle[0], batch["motion"])
            losses["loss"] = losses["loss"] + self.stage.motion_weight * losses["motion"]
        return losses

    def _id_kv(self, batch: Batch) -> Tensor | None:
        if not self.stage.faces:
            return None
        features = self.tower(clip_normalised(batch["view"].float() / 255))
        return self.conditioner(features, batch["vertices"], batch["keep_face"])


def _known(sample: TrainingSample, name: str) -> Tensor:
    value = getattr(sample, name)
    if value is None:
        raise ConfigError(f"{sample.key} has no {name}, which this stage learns from; prepare the clips again")
    return value
