"""`fantasyid-engine serve`: the video API, its keys, and removing what it keeps of a person."""

import time
from contextlib import closing
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fantasyid_engine.cli.policy import consent_required
from fantasyid_engine.cli.screen import put, say
from fantasyid_engine.errors import ConfigError, InputError, some_of

if TYPE_CHECKING:
    from fantasyid_engine.server.store import Store

serve = typer.Typer(invoke_without_command=True)
NEEDED = (
    "fastapi",
    "httptools",
    "httpx",
    "idna",
    "prometheus_client",
    "python_multipart",
    "sqlalchemy",
    "standardwebhooks",
    "starlette",
    "structlog",
    "uvicorn",
    "uvloop",
)
"""What the extra `serve` brings, by the names that are imported."""
keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
serve.add_typer(keys, name="keys")
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of jobs, photos and videos.", show_default=False),
]


@serve.callback()
def serve_command(
    context: typer.Context,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on; 127.0.0.1 if not given.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="8000 if not given; 0 takes a free one.")
    ] = None,
    data: Data = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="PRESET|DIR", help="avatar-mini, fantasyid-5b, or a model folder.")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", help="One worker on it; repeat for more. Else every GPU, or the CPU."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A TOML file with these and all other settings.")
    ] = None,
    allow_input_urls: Annotated[
        bool, typer.Option("--allow-input-urls", help="Clients may name addresses of photos.")
    ] = False,
    require_consent: Annotated[
        bool, typer.Option("--require-consent", help="Refuse jobs that name no consent_ref.")
    ] = False,
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Log prompts as they are.")] = False,
) -> None:
    """Serve videos over HTTP: the OpenAI-compatible API of videos, and a page for people.

    Without API keys only this machine may ask; `serve keys create NAME` makes one. SIGTERM lets renders finish
    or saves them; the next start goes on with them. FANTASYID_REQUIRE_CONSENT=1 is as --require-consent.

    Example: fantasyid-engine serve

    Example: fantasyid-engine serve --host 0.0.0.0 --device cuda:0 --device cuda:1 --config serve.toml
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(f"serving needs {some_of(missing)}: pip install 'fantasyid-engine[serve]'")
    if context.invoked_subcommand is not None:
        return
    from fantasyid_engine.server.run import run
    from fantasyid_engine.server.settings import read_settings

    given = {
        "host": host,
        "port": port,
        "data": data,
        "model": model,
        "devices": device or None,
        "allow_input_urls": allow_input_urls or None,
        "require_consent": require_consent or consent_required() or None,
        "log_prompts": log_prompts or None,
    }
    run(read_settings(config, {name: value for name, value in given.items() if value is not None}), tell=say)


@keys.command("create")
def create_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who it is for.")],
    max_queued: Annotated[
        int | None, typer.Option("--max-queued", min=1, help="Jobs of this key that may wait.")
    ] = None,
    data: Data = None,
) -> None:
    """Make an API key. It is shown once; only its hash is kept.

    Example: fantasyid-engine serve keys create farm-1
    """
    with closing(_opened(data)) as store:
        key, token = store.add_key(name, now=time.time(), max_queued=max_queued)
    say(f"key {key.id} for {key.name}; it is not shown again:")
    put(token)


@keys.command("list")
def list_command(data: Data = None) -> None:
    """List API keys: name, id, when made, when revoked.

    Example: fantasyid-engine serve keys list
    """
    with closing(_opened(data)) as store:
        found = store.keys()
    if not found:
        say("no keys; fantasyid-engine serve keys create NAME makes one")
    for key in found:
        ended = "" if key.revoked_at is None else f"  revoked {_day(key.revoked_at)}"
        say(f"{key.name}  {key.id}  made {_day(key.created_at)}{ended}")


@keys.command("revoke")
def revoke_command(
    name: Annotated[str, typer.Argument(metavar="NAME|ID", help="The key's name or id.")], data: Data = None
) -> None:
    """Revoke an API key; a running server refuses it from then on. Its jobs stay.

    Example: fantasyid-engine serve keys revoke farm-1
    """
    with closing(_opened(data)) as store:
        key = store.revoke_key(name, now=time.time())
    if key is None:
        raise InputError("key_unknown", f"there is no key {name!r}; fantasyid-engine serve keys list shows all")
    say(f"revoked {key.id} ({key.name})")


@serve.command("purge")
def purge_command(
    photo: Annotated[
        Path | None, typer.Option("--photo", metavar="FILE", help="Of the person in this very file.")
    ] = None,
    consent_ref: Annotated[str | None, typer.Option("--consent-ref", help="Of the person with this consent.")] = None,
    older_than_days: Annotated[
        float | None, typer.Option("--older-than-days", min=0, help="Of jobs that were made before.")
    ] = None,
    data: Data = None,
) -> None:
    """Remove photos, faces, jobs and videos of a person, or old ones, while no server runs on the folder.

    A running server does it through POST /v1/purge.

    Example: fantasyid-engine serve purge --photo face.jpg
    """
    from fantasyid_engine.server.purge import purge_folder
    from fantasyid_engine.server.settings import server_home

    if photo is None and consent_ref is None and older_than_days is None:
        raise typer.BadParameter("needs --photo, --consent-ref or --older-than-days")
    before = None if older_than_days is None else time.time() - older_than_days * 86_400
    gone = purge_folder(data or server_home(), photo=photo, consent_ref=consent_ref, before=before)
    say(f"removed {gone.jobs} jobs, {gone.videos} videos, {gone.photos} photos, and the faces that were kept")


def _opened(data: Path | None) -> "Store":
    from fantasyid_engine.server.settings import server_home
    from fantasyid_engine.server.store import Store

    folder = data or server_home()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}; name another with --data") from None
    return Store(folder / "jobs.sqlite")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
