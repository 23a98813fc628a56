"""`python -m fantasyid_engine.server.worker --fd N --model M --device D --precision P --faces FOLDER`."""

import argparse
import ctypes
import logging
import signal
import sys
import threading
import time

from fantasyid_engine.server.messages import Alive
from fantasyid_engine.server.worker.channel import Channel, NotUnderstood, leave
from fantasyid_engine.server.worker.orders import Orders

log = logging.getLogger("fantasyid_engine.server.worker")

HEARTBEAT_S = 1.0
NOT_UNDERSTOOD = 76
"""Exit code; `EX_PROTOCOL` of sysexits.h."""
PR_SET_PDEATHSIG = 1


def main() -> int:
    """Works until the socket ends; returns the exit code of a worker that cannot."""
    arguments = parse(sys.argv[1:])
    die_with_parent()
    ignore_signals()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    channel, orders = Channel(arguments.fd), Orders()
    for loop in (listen, beat):
        threading.Thread(target=loop, args=(channel, orders), name=loop.__name__, daemon=True).start()
    # Only now, for it takes seconds: torch and all models' code.
    from fantasyid_engine.server.worker.work import work

    return work(arguments.model, arguments.device, arguments.precision, arguments.faces, channel, orders)


def parse(words: list[str]) -> argparse.Namespace:
    """The command line; every option is required."""
    parser = argparse.ArgumentParser(prog="fantasyid_engine.server.worker", allow_abbrev=False)
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the socket to the server")
    parser.add_argument("--model", required=True, help="preset or model folder")
    parser.add_argument("--device", required=True, help="cpu, cuda or cuda:N")
    parser.add_argument("--precision", required=True, choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--faces", required=True, help="folder of faces that were read, shared by workers")
    return parser.parse_args(words)


def die_with_parent() -> None:
    """The kernel kills this process when the server is gone, also where it hangs in native code."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def ignore_signals() -> None:
    """A service manager or a terminal may stop all processes of a server: workers are stopped by the server alone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def listen(channel: Channel, orders: Orders) -> None:
    """Hands on what the server says; the end of the socket is the end of the worker."""
    try:
        for message in channel.receive():
            orders.take(message)
    except NotUnderstood as error:
        log.error("%s", error)
        leave(NOT_UNDERSTOOD)
    leave(0)


def beat(channel: Channel, orders: Orders) -> None:
    """Says each second that this process lives."""
    while True:
        channel.send(Alive())
        time.sleep(HEARTBEAT_S)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    leave(code)
