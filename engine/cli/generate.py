"""`fantasyid-engine generate`: one video from a photo and a prompt, or again from a sidecar."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fantasyid_engine.cli.policy import consent_required
from fantasyid_engine.cli.screen import complain, say

if TYPE_CHECKING:
    from fantasyid_engine.request import VideoRequest
    from fantasyid_engine.video.sidecar import Sidecar

DEFAULT_MODEL = "avatar-mini"


def generate(
    out: Annotated[
        Path, typer.Option("--out", help="The video to write: .mp4, .mov (ProRes), or a new folder of PNG pictures.")
    ],
    image: Annotated[Path | None, typer.Option("--image", help="The photo: JPEG, PNG, WebP, TIFF, HEIC ...")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="What happens in the video.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="PRESET|DIR", help="avatar-mini, fantasyid-5b, or a model folder.")
    ] = None,
    vertices: Annotated[
        Path | None, typer.Option("--vertices", help="The face's vertices, a .ply as DECA writes it.")
    ] = None,
    negative_prompt: Annotated[
        str | None, typer.Option("--negative-prompt", help="What the video should not show.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of all noise; without one, a new one is drawn.")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Denoising steps; the model's own, 50, if not given.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="How strongly the prompt steers; 1 turns guidance off.")
    ] = None,
    frames: Annotated[int | None, typer.Option("--frames", help="Frames; all that the model can if not given.")] = None,
    face: Annotated[
        str | None,
        typer.Option(
            "--face",
            metavar="largest|center|N|FILE",
            help="Which face of the photo, as `faces` numbers them; or, instead of a photo, what `faces encode` wrote.",
        ),
    ] = None,
    sidecar: Annotated[
        Path | None, typer.Option("--from", help="Render again what this sidecar describes; other options change it.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N.")] = None,
    precision: Annotated[
        Literal["float32", "bfloat16"] | None, typer.Option("--precision", help="Of the networks' numbers.")
    ] = None,
    backend: Annotated[
        Literal["eager", "fused", "folded"] | None,
        typer.Option("--backend", help="Form of the DiT: plain PyTorch, or on the kernels; those on a GPU."),
    ] = None,
    vae_tile: Annotated[
        int | None,
        typer.Option("--vae-tile", min=0, max=65536, help="Side of a VAE tile in pixels; 0 decodes the picture whole."),
    ] = None,
    bit_depth: Annotated[
        int | None, typer.Option("--bit-depth", help="Bits a colour, 8 or 16 (for .mov and PNG).")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            "--shape",
            metavar="NAME=NUMBER",
            help="Change the face's shape, in standard deviations: --shape jaw=-1 --shape chin=+0.5.",
        ),
    ] = None,
    deca_input: Annotated[
        Literal["face", "released"] | None,
        typer.Option("--deca-input", help="What DECA sees: the face, or the squashed photo as in the release."),
    ] = None,
    consent_ref: Annotated[
        str | None,
        typer.Option("--consent-ref", help="Names the person's consent, as a contract's number; signed into it."),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show the picture as it becomes clear, on a terminal with colours.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the video if it is there.")] = False,
) -> None:
    """Make a video of a person from one photo and one prompt.

    Beside the video a sidecar (.json) keeps everything that it takes to make it again: --from renders it anew.
    Faces that were read are kept in the folder FANTASYID_FACE_CACHE, where it is set.
    The video is signed as made by a model, with the certificate FANTASYID_SIGNING_CERT and its key
    FANTASYID_SIGNING_KEY, or one for development. FANTASYID_REQUIRE_CONSENT=1 refuses renders without --consent-ref.

    Example: fantasyid-engine generate --image face.png --prompt "turns the head and smiles" --seed 7 --out out.mp4

    Example: fantasyid-engine generate --from out.json --out again.mp4

    Example: fantasyid-engine generate --from out.json --shape face_width=+1.5 --shape jaw=-1 --out wider.mp4

    Example: fantasyid-engine generate --face person.safetensors --prompt "nods" --out nods.mp4
    """
    face_index, kept = which_face(face)
    if sidecar is None and ((image is None and kept is None) or prompt is None):
        needed = "--prompt" if image or kept else "--image (or --face with a file)"
        raise typer.BadParameter(f"needs {needed}, or --from with a sidecar")
    change_of_shape = shape_change(shape or [])
    from fantasyid_engine.cli.screen import Screen
    from fantasyid_engine.engine import Engine
    from fantasyid_engine.request import check_consent
    from fantasyid_engine.result import check_save
    from fantasyid_engine.video.development import NOTE
    from fantasyid_engine.video.provenance import find_signer

    check_save(out, overwrite=overwrite)
    settings = _given(device=device, precision=precision, backend=backend, vae_tile=vae_tile)
    changes = _given(
        prompt=prompt,
        negative_prompt=negative_prompt,
        seed=seed,
        num_inference_steps=steps,
        guidance_scale=guidance,
        num_frames=frames,
        face_index=face_index,
        bit_depth=bit_depth,
        shape=change_of_shape,
        deca_input=deca_input,
        consent_ref=consent_ref,
    )
    request, recorded = _request(sidecar, {"image": image, "face": kept, "vertices": vertices}, changes)
    check_consent(request, required=consent_required())
    signer = find_signer()
    plan = recorded.plan if recorded and not settings else None
    if plan:
        settings = {"device": plan.device, "precision": plan.precision, "backend": plan.backend}
    same = recorded if model is None else None  # with --model, other weights than the recorded ones are meant
    if model is None:
        model = same.model.name if same else DEFAULT_MODEL

    kept_in = os.environ.get("FANTASYID_FACE_CACHE") or None
    with Engine.open(model, face_cache_dir=kept_in, require_consent=consent_required(), **settings) as engine:
        if same:
            same.check_weights(engine.model.digests)
        with Screen(preview=preview) as screen:
            result = engine.generate(request, on_progress=screen.show, plan=plan)
    result.save(out, overwrite=overwrite, signer=signer)
    count, height, width, _ = result.frames.shape
    say(f"wrote {out}: {count} frames of {width} x {height} at {result.fps} fps, seed {result.seed}")
    say(f"frames sha256 {result.frames_sha256}")
    if signer.development:
        complain(f"note: {NOTE}")


def which_face(word: str | None) -> tuple[int | Literal["largest", "center"] | None, Path | None]:
    """What --face says: which face of a photo, or the file of one that is kept."""
    match word:
        case None | "largest" | "center":
            return word, None
        case _ if re.fullmatch(r"-?\d{1,9}", word):
            return int(word), None
        case _ if Path(word).suffix == ".safetensors":
            return None, Path(word)
    raise typer.BadParameter(f"--face {word!r} is none of largest, center, a number, or a .safetensors file")


def shape_change(words: list[str]) -> dict[str, float] | None:
    """`jaw=-1` ... by name; None for none."""
    shape: dict[str, float] = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = None
        if not name or value is None:
            raise typer.BadParameter(f"--shape {word!r} is not NAME=NUMBER, as in jaw=-1.5")
        if name in shape:
            raise typer.BadParameter(f"--shape names {name!r} twice; name it once")
        shape[name] = value
    return shape or None


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _request(
    sidecar: Path | None, files: dict[str, Path | None], changes: dict[str, Any]
) -> "tuple[VideoRequest, Sidecar | None]":
    from fantasyid_engine.request import VideoRequest
    from fantasyid_engine.video.sidecar import read_sidecar

    if sidecar is None:
        return VideoRequest(**files, **changes), None
    recorded = read_sidecar(sidecar, **files)
    return recorded.changed(changes), recorded
