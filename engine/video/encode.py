"""Encoding, in memory: frames [F, H, W, 3] RGB, uint8 or uint16, to the bytes of a container or of PNG pictures.

In memory, because PyAV leaves a file of its own open when its first bytes cannot be written, and learns of others only
when it closes it; and what is encoded is small beside the frames.
"""

import io
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.video.colours import tag_as_bt709, to_picture, to_yuv
from fantasyid_engine.video.formats import ContainerFormat


def encode_container(frames: NDArray[Any], format: ContainerFormat, fps: int, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file, its index first. Raises the errors of PyAV."""
    import av

    file = io.BytesIO()
    with av.open(
        file,
        "w",
        format=format.container,
        # Metadata of any key and length; the index first, for which the muxer reads what it has written.
        container_options={"movflags": "faststart+use_metadata_tags"},
        io_open=lambda *_: io.BytesIO(file.getvalue()),
    ) as container:
        container.metadata.update(metadata)
        stream = container.add_stream(format.encoder, rate=fps, options=dict(format.options))
        _, stream.height, stream.width, _ = frames.shape
        stream.pix_fmt = format.pixel_format
        tag_as_bt709(stream.codec_context)
        for index, frame in enumerate(frames):
            yuv = to_yuv(_eight_bits(frame) if format.bits == 8 else frame, format.pixel_format)
            yuv.pts = index
            container.mux(stream.encode(yuv))
        container.mux(stream.encode())
    return file.getvalue()


def _eight_bits(frame: NDArray[Any]) -> NDArray[Any]:
    """Rounds 0..65535 to 0..255; 65535 = 255 * 257."""
    return frame if frame.dtype == np.uint8 else ((frame.astype(np.uint32) + 128) // 257).astype(np.uint8)


def encode_pictures(frames: NDArray[Any]) -> Iterator[bytes]:
    """The bytes of a PNG file a frame, 8 or 16 bit as the frames are. Raises the errors of PyAV."""
    import av

    encoder = av.CodecContext.create("png", "w")
    _, encoder.height, encoder.width, _ = frames.shape
    encoder.pix_fmt = "rgb24" if frames.dtype == np.uint8 else "rgb48be"
    encoder.sample_aspect_ratio = Fraction(1)
    encoder.time_base = Fraction(1)  # demanded of every encoder, though no picture keeps it
    encoder.options = {"pred": "mixed", "threads": "1"}
    for frame in frames:
        (packet,) = encoder.encode(to_picture(frame))
        yield bytes(packet)
