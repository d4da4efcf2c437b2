"""Takes images from standard input and does with each what an upload and some reads do. Run as a program.

An order is a line of JSON (``size`` in bytes, ``deadline`` in seconds, ``stages`` by name) and then the image; the
answer is a line of JSON: for each stage what came of it, its seconds, the bytes by which it raised the memory of the
process, and those of the C heap that stayed in use before.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightfast.errors import LightfastError, RenderTimeout
from lightfast.heap import share_one_heap
from lightfast.imaging.codec import Picture, render
from lightfast.imaging.geometry import Limits
from lightfast.imaging.preview import preview
from lightfast.imaging.stop import Stop
from lightfast.sniff import sniff
from lightfast.variant import Fit, Format, Variant
from lightfast.web.errors import STATUS

LIMITS = Limits()

KEPT = 32 * 1024 * 1024
"""Bytes of the C heap that may be in use between two stages, however many there were: it starts with 17 MiB, and grows
by one in 15,000 images."""
_REST = 2.0
"""Seconds that they have to become so few."""

VARIANTS: Mapping[str, Variant] = {
    "w64-webp": Variant(width=64, format=Format.WEBP),
    "w512-jpg": Variant(width=512, format=Format.JPG),
    "w200-avif": Variant(width=200, format=Format.AVIF),
    "crop-png": Variant(width=100, height=80, fit=Fit.CROP, crop=("entropy",), format=Format.PNG),
    "trim-webp": Variant(width=100, trim=True, format=Format.WEBP),
    "tilt-png": Variant(width=100, rotate=30, format=Format.PNG),
    "turn-pjpg": Variant(width=300, rotate=90, flip="h", format=Format.PJPG),
    "blur-webp": Variant(width=120, blur=60, sharpen=20, monochrome=(90, 60, 30, 200), format=Format.WEBP),
    "fill-webp": Variant(width=80, height=80, fit=Fit.FILL, pad=4, background=(9, 9, 9, 99), format=Format.WEBP),
    "w80-gif": Variant(width=80, format=Format.GIF),
    "lossless-avif": Variant(width=90, format=Format.AVIF, lossless=True),
    "rect-jpg": Variant(rect=(0.3, 0.2, 0.5, 0.5), format=Format.JPG),
    "original": Variant(),
}


def _check(picture: Picture) -> None:
    """What was made is what it says."""
    found = sniff(picture.content)
    assert found.media_type == picture.media_type
    assert (found.width, found.height) == (picture.width, picture.height)


def _make(name: str, keep_metadata: bool = False) -> Callable[[bytes, Stop], None]:
    variant = VARIANTS[name]
    return lambda content, stop: _check(render(content, variant, LIMITS, stop, keep_metadata=keep_metadata))


def _preview(content: bytes, stop: Stop) -> None:
    made = preview(content, LIMITS, stop)
    assert type(made).from_json(made.to_json()) == made


UPLOAD = "upload"
STAGES: Mapping[str, Callable[[bytes, Stop], None]] = {
    UPLOAD: lambda content, stop: _known(content),
    "preview": _preview,
    "metadata": _make("w512-jpg", keep_metadata=True),
    **{name: _make(name) for name in VARIANTS},
}


def _known(content: bytes) -> None:
    found = sniff(content, LIMITS.pixels_in)
    assert found.width > 0
    assert found.height > 0


def _memory(what: str) -> int:
    """Bytes: ``VmRSS`` now, ``VmHWM`` at most since ``_forget_peak``."""
    found = re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


class _Heap(ctypes.Structure):
    """``struct mallinfo2`` of <malloc.h>."""

    _before = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")
    _fields_ = tuple((name, ctypes.c_size_t) for name in (*_before, "uordblks", "fordblks", "keepcost"))


_LIBC = ctypes.CDLL(None)
_LIBC.mallinfo2.restype = _Heap


def in_use() -> int:
    """Bytes of the C heap."""
    heap = _LIBC.mallinfo2()
    return int(heap.uordblks + heap.hblkhd)


def kept(most: int = KEPT, seconds: float = _REST) -> int:
    """Bytes of the C heap that stay in use: those above ``most`` have ``seconds`` to go.

    A thread of libvips may give back what it worked with after the call that it worked for has returned. That takes
    milliseconds, unless the cores are busy, and may be much: 110 MiB for a PNG of 10000 x 2 pixels that is to be made
    80 high and fails. Such a thread would be taken for a leak.
    """
    end = time.monotonic() + seconds
    while (found := in_use()) > most and time.monotonic() < end:
        time.sleep(0.001)
    return found


def _forget_peak() -> int:
    """Bytes in memory now, without the holes in the heap, which the server gives back every second."""
    _LIBC.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _take(name: str, content: bytes, deadline: float) -> dict[str, Any]:  # JSON
    kept_before = kept()
    stop = Stop(deadline)
    timer = threading.Timer(deadline, stop.stop)
    timer.start()
    before, started, used = _forget_peak(), time.perf_counter(), time.process_time()
    outcome, message, wrong = "made", "", None
    try:
        STAGES[name](content, stop)
    except LightfastError as error:
        outcome, message, status = type(error).__name__, str(error), STATUS[type(error)]
        if not message or not (isinstance(error, RenderTimeout) or 400 <= status < 500):
            wrong = traceback.format_exc()
    except Exception:  # noqa: BLE001 - what it is, is what is looked for
        outcome, wrong = "failed", traceback.format_exc()
    seconds, used = time.perf_counter() - started, time.process_time() - used
    timer.cancel()
    timer.join()
    memory = max(0, _memory("VmHWM") - before)
    costs = {"seconds": seconds, "cpu": used, "memory": memory, "kept": kept_before}
    return {"stage": name, "outcome": outcome, "message": message, "wrong": wrong, **costs}


def _follow(order: dict[str, Any], content: bytes) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for name in order["stages"]:
        results.append(_take(name, content, order["deadline"]))
        if len(results) > 1 and results[0]["outcome"] != "made":
            # What isn't stored isn't read. One reader was asked all the same: not every record came in by our door.
            if results[1]["outcome"] == "made":
                results[1]["wrong"] = "what is refused as an upload is made into a variant"
            break
    return results


def main() -> None:
    share_one_heap()  # as the server does
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a C library prints is no answer
    while line := sys.stdin.buffer.readline():
        order = json.loads(line)
        content = sys.stdin.buffer.read(order["size"])
        answers.write(json.dumps(_follow(order, content)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
