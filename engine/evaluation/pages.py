"""Pages from the templates of this package. Everything put into them is escaped."""

from importlib.resources import files
from typing import Any

PACKAGE = "fantasyid_engine.evaluation"


def page(template: str, **values: Any) -> str:
    """A template's name and its values -> HTML."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: (files(PACKAGE) / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["zip"] = zip
    return environment.get_template(template).render(**values)
