"""Files are there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from ensf.runs.files import clear_unfinished, replacing, write_json, write_text


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "a.nc"
    path.write_text("former")
    with replacing(path) as hidden:
        hidden.write_text("new")
        assert hidden.name.startswith(".a-") and hidden.suffix == ".nc" and path.read_text() == "former"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_share_a_name(tmp_path):
    with replacing(tmp_path / "a") as one, replacing(tmp_path / "a") as other:
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a").read_text() == "one"


FAILURES = {
    "disk": (OSError(errno.ENOSPC, "No space left on device"), OSError, r"a could not be written \(No space left on"),
    "netcdf": (RuntimeError("NetCDF: HDF\nerror"), OSError, r"a could not be written \(NetCDF: HDF error\): is the"),
    "other": (ValueError("no such row"), ValueError, "^no such row$"),
    "stopped": (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
}


@pytest.mark.parametrize(("failure", "kind", "words"), FAILURES.values(), ids=FAILURES)
def test_a_failure_leaves_the_former_file_alone(tmp_path, failure, kind, words):
    path = tmp_path / "a"
    write_text(path, "former")
    with pytest.raises(kind, match=words), replacing(path) as hidden:
        hidden.write_text("half")
        raise failure
    assert path.read_text() == "former" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(OSError, match=r"none/a.json could not be written \(No such file or directory\): is the disk"):
        write_json(tmp_path / "none" / "a.json", {})


def test_what_a_killed_process_left_is_removed(tmp_path):
    path, others = tmp_path / "a[1].json", [tmp_path / ".a[1]-notes.json", tmp_path / ".b-0123.json"]
    code = (
        "import os, signal, sys; from pathlib import Path; from ensf.runs.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as hidden:\n"
        "    hidden.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -signal.SIGKILL
    for other in others:
        other.touch()
    assert len(os.listdir(tmp_path)) == 3
    clear_unfinished(path)
    assert sorted(tmp_path.iterdir()) == sorted(others)
