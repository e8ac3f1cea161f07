"""A real dnf on a host whose clock is a month behind or ahead."""
import glob
import os

import pytest

from tests.lab.plugin import install_plugin, state_path
from tests.support.faults_table import good_mirrors, own_lines

pytestmark = pytest.mark.dnf

FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") + glob.glob("/usr/lib64/faketime/libfaketimeMT.so.1")


@pytest.mark.skipif(not FAKETIME, reason="not installed: libfaketime")
@pytest.mark.parametrize("days, said", [(-30, 1), (30, 0)])
def test_a_clock_a_month_off_stops_no_update_and_sets_no_mark_that_is_of_the_future(days, said, lab, tmp_path, monkeypatch):
    good_mirrors(lab)
    host = lab.installroot(str(tmp_path / "host"))
    install_plugin(host, lab)
    faked = {"LD_PRELOAD": FAKETIME[0], "FAKETIME": "{:+d}d".format(days), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    right = dict(host.environment)
    monkeypatch.setattr(type(host), "environment", property(lambda self: dict(right, **faked)))
    done = host.dnf("-y", "install", "lab-agent")
    assert done.returncode == 0 and host.version("lab-agent") == "2.0", done.stderr
    lines = own_lines(done)
    assert len(lines) == said and all("clock: " in line and "(Date) this host's is 30 days behind" in line for line in lines)
    assert os.path.exists(state_path(host, "xcp-ng-updates", "accepted.json")) == (not said)
    faked.clear()
    done = host.dnf("--refresh", "check-update")
    assert (done.returncode, own_lines(done)) == (0, [])
    assert os.path.exists(state_path(host, "xcp-ng-updates", "accepted.json"))
