"""Which words after `faces` are commands, which are photos."""

import pytest
from typer.testing import CliRunner, Result

from fantasyid_engine.cli import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["faces", *arguments])


def test_help_is_of_the_group() -> None:
    for arguments in ((), ("--help",)):
        output = run(*arguments).output
        assert "encode" in output and "--avatars" not in output


def test_help_of_a_command() -> None:
    assert "--avatars" in run("list", "--help").output


@pytest.mark.parametrize("option", ["-h", "--nonsense"])
def test_an_option_that_is_none(option: str) -> None:
    """Is one of `list`, as everything that names no command."""
    done = run(option)
    assert done.exit_code == 2 and f"No such option: {option}" in done.output
    assert "faces list" in done.output


@pytest.mark.parametrize("arguments", [("nowhere.png",), ("list", "nowhere.png"), ("--avatars", "nowhere.png")])
def test_a_photo_is_listed(arguments: tuple[str, ...]) -> None:
    error = run(*arguments).exception
    assert "nowhere.png does not exist" in str(error)
