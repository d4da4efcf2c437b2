"""Files are read within a bound and written whole."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lightfast.errors import TooLarge
from lightfast.files import read_bounded, size_of, write_whole


def test_reading_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    assert size_of(str(file)) == 5
    assert read_bounded(str(file), 5) == b"12345"
    with pytest.raises(TooLarge):
        read_bounded(str(file), 4)
    with pytest.raises(TooLarge):
        read_bounded("/dev/zero", 4)


@pytest.mark.parametrize("name", ["missing", "/dev/zero", "\0"])
def test_size_that_is_not_known(name: str) -> None:
    assert size_of(name) == 0


def test_written_file_keeps_mode_and_link(tmp_path: Path) -> None:
    file, link = tmp_path / "a", tmp_path / "link"
    file.write_bytes(b"before")
    file.chmod(0o640)
    link.symlink_to(file)
    write_whole(link, b"after")
    assert link.is_symlink()
    assert file.read_bytes() == b"after"
    assert file.stat().st_mode & 0o777 == 0o640


def test_new_file_gets_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"before")
    with pytest.raises(TypeError):
        write_whole(file, "no bytes")  # type: ignore[arg-type]
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_directory_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, b"new")
    assert list(tmp_path.iterdir()) == []


def test_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"through")
    reader.join()
    assert received == [b"through"]
    assert pipe.is_fifo()
