"""The tables of codes and the facts of every data set are consistent."""

from itertools import pairwise

import pytest

from fl.datasets import DATASETS
from fl.datasets.readers.wfdb_access import symbol_meanings
from fl.ecg.labels import (
    AAMI,
    BEAT_CLASSES,
    RHYTHM_CLASSES,
    SCP_OPEN,
    SNOMED,
    SNOMED_OPEN,
    is_snomed,
)


def test_every_code_of_our_tables_agrees_with_its_check_digit():
    assert all(map(is_snomed, [*SNOMED, *SNOMED_OPEN]))


@pytest.mark.parametrize("code", ["164889003", "59118001", "67741000119109"])
def test_a_damaged_digit_and_an_exchanged_pair_are_noticed(code):
    for i, digit in enumerate(code):
        for other in set("0123456789") - {digit}:
            assert not is_snomed(code[:i] + other + code[i + 1 :])
    for i, (first, second) in enumerate(pairwise(code)):
        if first != second:
            assert not is_snomed(code[:i] + second + first + code[i + 2 :])


@pytest.mark.parametrize("text", ["", "AF", "-164889003", "16488 9003", "1", "٥٩١١٨٠٠١"])
def test_text_that_is_not_a_number_is_not_a_code(text):
    assert not is_snomed(text)


@pytest.mark.parametrize("table", [SNOMED_OPEN, SCP_OPEN])
def test_codes_that_leave_a_class_open_name_known_classes(table):
    assert {c for classes in table.values() for c in classes} <= set(RHYTHM_CLASSES)


def test_no_code_both_names_a_class_and_leaves_it_open():
    assert not set(SNOMED) & set(SNOMED_OPEN)


def test_beat_codes_have_the_classes_of_ec57():
    codes = {c: "".join(s for s in AAMI if AAMI[s] == c) for c in BEAT_CLASSES}
    assert codes == {"N": "NLRBej", "S": "AaJSn", "V": "VEr", "F": "F", "Q": "/fQ"}


@pytest.mark.parametrize("code", '+~|!?[]x"^')
def test_a_code_that_is_no_beat_of_a_class_has_none(code):
    assert code in symbol_meanings()
    assert code not in AAMI


def test_every_beat_code_is_one_of_physionets():
    assert symbol_meanings().keys() >= AAMI.keys()


@pytest.mark.parametrize("name", DATASETS)
def test_every_card_has_all_facts(name):
    card = DATASETS[name].card
    assert card.name == name
    assert set(card.annotates) <= set(RHYTHM_CLASSES)
    assert card.annotates or card.lead_two or card.infarction
    assert all((card.title, card.leads, card.rates, card.mapping, card.patients, card.licence))
    assert card.citation or card.synthetic
