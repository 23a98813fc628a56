"""`fantasyid-engine doctor`: is this machine ready, and if not, what to do."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from fantasyid_engine.cli.screen import put, say
from fantasyid_engine.errors import ConfigError


def doctor(
    model: Annotated[
        str | None, typer.Option("--model", metavar="PRESET|DIR", help="Also check this model's files.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check this machine: libraries, devices, codecs, models, and one tiny render from photo to file.

    Ends with "ready", or with what to do.

    Example: fantasyid-engine doctor --model models/fantasyid-5b
    """
    from fantasyid_engine.doctor import examine

    report = examine(model)
    if as_json:
        put(json.dumps({"ready": report.ready, "checks": [asdict(check) for check in report.checks]}, indent=1))
    else:
        for check in report.checks:
            say(f"{check.state:<9}{check.name:<20}{check.detail}" + (f" -> {check.fix}" if check.fix else ""))
        say("ready" if report.ready else f"not ready: {report.fixes[0]}")
    if not report.ready:
        raise typer.Exit(ConfigError.exit_code)
