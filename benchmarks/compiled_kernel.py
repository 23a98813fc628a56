"""What came out of a kernel that was compiled ahead of time, and what does not hold of it."""

import re
from dataclasses import dataclass

SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}


@dataclass(frozen=True)
class Compiled:
    """What came out; `overwritten` as the function counts it."""

    name: str
    target: int
    registers: int
    shared_bytes: int
    spilled_bytes: int
    mma: int
    wgmma: int
    overwritten: int | None

    def faults(self, dots: bool) -> list[str]:
        """What does not hold."""
        found = []
        if self.spilled_bytes:
            found.append(f"spills {self.spilled_bytes} bytes")
        if self.shared_bytes > SHARED_LIMIT[self.target]:
            found.append(f"takes {self.shared_bytes} bytes of shared memory, of {SHARED_LIMIT[self.target]}")
        if dots and not (self.wgmma if self.target == 90 else self.mma):
            found.append("has no tensor-core instruction")
        if self.wgmma and self.overwritten is None:
            found.append("has products whose tiles are not found: mend `overwritten` for this Triton")
        if self.overwritten:
            found.append(f"fills {self.overwritten} tiles anew while a product may read them")
        return [f"{self.name} for sm_{self.target} {fault}" for fault in found]


def overwritten(ttgir: str, stages: int) -> int | None:
    """Tiles of a loop's asynchronous products with too few buffers; None where no such tile is found.

    Loads run `stages` - 1 turns ahead, and each product still in flight when the next one starts keeps a buffer.
    """
    buffers = dict(re.findall(r"(%\w+) = ttg\.memdesc_index[^\n]*?memdesc<(\d+)x", ttgir))
    waits = r"warp_group_dot (%\w+), (%\w+),[^\n]*isAsync = true[^\n]*\n[^\n]*warp_group_dot_wait[^\n]*pendings = (\d+)"
    tiles = [
        (int(buffers[operand]), stages - 1 + int(pending))
        for *operands, pending in re.findall(waits, ttgir)
        for operand in operands
        if operand in buffers
    ]
    return sum(there < needed for there, needed in tiles) if tiles else None
