"""Tiled VAE decode against diffusers' own tiling: blending alone, and decoding with seams measured.

    python benchmarks/bench_vae_tiling.py

Blending: ready pixels of all tiles -> RGB integers of the whole video. diffusers' `tiled_decode` runs on a decoder that
hands out the ready pixels, then its `VideoProcessor` and the rounding to 8 bits.
Decoding: seconds, peak of resident memory, and PSNR against the untiled decode. The weights are random: there is no
trained VAE here, so PSNR says how much of the untiled picture the tiles keep, not how visible a seam is.
"""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.video_processor import VideoProcessor
from numpy.typing import NDArray
from report import medians_s, peak_bytes, write_report
from torch import Tensor

from fantasyid_engine._native import TileBlender, TilePlan
from fantasyid_engine.config.render import VaeConfig
from fantasyid_engine.vae.decode import chunks, decode, tile_plan
from fantasyid_engine.weights.untrained import make_vae

MIB = 2**20
FRAMES, HEIGHT, WIDTH = 49, 480, 720
DECODE = VaeConfig(block_out_channels=(32, 64, 64, 128), layers_per_block=2, norm_num_groups=8)
SIZE, TILE, LATENT_FRAMES = (24, 40), (12, 20), 3
"""diffusers' tiling gives a picture of another size for most tiles; these fit its overlaps of 1/6 and 1/5."""


class Ready(torch.nn.Module):
    """Stands in for the decoder: hands out pixels that are there already."""

    def __init__(self, pixels: Iterator[Tensor]) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, latents: Tensor, conv_cache: None) -> tuple[Tensor, None]:
        return next(self.pixels), None


def bench_blending() -> dict[str, Any]:
    vae = make_vae(VaeConfig(block_out_channels=(8, 8, 8, 8), norm_num_groups=4, layers_per_block=1)).eval()
    vae.enable_tiling(HEIGHT // 2, WIDTH // 2, 1 / 6, 1 / 5)
    latents = torch.zeros(1, 16, 13, HEIGHT // 8, WIDTH // 8)
    generator = torch.Generator().manual_seed(0)
    processor = VideoProcessor(vae_scale_factor=8)
    theirs = [
        torch.rand(1, 3, 9 if start == 0 else 8, min(HEIGHT - 8 * y, 240), min(WIDTH - 8 * x, 360), generator=generator)
        for y, x in product(range(0, 60, 25), range(0, 90, 36))
        for start, _ in chunks(13)
    ]

    def diffusers_way() -> NDArray[np.uint8]:
        vae.decoder = Ready(iter([pixels.clone() for pixels in theirs]))
        video = vae.tiled_decode(latents).sample
        return (processor.postprocess_video(video, "np")[0] * 255).round().astype(np.uint8)

    plan = TilePlan(HEIGHT // 8, WIDTH // 8, 30, 45, 5, 9).scaled(8)
    ours = [
        [torch.rand(3, 9 if start == 0 else 8, h, w, generator=generator).numpy() for _, _, h, w in plan.tiles]
        for start, _ in chunks(13)
    ]

    def native_way() -> NDArray[np.uint8]:
        blender, made = TileBlender(plan, FRAMES), 0
        for tiles in ours:
            for i, pixels in enumerate(tiles):
                blender.add(i, made, pixels)
            made += tiles[0].shape[1]
        return blender.frames()

    check_blend(native_way()[0], [pixels[:, 0] for pixels in ours[0]], plan)
    clones = medians_s({"clones": lambda: [pixels.clone() for pixels in theirs]}, 5)["clones"]
    seconds = medians_s({"diffusers": diffusers_way, "native": native_way}, 7)
    seconds["diffusers"] -= clones  # its blending writes into the tiles, so each round needs new ones
    return {
        "what": f"{FRAMES} frames of {HEIGHT} x {WIDTH}",
        "tiles": {"diffusers": len(theirs) // len(chunks(13)), "native": len(plan)},
        "median_s": seconds,
        "ratio": seconds["diffusers"] / seconds["native"],
    }


def check_blend(frame: NDArray[np.uint8], tiles: list[NDArray[np.float32]], plan: TilePlan) -> None:
    """No figure for a blend that is wrong."""
    plain = np.zeros((HEIGHT, WIDTH, 3))
    for i, (top, left, height, width) in enumerate(plan.tiles.tolist()):
        part = tiles[i].transpose(1, 2, 0) * plan.weights(i)[..., None]
        plain[top : top + height, left : left + width] += part
    off = np.abs(np.clip(plain / 2 + 0.5, 0, 1) * 255 - frame).max()
    if off > 1:
        raise SystemExit(f"the native blend is {off:.1f} levels off a plain one: no figures")


def bench_decoding(kind: str) -> dict[str, Any]:
    torch.manual_seed(1)
    vae: AutoencoderKLCogVideoX = make_vae(DECODE).eval().requires_grad_(False)
    latents = latents_of(kind)
    z = latents.transpose(1, 2) / DECODE.scaling_factor

    def diffusers_way() -> Tensor:
        vae.enable_tiling(TILE[0] * 8, TILE[1] * 8, 1 / 6, 1 / 5)
        with torch.inference_mode():
            made = vae.decode(z).sample
        vae.disable_tiling()
        return (made[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 3, 0)

    ways = {
        "whole": lambda: decode(vae, latents, bits=16),
        "diffusers tiles": diffusers_way,
        "lockstep tiles": lambda: decode(vae, latents, TILE, bits=16),
    }
    whole = ways["whole"]() / 65535
    peaks = {name: peak_bytes(way) / MIB for name, way in ways.items()}
    seconds = medians_s(ways, 3)
    quality = {
        "diffusers tiles": psnr(diffusers_way().numpy(), whole),
        "lockstep tiles": psnr(decode(vae, latents, TILE, bits=16) / 65535, whole),
    }
    maps = DECODE.block_out_channels[0] * 9 * SIZE[0] * SIZE[1] * 64 * 4 / MIB
    return {
        "latents": kind,
        "size": [LATENT_FRAMES, *SIZE],
        "tile": list(TILE),
        "tiles": len(tile_plan(latents, TILE)),
        "median_s": seconds,
        "peak_mib": peaks,
        "peak_feature_maps": {name: peak / maps for name, peak in peaks.items()},
        "psnr_db": quality,
        "gain_db": quality["lockstep tiles"] - quality["diffusers tiles"],
    }


def latents_of(kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(LATENT_FRAMES, 16, *SIZE, generator=generator)
    if kind == "noise":
        return noise[None]
    rough = torch.randn(LATENT_FRAMES, 16, SIZE[0] // 4, SIZE[1] // 4, generator=generator)
    return (F.interpolate(rough, size=SIZE, mode="bicubic") + 0.3 * noise)[None]


def psnr(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    return -10 * math.log10(((actual - expected) ** 2).mean())


def main() -> None:
    blending = bench_blending()
    decoding = [bench_decoding(kind) for kind in ("smooth", "noise")]
    rows = [
        "| blending alone | tiles | median | ratio |",
        "|---|---|---|---|",
        *(
            f"| {name} | {blending['tiles'][name]} | {1000 * seconds:.0f} ms | "
            f"{blending['median_s']['diffusers'] / seconds:.1f} x |"
            for name, seconds in blending["median_s"].items()
        ),
        "",
        "| decoding | latents | median | peak memory | PSNR against whole |",
        "|---|---|---|---|---|",
    ]
    for result in decoding:
        for name, seconds in result["median_s"].items():
            quality = f"{result['psnr_db'][name]:.1f} dB" if name in result["psnr_db"] else "-"
            peak = f"{result['peak_mib'][name]:.0f} MiB"
            rows.append(f"| {name} | {result['latents']} | {seconds:.2f} s | {peak} | {quality} |")
    write_report("bench_vae_tiling", {"blending": blending, "decoding": decoding}, "\n".join(rows), torch.device("cpu"))


if __name__ == "__main__":
    main()
