"""Shape edits by measure: "a wider face" as the smallest change of the coefficients of a linear model of heads.

    m(v) = (v[a] - v[b]) . u,   u = (template[a] - template[b]) / |template[a] - template[b]|
    m(template + basis c) = m(template) + g . c,   g = (basis[a] - basis[b]) . u,   deviation of m over people = |g|
    c = d g / |g|                 moves m by d of its deviations, and of all c that do it has the least norm
    c = pinv(G) d                 several at once: rows of G are their g / |g|

Where a measure ends, a and b, is found on the template alone: the nose's tip lies in front, its root where the profile
is deepest between tip and forehead, the chin where the profile turns under; widths end at the outermost vertices
of a band of heights between those, the ears behind it left out.

V vertices, n coefficients in standard deviations; x to one side, y up, z to the front.
Limits are this engine's choice, so that the ends lie where calipers would be put (on heads of two meshes).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

MEASURES = ("face_width", "face_height", "jaw_width", "nose_length", "nose_width")
"""What can be asked for: cheekbone to cheekbone, nose root to chin, jaw at the mouth, nose root to tip, nostrils."""

Anchors = dict[str, tuple[int, int]]
"""The two vertices that each measure lies between."""

MIDLINE = 0.015
"""Half the width of the profile's strip, in head widths (ears and all), as are those of the next two."""
ROOT_ABOVE = 0.15
"""The nose's root is at least that far above its tip."""
REACH = 0.6
"""The chin is no farther than that from the nose's tip; the neck is."""
FACE_DEPTH = 0.8
"""Face heights behind the nose's tip at which a face ends and ears may begin."""
JAW_BAND = (0.5, 0.75)
"""Heights of the jaw, as shares of the way down from the nose's tip to the chin."""
NOSE_BAND = 0.1
"""Half the height of the nostrils' band, in face heights."""
NOSE_DEPTH = 0.8
"""How far back a nose goes at its tip's height, as a share of how far its root lies back."""
STILL = 1e-6
"""A measure whose deviation is below this share of itself does not move."""


@dataclass(frozen=True, slots=True, eq=False)
class ShapeMeasures:
    """Measures of the heads of a linear model: `template` [V, 3] and `basis` [V, 3, n], metres a standard deviation."""

    template: Tensor
    basis: Tensor

    def __post_init__(self) -> None:
        shape = (*self.template.shape, self.basis.shape[-1])
        if self.template.ndim != 2 or self.template.shape[1] != 3 or self.basis.shape != shape:
            raise ValueError(
                f"template {list(self.template.shape)} and basis {list(self.basis.shape)}; they must be "
                "[V, 3] and [V, 3, n]"
            )

    def measure(self, name: str, vertices_BV3: Tensor) -> Tensor:
        """How large a measure is on some heads, [..., V, 3] -> [...] float64, metres; linear in the vertices.

        Raises:
            ValueError: an unknown measure, or a template that shows no face.
        """
        one, other = self._ends(name)
        return self._along(name, (vertices_BV3[..., one, :] - vertices_BV3[..., other, :]).double())

    def deviation(self, name: str) -> float:
        """Standard deviation of a measure over people, whose coefficients are independent and unit normal; metres."""
        return float(self._gradient(name).norm())

    def smallest_change(self, deviations: Mapping[str, float]) -> Tensor:
        """By how many of its standard deviations each named measure is to grow -> change of the coefficients [n].

        The measures fix a few of n numbers; of all changes that move them as asked, this one has the least norm.
        Over people the coefficients are independent and unit normal: the norm says how far apart two heads are in
        deviations, and the logarithm of their density falls with its square. So the least norm is the likeliest change,
        the one by which people with such measures differ from the template on average, and of all that were asked for
        it leaves a face most like itself.

        Raises:
            ValueError: a measure that is unknown or that the basis does not move, a deviation that is no finite number,
                measures that move together and cannot move as asked, or a template that shows no face.
        """
        if not deviations:
            return self.basis.new_zeros(self.basis.shape[-1])
        wanted = torch.tensor([float(value) for value in deviations.values()], dtype=torch.float64)
        if not bool(wanted.isfinite().all()):
            raise ValueError(f"a change of shape by {dict(deviations)}; deviations must be finite numbers")
        rows = torch.stack([self._unit_gradient(name) for name in deviations])
        change = torch.linalg.pinv(rows, rtol=1e-4) @ wanted
        if bool(((rows @ change - wanted).abs() > 1e-6 * wanted.abs().max()).any()):
            raise ValueError(f"{', '.join(deviations)} move together in this basis; ask for fewer of them")
        return change.to(self.basis)

    def _unit_gradient(self, name: str) -> Tensor:
        gradient, size = self._gradient(name), float(self.measure(name, self.template))
        deviation = float(gradient.norm())
        if not deviation > STILL * size:
            raise ValueError(f"{name} cannot be changed: this basis does not move it")
        return gradient / deviation

    def _gradient(self, name: str) -> Tensor:
        """Metres a unit of each coefficient, [n] float64 on the CPU."""
        one, other = self._ends(name)
        return self._along(name, (self.basis[one] - self.basis[other]).double().T).detach().cpu()

    def _along(self, name: str, difference_B3: Tensor) -> Tensor:
        """Differences between the ends of a measure, [..., 3] -> [...]: their part along the template's."""
        one, other = self._ends(name)
        between = (self.template[one] - self.template[other]).double()
        return difference_B3 @ (between / between.norm()).to(difference_B3.device)

    def _ends(self, name: str) -> tuple[int, int]:
        if name not in MEASURES:
            raise ValueError(f"no measure {name!r}; there are {', '.join(MEASURES)}")
        return find_anchors(self.template)[name]


def find_anchors(template_V3: Tensor) -> Anchors:
    """The ends of all `MEASURES` on a head that looks along z, y up, [V, 3]; raises ValueError where it has no face."""
    vertices = template_V3.detach().cpu().double()
    if not bool(vertices.isfinite().all()):
        raise ValueError("the template holds values that are no finite numbers")
    left, right = vertices[:, 0].min(), vertices[:, 0].max()
    near = (vertices[:, 0] - (left + right) / 2).abs() <= 0.03 * (right - left)
    tip = _highest("nose", near, vertices[:, 2])

    x, y, z = (vertices - vertices[tip]).unbind(1)
    head_width = x[y >= 0].max() - x[y >= 0].min()
    profile = x.abs() <= MIDLINE * head_width
    above = profile & (y >= ROOT_ABOVE * head_width) & (z >= -0.4 * head_width)
    brow = _highest("forehead", above, z / y)
    root = _highest("root of the nose", above & (y <= y[brow]), z[brow] / y[brow] * y - z)
    below = profile & (y < 0) & ((vertices - vertices[tip]).norm(dim=1) <= REACH * head_width)
    chin = _highest("chin", below, z - y)

    def widest(what: str, low: Tensor, high: Tensor, depth: Tensor) -> tuple[int, int]:
        band = (y >= low) & (y <= high) & (z >= -depth)
        return _highest(what, band & (x > 0), x), _highest(what, band & (x < 0), -x)

    face_height = (vertices[root] - vertices[chin]).norm()
    depth, half_nose = FACE_DEPTH * face_height, NOSE_BAND * face_height
    return {
        "face_width": widest("cheekbones", y[tip], y[root], depth),
        "face_height": (root, chin),
        "jaw_width": widest("jaw", JAW_BAND[1] * y[chin], JAW_BAND[0] * y[chin], depth),
        "nose_length": (root, tip),
        "nose_width": widest("nostrils", -half_nose, half_nose, -NOSE_DEPTH * z[root]),
    }


def _highest(what: str, among: Tensor, score: Tensor) -> int:
    """The vertex of those `among` whose score is highest."""
    if not bool(among.any()):
        raise ValueError(f"the template shows no {what}: measures want a head that looks along z, with y up")
    return int(torch.where(among, score, -torch.inf).argmax())
