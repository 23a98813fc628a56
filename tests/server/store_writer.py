"""Started as a program, works on a store for ever and says what it was told; the test that started it ends it.

Each line is one thing that a method of the store has returned: it must be on the disk from then on.
"""

import itertools
import sys
import time
from pathlib import Path

from fantasyid_engine.server.store import Store
from tests.server.stores import RESULT, claim, lease, make


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def work_for_ever(path: Path) -> None:
    store = Store(path)
    for i in itertools.count():
        say("queued", make(store, now=time.time(), webhook_url="https://example.com/hook").id)
        if i % 3 == 0:
            job = claim(store)
            say("in_progress", job.id)
            store.extend(lease(job), until=99)
            store.saved(lease(job), 5)
            if i % 2 == 0:
                store.complete(lease(job), RESULT, now=5, expires_at=9)
                say("completed", job.id)


if __name__ == "__main__":
    work_for_ever(Path(sys.argv[1]))
