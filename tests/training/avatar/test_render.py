"""Pictures show what they are asked to show: who, where, lit from where, in which pose; and the same ones each time."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.frames import BACKGROUNDS, Frames, Take, pack
from fantasyid_engine.training.avatar.geometry import make_model, pose, rotation
from fantasyid_engine.training.avatar.hair import BEARDS, STYLES
from fantasyid_engine.training.avatar.head import EYE, MOUTH, SHAPE, make_head
from fantasyid_engine.training.avatar.motion import EXPRESSION, Motion
from fantasyid_engine.training.avatar.person import EYES, GLASSES, HAIR, RIMS, Person, draw_person, rgb
from fantasyid_engine.training.avatar.render import Rendered, background, render
from fantasyid_engine.training.avatar.scene import COLOURS, LIGHTS, TINTS, Scene

SIZE = 96
PLAIN = Person(
    shape=np.zeros(len(SHAPE), np.float32),
    skin=rgb("#e8b088"),
    eyes=rgb(EYES[5]),
    hair=rgb(HAIR[2]),
    lips=(0.75, 0.35, 0.33),
    rims=rgb(GLASSES[0]),
    style="bald",
    beard="none",
    glasses="none",
    brow=(0.0035, 0.05),
    freckles=0.0,
    blush=0.3,
    lashes=0.3,
)
STUDIO = Scene(
    background="plain",
    colours=(rgb(COLOURS["green"]), rgb(COLOURS["blue"])),
    pattern=(0.0, 1.0, 0.0),
    light=(0.0, 0.0, 1.0),
    tint=(1.0, 1.0, 1.0),
    clothes=rgb("#2d3340"),
)
NOSE = int(make_head().template[:, 2].argmax())
Picture = NDArray[np.float32]


def take(
    person: Person = PLAIN, scene: Scene = STUDIO, turned: tuple[float, ...] = (0.0, 0.0, 0.0), **face: float
) -> Take:
    """One frame; `face` names coefficients of the expression."""
    expression = [face.get(name, 0.0) for name in EXPRESSION]
    assert set(face) <= set(EXPRESSION)
    return Take(person, Motion(np.array([turned], np.float32), np.array([expression], np.float32)), scene)


def shown(*takes: Take, size: int = SIZE) -> Picture:
    """Pictures [B, 3, S, S], from 0 to 255."""
    return render(pack(takes), size).pictures.float().numpy()


def people(count: int) -> list[Person]:
    rng = np.random.default_rng(11)
    return [draw_person(rng) for _ in range(count)]


def in_light(name: str) -> Scene:
    x, y, z = np.array(LIGHTS[name]) / np.linalg.norm(LIGHTS[name])
    return replace(STUDIO, light=(float(x), float(y), float(z)))


def around(x: float, y: float, size: int, half: float) -> tuple[slice, slice]:
    """Rows and columns about a point of the plain person's face, `half` metres to each side."""
    head = make_head().template
    away = np.where(head[:, 2] > 0, np.hypot(head[:, 0] - x, head[:, 1] - y), np.inf)
    column, row, near = pose(pack([take()]), size).screen[0, :, int(away.argmin())].tolist()
    reach = half * near * 0.9 / 0.35 * size
    return slice(round(row - reach), round(row + reach) + 1), slice(round(column - reach), round(column + reach) + 1)


def landmark(vertex: int, **options: object) -> tuple[float, float]:
    """Column and row of a vertex in a picture of size 1."""
    column, row, _ = pose(pack([take(**options)]), 1).screen[0, :, vertex].tolist()  # type: ignore[arg-type]
    return column, row


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These pictures are so small that threads cost more than they save, a great deal where cores are busy."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


# The same pictures each time


@pytest.fixture(scope="module")
def clips() -> Frames:
    world = World(seed=0, split="train", people=40)
    return pack([world.sample(number).target for number in range(3)])


@pytest.fixture(scope="module")
def rendered(clips: Frames) -> Rendered:
    return render(clips, 64)


@pytest.mark.parametrize("chunk", [3, 4, 13, 100, None])
def test_chunks_do_not_change_pictures(clips: Frames, rendered: Rendered, chunk: int | None) -> None:
    made = render(clips, 64, chunk=chunk)
    assert torch.equal(made.pictures, rendered.pictures) and torch.equal(made.boxes, rendered.boxes)


def test_frames_one_by_one_are_the_same(clips: Frames, rendered: Rendered) -> None:
    made = render(clips, 64, chunk=1)
    assert torch.equal(made.pictures, rendered.pictures) and torch.equal(made.boxes, rendered.boxes)


def test_geometry_one_by_one_is_the_same(clips: Frames) -> None:
    together = pose(clips, 128)
    for number in range(0, len(clips), 7):
        alone = pose(clips.part(number, number + 1, torch.device("cpu")), 128)
        for name in ("points", "normals", "screen", "cut"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[number]), name


def test_frames_one_by_one_are_nearly_the_same(clips: Frames, rendered: Rendered) -> None:
    made = render(clips, 64, chunk=1)
    off = (made.pictures.int() - rendered.pictures.int()).abs()
    assert (off > 0).float().mean() < 1e-4
    torch.testing.assert_close(made.boxes, rendered.boxes, atol=1e-4, rtol=0)


def test_deterministic_and_of_its_frames_alone(clips: Frames, rendered: Rendered) -> None:
    assert torch.equal(render(clips, 64).pictures, rendered.pictures)
    some = clips.part(5, 9, torch.device("cpu"))
    assert torch.equal(render(some, 64, chunk=4).pictures, rendered.pictures[5:9])


def test_what_comes_out(clips: Frames, rendered: Rendered) -> None:
    assert rendered.pictures.dtype == torch.uint8 and rendered.pictures.shape == (len(clips), 3, 64, 64)
    assert rendered.boxes.dtype == torch.float32 and rendered.boxes.shape == (len(clips), 4)
    assert not rendered.pictures.is_inference()
    assert (rendered.boxes[:, :2] < rendered.boxes[:, 2:]).all()


@pytest.mark.gpu
def test_a_gpu_draws_the_same(clips: Frames, rendered: Rendered) -> None:
    made = render(clips, 64, device="cuda")
    off = (made.pictures.cpu().int() - rendered.pictures.int()).abs().float()
    assert off.mean() < 0.1 and (off > 2).float().mean() < 1e-3
    torch.testing.assert_close(made.boxes.cpu(), rendered.boxes, atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [64, 96, 160])
def test_sizes_show_the_same(size: int) -> None:
    who = people(1)[0]
    large, small = shown(take(who), size=2 * size), shown(take(who), size=size)
    halved = torch.nn.functional.avg_pool2d(torch.from_numpy(large), 2).numpy()
    assert np.abs(halved - small).mean() < 2
    boxes = [render(pack([take(who)]), s).boxes for s in (size, 2 * size)]
    torch.testing.assert_close(2 * boxes[0], boxes[1], atol=0.01, rtol=0)


# The head in the picture


@pytest.mark.parametrize("size", [64, 160])
def test_boxes_are_tight(size: int) -> None:
    """Of bald people in any pose: what differs from the background, above the body."""
    rng, takes = np.random.default_rng(3), []
    for who in people(10):
        camera = replace(STUDIO, zoom=float(rng.uniform(0.95, 1.06)), shift=(float(rng.uniform(-0.03, 0.03)), 0.01))
        turned = tuple(rng.uniform(-1, 1, 3) * (0.6, 0.3, 0.3))
        takes.append(take(replace(PLAIN, shape=who.shape), camera, turned))
    frames = pack(takes)
    made, empty = render(frames, size), behind(frames, size)
    for picture, nothing, box in zip(made.pictures, empty, made.boxes.tolist(), strict=True):
        left, top, right, bottom = box
        there = (picture != nothing).any(0)[: round(bottom - 0.05 * size)]
        rows, columns = there.any(1).nonzero()[:, 0], there.any(0).nonzero()[:, 0]
        np.testing.assert_allclose([columns[0], rows[0], columns[-1] + 1], [left, top, right], atol=2)


def behind(frames: Frames, size: int) -> Tensor:
    """The background alone, as a picture."""
    return (background(frames, size).transpose(0, 1).clamp(0, 1) * 255).round().to(torch.uint8)


def test_heads_fill_the_picture() -> None:
    """As photos that the engine is given do: 60 % of the height or more, and all of the head is in it."""
    left, top, right, bottom = render(pack([take()]), SIZE).boxes[0].tolist()
    assert 0.60 * SIZE < bottom - top < 0.75 * SIZE
    np.testing.assert_allclose((left + right) / 2, SIZE / 2, atol=0.01)
    world, size = World(seed=0, split="train", people=200), 32
    boxes = render(pack([world.sample(number).reference for number in range(200)]), size).boxes
    heights = (boxes[:, 3] - boxes[:, 1]) / size
    assert (heights >= 0.6).float().mean() > 0.95 and heights.min() > 0.5
    assert boxes.min() >= 0 and boxes.max() <= size


def test_zoom_and_shift() -> None:
    scenes = [STUDIO, replace(STUDIO, zoom=1.2), replace(STUDIO, shift=(0.1, 0.0)), replace(STUDIO, shift=(0.0, 0.1))]
    usual, near, right, up = render(pack([take(scene=scene) for scene in scenes]), SIZE).boxes
    torch.testing.assert_close(near[2:] - near[:2], 1.2 * (usual[2:] - usual[:2]))
    move = 0.1 * SIZE
    torch.testing.assert_close(right - usual, torch.tensor([move, 0, move, 0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(up - usual, torch.tensor([0, -move, 0, -move]), atol=1e-4, rtol=0)


def test_turns_go_where_they_should() -> None:
    """Positive: the face to the picture's right, up, and the head's top to the right."""
    head = make_head().template
    crown = int(head[:, 1].argmax())
    (column, row), top = landmark(NOSE), landmark(crown)[0]
    for sign in (1, -1):
        assert sign * (landmark(NOSE, turned=(sign * 0.4, 0, 0))[0] - column) > 0.05
        assert sign * (row - landmark(NOSE, turned=(0, sign * 0.3, 0))[1]) > 0.03
        assert sign * (landmark(crown, turned=(0, 0, sign * 0.3))[0] - top) > 0.05
    body = pose(pack([take(), take(turned=(0.5, 0.3, 0.3))]), 1).points[:, -200:]
    shoulders = body[0, :, 1] < -0.15
    assert shoulders.any() and torch.equal(body[0][shoulders], body[1][shoulders])


def test_rotations() -> None:
    angles = torch.tensor([[0.3, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 0.3], [0.4, -0.2, 0.1]])
    yaw, pitch, roll, all_three = made = rotation(angles)
    torch.testing.assert_close(made @ made.mT, torch.eye(3).expand(4, 3, 3))
    torch.testing.assert_close(torch.linalg.det(made), torch.ones(4))
    one = [rotation(torch.diag(angles[3])[i : i + 1])[0] for i in range(3)]
    torch.testing.assert_close(all_three, one[0] @ one[1] @ one[2])
    forward, up = torch.eye(3)[2], torch.eye(3)[1]
    assert (yaw @ forward)[0] > 0 and (pitch @ forward)[1] > 0 and (roll @ up)[0] > 0


# Faces


def test_blinking_hides_the_eyes() -> None:
    open_, half, shut = shown(take(), take(blink=0.6), take(blink=1), size=160)
    for side in (1, -1):
        rows, columns = around(side * EYE[0], EYE[1], 160, 0.018)
        whites = [white(picture[:, rows, columns]) for picture in (open_, half, shut)]
        assert whites[0] > 20 and whites[0] > whites[1] > whites[2] and whites[2] <= 2


def white(picture: Picture) -> int:
    """Pixels without colour, and light."""
    return int(((picture.min(0) > 170) & (np.ptp(picture, axis=0) < 40)).sum())


def test_an_open_mouth_is_dark_inside() -> None:
    shut, wide = shown(take(), take(mouth_open=1), size=160)
    rows, columns = around(*MOUTH, 160, 0.02)
    dark = [int((picture[:, rows, columns].max(0) < 120).sum()) for picture in (shut, wide)]
    assert dark[1] > dark[0] + 12
    chin = int(np.linalg.norm(make_head().template - [0, -0.1, 0.08], axis=1).argmin())
    assert landmark(chin, mouth_open=1.0)[1] > landmark(chin)[1] + 0.03


def test_gaze_takes_the_pupils_along() -> None:
    """The darkest of the eye goes right and up."""

    def pupil(**gaze: float) -> NDArray[np.float64]:
        rows, columns = around(*EYE, 160, 0.010)
        (picture,) = shown(take(replace(PLAIN, lashes=0.0), **gaze), size=160)
        dark = np.clip(100 - picture.max(0)[rows, columns], 0, None)
        return np.array([(dark.sum(0) @ np.arange(dark.shape[1])), (dark.sum(1) @ np.arange(len(dark)))]) / dark.sum()

    still = pupil()
    assert (pupil(gaze_x=1.0) - still)[0] > 1 and (pupil(gaze_x=-1.0) - still)[0] < -1
    assert (pupil(gaze_y=1.0) - still)[1] < -0.5


@pytest.mark.parametrize("name", EXPRESSION)
def test_every_coefficient_is_seen(name: str) -> None:
    still, moved = shown(take(), take(**{name: 0.8}))
    assert (np.abs(still - moved).max(0) > 20).sum() > 15


def test_a_smile_shows_teeth_and_a_frown_none() -> None:
    rows, columns = around(*MOUTH, 160, 0.025)
    frown, still, smile = (
        white(picture[:, rows, columns]) for picture in shown(take(smile=-0.8), take(), take(smile=1), size=160)
    )
    assert frown == still == 0 and smile > 20


# Who it is


def test_people_are_told_apart() -> None:
    """Mean difference over all pixels, in levels; a person rendered twice has none."""
    made = shown(*(take(who) for who in people(12)))
    again = shown(*(take(who) for who in people(12)))
    np.testing.assert_array_equal(made, again)
    apart = np.abs(made[:, None] - made).mean((2, 3, 4))[np.triu_indices(12, 1)]
    assert apart.min() > 5 and np.median(apart) > 15


def test_shape_alone_tells_people_apart() -> None:
    made = shown(*(take(replace(PLAIN, shape=who.shape)) for who in people(12)))
    assert np.abs(made[:, None] - made).mean((2, 3, 4))[np.triu_indices(12, 1)].min() > 1


@pytest.mark.parametrize(("name", "values"), [("style", list(STYLES)), ("beard", BEARDS), ("glasses", RIMS)])
def test_every_kind_is_seen(name: str, values: list[str]) -> None:
    made = shown(*(take(replace(PLAIN, **{name: value})) for value in values))
    for one in range(len(values)):
        for other in range(one):
            assert (np.abs(made[one] - made[other]).max(0) > 15).sum() > 25, (values[one], values[other])


@pytest.mark.parametrize("style", ["top knot", "two buns"])
def test_buns_follow_the_head(style: str) -> None:
    """On low heads as on high ones they sit in the hair, and stand out of it as far."""
    _, hair, buns, body, *_ = make_model(torch.device("cpu")).starts
    stands_out = []
    for height in (-2.2, 0.0, 2.2):
        shape = np.where(np.array(SHAPE) == "head_height", height, 0).astype(np.float32)
        points = pose(pack([take(replace(PLAIN, shape=shape, style=style))]), SIZE).points[0]
        ball = points[buns : buns + (body - buns) // 2]
        inside = torch.linalg.norm(points[hair:buns] - ball.mean(0), dim=1) < torch.linalg.norm(ball[0] - ball.mean(0))
        assert inside.any(), height
        stands_out.append(float(ball[:, 1].max() - points[hair:buns, 1].max()))
    assert np.ptp(stands_out) < 0.01


def test_colours_are_seen() -> None:
    hairy = replace(PLAIN, style="short", glasses="square")
    usual = shown(take(hairy))[0]
    for name in ("skin", "eyes", "hair", "lips", "rims"):
        other = shown(take(replace(hairy, **{name: (0.1, 0.9, 0.3)})))[0]
        moved = (other[1] - other[0]) - (usual[1] - usual[0])  # more green, less red
        assert (moved > 60).sum() >= {"skin": 1500, "hair": 500}.get(name, 15), name


def test_glasses_are_about_the_eyes() -> None:
    without, *kinds = shown(*(take(replace(PLAIN, glasses=name)) for name in RIMS))
    eyes_row, _ = around(*EYE, SIZE, 0.04)
    mouth = around(*MOUTH, SIZE, 0.02)
    for picture in kinds:
        changed = np.abs(picture - without).max(0) > 10
        assert changed.sum() > 80 and changed[eyes_row].sum() == changed.sum() and not changed[mouth].any()


def test_a_full_beard_leaves_the_lips() -> None:
    usual, bearded = shown(take(), take(replace(PLAIN, beard="full", hair=rgb(HAIR[0]))), size=160)
    rows, columns = around(*MOUTH, 160, 0.004)
    np.testing.assert_allclose(bearded[:, rows, columns], usual[:, rows, columns], atol=6)
    chin = around(0, -0.095, 160, 0.008)
    assert bearded[:, *chin].mean() < 0.5 * usual[:, *chin].mean()


# Where it is


def test_light_falls_from_where_it_should() -> None:
    names = ("left", "right", "above", "front")
    frames = pack([take(scene=in_light(name)) for name in names])
    made = render(frames, SIZE)
    left, top, right, bottom = made.boxes[0].round().int().tolist()
    face = made.pictures.float().mean(1)[:, top + 6 : bottom - 6, left + 8 : right - 8].numpy()
    half, third = face.shape[2] // 2, face.shape[1] // 3
    across = dict(zip(names, face[:, :, :half].mean((1, 2)) / face[:, :, half:].mean((1, 2)), strict=True))
    down = dict(zip(names, face[:, :third].mean((1, 2)) / face[:, -third:].mean((1, 2)), strict=True))
    assert across["left"] > 1.3 and across["right"] < 1 / 1.3
    assert abs(across["above"] - 1) < 0.03 and abs(across["front"] - 1) < 0.03
    assert down["above"] > 1.25 * down["front"] and down["above"] > 1.25 * down["left"]


def test_light_has_its_colour() -> None:
    made = shown(*(take(scene=replace(STUDIO, tint=TINTS[name])) for name in ("cool", "neutral", "warm")))
    ratios = made[:, 0].mean((1, 2)) / made[:, 2].mean((1, 2))
    assert all(more > 1.1 * less for less, more in pairwise(ratios))


def wall(kind: str, *, angle: float = 0.0, repeats: float = 8.0, light: str = "front", size: int = 64) -> Tensor:
    """A background [3, S, S] of white and black, lit from the front evenly."""
    lit = in_light(light) if light != "front" else STUDIO
    scene = replace(lit, background=kind, colours=((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), pattern=(angle, repeats, 0.25))
    return background(pack([take(scene=scene)]), size)[:, 0]


def test_plain() -> None:
    made = wall("plain")
    assert float(made.std()) < 1e-6
    corner = shown(take())[0][:, :20, :8]
    assert np.ptp(corner, axis=(1, 2)).max() == 0
    np.testing.assert_allclose(corner[:, 0, 0] / 255, STUDIO.colours[0], atol=0.003)


def test_light_is_seen_on_the_wall() -> None:
    """More of it on the side that it comes from, by less than a quarter."""
    for name, index in (("left", (0, 0, -1)), ("right", (0, -1, 0)), ("above", (1, 0, -1))):
        axis, bright, dark = index
        lines = wall("plain", light=name)[0].mean(axis)
        assert 1.05 < lines[bright] / lines[dark] < 1.25


def test_gradient() -> None:
    made = wall("gradient")
    assert float(made.std(dim=1).max()) < 1e-6
    steps = made[0, 0].diff()
    assert (steps <= 0).all() and made[0, 0, 0] > 0.9 and made[0, 0, -1] < 0.1 and steps.min() > -0.05
    torch.testing.assert_close(wall("gradient", angle=np.pi / 2), made.mT, atol=1e-5, rtol=0)


def test_stripes() -> None:
    made = wall("stripes")
    assert float(made.std(dim=1).max()) < 1e-6
    torch.testing.assert_close(made[:, :, 8:], made[:, :, :-8], atol=1e-4, rtol=0)
    assert made.min() < 0.01 and made.max() > 0.99 and abs(float(made.mean()) - 0.5) < 0.02
    assert (made[0, 0].diff().sign().diff().abs() > 0).sum() >= 14  # eight dark, eight light
    torch.testing.assert_close(wall("stripes", angle=np.pi / 2), made.mT, atol=1e-4, rtol=0)


def test_dots() -> None:
    made = wall("dots", size=128)
    torch.testing.assert_close(made[:, :, 16:], made[:, :, :-16], atol=1e-4, rtol=0)
    torch.testing.assert_close(made[:, 16:], made[:, :-16], atol=1e-4, rtol=0)
    np.testing.assert_allclose(float(1 - made.mean()), np.pi * 0.3**2, atol=0.03)  # discs of 0.3 repeats
    assert made.min() < 0.01 and made.max() > 0.99


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_the_background_is_behind_the_person(kind: str) -> None:
    scene = replace(STUDIO, background=kind, pattern=(0.0, 6.0, 0.0))
    frames = pack([take(scene=scene)])
    picture, nothing = render(frames, SIZE).pictures[0], behind(frames, SIZE)[0]
    changed = (picture != nothing).any(0)
    assert not changed[:, :6][:70].any() and not changed[:10].any() and changed[40:70, 40:56].all()
