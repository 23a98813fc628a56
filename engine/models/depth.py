"""Positions of coarse vertices from depth.

    released   a_i = 2 pi (z / 2 + 1 / 2) / 10000^(2 floor(i / 2) / C), even i sine, odd i cosine; z raw, in metres
    paper      E_dep: depth map of the mesh projected orthographically along z, read at each coarse vertex, scaled to
               [0, 1] over the mesh (0 nearest), [sin, cos] of pi * 2^j * depth, j from 0 to `octaves`

The depth map is evaluated exactly where it is read: the depth of the front-most triangle over the vertex's own (x, y),
so it has no resolution, and gradients reach the vertices of that triangle. A vertex that nothing covers reads itself.

B batch, V vertices, N' coarse vertices, F triangles, C width. The viewer looks along -z, as in FLAME and DECA.
Source: FantasyID paper, section 3.3 (the scale and frequencies are this engine's choice).
"""

import math

import torch
from torch import Tensor


def released_depth_code(z_BV: Tensor, dim: int) -> Tensor:
    """Z [B, V] in metres -> [B, V, dim] float32."""
    exponent = 2 * (torch.arange(dim, device=z_BV.device) // 2) / dim
    angles = 2 * math.pi * (0.5 * z_BV.float() + 0.5)[..., None] / 10000.0**exponent
    even = torch.arange(dim, device=z_BV.device) % 2 == 0
    return torch.where(even, angles.sin(), angles.cos())


def depth_code(depth_BV: Tensor, dim: int, octaves: float) -> Tensor:
    """Depth [B, V] in [0, 1] -> [B, V, dim]: sines, then cosines, over `octaves` doublings of frequency."""
    frequencies = math.pi * 2.0 ** torch.linspace(0.0, octaves, dim // 2, device=depth_BV.device)
    angles = depth_BV[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def front_triangles(vertices_V3: Tensor, faces_F3: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Front-most triangle over the (x, y) of each vertex `at`.

    Args:
        vertices_V3: vertices [V, 3] float.
        faces_F3: triangles [F, 3] of vertex indices.
        at: indices [N'] of the vertices whose places are looked at.

    Returns:
        Corners [N', 3] (vertex indices) and barycentric weights [N', 3] of the front-most triangle, or the vertex
        itself three times with weights 1, 0, 0 where no triangle is nearer.
    """
    corners = vertices_V3[faces_F3]
    a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
    p = vertices_V3[at, None, :2]

    def cross(u: Tensor, v: Tensor) -> Tensor:
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    area = cross(b - a, c - a)
    extent = vertices_V3[:, :2].amax(0) - vertices_V3[:, :2].amin(0)
    flat = area.abs() <= 1e-9 * extent.prod()
    area = torch.where(flat, 1.0, area)
    weight_b, weight_c = cross(p - a, c - a) / area, cross(b - a, p - a) / area
    weights = torch.stack([1 - weight_b - weight_c, weight_b, weight_c], dim=-1)
    z = (weights * corners[:, :, 2]).sum(-1)
    # A place on an edge belongs to both triangles; without the margin rounding can take it from both.
    z = torch.where((weights >= -1e-5).all(-1) & ~flat, z, -math.inf)
    front, triangle = z.max(dim=1)
    own = front <= vertices_V3[at, 2]
    weights = weights.gather(1, triangle[:, None, None].expand(-1, 1, 3))[:, 0]
    weights = torch.where(own[:, None], weights.new_tensor([1.0, 0.0, 0.0]), weights)
    return torch.where(own[:, None], at[:, None], faces_F3[triangle]), weights


def read_depth(vertices_BV3: Tensor, faces_F3: Tensor, at: Tensor) -> Tensor:
    """Depth map of each mesh [B, V, 3], read at the vertices `at` [N'] -> [B, N'] in [0, 1], 0 nearest.

    Differentiable in z; which triangle is in front, and where in it, is taken as given. Meshes are taken one by one, so
    an exported graph holds one batch size.
    """
    z_BV = vertices_BV3[..., 2]
    depths = []
    for vertices_V3, z_V in zip(vertices_BV3, z_BV, strict=True):
        with torch.no_grad():
            corners, weights = front_triangles(vertices_V3, faces_F3, at)
        depths.append((z_V[corners] * weights).sum(-1))
    near, far = z_BV.amax(1, keepdim=True), z_BV.amin(1, keepdim=True)
    return (near - torch.stack(depths)) / (near - far).clamp_min(1e-9)
