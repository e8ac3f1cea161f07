"""The real engine behind a script that dies after each answer, or hangs for ever in the middle of a fill."""
import os
import sys

_SCRIPT = """\
#!{python} -I
import signal, subprocess, sys
engine = subprocess.Popen([{command!r}, "engine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for line in sys.stdin.buffer:
    engine.stdin.write(line)
    engine.stdin.flush()
    if b'"action": "accept"' in line or b'"action": "prepare"' in line:
        continue
    for event in engine.stdout:
        if {hangs!r} and b'"metadata"' in event:
            open({mark!r}, "a").write("hangs\\n")
            signal.pause()
        sys.stdout.buffer.write(event)
        sys.stdout.buffer.flush()
        if b'"event": "result"' in event:
            break
    if {dies!r}:
        open({mark!r}, "a").write("dies\\n")
        break
"""


class DyingEngine:
    """A script for ``command=`` of the .conf.

    Args:
        folder: of the script and of what it notes.
        command: the real one.
        dies: after each answer to a request.
        hangs: at the first event about metadata that is being fetched.
    """

    def __init__(self, folder, command, dies=False, hangs=False):
        self.command, self._mark = os.path.join(folder, "dying-engine"), os.path.join(folder, "dying-engine.mark")
        with open(self.command, "w") as stream:
            stream.write(_SCRIPT.format(python=sys.executable, command=command, mark=self._mark, dies=dies, hangs=hangs))
        os.chmod(self.command, 0o755)

    def count(self):
        """How often it died or hung."""
        if not os.path.exists(self._mark):
            return 0
        with open(self._mark) as stream:
            return len(stream.readlines())
