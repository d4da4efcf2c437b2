"""What libvips raises."""

from __future__ import annotations

import pyvips

FAILURES = (pyvips.Error, UnicodeDecodeError)
"""A message may quote bytes of a file, and pyvips then fails to read it. See ``forget_message``."""


def forget_message() -> None:
    """For whoever catches one of ``FAILURES``: what pyvips could not read is still there, before the next message, and
    every failure after it, of any thread, would end in the same way.
    """
    pyvips.vips_lib.vips_error_clear()
