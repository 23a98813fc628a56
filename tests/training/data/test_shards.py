"""Samples in tar files, written once and read by index."""

import json
import pickle
import tarfile
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from fantasyid_engine.errors import InputError, OutputError
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.data.shards import INDEX, LONGEST_KEY, ShardedSamples, write_shards


def sample(number: int, **changed: Any) -> TrainingSample:
    """A small one of its own; without what is optional."""
    generator = torch.Generator().manual_seed(number)
    made = TrainingSample(
        key=f"clip-{number}",
        person=f"somebody {number % 3}",
        prompt=f"un \u00e9t\u00e9 \u2014 {number}\n",
        views=torch.randint(0, 256, (2 + number % 3, 3, 8, 8), generator=generator, dtype=torch.uint8),
        view_poses=torch.randn(2 + number % 3, 3, generator=generator),
        vertices=torch.randn(10, 3, generator=generator),
    )
    return replace(made, **changed)


def full(number: int) -> TrainingSample:
    """One with everything."""
    made = sample(number)
    return replace(
        made,
        frames=torch.randint(0, 256, (5, 3, 16, 12), dtype=torch.uint8),
        boxes=torch.randn(5, 4),
        shape=torch.randn(16),
        look=torch.randn(40),
        motion=torch.randn(5, 9),
        moments=torch.randn(2, 16, 4, 3).half(),
        text=torch.randn(7, 9).half(),
    )


def assert_same(one: TrainingSample, other: TrainingSample) -> None:
    for field in fields(TrainingSample):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, Tensor):
            assert isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b), field.name
        else:
            assert a == b, field.name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five samples, two a shard."""
    assert write_shards(tmp_path / "s", map(sample, range(5)), samples_per_shard=2, about={"made": "here"}) == 5
    return tmp_path / "s"


def test_back_as_they_were(tmp_path: Path) -> None:
    made = [full(0), sample(1), full(2)]
    write_shards(tmp_path / "s", made, samples_per_shard=2, about={"seed": 3, "sizes": [64, 9]})
    read = ShardedSamples(tmp_path / "s")
    assert len(read) == 3 and read.about == {"seed": 3, "sizes": [64, 9]}
    for number in (2, 0, 1, 0):
        assert_same(read[number], made[number])
    assert [one.key for one in read] == ["clip-0", "clip-1", "clip-2"]
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [INDEX, "shard-000000.tar", "shard-000001.tar"]
    for number in (3, -1):
        with pytest.raises(IndexError):
            read[number]


def test_none_at_all(tmp_path: Path) -> None:
    assert write_shards(tmp_path / "s", []) == 0
    assert len(ShardedSamples(tmp_path / "s")) == 0 and ShardedSamples(tmp_path / "s").about == {}


def test_views_of_tensors(tmp_path: Path) -> None:
    """Parts of a batch that share its memory, with strides of their own."""
    batch = torch.randn(3, 10, 6)
    made = sample(0, vertices=batch[1, :, :3], boxes=batch[1, :, 3:].T[:, :4], shape=batch[0, 0])
    write_shards(tmp_path / "s", [made])
    assert_same(ShardedSamples(tmp_path / "s")[0], made)


def test_the_same_samples_are_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    write_shards(tmp_path / "again", map(sample, range(5)), samples_per_shard=2, about={"made": "here"})
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 4
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_long_keys(tmp_path: Path) -> None:
    """Longer than a tar file's header has room for."""
    made = [sample(number, key=f"{number}" * LONGEST_KEY) for number in range(3)]
    write_shards(tmp_path / "s", made)
    for number, one in enumerate(made):
        assert_same(ShardedSamples(tmp_path / "s")[number], one)


def test_layout(folder: Path) -> None:
    """What webdataset asks of a tar file: a sample's members side by side, and nothing but the suffix apart."""
    for place, path in enumerate(sorted(folder.glob("*.tar"))):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            numbers = range(2 * place, min(2 * place + 2, 5))
            expected = [f"clip-{n}.{suffix}" for n in numbers for suffix in ("json", "safetensors")]
            assert [member.name for member in members] == expected
            for number, words, tensors in zip(numbers, members[::2], members[1::2], strict=True):
                made = sample(number)
                said = json.loads(tar.extractfile(words).read())  # pyright: ignore[reportOptionalMemberAccess]
                assert said == {"key": made.key, "person": made.person, "prompt": made.prompt}
                kept = load(tar.extractfile(tensors).read())  # pyright: ignore[reportOptionalMemberAccess]
                assert kept.keys() == {"views", "view_poses", "vertices"} and torch.equal(kept["views"], made.views)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # its own, of version 1.0
def test_webdataset_reads_them(folder: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    read = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))
    assert [one["__key__"] for one in read] == [f"clip-{number}" for number in range(5)]
    for number, one in enumerate(read):
        assert json.loads(one["json"])["prompt"] == sample(number).prompt
        assert torch.equal(load(one["safetensors"])["vertices"], sample(number).vertices)


def test_reads_nothing_but_the_sample(folder: Path) -> None:
    """Of a shard whose other bytes are gone."""
    index = json.loads((folder / INDEX).read_text())
    at_words, words, at_tensors, tensors = index["shards"][0]["members"][1]
    path = folder / "shard-000000.tar"
    data = path.read_bytes()
    kept = bytearray(len(data))
    for at, length in ((at_words, words), (at_tensors, tensors)):
        kept[at : at + length] = data[at : at + length]
    path.write_bytes(kept)
    assert_same(ShardedSamples(folder)[1], sample(1))


def test_threads_and_copies(folder: Path) -> None:
    """Threads share one reader; a process that loads data gets a copy."""
    read = ShardedSamples(folder)
    numbers = [number % 5 for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for number, one in zip(numbers, pool.map(read.__getitem__, numbers), strict=True):
            assert_same(one, sample(number))
    assert_same(pickle.loads(pickle.dumps(read))[4], sample(4))


def test_does_not_gather_samples(tmp_path: Path) -> None:
    """However many go into a shard, a few are in memory."""
    seen: list[weakref.ref[Tensor]] = []

    def samples() -> Iterator[TrainingSample]:
        for number in range(20):
            assert sum(ref() is not None for ref in seen) <= 3
            made = sample(number)
            seen.append(weakref.ref(made.views))
            yield made
            del made

    assert write_shards(tmp_path / "s", samples(), samples_per_shard=10) == 20


@pytest.mark.parametrize("key", ["", "a.b", "a/b", "..", "a\\b", "a\nb", "\u00e9", "a" * (LONGEST_KEY + 1)])
def test_keys_that_are_none(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="is no key"):
        write_shards(tmp_path / "s", [sample(0, key=key)])
    assert list(tmp_path.iterdir()) == []


def test_a_key_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'clip-0' is there twice"):
        write_shards(tmp_path / "s", [sample(0), sample(1), sample(0)], samples_per_shard=1)
    assert list(tmp_path.iterdir()) == []


def test_whole_or_not_at_all(tmp_path: Path, folder: Path) -> None:
    def breaks() -> Iterator[TrainingSample]:
        yield sample(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "broken", breaks(), samples_per_shard=1)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    with pytest.raises(OutputError, match="exists already"):
        write_shards(folder, [sample(9)])
    assert len(ShardedSamples(folder)) == 5
    with pytest.raises(ValueError, match="at least 1"):
        write_shards(tmp_path / "none", [sample(0)], samples_per_shard=0)


def unreadable(folder: Path, name: str) -> str:
    """Opening, or else reading one of the samples, must fail with an InputError that names the file and what to do."""
    with pytest.raises(InputError) as caught:
        list(ShardedSamples(folder))
    message = str(caught.value)
    assert caught.value.code == "shards_unreadable" and message.isprintable() and len(message) < 500
    assert message.startswith(f"{folder / name} cannot be read: ") and message.endswith("; make the shards again")
    return message


def test_without_index_or_shard(tmp_path: Path, folder: Path) -> None:
    assert "No such file" in unreadable(tmp_path / "nowhere", INDEX)
    (folder / "shard-000001.tar").unlink()
    assert "No such file" in unreadable(folder, "shard-000001.tar")


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param("", id="empty"),
        pytest.param("\xff\xfe", id="no-text"),
        pytest.param("[1, 2]", id="a-list"),
        pytest.param("{}", id="no-fields"),
        pytest.param({"format": "fantasyid-shards-2"}, id="another-format"),
        pytest.param({"count": 4}, id="another-count"),
        pytest.param({"about": []}, id="about-is-a-list"),
        pytest.param({"shards": [1]}, id="shards-are-numbers"),
        pytest.param({"file": "../shard-000000.tar"}, id="a-file-elsewhere"),
        pytest.param({"bytes": "many"}, id="size-is-a-word"),
        pytest.param({"members": [[512, 10, 1024]]}, id="a-member-without-end"),
        pytest.param({"members": [[512, 10, 1024, 1 << 40]]}, id="a-member-beyond-the-end"),
        pytest.param({"members": [[-1, 10, 1024, 10]]}, id="a-member-before-the-start"),
        pytest.param({"members": [["a", 10, 1024, 10]]}, id="a-member-at-a-word"),
    ],
)
def test_damaged_index(folder: Path, changed: str | dict[str, Any]) -> None:
    index = json.loads((folder / INDEX).read_text())
    if isinstance(changed, str):
        (folder / INDEX).write_text(changed, encoding="latin-1")
    else:
        inner = index["shards"][0] if changed.keys() <= index["shards"][0].keys() else index
        inner.update(changed)
        (folder / INDEX).write_text(json.dumps(index))
    assert "no index of fantasyid-shards-1" in unreadable(folder, INDEX)


def test_truncated_shard(folder: Path) -> None:
    path = folder / "shard-000001.tar"
    path.write_bytes(path.read_bytes()[:-512])
    assert "bytes, where the index says" in unreadable(folder, path.name)


@pytest.mark.parametrize("member", [0, 1], ids=["words", "tensors"])
def test_damaged_sample(folder: Path, member: int) -> None:
    place = json.loads((folder / INDEX).read_text())["shards"][1]["members"][1][2 * member]
    path = folder / "shard-000001.tar"
    data = bytearray(path.read_bytes())
    data[place : place + 16] = bytes(16)
    path.write_bytes(data)
    assert "sample 3 in it is damaged" in unreadable(folder, path.name)
    assert_same(ShardedSamples(folder)[2], sample(2))
