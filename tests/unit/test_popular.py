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
from lightfast.web.popular import CROWD, MOST_COPIES, OFTEN, PART, SHARE, MemoryFile, PopularAnswers

CONTENT = bytes(range(256)) * 100
NOW = 1_800_000_000.25


def send(
    answers: PopularAnswers, head: bytes, content: bytes = CONTENT, now: float = NOW, client: int = 0
) -> MemoryFile | None:
    return answers.to_send(answers.popularity(head, content, now), content, now, client)


def make_popular(answers: PopularAnswers, head: bytes, content: bytes = CONTENT, now: float = NOW) -> MemoryFile | None:
    for _ in range(OFTEN):
        assert send(answers, head, content, now) is None
    return send(answers, head, content, now)


def sent(file: MemoryFile) -> bytes:
    one, other = socket.socketpair()
    with one, other:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * PART)
        count = file.send(one.fileno())
        received = b""
        while len(received) < count:
            received += other.recv(count)
        return received


async def test_an_answer_gets_its_file_once_it_was_sent_often() -> None:
    answers = PopularAnswers()
    file = make_popular(answers, b"head")
    assert file is not None
    assert send(answers, b"head", CONTENT, NOW) is file
    assert sent(file) == b"head" + CONTENT
    assert send(answers, b"another head", CONTENT, NOW) is None
    assert send(answers, b"head", bytes(len(CONTENT)), NOW) is None


async def test_of_a_large_answer_a_file_has_the_beginning() -> None:
    large = CONTENT * 100
    file = make_popular(PopularAnswers(), b"head", large)
    assert file is not None
    assert sent(file) == b"head" + large[: PART - 4]


def given(answers: PopularAnswers, head: bytes, content: bytes = CONTENT) -> list[MemoryFile | None]:
    """What each of a hundred clients is sent after a crowd of them has asked."""
    for _ in range(CROWD * MOST_COPIES):
        send(answers, head, content)
    return [send(answers, head, content, client=client) for client in range(100)]


async def test_a_crowd_is_sent_several_files_that_are_alike() -> None:
    files = given(PopularAnswers(), b"head")
    assert None not in files
    assert len(set(files)) == MOST_COPIES
    assert {sent(file) for file in set(files) if file is not None} == {b"head" + CONTENT}
    assert files[:MOST_COPIES] == files[MOST_COPIES : 2 * MOST_COPIES]


@pytest.mark.parametrize(("length", "copies"), [(130_000, 4), (300_000, 1), (700_000, 1), (3_000_000, 1)])
async def test_copies_fit_into_a_processors_cache(length: int, copies: int) -> None:
    assert len(set(given(PopularAnswers(), b"head", bytes(length)))) == copies


async def test_copies_leave_room_to_answers_that_have_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular, "MOST_FILES", 6)
    answers = PopularAnswers()
    assert len(set(given(answers, b"head"))) == 3
    others = [make_popular(answers, b"head %d" % number) for number in range(4)]
    assert [file is not None for file in others] == [True, True, True, False]


async def test_who_keeps_an_answer_beyond_its_second_keeps_no_file() -> None:
    answers = PopularAnswers()
    make_popular(answers, b"head")
    kept = answers.popularity(b"head", CONTENT, NOW)
    answers.popularity(b"another head", CONTENT, NOW + 1)
    assert not kept.files
    for _ in range(10 * CROWD):
        assert answers.to_send(kept, CONTENT, NOW, 0) is None


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
    await asyncio.sleep(0.1)
    assert file is not None
    assert send(answers, b"another head", now=now + 0.1) is file


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
