"""`fantasyid-engine avatars`: people who do not exist, for trying models that know them and for measuring."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fantasyid_engine.cli.screen import complain, say


def avatars(
    out: Annotated[Path, typer.Argument(help="A new folder; it gets people/ (photos) and clips/ (videos, prompts).")],
    count: Annotated[int, typer.Option("--count", min=1, max=100_000, help="How many people, with a clip each.")] = 8,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Which world.")] = 0,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option("--split", help="Nobody is in two of them.")
    ] = "test",
    size: Annotated[int, typer.Option("--size", min=32, max=1024, help="Height and width, an even number.")] = 96,
    frames: Annotated[int, typer.Option("--frames", min=2, max=481, help="Of each clip, at 8 a second.")] = 13,
) -> None:
    """Render people with photos, clips and prompts. The same seed gives the same people.

    Example: fantasyid-engine avatars out/avatars --count 4 --size 256
    """
    from fantasyid_engine.training.avatar.clips import World
    from fantasyid_engine.training.avatar.folder import write_world

    if size % 2:
        raise typer.BadParameter(f"{size} is odd; H.264 takes even sizes", param_hint="--size")

    def show(done: int, total: int) -> None:
        if done == total or not done % 50:
            complain(f"rendered {done} of {total} people")

    write_world(World(seed=seed, split=split, people=count, num_frames=frames), out, count, size, on_sample=show)
    say(f"wrote {out}")
