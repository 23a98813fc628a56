"""Files that claim to be photos, and what becomes of each: the tests' cases and the tables of `docs/photos.md`.

    python -m tests.face.corpus      # writes the page's tables anew

One file a group. Most cases hold `blocks()`, 64 x 48. What they are called, and the words beside sizes, are what the
page says.
"""

from tests.face.corpus.bmps import BMP
from tests.face.corpus.claims import CLAIMS
from tests.face.corpus.colour import COLOUR
from tests.face.corpus.damage import DAMAGE, WHOLE
from tests.face.corpus.faces import AVATARS, REAL
from tests.face.corpus.gifs import GIF
from tests.face.corpus.heifs import HEIF
from tests.face.corpus.jpegs import JPEG
from tests.face.corpus.model import Case, FaceCase, Refused, Shown
from tests.face.corpus.no_photos import NO_PHOTOS
from tests.face.corpus.orientation import ORIENTATION
from tests.face.corpus.page import MARK, PAGE, tables
from tests.face.corpus.pngs import PNG
from tests.face.corpus.sizes import SIZES
from tests.face.corpus.tiffs import TIFF
from tests.face.corpus.webps import WEBP

__all__ = ["CASES", "FACE_CASES", "MARK", "PAGE", "WHOLE", "Case", "FaceCase", "Refused", "Shown", "tables"]


GROUPS = {
    "JPEG": JPEG,
    "PNG": PNG,
    "WebP": WEBP,
    "TIFF": TIFF,
    "BMP": BMP,
    "GIF": GIF,
    "AVIF and HEIC": HEIF,
    "Orientation": ORIENTATION,
    "Colour": COLOUR,
    "Size": SIZES,
    "Claims": CLAIMS,
    "Damage": DAMAGE,
    "No photos": NO_PHOTOS,
}
CASES = [
    Case(group, name, make, result)
    for group, rows in GROUPS.items()
    for result, files in rows.items()
    for name, make in files.items()
]
FACE_CASES = [
    FaceCase(group, name, make, result)
    for group, rows in {"Faces of avatars": AVATARS, "Real faces": REAL}.items()
    for name, (make, result) in rows.items()
]
