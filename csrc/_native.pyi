"""Native parts of fantasyid_engine: plain C++17, no libtorch.

Letters of shapes: n tiles, h w a tile's pixels, H W the picture's, f frames of one call, F of the video.
"""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

class BuildInfo(TypedDict):
    version: str
    compiler: str
    cxx_standard: int
    threads: int

def build_info() -> BuildInfo: ...

class TilePlan:
    """Overlapping tiles of one size that cover a picture.

    Along each axis they are the fewest whose neighbours share at least the overlap that is asked for, evenly spread,
    the first at 0, the last flush with the edge. A tile larger than the picture is cut to it; where one tile covers an
    axis, its overlap does not matter.
    """

    def __init__(
        self, height: int, width: int, tile_height: int, tile_width: int, overlap_height: int, overlap_width: int
    ) -> None:
        """Sizes in pixels (or latents), each from 1; 0 <= overlap < tile.

        Raises:
            ValueError: a size or an overlap is out of range, or the plan would have over 65536 pixels on a side, 2^28
                pixels or 4096 tiles.
        """

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def tiles(self) -> NDArray[np.int64]:
        """[n, 4]: top, left, height, width of each tile; row by row."""

    def __len__(self) -> int: ...
    def scaled(self, factor: int) -> TilePlan:
        """The same plan with every coordinate multiplied, as from latents to pixels.

        Raises:
            ValueError: `factor` is below 1, or the plan would become too large.
        """

    def weights(self, tile: int) -> NDArray[np.float32]:
        """[h, w]: feathering weight of each pixel of a tile, above 0; over all tiles they sum to 1 at every pixel.

        The product of one ramp an axis. Over the s positions that two neighbours share it is (i + 1/2) / s, rising in
        one and falling in the other; at the picture's edge there is none. Where more than two tiles meet along an axis,
        the lower of a tile's two ramps counts, divided by the sum of all tiles'.

        Raises:
            ValueError: there is no such tile.
        """

class TileBlender:
    """Feathers decoded tiles into one host buffer of RGB integers.

    Float sums are kept only for pixels under several tiles, and for a frame only from its first tile to its last. The
    result is the same to the bit for any number of threads, any division into ranges of frames, and any machine. All
    methods may be called from several Python threads, on one blender too; they release the GIL.
    """

    def __init__(self, plan: TilePlan, frames: int, *, bits: int = 8, threads: int = 0) -> None:
        """For `frames` frames of integers with `bits` 8 or 16; `threads` 0 takes the machine's hardware threads.

        Raises:
            ValueError: `frames` is not from 1 to 2^20, `bits` neither 8 nor 16, or `threads` not from 0 to 1024.
            MemoryError: there is no room for the frames.
        """

    def add(self, tile: int, first_frame: int, pixels: NDArray[np.float32]) -> None:
        """Adds decoded pixels [3, f, h, w], red, green, blue, nominally in [-1, 1], of one tile in f frames.

        Every frame takes each tile exactly once, in the plan's order; frames can come in any order and division. With
        top 255 or 65535, a sum x becomes floor(min(max(x / 2 + 1/2, 0), 1) * top + 1/2) in float32; NaN becomes 0.
        Rows whose pixels lie side by side are read in place, others are copied first.

        Raises:
            ValueError: no such tile or frame, another shape or dtype, or a tile out of turn; nothing has changed then.
        """

    @property
    def complete(self) -> bool:
        """Whether every tile of every frame has come."""

    def frames(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """[F, H, W, 3]: the frames, RGB interleaved, C-contiguous. Not a copy: all calls return the same memory.

        Raises:
            ValueError: a tile of a frame has not come yet.
        """
