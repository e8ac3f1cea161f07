"""The lab's rsync daemon under its former path, for scripts outside this tree that import it from here."""
from tests.lab.rsyncd import RsyncDaemon as RsyncDaemon
