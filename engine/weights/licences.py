"""Whose work the weights are, and on what terms: a literal table, and the record of who accepted it where.

The table points to the terms; it is not the terms, and no legal advice. It was written from general knowledge of these
projects, not copied from them: what counts stands at the address, and may have changed.

`licences.json` in the models' home keeps what was accepted: the name, the SHA-256 of the table's row, the time. A row
that changes, or is new, is asked for again.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.config.serialise import read_json_object
from fantasyid_engine.errors import WeightsError

NAME = "licences.json"


@dataclass(frozen=True, slots=True)
class Licence:
    """Terms of one work: what of it is `used`, the terms in a line, where they stand, whether they rule out commerce.

    `asked` is False for what is never fetched: it is listed because people look for it.
    """

    name: str
    used: str
    terms: str
    url: str
    non_commercial: bool
    asked: bool = True

    @property
    def digest(self) -> str:
        """SHA-256 of the row."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


LICENCES: tuple[Licence, ...] = (
    Licence(
        name="FantasyID",
        used="the transformer with its face and vertex networks",
        terms="as its model card states; it grew from CogVideoX-5B, whose terms go with it",
        url="https://huggingface.co/acvlab/FantasyID",
        non_commercial=False,
    ),
    Licence(
        name="CogVideoX-5B",
        used="the VAE, the schedule, the transformer that FantasyID was trained from",
        terms="the CogVideoX licence: research is free, commercial use needs a registration with its publisher",
        url="https://huggingface.co/THUDM/CogVideoX-5b-I2V",
        non_commercial=False,
    ),
    Licence(
        name="T5 v1.1 XXL",
        used="the text encoder and its tokenizer",
        terms="Apache-2.0",
        url="https://huggingface.co/google/t5-v1_1-xxl",
        non_commercial=False,
    ),
    Licence(
        name="EVA-CLIP",
        used="EVA02-CLIP-L-14-336, its picture half",
        terms="MIT",
        url="https://github.com/baaivision/EVA",
        non_commercial=False,
    ),
    Licence(
        name="RetinaFace",
        used="facexlib's detector of faces (optional)",
        terms="MIT; trained on WIDER FACE, whose pictures are for research",
        url="https://github.com/xinntao/facexlib",
        non_commercial=False,
    ),
    Licence(
        name="FantasyID mesh",
        used="transform.pkl, fetched by hand",
        terms="made by FantasyID's authors from FLAME, whose terms may hold for it",
        url="https://github.com/Fantasy-AMAP/fantasy-id",
        non_commercial=True,
    ),
    Licence(
        name="DECA",
        used="its coarse encoder, fetched by hand (optional)",
        terms="scientific research only, after registration",
        url="https://deca.is.tue.mpg.de",
        non_commercial=True,
    ),
    Licence(
        name="FLAME 2020",
        used="its face model, fetched by hand (optional)",
        terms="scientific research only, after registration",
        url="https://flame.is.tue.mpg.de",
        non_commercial=True,
    ),
    Licence(
        name="insightface antelopev2",
        used="nothing: it lies in the authors' folder, this engine neither fetches nor reads it",
        terms="research only",
        url="https://github.com/deepinsight/insightface",
        non_commercial=True,
        asked=False,
    ),
)


def not_accepted(home: Path) -> list[Licence]:
    """The rows that nobody has accepted yet for the models in `home`, or that have changed since.

    Raises:
        WeightsError: the record cannot be read.
    """
    accepted = _read(home)
    return [row for row in LICENCES if row.asked and accepted.get(row.name, {}).get("terms_sha256") != row.digest]


def accept(home: Path, rows: Sequence[Licence]) -> None:
    """Records that `rows` were accepted now.

    Raises:
        OutputError: the record cannot be written.
        WeightsError: the record that is there cannot be read.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    accepted = _read(home) | {row.name: {"terms_sha256": row.digest, "time_utc": now} for row in rows}
    with atomic_file(home / NAME) as temporary:
        temporary.write_text(json.dumps({"accepted": accepted}, indent=1) + "\n")


def check_accepted(home: Path) -> None:
    """Raises WeightsError where terms have not been accepted.

    Its exit code is 78, as for weights that are missing: the command is well put, the machine is not set up for it.
    """
    if missing := [row.name for row in not_accepted(home)]:
        raise WeightsError(
            f"the terms of {', '.join(missing)} have not been accepted: read `fantasyid-engine weights licences`, "
            "then pull with --accept-licences"
        )


def _read(home: Path) -> dict[str, dict[str, str]]:
    path = home / NAME
    if not path.exists():
        return {}
    accepted = read_json_object(path, WeightsError).get("accepted")
    if not isinstance(accepted, dict) or not all(isinstance(row, dict) for row in accepted.values()):
        raise WeightsError(f"{path} is no record of accepted terms: remove it")
    return accepted
