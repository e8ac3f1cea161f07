"""``xcpng-mirrors config``: show every setting, its value, and the file and line that it comes from."""
import argparse
import json
import os
import sys
import textwrap
from typing import Any, Dict, List

from ..errors import EXIT_OK, EXIT_PROBLEM
from ..host.settings import KEYS, Key, LoadedSettings, read_host_settings
from .common.console import GAP, MAX_TEXT_CHARACTERS, Cell, Column, Console, printable, table, wrapped
from .common.host_options import SCHEMA, add_config_arguments

DAY_SECONDS = 86400
LEAST_VALUE_COLUMNS = 20
COLUMNS = (Column("KEY"), Column("FROM", least=12), Column("VALUE"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the settings and return the exit code: 1 if a value in the files cannot be used; stderr reports it."""
    reading = read_host_settings(arguments.config, os.path.abspath(arguments.installroot))
    out, err = Console(sys.stdout), Console(sys.stderr)
    if arguments.json:
        out.line(json.dumps(_values(reading), indent=1))
    elif not arguments.quiet:
        out.lines(_lines(reading, out))
    for warning in reading.warnings:
        err.line("xcpng-mirrors: {}".format(printable(warning)))
    return EXIT_PROBLEM if reading.warnings else EXIT_OK


def _in_unit(key: Key, reading: LoadedSettings) -> Any:
    """Return a value in the unit of the .conf."""
    value = getattr(reading.settings, key.name)
    return value // DAY_SECONDS if key.kind == "days" else list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    """Return a value as an admin would write it."""
    if isinstance(value, list):
        return " ".join(value)
    return value if isinstance(value, str) else "{:.12g}".format(value)


def _lines(reading: LoadedSettings, out: Console) -> List[str]:
    """Return the table; a long value continues on the next lines, because it must not be shortened."""
    places = {key.name: _place(key, reading) for key in KEYS}
    taken = max(len(key.name) for key in KEYS) + max(len(place) for place in places.values()) + 2 * len(GAP)
    room = max(LEAST_VALUE_COLUMNS, out.width - taken) if out.width else MAX_TEXT_CHARACTERS
    rows = []
    for key in KEYS:
        parts = textwrap.wrap(_text(_in_unit(key, reading)), room, break_on_hyphens=False) or [""]
        rows.append([Cell(key.name), Cell(places[key.name], "good" if key.name in reading.origins else "dim"), Cell(parts[0])])
        rows += [[Cell(""), Cell(""), Cell(part)] for part in parts[1:]]
    read = "files, of which the last one that has a key counts: " + (", ".join(reading.files) or "no file")
    return table(COLUMNS, rows, out.width, out.colour) + wrapped([read], out.width)


def _place(key: Key, reading: LoadedSettings) -> str:
    origin = reading.origins.get(key.name)
    return printable("{}:{}".format(os.path.basename(origin.path), origin.line)) if origin else "default"


def _values(reading: LoadedSettings) -> Dict[str, Any]:
    return {"schema": SCHEMA, "command": "config", "files": list(reading.files), "warnings": list(reading.warnings),
            "settings": [_key_values(key, reading) for key in KEYS]}


def _key_values(key: Key, reading: LoadedSettings) -> Dict[str, Any]:
    origin = reading.origins.get(key.name)
    return {"key": key.name, "value": _in_unit(key, reading), "unit": key.unit, "default": key.default,
            "file": origin.path if origin else None, "line": origin.line if origin else None}
