"""What the environment asks of a server, and what a server needs of it."""

import ast
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fantasyid_engine.server
from fantasyid_engine.cli import app
from fantasyid_engine.cli.serve import NEEDED
from fantasyid_engine.server.settings import Settings

BASE = {"fantasyid_engine", "PIL", "numpy", "pydantic", "pynvml", "torch"}
OPTIONAL = {"opentelemetry"}
"""Of the extra `otel`."""


@pytest.mark.parametrize(
    ("value", "words", "required"),
    [
        (None, [], False),
        ("", [], False),
        ("0", [], False),
        ("0", ["--require-consent"], True),
        ("1", [], True),
        ("no", [], True),
    ],
)
def test_consent(
    value: str | None, words: list[str], required: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the file too."""
    (tmp_path / "serve.toml").write_text("require_consent = false\n")
    found: list[Settings] = []
    monkeypatch.setattr("fantasyid_engine.server.run.run", lambda settings, tell: found.append(settings))
    if value is not None:
        monkeypatch.setenv("FANTASYID_REQUIRE_CONSENT", value)
    arguments = ["serve", "--config", str(tmp_path / "serve.toml"), *words]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert [settings.require_consent for settings in found] == [required]


def test_everything_that_the_server_imports_is_asked_for() -> None:
    imported = set()
    for file in Path(fantasyid_engine.server.__file__ or "").parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    assert len(imported) > 30
    assert imported - sys.stdlib_module_names - BASE - OPTIONAL <= set(NEEDED)
