"""torch loads without its tables for compilers, and with them as soon as something needs them."""

import os
import subprocess
import sys

import pytest

from fl.util.imports.torch_internals import NEED_TABLES, TORCH_VERSIONS
from fl.util.tested_versions import PUBLIC_ONLY, is_tested

LOADED = "print('torch._meta_registrations' in sys.modules)"


def printed(code, **environment):
    """What a new process prints that has loaded torch after `fl`."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nimport fl\nimport torch\n{code}"],
        env=os.environ | {PUBLIC_ONLY: ""} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.skipif(
    not is_tested("torch", TORCH_VERSIONS), reason="torch is loaded as it loads itself"
)
def test_torch_loads_without_its_tables():
    assert printed(LOADED) == ["False"]


def test_the_documented_way_loads_them_at_once():
    assert printed(LOADED, **{PUBLIC_ONLY: "1"}) == ["True"]


@pytest.mark.parametrize("name", sorted(NEED_TABLES))
def test_what_needs_them_loads_in_any_order(name):
    code = f"""
module = __import__({name!r}, fromlist=["x"])
print(module.__name__, module.__spec__.name, module.__spec__.has_location)
{LOADED}"""
    assert printed(code) == [f"{name} {name} True", "True"]


def test_a_function_can_be_compiled():
    code = f"""
print(torch.compile(lambda x: x.sin() * 2, backend="eager")(torch.zeros(2)).tolist())
{LOADED}"""
    assert printed(code) == ["[0.0, 0.0]", "True"]


def test_tensors_without_values_work_after_they_are_asked_for():
    code = f"""
from fl.util.imports.torch_internals import load_tables
load_tables()
print(torch.nn.Linear(3, 2, device="meta")(torch.empty(5, 3, device="meta")).shape[1])
{LOADED}"""
    assert printed(code) == ["2", "True"]


def test_random_numbers_are_the_same_either_way():
    code = """
generator = torch.Generator().manual_seed(3)
print(torch.rand(4, generator=generator).tolist(), torch.manual_seed(5).initial_seed())
torch.nn.Linear(2, 2)(torch.rand(3, 2)).sum().backward()
print(torch.randperm(9, generator=generator).tolist(), torch.rand(2).tolist())"""
    assert printed(code) == printed(code, **{PUBLIC_ONLY: "1"})
