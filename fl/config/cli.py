"""Settings of a run as flags of a command line: one flag for each field of RunConfig."""

import argparse
from collections.abc import Collection
from typing import get_args

from fl.config.run_config import BARE_COMPARE, RunConfig


def add_settings(made: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    """A flag for every field; those not given stay out of the result (SUPPRESS)."""
    for name, field in RunConfig.model_fields.items():
        if name in without:
            continue
        choices = get_args(field.annotation) or None
        default = "" if field.default == "" else f" [{field.default}]"
        made.add_argument(
            f"--{name.replace('_', '-')}",
            metavar=None if choices else name.upper(),
            choices=choices,
            # `--compare` alone means the usual strategies; every other flag needs its value.
            nargs="?" if name == "compare" else None,
            const=BARE_COMPARE if name == "compare" else None,
            default=argparse.SUPPRESS,
            help=f"{field.description}{default}",
        )
