"""A disk that is full for a while costs no render."""

import errno

import pytest

from fantasyid_engine.errors import Cancelled, WriteError
from fantasyid_engine.server.worker import room
from fantasyid_engine.server.worker.room import when_there_is_room


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "AGAIN_S", 0.01)
    monkeypatch.setattr(room, "LOOK_S", 0.005)


class Disk:
    """Full for the first `times` writes."""

    def __init__(self, times: int, number: int = errno.ENOSPC) -> None:
        self.left, self.number, self.written = times, number, False

    def __call__(self) -> None:
        if self.left:
            self.left -= 1
            raise WriteError("cannot write x") from OSError(self.number, "why")
        self.written = True


def test_it_waits_until_there_is_room() -> None:
    looks: list[int] = []
    disk = Disk(3)
    when_there_is_room(disk, lambda: looks.append(1))
    assert disk.written and len(looks) >= 3


def test_whoever_is_asked_to_stop_meanwhile_stops() -> None:
    def stop() -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        when_there_is_room(Disk(10**9), stop)


def test_other_trouble_is_told_at_once_and_a_full_disk_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(1, errno.EIO)
    with pytest.raises(WriteError):
        when_there_is_room(disk, lambda: None)
    assert disk.left == 0
    monkeypatch.setattr(room, "MOST_S", 0.05)
    with pytest.raises(WriteError):
        when_there_is_room(Disk(10**9), lambda: None)
