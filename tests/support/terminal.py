"""A pseudo-terminal for the command, and the screen that its output makes."""
import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading

from tests.support.command import ROOT
from tests.support.waiting import LONG_SECONDS


class Screen:
    """As much of a terminal as the command uses; ``lines`` is what was ever printed, with what was overwritten gone."""

    SEQUENCE = re.compile(r"\x1b\[(\d*)([A-Za-z])|[\r\n]|[^\x1b\r\n]+|\x1b")

    def __init__(self, columns, rows):
        self.columns, self.rows, self.lines, self.row, self.column = columns, rows, [""], 0, 0

    def feed(self, text):
        for match in self.SEQUENCE.finditer(text):
            token, number, letter = match.group(), match.group(1), match.group(2)
            if token == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif token == "\r":
                self.column = 0
            elif letter == "A":
                self.row = max(self.row - int(number), len(self.lines) - self.rows, 0)
            elif letter == "K":  # behind a full line the cursor still stands on its last column, as xterm has it
                self.lines[self.row] = self.lines[self.row][:min(self.column, self.columns - 1)]
            elif letter == "J":
                del self.lines[self.row + 1:]
                self.lines[self.row] = self.lines[self.row][:self.column]
            elif letter == "m":
                continue
            else:
                assert token.isprintable(), "not a sequence of ours: {!r}".format(token)
                line = self.lines[self.row]
                self.lines[self.row] = line[:self.column] + token + line[self.column + len(token):]
                self.column += len(token)


class Terminal:
    """The command on a pseudo-terminal; ``text`` is what it wrote there so far."""

    def __init__(self, words, columns=80, rows=50, streams=("stdout", "stderr"), **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        variables = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
        variables.update({"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}, **environment)
        outputs = {name: slave if name in streams else subprocess.PIPE for name in ("stdout", "stderr")}
        self.child = subprocess.Popen(words, cwd=ROOT, env=variables, stdin=slave, **outputs)
        os.close(slave)
        self.text, self.size = "", (columns, rows)
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        data = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while True:
                piece = os.read(self.master, 65536)
                data += piece
                with self.changed:
                    self.text = data.decode("utf-8", "ignore").replace("\r\n", "\n\r")
                    self.changed.notify_all()
                if not piece:
                    return

    def wait_for(self, pattern):
        with self.changed:
            assert self.changed.wait_for(lambda: re.search(pattern, self.text), LONG_SECONDS), self.text

    def end(self):
        """Wait for the end; return the exit code and what went into the pipe, if there was one."""
        piped = self.child.communicate(timeout=LONG_SECONDS)
        self.reader.join(LONG_SECONDS)
        os.close(self.master)
        return self.child.returncode, (piped[0] or piped[1] or b"").decode("utf-8")

    def screen(self):
        screen = Screen(*self.size)
        screen.feed(self.text)
        return screen.lines
