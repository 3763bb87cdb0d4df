"""Synthetic recordings of given classes, which a site may train on beside its own recordings."""

from dataclasses import dataclass

from fl.datasets.synthetic.cohort import Synthetic


@dataclass(frozen=True, kw_only=True)
class RareClasses(Synthetic):
    """One synthetic patient for each class in `shown`, with one recording that shows it alone."""

    shown: tuple[str, ...]  # (record,) names of RHYTHM_CLASSES

    @classmethod
    def of(
        cls,
        site: str,
        shown: tuple[str, ...],
        leads: tuple[str, ...],
        seed: int,
        *,
        seconds: tuple[float, float] = (10.0, 20.0),
    ) -> "RareClasses":
        """The recordings of one site; another site or seed has other patients."""
        return cls(
            name=f"simulated-{site}",
            leads=leads,
            n_records=len(shown),
            n_patients=len(shown),
            seed=seed,
            seconds=seconds,
            shown=shown,
        )

    def _labels(self, number: int) -> tuple[str, ...]:
        return (self.shown[number],)
