"""A command ends at once and with its exit status, whatever became of its output."""

import os
import subprocess
import sys

CODE = """
from fl.util.child_process import exit_immediately
print("a line")
exit_immediately(3)
"""


def ended(stdout):
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    words = [sys.executable, "-c", CODE]
    return subprocess.run(
        words, stdout=stdout, stderr=subprocess.PIPE, env=buffered, text=True, check=False
    )


def test_output_is_written_before_a_command_ends():
    done = ended(subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (3, "a line\n", "")


def test_a_reader_that_has_gone_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = ended(writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (3, "")
