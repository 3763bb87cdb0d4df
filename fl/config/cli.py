"""Settings of a run as flags of a command line: one flag for each field of RunConfig."""

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path

import fl
from fl.config.run_config import RunConfig, choices_of
from fl.config.sections import BARE_COMPARE, SECTIONS

_WITHOUT_VALUE = {"compare": BARE_COMPARE} | {
    name: "true" for name, field in RunConfig.model_fields.items() if field.annotation is bool
}
Choices = Mapping[str, Collection[str]]  # setting -> the names it accepts


def add_settings(
    made: argparse.ArgumentParser, without: Collection[str] = (), choices: Choices | None = None
) -> None:
    """A flag for every field, in the sections of the configuration.

    Flags that are not given stay out of the result (SUPPRESS). `choices` are the names that
    settings accept, for the help: tables that this room may not import.
    """
    for section in SECTIONS:
        names = [name for name in section.model_fields if name not in without]
        if not names:
            continue
        group = made.add_argument_group(section.title, section.__doc__)
        for name in names:
            group.add_argument(
                flag_of(name),
                metavar=_metavar(name),
                # `--compare` alone means the usual strategies, a flag of yes or no alone means yes;
                # every other flag needs its value.
                nargs="?" if name in _WITHOUT_VALUE else None,
                const=_WITHOUT_VALUE.get(name),
                default=argparse.SUPPRESS,
                help=_help(name, (choices or {}).get(name, ())),
            )


def add_run_options(made: argparse.ArgumentParser) -> None:
    """The flags of a run that are no settings of it: they change no result."""
    group = made.add_argument_group("run", "Where the run is written and what it shows.")
    group.add_argument("--config", type=Path, help="TOML file with any of the settings above")
    group.add_argument("--out", type=Path, help="parent of the run directory [runs]")
    group.add_argument("--name", help="name of the run directory [date and time]")
    group.add_argument("--resume", type=Path, metavar="RUN", help="run directory to continue")
    group.add_argument("--cache-dir", type=Path, help="preprocessed recordings [$HEARTFED_CACHE]")
    group.add_argument("--quiet", action="store_true", help="no progress; results are still shown")
    group.add_argument(
        "--no-pages",
        action="store_false",
        dest="pages",
        help="write no report/ (python -m fl.reports RUN does it later); its models can be used",
    )
    group.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write curves for TensorBoard into the run directory",
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="show the settings, sources, sites and an estimate of the time; train nothing",
    )
    made.add_argument("--version", action="version", version=f"HeartFed {fl.__version__}")


def flag_of(name: str) -> str:
    """`local_epochs` -> `--local-epochs`"""
    return f"--{name.replace('_', '-')}"


def _metavar(name: str) -> str:
    """What the help shows for the value. It is checked with all other settings, not here."""
    if RunConfig.model_fields[name].annotation is bool:
        return "true|false"
    known = choices_of(name)
    return f"{{{','.join(known)}}}" if known else name.upper()


def _help(name: str, known: Collection[str]) -> str:
    field = RunConfig.model_fields[name]
    names = f". Known: {', '.join(known)}" if known else ""
    default = "" if field.default == "" else f" [{field.default}]"
    return f"{field.description}{names}{default}"
