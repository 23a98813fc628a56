"""The tower and the shape regressor, and the conditioner along: from a picture to what is known of who it shows.

B batch, S side of a face picture, n shape coefficients, k numbers of the look.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.face.tower_input import clip_normalised
from fantasyid_engine.models.shape import TokenReader
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.recipe import TowerStage
from fantasyid_engine.training.tasks.task import Batch, Task
from fantasyid_engine.weights.model import Model

LOOK_VARIANCE = 0.065
"""Of the look's numbers among avatars, their mean: whoever guesses the mean has a loss of 1, in look as in shape."""


class TowerTask(Task):
    """`tower`, `shape`, and `look`: a head for colours, hair, beard and glasses, which no model keeps.

    Where the stage trains it, also `conditioner`, and `token_look`, a head that reads the same off the ID tokens. Those
    of a new conditioner tell of the mesh and hardly of the photo, and a DiT that learns from them leaves the photo out
    altogether.

    Raises:
        ConfigError: the model has no shape regressor.
    """

    def __init__(self, model: Model, stage: TowerStage, *, looks: int, views: int, seed: int) -> None:
        super().__init__()
        if model.network.shape is None:
            raise ConfigError(f"stage {stage.name}: this model has no shape regressor; give model.network.shape")
        self.stage, self.views = stage, views
        self.tower, self.shape = model.network.tower, model.network.shape
        config, injection = model.network.config, model.network.config.dit.injection
        assert injection is not None, "NetworkConfig refuses this"
        tower, reads = config.tower, (self.shape.config.token_dim, self.shape.config.hidden_dim)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.look = TokenReader(tower.grid**2, tower.width, *reads, looks)
            if stage.id_tokens:
                self.conditioner = model.network.conditioner
                self.token_look = TokenReader(config.num_id_tokens, injection.id_dim, *reads, looks)

    def batch(self, samples: Sequence[TrainingSample], generators: Sequence[torch.Generator], step: int) -> Batch:
        """Draws one view a sample."""
        counts = [min(self.views, len(sample.views)) for sample in samples]
        at = [int(torch.randint(n, (), generator=g)) for n, g in zip(counts, generators, strict=True)]
        found = {
            "view": torch.stack([sample.views[i] for sample, i in zip(samples, at, strict=True)]),
            "shape": torch.stack([_known(sample.shape) for sample in samples]),
            "look": torch.stack([_known(sample.look) for sample in samples]),
        }
        if self.stage.id_tokens:
            found["vertices"] = torch.stack([sample.vertices for sample in samples])
        return found

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Squared errors of shape and look, each a mean over the batch in units of its variance among people."""
        features = self.tower(clip_normalised(batch["view"].float() / 255))
        shape = F.mse_loss(self.shape(features).float(), batch["shape"])
        look = _look_error(self.look(features[:, 1:]), batch)
        losses = {"shape": shape, "look": look}
        if self.stage.id_tokens:
            tokens = self.conditioner.id_tokens(features, batch["vertices"])
            losses["token_look"] = _look_error(self.token_look(tokens), batch)
            look = look + losses["token_look"]
        return {"loss": shape + self.stage.look_weight * look, **losses}


def _look_error(said: Tensor, batch: Batch) -> Tensor:
    """Squared: of errors as they are, it would be best to say 0 of rare 0s and 1s (styles, beards, glasses) always."""
    return F.mse_loss(said.float(), batch["look"]) / LOOK_VARIANCE


def _known(value: Tensor | None) -> Tensor:
    if value is None:
        raise ConfigError("a tower stage needs samples with known shape and look, as avatars have; leave it out")
    return value
