"""Rules of the house that no linter knows."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"runtime": (), "dev": ("dev",), "bench": ("demo", "bench"), "fuzz": ("fuzz",)}
ALONE = ("awscli",)
"""Locks of programs that live in an environment of their own; what is wanted stands in a file beside them."""


def names(requirements):
    return {re.match(r"[A-Za-z0-9._-]+", line)[0].lower().replace("_", "-").replace(".", "-") for line in requirements}


def test_there_is_a_lock_for_each_use():
    assert {lock.stem for lock in LOCKS} == {*EXTRAS, *ALONE}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_every_package_by_hash_and_holds_no_address(lock):
    lines = lock.read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert all(re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+( ; .+)? \\", line) for line in pins)
    assert all(re.fullmatch(r"    (--hash=sha256:[0-9a-f]{64}( \\)?|#.*)", line) for line in lines if line.startswith(" "))
    assert "://" not in lock.read_text()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_holds_what_the_project_asks_for(lock):
    if lock.stem in ALONE:
        wanted = lock.with_suffix(".in").read_text().splitlines()
    else:
        wanted = [*PROJECT["dependencies"]]
        for extra in EXTRAS[lock.stem]:
            wanted += PROJECT["optional-dependencies"][extra]
    locked = [line for line in lock.read_text().splitlines() if line and not line.startswith((" ", "#"))]
    assert names(wanted) <= names(locked)


def test_every_module_of_the_layers_exists():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    for name in re.findall(r"\w+", " ".join(contract["layers"])):
        assert (ROOT / "src/haulier" / name).is_dir() or (ROOT / "src/haulier" / f"{name}.py").is_file(), name
