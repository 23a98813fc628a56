"""What a hub says and gives: the files of a repository at one commit, and each file, from where it stopped.

    GET /api/models/REPOSITORY/revision/REVISION?blobs=true    the commit; each file's size and digest
    GET /REPOSITORY/resolve/COMMIT/FILE                        its bytes, or with `Range` the rest of them

Both through the hub's own client, which knows tokens, mirrors, redirects and proxies, and takes up a connection that
breaks. Its `snapshot_download` is not used: it begins a file anew after its process was killed, and some have 5 GB.

Digests are SHA-256 of what the hub keeps in LFS, else git's: SHA-1 of `blob SIZE`, a zero byte and the content.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fantasyid_engine.errors import WeightsError, WriteError, one_line
from fantasyid_engine.weights.manifest import sha256
from fantasyid_engine.weights.shards import reading
from fantasyid_engine.weights.sources import Source, wanted

AGAIN = "run the same command again, it goes on from here"
ANSWER_S = 30.0
"""How long to wait for a listing."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository: its path there, and what the hub states of it."""

    path: str
    size_bytes: int
    digest: str

    def __post_init__(self) -> None:
        if self.size_bytes < 0 or not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", self.digest):
            raise ValueError(f"{self.path}: no size or digest is stated")

    def is_at(self, path: Path) -> bool:
        """Whether `path` holds it, by size and digest; raises WeightsError where that cannot be read."""
        with reading(path):
            if not path.is_file() or path.stat().st_size != self.size_bytes:
                return False
            return (sha256(path) if len(self.digest) == 64 else _git_blob(path)) == self.digest


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is pulled: those files of a repository at a commit that its source asks for."""

    repository: str
    revision: str
    commit: str
    files: tuple[HubFile, ...]

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{40}", self.commit):
            raise ValueError(f"commit: no hash of 40 hex digits, not {self.commit!r}")


def _git_blob(path: Path) -> str:
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def is_offline() -> bool:
    """Whether `HF_HUB_OFFLINE` keeps the hub's client from asking."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def resolve(source: Source, revision: str, endpoint: str) -> Snapshot:
    """Asks the hub which commit `revision` is, and what its files are.

    Raises:
        WeightsError: the hub cannot be reached, refuses, knows no such repository or revision, or lacks a file.
    """
    from huggingface_hub import HfApi

    with _asking(source.repository, revision, endpoint):
        listing = HfApi(endpoint=endpoint).model_info(
            source.repository, revision=revision, files_metadata=True, timeout=ANSWER_S
        )
    siblings = {sibling.rfilename: sibling for sibling in listing.siblings or []}
    names, absent = wanted(source, siblings)
    for part in absent:
        if not part.without:
            patterns = " and ".join(part.choices[-1])
            raise WeightsError(f"{source.repository} at {revision} has no {part.name} ({patterns}): name a --revision")
    files = []
    try:
        for name in names:
            sibling = siblings[name]
            digest = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
            size = sibling.lfs.size if sibling.lfs else sibling.size
            files.append(HubFile(name, -1 if size is None else size, digest or ""))
        return Snapshot(source.repository, revision, listing.sha or "", tuple(files))
    except ValueError as error:
        raise WeightsError(f"{_shown(endpoint)} answers for {source.repository} as no hub does: {error}") from None


def fetch(snapshot: Snapshot, file: HubFile, part: Path, endpoint: str) -> None:
    """Brings the rest of `file` to `part`, which may hold the beginning.

    Raises:
        WeightsError: as in `resolve`, or the connection broke, too often to go on.
        WriteError: `part` cannot be written.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(snapshot.repository, file.path, revision=snapshot.commit, endpoint=endpoint)
    headers = build_hf_headers(headers={"Accept-Encoding": "identity"})  # a range of what is on disk, not of an archive
    with _asking(snapshot.repository, snapshot.commit, endpoint, file.path), part.open("ab") as rest:
        if rest.tell() > file.size_bytes:
            rest.truncate(0)
        http_get(
            url,
            rest,
            resume_size=rest.tell(),
            headers=headers,
            expected_size=file.size_bytes,
            displayed_filename=file.path,
        )


@contextmanager
def _asking(repository: str, revision: str, endpoint: str, file: str | None = None) -> Iterator[None]:
    """Turns what the hub's client raises into one line that says what to do."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = _shown(endpoint)
    what = f"{file} of {repository}" if file else repository
    try:
        yield
    except OfflineModeIsEnabled:
        raise WeightsError(f"offline (HF_HUB_OFFLINE is set), and nothing of {what} is here: unset it") from None
    except GatedRepoError:
        raise WeightsError(
            f"{where} gives {repository} only to those who asked: do so at {where}/{repository}, then set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise WeightsError(
            f"{where} has no repository {repository}, or keeps it private: check --endpoint and HF_ENDPOINT, "
            "or set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise WeightsError(f"{repository} has no revision {revision}: name another with --revision") from None
    except EntryNotFoundError:
        raise WeightsError(f"{where} lists {what} at {revision} and does not have it: name a --revision") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise WeightsError(f"{where} refuses {what} (status {status}): set HF_TOKEN to a token for it") from None
        raise WeightsError(f"{where} does not give {what} (status {status}): later {AGAIN}") from None
    except Exception as error:  # each version of the client has an HTTP library of its own, with errors of its own
        reason = one_line(str(error).strip().partition("\n")[0])[:160] or type(error).__name__
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise WriteError(f"cannot write {what}: {error.strerror or reason}; mend that and {AGAIN}") from None
        raise WeightsError(f"{what} cannot be had from {where} ({reason}): {AGAIN}") from None


def _shown(endpoint: str) -> str:
    """An address without the password that it may hold."""
    return re.sub("//[^/]*@", "//", endpoint)
