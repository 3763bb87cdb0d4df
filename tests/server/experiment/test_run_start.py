"""What a run loads before its first round."""

import subprocess
import sys


def test_a_run_starts_without_what_only_its_end_needs():
    unused = {"pandas", "sklearn", "scipy.stats", "fl.reports.build", "wfdb"}
    code = f"import sys, server.experiment.launch; print(*(set(sys.modules) & {unused}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
