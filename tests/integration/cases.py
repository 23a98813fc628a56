"""Many runs of the command line, each a process of its own, at the price of one start.

Started as a program, this file imports what the command line imports, and then forks for each request that it reads: the
fork calls the entry point as the installed command does, with real streams, signals and limits.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

PREFIX = "fantasyid-engine: "
COMMAND = Path(sys.executable).with_name("fantasyid-engine")
TOO_LONG_S = 300
"""A run that hangs ends here, and its test fails."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended: its exit code (minus the signal that killed it), and what it printed."""

    code: int
    stdout: str
    stderr: str


class CommandLine:
    """The process that forks. `wrap` goes before its command: what it changes holds for all runs."""

    def __init__(self, scratch: Path, wrap: Sequence[str | Path] = ()) -> None:
        self._streams = scratch / "stdout", scratch / "stderr"
        # One thread: a fork has only the one that forks. Colours would make a terminal of a file.
        shown = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "TTY_COMPATIBLE")}
        self._server = subprocess.Popen(
            [*wrap, sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=shown | {"OPENBLAS_NUM_THREADS": "1"},
        )

    def __enter__(self) -> "CommandLine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.communicate()

    def __call__(
        self,
        *arguments: str | bytes | Path,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        largest_file: int | None = None,
    ) -> Finished:
        """Runs `fantasyid-engine ARGUMENTS` in folder `cwd`; no file can grow above `largest_file` bytes."""
        out, err = self._streams
        request = {
            "argv": ["fantasyid-engine", *map(os.fsdecode, arguments)],
            "cwd": str(cwd),
            "env": dict(env or {}),
            "streams": [str(out), str(err)],
            "largest_file": largest_file,
        }
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the process that forks is gone"
        return Finished(json.loads(answer), *(path.read_bytes().decode() for path in self._streams))


def everything_in(folder: Path) -> list[str]:
    """Files and folders of all depths, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def check_refused(done: Finished, code: int, *says: str, notes: bool = False) -> None:
    """A run must have ended with this code and one line of `says`; with `notes`, lines of its render may precede."""
    *before, last = done.stderr.removesuffix("\n").split("\n")
    shown = f"exit code {done.code}\n{done.stderr}"
    assert done.code == code, shown
    assert all(line.startswith(PREFIX) and line.isprintable() for line in (*before, last)), shown
    assert notes or not before, shown
    for part in says:
        assert part in last, shown
    assert done.stdout == "", done.stdout


def _serve() -> dict[str, Any]:
    """Forks for each line of standard input; returns in the fork, with the request."""
    import fantasyid_engine.cli.screen
    import fantasyid_engine.engine
    import fantasyid_engine.face.draw  # noqa: F401 - as `faces` does

    for line in sys.stdin.buffer:
        process = os.fork()
        if process == 0:
            return json.loads(line)
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    sys.exit(0)


def _become(request: dict[str, Any]) -> None:
    """What a shell does before it starts a program."""
    import signal

    signal.alarm(TOO_LONG_S)
    paths = ["/dev/null", *request["streams"]]
    for number, (path, flags) in enumerate(zip(paths, [os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT | os.O_TRUNC] * 2])):
        os.dup2(os.open(path, flags), number)
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = request["argv"]
    if request["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], resource.RLIM_INFINITY))


if __name__ == "__main__":
    _become(_serve())
    from fantasyid_engine.cli import main

    sys.exit(main())
