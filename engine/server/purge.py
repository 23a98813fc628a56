"""Removing what a data folder keeps of a person, while no server runs on it: the operator's way, over all keys."""

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.face.photo import photo_bytes
from fantasyid_engine.server.app import STORE
from fantasyid_engine.server.files import FACES, Files
from fantasyid_engine.server.lock import only_one
from fantasyid_engine.server.store import Store


@dataclass(frozen=True, slots=True)
class Gone:
    """How much was removed."""

    jobs: int
    videos: int
    photos: int


def purge_folder(data: Path, *, photo: Path | None, consent_ref: str | None, before: float | None) -> Gone:
    """Removes all jobs that every given condition holds for, their photos and videos, and all faces that were kept.

    Args:
        data: the folder of a server.
        photo: of jobs with this very file.
        consent_ref: of jobs that name it.
        before: of jobs that were made before this time, seconds since 1970.

    Raises:
        ConfigError: the folder is none of a server, or a server runs on it.
        InputError: the photo cannot be read.
        WriteError: something cannot be removed.
    """
    if not (data / STORE).is_file():
        raise ConfigError(f"{data} is no folder of a server: it has no {STORE}; name it with --data")
    sha256 = None if photo is None else hashlib.sha256(photo_bytes(photo)).hexdigest()
    with only_one(data), closing(Store(data / STORE)) as store:
        files = Files(data)
        jobs = store.of_subject(key_id=None, photo_sha256=sha256, consent_ref=consent_ref, before=before)
        for job in jobs:
            store.delete(job.id, key_id=None)
            files.drop_job(job.id)
        orphans = {job.photo_sha256 for job in jobs} - store.photos()
        for orphan in orphans:
            files.drop_photo(orphan)
        # Which face is whose their names do not tell; they are read again when they are needed.
        for face in (data / FACES).iterdir():
            face.unlink(missing_ok=True)
    return Gone(len(jobs), sum(job.state == "completed" for job in jobs), len(orphans))
