"""One run, one owner: a folder is one process's while that lives, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from ensf.runs.owner import OWNER, alone, owned

HOLDER = (
    "import sys, time; from pathlib import Path; from ensf.runs.owner import alone, owned\n"
    "with {how}(Path(sys.argv[1])):\n    print('mine', flush=True); time.sleep({seconds})"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that owns a folder, or makes a file."""
    started = []

    def start(path, how="owned", seconds=60):
        code = HOLDER.format(how=how, seconds=seconds)
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "mine\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_while_the_first_lives(tmp_path, holder):
    process = holder(tmp_path)
    words = rf"{tmp_path} is in use by process {process.pid} on .*: wait until that ends"
    with pytest.raises(BlockingIOError, match=words), owned(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert os.listdir(tmp_path) == [OWNER]
    with owned(tmp_path):
        pass
    assert not os.listdir(tmp_path)


def test_a_link_to_the_folder_is_the_same_folder(tmp_path, holder):
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "folder").mkdir()
    holder(tmp_path / "folder")
    with pytest.raises(BlockingIOError, match="link is in use"), owned(tmp_path / "link"):
        pass


def test_an_owner_may_own_again_but_not_another_thread(tmp_path):
    refused = []

    def work():
        try:
            with owned(tmp_path):
                pass
        except BlockingIOError as error:
            refused.append(error)

    with owned(tmp_path), owned(tmp_path):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(refused) == 1
    work()
    assert len(refused) == 1


def test_a_refused_lock_leaves_no_file_open(tmp_path, holder):
    holder(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BlockingIOError), owned(tmp_path):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_stays_empty_goes_and_one_that_was_there_stays(tmp_path):
    with owned(tmp_path / "a" / "b") as fresh:
        assert fresh and (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a").exists()
    (tmp_path / "a").mkdir(mode=0o750)
    before = (tmp_path / "a").stat()
    with owned(tmp_path / "a") as fresh:
        assert not fresh
    after = (tmp_path / "a").stat()
    assert (after.st_ino, after.st_mode, after.st_uid) == (before.st_ino, before.st_mode, before.st_uid)
    with owned(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert os.listdir(tmp_path / "a" / "b") == ["file"]


def test_what_is_no_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, words in (("file", "file is a file"), ("file/x", "x cannot be written"), ("loop", "loop cannot be")):
        with pytest.raises(OSError, match=words), owned(tmp_path / name):
            pass
    with pytest.raises(FileNotFoundError, match="there is no folder .*none"), owned(tmp_path / "none", make=False):
        pass


def test_one_process_makes_a_file_and_others_wait(tmp_path, holder, capsys):
    process = holder(tmp_path / "a.nc", how="alone", seconds=0.5)
    with alone(tmp_path / "a.nc"):
        assert process.wait() == 0
    assert f"waiting for process {process.pid} on " in capsys.readouterr().err
    assert not os.listdir(tmp_path)


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch):
    def flock(descriptor, how):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.warns(UserWarning, match="without locks"), owned(tmp_path):
        pass
