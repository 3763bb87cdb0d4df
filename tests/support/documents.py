"""Commands as they stand in the documentation, and what it shows of their output."""

import argparse
import importlib
import importlib.util
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from heartfed.cli import COMMANDS

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TERMINAL = re.compile(r"# Terminal (\d+)")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Commands that are typed into one terminal, and lines that they print."""

    terminal: int  # 0: the document names none
    commands: tuple[str, ...]
    printed: tuple[str, ...]  # "..." stands for any text


def section(text, heading):
    """The part of a document under a heading of the second level, without the heading."""
    _, found, after = text.partition(f"\n## {heading}\n")
    assert found, f"there is no heading {heading!r}"
    return after.partition("\n## ")[0]


def blocks(text):
    """Each ```sh block, with the lines of the ```text block that comes before the next one."""
    made = []
    for kind, content in FENCE.findall(text):
        lines = tuple(line for line in content.splitlines() if line.strip())
        if kind == "sh":
            terminal = TERMINAL.match(lines[0])
            commands = tuple(line for line in lines if not line.startswith("#"))
            made.append((int(terminal[1]) if terminal else 0, commands, ()))
        elif kind == "text" and made:
            made[-1] = (*made[-1][:2], made[-1][2] + lines)
    return [Block(terminal=t, commands=c, printed=p) for t, c, p in made]


def commands_of_ours(text):
    """Every command in any block that starts a program of this project, as words."""
    found = []
    for _, content in FENCE.findall(text):
        for line in content.replace("\\\n", " ").splitlines():
            try:
                words = shlex.split(line.removeprefix("$ "), comments=True)
            except ValueError:  # the line is no command: an apostrophe in a sentence
                continue
            for i, word in enumerate(words):
                module = Path(word).name == "python" and words[i + 1 : i + 2] == ["-m"]
                if module or (i == 0 and word == "heartfed"):
                    found.append(words[i:])
                    break
    return found


def as_pattern(line):
    """What a printed line looks like; blanks count as one."""
    parts = [re.escape(" ".join(part.split())) for part in line.split("...")]
    return re.compile(r"\s*.*?\s*".join(parts))


class AcceptedError(Exception):
    """Raised where a program would begin its work."""


def module_of(words):
    """The module that a command starts, and its arguments."""
    if Path(words[0]).name == "heartfed":
        return COMMANDS[words[1]].module, words[2:]
    assert words[1] == "-m", words
    name = words[2]
    if importlib.util.find_spec(name).submodule_search_locations is not None:
        name += ".__main__"
    return name, words[3:]


def accepted(monkeypatch, words):
    """Whether a program would accept these words as its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def only_parse(self, *args, **options):
        parse(self, *args, **options)
        raise AcceptedError

    name, arguments = module_of(words)
    module = importlib.import_module(name)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    monkeypatch.setattr("sys.argv", [name, *arguments])
    try:
        module.main(arguments)
    except AcceptedError:
        return True
    except SystemExit:
        return False
    raise AssertionError(f"{name} does not read its arguments by argparse")
