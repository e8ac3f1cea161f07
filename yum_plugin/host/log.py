"""The log file: what was decided and why, for the person who asks the next morning."""
import logging
import os

FORMAT = "%(asctime)s %(process)d %(levelname)s %(message)s"


def open_log(path: str, level: str) -> None:
    """Send our log to a file; a file that cannot be written is done without, for a log must not stop an update.

    Args:
        path: the file; its folder must exist or be makeable.
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
