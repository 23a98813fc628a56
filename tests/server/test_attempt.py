"""Percent of a render, from what its worker says."""

from hypothesis import given
from hypothesis import strategies as st

from fantasyid_engine.server.attempt import SHARES, Attempt, percent_of
from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.messages import Progress

LEASE = "0" * 32


def job(**values: object) -> Job:
    made = {
        "key_id": "local",
        "settings": {"prompt": "smiles", "num_inference_steps": 50},
        "photo_sha256": "0" * 64,
        "size": "64x64",
        "num_frames": 9,
        "fps": 8,
        "model": "m",
        "id": "video_" + "0" * 32,
        "sequence": 1,
        "state": "in_progress",
        "created_at": 0.0,
        "lease": LEASE,
    }
    return Job(**made | values)  # pyright: ignore[reportArgumentType]


def test_most_of_a_render_is_denoising() -> None:
    assert percent_of("face", 0, 1) == 0 and percent_of("denoise", 0, 50) == 7 and percent_of("denoise", 50, 50) == 90
    assert percent_of("decode", 1, 1) == sum(SHARES.values()) == 99
    assert percent_of("anything else", 1, 1) == 0


reports = st.tuples(st.sampled_from([*SHARES, "unknown"]), st.integers(-1, 60), st.integers(0, 50))


@given(st.lists(reports), st.integers(0, 50))
def test_it_never_falls(said: list[tuple[str, int, int]], saved: int) -> None:
    attempt = Attempt.of(job(steps_saved=saved), 50, 0.0)
    percents = [attempt.live.percent]
    for stage, step, steps in said:
        attempt.hear(Progress(lease=LEASE, stage=stage, step=step, steps=steps), 1.0)
        percents.append(attempt.live.percent)
    assert percents == sorted(percents) and percents[0] >= 0 and percents[-1] < 100


def test_stages_and_notes() -> None:
    attempt = Attempt.of(job(steps_saved=25), 10, 100.0)
    assert attempt.live.percent == percent_of("denoise", 25, 50)
    assert attempt.hear(Progress(lease=LEASE, stage="face", step=1, steps=1, note="one"), 101.0) is None
    ended = attempt.hear(Progress(lease=LEASE, stage="text", step=0, steps=1), 103.0)
    assert ended == ("face", 100.0, 103.0)
    attempt.hear(Progress(lease=LEASE, stage="text", step=1, steps=1, note="two", eta_s=3.0), 105.0)
    live = attempt.live
    assert (live.stage, live.step, live.steps, live.eta_s) == ("text", 1, 1, 3.0)
    assert live.notes == ("one", "two")
    assert attempt.end_stage("text", 106.0) == ("text", 103.0, 106.0)
