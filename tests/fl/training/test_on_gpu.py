"""A GPU gives the same results as the CPU, up to rounding. Run wherever there is a GPU."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import run_sim
from fl.data.gpu_cohort import GpuCohort, batch_maker
from fl.ecg.tasks import RHYTHM
from fl.models import MODELS, build_network
from fl.models.blocks import SignalDropout
from fl.training.augmentation import AUGMENTATIONS, augment_batch
from fl.training.loop import TrainingPlan, fit, predict
from fl.training.losses import mean_loss
from fl.util.gpu_memory import free_gpu_memory, limit_gpu_memory
from fl.util.random_streams import stream
from partitions.device_skew import recorder_of

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch finds no GPU on this machine"
)
GPU = torch.device("cuda")
PLAN = TrainingPlan(
    seed=0,
    site="site-1",
    round=1,
    rounds=2,
    epochs=1,
    batch_size=8,
    lr=2e-3,
    weight_decay=0.01,
)
SMALL = sorted(name for name in MODELS if not name.endswith("_large"))
RUN = [
    *("--data", "synthetic", "--synthetic-records", "60", "--clients", "3", "--rounds", "2"),
    *("--model", "cnn_lstm", "--partition", "patients", "--no-pages", "--quiet"),
]


@pytest.fixture(autouse=True)
def _full_float32(monkeypatch):
    """By default cuDNN rounds float32 to ten bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def fresh(model, task):
    """A network without dropout, for which a GPU would draw other random numbers."""
    torch.manual_seed(0)
    network = build_network(model, task)
    for module in network.modules():
        if isinstance(module, nn.Dropout | SignalDropout):
            module.p = 0.0
    return network


@pytest.mark.parametrize("kind", ["rhythm", "beats"])
def test_a_batch_made_on_the_gpu_equals_the_hosts_to_the_bit(cohort, beats, rng, kind):
    data = cohort if kind == "rhythm" else beats
    on_gpu = GpuCohort.of(data, GPU)
    assert on_gpu.signals.is_cuda
    for n in (1, 8, 64):
        examples = rng.integers(0, len(data), n)
        starts = data.random_starts(examples, rng)
        batch = on_gpu.batch(examples, starts)
        for name, tensor in vars(data.batch(examples, starts)).items():
            assert torch.equal(getattr(batch, name).cpu(), tensor), name


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_an_augmentation_draws_the_same_except_for_the_noise(cohort, name):
    crops = np.arange(100, 140), np.zeros(40, dtype=np.int64)
    on_gpu = augment_batch(batch_maker(cohort, "cuda")(*crops), RHYTHM, (name,), stream(0, "gpu"))
    on_host = augment_batch(cohort.batch(*crops), RHYTHM, (name,), stream(0, "gpu"))
    assert not on_gpu.signal[on_gpu.lead_mask == 0].any()
    for field, tensor in vars(on_host).items():
        # 0.5: noise has a standard deviation of 0.1 at most
        atol = 0.5 * 2 if (name, field) == ("noise", "signal") else 1e-5
        torch.testing.assert_close(getattr(on_gpu, field).cpu(), tensor, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("model", SMALL)
def test_predictions_equal_the_cpus(model, cohort, beats):
    data = beats if model == "beat_cnn" else cohort
    some = data.take(np.arange(len(data))[:: len(data) // 30])
    network = fresh(model, some.task)
    expected = predict(network, some)
    np.testing.assert_allclose(
        predict(network, some, device="cuda", bf16=False), expected, atol=1e-4
    )
    np.testing.assert_allclose(predict(network, some, device="cuda"), expected, atol=0.03)


@pytest.mark.parametrize("model", ["resnet1d", "reslstm_temporalse"])
def test_two_rounds_that_keep_the_state_end_near_the_cpus(few, model):
    ends, sums = [], []
    for device in ("cpu", "cuda"):
        network, state = fresh(model, RHYTHM), None
        for number in (1, 2):
            plan = replace(PLAN, round=number, device=device, bf16=False)
            fitted = fit(network, few, plan, state=state)
            state = fitted.state
        ends.append(predict(network, few, device=device, bf16=False))
        sums.append(fitted.loss_sum)
    np.testing.assert_allclose(*ends, atol=1e-2)
    assert sums[0] == pytest.approx(sums[1], rel=1e-2)


@pytest.mark.parametrize("model", ["resnet1d", "reslstm_temporalse"])
def test_training_with_the_defaults_of_a_gpu_learns(few, model):
    torch.manual_seed(0)
    network = build_network(model, RHYTHM)
    before = mean_loss(few.task, few.labels, predict(network, few, device="cuda"))
    plan = replace(PLAN, rounds=1, epochs=12, lr=5e-3, augment=RHYTHM.augment, device="cuda")
    fitted = fit(network, few, plan)
    assert mean_loss(few.task, few.labels, predict(network, few, device="cuda")) < before
    assert 0 < fitted.loss_sum / fitted.n_seen < 1


def test_a_site_with_its_own_recorder_trains(few):
    skewed = few.recorded_by(recorder_of(("noise", "rate"), RHYTHM, 0, "site-1"))
    assert GpuCohort.of(skewed, GPU) is None
    assert fit(fresh("resnet1d", RHYTHM), skewed, replace(PLAN, device="cuda")).n_seen == len(few)


def test_a_process_can_be_limited_to_a_share_of_the_memory():
    before = free_gpu_memory(GPU)
    try:
        limit_gpu_memory(0.1)
        assert 0 < free_gpu_memory(GPU) < before
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def rounds(folder):
    with (folder / "rounds.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_small_federation_ends_near_the_cpus(tmp_path, engine):
    for device in ("cpu", "cuda"):
        more = ["--engine", engine, "--workers", "2", "--device", device]
        assert run_sim.main([*RUN, *more, "--out", str(tmp_path), "--name", device]) == 0
    on_cpu, on_gpu = (rounds(tmp_path / device)[-1] for device in ("cpu", "cuda"))
    assert on_gpu["failures"] == on_cpu["failures"]
    for column in ("train_loss", "val_loss"):  # a GPU draws dropout and noise differently
        assert float(on_gpu[column]) == pytest.approx(float(on_cpu[column]), abs=0.1), column
