"""What goes out: frames, and the record that makes them again."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from fantasyid_engine import __version__
from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.config.serialise import to_json_object
from fantasyid_engine.errors import one_line
from fantasyid_engine.face.conditioning import FaceRecord
from fantasyid_engine.job import Job
from fantasyid_engine.progress import Watch
from fantasyid_engine.request import is_text
from fantasyid_engine.runtime.machine import machine, versions
from fantasyid_engine.vae.decode import Frames
from fantasyid_engine.video.certificates import Signer
from fantasyid_engine.video.provenance import Render, Seal, find_signer
from fantasyid_engine.video.sidecar import FORMAT, check_place, record_text, sidecar_path
from fantasyid_engine.video.write import check_output, write_video
from fantasyid_engine.weights.model import Model


@dataclass(frozen=True, slots=True)
class VideoResult:
    """A rendered video.

    Attributes:
        frames: RGB [F, H, W, 3], uint8 or, at 16 bits, uint16.
        fps: frames a second.
        seed: the seed that was used.
        notes: what the user should know about this render.
        record: everything that it takes to render it again; what the sidecar holds.
    """

    frames: Frames
    fps: int
    seed: int
    notes: tuple[str, ...]
    record: dict[str, Any]

    @property
    def frames_sha256(self) -> str:
        """Hex digest over size, bit depth and values of the frames."""
        return self.record["output"]["frames_sha256"]

    def save(
        self, path: str | Path, *, overwrite: bool = True, signer: Signer | Literal["auto"] | None = "auto"
    ) -> Path:
        """Writes the video, signed, and its sidecar, each whole or not at all.

        Args:
            path: `.mp4` (H.264), `.mov` (ProRes), or a name without suffix: a folder of PNG pictures.
            overwrite: replace a file that is there. A folder must be new or empty.
            signer: who signs that a model made it; auto is what `find_signer` finds, None leaves it unsigned.

        Returns:
            The path written.

        Raises:
            OutputError: the path cannot be written, or its suffix is none of these.
            InputError: `size_unsupported`, frames that the format cannot hold.
            ConfigError: there is no certificate that can sign; see `find_signer`.
        """
        path = Path(path)
        check_save(path, overwrite=overwrite)
        if signer == "auto":
            signer = find_signer()
        seal = None if signer is None else Seal(signer, self._said())
        # One inside the other: where either cannot be written, neither is.
        with atomic_file(sidecar_path(path)) as sidecar:
            sidecar.write_text(record_text(self.record) + "\n", encoding="utf-8")
            write_video(self.frames, path, self.fps, metadata=self.metadata(), seal=seal)
        return path

    def metadata(self) -> dict[str, str]:
        """What the video file itself says: title, and the whole record as a comment."""
        prompt = one_line(self.record["request"]["prompt"])
        return {"title": prompt, "comment": record_text(self.record), "encoder": f"fantasyid-engine {__version__}"}

    def _said(self) -> Render:
        return Render(
            model=Path(self.record["model"]["name"]).name,  # where the folder is, is nobody's business
            seed=self.seed,
            num_frames=len(self.frames),
            frames_sha256=self.frames_sha256,
            consent_ref=self.record["request"].get("consent_ref"),
        )


def frames_digest(frames: Frames) -> str:
    """SHA-256 over shape, type and values."""
    digest = hashlib.sha256(f"{frames.dtype}{frames.shape}".encode())
    digest.update(frames.tobytes())
    return digest.hexdigest()


def check_save(path: Path, *, overwrite: bool) -> None:
    """Refuses, before any work, a path that `VideoResult.save` could not write.

    Raises:
        OutputError: see `check_output`; or the sidecar would replace another file.
    """
    check_output(path, overwrite=overwrite)
    check_place(sidecar_path(path))


def make_record(job: Job, model: Model, frames: Frames, face: FaceRecord, watch: Watch) -> dict[str, Any]:
    """Everything that it takes to render a job's frames again, and what is worth knowing about them."""
    count, height, width, _ = frames.shape
    request = job.request
    sources = {name: _absolute(getattr(request, name)) for name in ("image", "face", "vertices")}
    return {
        "format": FORMAT,
        "request": asdict(request) | sources,
        "inputs": {
            "image_sha256": face.photo_sha256,
            "vertices_sha256": face.vertices_sha256,
            "face_sha256": job.face.digests.get("face"),
        },
        "plan": to_json_object(job.plan),
        "model": {
            "name": model.name,
            "form": model.network.config.form,
            "trained": model.render.trained,
            "weights": dict(model.digests),
        },
        "face": asdict(face),
        "output": {
            "frames_sha256": frames_digest(frames),
            "num_frames": count,
            "height": height,
            "width": width,
            "fps": model.render.fps,
        },
        "notes": list(watch.notes),
        "durations_s": {stage: round(seconds, 3) for stage, seconds in watch.durations_s.items()},
        "versions": versions(),
        "machine": machine(model.vae.device),
    }


def _absolute(source: str | Path | bytes | None) -> str | None:
    """Where an input is; None for one that was given as bytes, or whose name is no text."""
    path = str(Path(source).absolute()) if isinstance(source, str | Path) else None
    return path if path is None or is_text(path) else None
