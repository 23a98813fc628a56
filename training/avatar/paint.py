"""Colours of surfaces: skin with eyes, brows, mouth and beard, hair, clothes, glasses, drawn where a pixel meets them.

Features are drawn in the head's own coordinates (the template's), so they move with the mesh and are as sharp as the
picture is large. Expression opens and closes eyes and mouth within them.

P pixels; colours are [3, P]. Lengths in metres; `soft` is a pixel's width on the face, over which edges are blended.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fantasyid_engine.training.avatar.geometry import COLLAR
from fantasyid_engine.training.avatar.hair import BEARDS, FULL
from fantasyid_engine.training.avatar.head import EYE, MOUTH

EYE_HALF = (0.0175, 0.0125)
MOUTH_HALF = 0.0255


@dataclass(frozen=True, slots=True, eq=False)
class Brush:
    """What the pixels of one part need.

    x, y, z, mask, beard, soft  [P]: coordinates on the template, the hair's mask, ...
    look, expression, clothes   [20, P], [6, P], [3, P]: see `Frames`
    """

    x: Tensor
    y: Tensor
    z: Tensor
    mask: Tensor
    look: Tensor
    expression: Tensor
    beard: Tensor
    clothes: Tensor
    soft: Tensor

    @property
    def skin(self) -> Tensor:
        """[3, P]."""
        return self.look[0:3]

    @property
    def hair(self) -> Tensor:
        """[3, P]."""
        return self.look[6:9]

    def inside(self, distance: Tensor) -> Tensor:
        """1 well inside (positive distances, metres), 0 well outside."""
        return (distance / self.soft + 0.5).clamp(0, 1)


def skin(b: Brush) -> Tensor:
    """Head -> RGB [3, P]."""
    face = (b.z / 0.03).clamp(0, 1)
    colour = b.skin
    across = b.x.abs()
    cheek = _blob(across - 0.046, b.y + 0.030, 0.017, 0.014) + 0.5 * _blob(b.x, b.y + 0.024, 0.012, 0.010)
    colour = _over(colour, _tone(b, (0.86, 0.34, 0.30), 0.6), 0.55 * b.look[18] * cheek * face)
    dots = torch.sin(b.x * 640 + 2 * torch.sin(b.y * 310)) * torch.sin(b.y * 700 + 2 * torch.sin(b.x * 370))
    spread = _blob(across - 0.034, b.y + 0.024, 0.022, 0.012)
    colour = _over(colour, b.skin * 0.74, ((dots - 0.72) * 6).clamp(0, 1) * spread * b.look[17] * face)
    nostril = b.inside(0.0042 - torch.hypot((across - 0.0085), (b.y + 0.0345) * 1.5))
    colour = _over(colour, b.skin * 0.45, nostril * face * 0.8)
    colour = _beard(b, colour, face)
    colour = _over(colour, b.hair * 0.8, b.inside(b.mask) * (b.beard != FULL))
    colour = _mouth(b, colour, face)
    colour = _eyes(b, colour, face)
    return _brows(b, colour, face)


def hair(b: Brush) -> Tensor:
    """Hair shell -> RGB [3, P]: strands around the head."""
    angle = torch.atan2(b.x, b.z + 0.02)
    strands = torch.sin(angle * 34 + 2.5 * torch.sin(b.y * 60)) * 0.5 + torch.sin(angle * 13 - b.y * 45) * 0.5
    return b.hair * (1 + 0.16 * strands)


def body(b: Brush) -> Tensor:
    """Neck and shoulders -> RGB [3, P]; the neck is darker under the jaw."""
    shadow = 0.58 + 0.42 * ((-0.095 - b.y) / 0.045).clamp(0, 1)
    collar = COLLAR + 0.10 * (b.x.abs() - 0.03).clamp(min=0)
    neckline = b.inside(b.y - collar)
    edge = b.inside(0.004 - (b.y - collar + 0.004).abs())
    cloth = b.clothes * (1 - 0.25 * edge)
    return cloth + (b.skin * shadow - cloth) * neckline


def rims(b: Brush) -> Tensor:
    """Glasses -> RGB [3, P]."""
    return b.look[12:15]


def _eyes(b: Brush, colour: Tensor, face: Tensor) -> Tensor:
    u, v = (b.x.abs() - EYE[0]) / EYE_HALF[0], b.y - EYE[1]
    blink, brows = b.expression[2].clamp(0, 1), b.expression[3].clamp(-1, 1)
    arch = (1 - u * u).clamp(min=0)
    rise = EYE_HALF[1] * (0.78 + 0.24 * brows)
    lower = -0.74 * EYE_HALF[1] * arch
    upper = torch.lerp(rise * arch.sqrt(), lower + 0.001, blink)
    open_ = torch.minimum(upper - v, v - lower)
    eye = b.inside(open_) * (arch > 0) * face

    crease = b.inside(0.0008 - (v - rise * arch.sqrt() - 0.0042).abs()) * (arch > 0.15)
    colour = _over(colour, b.skin * 0.66, crease * face * 0.8)
    lid = b.inside(torch.minimum(rise * arch.sqrt() - v, v - lower)) * (arch > 0) * face
    colour = _over(colour, b.skin * 0.90, lid)

    shade = 1 - 0.30 * ((v - upper + 0.006) / 0.006).clamp(0, 1)
    white = torch.full_like(colour, 0.96) * shade
    gx, gy = b.expression[4] * 0.0065, b.expression[5] * 0.0040
    ix, iy = b.x - torch.sign(b.x) * EYE[0] - gx, v - 0.0008 - gy
    away = torch.hypot(ix, iy)
    iris = b.look[3:6]
    ring = iris * (1.25 - 0.75 * (away / 0.0092).clamp(0, 1) ** 2)
    white = _over(white, ring, b.inside(0.0092 - away))
    white = _over(white, torch.full_like(colour, 0.05), b.inside(0.0045 - away))
    white = _over(white, torch.ones_like(colour), b.inside(0.0023 - torch.hypot(ix + 0.0034, iy - 0.0036)))
    colour = _over(colour, white, eye)

    thick = 0.0011 + 0.0016 * b.look[19]
    wing = b.inside(thick - (v - upper - 0.5 * thick).abs()) * (u.abs() < 1.05 + 0.25 * b.look[19])
    return _over(colour, torch.full_like(colour, 0.09), wing * face * (arch > -0.2))


def _brows(b: Brush, colour: Tensor, face: Tensor) -> Tensor:
    u = (b.x.abs() - 0.036) / 0.0225
    raised = b.expression[3]
    rise = 0.0335 + 0.004 * raised.clamp(min=0)
    slope = b.look[16] * 0.012 - 0.0055 * raised.clamp(max=0) + 0.002 * raised.clamp(min=0)
    middle = rise + slope * u - 0.0055 * u * u + 0.002
    middle = middle + 0.006 * raised.clamp(max=0) * (0.6 - 0.8 * u).clamp(0, 1.2)
    thick = b.look[15] * (1.0 - 0.45 * u.clamp(-0.5, 1)) * (u.abs() < 1)
    brow = b.inside(thick - (b.y - middle).abs()) * (thick > 0)
    dark = b.hair * 0.62
    return _over(colour, dark, brow * face * 0.95)


def _mouth(b: Brush, colour: Tensor, face: Tensor) -> Tensor:
    smile, gape = b.expression[0], b.expression[1].clamp(0, 1)
    half = MOUTH_HALF * (1 + 0.16 * smile.clamp(min=0) - 0.18 * gape)
    u = b.x / half
    arch = (1 - u * u).clamp(min=0)
    line = b.y - MOUTH[1] - 0.0085 * smile * (u * u - 0.45)
    gap_up = arch * (0.0012 * smile.clamp(min=0) + 0.003 * gape)
    gap_down = arch * (0.0065 * (smile - 0.25).clamp(min=0) + 0.0125 * gape)
    lip_up = 0.0056 * arch.sqrt() * (1 - 0.22 * _blob(b.x, torch.zeros_like(b.x), 0.004, 1.0))
    lip_down = 0.0075 * arch.sqrt()
    lips = b.inside(torch.minimum(gap_up + lip_up - line, line + gap_down + lip_down)) * (arch > 0) * face
    lower = b.inside(-line)
    colour = _over(colour, b.look[9:12] * (0.88 + 0.16 * lower), lips)

    hole = torch.minimum(gap_up - line, line + gap_down)
    inner = _over(
        _row(b, (0.30, 0.07, 0.09)),
        _row(b, (0.78, 0.34, 0.36)),
        b.inside(-line - gap_down * 0.55),
    )
    teeth = b.inside(line - gap_up + 0.0048 + 0.001 * gape)
    inner = _over(inner, _row(b, (0.97, 0.96, 0.93)), teeth)
    wide = (gap_up + gap_down > 0.0015) * face
    colour = _over(colour, inner, b.inside(hole) * wide)
    closed = b.inside(0.0010 - line.abs()) * (arch > 0) * face * (1 - b.inside(gap_up + gap_down - 0.0025))
    return _over(colour, b.look[9:12] * 0.42, closed)


def _beard(b: Brush, colour: Tensor, face: Tensor) -> Tensor:
    line = (-0.034 + 0.5 * (b.x.abs() - 0.02).clamp(min=0)).clamp(max=-0.012)
    speckle = 0.75 + 0.25 * torch.sin(b.x * 1900 + 2 * torch.sin(b.y * 900)) * torch.sin(b.y * 2100)
    jaw = ((line - b.y) / 0.024).clamp(0, 1) * speckle * (b.z > -0.01)
    above = _blob(b.x, b.y - MOUTH[1] - 0.0135, 0.017, 0.0042)
    below = _blob(b.x, b.y - MOUTH[1] + 0.0330, 0.014, 0.014)
    frame = _blob((b.x.abs() - 0.0285), b.y - MOUTH[1] + 0.012, 0.0035, 0.016)
    kind = {name: (b.beard == place).float() for place, name in enumerate(BEARDS)}
    colour = _over(colour, b.hair * 0.6, 0.34 * kind["stubble"] * jaw)
    tache = (above * 2.2 - 0.6).clamp(0, 1) * face
    colour = _over(colour, b.hair * 0.85, tache * (kind["moustache"] + kind["goatee"] + kind["full"]))
    tuft = torch.maximum((below * 2.2 - 0.6).clamp(0, 1), (frame * 2 - 0.7).clamp(0, 1)) * face
    return _over(colour, b.hair * 0.85, tuft * kind["goatee"])


def _over(under: Tensor, colour: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(under, colour, share)


def _row(b: Brush, colour: tuple[float, float, float]) -> Tensor:
    return torch.tensor(colour, device=b.x.device)[:, None].expand(3, len(b.x))


def _tone(b: Brush, colour: tuple[float, float, float], share: float) -> Tensor:
    return torch.lerp(b.skin, _row(b, colour), share)


def _blob(dx: Tensor, dy: Tensor, sx: float, sy: float) -> Tensor:
    return torch.exp(-((dx / sx) ** 2 + (dy / sy) ** 2) / 2)
