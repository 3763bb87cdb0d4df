"""A network declares its head, its lead columns and its fast parameters; nobody guesses by name."""

import pytest
import torch
from torch import nn

from fl.ecg.tasks import BEAT, RHYTHM
from fl.models import MODELS, build_network, network_parts, parts_of
from fl.models.blocks import LeadStem
from fl.models.network_parts import NetworkParts, check_parts


class PlainNetwork(nn.Module):
    """A network from outside: it knows nothing of this project but the names of its inputs."""

    def __init__(self, *, leads, classes):
        super().__init__()
        self.body = nn.Linear(leads, 4)
        self.arrhythmia = nn.Linear(4, 4)
        self.head = nn.Linear(4, classes)

    def forward(self, signal, lead_mask, features):
        return self.head(self.arrhythmia(self.body(signal.mean(dim=2) * lead_mask)))


class WithLeadStem(PlainNetwork):
    """The same with a module of ours that declares its own lead columns."""

    def __init__(self, *, leads, classes):
        super().__init__(leads=leads, classes=classes)
        self.first = LeadStem(leads, 8, kernel=3, stride=1, padding=1)


class FastBranch(nn.Linear):
    rate_factor = 3


class Declaring(PlainNetwork):
    """A network that declares its parts at once, among them a head of another name."""

    parts = NetworkParts(head=("body.bias",), rate_factors={"arrhythmia.bias": 5.0})


@pytest.fixture
def add_model(monkeypatch):
    """Adds a network from outside to MODELS, as one line."""

    def add(name, network):
        class Options:
            def build(self, *, leads, samples, features, classes):
                return network(leads=leads, classes=classes)

        monkeypatch.setitem(MODELS, name, Options())
        parts_of.cache_clear()

    yield add
    parts_of.cache_clear()


def test_a_network_without_a_declaration_has_its_linear_head_and_no_other_parts():
    parts = network_parts(PlainNetwork(leads=12, classes=9))
    assert parts == NetworkParts(
        head=("head.weight", "head.bias"), classifier=("head.weight", "head.bias")
    )


def test_the_rate_of_a_parameter_does_not_depend_on_its_name():
    parts = network_parts(PlainNetwork(leads=12, classes=9))
    assert parts.rate_factor("arrhythmia.weight") == 1.0


def test_a_network_without_a_head_has_no_parts():
    assert network_parts(nn.Sequential(nn.Linear(3, 2))) == NetworkParts()


def test_a_head_of_several_layers_declares_no_rows():
    network = PlainNetwork(leads=12, classes=9)
    network.head = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 9))
    assert network_parts(network).head == ()


def test_modules_declare_lead_columns_and_faster_rates_for_their_own_parameters():
    network = WithLeadStem(leads=12, classes=9)
    network.branch = FastBranch(2, 2)
    parts = network_parts(network)
    assert parts.lead_columns == ("first.conv.weight", "first.lead_shift.weight")
    assert parts.rate_factors == {"branch.weight": 3.0, "branch.bias": 3.0}


def test_a_declaration_of_the_whole_network_is_taken_as_it_is():
    assert network_parts(Declaring(leads=12, classes=9)) is Declaring.parts


def test_the_parts_of_a_model_from_outside_are_found_by_its_name(add_model):
    add_model("outside", WithLeadStem)
    assert parts_of("outside", RHYTHM).lead_columns == (
        "first.conv.weight",
        "first.lead_shift.weight",
    )


def test_parts_that_do_not_fit_the_task_are_refused(add_model):
    add_model("declaring", Declaring)
    with pytest.raises(ValueError, match=r"body\.bias has one row per class \(9\).*\(4,\)"):
        parts_of("declaring", RHYTHM)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (NetworkParts(head=("tail.weight",)), r"does not have: tail\.weight"),
        (NetworkParts(rate_factors={"rr.bias": 2.0}), r"does not have: rr\.bias"),
        (NetworkParts(lead_columns=("head.weight",)), r"head\.weight has one column per lead"),
        (NetworkParts(lead_columns=("head.bias",)), r"head\.bias has one column per lead"),
    ],
)
def test_a_declaration_that_is_wrong_is_named(parts, message):
    entries = PlainNetwork(leads=12, classes=9).state_dict()
    with pytest.raises(ValueError, match=message):
        check_parts(parts, entries, classes=9, leads=12)


def test_asking_for_parts_does_not_change_the_next_random_number():
    parts_of.cache_clear()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    parts_of("beat_cnn", BEAT)
    assert torch.equal(torch.rand(3), expected)


def test_lead_columns_are_found_where_a_stem_lies_inside_another_module():
    parts = network_parts(build_network("reslstm_temporalse", RHYTHM))
    assert parts.lead_columns == (
        "stem.leads.conv.weight",
        "stem.leads.lead_shift.weight",
    )
