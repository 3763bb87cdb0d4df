"""The names that a lead has in headers and tables, and names that only look like one."""

import pytest

from fl.ecg.records import LEADS, lead_name

SPELLINGS = {
    "I": ("i", "DI", "D I", "d_i", "D1", "Lead I", "LEAD_I", "lead-I", "ECG I", "MLI"),
    "II": ("ii ", "DII", "D2", "Lead II", "leadII", "MDC_ECG_LEAD_II", "EKG_II", "MLII", "ML2"),
    "III": ("DIII", "D_III", "D3", "MDC_ECG_ELEC_POTL_III", "Lead: III"),
    "aVR": ("AVR", "avr", "aV R", "a_V_R", "MDC_ECG_LEAD_AVR", "Lead aVR"),
    "V1": ("v1", "V 1", "V_1", "C1", "c 1", "MDC_ECG_LEAD_V1", "ECG V1", "Lead V1"),
    "V6": ("C6", "MDC_ECG_LEAD_C6", "lead_v6"),
}


@pytest.mark.parametrize(("lead", "raw"), [(k, raw) for k, v in SPELLINGS.items() for raw in v])
def test_a_lead_is_read_in_each_spelling(lead, raw):
    assert lead_name(raw) == lead


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("form", ["{}", "Lead {}", "MDC_ECG_LEAD_{}", "ecg_{}", " {} "])
def test_each_of_the_twelve_leads_is_read_with_and_without_a_prefix(lead, form):
    assert lead_name(form.format(lead)) == lead
    assert lead_name(form.format(lead).upper()) == lead


@pytest.mark.parametrize(
    "raw",
    [
        *("I-II", "I II", "I_II", "V1-V2", "-aVR", "Lead -aVR", "Lead-aVR", "ECG-aVR", "dAVR"),
        *("V7", "C7", "CM5", "MCL1", "V", "Lead 1", "ECG1", "ECG", "lead", "", " ", "IIII"),
        "MDC_ECG_LEAD_dAVR",
    ],
)
def test_what_only_looks_like_a_lead_is_none(raw):
    assert lead_name(raw) is None
