"""CONTRIBUTING.md names paths and commands that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def test_every_path_is_there():
    paths = re.findall(r"`((?:fl|clients|server|partitions|heartfed|docs|tests)/[\w/.]*)`", TEXT)
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_make_target_is_there():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make ([\w-]+)", TEXT, flags=re.MULTILINE)
    assert len(targets) == 6
    assert [t for t in targets if not re.search(rf"^{t}:", makefile, flags=re.MULTILINE)] == []
