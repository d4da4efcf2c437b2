"""A storm of changes that concern nobody here: the loop goes on turning, and memory stays where it was."""

from __future__ import annotations

import json
import subprocess
import sys

CHANGES = 50_000
MAX_STRETCH = 0.05
MAX_GROWTH = 8 << 20
"""Bytes; the pushes themselves are ten times that, if anybody kept them."""

# How long the loop does not turn is measured in its thread's own time, so that a busy machine does not count.
STORM = """
import asyncio, json, subprocess, sys, time
import psutil
from lightfast import Lightfast

FLOOD = '''
import socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
file, count = connection.makefile("rb"), int(sys.argv[2])
for start in range(0, count, 100):
    connection.sendall(b"".join(b"SET image:storm-%d x\\\\r\\\\n" % at for at in range(start, start + 100)))
    for _ in range(100):
        assert file.readline() == b"+OK\\\\r\\\\n"
'''

async def main(port, count):
    longest, turning = 0.0, True

    async def turn():
        nonlocal longest
        while turning:
            begun = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - begun)

    async with Lightfast(f"redis://127.0.0.1:{port}/0") as images:
        link = images._running.tier.link
        assert link.state.value == "linked"
        process = psutil.Process()
        peak = before = process.memory_info().rss
        turner = asyncio.create_task(turn())
        begun, changes = time.monotonic(), link.changes
        flood = await asyncio.create_subprocess_exec(sys.executable, "-c", FLOOD, str(port), str(count))
        while link.changes - changes < count and time.monotonic() < begun + 60:
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(0.02)
        seconds = time.monotonic() - begun
        turning = False
        await asyncio.gather(turner, flood.wait())
        told = dict(changes=link.changes - changes, seconds=seconds, longest=longest, growth=peak - before,
                    losses=link.losses, state=link.state.value)
        print(json.dumps(told))

import uvloop
uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


def test_fifty_thousand_foreign_changes(breakable, capsys):
    command = [sys.executable, "-c", STORM, str(breakable.port), str(CHANGES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    with capsys.disabled():
        growth = told["growth"] >> 10
        sys.stdout.write(
            f"\nstorm: {told['changes']} changes in {told['seconds']:.1f} s, longest stretch between two turns "
            f"{told['longest'] * 1000:.1f} ms, memory +{growth} KiB\n"
        )
    assert told["changes"] >= CHANGES
    assert (told["losses"], told["state"]) == (0, "linked")
    assert told["longest"] < MAX_STRETCH
    assert told["growth"] < MAX_GROWTH
