"""A command ends with one line for an expected error, and a bug keeps its traceback."""

import errno

import pytest

from fl.util.errors import ConfigError, DataError, FederationError, did_you_mean, exit_code


def code_after(error):
    """The exit code of a command that raises this error."""

    def act():
        raise error

    return exit_code("program", act, "interrupted")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("--lr is -1"), 2, "program: error: --lr is -1"),
        (DataError("A0001.hea: no"), 2, "program: error: A0001.hea: no"),
        (FederationError("Round 2"), 1, "program: stopped: Round 2"),
        (KeyboardInterrupt(), 1, "program: interrupted"),
        (OSError(errno.ENOSPC, "full"), 1, "program: stopped: No space left on device. The"),
        (
            OSError(errno.EDQUOT, "quota", "runs/a/rounds.csv"),
            1,
            "program: stopped: Disk quota exceeded at runs/a/rounds.csv. The",
        ),
    ],
)
def test_an_expected_error_is_one_line(capsys, error, code, message):
    assert code_after(error) == code
    stderr = capsys.readouterr().err
    assert stderr.startswith(message)
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), ValueError("a bug")])
def test_anything_else_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        code_after(error)


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("fedvag", " Did you mean fedavg?"),
        ("FedProx", " Did you mean fedprox?"),
        ("resnet", ""),
        ("", ""),
    ],
)
def test_a_name_that_is_nearly_known_is_suggested(name, guess):
    assert did_you_mean(name, ("fedavg", "fedprox")) == guess


def test_an_interruption_that_says_how_to_go_on_is_printed(capsys):
    assert code_after(KeyboardInterrupt("interrupted. Continue with:\nheartfed --resume a")) == 1
    assert capsys.readouterr().err == (
        "program: interrupted. Continue with:\nheartfed --resume a\n"
    )
