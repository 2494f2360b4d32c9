"""The journal of a file that is complete, made again from it, so that it can be extended.

What the file does not have is kept elsewhere: its empty form, the template, and the model time of each record.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ensf.dataset.netcdf import opened
from ensf.runs.files import replacing
from ensf.runs.netcdf import records
from ensf.runs.netcdf.journal import Journal

__all__ = ["beginning", "make_journal"]


def beginning(journal: Path, cycles: int) -> dict[str, np.ndarray]:
    """What a journal has beside the records of a complete file: its template, and the model times.

    Raises
    ------
    ValueError
        If the journal is damaged, or has fewer records.
    """
    with closing(Journal.resume(journal)) as source:
        written = source.read(cycles, records.layout(source.template))
        return {
            "template": np.frombuffer(source.template, dtype=np.uint8),
            "times": np.array(written[records.TIME], dtype=np.float64),
        }


def make_journal(journal: Path, path: Path, content: Mapping[str, Any]) -> None:
    """Make the journal of a complete file again, at once.

    Parameters
    ----------
    journal, path : Path
        Of the journal and of the file.
    content : mapping
        As `beginning` gave it.

    Raises
    ------
    ValueError
        If the file has not as many records.
    OSError
        If something cannot be read or written.
    """
    template = content["template"].tobytes()
    times = content["times"]
    layout = records.layout(template)
    names = (layout.names or ())[1:]
    with replacing(journal) as hidden, closing(Journal.create(hidden, template)) as made, opened(path) as file:
        if len(file.dimensions["time"]) != len(times):
            raise ValueError(
                f"{path} has {len(file.dimensions['time'])} cycles but the restart beside it {len(times)}: run it "
                "again with --overwrite"
            )
        for name in names:
            file[name].set_auto_maskandscale(False)
        used = records.used(layout, names)
        for index, time in enumerate(times):
            record = np.zeros((), layout)
            record[records.TIME] = time
            for name in names:
                record[name] = file[name][index]
            made.write(index, record, used)
