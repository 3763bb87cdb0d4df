"""Episodes of an arrhythmia by ANSI/AAMI EC57: found episodes, right detections, and durations."""

from collections.abc import Sequence
from dataclasses import dataclass

Episode = tuple[float, float]  # s: from, to


@dataclass(frozen=True, kw_only=True)
class EpisodeCounts:
    """The sums of one record, or of several added up. Durations are in s."""

    reference: int = 0  # annotated episodes
    found: int = 0  # of them, those that a detected episode overlaps
    detected: int = 0
    right: int = 0  # of them, those that an annotated episode overlaps
    reference_seconds: float = 0.0
    detected_seconds: float = 0.0
    both_seconds: float = 0.0

    def __add__(self, other: "EpisodeCounts") -> "EpisodeCounts":
        return EpisodeCounts(**{k: v + getattr(other, k) for k, v in vars(self).items()})

    def figures(self) -> dict[str, float | None]:
        """Episode and duration sensitivity and +P; None where nothing can be counted."""
        return {
            "episode se": _ratio(self.found, self.reference),
            "episode ppv": _ratio(self.right, self.detected),
            "duration se": _ratio(self.both_seconds, self.reference_seconds),
            "duration ppv": _ratio(self.both_seconds, self.detected_seconds),
        }


def compare_episodes(
    reference: Sequence[Episode], detected: Sequence[Episode], tolerance: float = 0.0
) -> EpisodeCounts:
    """Compare the episodes of one record; neither list may overlap itself.

    An episode is found if the two overlap, or are at most `tolerance` s apart.
    """

    def near(one: Episode, others: Sequence[Episode]) -> bool:
        return any(a - tolerance <= one[1] and one[0] <= b + tolerance for a, b in others)

    return EpisodeCounts(
        reference=len(reference),
        found=sum(near(one, detected) for one in reference),
        detected=len(detected),
        right=sum(near(one, reference) for one in detected),
        reference_seconds=sum(b - a for a, b in reference),
        detected_seconds=sum(b - a for a, b in detected),
        both_seconds=sum(
            max(0.0, min(b, d) - max(a, c)) for a, b in reference for c, d in detected
        ),
    )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
