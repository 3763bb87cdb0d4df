"""What one data set contains, as `check` finds it."""

from dataclasses import dataclass, field

from fl.datasets.data_report.beat_counts import BeatCounts


@dataclass(kw_only=True)
class SourceReport:
    """What one data set contains. Lists have record ids, never patient fields."""

    name: str
    title: str
    licence: str
    records: int
    patients: int = 0  # of the usable records
    usable: int = 0
    none_of_the_classes: int = 0  # usable records known to show none of the classes annotated
    unusable: dict[str, list[str]] = field(default_factory=dict)  # verdict -> records
    details: dict[str, str] = field(default_factory=dict)  # record -> what was found
    # What a file left open or had wrong, and how it was read -> usable records
    record_notes: dict[str, list[str]] = field(default_factory=dict)
    # Links to folders that are read anyway, or that lead nowhere
    unfollowed_links: list[str] = field(default_factory=list)
    unread_files: dict[str, list[str]] = field(default_factory=dict)  # kind -> files of no record
    cannot_say: dict[str, list[str]] = field(default_factory=dict)  # reason -> usable records
    missing_leads: dict[str, list[str]] = field(default_factory=dict)  # lead -> usable records
    duplicates: dict[str, str] = field(default_factory=dict)  # record -> first with this signal
    table_notes: list[str] = field(default_factory=list)  # how its tables were read, in words
    other_codes: dict[str, list[str]] = field(default_factory=dict)  # code -> usable records
    altered: list[str] = field(default_factory=list)  # files that differ from published sums
    classes: dict[str, dict[str, int]] = field(default_factory=dict)  # class -> yes, no, unknown
    # Usable records with an infarction, without one, and others; empty if the source does not say
    infarctions: dict[str, int] = field(default_factory=dict)
    without_example: int = 0  # beats that were found in usable records and gave no example
    lead_two: str = ""  # the header's name of the lead that stands for II; "" without beats
    beats: dict[str, BeatCounts] = field(default_factory=dict)  # set of usable records -> beats
    codes_without_class: dict[str, int] = field(default_factory=dict)  # symbol -> annotations
    # of a task with whole beats: class -> examples; why a beat has none -> beats
    whole_beats: dict[str, int] = field(default_factory=dict)
    whole_beats_left_out: dict[str, int] = field(default_factory=dict)
    without_patient: list[str] = field(default_factory=list)  # usable; their patient is not named
