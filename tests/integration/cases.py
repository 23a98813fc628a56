"""Many runs of the command line, each a process of its own, at the price of one start.

Started as a program, this file imports what the command line imports, then forks for every request that it reads. The
fork calls the entry point of the installed command, with streams, signals and limits of its own.
"""

import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

PREFIX = "fantasyid-engine: "
COMMAND = Path(sys.executable).with_name("fantasyid-engine")
HANGS_S = 300
"""A run that takes longer is ended, and its test fails."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended.

    `code` is its exit code, or minus the signal that killed it; `changed` names the files and folders, hidden ones too,
    that are new, other or gone in the folder it ran in.
    """

    code: int
    stdout: str
    stderr: str
    changed: list[str]


class CommandLine:
    """Calls of `fantasyid-engine`. What `wrap`, a command that runs another, changes holds for all of them."""

    def __init__(self, wrap: Sequence[str | Path] = ()) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "TTY_COMPATIBLE")}
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # no other would be in a fork
        self._server = subprocess.Popen(
            [*wrap, sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=kept | one_thread
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
        stdout: str | None = None,
        stderr: str | None = None,
        most_bytes: int | None = None,
        more_memory: int | None = None,
        stop: tuple[str, int] | None = None,
    ) -> Finished:
        """Runs `fantasyid-engine ARGUMENTS`.

        Args:
            arguments: of the command.
            cwd: the folder that it runs in.
            env: variables that it sees besides those of the tests.
            stdout: a file to write its output to, instead of the result.
            stderr: likewise.
            most_bytes: the largest file that it may write.
            more_memory: bytes that it may map beyond what it has at its start.
            stop: a function, by its full name, that sends the process this signal when it is called.
        """
        request = {
            "argv": ["fantasyid-engine", *map(os.fsdecode, arguments)],
            "cwd": str(cwd),
            "env": dict(env or {}),
            "streams": [stdout, stderr],
            "most_bytes": most_bytes,
            "more_memory": more_memory,
            "stop": stop,
        }
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the process that forks is gone"
        return Finished(**json.loads(answer))


def check_line(stderr: str, *says: str, under_way: bool = False) -> None:
    """Standard error must be one line with all of `says`; where a render is under way, lines of progress precede it."""
    assert stderr.endswith("\n"), stderr
    *before, last = stderr[:-1].split("\n")
    assert all(line.startswith(PREFIX) and line.isprintable() for line in (*before, last)), stderr
    assert under_way or not before, stderr
    for part in says:
        assert part in last, stderr


def check_refused(done: Finished, code: int, *says: str, under_way: bool = False) -> None:
    """A run must have ended with this code and one line (see `check_line`), and have left nothing behind."""
    assert done.code == code, f"exit code {done.code}\n{done.stderr}"
    check_line(done.stderr, *says, under_way=under_way)
    assert done.stdout == "", done.stdout
    assert done.changed == [], done.changed


def everything_in(folder: Path) -> dict[str, tuple[int, int] | None]:
    """Size and time of all files below a folder, hidden ones too; None for folders."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None
        for path in folder.rglob("*")
    }


def _serve() -> dict[str, Any]:
    """Forks for each line of standard input; returns in the fork, with the request."""
    for module in ("cli", "engine", "face.draw", "weights.convert", "weights.inspect"):
        importlib.import_module(f"fantasyid_engine.{module}")
    gc.freeze()  # a collection would copy all that forks share
    for line in sys.stdin.buffer:
        request = json.loads(line)
        folder = Path(request["cwd"])
        before = everything_in(folder)
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        process = os.fork()
        if process == 0:
            return request | {"ends": [out_end, err_end]}
        os.close(out_end)
        os.close(err_end)
        with open(err, encoding="utf-8") as err_file, open(out, encoding="utf-8") as out_file:  # noqa: PTH123 - numbers
            stderr, stdout = err_file.read(), out_file.read()
        _, status = os.waitpid(process, 0)
        changed = {name for name, _ in before.items() ^ everything_in(folder).items()}
        answer = {"code": os.waitstatus_to_exitcode(status), "stdout": stdout, "stderr": stderr}
        sys.stdout.write(json.dumps(answer | {"changed": sorted(changed)}) + "\n")
        sys.stdout.flush()
    sys.exit(0)


def _become(request: dict[str, Any]) -> None:
    """What a shell does before it starts a program."""
    signal.alarm(HANGS_S)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    for number, path, end in zip((1, 2), request["streams"], request["ends"], strict=True):
        os.dup2(end if path is None else os.open(path, os.O_WRONLY), number)
        os.close(end)
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = request["argv"]
    if request["most_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["most_bytes"], resource.RLIM_INFINITY))
    if request["more_memory"] is not None:
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + request["more_memory"], resource.RLIM_INFINITY))
    if request["stop"] is not None:
        _stop_in(*request["stop"])


def _stop_in(name: str, number: int) -> None:
    module, _, function = name.rpartition(".")

    def stop(*arguments: Any, **options: Any) -> None:
        os.kill(os.getpid(), number)

    setattr(importlib.import_module(module), function, stop)


def _run() -> NoReturn:
    """The installed command, all but the end of the interpreter, which takes longer than most runs."""
    from fantasyid_engine.cli import main

    code = 0
    try:
        main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = 120  # as the interpreter has it
        os._exit(code)


if __name__ == "__main__":
    _become(_serve())
    _run()
