"""A mistake on a command line is answered in one line, also below a subcommand."""

import pytest

from fl.util.command_line import CommandParser


@pytest.fixture
def parser():
    made = CommandParser(prog="tool")
    made.add_argument("--verbose", action="store_true")
    commands = made.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check")
    check.add_argument("source", nargs="*")
    check.add_argument("--task", choices=("rhythm", "beat"))
    return made


def test_what_is_known_is_parsed(parser):
    options = parser.parse_args(["--verbose", "check", "mitdb", "--task", "beat"])
    assert (options.verbose, options.source, options.task) == (True, ["mitdb"], "beat")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--verbos", "check"], "tool: error: unknown argument --verbos. Did you mean --verbose?"),
        (
            ["check", "--tasks=beat"],
            "tool check: error: unknown argument --tasks=beat. Did you mean --task?",
        ),
        (["check", "--zzz"], "tool check: error: unknown argument --zzz."),
        (["check", "--tas", "beat"], "tool check: error: unknown argument --tas."),
        (["check", "--task"], "tool check: error: argument --task: expected one argument."),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_flag_and_where_help_is(
    parser, capsys, arguments, wanted
):
    with pytest.raises(SystemExit) as end:
        parser.parse_args(arguments)
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(wanted)
    assert printed.endswith(" --help\n")
    assert printed.count("\n") == 1
