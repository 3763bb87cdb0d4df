"""Trouble that is the user's or the data's, shown as one line and never as a traceback."""


class ConfigError(Exception):
    """A setting that cannot be used: names the setting, its value and what is accepted."""


class DataError(Exception):
    """Data that cannot be used: names the folder or record, what was found, what to do."""


class Unusable(DataError):
    """One record that cannot be used, with the verdict that is counted and reported.

    `reason` is one of `REASONS`; `detail` says what was found, without any patient field.
    """

    def __init__(self, record: str, reason: str, detail: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is no verdict; known: {', '.join(REASONS)}")
        super().__init__(f"{record}: {REASONS[reason]} ({detail})")
        self.record, self.reason, self.detail = record, reason, detail


class FederationError(Exception):
    """A federated run that cannot go on: names the round and the sites."""


REASONS = {
    "missing-file": "a file is missing",
    "bad-header": "the header cannot be read",
    "foreign-file": "the header names a file that is not the record's own",
    "truncated": "the signal is shorter than the header says",
    "checksum": "the signal does not match the header's checksum",
    "bad-signal": "the signal cannot be read",
    "lead-names": "its leads have no known name, or one name twice",
    "wrong-rate": "the sampling rate is not this source's",
    "no-signal": "no lead holds a usable signal",
    "too-short": "the recording is too short",
    "no-label": "no label in the task's classes",
    "label-conflict": "its labels contradict each other",
    "no-annotation": "no beat or rhythm annotation",
    "paced": "paced beats, left out by ANSI/AAMI EC57",
    "duplicate": "the same signal as another record",
}
