"""scipy loads without writing its docstrings again, and does the same."""

import os
import subprocess
import sys

import pytest

from fl.util.imports.scipy_internals import SCIPY_VERSIONS
from fl.util.tested_versions import PUBLIC_ONLY, is_tested

CODE = """
import fl, scipy.stats, scipy.special, scipy.optimize, scipy.signal
print(scipy.stats.rankdata([3, 1, 2, 2]).tolist(), scipy.stats.norm.cdf(0))
print(scipy.special.expit(0.0), scipy.signal.firwin(3, 0.5).tolist())
print(scipy.stats.mode.__doc__.strip().split("\\n")[0])
print("Array API Standard Support" in scipy.stats.mode.__doc__)
"""


def printed(public):
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=os.environ | {PUBLIC_ONLY: public},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\n")[:-1]


@pytest.mark.skipif(
    not is_tested("scipy", SCIPY_VERSIONS), reason="scipy is loaded as it loads itself"
)
def test_functions_are_the_same_and_keep_their_own_docstrings():
    without, usual = printed(""), printed("1")
    assert without[:-1] == usual[:-1]
    assert (without[-1], usual[-1]) == ("False", "True")
