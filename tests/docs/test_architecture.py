"""The picture of the architecture is that of the code."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_picture_is_made_from_the_codes_own_imports():
    command = [sys.executable, str(ROOT / "docs" / "make_architecture.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
