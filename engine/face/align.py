"""A face brought upright: five landmarks onto the FFHQ template at 512 x 512, as the released pipeline does it.

    M = [[a, -b, x], [b, a, y]]     that takes the landmarks to the template, by least median of squares (LMEDS):
                                    of similarities through two landmarks each the one with the smallest median error,
                                    then least squares over all landmarks that are near it
    crop = photo at M^-1 of each pixel, linear between pixels, the border's colour outside

Where all five are near, as most often, M is the plain least-squares similarity. Both steps are OpenCV's (4; its version
5 computes other numbers). Before it looks for faces the release brings photos to a long side of at most 1024.

Source: facexlib 0.3.0; github.com/Fantasy-AMAP/fantasy-id @ c429092.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.face.border import BORDER_RGB
from fantasyid_engine.face.detect import Photo

CROP_SIZE = 512
LONG_SIDE = 1024
TEMPLATE = (
    (192.98138, 239.94708),
    (318.90277, 240.1936),
    (256.63416, 314.01935),
    (201.26117, 371.41043),
    (313.08905, 371.15118),
)
"""Left eye, right eye, nose, left and right corner of the mouth, left and right as seen: (x, y) in the crop."""


def align_face(photo: Photo, landmarks: ArrayLike, name: str = "the photo") -> Photo:
    """RGB photo [H, W, 3], sides under 32767, and a face's landmarks in it, [5, 2] pixels -> [512, 512, 3].

    Raises:
        InputError: as `to_template`.
    """
    import cv2

    matrix = to_template(landmarks, name)
    whole = np.ascontiguousarray(photo)
    size = (CROP_SIZE, CROP_SIZE)
    crop = cv2.warpAffine(whole, matrix, size, borderMode=cv2.BORDER_CONSTANT, borderValue=BORDER_RGB)
    return np.asarray(crop, np.uint8)


def to_template(landmarks: ArrayLike, name: str = "the photo") -> NDArray[np.float64]:
    """Landmarks [5, 2] in the order of `TEMPLATE` -> [2, 3], pixels of the photo to pixels of the crop.

    Raises:
        InputError: `face_unaligned`, no similarity takes them to the template: all in one place, or not finite. `name`
            is what the message calls the photo.
    """
    import cv2

    points_52 = five_points(landmarks, name)
    matrix, _ = cv2.estimateAffinePartial2D(points_52, np.array(TEMPLATE, np.float32), method=cv2.LMEDS)
    if matrix is None or not np.isfinite(matrix).all() or not matrix[:, 0].any():
        raise _unaligned(name)
    return np.asarray(matrix, np.float64)


def five_points(landmarks: ArrayLike, name: str = "the photo") -> NDArray[np.float32]:
    """Landmarks as an array [5, 2].

    Raises:
        InputError: `face_unaligned`, they are all in one place, or not finite.
        ValueError: they are not five points.
    """
    with np.errstate(over="ignore"):  # what float32 cannot hold is not finite
        points_52 = np.asarray(landmarks, np.float32)
    if points_52.shape != (5, 2):
        raise ValueError(f"landmarks of shape {points_52.shape}; takes [5, 2]")
    if not np.isfinite(points_52).all() or (points_52 == points_52[0]).all():
        raise _unaligned(name)
    return points_52


def released_size(photo: Photo) -> Photo:
    """RGB photo [H, W, 3] -> itself, or where its long side is over 1024 reduced to that; rounded down as released."""
    import cv2

    height, width = photo.shape[:2]
    if max(height, width) <= LONG_SIDE:
        return photo
    # Not `n * 1024 / long`: the rounded factor makes every eighth long side 1023.
    factor = LONG_SIDE / max(height, width)
    size = max(1, int(width * factor)), max(1, int(height * factor))
    reduced = cv2.resize(np.ascontiguousarray(photo), size, interpolation=cv2.INTER_LANCZOS4)
    return np.asarray(reduced, np.uint8)


def _unaligned(name: str) -> InputError:
    return InputError(
        "face_unaligned",
        f"the face in {one_line(name)} cannot be aligned: its five landmarks are in one place or not finite; "
        "use a photo that shows the face larger and from the front",
    )
