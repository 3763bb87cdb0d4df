"""Docker's and compose's files name what is there, in versions that the project accepts.

There is no Docker where these tests run: nothing is built here.
"""

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from support.documents import ROOT, accepted

from server.deploy.__main__ import parser as coordinators

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
README = (ROOT / "deploy" / "README.md").read_text()
SIDES = ("coordinator", "site")
SET = {
    "SITE": "hospital-a",
    "INVITATION": "hospital-a.toml",
    "DATA_DIR": "/srv/ecg",
    "SOURCES": "mysite=/data",
}


def instructions(side):
    """Each instruction of a side's Dockerfile: its name and the rest of its line."""
    text = (ROOT / "deploy" / f"{side}.Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def last(side, name):
    """The last instruction of this name, "" if there is none."""
    return next((rest for word, rest in reversed(instructions(side)) if word == name), "")


def filled(text):
    """A value of compose.yaml with its variables set, as its README sets them."""
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda name: SET[name[1]], text)


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = (line.split("==") for line in lines if line.strip() and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in found}


@pytest.mark.parametrize("side", SIDES)
def test_the_python_of_an_image_is_one_that_the_project_accepts(side):
    image, _, tag = last(side, "FROM").partition(":")
    assert image == "python"
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(tag.partition("-")[0])


def test_the_pinned_versions_are_those_that_the_project_accepts():
    known = pins()
    for text in PROJECT["project"]["dependencies"]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(known[wanted.name.lower()]), text
    assert PROJECT["tool"]["flwr"]["app"]["flwr-version-target"] == known["flwr"]


@pytest.mark.parametrize("side", SIDES)
def test_what_is_copied_and_installed_is_there_and_not_ignored(side):
    copied = [rest.split()[:-1] for word, rest in instructions(side) if word == "COPY"]
    assert copied == [["."]]
    run = [rest for word, rest in instructions(side) if word == "RUN"]
    assert run[-1] == "pip install --no-cache-dir -c constraints.txt ."
    needed = [PROJECT["project"]["readme"], PROJECT["project"]["license"]["file"]]
    needed += ["constraints.txt", "pyproject.toml", "run_sim.py"]
    packages = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    needed += [pattern.rstrip("*") for pattern in packages]
    ignored = (ROOT / ".dockerignore").read_text().split()
    for path in needed:
        assert (ROOT / path).exists(), path
        assert [pattern for pattern in ignored if fnmatch(path, pattern)] == []


@pytest.mark.parametrize("side", SIDES)
def test_an_image_starts_and_checks_with_commands_that_are_there(side, monkeypatch):
    entry = json.loads(last(side, "ENTRYPOINT"))
    given = COMPOSE["services"][side].get("command") or json.loads(last(side, "CMD"))
    health = last(side, "HEALTHCHECK").partition(" CMD ")[2].strip()
    health = json.loads(health) if health.startswith("[") else shlex.split(health)
    for words in ([*entry, *map(filled, given)], health):
        with monkeypatch.context() as patch:
            assert accepted(patch, words), words


@pytest.mark.parametrize("side", SIDES)
def test_compose_builds_what_is_there_and_names_its_volumes(side):
    service = COMPOSE["services"][side]
    assert service["profiles"] == [side]
    context = (ROOT / "deploy" / service["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / service["build"]["dockerfile"]).is_file()
    home = last(side, "VOLUME")
    for volume in service["volumes"]:
        if isinstance(volume, str):
            name, _, target = volume.partition(":")
            assert (name in COMPOSE["volumes"], target) == (True, home)
        else:
            # A file that is missing is an error, and not a new folder of that name.
            assert volume["bind"]["create_host_path"] is False
            assert volume["read_only"] is True


def test_the_port_is_the_one_that_init_chooses():
    init = coordinators(False, "x").parse_args(["init", "federation", "--host", "h"])
    assert COMPOSE["services"]["coordinator"]["ports"] == [f"{init.port}:{init.port}"]
    assert last("coordinator", "EXPOSE") == str(init.port)


def test_the_commands_of_the_readme_name_services_variables_and_subcommands_that_are_there(
    monkeypatch,
):
    lines = [line for line in README.splitlines() if "docker compose " in line]
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line, comments=True)
        at = words.index("docker")
        options = dict(zip(words[at + 2 :: 2], words[at + 3 :: 2], strict=False))
        assert (ROOT / options["-f"]).is_file(), line
        assert options["--profile"] in COMPOSE["services"], line
        assert {word.partition("=")[0] for word in words[:at] if "=" in word} <= set(SET), line
        if " run --rm coordinator " in line:
            given = words[words.index("--rm") + 2 :]
            with monkeypatch.context() as patch:
                assert accepted(patch, ["python", "-m", "server.deploy", *given]), line
