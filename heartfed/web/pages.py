"""Fills the templates of the web application; every value is escaped."""

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse

from fl.evaluation.strategy_names import strategy_name
from fl.predict.recording_flags import DISCLAIMER
from fl.reports.number_format import number

NAVIGATION = (("/", "Upload"), ("/monitor", "Monitor"), ("/runs", "Runs"))


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates in `heartfed/web/templates`; a missing value is an error."""
    made = Environment(
        loader=PackageLoader("heartfed.web", "templates"),
        autoescape=select_autoescape(("html", "svg"), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "strategy": strategy_name}
    made.globals |= {"navigation": NAVIGATION, "disclaimer": DISCLAIMER}
    return made


def page(template: str, *, here: str, status: int = 200, **content: Any) -> HTMLResponse:
    """A page; `here` is the path of its entry in the navigation, or ""."""
    text = environment().get_template(template).render(here=here, **content)
    return HTMLResponse(text, status)


def sorry(status: int, title: str, text: str, here: str = "") -> HTMLResponse:
    """A page that says in words what is wrong and what to do."""
    return page("sorry.html", here=here, status=status, title=title, text=text)
