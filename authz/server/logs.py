"""Operational messages: one JSON line each, on standard error."""

from __future__ import annotations

import json
import logging
import sys
import time


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            # Frames, and the error's class: an error's text may quote what it choked on.
            line["trace"] = _frames(record)
        return json.dumps(line)


def _frames(record: logging.LogRecord) -> list[str]:
    assert record.exc_info is not None
    kind, _, trace = record.exc_info
    frames = []
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return [*frames, kind.__name__ if kind else ""]


def set_up(level: str) -> None:
    """Send this process's messages to standard error."""
    logging.Formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logger = logging.getLogger("authz")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
