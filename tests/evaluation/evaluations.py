"""Evaluations made up by hand, for tables and reports."""

from dataclasses import replace

from fantasyid_engine.evaluation.adherence import Score, Shown
from fantasyid_engine.evaluation.measure import ClipMeasures, Evaluation, MethodMeasures
from fantasyid_engine.face.detect import FaceBox

BOX = FaceBox(1.0, 2.0, 30.5, 31.0, 0.75)

CLIP = ClipMeasures(
    video="out/a.mp4",
    reference="people/a.png",
    frames=3,
    faces=2 / 3,
    rs=0.5,
    ifs=None,
    fm=0.4,
    rs_by_frame=(0.4, None, 0.6),
    ifs_by_pair=(None, None),
    fm_by_pair=(None, 0.4),
    boxes=(BOX, None, BOX),
    prompt="the person nods",
    shown=Shown({"motion": "nod", "colour": "red"}, {"motion": "nod", "colour": "blue"}),
)

OURS = MethodMeasures(
    name="ours",
    fid=142.5,
    fid_crops=2,
    rs=0.57,
    ifs=0.95,
    fm=0.61,
    faces=1.0,
    adherence={"motion": Score(0.75, 4, 1 / 9), "light_from": Score(0.5, 2, 0.25)},
    clips=(CLIP, replace(CLIP, video="out/b.mp4", fm=None, prompt=None, shown=None)),
)

THEIRS = replace(
    OURS, name="theirs", fid=138.274, rs=0.35, ifs=0.98, fm=None, adherence={"motion": Score(0.1, 4, 1 / 9)}
)

EVALUATION = Evaluation(
    fid_label="FID-avatar",
    fid_against="references",
    fid_against_crops=50,
    instruments={"detector": "d", "embedder": "e", "features": "avatar", "observer": None},
    methods=(OURS, THEIRS),
    notes=("something to know",),
)
