"""The attacks of "A Look In the Mirror" (Cappos et al., 2008) and of TUF's list, each against a real dnf, by its name.

Rollback, CVE-2018-0501 and the metadata-level faults are in test_dnf.py; single rules are in the tests of trust/ and net/.
"""
import glob
import os
import re
import shutil

import pytest

from tests.lab.faults import served
from tests.lab.pages import Listed
from tests.lab.plugin import install_plugin, state_path
from tests.lab.redirector import BEHAVIOURS
from tests.support.faults_table import good_mirrors, listed, own_lines
from tests.support.rawserver import RawServer, never_speaks

pytestmark = pytest.mark.dnf

UPDATES = "8/8.3/updates/x86_64/"


@pytest.fixture
def host(lab, tmp_path):
    """A host with the plugin, whose rpmdb trusts the repository's key, and another one too, as real hosts do."""
    made = lab.installroot(str(tmp_path / "host"))
    made.import_key(lab.other_key_file)
    install_plugin(made, lab)
    return made


def install(host, *options):
    """Let dnf install the package; return what it came to."""
    return host.dnf("-y", *(options + ("install", "lab-agent")))


@pytest.mark.parametrize("state,reference", [("other-key-packages", "unknown-key"), ("unsigned-packages", "unsigned")])
def test_arbitrary_installation_a_package_by_another_trusted_key_or_none_is_refused(state, reference, lab, host):
    good_mirrors(lab)
    lab.publish(state)
    done = install(host, "--nogpgcheck")
    assert done.returncode == 1 and host.version("lab-agent") == ""
    assert "xcpng-mirrors: xcp-ng-updates: {}: ".format(reference) in done.stderr and "lab-agent-0:2.0-1.noarch" in done.stderr


def test_stock_dnf_installs_a_package_by_another_trusted_key(lab, tmp_path):
    """Why the test above is needed."""
    good_mirrors(lab)
    lab.publish("other-key-packages")
    stock = lab.installroot(str(tmp_path / "stock"), plugins=False)
    stock.import_key(lab.other_key_file)
    assert install(stock).returncode == 0 and stock.version("lab-agent") == "2.0"


def test_replay_of_a_signed_older_state_by_every_mirror_is_refused(lab, host):
    good_mirrors(lab)
    host.dnf("check-update")
    lab.publish("middle")
    shutil.rmtree(os.path.join(host.root, "var", "cache", "dnf"))
    done = install(host)
    assert done.returncode == 1 and "rollback: " in done.stderr and host.version("lab-agent") == ""


def test_fast_forward_metadata_from_the_future_never_becomes_the_high_water_mark(lab, host):
    good_mirrors(lab)
    lab.publish("future")
    done = install(host)
    assert done.returncode == 0 and done.stderr.count("clock: ") == 1 and "chronyc makestep" in done.stderr
    assert not os.path.exists(state_path(host, "xcp-ng-updates", "accepted.json"))
    lab.publish("new")
    done = host.dnf("--refresh", "check-update")
    assert "rollback" not in done.stderr and "clock: " not in done.stderr
    assert os.path.exists(state_path(host, "xcp-ng-updates", "accepted.json"))


def test_cross_repository_replay_of_testing_at_the_path_of_updates_is_not_installed_and_poisons_no_mark(lab, host):
    """Signed by the same key, and newer than updates are."""
    lab.add_mirror("evil", tree="testing")
    good_mirrors(lab)
    done = install(host)
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0")
    said = own_lines(done)
    assert len(said) == 2 and all("wrong-repository: " in line and lab.mirrors["evil"].url in line for line in said)
    lab.set_order(["good1", "good2"])
    shutil.rmtree(os.path.join(host.root, "var", "cache", "dnf"))
    done = host.dnf("--refresh", "check-update")
    assert done.returncode == 0 and own_lines(done) == [], "honest mirrors are no rollback"


def test_cross_repository_replay_while_all_others_are_silenced_leaves_dnf_with_what_was_accepted(lab, host):
    """It goes on from its own cache; one line a repository names the mirror. Without that cache it stops."""
    lab.add_mirror("evil")
    good_mirrors(lab)
    assert host.dnf("check-update").returncode == 0
    lab.mirrors["evil"].state = "testing"
    lab.redirector.list_page = lab.redirector.json = lab.redirector.digests = False
    lab.redirector.mode = "redirect"
    for server in [lab.origin] + [lab.mirrors[name] for name in ("good1", "good2")]:
        server.server.refuse()
    done = host.dnf("--refresh", "list", "lab-agent")
    said = own_lines(done)
    assert done.returncode == 0 and listed(done) == ["2.0"]
    assert len(said) == 2 and all("unconfirmed: " in line and lab.mirrors["evil"].url in line for line in said)
    shutil.rmtree(os.path.join(host.root, "var", "cache", "dnf"))
    done = install(host)
    assert done.returncode == 1 and "unconfirmed: " in done.stderr and host.version("lab-agent") == ""


def test_indefinite_freeze_by_the_nearest_mirrors_is_seen_through_the_redirectors_digest(lab, host):
    for number in range(3):
        lab.add_mirror("frozen{}".format(number), fault="stale")
    lab.add_mirror("live")
    done = install(host)
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])


def test_indefinite_freeze_metadata_older_than_max_age_is_told_but_never_for_the_frozen_base(lab, host):
    good_mirrors(lab)
    install_plugin(host, lab, max_age=1)
    said = own_lines(host.dnf("check-update"))
    assert len(said) == 1 and "xcp-ng-updates: freeze: " in said[0] and "max_age" in said[0]


def test_indefinite_freeze_by_a_forged_list_while_https_is_blocked_hides_nothing(lab, host):
    """Two mirrors of the attacker's own agree on what is old, rightly signed."""
    lab.publish("old")
    good_mirrors(lab)
    assert host.dnf("check-update").returncode == 0
    lab.publish("new")
    for name in ("evil0", "evil1"):
        lab.add_mirror(name, tree="old")
    lab.set_order(["evil0", "evil1"])
    lab.redirector.other_form = "plain"  # it names no digest
    lab.redirector.override = lambda request: BEHAVIOURS["mute"] if request.tls else None
    done = install(host, "--refresh")
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])
    assert lab.log.requests("evil0", "repomd.xml") and lab.log.requests("origin", "repomd.xml")


@pytest.mark.parametrize("require_https", [0, 1])
@pytest.mark.parametrize("as_fallbacks", [True, False])
def test_a_list_leads_to_nobody_whom_it_may_not_name_and_learns_no_password(as_fallbacks, require_https, lab, host):
    lab.repo_file(host.repos, extra="username=alice\npassword=S3cret")
    install_plugin(host, lab, allow_networks="", require_https=require_https)
    with RawServer(never_speaks, "127.0.0.1") as inner, RawServer(never_speaks, "127.0.9.9") as other:
        urls = ["http://127.0.0.1:{}/internal/job/x/".format(inner.port), "https://127.0.9.9:{}/".format(other.port),
                "http://2130706433:{}/".format(inner.port), "http://localhost:{}/".format(inner.port),
                "http://[::ffff:127.0.0.1]:{}/".format(inner.port)]
        named = [Listed(number, "evil{}".format(number), url, "evil", "FR") for number, url in enumerate(urls, 1)]
        lab.redirector.mirrors, lab.redirector.fallbacks = ([], named) if as_fallbacks else (named, [])
        done = install(host)
        assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])
        assert not inner.connected.is_set() and not other.connected.is_set()


def test_endless_data_fills_no_cache(lab, host):
    lab.add_mirror("endless", fault="endless-repomd")
    lab.add_mirror("good")
    assert install(host).returncode == 0
    assert lab.log.bytes("endless", "repomd.xml") < 16 * 1024 * 1024  # the cap is 1 MiB a repository; the rest was in flight


def installs_although_the_preferred_mirror_has(fault, lab, host):
    good_mirrors(lab, fault)
    install_plugin(host, lab, prefer=lab.mirrors["bad0"].server.authority)
    done = install(host)
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])
    assert lab.log.requests("bad0", ".rpm")


@pytest.mark.parametrize("fault", ["stalling-packages", "slow-packages"])
def test_slow_retrieval_of_packages_is_left_for_another_mirror(fault, lab, host):
    installs_although_the_preferred_mirror_has(fault, lab, host)


def test_mix_and_match_repomd_and_signature_of_two_mirrors_never_meet(lab, host):
    lab.add_mirror("old", fault="stale")
    lab.add_mirror("new")
    lab.alternate(["old", "new"])
    assert install(host).returncode == 0 and host.version("lab-agent") == "2.0"
    asked = {name: [entry.path for entry in lab.log.requests(name, "repomd.xml.asc")] for name in ("old", "new")}
    assert all(asked.values())


def test_wrong_software_a_valid_package_under_another_name_is_not_installed(lab, host):
    """The mirror serves lab-agent 1.0, well signed, as 2.0."""
    good_mirrors(lab)
    tree = lab.trees.path("new")
    target = glob.glob(os.path.join(tree, UPDATES, "Packages", "lab-agent-2.0*.rpm"))[0]
    source = glob.glob(os.path.join(lab.trees.path("old"), UPDATES, "Packages", "lab-agent-1.0*.rpm"))[0]
    shutil.copy2(target, target + ".kept")
    try:
        shutil.copy2(source, target)
        done = install(host)
    finally:
        os.replace(target + ".kept", target)
    assert done.returncode == 1 and host.version("lab-agent") == ""
    assert "wrong-package: " in done.stderr or "payload-mismatch: " in done.stderr


@pytest.mark.parametrize("fault", ["corrupt-packages", "truncated-packages", "short-packages", "packages-404"])
def test_a_malicious_mirror_that_blocks_updates_is_put_aside_for_the_next(fault, lab, host):
    installs_although_the_preferred_mirror_has(fault, lab, host)


def test_a_package_that_every_mirror_spoils_stops_dnf_and_is_kept_for_the_report(lab, host):
    for number in range(2):
        lab.add_mirror("bad{}".format(number), fault="corrupt-packages")
    lab.origin.server.refuse()
    done = install(host)
    assert done.returncode == 1 and host.version("lab-agent") == ""
    line = next(line for line in done.stderr.splitlines() if "payload-mismatch" in line)
    assert "lab-agent-0:2.0-1.noarch" in line and all(lab.mirrors[name].server.authority in line for name in ("bad0", "bad1"))
    assert os.listdir(state_path(host, "xcp-ng-updates", "refused"))
    assert not glob.glob(os.path.join(host.root, "var/cache/dnf/*/packages/*.rpm"))


def test_key_compromise_a_revoked_or_other_key_in_the_file_is_not_believed(lab, host):
    good_mirrors(lab)
    install_plugin(host, lab, fingerprints="0" * 40)
    done = install(host)
    assert done.returncode == 1 and "key-mismatch: " in done.stderr and host.version("lab-agent") == ""


def test_key_change_an_update_signed_by_the_old_and_the_new_key_is_installed_without_a_word(lab, host):
    """As stock dnf does; a host was stopped by any signature that was not by its own key, on the publisher's best day."""
    good_mirrors(lab)
    inside = UPDATES + "repodata/repomd.xml"
    own = lab.trees.file(inside + ".asc")
    other = lab.trees.file(inside + ".asc", variant="other-key")
    with open(other, "rb") as first, open(own, "rb") as second:
        both = first.read() + second.read()
    for mirror in [*lab.mirrors.values(), lab.origin]:
        mirror.faults = served("updates/x86_64/repodata/repomd.xml.asc", both)
    done = install(host)
    assert done.returncode == 0 and host.version("lab-agent") == "2.0" and not own_lines(done), done.stderr


def test_signed_to_unsigned_downgrade_by_every_mirror_is_refused(lab, host):
    for number in range(3):
        lab.add_mirror("bad{}".format(number), fault="no-asc")
    lab.origin.server.refuse()
    done = install(host)
    assert done.returncode == 1 and "signature-missing: " in done.stderr


def test_man_in_the_middle_on_the_redirector_can_only_name_mirrors(lab, host):
    """It names a mirror of lies first, and a digest that nobody serves."""
    lab.add_mirror("liar", fault="other-key")
    lab.add_mirror("good")
    lab.set_order(["liar", "good"])
    done = install(host)
    assert done.returncode == 0 and host.version("lab-agent") == "2.0"


def test_downloadonly_is_verified_and_leaves_the_package_for_dnf(lab, host):
    good_mirrors(lab, "corrupt-packages")
    done = install(host, "--downloadonly")
    assert done.returncode == 0 and own_lines(done) == []
    assert len(glob.glob(os.path.join(host.root, "var/cache/dnf/*/packages/lab-agent-2.0*.rpm"))) == 1
    lab.log.clear()
    assert install(host).returncode == 0 and not lab.log.requests(path_ends=".rpm")


def test_after_the_transaction_no_package_is_left_in_the_cache_as_with_stock_dnf(lab, host):
    good_mirrors(lab)
    assert install(host).returncode == 0
    assert not glob.glob(os.path.join(host.root, "var/cache/dnf/*/packages/*.rpm"))


def test_verify_packages_off_leaves_the_download_to_dnf(lab, host):
    good_mirrors(lab)
    install_plugin(host, lab, verify_packages=0)
    assert install(host).returncode == 0
    agents = {entry.headers.get("user-agent", "") for entry in lab.log.requests(path_ends=".rpm")}
    assert agents and not any(agent.startswith("xcpng-mirrors") for agent in agents)


def test_the_output_on_a_good_day_is_that_of_stock_dnf(lab, tmp_path):
    """xapi and Xen Orchestra read it."""
    good_mirrors(lab)
    outputs = []
    for name in ("stock", "ours"):
        made = lab.installroot(str(tmp_path / name), plugins=name == "ours")
        install_plugin(made, lab)
        done = made.dnf("-y", "install", "lab-agent")
        lines = [re.sub(r" *[0-9.]+ ?[kM]?B/s.*", " RATE", line).rstrip() for line in done.stdout.splitlines()]
        # dnf prints the age of metadata as soon as that is a second, on a busy machine also what it has fetched itself
        outputs.append([line for line in lines if not re.search("repository of the lab|GPG key|expiration check: 0:00:", line)])
    stock, ours = [[line for line in lines if not re.match(r" (Userid|Fingerprint|From) ", line)] for lines in outputs]
    assert ours == stock


def test_another_roots_settings_run_nothing_on_this_host(lab, host, tmp_path):
    """A guest's fragment names a command=, and the guest's links lead log and state out of its tree."""
    good_mirrors(lab)
    outside, evil = tmp_path / "outside", os.path.join(host.root, "tmp", "evil")
    outside.mkdir()
    os.makedirs(os.path.join(host.root, "etc/xcpng-mirrors.d"))
    with open(os.path.join(host.root, "etc/xcpng-mirrors.d/99.conf"), "w") as stream:
        stream.write("[main]\ncommand={}\n".format(evil))
    with open(evil, "w") as stream:
        stream.write("#!/bin/sh\ntouch {}/ran\n".format(outside))
    os.chmod(evil, 0o755)
    os.makedirs(os.path.join(host.root, "srv"))
    os.symlink(str(outside), os.path.join(host.root, "srv/absolute"))
    os.symlink("../../../../../../../../../.." + str(outside), os.path.join(host.root, "srv/relative"))
    install_plugin(host, lab, log_file="/srv/absolute/x.log", state_dir="/srv/relative/../outside/state")
    done = install(host)
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", [])
    assert os.listdir(str(outside)) == []
    kept = os.path.join(host.root, str(outside).lstrip("/"))
    assert os.path.exists(kept + "/x.log") and os.path.exists(kept + "/state/xcp-ng-updates/accepted.json")
