"""Fills the templates of the pages and of the model card."""

import shlex
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from fl.evaluation.strategy_names import strategy_name, strategy_note
from fl.reports.number_format import decimal, estimate, number
from fl.reports.pages.sentences import interval, percent, signed
from fl.reports.terminal.notices import NOTICE


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """The templates: HTML is escaped, and a missing value is an error."""
    environment = Environment(
        loader=PackageLoader("fl.reports", "templates"),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": number,
        "decimal": decimal,
        "estimate": estimate,
        "signed": signed,
        "interval": interval,
        "percent": percent,
        "shell": shlex.join,
        "strategy": strategy_name,
        "strategy_note": strategy_note,
    }
    environment.globals["notice"] = NOTICE
    return environment


def render(template: str, **content: Any) -> str:
    """The filled template."""
    return _environment().get_template(template).render(**content)
