"""The optional networks of a model folder that read real faces."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fantasyid_engine.errors import WeightsError
from fantasyid_engine.weights.convert import convert
from fantasyid_engine.weights.faces import (
    DECA,
    FLAME,
    FLAME_PICKLE,
    RETINAFACE,
    FaceNetworks,
    digests_that_matter,
    face_files,
    read_faces,
    read_retinaface,
    save_faces,
)
from fantasyid_engine.weights.manifest import verify_files, write_manifest
from tests.face_goldens import flame_model
from tests.face_networks import face_networks, head_mesh

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_faces(face_networks(), folder)
    return folder


def linked(saved: Path, folder: Path, *names: str) -> Path:
    (folder / FLAME).parent.mkdir(parents=True)
    for name in names:
        (folder / name).symlink_to(saved / name)
    return folder


def test_a_folder_without_any(tmp_path: Path) -> None:
    assert read_faces(tmp_path, CPU) == FaceNetworks() and face_files(tmp_path) == []
    save_faces(FaceNetworks(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_was_saved_is_read(saved: Path) -> None:
    made, given = read_faces(saved, CPU, len(head_mesh().template)), face_networks()
    for name in ("retinaface", "deca", "flame"):
        network, wanted = getattr(made, name), getattr(given, name)
        state = wanted.state_dict()
        assert network.state_dict().keys() == state.keys()
        assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())
        assert not any(p.requires_grad for p in network.parameters())
    assert made.retinaface is not None and made.deca is not None
    assert not made.retinaface.training and not made.deca.training
    assert face_files(saved) == [saved / name for name in (RETINAFACE, DECA, FLAME)]


@pytest.mark.parametrize(("name", "field"), [(RETINAFACE, "retinaface"), (DECA, "deca"), (FLAME, "flame")])
def test_each_alone(saved: Path, tmp_path: Path, name: str, field: str) -> None:
    made = read_faces(linked(saved, tmp_path, name), CPU)
    assert [f for f in ("retinaface", "deca", "flame") if getattr(made, f) is not None] == [field]


def test_the_users_own_flame_file(tmp_path: Path) -> None:
    """Read as it came where nobody has converted it; a converted one wins."""
    (tmp_path / FLAME).parent.mkdir()
    theirs = pickled_flame(tmp_path / FLAME_PICKLE)
    made = read_faces(tmp_path, CPU, 5023).flame
    assert made is not None and torch.equal(made.template, theirs)
    assert face_files(tmp_path) == [tmp_path / FLAME_PICKLE]
    save_faces(FaceNetworks(flame=face_networks().flame), tmp_path)
    assert face_files(tmp_path) == [tmp_path / FLAME]
    assert len(read_faces(tmp_path, CPU).flame.template) == 642  # pyright: ignore[reportOptionalMemberAccess]


def pickled_flame(path: Path) -> Tensor:
    """A face model with the sizes of FLAME's file, as Python 3 pickles it; returns its template."""
    tables = {name: table.numpy() for name, table in flame_model().items()}
    tables["f"] = np.array([[0, 1, 2]], np.uint32)
    path.write_bytes(pickle.dumps(tables, protocol=4))
    return torch.from_numpy(tables["v_template"])


def test_what_a_render_depends_on() -> None:
    digests = {name: name for name in (RETINAFACE, DECA, FLAME, FLAME_PICKLE, "dit.safetensors")}
    assert digests_that_matter(digests, kept=False, given=False) == digests
    assert digests_that_matter(digests, kept=False, given=True).keys() == {RETINAFACE, "dit.safetensors"}
    assert digests_that_matter(digests, kept=True, given=False).keys() == {"dit.safetensors"}


def test_half_precision_on_disk(saved: Path, tmp_path: Path) -> None:
    """They run in float32 whatever they are stored in; counters of batches may be missing."""
    (tmp_path / FLAME).parent.mkdir()
    weights = load_file(saved / RETINAFACE)
    halved = {key: value.half() for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    save_file(halved, tmp_path / RETINAFACE)
    network = read_retinaface(tmp_path)
    assert network is not None and {p.dtype for p in network.parameters()} == {torch.float32}
    assert torch.allclose(network.body.conv1.weight, weights["body.conv1.weight"], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", [RETINAFACE, DECA, FLAME])
@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_file_that_is_none(saved: Path, tmp_path: Path, name: str, damage: str) -> None:
    (tmp_path / FLAME).parent.mkdir()
    path = tmp_path / name
    if damage == "cut":
        path.write_bytes((saved / name).read_bytes()[:5000])
    else:
        save_file({"body.conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError) as error:
        read_faces(tmp_path, CPU)
    assert Path(name).name in str(error.value) and "\n" not in str(error.value)


def test_a_missing_and_an_unknown_key_are_named(saved: Path, tmp_path: Path) -> None:
    (tmp_path / FLAME).parent.mkdir()
    weights = load_file(saved / DECA)
    weights["layers.9.weight"] = weights.pop("layers.2.weight")
    save_file(weights, tmp_path / DECA)
    with pytest.raises(WeightsError, match=r"1 missing: layers\.2\.weight; 1 unknown: layers\.9\.weight"):
        read_faces(tmp_path, CPU)


def test_a_face_model_of_another_mesh(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has 642 vertices, this model's mesh 5023: it is of another face model"):
        read_faces(linked(saved, tmp_path, FLAME), CPU, 5023)


def test_a_file_is_put_into_a_folder_with_a_manifest(saved: Path, tmp_path: Path) -> None:
    """Copied there it is refused, with the command that puts it in; that renews the manifest."""
    folder = tmp_path / "model"
    (folder / FLAME).parent.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    write_manifest(folder)
    target = folder / FLAME
    target.write_bytes((saved / FLAME).read_bytes())
    with pytest.raises(
        WeightsError, match=r"put it in with: fantasyid-engine weights convert FILE .*flame\.safetensors"
    ):
        verify_files(folder, [target])
    target.unlink()
    assert convert(saved / FLAME, target) == [f"wrote {target}: as it was"]
    assert verify_files(folder, [target]).keys() == {target}
    (tmp_path / "cut.safetensors").write_bytes((saved / FLAME).read_bytes()[:900])
    with pytest.raises(WeightsError, match="truncated"):
        convert(tmp_path / "cut.safetensors", folder / DECA)
    assert not (folder / DECA).exists()
