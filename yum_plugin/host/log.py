"""The log file: each decision and its reason."""
import logging
import os

FORMAT = "%(asctime)s %(process)d %(levelname)s %(message)s"


def open_log(path: str, level: str) -> None:
    """Write the log to a file; if that is not possible, there is no log, because a log must not stop an update.

    Args:
        path: the file; its folder is created if it is missing.
        level: a name of the logging module, e.g. "info".
    """
    logger = logging.getLogger("xcpng-mirrors")
    logger.propagate = False
    logger.setLevel(level.upper())
    handler: logging.Handler
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    logger.handlers = [handler]
