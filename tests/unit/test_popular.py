"""Answers in files of memory: what they send, how many there are, and that they go."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.support import until

from lightfast.web import popular
from lightfast.web.popular import CROWD, MOST_FILES_OF_ONE, OFTEN, PART, SHARE, MemoryFile, PopularAnswers

CONTENT = bytes(range(256)) * 100
NOW = 1_800_000_000.25


def send(answers: PopularAnswers, head: bytes, content: bytes = CONTENT, now: float = NOW) -> MemoryFile | None:
    return answers.to_send(answers.of(head, content, now), content, now)


def make_popular(answers: PopularAnswers, head: bytes, content: bytes = CONTENT, now: float = NOW) -> MemoryFile | None:
    for _ in range(OFTEN):
        assert send(answers, head, content, now) is None
    return send(answers, head, content, now)


def bytes_of(file: MemoryFile) -> bytes:
    one, other = socket.socketpair()
    with one, other:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * PART)
        count = file.send(one)
        received = b""
        while len(received) < count:
            received += other.recv(count)
        return received


async def test_an_answer_gets_its_file_once_it_was_sent_often() -> None:
    answers = PopularAnswers()
    file = make_popular(answers, b"head")
    assert file is not None
    assert send(answers, b"head", CONTENT, NOW) is file
    assert bytes_of(file) == b"head" + CONTENT
    assert send(answers, b"another head", CONTENT, NOW) is None
    assert send(answers, b"head", bytes(len(CONTENT)), NOW) is None


async def test_of_a_large_answer_a_file_has_the_beginning() -> None:
    large = CONTENT * 100
    file = make_popular(PopularAnswers(), b"head", large)
    assert file is not None
    assert bytes_of(file) == b"head" + large[: PART - 4]


def sent_to_a_crowd(answers: PopularAnswers, head: bytes, content: bytes = CONTENT) -> list[MemoryFile | None]:
    """What the last hundred are sent."""
    for _ in range(CROWD * MOST_FILES_OF_ONE):
        send(answers, head, content)
    return [send(answers, head, content) for _ in range(100)]


async def test_a_crowd_is_sent_several_files_that_are_alike() -> None:
    files = sent_to_a_crowd(PopularAnswers(), b"head")
    assert None not in files
    assert len(set(files)) == MOST_FILES_OF_ONE
    assert {bytes_of(file) for file in set(files) if file is not None} == {b"head" + CONTENT}


async def test_a_crowd_is_sent_one_after_the_other() -> None:
    files = sent_to_a_crowd(PopularAnswers(), b"head")
    assert len(set(files[:MOST_FILES_OF_ONE])) == MOST_FILES_OF_ONE


@pytest.mark.parametrize(("length", "count"), [(200_000, 2), (300_000, 1), (700_000, 1), (3_000_000, 1)])
async def test_the_files_of_one_answer_fit_into_a_processors_cache(length: int, count: int) -> None:
    assert len(set(sent_to_a_crowd(PopularAnswers(), b"head", bytes(length)))) == count


async def test_further_files_leave_room_to_answers_that_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular, "MOST_FILES", 6)
    answers = PopularAnswers()
    assert len(set(sent_to_a_crowd(answers, b"head"))) == 3
    others = [make_popular(answers, b"head %d" % number) for number in range(4)]
    assert [file is not None for file in others] == [True, True, True, False]


async def test_who_keeps_an_answer_beyond_its_second_keeps_no_file() -> None:
    answers = PopularAnswers()
    make_popular(answers, b"head")
    kept = answers.of(b"head", CONTENT, NOW)
    answers.of(b"another head", CONTENT, NOW + 1)
    assert not kept.files
    for _ in range(10 * CROWD):
        assert answers.to_send(kept, CONTENT, NOW) is None


@pytest.mark.parametrize("later", [0.8, -3600])
async def test_files_go_when_the_second_ends(later: float) -> None:
    answers = PopularAnswers()
    file = make_popular(answers, b"head", now=NOW)
    assert file is not None
    descriptor = file._descriptor
    del file
    os.fstat(descriptor)
    assert send(answers, b"another head", CONTENT, NOW + later) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert make_popular(answers, b"head", now=NOW + later) is not None  # counted anew


async def test_files_go_where_nobody_asks_any_more() -> None:
    answers = PopularAnswers()
    make_popular(answers, b"head")
    await until(lambda: not answers._known)


async def test_the_end_of_a_second_leaves_the_next_one_alone() -> None:
    answers = PopularAnswers()
    now = NOW + 0.73  # the second ends in 20 ms
    make_popular(answers, b"head", now=now)
    file = make_popular(answers, b"another head", now=now + 0.02)
    await asyncio.sleep(0.1)  # beyond the timer of the first second: timers run in order
    assert file is not None
    assert send(answers, b"another head", now=now + 0.1) is file


async def test_files_go_where_the_clock_was_set_back() -> None:
    answers = PopularAnswers()
    popularity = answers.of(b"head", CONTENT, NOW)
    for _ in range(2 * OFTEN):
        answers.to_send(popularity, CONTENT, NOW - 3600)
    assert popularity.files
    await until(lambda: not popularity.files)


async def test_there_is_a_bound_to_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular, "MOST_FILES", 2)
    answers = PopularAnswers()
    files = [make_popular(answers, b"head %d" % number) for number in range(4)]
    assert [file is not None for file in files] == [True, True, False, False]
    assert make_popular(answers, b"head 3", now=NOW + 1) is not None


async def test_there_is_a_bound_to_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular, "MOST_BYTES", 2 * len(CONTENT))
    answers = PopularAnswers()
    for now in (NOW, NOW + 1, NOW + 2):
        files = [make_popular(answers, b"head %d" % number, now=now) for number in range(3)]
        assert [file is not None for file in files] == [True, False, False]
        assert make_popular(answers, b"small", b"content", now) is not None


async def test_there_is_a_bound_to_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular, "MAX_KNOWN", 10)
    answers = PopularAnswers()
    for number in range(100):
        send(answers, b"head %d" % number, CONTENT, NOW)
        assert len(answers._known) <= 10


async def test_an_answer_with_a_file_goes_on_to_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular, "MAX_KNOWN", 3)
    answers = PopularAnswers()
    file = make_popular(answers, b"head")
    for number in range(10):
        send(answers, b"head %d" % number)
    assert send(answers, b"head") is file


@contextmanager
def descriptors(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_connections_keep_most_of_the_descriptors() -> None:
    with descriptors(3 * SHARE + 1):
        answers = PopularAnswers()
    files = [make_popular(answers, b"head %d" % number) for number in range(5)]
    assert [file is not None for file in files] == [True, True, True, False, False]


async def test_without_a_descriptor_there_is_no_file() -> None:
    answers = PopularAnswers()
    free = os.dup(0)
    os.close(free)
    with descriptors(free):
        assert make_popular(answers, b"head") is None
    # Once was enough: no answer tries again with each request.
    assert send(answers, b"head", CONTENT, NOW) is None
    assert make_popular(answers, b"another") is not None
