"""The data sets by name."""

from fl.datasets.base import Source
from fl.datasets.cpsc2018 import CPSC2018, CPSC2018_LEAD1
from fl.datasets.mitdb import MITDB
from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER

DATASETS: dict[str, Source] = {
    source.card.name: source
    for source in (
        CPSC2018,
        CPSC2018_LEAD1,
        MITDB,
        SYNTHETIC,
        SYNTHETIC_HOLTER,
    )
}
