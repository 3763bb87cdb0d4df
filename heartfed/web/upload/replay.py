"""An uploaded recording on the monitor's page: from memory, and only while it is kept there."""

from collections.abc import Sequence

from fl.ecg.records import NO_UNIT, Record
from fl.ecg.tasks import BEAT_CAUSAL
from heartfed.web.settings import ServedModel

UPLOADED = "upload"  # in place of the number of a recording


def models_of_monitor(models: Sequence[ServedModel]) -> list[ServedModel]:
    """The models that read nothing later than a beat."""
    return [one for one in models if one.model.task.causal]


def why_no_replay(record: Record | None, models: Sequence[ServedModel]) -> str:
    """Why an upload cannot be replayed; "" if it can be."""
    if record is None or record.cut_beats is not None:
        return "there is no recording in it"
    if record.unit == NO_UNIT:
        return "a monitor needs a signal in mV"
    if not models_of_monitor(models):
        return f"no model of the task {BEAT_CAUSAL.name} is served"
    return ""
