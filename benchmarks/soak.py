"""What must hold of `fantasyid-engine serve` when things go wrong, with real processes that really die.

    python benchmarks/soak.py [--short] [SCENARIO ...]

Writes results/soak.{json,md}; leaves with 1 where a scenario did not pass. `--short` tries each in a small way; the
tests of tests/server hold the same.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from report import RESULTS, write_report
from serving import faults, floods, kills
from serving.outcome import Outcome

Scenario = Callable[[Path], Outcome]
FULL: dict[str, Scenario] = {
    "resume": kills.resume,
    "kill workers": kills.kill_workers,
    "kill server": kills.kill_server,
    "worker dies alone": kills.worker_dies_alone,
    "out of memory": faults.out_of_memory,
    "poison": faults.poison,
    "malformed uploads": faults.malformed_uploads,
    "schema": faults.schema,
    "disk full": faults.disk_full,
    "disconnects and cancels": floods.disconnects_and_cancels,
    "long queue": floods.long_queue,
}
SHORT: dict[str, Scenario] = FULL | {
    "resume": partial(kills.resume, steps=12, at=5),
    "kill workers": partial(kills.kill_workers, jobs=12, kills=2),
    "kill server": partial(kills.kill_server, jobs=8, kills=2),
    "worker dies alone": partial(kills.worker_dies_alone, callers=4),
    "poison": partial(faults.poison, others=2),
    "schema": partial(faults.schema, examples=10, least=100),
    "disconnects and cancels": partial(floods.disconnects_and_cancels, clients=6, cancels=6),
    "long queue": partial(floods.long_queue, jobs=1_000),
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(FULL))
    options = parser.parse_args()
    scenarios = SHORT if options.short else FULL
    passed = True
    for name in options.scenarios or scenarios:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            outcome = scenarios[name](Path(folder))
        passed &= outcome.passed
        print(f"{name}: {'passed' if outcome.passed else 'FAILED'} {outcome.figures}", flush=True)
        if not options.short:
            keep(name, outcome)
    return 0 if passed else 1


def keep(name: str, outcome: Outcome) -> None:
    """Puts an outcome beside those of the other scenarios, which may be of an earlier commit."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    file = RESULTS / "soak.json"
    known = json.loads(file.read_text())["results"] if file.exists() else {}
    known[name] = asdict(outcome) | {"commit": commit.stdout.strip() or "unknown"}
    rows = ["| test | asked | measured | passed | commit |", "|---|---|---|---|---|"]
    for test in (test for test in FULL if test in known):
        row = known[test]
        figures = "; ".join(f"{what}: {value}" for what, value in row["figures"].items())
        rows.append(f"| {test} | {row['asked']} | {figures} | {'yes' if row['passed'] else 'NO'} | {row['commit']} |")
    write_report("soak", known, "\n".join(rows), torch.device("cpu"))


if __name__ == "__main__":
    sys.exit(main())
