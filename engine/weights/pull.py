"""Fetching a preset: from the hub's listing to a model folder that is there whole, or not at all.

    list -> fetch what is missing -> compare with the digests that the hub states -> convert pickles, link the rest
         -> write the manifest -> take the model's place -> remove the downloads

The first pull resolves the branch to a commit and writes the hash down before anything else (`source.json`); every
later one, or one that goes on after it was stopped at any point, uses that hash unless a revision is asked for. So the
pin is trust on first use: it tells that nothing has changed since, not that the first answer was right.

Files that no hub has come along: those of the model that is replaced, and pickles that lie in the download folder by
the names of the table in `sources`. Nothing but this module's `pull` fetches anything: rendering never does.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fantasyid_engine.atomic import atomic_folder
from fantasyid_engine.errors import OutputError, WeightsError, some_of
from fantasyid_engine.weights.convert import convert
from fantasyid_engine.weights.home import PIN
from fantasyid_engine.weights.hub import AGAIN, HubFile, Snapshot, fetch, is_offline, resolve
from fantasyid_engine.weights.licences import check_accepted
from fantasyid_engine.weights.manifest import write_manifest
from fantasyid_engine.weights.sources import Source, made_name, source_of
from fantasyid_engine.weights.workspace import Workspace, is_whole, link, read_pin, size_text

Tell = Callable[[str], object]


def pull(
    preset: str,
    home: Path,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    tell: Tell = lambda line: None,
) -> Path:
    """Fetches a preset into `home`, or what is missing of it -> its model folder.

    Args:
        preset: one of `SOURCES`.
        home: where models are kept; see `model_home`.
        revision: branch, tag or commit; None for the pinned commit, or at first the source's branch.
        endpoint: address of a mirror; None for `HF_ENDPOINT`, or the hub itself.
        tell: takes a line for each thing done.

    Raises:
        WeightsError: terms are not accepted; the hub does not give what is needed, or gives something else than it
            states; what lies in the download folder cannot be converted.
        OutputError: something cannot be written, there is no room, or `home` holds what no pull has put there.
    """
    source = source_of(preset)
    check_accepted(home)
    endpoint = _address(endpoint)
    work = Workspace(home, preset)
    with _writing(home), work.alone():
        work.tidy()
        done, begun = read_pin(work.target), read_pin(work.downloads)
        snapshot = begun or done
        if snapshot is None or revision not in (None, snapshot.commit):
            snapshot = resolve(source, revision or source.revision, endpoint)
        if done is not None and done.commit == snapshot.commit and is_whole(work.target, done):
            work.clear()
            tell(f"{preset} is all there, at commit {done.commit}: nothing to fetch")
            return work.target
        work.check_replaceable(done, source)
        work.pin(snapshot, begun)
        _fetch_missing(work, snapshot, endpoint, tell)
        _make(work, snapshot, source, tell)
        work.replace()
        work.clear()
        tell(f"wrote {work.target}")
    return work.target


def _address(endpoint: str | None) -> str:
    from huggingface_hub import constants

    address = (endpoint or constants.ENDPOINT).rstrip("/")
    if not address.startswith(("https://", "http://")):
        raise WeightsError(f"{address} is no address of a hub: it begins with https:// or http://")
    return address


@contextmanager
def _writing(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or home
        raise OutputError(f"cannot write {where}: {error.strerror or error}; mend that and {AGAIN}") from None


def _fetch_missing(work: Workspace, snapshot: Snapshot, endpoint: str, tell: Tell) -> None:
    missing = [file for file in snapshot.files if not _is_there(file, work)]
    work.check_room(snapshot, missing)
    if missing and is_offline():
        names = some_of([file.path for file in missing])
        raise WeightsError(f"offline (HF_HUB_OFFLINE is set), and {work.preset} lacks {names}: unset it to go on")
    size = sum(file.size_bytes for file in missing)
    tell(
        f"{work.preset}: {len(missing)} of {len(snapshot.files)} files to fetch ({size_text(size)}) of "
        f"{snapshot.repository} at {snapshot.commit}"
    )
    for file in missing:
        part = work.part(file)
        part.parent.mkdir(exist_ok=True)
        fetch(snapshot, file, part, endpoint)
        if not file.is_at(part):
            part.unlink()
            raise WeightsError(f"{file.path} came other than the hub states it, and was removed: {AGAIN}")
        work.fetched(file).parent.mkdir(parents=True, exist_ok=True)
        part.rename(work.fetched(file))
        tell(f"fetched {file.path} ({size_text(file.size_bytes)})")


def _is_there(file: HubFile, work: Workspace) -> bool:
    """Whether the download folder has a file as the hub states it; a model that is there may lend its own."""
    path, lent = work.fetched(file), work.target / file.path
    if file.is_at(path):
        return True
    path.unlink(missing_ok=True)
    if not file.is_at(lent):
        return False
    link(lent, path)
    return True


def _make(work: Workspace, snapshot: Snapshot, source: Source, tell: Tell) -> None:
    """Makes the model of what lies in the download folder."""

    def put(path: Path, place: str) -> None:
        if path.suffix == (made := temporary / place).suffix:
            link(path, made)
        else:
            for line in convert(path, made):
                tell(line.replace(f"{temporary}{os.sep}", ""))

    with atomic_folder(work.new) as temporary:
        for file in snapshot.files:
            put(work.fetched(file), made_name(file.path))
        for item in source.by_hand:
            mine = [*sorted(work.downloads.rglob(item.file)), work.target / item.place]
            if path := next(filter(Path.is_file, mine), None):
                put(path, item.place)
        link(work.downloads / PIN, temporary / PIN)
        write_manifest(temporary)
