"""A whole model: networks, text encoder, tokenizer, VAE, schedule, and what a render takes from it by default."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from huggingface_hub import save_torch_state_dict
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, T5EncoderModel

from fantasyid_engine.atomic import atomic_folder
from fantasyid_engine.config.render import RenderConfig, ScheduleConfig
from fantasyid_engine.config.serialise import from_json_object, read_json_object, to_json_object
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.network import Network
from fantasyid_engine.models.shape_measures import MEASURES, ShapeMeasures
from fantasyid_engine.weights.faces import FaceNetworks, digests_that_matter, face_files, read_faces, save_faces
from fantasyid_engine.weights.folder import load_hierarchy, model_files, read_network, write_network
from fantasyid_engine.weights.manifest import file_digests, stated_digests, verify_files, write_manifest
from fantasyid_engine.weights.parts import (
    TIED,
    part_files,
    read_schedule,
    read_text_encoder,
    read_tokenizer,
    read_vae,
    schedule_values,
)
from fantasyid_engine.weights.shards import reading


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that a render needs of a model.

    `name` is its preset or folder. `digests` are the SHA-256 of its files by their path in the folder; of a model that
    was never in a folder, those of its parts' weights. `faces` are the networks that read real faces, as far as there
    are any.
    """

    name: str
    network: Network
    hierarchy: MeshHierarchy
    text_encoder: T5EncoderModel
    tokenizer: PreTrainedTokenizerBase
    vae: AutoencoderKLCogVideoX
    schedule: ScheduleConfig
    render: RenderConfig
    digests: Mapping[str, str]
    faces: FaceNetworks = field(default_factory=FaceNetworks)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Model":
        """Moves and casts all weights, but those that stay float32."""
        self.network.to_dtype(dtype).to(device)
        # Not their own `to`: diffusers warns of casting, to no purpose here.
        nn.Module.to(self.vae, device, dtype)
        nn.Module.to(self.text_encoder, device, dtype)
        self.faces.to(device)
        return self

    @property
    def fingerprint(self) -> str:
        """Hex digest of its weights, but of those that only read photos: two models that draw alike have the same.

        A model that guides by the photo has another: it needs more of a face.
        """
        drawing = dict(digests_that_matter(self.digests, kept=True, given=True))
        if self.render.guides_by_photo:
            drawing["guides_by_photo"] = "yes"
        return hashlib.sha256(json.dumps(drawing, sort_keys=True).encode()).hexdigest()

    @property
    def id_tokens_shape(self) -> tuple[int, int, int]:
        """Of a face's ID tokens, [1 or 2, K, C]; see `face.conditioning.Conditioning`."""
        config, injection = self.network.config, self.network.config.dit.injection
        return 2 if self.render.guides_by_photo else 1, config.num_id_tokens, injection.id_dim if injection else 0

    @property
    def takes_picture(self) -> bool:
        """Whether the photo is its first latent frame (image-to-video)."""
        return self.network.config.dit.image_channels > 0

    @property
    def reads_shape(self) -> bool:
        """Whether it reads vertices off the photo: with a regressor of its own, or with DECA and FLAME."""
        reads = self.network.config.shape is not None or (self.faces.deca is not None and self.faces.flame is not None)
        return self.network.config.takes_vertices and reads

    def reads_with_deca(self, origin: str) -> bool:
        """Whether vertices of that origin (`FaceRecord.vertices`) were read off the photo by DECA."""
        return origin == "photo" and self.network.config.shape is None

    @property
    def shape_names(self) -> tuple[str, ...]:
        """What of a face's shape it can change: its regressor's directions, or measures of the face."""
        if not self.reads_shape:
            return ()
        shape = self.network.config.shape
        return MEASURES if shape is None else shape.names

    def change_of_coefficients(self, change: Sequence[float]) -> Tensor:
        """A change by measures, in the order of `shape_names`, -> the smallest change of FLAME's coefficients [n].

        Raises:
            ValueError: the model has no FLAME, or it cannot move a measure.
        """
        flame = self.faces.flame
        if flame is None:
            raise ValueError(f"{self.name} has no FLAME")
        wanted = {name: value for name, value in zip(MEASURES, change, strict=True) if value}
        return ShapeMeasures(flame.template, flame.shape_basis).smallest_change(wanted)

    @property
    def spatial_scale(self) -> int:
        """Pixels along one side of a latent."""
        return 2 ** (len(self.vae.config["block_out_channels"]) - 1)

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of its videos in pixels."""
        dit = self.network.config.dit
        return dit.sample_height * self.spatial_scale, dit.sample_width * self.spatial_scale

    @property
    def frame_counts(self) -> list[int]:
        """Numbers of frames that it can make, rising.

        The VAE decodes its first chunk as one latent frame for the first picture and two for the rest, so that only
        odd numbers of latent frames give whole videos. Learned positions are for one length only.
        """
        dit = self.network.config.dit
        if dit.use_learned_positional_embeddings:
            return [dit.sample_frames]
        return list(range(1, dit.sample_frames + 1, 2 * dit.temporal_compression_ratio))


def load_model(
    folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.bfloat16, verify: bool = True
) -> Model:
    """Loads a whole model folder, in the authors' layout or our own.

    Args:
        folder: the model folder.
        device: where the weights go.
        dtype: of all floating-point weights but those that stay float32.
        verify: compare each file that is read with the folder's manifest, where it has one.

    Raises:
        WeightsError: files are missing, truncated or corrupt, or keys do not fit.
        ConfigError: a configuration is missing, describes what this engine does not run, or parts do not go together.
    """
    with reading(folder):
        files, device = model_files(folder), torch.device(device)
        used = [*files, *part_files(folder), *face_files(folder)]
        digests = verify_files(folder, used) if verify else stated_digests(folder, used)
        digests = digests or file_digests(used)
        network = read_network(folder, files, device, dtype)
        values = read_json_object(files.config, ConfigError)
        model = Model(
            name=os.fsencode(folder.resolve()).decode(errors="replace"),
            network=network,
            hierarchy=load_hierarchy(files.mesh, network.config.mesh),
            text_encoder=read_text_encoder(folder, device, dtype),
            tokenizer=read_tokenizer(folder),
            vae=read_vae(folder, device, dtype),
            schedule=read_schedule(folder),
            render=from_json_object(RenderConfig, values.get("render", {}), files.config),
            digests={path.relative_to(folder).as_posix(): digest for path, digest in digests.items()},
            faces=read_faces(folder, device, network.config.mesh.levels[0]),
        )
    _check_parts(model, folder)
    return model


def _check_parts(model: Model, folder: Path) -> None:
    dit, vae, text = model.network.config.dit, model.vae.config, model.text_encoder.config
    for what, ours, theirs in (
        ("latent channels", dit.out_channels, vae["latent_channels"]),
        ("temporal compression", dit.temporal_compression_ratio, vae["temporal_compression_ratio"]),
        ("text width", dit.text_embed_dim, text.d_model),
    ):
        if ours != theirs:
            raise ConfigError(f"{folder}: its transformer takes {what} {ours}, its VAE or text encoder gives {theirs}")
    try:
        model.render.check_layers(dit.num_layers)
    except ValueError as error:
        raise ConfigError(f"{folder}: {error}") from None
    if dit.sample_latent_frames % 2 == 0:
        raise ConfigError(
            f"{folder}: its transformer makes {dit.sample_frames} frames, {dit.sample_latent_frames} in latents; "
            "this VAE decodes odd numbers only"
        )
    if len(model.tokenizer) > text.vocab_size:
        raise ConfigError(
            f"{folder}: its tokenizer has {len(model.tokenizer)} tokens, its text encoder {text.vocab_size}"
        )


def save_model(model: Model, folder: Path) -> None:
    """Writes a model folder of our own layout, whole or not at all.

    Raises:
        OutputError: the folder exists and is not empty, or cannot be written.
    """
    with atomic_folder(folder) as temporary:
        write_network(model.network, model.hierarchy, temporary, {"render": to_json_object(model.render)})
        text, vae = temporary / "text_encoder", temporary / "vae"
        scheduler = temporary / "scheduler" / "scheduler_config.json"
        for path in (text, vae, scheduler.parent):
            path.mkdir()
        weights = {key: value for key, value in model.text_encoder.state_dict().items() if key != TIED}
        save_torch_state_dict(weights, text, filename_pattern="model{suffix}.safetensors")
        model.text_encoder.config.save_pretrained(text)
        pattern = "diffusion_pytorch_model{suffix}.safetensors"
        save_torch_state_dict(model.vae.state_dict(), vae, filename_pattern=pattern)
        model.vae.save_config(vae)
        model.tokenizer.save_pretrained(temporary / "tokenizer")
        scheduler.write_text(json.dumps(schedule_values(model.schedule), indent=1) + "\n")
        save_faces(model.faces, temporary)
        write_manifest(temporary)
