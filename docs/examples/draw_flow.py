"""Draws `docs/flow.svg`: the way of a request through the engine.

python docs/examples/draw_flow.py docs/flow.svg
"""

import sys
from html import escape
from pathlib import Path

BOX = 64
BOXES = {  # name: (x, y, width, title, second line, fill)
    "photo": (20, 30, 150, "photo", "JPEG, PNG, HEIC ...", "#fff4dd"),
    "vertices": (20, 120, 150, "vertices", ".ply (DECA)", "#fff4dd"),
    "prompt": (20, 210, 150, "prompt", "and negative prompt", "#fff4dd"),
    "face": (220, 30, 190, "face", "detect, crop to 512", "#e3eefc"),
    "tokens": (450, 30, 200, "tower, conditioner", "-> keys, values a layer", "#e3eefc"),
    "mesh": (220, 120, 190, "mesh check", "count, metres, order", "#e3eefc"),
    "text": (450, 210, 200, "text", "T5, cached", "#e3eefc"),
    "image": (450, 120, 200, "VAE encode", "-> image latents", "#e3eefc"),
    "denoise": (700, 120, 190, "denoise", "solver x DiT, 50 steps", "#dff3e3"),
    "decode": (700, 210, 190, "decode", "VAE, tiles, native blend", "#dff3e3"),
    "video": (700, 300, 190, "video + sidecar", ".mp4, .mov, PNG; .json", "#fff4dd"),
}
ARROWS = [
    ("photo", "face"),
    ("face", "tokens"),
    ("vertices", "mesh"),
    ("mesh", "tokens"),
    ("face", "image"),
    ("prompt", "text"),
    ("tokens", "denoise"),
    ("image", "denoise"),
    ("text", "denoise"),
    ("denoise", "decode"),
    ("decode", "video"),
]


def path(start: str, end: str) -> str:
    """A curve from the right of one box to the left of another, or down where they stand in one column."""
    x0, y0, w0, *_ = BOXES[start]
    x1, y1, *_ = BOXES[end]
    if x0 == x1:
        middle = x0 + w0 / 2
        return f"M{middle},{y0 + BOX} L{middle},{y1 - 6}"
    a, b, c, d = x0 + w0, y0 + BOX / 2, x1 - 6, y1 + BOX / 2
    middle = (a + c) / 2
    return f"M{a},{b} C{middle},{b} {middle},{d} {c},{d}"


def draw() -> str:
    """The picture as SVG."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 910 390" font-family="sans-serif">',
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="4" refY="4" orient="auto">',
        '<path d="M0,0 L8,4 L0,8 z" fill="#556"/></marker></defs>',
        '<rect width="910" height="390" fill="#ffffff"/>',
        '<text x="20" y="360" font-size="13" fill="#556">blue: once a request, before the loop</text>',
        '<text x="290" y="360" font-size="13" fill="#556">green: the loop, and what follows it</text>',
    ]
    for start, end in ARROWS:
        curve = path(start, end)
        parts.append(f'<path d="{curve}" fill="none" stroke="#556" stroke-width="1.6" marker-end="url(#tip)"/>')
    for x, y, width, title, line, fill in BOXES.values():
        parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{BOX}" rx="8" fill="{fill}" stroke="#889"/>')
        for text, dy, size in ((title, 27, 16), (line, 48, 12.5)):
            parts.append(
                f'<text x="{x + width / 2}" y="{y + dy}" font-size="{size}" text-anchor="middle" fill="#223">'
                f"{escape(text)}</text>"
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(), encoding="utf-8")
