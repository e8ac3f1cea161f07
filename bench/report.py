"""What is kept and what is shown: results.json and the Markdown table of the README."""
import os
import platform
from typing import Any, Dict, Sequence

from .measure import Figure

SCHEMA = 1


def as_json(figures: Sequence[Figure], date: str) -> Dict[str, Any]:
    """Return the contents of results.json.

    Args:
        figures: in the order of the table.
        date: of the run, YYYY-MM-DD.

    Returns:
        ``schema``, ``date``, ``machine`` and ``figures`` by stable name, each with unit, median, min, max, n,
        goal ({"at_most": number}, {"at_least": number} or null) and met (null without a goal).
    """
    entries = {item.quantity.name: _entry(item) for item in figures}
    return {"schema": SCHEMA, "date": date, "machine": machine(), "figures": entries}


def _entry(item: Figure) -> Dict[str, Any]:
    goal = item.quantity.goal
    numbers = {"median": item.median, "min": item.low, "max": item.high}
    entry: Dict[str, Any] = {name: round(value, 4) for name, value in numbers.items()}
    entry.update(n=item.n, unit=item.quantity.unit, goal={goal.words: goal.number} if goal else None, met=item.met)
    return entry


def machine() -> Dict[str, Any]:
    """Return what the numbers depend on, and nothing that names the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "memory_mib": memory >> 20, "python": platform.python_version()}


def as_markdown(figures: Sequence[Figure]) -> str:
    """Return the table of the README."""
    lines = ["| name | what | median | min - max | n | goal | met |", "|---|---|--:|--:|--:|--:|---|"]
    return "\n".join(lines + [_row(item) for item in figures])


def _row(item: Figure) -> str:
    quantity = item.quantity
    spread = "{} - {}".format(number(item.low), number(item.high))
    median = "{} {}".format(number(item.median), quantity.unit).strip()
    bound = "{} {}".format("&ge;" if quantity.goal.least else "&le;", number(quantity.goal.number)) if quantity.goal else ""
    met = {True: "yes", False: "**no**", None: ""}[item.met]
    return "| {} |".format(" | ".join([quantity.name, quantity.says, median, spread, str(item.n), bound, met]))


def number(value: float) -> str:
    """Write a number with as many digits as mean something: 6, 0.35, 1.1, 47.4."""
    text = "{:.1f}".format(value) if abs(value) >= 10 else "{:.2f}".format(value)
    return text.rstrip("0").rstrip(".") if "." in text else text
