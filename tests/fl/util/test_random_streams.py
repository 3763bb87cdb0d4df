"""A random stream depends only on its seed and its name."""

from hypothesis import given
from hypothesis import strategies as st

from fl.util.random_streams import stream, torch_seed

names = st.lists(st.text(max_size=8) | st.integers(0, 99), min_size=1, max_size=3)


def drawn(*name):
    return stream(7, *name).integers(2**32, size=4).tolist()


@given(names)
def test_a_name_always_gives_the_same_numbers(name):
    assert drawn(*name) == drawn(*name)


def test_another_name_round_or_seed_gives_other_numbers():
    streams = [drawn("fit", "site-1", 1), drawn("fit", "site-2", 1), drawn("fit", "site-1", 2)]
    assert len({tuple(s) for s in streams}) == 3
    assert stream(8, "fit").random() != stream(7, "fit").random()


def test_the_numbers_are_the_same_on_every_machine_and_in_every_version():
    assert drawn("fit", "site-1", 1) == [3102910998, 3978293279, 3000204662, 1057012790]


@given(names)
def test_a_seed_for_torch_fits_into_63_bits(name):
    assert 0 <= torch_seed(0, *name) < 2**63
    assert torch_seed(0, *name) == torch_seed(0, *name)
