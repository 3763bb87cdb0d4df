"""Python refuses program code in the folder into which Flower unpacks what it was sent."""

import compileall
import os
import subprocess
import sys
import zipfile

import pytest
from support.sites import joined

from clients.deploy.flower_supernode import FlowerSuperNode
from clients.deploy.installed_code_only.sitecustomize import REFUSED


@pytest.fixture
def site(tmp_path):
    (tmp_path / "flwr" / "apps" / "sent").mkdir(parents=True)
    return joined(tmp_path)


@pytest.fixture
def sent(site):
    """The folder of an app that came with a run."""
    return site.folder.flower_home / "apps" / "sent"


def python(site, code):
    """What a Python that Flower starts for this site prints at last."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=FlowerSuperNode.environment(site),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return (done.stdout + done.stderr).strip().splitlines()[-1]


EVIL = "print('code that was sent is executed')\n"


def importing(folder):
    return f"import sys; sys.path.insert(0, {str(folder)!r}); import evil"


def test_source_is_refused(site, sent):
    (sent / "evil.py").write_text(EVIL)
    assert python(site, importing(sent)).endswith(REFUSED)


def test_byte_code_is_refused(site, sent):
    (sent / "evil.py").write_text(EVIL)
    assert compileall.compile_file(sent / "evil.py", quiet=1, legacy=True)
    (sent / "evil.py").unlink()
    assert python(site, importing(sent)).endswith(REFUSED)


def test_an_archive_is_refused(site, sent):
    with zipfile.ZipFile(sent / "evil.zip", "w") as archive:
        archive.writestr("evil.py", EVIL)
    # Python takes the refusal for a sign that this is no archive.
    assert python(site, importing(sent / "evil.zip")).endswith("No module named 'evil'")


def test_a_compiled_extension_is_refused(site, sent):
    (sent / "evil.so").write_bytes(b"")
    assert python(site, importing(sent)).endswith(REFUSED)


def test_a_package_that_hides_ours_is_refused(site, sent):
    (sent / "clients").mkdir()
    (sent / "clients" / "__init__.py").write_text(EVIL)
    code = f"import sys; sys.path.insert(0, {str(sent)!r}); import clients.app"
    assert python(site, code).endswith(REFUSED)


@pytest.mark.parametrize("way", ["runpy.run_path(path)", "exec(open(path).read())"])
def test_another_way_to_execute_it_is_refused(site, sent, way):
    (sent / "evil.py").write_text(EVIL)
    assert python(site, f"import runpy; path = {str(sent / 'evil.py')!r}; {way}").endswith(REFUSED)


def test_a_link_from_elsewhere_is_refused(site, sent, tmp_path):
    (sent / "evil.py").write_text(EVIL)
    (tmp_path / "elsewhere").mkdir()
    os.symlink(sent / "evil.py", tmp_path / "elsewhere" / "evil.py")
    assert python(site, importing(tmp_path / "elsewhere")).endswith(REFUSED)


def test_flower_may_unpack_and_read_what_is_no_code(site, sent):
    (sent / "pyproject.toml").write_text("name = 'x'")
    code = f"""
import pathlib
sent = pathlib.Path({str(sent)!r})
(sent / "new.py").write_text("x = 1")
print((sent / "pyproject.toml").read_text())
"""
    assert python(site, code) == "name = 'x'"
    assert (sent / "new.py").exists()


def test_what_is_installed_is_loaded(site, sent):
    code = f"import sys; sys.path.insert(0, {str(sent)!r}); import clients.app; print('loaded')"
    assert python(site, code) == "loaded"
