"""The tables of a comparison of beat trainings have every class, training and group."""

from types import SimpleNamespace

from benchmarks.studies.beat.federated_tables import class_lines


def measures(f1):
    one = SimpleNamespace(f1=f1, auprc=0.5, recall=None, precision=0.25)
    return SimpleNamespace(classes=dict.fromkeys("NSVFQ", one))


def run(f1, unseen=None):
    training = SimpleNamespace(central_by_source={"mitdb": measures(f1)}, unseen=unseen)
    return SimpleNamespace(strategies={"local": training, "fedavg": training})


def test_a_line_has_the_mean_and_range_over_seeds_and_says_what_cannot_be_measured():
    lines = class_lines([run(0.4), run(0.8)], ["mitdb"])
    assert len(lines) == 2 + 5 * 2
    assert lines[4] == (
        "| mitdb | S | local | .600 (.400 to .800) | .500 (.500 to .500) | n/a | "
        ".250 (.250 to .250) |"
    )


def test_unseen_records_are_a_group_of_their_own():
    lines = class_lines([run(0.4, unseen=measures(0.9))], ["mitdb", "unseen"])
    assert "| unseen | V | fedavg | .900 (.900 to .900) |" in lines[-5]


def test_a_group_that_a_run_lacks_is_not_available():
    assert "| svdb | S | local | n/a | n/a | n/a | n/a |" in class_lines([run(0.4)], ["svdb"])
