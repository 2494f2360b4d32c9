"""``ensf doctor``: what is installed, on which machine, and whether the filters give what they should here."""

from __future__ import annotations

import importlib
import locale
import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

__all__ = ["doctor"]

NEEDED = ("numpy", "scipy", "xarray", "netCDF4", "cf-units", "array-api-compat", "numba", "threadpoolctl", "matplotlib")
OPTIONAL = ("cupy-cuda12x", "cupy-cuda13x", "dask", "mpi4py", "zarr", "scikit-learn")


def doctor(arguments: list[str]) -> int:
    """Print what there is, try what is used, return 1 if something is wrong."""
    if arguments and arguments[0] in ("-h", "--help"):
        print("usage: ensf doctor\n\nversions, threads, card, caches, and a self-test of some seconds")
        return 0
    if arguments:
        raise ValueError(f"`ensf doctor` takes no argument, not {arguments[0]!r}")
    _report({"ensf": version("ensf"), "python": platform.python_version(), "machine": platform.platform()})
    _report({name: _version(name) for name in (*NEEDED, *OPTIONAL)})
    _report({"threads": _threads(), "card": _card(), "text": locale.getpreferredencoding(False)} | _caches())
    print()
    outcomes = [_passes(name, check) for name, check in CHECKS.items()]
    return int(not all(outcomes))


def _report(facts: dict[str, str]) -> None:
    for name, fact in facts.items():
        print(f"{name:17s} {fact}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed" + " (needed: pip install --force-reinstall ensf)" * (name in NEEDED)


def _threads() -> str:
    import numba
    from threadpoolctl import threadpool_info

    libraries = sorted({f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()})
    return f"{os.cpu_count()} processors; numba {numba.get_num_threads()}" + "".join(f", {one}" for one in libraries)


def _card() -> str:
    try:
        cuda = importlib.import_module("cupy").cuda.runtime
        return ", ".join(cuda.getDeviceProperties(number)["name"].decode() for number in range(cuda.getDeviceCount()))
    except Exception as error:  # no CuPy, no driver, no card: each has an error of its own
        return f"none ({type(error).__name__}): arrays are NumPy"


def _caches() -> dict[str, str]:
    from ensf.runs.nature import cache_folder

    places = {"nature runs": cache_folder(), "compiled code": Path(__file__).parents[1] / "filters" / "__pycache__"}
    return {name: f"{place}, {_size(place)}" for name, place in places.items()}


def _size(folder: Path) -> str:
    if not folder.is_dir():
        return "not there yet"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{size / 1e6:.1f} MB" + ", not writable: it is made anew in each process" * (not os.access(folder, os.W_OK))


# --- self-test -------------------------------------------------------------------------------------------


def _passes(name: str, check: Callable[[], str]) -> bool:
    """Print what a check says, or how it failed."""
    started = time.perf_counter()
    try:
        outcome, passed = check(), True
    except Exception as error:
        outcome, passed = f"FAILED: {type(error).__name__}: {error}", False
    print(f"{name:17s} {outcome} ({time.perf_counter() - started:.1f} s)", flush=True)
    return passed


def _kalman() -> str:
    """The mean and covariance of one analysis against the Kalman formula."""
    from ensf import ETKF, LETSF, Observation, Select

    prior = np.random.default_rng(1).normal(size=(20, 4)) @ np.triu(np.ones((4, 4)))
    covariance = np.cov(prior.T)
    gain = covariance[:, :2] @ np.linalg.inv(covariance[:2, :2] + 0.25 * np.eye(2))
    mean = prior.mean(axis=0) + gain @ (np.array([1.0, -1.0]) - prior[:, :2].mean(axis=0))
    worst = 0.0
    for filter in (ETKF(), LETSF()):
        ensemble = filter.analyse(prior, Observation(np.array([1.0, -1.0]), Select((0, 1)), error=0.5), rng=1).ensemble
        errors = ensemble.mean(axis=0) - mean, np.cov(ensemble.T) - (covariance - gain @ covariance[:2])
        worst = max(worst, *(float(np.abs(error).max()) for error in errors))
    if worst > 1e-8:
        raise ArithmeticError(f"filters differ from the Kalman formula by {worst:.1e}: send this output to the authors")
    return f"ETKF and LETSF agree with the Kalman formula to {worst:.0e}"


def _files() -> str:
    """A NetCDF file there and back."""
    from ensf.dataset import netcdf

    values = np.linspace(0, 1, 1000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.nc"
        with netcdf.opened(path, "w") as file:
            file.createDimension("n", values.size)
            file.createVariable("x", "f8", ("n",))[:] = values
        with netcdf.lazy(path) as dataset:
            if not np.array_equal(dataset["x"].values, values):
                raise ArithmeticError("what was read is not what was written: the NetCDF libraries do not fit together")
    return "NetCDF written and read"


def _twin() -> str:
    """Some cycles of Lorenz-96."""
    from ensf import experiments

    page = experiments.load("lorenz96_sakov2008")
    rmse = 0.0
    for cycle in page.run(page.methods["letkf"], seed=1):
        rmse = float(np.sqrt(np.mean((cycle.analysis.ensemble.mean(axis=0) - cycle.truth) ** 2)))
        if cycle.index == 49:
            break
    if not rmse < 0.5:
        raise ArithmeticError(
            f"the error of the LETKF after 50 cycles of lorenz96_sakov2008 is {rmse:.2f}, not below .5"
        )
    return f"Lorenz-96, 50 cycles: RMSE {rmse:.2f}"


CHECKS = {"analysis": _kalman, "files": _files, "twin": _twin}
