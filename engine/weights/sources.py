"""What the presets that are not in the package are made of, and where that is published: a literal table.

The authors of github.com/Fantasy-AMAP/fantasy-id publish their weights as `acvlab/FantasyID` on Hugging Face, and as
`amap_cvlab/FantasyID` on ModelScope. Of that repository only the files that this engine reads are asked for: no code,
no pickle but those that `weights convert` reads without running them, no network of theirs whose answer is not used.

No commit is named here: the repository could not be looked up when this table was written, and a hash that nobody
looked up would be an invention. The first pull resolves `revision` to a commit and pins it (see `pull`).
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from fantasyid_engine.config.presets import PRESETS
from fantasyid_engine.errors import WeightsError, one_line
from fantasyid_engine.weights.faces import DECA, FLAME
from fantasyid_engine.weights.shards import PICKLES


@dataclass(frozen=True, slots=True)
class Part:
    """Files that belong together. Of `choices` the first counts of which each pattern has a file in the repository.

    `*` in a pattern stands for any name, never for folders. `without` is what a render lacks where the part is not
    there; empty for a part that every render needs.
    """

    name: str
    choices: tuple[tuple[str, ...], ...]
    without: str = ""

    @property
    def place(self) -> str:
        """The file of a model folder that an optional part, which is one file, becomes."""
        return made_name(self.choices[0][0])


@dataclass(frozen=True, slots=True)
class ByHand:
    """A file that no hub has: `file` from `origin` becomes `place` in the model folder; `without` as in `Part`."""

    file: str
    place: str
    origin: str
    without: str = ""

    def command(self, folder: Path) -> str:
        """What puts it into a model folder."""
        return f"fantasyid-engine weights convert {self.file} {shlex.quote(str(folder / self.place))}"


@dataclass(frozen=True, slots=True)
class Source:
    """What a preset is made of."""

    repository: str
    revision: str
    parts: tuple[Part, ...]
    by_hand: tuple[ByHand, ...]


SOURCES: dict[str, Source] = {
    "fantasyid-5b": Source(
        repository="acvlab/FantasyID",
        revision="main",
        parts=(
            # In the order in which the authors' loader looks for them.
            Part(
                "transformer",
                (
                    ("transformer_ema/config.json", "transformer_ema/diffusion_pytorch_model.bin"),
                    ("transformer_ema/*.json", "transformer_ema/*.safetensors"),
                    ("transformer/config.json", "transformer/diffusion_pytorch_model.bin"),
                    ("transformer/*.json", "transformer/*.safetensors"),
                ),
            ),
            Part("schedule", (("scheduler/scheduler_config.json",),)),
            Part("VAE", (("vae/*.json", "vae/*.safetensors"),)),
            Part("text encoder", (("text_encoder/*.json", "text_encoder/*.safetensors"),)),
            Part("tokenizer", (("tokenizer/*.json", "tokenizer/*.model"), ("tokenizer/*.json",))),
            Part(
                "EVA-CLIP",
                (
                    ("face_encoder/EVA02_CLIP_L_336_psz14_s6B.safetensors",),
                    ("face_encoder/EVA02_CLIP_L_336_psz14_s6B.pt",),
                ),
            ),
            Part(
                "RetinaFace",
                (
                    ("face_encoder/detection_Resnet50_Final.safetensors",),
                    ("face_encoder/detection_Resnet50_Final.pth",),
                ),
                without="OpenCV's Haar cascade finds faces instead",
            ),
        ),
        by_hand=(
            ByHand(
                "transform.pkl",
                "face_encoder/mesh.safetensors",
                "assets/transform.pkl of github.com/Fantasy-AMAP/fantasy-id",
            ),
            ByHand(
                "deca_model.tar",
                DECA,
                "DECA's trained model, by registration at deca.is.tue.mpg.de",
                without="a request needs --vertices",
            ),
            ByHand(
                "generic_model.pkl",
                FLAME,
                "FLAME 2020, by registration at flame.is.tue.mpg.de",
                without="a request needs --vertices",
            ),
        ),
    ),
}
"""By preset."""


def source_of(preset: str) -> Source:
    """The source of a preset; raises WeightsError for one that needs none, and for a name that is no preset."""
    if preset in SOURCES:
        return SOURCES[preset]
    if preset in PRESETS:
        raise WeightsError(f"{preset} is in the package: there is nothing to pull")
    raise WeightsError(f"no preset is called {preset!r}; those that can be pulled: {', '.join(SOURCES)}")


def wanted(source: Source, names: Iterable[str]) -> tuple[list[str], list[Part]]:
    """Which of the files `names` of a repository are asked for, and the parts that have none there."""
    names = sorted(names)
    files: list[str] = []
    absent = []
    for part in source.parts:
        found = next(filter(None, (_all_of(choice, names) for choice in part.choices)), None)
        files += found or []
        if found is None:
            absent.append(part)
    return files, absent


def _all_of(patterns: tuple[str, ...], names: list[str]) -> list[str]:
    """The files that match; none where a pattern has none."""
    found = [[name for name in names if matches(name, pattern)] for pattern in patterns]
    return [name for group in found for name in group] if all(found) else []


def matches(name: str, pattern: str) -> bool:
    """Whether a repository's file is one of a pattern's: the same folders, and a name that can be shown and is visible.

    Such a name leads to no other folder: the pattern's folders are literal.
    """
    parts, wanted_parts = name.split("/"), pattern.split("/")
    return (
        one_line(name) == name
        and not parts[-1].startswith(".")
        and parts[:-1] == wanted_parts[:-1]
        and fnmatchcase(parts[-1], wanted_parts[-1])
    )


def made_name(name: str) -> str:
    """The file of a model folder that a file of the repository becomes."""
    path = PurePosixPath(name)
    return str(path.with_suffix(".safetensors") if path.suffix in PICKLES else path)
