"""What comes in: one photo, one prompt, and how to render them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fantasyid_engine.errors import InputError

Choice = int | Literal["largest", "center"] | None
"""Which face of several: its number, the largest first and counted from 1; the one nearest the photo's middle, as the
release takes it; None is the largest."""
DecaInput = Literal["face", "released"]
"""What DECA sees of a photo: the face, as it was trained, or the whole picture squashed, as in the release."""
MOST_STEPS = 1000
LARGEST_SEED = 2**32 - 1
"""The noise source tells no more seeds apart (a Mersenne twister is seeded with 32 bits)."""
MOST_CONSENT = 256
"""Characters of a `consent_ref`."""
MOST_SHAPE = 5.0
"""Standard deviations that a shape may be changed by, either way; further out there are no heads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRequest:
    """One video to make.

    Attributes:
        image: the photo: a path, or the bytes of a picture file.
        face: instead of a photo, a face as `Engine.encode_face` kept it: a path, or the bytes of the file.
        prompt: what happens in the video; who is in it comes from the photo.
        vertices: the face's vertices as a `.ply` (path or bytes), for models that need them.
        negative_prompt: what to steer away from.
        seed: of all noise; None draws one, which the result tells.
        num_inference_steps: None takes the model's (50).
        guidance_scale: how strongly the prompt steers; 1 turns guidance off; None takes the model's.
        num_frames: None takes all that the model was made for.
        face_index: which face of the photo: its number, counted from 1 as `faces` numbers them; `center`, the one
            nearest the photo's middle; `largest`, which None is too.
        bit_depth: bits a colour of the frames, 8 or 16.
        shape: standard deviations to change the face's shape by, by the model's names for its directions, such as
            `{"jaw": -1.0}`; they are added to what is read off the photo. Empty is None: the face as it is.
        deca_input: what DECA sees of a photo, for models that read vertices with it: the `face`, or the whole picture
            squashed, as the release does it (`released`).
        consent_ref: names the agreement of the person that is shown, such as the number of a contract; it is recorded,
            signed into the video, and changes nothing about the frames.

    Raises:
        InputError: a value that no model can render, by its code: `image_missing`, `face_settings` (a face that is
            kept, together with what has gone into it already), `prompt_empty`, `prompt_invalid`, `seed_invalid`,
            `steps_invalid`, `guidance_invalid`, `frames_unsupported`, `face_index`, `bit_depth`, `deca_input`,
            `shape_invalid`, `consent_invalid`.
    """

    image: str | Path | bytes | None = None
    face: str | Path | bytes | None = None
    prompt: str
    vertices: str | Path | bytes | None = None
    negative_prompt: str = ""
    seed: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    num_frames: int | None = None
    face_index: Choice = None
    bit_depth: Literal[8, 16] = 8
    shape: Mapping[str, float] | None = field(default=None, hash=False)  # a dict has no hash
    deca_input: DecaInput = "face"
    consent_ref: str | None = None

    def __post_init__(self) -> None:
        self._check_face()
        for name in ("prompt", "negative_prompt"):
            if not is_text(getattr(self, name)):
                raise InputError("prompt_invalid", f"the {name} is no text, or holds characters that are none")
        if not bare(self.prompt):
            raise InputError("prompt_empty", "the prompt is empty; say what happens in the video")
        self._integer("seed", "seed_invalid", 0, LARGEST_SEED)
        self._integer("num_inference_steps", "steps_invalid", 1, MOST_STEPS)
        self._integer("num_frames", "frames_unsupported", 1, 10_000)
        if self.face_index not in ("largest", "center"):
            self._integer("face_index", "face_index", 1, 10_000)
        scale = self.guidance_scale
        if scale is not None and (type(scale) not in (int, float) or not 1 <= scale <= 100):
            raise InputError("guidance_invalid", f"guidance_scale is {scale!r}; it must be a number from 1 to 100")
        if type(self.bit_depth) is not int or self.bit_depth not in (8, 16):
            raise InputError("bit_depth", f"bit_depth is {self.bit_depth!r}; it must be 8 or 16")
        if self.deca_input not in ("face", "released"):
            raise InputError("deca_input", f"deca_input is {self.deca_input!r}; it must be face or released")
        object.__setattr__(self, "shape", _checked_shape(self.shape))
        if self.consent_ref is not None and not _names_consent(self.consent_ref):
            allowed = f"1 to {MOST_CONSENT} printable characters"
            raise InputError("consent_invalid", f"consent_ref must be text of {allowed}; leave it out for none")

    def _check_face(self) -> None:
        photo, kept = (bool(source) and source != Path() for source in (self.image, self.face))
        if not photo and not kept:
            raise InputError("image_missing", "no photo; name a picture of a face")
        if kept:
            deca_input = None if self.deca_input == "face" else self.deca_input
            given = {"image": photo, "vertices": self.vertices, "face_index": self.face_index, "shape": self.shape}
            given["deca_input"] = deca_input
            clashing = [name for name, value in given.items() if value]
            if clashing:
                raise InputError(
                    "face_settings",
                    f"face and {clashing[0]}: a face that is kept has that in it; leave one out, or encode it anew",
                )

    def _integer(self, name: str, code: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if value is not None and (type(value) is not int or not least <= value <= most):
            raise InputError(code, f"{name} is {value!r}; it must be an integer from {least} to {most}")


VideoRequest.__pydantic_config__ = {"extra": "forbid"}  # pyright: ignore[reportAttributeAccessIssue]


def _checked_shape(shape: object) -> dict[str, float] | None:
    if shape is None:
        return None
    if not isinstance(shape, Mapping) or not all(isinstance(name, str) for name in shape):
        raise InputError("shape_invalid", f"shape is {shape!r}; it must name directions and numbers, as {{'jaw': 1.5}}")
    for name, value in shape.items():
        if type(value) not in (int, float) or not -MOST_SHAPE <= value <= MOST_SHAPE:
            allowed = f"a number from {-MOST_SHAPE:g} to {MOST_SHAPE:g}"
            raise InputError("shape_invalid", f"shape {name!r} is {value!r}; it must be {allowed}")
    return {name: float(value) for name, value in shape.items()} or None


def check_consent(request: VideoRequest, *, required: bool) -> None:
    """Raises InputError `consent_required` for a request that names no consent where one is required."""
    if required and request.consent_ref is None:
        raise InputError(
            "consent_required",
            "the request names no consent of the person that is shown, which is required here; give consent_ref",
        )


def _names_consent(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MOST_CONSENT and value.isprintable()


def bare(prompt: str) -> str:
    """A prompt without the space and quotation marks around it, as the release reads it."""
    return prompt.strip().strip('"').strip()


def is_text(value: object) -> bool:
    """Whether it can be written as UTF-8 and passed to C: no lone surrogates, no NUL."""
    try:
        return isinstance(value, str) and b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False
