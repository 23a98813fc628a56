"""`fantasyid-engine train avatar-perception`: the networks that find, recognise and read avatars."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fantasyid_engine.cli.screen import say


def perception(
    out: Annotated[Path, typer.Option("--out", help="The folder that gets the weights and a log.")],
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of data, first weights and batches.")] = 0,
    only: Annotated[
        Literal["observer", "recogniser", "detector"] | None, typer.Option("--only", help="Train this one alone.")
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Pass through everything in seconds; nothing is learnt.")
    ] = False,
) -> None:
    """Train the networks that find, recognise and read avatars; minutes on a CPU.

    Example: fantasyid-engine train avatar-perception --out out/perception
    """
    from fantasyid_engine.training.avatar.perception.run import FULL, SMOKE, train_perception

    train_perception(out, budget=SMOKE if smoke else FULL, seed=seed, say=say, only=only)
    say(f"wrote {out}")
