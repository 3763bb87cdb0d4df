"""Recordings of people who do not exist, so that everything runs before real data are available.

Results on these recordings show that the software works, and nothing about medicine.
"""

from fl.datasets.synthetic.cohort import SYNTHETIC, SYNTHETIC_HOLTER, Synthetic
from fl.datasets.synthetic.seven_beats import SevenBeats, with_seven_beats

__all__ = ["SYNTHETIC", "SYNTHETIC_HOLTER", "SevenBeats", "Synthetic", "with_seven_beats"]
