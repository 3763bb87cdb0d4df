"""The TRIPOD+AI checklist of a run: which items its page answers, and where.

Collins et al. 2024, TRIPOD+AI statement, BMJ 385:e078378, doi:10.1136/bmj-2023-078378. The wording
of the items is ours and shortened.
"""

from dataclasses import dataclass

from fl.evaluation.group_evaluation import GroupMeasures
from fl.reports.pages.participants import table_one
from fl.reports.run_files import Run

DONE, PARTLY, NOT_DONE, NOT_APPLICABLE = "reported", "partly", "not done", "not applicable"


@dataclass(frozen=True)
class Item:
    """One item of the checklist."""

    number: str
    topic: str
    status: str
    where: str  # what answers it, or why it is not answered
    anchor: str = ""  # section of the page


def checklist(run: Run) -> list[Item]:
    """All items of the checklist, each with its status in this run."""
    return [*_head(run), *_data(run), *_model(run), *_openness(), *_results(run), *_discussion(run)]


def _head(run: Run) -> list[Item]:
    compared = run.comparison is not None
    return [
        Item("1", "Title: what was developed or evaluated, for whom", DONE, "Title", "answer"),
        Item("2", "Abstract", DONE, "The three answers at the top", "answer"),
        Item(
            "3a-b",
            "Healthcare context, intended users, existing models",
            PARTLY,
            "Intended use and limits are in the model card; existing models in docs/results.md",
            "reproduce",
        ),
        Item(
            "3c",
            "Known health inequalities",
            NOT_DONE,
            "No literature on inequalities was reviewed",
        ),
        Item(
            "4",
            "Objectives",
            DONE if compared else PARTLY,
            "The three questions at the top" + ("" if compared else "; this run compares nothing"),
            "answer",
        ),
    ]


def _data(run: Run) -> list[Item]:
    kind = " (synthetic, no patients)" if run.synthetic else ""
    return [
        Item("5a", "Sources of data, development and evaluation", DONE, f"Data{kind}", "data"),
        Item(
            "5b",
            "Dates of the data",
            NOT_DONE,
            "The public data sets give no dates of admission; see their citations",
            "data",
        ),
        Item("6a", "Setting, number and place of centres", PARTLY, "Data; Partition", "partition"),
        Item("6b", "Eligibility", DONE, "Exclusions, each with its reason", "failures"),
        Item("6c", "Treatments", NOT_APPLICABLE, "The classes describe recordings, not outcomes"),
        Item("7", "Data preparation", DONE, "Model card, section Preprocessing", "reproduce"),
        Item("8a", "Outcome and how it was assessed", DONE, "Label mapping of each source", "data"),
        Item(
            "8b-c",
            "Outcome assessors, blinding",
            NOT_DONE,
            "Only the data sets' own publications describe them",
            "data",
        ),
        Item(
            "9a-c",
            "Predictors: choice, definition, assessment",
            DONE,
            "The signal of the recorded leads; no clinical predictor. Model card",
            "reproduce",
        ),
        Item(
            "10",
            "Sample size",
            PARTLY,
            "All usable recordings; no calculation was made. The intervals show the uncertainty; "
            "fewer than ten patients have none",
            "results",
        ),
        Item(
            "11",
            "Missing data",
            DONE,
            "Missing leads are masked in the input, classes not annotated are masked in the loss "
            "and in every measure",
            "data",
        ),
    ]


def _model(run: Run) -> list[Item]:
    groups = any(has_subgroups(result.central) for result in run.strategies.values())
    fairness = "Results by sex and age band" if groups else "This run has no results by sex or age"
    return [
        Item("12a", "How the data were used, splits", DONE, "Partition", "partition"),
        Item("12b", "Handling of predictors", DONE, "Model card, Preprocessing", "reproduce"),
        Item(
            "12c",
            "Type of model, all steps of building it, internal validation",
            DONE,
            "Settings; the best round and the thresholds come from validation records",
            "reproduce",
        ),
        Item("12d", "Heterogeneity between clusters", DONE, "Results by hospital", "results"),
        Item(
            "12e",
            "Measures of performance",
            DONE,
            "Ranking, decisions, calibration and net benefit: Results; Classes; Calibration; "
            "Decision curves",
            "classes",
        ),
        Item("12f", "Model updating", NOT_DONE, "No model was updated after its evaluation"),
        Item("12g", "How predictions are calculated", DONE, "Model card; python -m fl.predict"),
        Item("13", "Class imbalance", DONE, "Settings: imbalance, thresholds", "reproduce"),
        Item("14", "Fairness", PARTLY if groups else NOT_DONE, fairness, "results"),
        Item("15", "Model output: probabilities, thresholds", DONE, "Model card", "reproduce"),
        Item(
            "16",
            "Differences between training and evaluation data",
            DONE if run.config.get("holdout") else PARTLY,
            "Partition; Unseen source",
            "unseen",
        ),
        Item(
            "17",
            "Ethical approval",
            NOT_APPLICABLE,
            "Public, de-identified recordings; their own publications name the approvals",
        ),
    ]


def _openness() -> list[Item]:
    return [
        Item("18a", "Funding", NOT_DONE, "None is stated in the run"),
        Item("18b", "Conflicts of interest", NOT_DONE, "None are stated in the run"),
        Item("18c", "Protocol", DONE, "docs/protocol.md of the source code", "reproduce"),
        Item("18d", "Registration", NOT_DONE, "The study is not registered"),
        Item("18e", "Data sharing", DONE, "Licence and page of each source", "data"),
        Item("18f", "Code sharing", DONE, "Version, command and checksums", "reproduce"),
        Item("19", "Patient and public involvement", NOT_DONE, "No patients were involved"),
    ]


def _results(run: Run) -> list[Item]:
    described = bool(table_one(run.facts.sites))
    return [
        Item(
            "20a",
            "Flow of participants",
            DONE if run.facts.data else PARTLY,
            "Flow of records and patients" if run.facts.data else "Each hospital counts its own",
            "flow",
        ),
        Item(
            "20b",
            "Characteristics of participants",
            DONE if described else PARTLY,
            "Table 1: age, sex and classes of each group, unknowns counted"
            if described
            else "Labels and counts per hospital; age and sex only as subgroups of the results",
            "table-one" if described else "partition",
        ),
        Item(
            "20c",
            "Development and evaluation data compared",
            DONE if described else PARTLY,
            "Table 1 has hospitals, central and unseen patients side by side"
            if described
            else "Partition",
            "table-one" if described else "partition",
        ),
        Item("21", "Participants and events in each analysis", DONE, "Results; Classes", "classes"),
        Item(
            "22",
            "The full model, so that others can use it",
            DONE,
            "weights/ with model card; python -m fl.predict",
            "reproduce",
        ),
        Item("23a", "Performance with intervals", DONE, "Results; Comparison", "results"),
        Item("23b", "Heterogeneity of performance", DONE, "Results by hospital", "results"),
        Item("24", "Results of model updating", NOT_APPLICABLE, "Nothing was updated"),
    ]


def _discussion(run: Run) -> list[Item]:
    return [
        Item(
            "25", "Interpretation, with fairness", PARTLY, "The three answers at the top", "answer"
        ),
        Item("26", "Limitations", DONE, "Limits", "limits"),
        Item(
            "27a",
            "Handling of poor or missing input",
            DONE,
            "Unusable recordings are left out with a reason, missing leads are masked",
            "failures",
        ),
        Item(
            "27b-c",
            "Users and their expertise; next steps",
            PARTLY,
            "Research software for people who can read an ECG; no study of users was made",
            "limits",
        ),
    ]


def has_subgroups(measures: GroupMeasures | None) -> bool:
    """Whether a group was measured by sex or age band."""
    return measures is not None and bool(measures.subgroups)
