"""How well the networks of the package do on true renders of people whom they have not met."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.evaluation.observer import AvatarObserver
from fantasyid_engine.evaluation.recogniser import AvatarRecogniser
from fantasyid_engine.evaluation.vocabulary import VALUES
from fantasyid_engine.face.avatar import AvatarDetector, overlap
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.frames import Take
from fantasyid_engine.training.avatar.perception.pictures import Pictures, faces_of, heads

MIN_OVERLAP = 0.7


@dataclass(frozen=True, slots=True)
class Verification:
    """Of the recogniser: area under the curve over all pairs; how often the nearest of all photos is the right one."""

    auc: float
    rank_1: float
    people: int
    pictures: int


def verification(world: World, views: int) -> Verification:
    """The recogniser on about `views` pictures of each person, heads boxed by the detector; the first is the photo."""
    found, whose = faces_of(world, world.people * views // 2)
    recogniser, detector, people = AvatarRecogniser(), AvatarDetector(), whose.numpy()
    boxes = [
        next(iter(detector.detect(picture)), box) for picture, box in zip(found.pictures, found.boxes, strict=True)
    ]
    embeddings = recogniser.embed(list(found.pictures), boxes)
    cosines = embeddings @ embeddings.T
    upper = np.triu_indices(len(people), 1)
    same = (people[:, None] == people[None])[upper]
    first = np.array([np.flatnonzero(people == person)[0] for person in range(world.people)])
    probes = np.setdiff1d(np.arange(len(people)), first)
    nearest = cosines[probes][:, first].argmax(1)
    return Verification(
        auc=area_under_curve(cosines[upper], same),
        rank_1=float((nearest == people[probes]).mean()),
        people=world.people,
        pictures=len(people),
    )


def area_under_curve(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """How often a positive's score is above a negative's; ties count half (Mann and Whitney 1947)."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[place]
    ones, zeros = positive.sum(), (~positive).sum()
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def attribute_accuracy(world: World, samples: int, size: int = 96) -> dict[str, float]:
    """Share of clips of which the observer reads each attribute as it is, heads boxed by the detector."""
    observer, detector = AvatarObserver(), AvatarDetector()
    right = dict.fromkeys(VALUES, 0)
    for index in range(samples):
        sample = world.sample(index)
        frames = heads([sample.target], size).pictures
        boxes = [next(iter(detector.detect(frame)), None) for frame in frames]
        for name, value in observer.attributes(frames, boxes).items():
            right[name] += value == getattr(sample.attributes, name)
    return {name: count / samples for name, count in right.items()}


def found_share(takes: list[Take], size: int = 96) -> float:
    """Share of pictures in which the detector's surest head overlaps the true one by 0.7 or more."""
    detector, shown = AvatarDetector(), heads(takes, size)
    hits = 0
    for picture, box in zip(shown.pictures, shown.boxes, strict=True):
        boxes = detector.detect(picture)
        hits += bool(boxes) and overlap(boxes[0], box) >= MIN_OVERLAP
    return hits / len(shown.boxes)


def false_alarms(pictures: Pictures) -> float:
    """Share of pictures without an avatar in which the detector sees one."""
    detector = AvatarDetector()
    return sum(bool(detector.detect(picture)) for picture in pictures) / len(pictures)
