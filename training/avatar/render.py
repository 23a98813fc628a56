"""Pictures of frames: z-buffer, paint, light, background; twice as fine as asked for, then averaged.

    shade = (ambient + key * max(0, n . l + wrap) / (1 + wrap)) * tint * paint + gloss

B frames, P pixels, S size. Runs where the frames' device is; a batch gives the same pictures as its frames one by one.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fantasyid_engine.training.avatar import paint
from fantasyid_engine.training.avatar.frames import Frames
from fantasyid_engine.training.avatar.geometry import (
    BODY,
    BUNS,
    GLASSES,
    HAIR,
    HEAD,
    Posed,
    make_model,
    pixel_metres,
    pose,
)
from fantasyid_engine.training.avatar.paint import Brush
from fantasyid_engine.training.avatar.raster import Fragments, rasterise

SUPERSAMPLING = 2
AMBIENT, KEY, WRAP = 0.50, 0.68, 0.15
PAINTERS = {HEAD: paint.skin, HAIR: paint.hair, BUNS: paint.hair, BODY: paint.body, GLASSES: paint.rims}
GLOSS = (0.10, 0.22, 0.22, 0.0, 0.5)
"""Of head, hair, buns, body, glasses."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """Pictures [B, 3, S, S] uint8 and the heads' boxes [B, 4] float32: left, top, right, bottom in pixels."""

    pictures: Tensor
    boxes: Tensor


def render(frames: Frames, size: int, *, device: torch.device | str = "cpu", chunk: int | None = None) -> Rendered:
    """Renders frames.

    Args:
        frames: see `frames.pack`.
        size: height and width in pixels.
        device: where to render; the result is on it.
        chunk: frames at a time; by default what fits a CPU's cache, or many on a GPU.
    """
    device = torch.device(device)
    step = chunk or (max(1, 4 * 96 * 96 // size**2) if device.type == "cpu" else max(1, 256 * 96 * 96 // size**2))
    parts = [_render(frames.part(at, at + step, device), size) for at in range(0, len(frames), step)]
    return Rendered(torch.cat([p.pictures for p in parts]), torch.cat([p.boxes for p in parts]))


@torch.inference_mode()
def _render(frames: Frames, size: int) -> Rendered:
    fine = size * SUPERSAMPLING
    model = make_model(frames.shape.device)
    posed = pose(frames, fine)
    seen = rasterise(posed.screen, posed.cut, model.faces, model.two_sided, fine)
    surface = _surface(posed, seen)
    colour_3P = _light(frames, seen, surface, _paint(frames, seen, surface, fine))
    layer = torch.zeros(4, len(frames) * fine * fine, device=colour_3P.device)
    layer[:3, seen.pixel] = colour_3P.clamp_(0, 1.25)
    layer[3, seen.pixel] = 1
    layer = F.avg_pool2d(layer.view(4, len(frames), fine, fine), SUPERSAMPLING)
    pictures = torch.addcmul(layer[:3], background(frames, size), 1 - layer[3]).clamp_(0, 1) * 255
    head = posed.screen[:, :2, : model.starts[1]] / SUPERSAMPLING
    return Rendered(pictures.round_().to(torch.uint8).transpose(0, 1), torch.cat([head.amin(2), head.amax(2)], dim=1))


@dataclass(frozen=True, slots=True, eq=False)
class _Surface:
    """What is met at each pixel: `place` [3, P] on the template, `normal` [3, P], the hair's `mask` [P], `part` [P]."""

    place: Tensor
    normal: Tensor
    mask: Tensor
    part: Tensor


def _surface(posed: Posed, seen: Fragments) -> _Surface:
    model = make_model(posed.points.device)
    batch, vertices = posed.cut.shape
    mask_BV = posed.cut.clone()
    mask_BV[:, : model.starts[1]] = mask_BV[:, model.starts[1] : model.starts[2]]  # below hair, skin has its colour
    values = torch.cat([model.fixed.expand(batch, -1, -1), posed.normals, mask_BV[..., None]], dim=-1)
    corners_P3 = model.faces.index_select(0, seen.triangle) + seen.frame[:, None] * vertices
    met_P7 = F.embedding_bag(
        corners_P3, values.flatten(0, 1), mode="sum", per_sample_weights=seen.weights.T.contiguous()
    )
    met = met_P7.T.contiguous()
    return _Surface(met[:3], met[3:6], met[6], model.part.index_select(0, seen.triangle))


def _paint(frames: Frames, seen: Fragments, surface: _Surface, size: int) -> Tensor:
    soft_B = pixel_metres(frames.camera, size) * 1.3
    tables = torch.cat([frames.look, frames.expression, frames.scene[:, 12:15], soft_B[:, None]], dim=1).T.contiguous()
    colour = torch.empty_like(surface.place)
    for part, painter in PAINTERS.items():
        at = (surface.part == part).nonzero()[:, 0]
        frame = seen.frame[at]
        look, expression, clothes, soft = tables.index_select(1, frame).split((20, 6, 3, 1))
        x, y, z = surface.place.index_select(1, at)
        brush = Brush(x, y, z, surface.mask[at], look, expression, frames.beard[frame], clothes, soft[0])
        colour[:, at] = painter(brush)
    return colour


def _light(frames: Frames, seen: Fragments, surface: _Surface, colour_3P: Tensor) -> Tensor:
    forward = torch.tensor([[0.0, 0.0, 1.0]], device=colour_3P.device)
    half = F.normalize(frames.light + forward, dim=-1)
    tables = torch.cat([frames.light, half, frames.scene[:, 9:12]], dim=1).T.contiguous()
    light, half, tint = tables.index_select(1, seen.frame).split(3)
    normal = surface.normal * (surface.normal.square().sum(0) + 1e-12).rsqrt()
    behind = (normal[2] < 0) & (surface.part != HEAD)
    normal = normal * (1 - 2 * behind.float())  # seen from behind
    lit = (((normal * light).sum(0) + WRAP) / (1 + WRAP)).clamp_(min=0)
    gloss = torch.tensor(GLOSS, device=light.device)[surface.part]
    shine = gloss * (normal * half).sum(0).clamp_(min=0) ** 24
    rim = 0.10 * (1 - normal[2].clamp(0, 1)) ** 3 * (surface.part != BODY)
    return (colour_3P * (AMBIENT + KEY * lit + rim) + shine) * tint


def background(frames: Frames, size: int) -> Tensor:
    """What is behind: [3, B, S, S] float32."""
    device = frames.shape.device
    line = (torch.arange(size, device=device) + 0.5) / size - 0.5
    row, column = torch.meshgrid(line, line, indexing="ij")
    angle, repeats, phase = (frames.scene[:, i, None, None] for i in (6, 7, 8))
    along = column * angle.cos() + row * angle.sin()
    across = row * angle.cos() - column * angle.sin()
    soft = repeats / size * 2.0
    waves = torch.sin(2 * torch.pi * (along * repeats + phase))
    stripes = (waves / (2 * torch.pi * soft) + 0.5).clamp(0, 1)
    u, v = ((w * repeats + phase) % 1 - 0.5 for w in (along, across))
    dots = ((0.30 - torch.hypot(u, v)) / soft + 0.5).clamp(0, 1)
    share = torch.stack([torch.zeros_like(along), (along * 0.9 + 0.5).clamp(0, 1), stripes, dots])
    share = share[frames.background, torch.arange(len(frames), device=device)]
    first, second, tint = frames.scene[:, [0, 1, 2, 3, 4, 5, 9, 10, 11]].T[..., None, None].split(3)
    glow = 1 + 0.16 * (column * frames.light[:, 0, None, None] - row * frames.light[:, 1, None, None])
    return torch.lerp(first, second, share) * (0.65 + 0.35 * tint) * glow
