"""The data sets by name. A new one is one file and one line here."""

from fl.datasets.base import Source
from fl.datasets.challenge_sets import CHAPMAN, CPSC_EXTRA, GEORGIA, INCART_CHALLENGE, NINGBO, PTB
from fl.datasets.cpsc2018 import CPSC2018, CPSC2018_LEAD1
from fl.datasets.incart import INCART
from fl.datasets.mitdb import MITDB
from fl.datasets.ptbdb import PTBDB
from fl.datasets.ptbxl import PTBXL
from fl.datasets.svdb import SVDB
from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER

DATASETS: dict[str, Source] = {
    source.card.name: source
    for source in (
        CPSC2018,
        CPSC2018_LEAD1,
        MITDB,
        SVDB,
        INCART,
        PTBXL,
        GEORGIA,
        CPSC_EXTRA,
        CHAPMAN,
        NINGBO,
        PTB,
        PTBDB,
        INCART_CHALLENGE,
        SYNTHETIC,
        SYNTHETIC_HOLTER,
    )
}
