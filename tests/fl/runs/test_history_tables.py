"""rounds.csv and sites.csv come back as they were, and a wrong line is named."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.measures import counts, names

from fl.runs.history_tables import (
    RoundRow,
    SiteRow,
    read_rounds,
    read_sites,
    write_history_tables,
)
from fl.util.errors import DataError

figures = st.none() | st.integers(0, 10**7).map(lambda n: round(n / 10**6, 6))
rounds = st.builds(
    RoundRow,
    strategy=names,
    round=counts,
    seconds=st.integers(0, 10**6).map(lambda n: n / 1000),
    participants=counts,
    failures=counts,
    **dict.fromkeys(("train_loss", "val_loss", "val_macro_f1", "val_macro_auroc"), figures),
    averaged=st.sampled_from([0, 0, 3]),
    n_train=st.none() | counts,
    n_val=st.none() | counts,
)
sites = st.builds(
    SiteRow,
    strategy=names,
    round=counts,
    site=names,
    split=st.sampled_from(["val", "test"]),
    n_records=counts,
    **dict.fromkeys(("loss", "macro_f1", "macro_auroc"), figures),
)


@given(st.lists(rounds, max_size=4), st.lists(sites, max_size=4))
def test_tables_come_back_as_they_were_but_for_what_is_no_column(
    tmp_path_factory, round_rows, site_rows
):
    folder = tmp_path_factory.mktemp("run")
    write_history_tables(folder, round_rows, site_rows)
    assert read_rounds(folder) == [replace(row, n_train=None, n_val=None) for row in round_rows]
    assert read_sites(folder) == site_rows


ROUNDS = "strategy,round,seconds,participants,failures,train_loss,val_loss,val_macro_f1,"
ROUNDS += "val_macro_auroc"
SITES = "strategy,round,site,split,n_records,loss,macro_f1,macro_auroc"


def test_columns_are_those_of_the_contract_and_what_is_not_measured_is_na(tmp_path):
    row = RoundRow(**dict.fromkeys((f.name for f in fields(RoundRow)), None) | {"round": 1})
    write_history_tables(tmp_path, [replace(row, seconds=2.5)], [])
    assert (tmp_path / "rounds.csv").read_text() == (
        f"{ROUNDS}\nn/a,1,2.500000,n/a,n/a,n/a,n/a,n/a,n/a\n"
    )
    assert (tmp_path / "sites.csv").read_text() == f"{SITES}\n"


FAULTS = {
    "no file": (None, "cannot be read"),
    "nothing in it": ("", "is empty"),
    "other columns": ("strategy,round\n", "the columns are strategy,round; accepted are strategy,"),
    "a short line": (f"{SITES}\nfedavg,1\n", "line 2 has 2 cells, not 8"),
    "no number": (f"{SITES}\nfedavg,one,a,val,1,n/a,n/a,n/a\n", "line 2: round is 'one'"),
    "no count": (f"{SITES}\nfedavg,1,a,val,n/a,n/a,n/a,n/a\n", "line 2: n_records is None"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_table_is_named_with_what_is_wrong(tmp_path, fault):
    content, words = FAULTS[fault]
    if content is not None:
        (tmp_path / "sites.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        read_sites(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'sites.csv'}: ")
    assert words in str(caught.value)
