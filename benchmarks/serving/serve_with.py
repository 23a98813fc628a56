"""`fantasyid-engine serve` with another worker: one that only sleeps, or one that breaks on purpose. For tests only."""

import argparse
import sys
from pathlib import Path

from fantasyid_engine.cli.screen import say
from fantasyid_engine.server.run import run
from fantasyid_engine.server.settings import read_settings

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    run(read_settings(options.config, {}), command=[sys.executable, str(options.worker)], tell=say)
