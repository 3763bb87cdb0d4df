"""Fills the templates of the web application; every value is escaped."""

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse

from fl.evaluation.strategy_names import strategy_name
from fl.predict.recording_flags import DISCLAIMER
from fl.reports.figures.ecg_paper import LEFT
from fl.reports.number_format import number
from fl.reports.terminal.notices import simulated_note
from heartfed.web.runs.words import date_text, figure, seconds_text

NAVIGATION = (("/", "Upload"), ("/monitor", "Monitor"), ("/runs", "Runs"))

# Colours of the classes of beats (EC57's and PhysioNet's), whose letter is always beside them.
COLOURS = {"S": 1, "A": 1, "V": 2, "E": 2, "F": 3, "L": 3, "R": 3, "Q": 4, "/": 4}


def class_number(label: str) -> int:
    """Number of a beat class's colour in the style sheet."""
    return COLOURS.get(label, 0)


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
    made.filters |= {"figure": figure, "seconds": seconds_text, "date": date_text}
    made.globals |= {
        "navigation": NAVIGATION,
        "disclaimer": DISCLAIMER,
        "class_number": class_number,
        "left": LEFT,
        "simulated_note": simulated_note,
    }
    return made


def page(template: str, *, here: str, status: int = 200, **content: Any) -> HTMLResponse:
    """A page; `here` is the path of its entry in the navigation, or ""."""
    text = environment().get_template(template).render(here=here, **content)
    return HTMLResponse(text, status)


def sorry(status: int, title: str, text: str, here: str = "") -> HTMLResponse:
    """A page that says in words what is wrong and what to do."""
    return page("sorry.html", here=here, status=status, title=title, text=text)
