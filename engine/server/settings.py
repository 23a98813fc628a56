"""How a server runs: what an operator may set, by options of `serve`, or in a TOML file."""

import tomllib
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.server.webhooks import read_secret
from fantasyid_engine.video.development import data_home

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Size = Annotated[int, Field(ge=1, le=1 << 40)]
Seconds = Annotated[float, Field(gt=0, le=10_000_000)]


def _secret(text: str) -> str:
    read_secret(text)
    return text


Secret = Annotated[str, AfterValidator(_secret)]


def server_home() -> Path:
    """Where jobs, photos and videos are kept unless a folder is named."""
    return data_home() / "serve"


class Settings(BaseModel):
    """Settings of one server; names and units as in a TOML file.

    Attributes:
        data: folder of the store and all files.
        host: address to listen on; other than the machine's own it takes an API key.
        port: 0 lets the system choose.
        allowed_hosts: further names that clients may call this server by (`Host` header).
        model: preset or model folder.
        fail_other_models: jobs that wait for another model fail; else the server does not start while there are some.
        devices: one worker each; empty takes every GPU, or else the CPU.
        precision: of the networks' numbers.
        max_body_bytes: of a request.
        max_bytes_in_flight: of all requests whose bodies are being taken or worked on; one body is taken in any case.
        max_connections: at a time; fewer where the system allows too few open files.
        max_photo_pixels: of a photo, judged by its header.
        max_prompt_chars: of a prompt.
        max_steps: denoising steps that a client may ask for.
        max_frames: frames that a client may ask for; None leaves that to the model.
        max_queued: jobs that wait, of all clients.
        max_queued_per_key: jobs that wait, of one key.
        max_creates_per_minute: jobs made by one key; None sets no limit.
        max_attempts: workers that a job may take down before it fails.
        save_every_steps: a render's state is written every so many steps.
        preview_every_s: seconds between previews; None makes none.
        lease_s: a worker that says nothing for this long has lost its job.
        step_timeout_s: a worker whose render does not get further for this long is killed.
        start_timeout_s: a worker that is not ready after this long is killed.
        drain_s: seconds that renders may go on when the server is asked to stop; then they are saved.
        retention_hours: finished jobs and their files are kept this long; None keeps them.
        allow_input_urls: photos may be fetched from addresses that clients name.
        webhook_secret: signs webhooks (`whsec_...`); None sends none.
        webhook_http: webhooks may go to `http` addresses.
        allowed_networks: addresses that are not public, but may be reached for webhooks and photos.
        require_consent: every job must name a `consent_ref`.
        log_prompts: prompts are logged as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(default_factory=server_home)
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    allowed_hosts: tuple[str, ...] = ()
    model: str = "avatar-mini"
    fail_other_models: bool = False
    devices: tuple[str, ...] = ()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    max_body_bytes: Size = 24 << 20
    max_bytes_in_flight: Size = 256 << 20
    max_connections: Count = 1_000
    max_photo_pixels: Size = 50_000_000
    max_prompt_chars: Count = 4_000
    max_steps: Count = 200
    max_frames: Count | None = None
    max_queued: Count = 20_000
    max_queued_per_key: Count = 5_000
    max_creates_per_minute: Count | None = None
    max_attempts: Count = 3
    save_every_steps: Count = 5
    preview_every_s: Seconds | None = 2.0
    lease_s: Seconds = 30.0
    step_timeout_s: Seconds = 900.0
    start_timeout_s: Seconds = 1_800.0
    drain_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    retention_hours: Seconds | None = 168.0
    allow_input_urls: bool = False
    webhook_secret: Secret | None = None
    webhook_http: bool = False
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    require_consent: bool = False
    log_prompts: bool = False


def read_settings(file: Path | None, options: dict[str, Any]) -> Settings:
    """The settings of a TOML file, with options that were given put over them.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or has no allowed value; of `webhook_secret` the
            message repeats nothing.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return Settings.model_validate(values | options)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        source = "serve" if file is None or first["loc"][0] in options else str(file)
        raise ConfigError(f"{source}: {place}: {first['msg']}") from None
