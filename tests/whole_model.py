"""Whole small models on disk, as users have them: networks, T5 with a SentencePiece tokenizer, VAE, schedule."""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import sentencepiece
import torch
from huggingface_hub import save_torch_state_dict
from transformers import T5Config, T5EncoderModel

from fantasyid_engine.config.render import RenderConfig, ScheduleConfig, VaeConfig
from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights.manifest import write_manifest
from fantasyid_engine.weights.model import Model
from fantasyid_engine.weights.parts import TIED, schedule_values
from fantasyid_engine.weights.untrained import make_vae
from tests.small import PAPER, RELEASED, hierarchy, randomise, write_released_folder

SENTENCES = (
    "a person turns the head to the left and smiles",
    "the man walks along a beach at sunset, wind in his hair",
    "a woman talks to the camera in a kitchen, warm light",
)
VAE = VaeConfig(block_out_channels=(8, 8, 8, 16), latent_channels=4, layers_per_block=1, norm_num_groups=4)
SIZE = (96, 64)
"""Height and width in pixels of the small models' videos: 12 x 8 latents."""


def write_tokenizer(folder: Path) -> int:
    """A SentencePiece model, as the release has it, trained here; returns the number of tokens."""
    folder.mkdir(parents=True)
    made = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=made,
        vocab_size=60,
        hard_vocab_limit=False,
        **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "minloglevel": 2},
    )
    (folder / "spiece.model").write_bytes(made.getvalue())
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    config = {"tokenizer_class": "T5Tokenizer", "model_max_length": 226, "extra_ids": 0, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue()).vocab_size()


def write_parts(folder: Path, text_dim: int, vae: VaeConfig = VAE, seed: int = 0) -> None:
    """text_encoder/, tokenizer/, vae/ and scheduler/ of a small model."""
    tokens = write_tokenizer(folder / "tokenizer")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = T5Config(
            vocab_size=tokens,
            d_model=text_dim,
            d_kv=4,
            d_ff=32,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
        text, autoencoder = T5EncoderModel(config), make_vae(vae)
    for part in ("text_encoder", "vae", "scheduler"):
        (folder / part).mkdir()
    weights = {key: value for key, value in text.state_dict().items() if key != TIED}
    save_torch_state_dict(weights, folder / "text_encoder", filename_pattern="model{suffix}.safetensors")
    text.config.save_pretrained(folder / "text_encoder")
    pattern = "diffusion_pytorch_model{suffix}.safetensors"
    save_torch_state_dict(autoencoder.state_dict(), folder / "vae", filename_pattern=pattern)
    autoencoder.save_config(folder / "vae")
    schedule = json.dumps(schedule_values(ScheduleConfig()))
    (folder / "scheduler" / "scheduler_config.json").write_text(schedule)


def write_released_model(folder: Path, mesh: MeshHierarchy | None = None) -> Path:
    """A small model of the released form in the authors' layout, with a manifest."""
    mesh = mesh or hierarchy()
    config = replace(RELEASED, mesh=MeshConfig(levels=mesh.levels, spiral_length=mesh.spirals[0].shape[1]))
    network = Network(config, mesh)
    randomise(network)
    write_released_folder(network, folder)
    mesh.save(folder / "face_encoder" / "mesh.safetensors")
    write_parts(folder, config.dit.text_embed_dim)
    write_manifest(folder)
    return folder


def paper_model() -> Model:
    """A small model of the paper's form, in memory, that takes the picture as its crop."""
    from transformers import ByT5Tokenizer

    mesh = hierarchy()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network, vae = Network(PAPER, mesh), make_vae(VAE)
        text = T5EncoderModel(
            T5Config(
                vocab_size=384,
                d_model=PAPER.dit.text_embed_dim,
                d_kv=4,
                d_ff=32,
                num_layers=1,
                num_heads=2,
                feed_forward_proj="gated-gelu",
            )
        )
    randomise(network)
    return Model(
        name="small-paper",
        network=network.eval(),
        hierarchy=mesh,
        text_encoder=text.eval(),
        tokenizer=ByT5Tokenizer(),
        vae=vae.eval(),
        schedule=ScheduleConfig(),
        render=RenderConfig(face="picture", crop_size=32, template_vertices=True, num_inference_steps=4),
        digests={"network": "0" * 64},
    )
