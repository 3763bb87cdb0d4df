"""Typed records that are kept as JSON: checked as they are read, written as they were made."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from fl.util.errors import DataError

LONGEST_VALUE = 60  # characters of a wrong value that an error repeats


class JsonRecord(BaseModel):
    """A record whose fields are the keys of a JSON object, in the order of the fields.

    A field that was not given is left out when the record is written, so a field with a default
    is one that the JSON may lack.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """The record as `json.dumps` takes it."""
        return self.model_dump(mode="json", exclude_unset=True)

    @classmethod
    def from_json(cls, content: object, place: str, remedy: str = "") -> Self:
        """The record that a JSON object holds.

        `DataError` names `place` and the first field that is missing or wrong, and ends with
        `remedy`.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise DataError(f"{place}: {_problem(error)}. {remedy}".rstrip()) from None


def _problem(error: ValidationError) -> str:
    """The first field that is wrong, the value found there, and what is accepted."""
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "the content"
    if first["type"] == "missing":
        return f"{field} is missing"
    found = repr(first["input"])
    if len(found) > LONGEST_VALUE:
        found = f"{found[:LONGEST_VALUE]}..."
    accepted = first["msg"][0].lower() + first["msg"][1:]
    return f"{field} is {found}; {accepted}"
