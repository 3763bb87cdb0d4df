"""The pages' templates, and the one way to fill them."""

import shlex
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from fl.reports.number_format import estimate, number
from fl.reports.pages.sentences import interval, percent, signed
from fl.reports.terminal.notices import NOTICE


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates in which everything is escaped and a missing value is an error."""
    made = Environment(
        loader=PackageLoader("fl.reports", "templates"),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "number": number,
        "estimate": estimate,
        "signed": signed,
        "interval": interval,
        "percent": percent,
        "shell": shlex.join,
    }
    made.globals["notice"] = NOTICE
    return made


def render(template: str, **content: Any) -> str:
    """The filled template."""
    return environment().get_template(template).render(**content)
