"""Which instruments look at which people: an ArcFace file means real faces, none means avatars."""

from pathlib import Path

from fantasyid_engine.evaluation.protocols import Instruments


def choose_instruments(arcface: Path | None, inception: Path | None) -> Instruments:
    """The instruments for real faces where an ArcFace file is given, else those for avatars."""
    return avatar_instruments() if arcface is None else photo_instruments(arcface, inception)


def avatar_instruments() -> Instruments:
    """Instruments for rendered avatars; all networks are in the package."""
    from fantasyid_engine.evaluation.observer import AvatarObserver
    from fantasyid_engine.evaluation.recogniser import AvatarRecogniser
    from fantasyid_engine.face.avatar import AvatarDetector

    recogniser = AvatarRecogniser()
    return Instruments(AvatarDetector(), recogniser, recogniser, AvatarObserver())


def photo_instruments(arcface: Path, inception: Path | None) -> Instruments:
    """Instruments for real faces. Without `inception`, ArcFace's own outputs are the features of the FID.

    Raises:
        WeightsError: a file is no such network.
        ConfigError: ONNX Runtime is not installed.
    """
    from fantasyid_engine.evaluation.onnx_networks import ArcFaceOnnx, OnnxFeatures
    from fantasyid_engine.face.haar import HaarDetector

    embedder = ArcFaceOnnx.open(arcface)
    features = embedder if inception is None else OnnxFeatures.open(inception)
    return Instruments(HaarDetector(), embedder, features, None)
