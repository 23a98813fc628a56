"""The multi-view collection: of many pictures of a person, those from the most different sides.

    first    the most frontal one
    then     again and again the one whose nearest chosen picture is furthest (greedy farthest point)

The distance of two head poses is that of their angles (yaw, pitch, roll) in radians.
Source: FantasyID paper, section 3.2, which takes six and does not say how; Gonzalez 1985 (the greedy rule, which gives
at least half of the best smallest distance).

N pictures.
"""

import numpy as np
from numpy.typing import NDArray

VIEWS = 6


def farthest_views(poses_N3: NDArray[np.floating], count: int = VIEWS) -> list[int]:
    """Places of the chosen pictures, in the order of choice; of equals the first.

    Args:
        poses_N3: yaw, pitch and roll of each picture in radians.
        count: how many to choose; where there are fewer different poses, all of those.

    Raises:
        ValueError: no pictures, a count below 1, or angles that are no numbers.
    """
    poses = np.asarray(poses_N3, np.float64)
    if poses.ndim != 2 or poses.shape[1] != 3 or not len(poses) or count < 1 or not np.isfinite(poses).all():
        raise ValueError(
            f"farthest_views: poses of shape {poses.shape} and {count=}; takes finite [N, 3] and 1 or more"
        )
    chosen = [int(np.square(poses).sum(1).argmin())]
    nearest = np.full(len(poses), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.square(poses - poses[chosen[-1]]).sum(1))
        furthest = int(nearest.argmax())
        if nearest[furthest] == 0:
            break
        chosen.append(furthest)
    return chosen
