"""The synthetic cohort that the tests speak about, made once per session."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from support.jobs import job_over

import fl  # noqa: F401  (turns telemetry off before flwr and ray are imported)
from fl.data.cohort import Cohort
from fl.data.example_cache import prepare
from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER
from fl.ecg.tasks import BEAT, RHYTHM
from fl.messages.job import Job
from fl.training.device import one_thread
from fl.util.random_streams import stream

# A busy machine is no bug, and a test that fails must fail again.
settings.register_profile("heartfed", deadline=None, derandomize=True)
settings.load_profile("heartfed")


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The session's own cache, so that no test writes to the user's; pytest's workers share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEARTFED_CACHE", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    one_thread()


@pytest.fixture(scope="session")
def shards(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Cache folders of 120 twelve-lead and 60 two-lead recordings."""
    nowhere = tmp_path_factory.mktemp("no-data")
    sources = (replace(SYNTHETIC, n_records=120), replace(SYNTHETIC_HOLTER, n_records=60))
    return tuple(prepare(source, nowhere, RHYTHM, cache_dir) for source in sources)


@pytest.fixture(scope="session")
def cohort(shards: tuple[Path, ...]) -> Cohort:
    """Both synthetic sources, for the rhythm task."""
    return Cohort.open(RHYTHM, list(shards))


@pytest.fixture(scope="session")
def beats(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """The beats of 20 two-lead recordings, for the beat task."""
    source = replace(SYNTHETIC_HOLTER, n_records=20)
    return Cohort.open(BEAT, [prepare(source, tmp_path_factory.mktemp("no"), BEAT, cache_dir)])


@pytest.fixture(scope="session")
def few(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """24 short two-lead recordings: the least that trains, for tests of how and not how well."""
    source = replace(SYNTHETIC_HOLTER, n_records=24, seconds=(10.0, 12.0))
    return Cohort.open(RHYTHM, [prepare(source, tmp_path_factory.mktemp("no"), RHYTHM, cache_dir)])


@pytest.fixture
def make_job(few: Cohort, tmp_path: Path) -> Callable[..., Job]:
    """A job over the few recordings, dealt to `sites` sites; settings may be given."""

    def make(sites: int = 3, name: str = "run", **settings: Any) -> Job:
        return job_over(few, tmp_path / name, sites, **settings)

    return make


@pytest.fixture
def rng() -> Any:
    """Random numbers of the tests' own."""
    return stream(0, "tests")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; skips where there is none."""
    folder = os.environ.get("ECG_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("$ECG_DATA names no folder of real recordings")
    return Path(folder)
