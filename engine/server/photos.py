"""Photos from their upload to the end of the last job that is of them.

Many jobs may share a photo. Between the keeping of one and the storing of its job nothing tells that it is needed: it
is held then, and none that is held is removed. While a sweep looks for what nobody needs, no job is made.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fantasyid_engine.server.files import Files
from fantasyid_engine.server.store import Store


class Photos:
    """Of one server; its methods block, and may be called from any thread."""

    def __init__(self, files: Files, store: Store, keep_faces_s: float) -> None:
        self._files, self._store, self._keep_faces_s = files, store, keep_faces_s
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    @contextmanager
    def holding(self, data: bytes) -> Iterator[str]:
        """Keeps a photo, and gives its digest; its job is to be made before the context ends."""
        sha256 = hashlib.sha256(data).hexdigest()
        with self._lock:
            self._held[sha256] += 1
        try:
            yield self._files.keep_photo(data)
        finally:
            with self._lock:
                self._held[sha256] -= 1
                self._held += Counter()  # those at 0 go

    def drop(self, sha256: str) -> None:
        """Removes a photo, unless a job is of it."""
        with self._lock:
            if not self._held[sha256] and not self._store.photo_in_use(sha256):
                self._files.drop_photo(sha256)

    def sweep(self) -> int:
        """Removes all files that no job needs, and faces that were not used for long; how many bytes that were."""
        with self._lock:
            return self._files.sweep(
                job_ids=self._store.job_ids(),
                unfinished=self._store.job_ids("queued", "in_progress"),
                photos=self._store.photos() | set(self._held),
                faces_since=time.time() - self._keep_faces_s,
            )
