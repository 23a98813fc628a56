"""Training of the recogniser: additive angular margin (ArcFace, Deng et al. 2019, eq. 3) over its own people.

loss = cross entropy of s * cos(angle to each person's centre + m where it is their own)
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.evaluation.recogniser import SCALE, SIDE, make_recogniser
from fantasyid_engine.models.perception import PictureNet, as_input
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.perception.fit import BESIDE, Say, disturbed, fit, jittered, pick
from fantasyid_engine.training.avatar.perception.pictures import faces_of

MARGIN, SHARPNESS = 0.3, 24.0


def train_recogniser(world: World, *, views: int, steps: int, batch: int, say: Say) -> PictureNet:
    """Trains on about `views` pictures of each of the world's people."""
    found, people = faces_of(world, world.people * views // 2)
    crops = found.crops(SIDE + 2 * BESIDE, SCALE * (SIDE + 2 * BESIDE) / SIDE)
    say(f"recogniser: {len(crops)} pictures of {world.people} people rendered")
    generator = torch.Generator().manual_seed(world.seed)
    torch.manual_seed(world.seed)
    network = make_recogniser().train()
    centres = nn.Parameter(torch.randn(world.people, 128))

    def loss() -> Tensor:
        at = pick(len(crops), batch, generator)
        x = disturbed(jittered(as_input(crops[at]), generator), generator)
        return arcface_loss(network(x), centres, people[at])

    fit([*network.parameters(), centres], loss, steps=steps, lr=4e-3, say=say, name="recogniser")
    return network.eval()


def arcface_loss(embeddings: Tensor, centres: Tensor, people: Tensor) -> Tensor:
    """Embeddings [B, E], a centre for each person [P, E], who it is [B]."""
    cosine = F.normalize(embeddings) @ F.normalize(centres).T
    own = F.one_hot(people, len(centres)).bool()
    angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
    moved = torch.cos((angle + MARGIN).clamp(max=torch.pi))
    return F.cross_entropy(SHARPNESS * torch.where(own, moved, cosine), people)
