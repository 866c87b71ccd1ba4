"""The log of a fine-tuning: detectron2's, all warnings and what is printed, in a file and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import NoReturn

LOGGERS = ("detectron2", "fvcore", "iopath", "py.warnings", "torch.fx._symbolic_trace")


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Send detectron2's log, all warnings and what COCO's evaluation prints to the file and nowhere else."""
    handler = logging.FileHandler(path, encoding="utf-8")  # appends: a fine-tuning that goes on keeps its log
    handler.handleError = raise_log_error  # type: ignore[method-assign]
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    handler.addFilter(drop_path)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logging.captureWarnings(True)
    try:
        with redirect_stdout(handler.stream):
            yield
    finally:
        logging.captureWarnings(False)
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()


def raise_log_error(record: logging.LogRecord) -> NoReturn:
    """Raise the error that the log could not be written for, instead of printing it with its traceback."""
    raise


def drop_path(record: logging.LogRecord) -> bool:
    """Take the machine's path to the code out of a warning, since the log may be published; always keep the record."""
    if record.name == "py.warnings":
        record.msg, record.args = record.getMessage().partition(": ")[2].splitlines()[0], None
    return True
