"""A record is the JSON it was read from, and a wrong one is named with its first fault."""

import json

import pytest
from pydantic import ValidationError

from fl.util.errors import DataError
from fl.util.json_record import LONGEST_VALUE, JsonRecord


class Part(JsonRecord):
    share: float | None


class Whole(JsonRecord):
    name: str
    parts: dict[str, Part]
    note: str | None = None


CONTENT = {"name": "a", "parts": {"x": {"share": 0.1}, "y": {"share": None}}}


@pytest.mark.parametrize("content", [CONTENT, CONTENT | {"note": None}, CONTENT | {"note": "b"}])
def test_a_record_is_written_as_it_was_read(content):
    assert Whole.from_json(content, "file").to_json() == content
    assert json.loads(json.dumps(Whole.from_json(content, "file").to_json())) == content


def test_keys_that_are_not_known_are_left_out():
    assert Whole.from_json(CONTENT | {"more": 1}, "file").to_json() == CONTENT


def test_a_record_does_not_change():
    record = Whole.from_json(CONTENT, "file")
    with pytest.raises(ValidationError):
        record.name = "b"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"name": "a"}, "file: parts is missing. Do this."),
        (CONTENT | {"parts": {"x": {}}}, "file: parts.x.share is missing. Do this."),
        (CONTENT | {"parts": {"x": {"share": "a"}}}, "file: parts.x.share is 'a'; input should be"),
        (CONTENT | {"parts": {"x": {"share": float("inf")}}}, "parts.x.share is inf; input"),
        ([], "file: the content is []; input should be"),
    ],
)
def test_the_first_fault_is_named(content, words):
    with pytest.raises(DataError) as caught:
        Whole.from_json(content, "file", "Do this.")
    assert words in str(caught.value)
    assert str(caught.value).endswith("Do this.")


def test_a_long_value_is_cut():
    with pytest.raises(DataError) as caught:
        Whole.from_json(CONTENT | {"parts": "x" * 1000}, "file")
    assert len(str(caught.value)) < LONGEST_VALUE + 100
