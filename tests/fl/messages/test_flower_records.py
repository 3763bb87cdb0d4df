"""A record is found by name and kind, and is the record itself."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fl.messages.flower_records import arrays_in, record_in

CONTENT = RecordDict(
    {
        "arrays": ArrayRecord({"w": Array(np.ones(2))}),
        "config": ConfigRecord({"site": "site-1"}),
        "metrics": MetricRecord({"steps": 3}),
    }
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("arrays", ArrayRecord), ("config", ConfigRecord), ("metrics", MetricRecord)],
)
def test_a_record_of_its_kind_is_the_one_in_the_message(name, kind):
    assert record_in(CONTENT, name, kind) is CONTENT[name]


@pytest.mark.parametrize(
    ("name", "kind"), [("other", ConfigRecord), ("metrics", ConfigRecord), ("config", ArrayRecord)]
)
def test_a_record_of_another_name_or_kind_is_not_there(name, kind):
    with pytest.raises(KeyError, match=name):
        record_in(CONTENT, name, kind)


def test_records_of_arrays_are_those_that_flower_lists():
    assert arrays_in(CONTENT) == dict(CONTENT.array_records)
    assert list(arrays_in(CONTENT)) == ["arrays"]
