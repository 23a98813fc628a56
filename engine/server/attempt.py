"""One attempt at a job, as far as its worker has told of it.

Percent are shares of the stages by what they usually take; they never fall, also where a render begins anew.
"""

from dataclasses import dataclass, replace

from fantasyid_engine.server.hub import Live
from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.messages import Progress

SHARES = {"face": 3, "text": 2, "image": 2, "denoise": 83, "decode": 9}
"""Percent; what is missing to 100 is for writing the video."""


def percent_of(stage: str, step: int, steps: int) -> int:
    """Percent of a whole render that are done with `step` of `steps` of a stage; 0 for a stage that is unknown."""
    if stage not in SHARES:
        return 0
    order = list(SHARES)
    before = sum(SHARES[name] for name in order[: order.index(stage)])
    return before + int(SHARES[stage] * min(1.0, max(0.0, step / max(1, steps))))


@dataclass(slots=True)
class Attempt:
    """A job that a worker renders.

    Attributes:
        job: as it was claimed.
        lease: of this attempt.
        live: how far it is.
        stage_began: when the stage of `live` began, seconds since 1970.
        told_to_stop: no more is wanted of it than its end.
    """

    job: Job
    lease: str
    live: Live
    stage_began: float
    told_to_stop: bool = False

    @classmethod
    def of(cls, job: Job, default_steps: int, now: float) -> "Attempt":
        """Begins where the saved state is."""
        assert job.lease is not None, "it was claimed"
        steps = job.settings.get("num_inference_steps") or default_steps
        reached = percent_of("denoise", job.steps_saved, steps) if job.steps_saved else 0
        return cls(job, job.lease, Live(stage="face", step=0, steps=1, percent=reached), now)

    def hear(self, message: Progress, now: float) -> tuple[str, float, float] | None:
        """Takes in what the worker said; returns the stage that ended with it: its name, begin and end."""
        live = self.live
        self.live = replace(
            live,
            stage=message.stage,
            step=message.step,
            steps=message.steps,
            percent=max(live.percent, percent_of(message.stage, message.step, message.steps)),
            eta_s=message.eta_s,
            notes=live.notes if message.note is None else (*live.notes, message.note),
        )
        return None if message.stage == live.stage else self.end_stage(live.stage, now)

    def end_stage(self, stage: str, now: float) -> tuple[str, float, float]:
        """The stage that ends now: its name, begin and end."""
        began, self.stage_began = self.stage_began, now
        return stage, began, now
