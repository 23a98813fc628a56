"""Draws `face.png`: a portrait of nobody, for trying the engine.

python docs/examples/draw_face.py docs/examples/face.png
"""

import sys

from PIL import Image, ImageDraw, ImageFilter

SIZE, FINE = 384, 3


def draw() -> Image.Image:
    """Head and shoulders on a plain background, drawn three times as large and reduced, so that edges are smooth."""
    image = Image.new("RGB", (SIZE * FINE, SIZE * FINE), (176, 196, 209))
    pen = ImageDraw.Draw(image)

    def oval(x: float, y: float, rx: float, ry: float, colour: str) -> None:
        pen.ellipse([FINE * v for v in (x - rx, y - ry, x + rx, y + ry)], fill=colour)

    def stroke(box: tuple[float, ...], start: int, end: int, colour: str, width: float) -> None:
        pen.arc([FINE * v for v in box], start, end, fill=colour, width=round(FINE * width))

    oval(192, 178, 124, 146, "#4a2f23")  # hair behind the head
    oval(192, 420, 165, 120, "#3f6b5c")  # shoulders
    pen.rounded_rectangle([FINE * v for v in (156, 268, 228, 345)], FINE * 30, fill="#d49a7c")
    oval(192, 338, 48, 20, "#d49a7c")
    for x in (88, 296):
        oval(x, 204, 15, 26, "#dca286")
    oval(192, 196, 102, 124, "#e8b394")  # face
    pen.chord([FINE * v for v in (84, 52, 300, 236)], 186, 354, fill="#4a2f23")
    oval(192, 150, 92, 34, "#e8b394")
    for x in (134, 250):
        oval(x, 238, 20, 12, "#e79f86")  # cheeks
    for x in (148, 236):
        oval(x, 190, 22, 13, "#ffffff")
        oval(x, 190, 11, 11.5, "#5d7d3a")
        oval(x, 190, 5.5, 5.5, "#1b1512")
        oval(x + 4, 186, 2.6, 2.6, "#ffffff")
        stroke((x - 24, 175, x + 24, 215), 200, 340, "#2e1d16", 4)
        stroke((x - 30, 148, x + 30, 196), 218, 322, "#3b241a", 7)
    stroke((178, 180, 206, 244), 20, 110, "#c98d70", 4)  # nose
    stroke((174, 222, 210, 246), 30, 150, "#c07f63", 4)
    pen.chord([FINE * v for v in (156, 238, 228, 288)], 8, 172, fill="#b4524f")  # mouth
    pen.chord([FINE * v for v in (162, 246, 222, 274)], 14, 166, fill="#f6ece6")
    return image.filter(ImageFilter.GaussianBlur(FINE * 0.6)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    draw().save(sys.argv[1], optimize=True)
