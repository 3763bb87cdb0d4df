"""Where the data sets are on PhysioNet, and which of their files are needed."""

from dataclasses import dataclass

from fl.util.errors import ConfigError

BASE_URL = "https://physionet.org/files"
_RECORDS = r"(.*/)?([A-Z]+\d+\.(hea|mat)|RECORDS)"


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A data set's place on PhysioNet."""

    project: str  # name and version
    inside: str = ""  # folder of the project, with its final slash
    wanted: str = _RECORDS  # regular expression for the needed paths below that folder
    size: int  # MB of the needed files, approximately


_CHALLENGE_2020 = "challenge-2020/1.0.2"
_CHALLENGE_2021 = "challenge-2021/1.0.3"

REMOTES = {
    "cpsc2018": Remote(project=_CHALLENGE_2020, inside="training/cpsc_2018/", size=1_400),
    "cpsc-extra": Remote(project=_CHALLENGE_2020, inside="training/cpsc_2018_extra/", size=700),
    "georgia": Remote(project=_CHALLENGE_2020, inside="training/georgia/", size=1_300),
    "ptb": Remote(project=_CHALLENGE_2020, inside="training/ptb/", size=1_500),
    "incart-challenge": Remote(
        project=_CHALLENGE_2020, inside="training/st_petersburg_incart/", size=850
    ),
    "chapman": Remote(project=_CHALLENGE_2021, inside="training/chapman_shaoxing/", size=1_300),
    "ningbo": Remote(project=_CHALLENGE_2021, inside="training/ningbo/", size=4_400),
    "mitdb": Remote(
        project="mitdb/1.0.0", wanted=r"\d{3}\.(hea|dat|atr)|RECORDS|ANNOTATORS", size=105
    ),
    "svdb": Remote(
        project="svdb/1.0.0", wanted=r"\d{3}\.(hea|dat|atr)|RECORDS|ANNOTATORS", size=55
    ),
    "incart": Remote(
        project="incartdb/1.0.0",
        wanted=r"I\d{2}\.(hea|dat|atr)|RECORDS|ANNOTATORS|files-patients-diagnoses\.txt",
        size=835,
    ),
    "ptbdb": Remote(
        project="ptbdb/1.0.0",
        wanted=r"patient\d{3}/s\d{4}\w*\.(hea|dat)|RECORDS",
        size=1_450,
    ),
    "ptbxl": Remote(
        project="ptb-xl/1.0.3",
        wanted=r"ptbxl_database\.csv|scp_statements\.csv|LICENSE\.txt|records100/.*\.(hea|dat)",
        size=600,
    ),
}


def known_remote(name: str) -> Remote:
    """Where the data set is; `ConfigError` if it cannot be downloaded."""
    if name not in REMOTES:
        raise ConfigError(f"{name} cannot be downloaded. Known: {', '.join(sorted(REMOTES))}.")
    return REMOTES[name]
