"""Photos, videos and what lies between them, in the server's data folder.

    photos/<sha256>              as uploaded, under the digest of their bytes
    videos/<job id>/             video.mp4, its pictures, and what else the attempt left: all of it or no folder
    work/<lease>/                what an attempt is making, preview.jpg too
    states/<job id>.safetensors  where a render goes on from
    faces/                       what workers keep of faces

Names are checked before they become paths. What a method wrote is on the disk when it returns; what is stopped halfway
leaves only `work/` and `*.partial`, which `sweep` removes. Errors are OutputError and WriteError.
"""

import hashlib
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Literal

from fantasyid_engine.atomic import atomic_file, fsync, writing
from fantasyid_engine.errors import OutputError
from fantasyid_engine.server.sweep import remove_old, remove_unknown

FACES = "faces"
FOLDERS = ("photos", "videos", "work", "states", FACES)
SHA256, JOB, LEASE = (re.compile(pattern) for pattern in ("[0-9a-f]{64}", "video_[0-9a-f]{32}", "[0-9a-f]{32}"))
Variant = Literal["video", "thumbnail", "spritesheet"]
VARIANTS: dict[Variant, str] = {"video": "video.mp4", "thumbnail": "thumbnail.webp", "spritesheet": "spritesheet.jpg"}
PREVIEW = "preview.jpg"


class Files:
    """The files of one server; safe to use from any thread."""

    def __init__(self, root: Path) -> None:
        """Makes the folders, for their owner alone; raises OutputError where that cannot be done."""
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in FOLDERS:
                (root / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {root}: {error.strerror}; name another data folder") from None
        self._root, self._opened_at = root, time.time()
        self._under_way: set[str] = set()

    # Photos.

    def keep_photo(self, data: bytes) -> str:
        """Keeps a photo and returns the SHA-256 of its bytes."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.photo(sha256)
        with writing(path):
            if not path.exists():
                with atomic_file(path) as temporary:
                    temporary.chmod(0o600)
                    temporary.write_bytes(data)
            fsync(path.parent)  # of a photo that was there too: whoever put it there may not have come this far
        return sha256

    def photo(self, sha256: str) -> Path:
        """Where a photo is, if it is there."""
        return self._root / "photos" / _named(SHA256, sha256)

    def drop_photo(self, sha256: str) -> None:
        """Removes a photo, if it is there."""
        path = self.photo(sha256)
        with writing(path):
            path.unlink(missing_ok=True)

    # Renders.

    def open_work(self, lease: str) -> Path:
        """A new, empty folder for an attempt, which is under way until its work is published or dropped."""
        path = self._work(lease)
        self._under_way.add(lease)  # first, or a sweep could take it
        with writing(path):
            path.mkdir(mode=0o700)
        return path

    def publish(self, lease: str, job_id: str) -> None:
        """Makes what an attempt made, but for its preview, the video of a job, in the place of an earlier one."""
        work, target = self._work(lease), self._videos(job_id)
        with writing(target):
            (work / PREVIEW).unlink(missing_ok=True)
            for path in (*work.iterdir(), work):
                fsync(path)
            _put_aside(target)
            work.rename(target)
            for folder in (target.parent, work.parent):
                fsync(folder)
        self._under_way.discard(lease)

    def drop_work(self, lease: str) -> None:
        """Removes what an attempt made, if it is there."""
        shutil.rmtree(self._work(lease), ignore_errors=True)
        self._under_way.discard(lease)

    def preview(self, lease: str) -> Path:
        """Where an attempt's last preview is, if it has one."""
        return self._work(lease) / PREVIEW

    def state(self, job_id: str) -> Path:
        """Where a render's state is, or is to be written."""
        return self._root / "states" / f"{_named(JOB, job_id)}.safetensors"

    # Videos.

    def video(self, job_id: str, variant: Variant) -> Path:
        """Where a job's video or a picture of it is, once it is published."""
        return self._videos(job_id) / VARIANTS[variant]

    def has_video(self, job_id: str) -> bool:
        """Whether it is published."""
        return self.video(job_id, "video").is_file()

    def drop_job(self, job_id: str) -> None:
        """Removes a job's video and state, as far as they are there."""
        videos, state = self._videos(job_id), self.state(job_id)
        with writing(videos):
            _put_aside(videos)
            state.unlink(missing_ok=True)

    def sweep(self, *, job_ids: set[str], unfinished: set[str], photos: set[str], faces_since: float) -> int:
        """Removes what nobody needs; how many bytes that were.

        Args:
            job_ids: of all jobs; other videos go.
            unfinished: of those that may be rendered; other states go.
            photos: digests of those in use; others go, as do folders of attempts that are not under way.
            faces_since: faces that were used last before this time go, in seconds since 1970.
        """
        needed = {"photos": photos, "videos": job_ids, "states": unfinished, "work": self._under_way}
        return remove_unknown(self._root, needed, self._opened_at) + remove_old(self._root / FACES, faces_since)

    def _work(self, lease: str) -> Path:
        return self._root / "work" / _named(LEASE, lease)

    def _videos(self, job_id: str) -> Path:
        return self._root / "videos" / _named(JOB, job_id)


def _named(pattern: re.Pattern[str], name: str) -> str:
    if not pattern.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a file here")
    return name


def _put_aside(folder: Path) -> None:
    """Removes a folder; nobody sees a part of it, even if this is stopped in between."""
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside)
