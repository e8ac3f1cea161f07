"""Package verification: which packages are accepted, which are fetched again, what is kept of refused ones."""
import hashlib
import io
import json
import os
import stat
import time

import pytest

from tests.lab.faults import FAULTS
from tests.lab.repositories import STATES, repository_path
from tests.support.world import NOW, lab_repository, lab_settings
from yum_plugin.engine import serve
from yum_plugin.errors import FetchError, TrustError, UsageError
from yum_plugin.host.keyring import load_keys
from yum_plugin.model import Mirror, Repository
from yum_plugin.net.items import Attempt, Source
from yum_plugin.packages import quarantine, verify
from yum_plugin.packages.verify import (
    PackageEvents,
    PackageJob,
    PackageRequest,
    PackageResult,
    fetch_packages,
    read_requests,
    verify_packages,
)
from yum_plugin.resolve.download_plan import rules_of, sources_of
from yum_plugin.state.failures import remember_failures
from yum_plugin.state.memory import Memory, Record
from yum_plugin.state.store import State

LOCATION = "Packages/lab-agent-2.0-1.noarch.rpm"
# How a mirror's packages are bad -> the reference that is reported of it.
PACKAGE_FAULTS = {
    "packages-404": "http-status", "corrupt-packages": "payload-mismatch", "truncated-packages": "truncated",
    "short-packages": "truncated", "stalling-packages": "timed-out", "slow-packages": "too-slow",
    "other-key-packages": "unknown-key", "unsigned-packages": "unsigned", "captive": "truncated",
}
NEWCOMERS = {"other-key-packages", "unsigned-packages"}  # their files have other sizes: held back by the size where that is known


def add_mirrors(lab, fault, *names):
    """Start mirrors with a fault; what they serve is built before anybody waits for it."""
    if fault in STATES:
        lab.trees.path(fault)
    for name in names:
        lab.add_mirror(name, fault=fault)


def signed_bytes(lab, state="new"):
    path = lab.trees.path(state) + "/" + repository_path("updates") + LOCATION
    with open(path, "rb") as stream:
        return stream.read()


def request_of(lab, folder, **changes):
    """Ask for the lab's package as its signed metadata has it."""
    content = signed_bytes(lab)
    values = PackageRequest("lab-agent", 0, "2.0", "1", "noarch", LOCATION, len(content), "sha256",
                            hashlib.sha256(content).hexdigest(), str(folder / "cache" / "lab-agent-2.0-1.noarch.rpm"))
    return values._replace(**changes)


def job_of(lab, folder, *requests):
    """Packages of the lab's mirrors, in their order."""
    repository = lab_repository(lab)
    sources = [Source(mirror.url + repository.path) for mirror in lab.mirrors.values()]
    settings = lab_settings(lab, folder)
    return PackageJob(repository, requests, load_keys(repository.key_paths, repository.fingerprints), int(time.time()), str(folder / "refused"),
                      rules_of(settings)._replace(timeout_seconds=10.0, hedge_seconds=10.0), sources)


def read(path):
    with open(str(path), "rb") as stream:
        return stream.read()


def put(request, content):
    os.makedirs(os.path.dirname(request.target), exist_ok=True)
    with open(request.target, "wb") as stream:
        stream.write(content)


def notes(folder):
    names = sorted(os.listdir(str(folder / "refused"))) if (folder / "refused").exists() else []
    return [json.loads(read(folder / "refused" / name).decode()) for name in names if name.endswith(".json")]


def test_a_package_arrives_proven_at_its_target(lab, tmp_path):
    lab.add_mirror("good")
    request = request_of(lab, tmp_path)
    done = []
    results = fetch_packages(job_of(lab, tmp_path, request), PackageEvents(done=lambda number, result: done.append((number, result))))
    assert [result.status for result in results] == ["verified"] and read(request.target) == signed_bytes(lab)
    assert done == [(0, results[0])] and notes(tmp_path) == []


@pytest.mark.parametrize("fault", sorted(PACKAGE_FAULTS))
def test_a_package_is_fetched_again_from_another_mirror_if_the_first_is(fault, lab, tmp_path):
    add_mirrors(lab, fault, "bad")
    add_mirrors(lab, "", "good")
    request = request_of(lab, tmp_path, **({"size": None} if fault in NEWCOMERS else {}))
    job = job_of(lab, tmp_path, request)
    if fault == "stalling-packages":
        job = job._replace(rules=job.rules._replace(hedge_seconds=0.2))
    [result] = fetch_packages(job)
    assert [attempt.reference for attempt in result.attempts] == [PACKAGE_FAULTS[fault], "ok"]
    assert result.error is None and read(request.target) == signed_bytes(lab)
    kept = [(note["reference"], note["mirrors"]) for note in notes(tmp_path)]
    bad = lab.mirrors["bad"].url + repository_path("updates")
    assert kept == ([(PACKAGE_FAULTS[fault], [bad])] if PACKAGE_FAULTS[fault] in TrustError.REFERENCES else [])


@pytest.mark.parametrize("fault", sorted(PACKAGE_FAULTS))
def test_a_package_that_every_mirror_spoils_is_an_error_with_all_their_names_and_no_file(fault, lab, tmp_path):
    add_mirrors(lab, fault, "bad1", "bad2")
    request = request_of(lab, tmp_path, **({"size": None} if fault in NEWCOMERS else {}))
    job = job_of(lab, tmp_path, request)
    if fault in ("stalling-packages", "slow-packages"):  # two slow mirrors are a slow line, unless they are as slow as that
        job = job._replace(rules=job.rules._replace(timeout_seconds=0.05))
    [result] = fetch_packages(job)
    trust = PACKAGE_FAULTS[fault] in TrustError.REFERENCES
    assert result.status == ("refused" if trust else "unavailable")
    assert "lab-agent-0:2.0-1.noarch" in str(result.error)
    assert all(source.url in str(result.error) for source in job.sources)
    assert os.listdir(os.path.dirname(request.target)) == []


def test_every_package_fault_of_the_lab_is_tried_here():
    assert {name for name in FAULTS if "packages" in name} <= set(PACKAGE_FAULTS)


@pytest.mark.parametrize("changes, words", [
    ({"name": "lab-base"}, "lab-agent-0:2.0-1.noarch, not lab-base-0:2.0-1.noarch"),
    ({"epoch": 1}, "not lab-agent-1:2.0-1.noarch"),
    ({"version": "2.1"}, "not lab-agent-0:2.1-1.noarch"),
    ({"release": "2"}, "not lab-agent-0:2.0-2.noarch"),
    ({"arch": "x86_64"}, "not lab-agent-0:2.0-1.x86_64"),
    ({"checksum": "0" * 64}, "its sha256 is not"),
    ({"checksum_type": "sha512", "checksum": "0" * 128}, "its sha512 is not"),
])
@pytest.mark.parametrize("act", [fetch_packages, verify_packages])
def test_wrong_software_a_valid_file_in_anothers_place_is_refused(act, changes, words, lab, tmp_path):
    lab.add_mirror("good")
    request = request_of(lab, tmp_path, **changes)
    put(request, signed_bytes(lab))
    [result] = act(job_of(lab, tmp_path, request))
    assert (result.status, result.error.reference) == ("refused", "wrong-package") and words in str(result.error)
    assert not os.path.exists(request.target)


def test_a_size_that_is_not_the_one_of_the_metadata_is_refused(lab, tmp_path):
    request = request_of(lab, tmp_path, size=len(signed_bytes(lab)) - 1, checksum="", checksum_type="")
    put(request, signed_bytes(lab))
    [result] = verify_packages(job_of(lab, tmp_path, request))
    assert result.error.reference == "wrong-package" and "bytes" in str(result.error)


def test_metadata_without_size_and_checksum_leaves_the_signature_and_the_name_to_prove_it(lab, tmp_path):
    lab.add_mirror("good")
    request = request_of(lab, tmp_path, size=None, checksum="", checksum_type="")
    assert fetch_packages(job_of(lab, tmp_path, request))[0].status == "verified"


# What lies there already


def test_a_good_file_is_not_fetched_again(lab, tmp_path):
    lab.add_mirror("good")
    request = request_of(lab, tmp_path)
    put(request, signed_bytes(lab))
    seen = []
    events = PackageEvents(progress=lambda number, received: seen.append((number, received)))
    assert [result.status for result in fetch_packages(job_of(lab, tmp_path, request), events)] == ["verified"]
    assert lab.log.requests() == [] and seen == [(0, len(signed_bytes(lab)))]


@pytest.mark.parametrize("content, reference", [
    (b"", "malformed"), (b"<html>Welcome</html>", "malformed"), ("cut", "wrong-package payload-mismatch malformed"),
    ("other-key-packages", "unknown-key"), ("unsigned-packages", "unsigned"),
])
def test_a_bad_file_is_removed_quarantined_and_fetched_again(content, reference, lab, tmp_path):
    lab.add_mirror("good")
    request = request_of(lab, tmp_path)
    if content == "cut":
        content = signed_bytes(lab)[:-1]
    bad = content if isinstance(content, bytes) else signed_bytes(lab, content)
    put(request, bad)
    [result] = verify_packages(job_of(lab, tmp_path, request))
    assert result.status == "refused" and result.error.reference in reference and not os.path.exists(request.target)
    assert notes(tmp_path)[0]["sha256"] == hashlib.sha256(bad).hexdigest()
    put(request, bad)
    assert fetch_packages(job_of(lab, tmp_path, request))[0].status == "verified" and read(request.target) == signed_bytes(lab)


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_link_or_pipe_in_the_place_of_a_package_is_refused_and_removed(kind, lab, tmp_path):
    request = request_of(lab, tmp_path)
    (tmp_path / "precious").write_bytes(signed_bytes(lab))
    os.makedirs(os.path.dirname(request.target))
    if kind == "link":
        os.symlink(str(tmp_path / "precious"), request.target)
    else:
        os.mkfifo(request.target)
    [result] = verify_packages(job_of(lab, tmp_path, request))
    assert (result.status, result.error.reference) == ("refused", "malformed")
    assert not os.path.lexists(request.target) and (tmp_path / "precious").exists()


def test_a_missing_file_is_unavailable_and_nobody_is_asked(lab, tmp_path):
    lab.add_mirror("good")
    [result] = verify_packages(job_of(lab, tmp_path, request_of(lab, tmp_path)))
    assert result.status == "unavailable" and isinstance(result.error, FetchError) and lab.log.connections() == []


def test_one_bad_package_does_not_keep_the_others(lab, tmp_path):
    lab.add_mirror("good")
    requests = [request_of(lab, tmp_path), UsageError("usage", "nonsense"), request_of(lab, tmp_path, name="other", target=str(
        tmp_path / "cache" / "b.rpm")), request_of(lab, tmp_path, location="Packages/none.rpm", target=str(tmp_path / "cache" / "c"))]
    done = {}
    results = fetch_packages(job_of(lab, tmp_path, *requests), PackageEvents(done=done.__setitem__))
    assert [result.status for result in results] == ["verified", "unavailable", "refused", "unavailable"]
    assert [done[number] for number in range(4)] == results and verify.worst(results) == results[2]


def test_no_space_for_all_is_reported_for_each(lab, tmp_path):
    lab.add_mirror("good")
    [result] = fetch_packages(job_of(lab, tmp_path, request_of(lab, tmp_path, size=1 << 60)))
    assert (result.status, result.error.reference) == ("unavailable", "state") and "free" in str(result.error)


# What a plugin may ask


GOOD = {"name": "a", "epoch": 0, "version": "1", "release": "1", "arch": "noarch", "location": "a.rpm", "size": 1,
        "checksum_type": "sha256", "checksum": "AB" * 32, "target": "/x/a.rpm"}


def test_a_request_is_read_as_it_is():
    assert read_requests([GOOD]) == [PackageRequest("a", 0, "1", "1", "noarch", "a.rpm", 1, "sha256", "ab" * 32, "/x/a.rpm")]
    assert read_requests([dict(GOOD, size=None, epoch=None, checksum="", checksum_type="")])[0].size is None


@pytest.mark.parametrize("changes, reference", [
    ({"location": "../../etc/shadow"}, "unsafe-path"), ({"location": "/etc/shadow"}, "unsafe-path"),
    ({"location": "a/%2e%2e/b"}, "unsafe-path"), ({"location": "http://elsewhere/a.rpm"}, "unsafe-path"),
    ({"checksum_type": "md5"}, "weak-digest"), ({"checksum_type": "sha"}, "weak-digest"), ({"checksum_type": "x"}, "unsupported"),
    ({"target": "relative.rpm"}, "usage"), ({"target": "/x/"}, "usage"), ({"target": "/x/.."}, "usage"), ({"target": ""}, "usage"),
    ({"target": "/x\0y"}, "usage"), ({"name": 7}, "usage"), ({"name": "n" * 5000}, "usage"), ({"name": None}, "usage"),
    ({"epoch": -1}, "usage"), ({"epoch": "0x"}, "usage"), ({"size": -1}, "usage"), ({"size": 1 << 40}, "usage"), ({"size": 1.5}, "usage"),
])
def test_cve_2020_14352_an_unsafe_path_is_not_requested(changes, reference):
    [problem] = read_requests([dict(GOOD, **changes)])
    assert isinstance(problem, (TrustError, UsageError)) and problem.reference == reference


@pytest.mark.parametrize("values", [None, {}, "x", [GOOD] * (verify.MAX_PACKAGES + 1)], ids=["none", "object", "text", "too many"])
def test_no_list_of_packages_is_an_error(values):
    with pytest.raises(UsageError):
        read_requests(values)


def test_a_package_that_is_no_object_is_an_error_of_its_own():
    assert [problem.reference for problem in read_requests([None, 7, []])] == ["usage"] * 3


# Where packages come from, and what becomes of mirrors that failed


def memory_of(*urls, **values):
    return Memory(usable=urls, mirrors=tuple(Mirror(url) for url in urls), **values)


def test_proven_mirrors_come_first_tired_ones_behind_them_and_the_origin_last(lab, tmp_path):
    settings = lab_settings(lab, tmp_path, fallbacks=("https://origin.test/",))
    repository = Repository("r", ("http://redirector.test/p/",), "p/", (), ())
    records = {"https://a.test/p/": Record("too-slow", "", NOW - 10, 1, NOW + 3590, 0.0, None),
               "https://b.test/p/": Record("ok", "", NOW - 10, 0, 0, 0.4, None)}
    memory = memory_of("https://a.test/p/", "https://origin.test/p/", "https://b.test/p/", "https://c.test/p/", records=records)
    sources = sources_of(repository, memory, settings, NOW)
    assert [(source.url, source.answer_seconds, source.last_resort) for source in sources] == [
        ("https://b.test/p/", 0.4, False), ("https://c.test/p/", 0.0, False), ("https://a.test/p/", 0.0, False),
        ("https://origin.test/p/", 0.0, True)]


def test_where_nothing_is_proven_nothing_is_fetched_not_even_from_the_origin(lab, tmp_path):
    repository = Repository("r", ("http://redirector.test/p/",), "p/", (), ())
    assert sources_of(repository, Memory(), lab_settings(lab, tmp_path), NOW) == []


def test_a_mirror_that_failed_rests_and_wrong_bytes_are_its_worst(tmp_path):
    state = State(str(tmp_path))
    state.update("r", memory_of("https://a.test/", "https://b.test/"))
    results = [PackageResult(None, (Attempt("https://a.test/", "payload-mismatch", "other bytes", 5), Attempt("https://b.test/", "ok", "", 5))),
               PackageResult(None, (Attempt("https://a.test/", "ok", "", 5),))]
    remember_failures(state, "r", "packages", [attempt for result in results for attempt in result.attempts], NOW)
    records = state.load("r").memory.records
    assert records["https://a.test/"].outcome == "payload-mismatch" and records["https://a.test/"].quarantined_until > NOW
    assert "https://b.test/" not in records


def test_nothing_failed_nothing_is_written(tmp_path):
    remember_failures(State(str(tmp_path)), "r", "packages", [Attempt("https://b.test/", "ok", "", 5)], NOW)
    assert os.listdir(str(tmp_path)) == []


# What is kept aside


def test_refused_files_are_few_small_and_roots_only(tmp_path, monkeypatch):
    monkeypatch.setattr(quarantine, "MAX_KEPT_BYTES", 10)
    folder = tmp_path / "state" / "refused"
    for number in range(quarantine.MAX_FILES + 3):
        quarantine.quarantine_file(str(folder), io.BytesIO(b"%012d" % number), {"package": "p{}".format(number)})
    names = sorted(os.listdir(str(folder)))
    assert len(names) == 2 * quarantine.MAX_FILES and stat.S_IMODE(os.stat(str(folder)).st_mode) == 0o700
    assert {stat.S_IMODE(os.stat(str(folder / name)).st_mode) for name in names} == {0o600}
    kept = [json.loads(read(folder / name).decode()) for name in names if name.endswith(".json")]
    assert {note["package"] for note in kept} == {"p{}".format(number) for number in range(3, quarantine.MAX_FILES + 3)}
    assert {(note["size"], note["kept_bytes"]) for note in kept} == {(12, 10)}
    assert {len(read(folder / name)) for name in names if name.endswith(".rpm")} == {10}


def test_that_nothing_can_be_kept_is_no_reason_to_believe_it(lab, tmp_path):
    request = request_of(lab, tmp_path)
    put(request, b"wrong")
    (tmp_path / "refused").write_bytes(b"a file where the folder should be")
    assert verify_packages(job_of(lab, tmp_path, request))[0].status == "refused" and not os.path.exists(request.target)


# The engine's protocol


def ask_engine(lab, folder, mode, *requests, **changes):
    """Send a request and return its events."""
    repository = lab_repository(lab)
    conf = folder / "xcpng-mirrors.conf"
    conf.write_text("[main]\nallow_networks=127.0.0.0/8\nredirectors={}\nfallbacks={}\nfingerprints={}\nstate_dir={}/state\nlog_file={}/log\n".format(
        lab.redirector.authority, lab.origin.url, lab.key_fingerprint, folder, folder))
    values = {"id": repository.id, "base_urls": list(repository.base_urls), "gpgkeys": ["file://" + lab.key_file], "proxy": "_none_",
              "sslcacert": lab.ca_bundle, "packages": [dict(request._asdict()) for request in requests]}
    values.update(changes)
    message = {"schema": 1, "action": "packages", "mode": mode, "config": str(conf), "installroot": "/", "repositories": [values]}
    stdout = io.BytesIO()
    serve(io.BytesIO(json.dumps(message).encode() + b"\n"), stdout)
    return [json.loads(line) for line in stdout.getvalue().decode().splitlines()]


def know(lab, folder):
    """Let the state remember the lab's mirrors as proven."""
    path = repository_path("updates")
    urls = [mirror.url + path for mirror in lab.mirrors.values()]
    State(str(folder / "state")).update("xcp-ng-updates", memory_of(*urls))


def test_the_engine_fetches_tells_and_lets_a_bad_mirror_rest(lab, tmp_path):
    lab.add_mirror("bad", fault="corrupt-packages")
    lab.add_mirror("good")
    know(lab, tmp_path)
    requests = [request_of(lab, tmp_path), request_of(lab, tmp_path, location="none.rpm", target=str(tmp_path / "none"))]
    events = ask_engine(lab, tmp_path, "fetch", *requests)
    about = {event["package"]: event for event in events if event["event"] == "package"}
    assert about[0] == {"event": "package", "repository": "xcp-ng-updates", "package": 0, "status": "verified", "reference": "", "text": ""}
    assert (about[1]["status"], about[1]["reference"]) == ("unavailable", "http-status") and "lab-agent" in about[1]["text"]
    assert events[-1]["repositories"]["xcp-ng-updates"]["status"] == "unavailable"
    assert {event["event"] for event in events} <= {"progress", "package", "result"}
    records = State(str(tmp_path / "state")).load("xcp-ng-updates").memory.records
    assert records[lab.mirrors["bad"].url + repository_path("updates")].outcome == "payload-mismatch"
    assert os.listdir(str(tmp_path / "state" / "xcp-ng-updates" / "refused"))


def test_the_engine_verifies_existing_packages_and_fetches_nothing(lab, tmp_path):
    lab.add_mirror("good")
    know(lab, tmp_path)
    good = request_of(lab, tmp_path)
    bad = request_of(lab, tmp_path, target=str(tmp_path / "cache" / "bad.rpm"))
    put(good, signed_bytes(lab))
    put(bad, signed_bytes(lab, "other-key-packages"))
    events = ask_engine(lab, tmp_path, "verify", good, bad, good._replace(target=str(tmp_path / "missing")))
    assert [event["status"] for event in events if event["event"] == "package"] == ["verified", "refused", "unavailable"]
    assert events[-1]["repositories"]["xcp-ng-updates"]["reference"] == "unknown-key" and lab.log.connections() == []


@pytest.mark.parametrize("changes, status", [
    ({"gpgkeys": ["file:///nonexistent"]}, "left"), ({"packages": None}, "left"), ({"gpgkeys": "other"}, "refused"),
])
def test_the_engine_says_why_no_package_was_looked_at(changes, status, lab, tmp_path):
    if changes.get("gpgkeys") == "other":
        changes = {"gpgkeys": ["file://" + lab.other_key_file]}
    events = ask_engine(lab, tmp_path, "fetch", request_of(lab, tmp_path), **changes)
    assert [event["event"] for event in events] == ["result"]
    assert events[0]["repositories"]["xcp-ng-updates"]["status"] == status


def test_the_engine_knows_two_modes(lab, tmp_path):
    events = ask_engine(lab, tmp_path, "believe", request_of(lab, tmp_path))
    assert events[-1]["repositories"][""]["status"] == "left"


def test_without_packages_there_is_nothing_wrong(lab, tmp_path):
    assert ask_engine(lab, tmp_path, "fetch")[-1]["repositories"]["xcp-ng-updates"]["status"] == "verified"
