"""Records of a message by name and kind.

`RecordDict.config_records` and its like make a dictionary of all records and check each of them at
every access, which a round of many small sites notices.
"""

from typing import TypeVar

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

Kind = TypeVar("Kind", ArrayRecord, ConfigRecord, MetricRecord)


def record_in(content: RecordDict, name: str, kind: type[Kind]) -> Kind:
    """The record of this name; `KeyError` unless it is there and of this kind."""
    record = content[name]
    if not isinstance(record, kind):
        raise KeyError(name)
    return record


def arrays_in(content: RecordDict) -> dict[str, ArrayRecord]:
    """All records of arrays."""
    return {name: record for name, record in content.items() if isinstance(record, ArrayRecord)}
