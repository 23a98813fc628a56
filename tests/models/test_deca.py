"""DECA's encoder against the authors' goldens, and what tells a wrong reading from a right one."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fantasyid_engine.models.deca import LENGTHS, DecaCode, DecaEncoder
from tests.face_goldens import face_weights, picture
from tests.goldens import assert_close, golden, golden_json, relative_l2, require_reference
from tests.models.test_flame import flame

pytestmark = pytest.mark.reference_data
KEYS = "deca_e_flame_keys"


@cache
def encoder() -> DecaEncoder:
    net = DecaEncoder()
    net.load_state_dict(face_weights("deca", KEYS))
    return net.eval()


def crop() -> Tensor:
    return picture("input.deca.image", 224, 224).permute(2, 0, 1)[None] / 255


def flat(code: DecaCode) -> Tensor:
    return torch.cat([part.flatten(1) for part in code], dim=1)


def test_keys_shapes_and_types_are_theirs() -> None:
    ours = {key: [list(value.shape), str(value.dtype)] for key, value in DecaEncoder().state_dict().items()}
    theirs = golden_json(f"faces/{KEYS}")
    assert ours == {key: [shape, f"torch.{dtype.split('.')[-1]}"] for key, (shape, dtype) in theirs.items()}
    assert len(ours) == 322


@torch.inference_mode()
def test_code_and_its_parts_match() -> None:
    features = []
    hook = encoder().layers.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
    code = encoder()(crop())
    hook.remove()
    theirs = golden("faces/deca")
    assert_close("features", features[0], theirs["features"], 2e-6)
    assert_close("code", flat(code), theirs["code"], 5e-6)
    names = {"texture": "tex", "expression": "exp", "camera": "cam"}
    for name, part in code._asdict().items():
        assert_close(name, part, theirs[names.get(name, name)], 5e-6)
    assert code.light.shape == (1, 9, 3)


@torch.inference_mode()
def test_code_of_a_photo_matches() -> None:
    """The whole photo squashed to the encoder's size, as the release does it."""
    photo = Image.open(require_reference() / "faces" / "newton.jpg").convert("RGB")
    pixels = np.asarray(photo.resize((224, 224), Image.Resampling.BILINEAR))
    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255
    assert_close("newton.code", flat(encoder()(x)), golden("faces/deca")["newton.code"], 5e-6)


@torch.inference_mode()
def test_vertices_of_the_code_match() -> None:
    code, verts = encoder()(crop()), golden("faces/deca")["verts"]
    assert_close("verts", flame()(code.shape, code.expression, code.pose), verts, 3e-6)
    assert relative_l2(flame()(code.shape, code.texture, code.pose), verts) > 0.1, "expression before texture"


def with_eps(eps: float) -> DecaEncoder:
    net = DecaEncoder()
    net.load_state_dict(encoder().state_dict())
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps
    return net.eval()


def with_stride_on_the_first() -> DecaEncoder:
    net = DecaEncoder()
    net.load_state_dict(encoder().state_dict())
    for layer in (net.encoder.layer2, net.encoder.layer3, net.encoder.layer4):
        block = layer[0]
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    return net.eval()


@torch.inference_mode()
@pytest.mark.parametrize(
    ("wrong", "change"),
    [(lambda: with_eps(1e-6), 1e-5), (lambda: with_eps(1e-3), 1e-3), (with_stride_on_the_first, 1e-2)],
    ids=["eps 1e-6", "eps 1e-3", "ResNet v1"],
)
def test_wrong_readings_show(wrong: Callable[[], DecaEncoder], change: float) -> None:
    assert relative_l2(flat(wrong()(crop())), golden("faces/deca")["code"]) > change


@torch.inference_mode()
def test_pictures_of_a_batch_do_not_mix() -> None:
    x = torch.cat([crop(), 1 - crop()])
    code = flat(encoder()(x))
    assert_close("first", code[:1], flat(encoder()(x[:1])), 2e-6)
    assert relative_l2(code[1:], code[:1]) > 0.01


@pytest.mark.parametrize("shape", [(1, 3, 256, 256), (1, 224, 224, 3), (3, 224, 224), (1, 3, 224, 223)], ids=str)
def test_pictures_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"DECA takes \[B, 3, 224, 224\]"):
        DecaEncoder()(torch.zeros(shape))


def test_lengths_are_those_of_the_last_layer() -> None:
    assert sum(LENGTHS) == 236 and len(LENGTHS) == len(DecaCode._fields)
