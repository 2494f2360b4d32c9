"""Where the tests run: `--device cpu|cuda`, `--dtype float64|float32`, and the array namespaces."""

from __future__ import annotations

import compileall
import gc
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import array_api_compat
import array_api_compat.numpy
import array_api_strict
import numpy as np
import pytest
from hypothesis import settings

gc.disable()  # until the tests are collected: there is nothing yet to free
settings.register_profile("ensf", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("ensf")


@dataclass(frozen=True)
class Backend:
    """An array namespace with the device and dtype on which a test runs."""

    name: str
    xp: Any
    device: Any
    dtype: str

    @property
    def tolerance(self) -> float:
        """Relative accuracy to expect of a short calculation."""
        return 1e-10 if self.dtype == "float64" else 2e-4

    def array(self, values: Any) -> Any:
        """Values from the host as an array here; integers keep their type."""
        values = np.asarray(values)
        if values.dtype.kind == "f":
            values = values.astype(self.dtype)
        return self.xp.asarray(values, device=self.device)

    def owns(self, array: Any) -> bool:
        """True if the array lives here and has this dtype."""
        here = array_api_compat.device(array) == self.device
        return here and array_api_compat.array_namespace(array) is self.xp and str(self.dtype) in str(array.dtype)


def numpy_backend(dtype: str) -> Backend:
    return Backend(f"numpy-{dtype}", array_api_compat.numpy, "cpu", dtype)


def strict_backend(device: str, dtype: str) -> Backend:
    return Backend(f"strict-{device}", array_api_strict, array_api_strict.Device(device), dtype)


def cupy_backend(dtype: str) -> Backend:
    import array_api_compat.cupy
    import cupy

    return Backend(f"cupy-{dtype}", array_api_compat.cupy, cupy.cuda.Device(), dtype)


def pytest_configure(config: pytest.Config) -> None:
    """The many programs that tests start find the package compiled; on a disk that is full they must not do it."""
    if not hasattr(config, "workerinput"):
        for folder in ("ensf", "models", "experiments"):
            compileall.compile_dir(Path(__file__).parents[1] / folder, quiet=2)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # small models: compiling them takes longest


def pytest_collection_finish() -> None:
    """Ten thousand tests need not be looked at whenever memory is freed."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="where the array tests run")
    parser.addoption("--dtype", choices=("float64", "float32"), default="float64", help="dtype of the array tests")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is `full` is not `slow` too: `-m slow` leaves it out."""
    for item in items:
        if item.get_closest_marker("full"):
            item.own_markers = [mark for mark in item.own_markers if mark.name != "slow"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file of tests is run by one process: what its tests share is made once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    device, dtype = metafunc.config.getoption("device"), metafunc.config.getoption("dtype")
    if device == "cuda":
        backends = [cupy_backend(dtype)]
    else:
        backends = [
            numpy_backend(dtype),
            strict_backend("device1", dtype),
            strict_backend("no_float64", "float32"),
        ]
    metafunc.parametrize("backend", backends, ids=lambda backend: backend.name)


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ensf run` draws nothing."""
    monkeypatch.setattr("ensf.cli.run.report", lambda arguments: 0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator, the same in every test."""
    return np.random.default_rng(20240417)
