"""The program that runs a model written in Python: a Dataset in, a Dataset out; nothing of ensf is imported.

    python -P python_model.py PACKAGE.MODULE:FUNCTION FOLDER THREADS INPUT OUTPUT WORDS
    python -P python_model.py PACKAGE.MODULE:FUNCTION FOLDER THREADS NAMES                checks that it takes arguments

Each member is a process of its own, so that a model may keep state in its module, crash, or be killed. Threads are set
before anything is imported.
"""

import os
import sys

GIVEN = ("start", "end", "duration", "seed", "member", "cycle")
"""Words that a model may take, beside names of parameters."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def find(model, folder):
    """The function of a model whose module may lie in a folder."""
    import importlib

    module, _, name = model.partition(":")
    sys.path.insert(0, folder)
    try:
        function = importlib.import_module(module)
    except SyntaxError as error:
        sys.exit(f"{error.filename}, line {error.lineno}: {error.msg}: mend it, for model {model}")
    except ImportError as error:
        sys.exit(f"module {module} of model {model} cannot be imported ({error}): check model, or install it")
    except (Exception, SystemExit) as error:
        kind = type(error).__name__
        sys.exit(f"{place_of(error)}: module {module} of model {model} cannot be imported ({kind}: {error}): mend it")
    try:
        for part in name.split("."):
            function = getattr(function, part)
    except AttributeError:
        sys.exit(f"module {module} has no function {name}: check model {model}")
    if not callable(function):
        sys.exit(f"{name} of module {module} is no function: check model {model}")
    return function


def place_of(error):
    """File and line where something was raised."""
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    return f"{last.tb_frame.f_code.co_filename}, line {last.tb_lineno}"


def check_called(function, model, words):
    """End with a sentence unless the function takes a Dataset, and those of the words that it names, and returns."""
    import inspect

    for asked, what in (
        (inspect.iscoroutinefunction, "is async"),
        (inspect.isasyncgenfunction, "is async"),
        (inspect.isgeneratorfunction, "yields"),
    ):
        if asked(function):
            sys.exit(f"the function of model {model} {what}: give one that returns the Dataset")
    try:
        inspect.signature(function).bind(None, **taken(function, words))
    except TypeError as error:
        sys.exit(f"model {model} cannot be called with a Dataset and {', '.join(words)} ({error}): let it take these")


def taken(function, words):
    """Those of the words that the function takes as keywords."""
    import inspect

    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return words
    return {one.name: words[one.name] for one in list(parameters)[1:] if one.name in words}


def advice(function, name, model):
    """What to do about a parameter that the function does not take: the nearest of its arguments, if one is near."""
    import difflib
    import inspect

    near = difflib.get_close_matches(name, list(inspect.signature(function).parameters)[1:], n=1)
    named = f"name it {near[0]!r}, the nearest argument, or " if near else ""
    return f"{named}let the function of model {model} take it"


def forecast(function, source, target, words):
    """Write what the function makes of the Dataset in a file, or a Zarr store."""
    import numpy as np
    import xarray as xr

    for name in ("start", "end"):
        if isinstance(words[name], str):
            words[name] = np.datetime64(words[name])
    is_store = os.path.isdir(source)
    how = {"engine": "zarr", "consolidated": False} if is_store else {}
    made = function(xr.load_dataset(source, **how), **taken(function, words))
    if not isinstance(made, xr.Dataset):
        sys.exit(f"the model gave a {type(made).__name__}: give an xarray.Dataset")
    if is_store:
        version = 3 if os.path.exists(os.path.join(source, "zarr.json")) else 2
        made.to_zarr(target, zarr_format=version, consolidated=False)
    else:
        made.to_netcdf(target)


def main(model, folder, threads, *task):
    """Run or check a model: `task` is source, target and words, or names of arguments that it needs."""
    for name in THREADS:
        os.environ.setdefault(name, threads)
    function = find(model, folder)
    if len(task) == 1:
        names = task[0].split()
        missing = [name for name in names if not taken(function, {name: 0.0})]
        if missing:
            sys.exit(f"no member would get the parameter {missing[0]!r}: {advice(function, missing[0], model)}")
        check_called(function, model, dict.fromkeys([*GIVEN, *names], 0.0))
    else:
        import json

        source, target, words = task
        forecast(function, source, target, json.loads(words))


if __name__ == "__main__":
    main(*sys.argv[1:])
