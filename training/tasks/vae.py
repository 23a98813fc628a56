"""The VAE: reconstruct single frames, then clips.

    loss = mean(w |x - y|) + g mean(w |grad x - grad y|) + s mean(w (x - y)^2) + k KL

w: 4 in the head's box, 1 elsewhere, of mean 1.

B batch, F frames, H W height / width in pixels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.optimiser import trainable
from fantasyid_engine.training.recipe import VaeStage
from fantasyid_engine.training.tasks.head_weights import head_weights
from fantasyid_engine.training.tasks.task import Batch, Task
from fantasyid_engine.vae.layout import channels_last
from fantasyid_engine.weights.model import Model


class VaeTask(Task):
    """`vae`.

    Raises:
        ConfigError: what is cut out is larger than the pictures, or no whole number of latents.
    """

    def __init__(self, model: Model, stage: VaeStage) -> None:
        super().__init__()
        scale, most = model.spatial_scale, min(model.frame_size)
        if stage.crop_steps and (stage.crop % scale or stage.crop > most):
            raise ConfigError(
                f"stage {stage.name}: crop is {stage.crop}; it must be a multiple of {scale} and at most {most}"
            )
        self.stage, self.vae = stage, model.vae
        channels_last(self.vae)

    def batch(self, samples: Sequence[TrainingSample], generators: Sequence[torch.Generator], step: int) -> Batch:
        """Whole clips, cut-outs, or one frame drawn of each, by what `step` is for; `noise` is the posterior's."""
        clips = [_known(sample.frames) for sample in samples]
        boxes = [_known(sample.boxes) for sample in samples]
        if step < self.stage.image_steps:
            at = [int(torch.randint(len(clip), (), generator=g)) for clip, g in zip(clips, generators, strict=True)]
            clips = [clip[i : i + 1] for clip, i in zip(clips, at, strict=True)]
            boxes = [box[i : i + 1] for box, i in zip(boxes, at, strict=True)]
        if self.stage.is_cropped(step):
            cut = [
                cut_out(*both, self.stage.crop, g)
                for both, g in zip(zip(clips, boxes, strict=True), generators, strict=True)
            ]
            clips, boxes = [clip for clip, _ in cut], [box for _, box in cut]
        noise = [torch.randn(self._latent_shape(clip), generator=g) for clip, g in zip(clips, generators, strict=True)]
        size = clips[0].shape[2:]
        weights = [head_weights(box, size, self.stage.face_weight) for box in boxes]
        return {"frames": torch.stack(clips), "weights": torch.stack(weights), "noise": torch.stack(noise)}

    def _latent_shape(self, clip_F3HW: Tensor) -> tuple[int, int, int, int]:
        config = self.vae.config
        frames = (len(clip_F3HW) - 1) // config["temporal_compression_ratio"] + 1
        scale = 2 ** (len(config["block_out_channels"]) - 1)
        return config["latent_channels"], frames, clip_F3HW.shape[2] // scale, clip_F3HW.shape[3] // scale

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The loss above, its parts, and the peak signal-to-noise ratio in dB."""
        x = _signed(batch["frames"])
        posterior = self._posterior(batch["frames"])
        (decoded,) = self.vae.decode(posterior.mean + posterior.std * batch["noise"], return_dict=False)
        y = torch.as_tensor(decoded).float()
        w = batch["weights"][:, None]
        plain = (w * (x - y).abs()).mean()
        edges = sum((w.narrow(d, 1, x.shape[d] - 1) * (x - y).diff(dim=d).abs()).mean() for d in (3, 4))
        squares = (w * (x - y).square()).mean()
        kl = posterior.kl().mean() / x[0].numel()
        loss = plain + self.stage.gradient_weight * edges
        loss = loss + self.stage.square_weight * squares + self.stage.kl_weight * kl
        psnr = 10 * torch.log10(4 / (x - y).square().mean().clamp_min(1e-10))
        return {"loss": loss, "l1": plain, "edges": torch.as_tensor(edges), "kl": kl, "psnr": psnr}

    def _posterior(self, frames_BF3HW: Tensor) -> DiagonalGaussianDistribution:
        (posterior,) = self.vae.encode(_signed(frames_BF3HW), return_dict=False)
        return posterior

    @torch.no_grad()
    def finish(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """The scale that gives latents unit deviation, measured on these clips; nothing where the encoder stays."""
        if not any(name.startswith("vae.encoder.") for name in trainable(self, self.stage)):
            return {}
        means = [self._posterior(batch["frames"].to(self.vae.device)).mean for batch in batches]
        deviation = torch.cat([mean.float().flatten() for mean in means]).std()
        return {"scaling_factor": 1 / float(deviation)}


def cut_out(clip_F3HW: Tensor, boxes_F4: Tensor, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A square of the clip, and the boxes in it; its middle is drawn from within the head, over all frames."""
    height, width = clip_F3HW.shape[2:]
    boxes = boxes_F4.float()
    low, high = boxes[:, :2].amin(0), boxes[:, 2:].amax(0)
    middle = low + (high - low) * torch.rand(2, generator=generator)
    left, top = ((middle - side / 2).round().long().clamp_min(0)).tolist()
    left, top = max(0, min(left, width - side)), max(0, min(top, height - side))
    shift = boxes.new_tensor([left, top, left, top])
    return clip_F3HW[:, :, top : top + side, left : left + side], boxes - shift


def _signed(frames_BF3HW: Tensor) -> Tensor:
    """Frames uint8 -> [B, 3, F, H, W] float32 from -1 to 1, channels last in memory."""
    x = 2 * frames_BF3HW.transpose(1, 2).float() / 255 - 1
    return x.contiguous(memory_format=torch.channels_last_3d)


def _known(value: Tensor | None) -> Tensor:
    if value is None:
        raise ConfigError("a VAE stage needs clips with frames and heads' boxes in their shards; leave it out")
    return value
