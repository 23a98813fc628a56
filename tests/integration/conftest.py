"""The command line, shared by the tests of what goes wrong."""

from collections.abc import Iterator

import pytest

from tests.integration.cases import CommandLine


@pytest.fixture(scope="module")
def command() -> Iterator[CommandLine]:
    with CommandLine() as command:
        yield command
