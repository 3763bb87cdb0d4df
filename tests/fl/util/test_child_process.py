"""A command ends at once and with its exit status, whatever became of its output."""

import subprocess
import sys

CODE = """
from fl.util.child_process import exit_immediately
print("a line")
exit_immediately(3)
"""


def started():
    words = [sys.executable, "-c", CODE]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_output_is_written_before_a_command_ends():
    process = started()
    assert process.communicate() == ("a line\n", "")
    assert process.returncode == 3


def test_a_reader_that_has_gone_is_no_error():
    process = started()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 3
    process.stderr.close()
