"""What dnf or yum has loaded and fetched by itself is checked, whatever has kept this program from bringing it.

Answers are withheld from this program alone, a disk is full, a header has one bad byte, an engine is dead, our own code fails:
each of them costs speed and the choice of mirrors. None of them costs a check.
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from tests.lab.faults import Fault
from tests.lab.plugin import NAME, cache_path, install_plugin, state_path
from tests.lab.wire import Response, document
from tests.support.faults_table import good_mirrors, listed, own_lines
from tests.support.texts import edit
from tests.support.withheld import HOW, withhold
from tests.support.yum_host import PYTHONS, STAND_IN, UPDATES, YumHost, own_warnings

BASE = "xcp-ng-base"
dnf_only = pytest.mark.dnf


@pytest.fixture
def host(lab, tmp_path):
    """A dnf host with the plugin that trusts another key, too, as real hosts do; two good mirrors."""
    good_mirrors(lab)
    made = lab.installroot(str(tmp_path / "host"))
    made.import_key(lab.other_key_file)
    install_plugin(made, lab, deadline=2)
    return made


@pytest.fixture(params=PYTHONS)
def yum_host(request, lab, tmp_path):
    """A yum host with the plugin; two good mirrors."""
    good_mirrors(lab)
    made = YumHost(lab, str(tmp_path / "host"), request.param)
    made.install_plugin(deadline=2)
    return made


def mark_of(host):
    """The digest of the high-water mark of the updates, "" if there is none."""
    try:
        with open(state_path(host, UPDATES, "accepted.json")) as stream:
            return json.load(stream)["sha256"]
    except FileNotFoundError:
        return ""


# Answers withheld from this program.


@dnf_only
@pytest.mark.parametrize("how", HOW)
def test_an_old_signed_tree_for_dnf_alone_is_a_rollback(how, lab, host):
    assert host.dnf("check-update").returncode == 0
    mark = mark_of(host)
    shutil.rmtree(os.path.join(host.root, "var/cache/dnf"))
    lab.publish("old")
    withhold(lab, how)
    for words in (["-y", "install", "lab-agent"], ["-y", "check-update"], ["-y", "-C", "install", "lab-agent"]):
        done = host.dnf(*words)
        assert (done.returncode, host.version("lab-agent"), mark_of(host)) == (1, "", mark), done.stdout + done.stderr
        assert "Error: xcpng-mirrors: xcp-ng-base: rollback: " in done.stderr


@dnf_only
def test_what_dnf_alone_can_reach_is_proven_and_on_first_contact_not_marked(lab, host):
    withhold(lab)
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0, "2.0"), done.stdout + done.stderr
    assert len(own_lines(done)) == 1 and not mark_of(host)
    assert "xcpng-mirrors: xcp-ng-base, xcp-ng-updates are left as they are: http-status: " in own_lines(done)[0]


@dnf_only
@pytest.mark.parametrize("state,reference", [("other-key-packages", "unknown-key"), ("unsigned-packages", "unsigned")])
def test_packages_for_dnf_alone_are_verified(state, reference, lab, host):
    lab.publish(state)
    withhold(lab)
    for words in ([], ["--downloadonly"]):
        done = host.dnf("-y", "install", "lab-agent", *words)
        assert (done.returncode, host.version("lab-agent")) == (1, ""), done.stdout + done.stderr
        assert "Error: xcpng-mirrors: xcp-ng-updates: {}: ".format(reference) in done.stderr
        assert not glob.glob(os.path.join(host.root, "var/cache/dnf/*/packages/lab-agent*.rpm"))


@dnf_only
def test_without_a_signature_in_the_cache_looking_is_told_once_and_installing_stops(lab, host):
    edit(os.path.join(host.repos, "xcp-ng.repo"), "repo_gpgcheck=1", "repo_gpgcheck=0")
    withhold(lab)
    looks, installs = host.dnf("list", "lab-agent"), host.dnf("-y", "install", "lab-agent")
    assert looks.returncode == 0 and "2.0" in listed(looks)
    assert len([line for line in own_lines(looks) if "unproven: " in line and "set repo_gpgcheck=1" in line]) == 1
    assert (installs.returncode, host.version("lab-agent"), mark_of(host)) == (1, "", "")
    assert "Error: xcpng-mirrors: xcp-ng-updates: unproven: " in installs.stderr and "--disableplugin=xcpng-mirrors" in installs.stderr


@pytest.mark.parametrize("how", HOW[1:])
def test_an_old_signed_tree_for_yum_alone_is_a_rollback(how, lab, yum_host):
    assert yum_host.yum("check-update").returncode == 0
    mark = mark_of(yum_host)
    shutil.rmtree(os.path.join(yum_host.root, "var/cache/yum"))
    lab.publish("old")
    withhold(lab, how)
    for words in (["install", "lab-agent"], ["check-update"], ["-C", "install", "lab-agent"]):
        done = yum_host.yum(*words)
        assert (done.returncode, yum_host.version("lab-agent"), mark_of(yum_host)) == (1, "", mark), done.stdout + done.stderr
        assert "xcpng-mirrors: xcp-ng-base: rollback: " in done.stderr


def test_what_yum_alone_can_reach_is_proven_and_on_first_contact_not_marked(lab, yum_host):
    withhold(lab)
    done = yum_host.yum("install", "lab-agent")
    assert (done.returncode, yum_host.version("lab-agent")) == (0, "2.0"), done.stdout + done.stderr
    assert len(own_warnings(done)) == 1 and not mark_of(yum_host)
    assert "xcpng-mirrors: xcp-ng-base, xcp-ng-updates are left as they are: http-status: " in own_warnings(done)[0]


@dnf_only
def test_something_newer_for_dnf_alone_can_be_looked_at_and_not_installed(lab, host):
    """It may be another repository's, signed by the same key."""
    lab.publish("old")
    assert host.dnf("check-update").returncode == 0
    lab.publish("new")
    withhold(lab)
    looks, installs = host.dnf("--refresh", "list", "lab-agent"), host.dnf("-y", "--refresh", "install", "lab-agent")
    assert looks.returncode == 0 and "2.0" in listed(looks) and "unproven: " in looks.stderr
    assert (installs.returncode, host.version("lab-agent")) == (1, "") and "unconfirmed: " in installs.stderr


@pytest.mark.parametrize("options", [[], ["--downloadonly"]])
def test_packages_for_yum_alone_are_verified(options, lab, yum_host):
    lab.publish("other-key-packages")
    withhold(lab)
    done = yum_host.yum("install", "lab-agent", *options)
    assert (done.returncode, yum_host.version("lab-agent")) == (1, ""), done.stdout + done.stderr
    assert "xcpng-mirrors: xcp-ng-updates: unknown-key: " in done.stderr
    assert not glob.glob(yum_host.cached("packages") + "/*.rpm*")


def test_downloadonly_of_what_yum_alone_can_reach_ends_well(lab, yum_host):
    withhold(lab)
    done = yum_host.yum("install", "lab-agent", "--downloadonly")
    assert done.returncode == 0 and glob.glob(yum_host.cached("packages") + "/lab-agent-2.0-1.noarch.rpm"), done.stderr


# What comes from elsewhere, or late.


def other_package(lab):
    """Return the path of a package of another key."""
    return os.path.join(lab.trees.path("other-key-packages"), "8/8.3/updates/x86_64/Packages/lab-agent-2.0-1.noarch.rpm")


BRINGS = """\
import shutil
from yum.plugins import TYPE_CORE

requires_api_version, plugin_type = "2.5", (TYPE_CORE,)


def pretrans_hook(conduit):
    for member in conduit.getTsInfo().getMembers():
        if member.ts_state in ("i", "u"):
            shutil.copy({0!r}, member.po.localPkg())
"""


def test_what_comes_after_the_download_is_verified_before_rpm_sees_it(lab, yum_host):
    """Another plugin, whose name sorts before ours, brings the package when yum's own checks are over."""
    yum_host.add_plugin("brings", BRINGS.format(other_package(lab)))
    done = yum_host.yum("install", "lab-agent")
    assert (done.returncode, yum_host.version("lab-agent")) == (1, ""), done.stdout + done.stderr
    assert "xcpng-mirrors: xcp-ng-updates: " in done.stderr


def serve_with_xml_base(lab, state, folder):
    """Let every server have metadata of the updates in which createrepo_c --baseurl names the origin as the packages' server."""
    path = "8/8.3/updates/x86_64/"
    shutil.copytree(os.path.join(lab.trees.path(state), path), folder)
    stamp = str(lab.trees.stamp(state))
    subprocess.run(["createrepo_c", "-q", "--baseurl", lab.origin.url + path, "--revision", stamp, "--set-timestamp-to-revision", folder],
                   check=True)
    repodata = os.path.join(folder, "repodata")
    with open(os.path.join(repodata, "repomd.xml"), "rb") as repomd, open(os.path.join(repodata, "repomd.xml.asc"), "wb") as target:
        target.write(lab.keys.sign(repomd.read(), at=lab.trees.signed_at(state)))

    def answer(mirror, request):
        name = os.path.join(repodata, os.path.basename(request.path))
        if path + "repodata/" not in request.path or not os.path.isfile(name):
            return None
        with open(name, "rb") as stream:
            return document(stream.read(), "application/octet-stream")

    for mirror in list(lab.mirrors.values()) + [lab.origin]:
        mirror.faults = (Fault("xml:base", "", answer),)


@dnf_only
@pytest.mark.parametrize("state,version", [("new", "2.0"), ("other-key-packages", "")])
def test_packages_from_another_server_xml_base_are_verified_after_dnf_fetched_them(state, version, lab, host, tmp_path):
    lab.publish(state)
    serve_with_xml_base(lab, state, str(tmp_path / "based"))
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0 if version else 1, version), done.stdout + done.stderr
    assert version or "Error: xcpng-mirrors: xcp-ng-updates: unknown-key: " in done.stderr
    asked = [entry.headers.get("user-agent", "") for entry in lab.log.requests() if entry.path.endswith(".rpm")]
    assert asked and not any(each.startswith(NAME) for each in asked), "dnf has fetched them"


# Only the cache is to be used, or any cache will do.


@dnf_only
def test_a_cache_that_somebody_else_has_filled_is_proven_when_it_is_used(lab, host):
    host.dnf("check-update")
    lab.publish("old")
    host.dnf("-y", "--disableplugin=" + NAME, "--refresh", "makecache")
    withhold(lab)
    for words in (["-C", "list", "lab-agent"], ["-C", "-y", "install", "lab-agent"], ["repoquery", "lab-agent"]):
        done = host.dnf(*words)
        assert done.returncode == 1 and "rollback: " in done.stderr, done.stdout + done.stderr


@dnf_only
def test_a_cache_that_is_used_as_it_was_filled_needs_no_engine(lab, host):
    host.dnf("check-update")
    install_plugin(host, lab, command="/nonexistent")  # another .conf: other settings, and so another key of the cache
    assert "unproven: " in host.dnf("-C", "list", "lab-agent").stderr
    log = os.path.join(host.root, "var/log/xcpng-mirrors.log")
    install_plugin(host, lab, deadline=2)
    before = os.stat(log).st_size
    done = host.dnf("-C", "list", "lab-agent")
    assert done.returncode == 0 and own_lines(done) == [] and os.stat(log).st_size == before


# The admin's own files.


def on_this_disk(lab, path, state, extra=""):
    """Let the updates be a file: repository, as the documented air gap has it."""
    lab.repo_file(path, ["updates"], extra)
    name = os.path.join(path, "xcp-ng.repo")
    with open(name) as stream:
        lines = ["baseurl=file://{}/8/8.3/updates/x86_64/\n".format(lab.trees.path(state)) if line.startswith("baseurl=") else line
                 for line in stream]
    with open(name, "w") as stream:
        stream.writelines(lines)


@dnf_only
@pytest.mark.parametrize("state,version", [("new", "2.0"), ("other-key-packages", "")])
def test_a_repository_on_this_disk_is_proven_and_no_file_of_it_is_removed(state, version, lab, host):
    on_this_disk(lab, host.repos, state)
    package = os.path.join(lab.trees.path(state), "8/8.3/updates/x86_64/Packages/lab-agent-2.0-1.noarch.rpm")
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0 if version else 1, version), done.stdout + done.stderr
    assert os.path.exists(package) and bool(mark_of(host)) and (own_lines(done) == [] if version else "unknown-key: " in done.stderr)
    on_this_disk(lab, host.repos, "old")
    shutil.rmtree(os.path.join(host.root, "var/cache/dnf"))
    assert host.dnf("-y", "check-update").returncode == 0, "another place has a mark of its own"


# A full disk, one bad byte.


@dnf_only
def test_with_a_full_tmp_all_is_as_ever(lab, host, disk, tmp_path):
    folder = str(tmp_path / "full")
    disk(folder, 64 << 10)
    with open(os.path.join(folder, "ballast"), "wb", buffering=0) as stream, pytest.raises(OSError):
        while True:
            stream.write(b"x" * 4096)

    def dnf(*words):
        return subprocess.run(host.command(*words), env=dict(host.environment, TMPDIR=folder), stdin=subprocess.DEVNULL, cwd=folder,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=120)

    done = dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent"), own_lines(done)) == (0, "2.0", []), done.stderr
    host.rpm("-e", "lab-agent")
    shutil.rmtree(os.path.join(host.root, "var/cache/dnf"))
    lab.publish("old")
    withhold(lab)
    done = dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (1, ""), done.stderr


def superscript(lab):
    """Let every mirror send this program a superscript two as the length of a package: isdigit() is true, int() raises."""
    def answer(mirror, request):
        ours = request.headers.get("user-agent", "").startswith(NAME) and request.path.endswith(".rpm")
        return Response(200, (("Content-Length", "\u00b2"),), (b"x" * 100,), None) if ours else None

    for mirror in list(lab.mirrors.values()) + [lab.origin]:
        mirror.faults = (Fault("superscript", "", answer),)


@dnf_only
@pytest.mark.parametrize("state,version", [("new", "2.0"), ("other-key-packages", "")])
def test_one_bad_header_byte_takes_no_check_away_from_dnf(state, version, lab, host):
    lab.publish(state)
    superscript(lab)
    done = host.dnf("-y", "install", "lab-agent")
    assert (done.returncode, host.version("lab-agent")) == (0 if version else 1, version), done.stdout + done.stderr


@pytest.mark.parametrize("state,version", [("new", "2.0"), ("other-key-packages", "")])
def test_one_bad_header_byte_takes_no_check_away_from_yum(state, version, lab, yum_host):
    lab.publish(state)
    superscript(lab)
    done = yum_host.yum("install", "lab-agent")
    assert (done.returncode, yum_host.version("lab-agent")) == (0 if version else 1, version), done.stdout + done.stderr


# Without the command line, and without root.

API = """\
import os, shutil, sys
import dnf, dnf.exceptions
configuration, root, cache, words = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
base = dnf.Base()
base.conf.read(configuration)
base.conf.installroot, base.conf.substitutions["releasever"] = root, "8"
for name in ("cachedir", "persistdir", "logdir"):
    base.conf.prepend_installroot(name)
base.conf.cachedir = cache or base.conf.cachedir
base.init_plugins()
base.pre_configure_plugins()
base.read_all_repos()
base.configure_plugins()
try:
    base.fill_sack(load_system_repo=os.geteuid() == 0)  # nobody cannot open the rpmdb of a test
    base.install("lab-agent")
    base.resolve()
    for package in base.transaction.install_set:
        os.makedirs(os.path.dirname(package.localPkg()), exist_ok=True)
        if words[0] == "laid":
            shutil.copy(words[1], package.localPkg())
        if words[0] == "elsewhere":
            payload = dnf.repo.RPMPayload(package, dnf.callback.NullDownloadProgress())
            payload._target_params = lambda old=payload._target_params: dict(old(), dest=words[1])
            base._download_remote_payloads([payload], dnf.drpm.DeltaInfo(base.sack.query().installed(), None, 0), payload.progress, None)
    if words[0] in ("download", "install"):
        base.download_packages(base.transaction.install_set)
    if words[0] in ("laid", "install"):
        base.do_transaction()
except dnf.exceptions.Error as error:
    sys.exit(str(error))
"""


def by_api(host, *words, cache="", user=()):
    """Run a program that uses dnf as a library."""
    command = list(user) + ["/usr/bin/python3", "-c", API, host.dnf_conf, host.root, cache] + list(words)
    environment = dict(host.environment, HOME=cache or host.environment["HOME"])
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=120)


@dnf_only
@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("state,version", [("new", "2.0"), ("other-key-packages", "")])
@pytest.mark.parametrize("word", ["install", "laid"])
def test_a_program_without_the_command_line_installs_nothing_unverified(word, state, version, blocked, lab, host):
    """As dnf-automatic and Ansible's module do; "laid": it has brought the package itself."""
    lab.publish(state)
    host.dnf("check-update")  # imports the key for metadata
    if blocked:
        shutil.rmtree(os.path.join(host.root, "var/cache/dnf/") + cache_name(host), ignore_errors=True)
        withhold(lab)
    package = os.path.join(lab.trees.path(state), "8/8.3/updates/x86_64/Packages/lab-agent-2.0-1.noarch.rpm")
    done = by_api(host, word, package)
    assert (bool(done.returncode), host.version("lab-agent")) == (not version, version), done.stdout + done.stderr
    assert version or "xcpng-mirrors: xcp-ng-updates: unknown-key: " in done.stderr


def cache_name(host):
    """The name of the folder of the updates' metadata below that of the cache, without its key ring."""
    return os.path.join(os.path.basename(cache_path(host, UPDATES)), "repodata")


@dnf_only
@pytest.mark.parametrize("state", ["new", "other-key-packages"])
def test_reposync_keeps_nothing_unverified(state, lab, host, tmp_path):
    lab.publish(state)
    done = by_api(host, "elsewhere", str(tmp_path))
    assert (done.returncode == 0) == (state == "new"), done.stderr
    assert bool(glob.glob(str(tmp_path / "*.rpm"))) == (state == "new") and "internal" not in done.stderr


# An engine for a user who may not read the folders of this Python.
ANSWERS = """\
#!/usr/bin/python3 -I
import hashlib, json, sys
for line in sys.stdin:
    request = json.loads(line)
    results = {}
    for repository in request["repositories"]:
        if request["action"] == "prove":
            repomd = open(repository["cache"]["folder"] + "/repodata/repomd.xml", "rb").read()
            results[repository["id"]] = {"status": "proven", "sha256": hashlib.sha256(repomd).hexdigest()}
            continue
        assert request["action"] == "packages" and request["mode"] == "verify"
        for number, package in enumerate(repository["packages"]):
            open(package["target"], "rb").close()
            print(json.dumps({"event": "package", "repository": repository["id"], "package": number, "status": STATUS, "text": "",
                              "reference": ""}))
        results[repository["id"]] = {"status": STATUS, "text": "unknown-key: so said"}
    print(json.dumps({"event": "result", "repositories": results}), flush=True)
"""


@dnf_only
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("status,code", [("verified", 0), ("refused", 1), ("unavailable", 1)])
def test_what_a_user_who_is_not_root_downloads_is_proven_and_verified_after_it(status, code, lab):
    """As "dnf download" does."""
    folder = tempfile.mkdtemp(prefix="lab-user-")
    try:
        os.chmod(folder, 0o755)
        good_mirrors(lab)
        host = lab.installroot(os.path.join(folder, "host"))
        engine = os.path.join(folder, "engine")
        with open(engine, "w") as stream:
            stream.write(ANSWERS.replace("STATUS", repr(status)))
        os.chmod(engine, 0o755)
        install_plugin(host, lab, command=engine)
        for path in (lab.ca_bundle, lab.key_file):  # they lie where only root can read them
            shutil.copy(path, folder)
            edit(os.path.join(host.repos, "xcp-ng.repo"), path, os.path.join(folder, os.path.basename(path)))
        host.dnf("-y", "--disableplugin=" + NAME, "makecache")  # imports the key for metadata
        cache = os.path.join(host.root, "var/cache/dnf")
        subprocess.run(["chown", "-R", "65534", cache, os.path.join(host.root, "var/log")], check=True)
        done = by_api(host, "download", cache=cache, user=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        assert done.returncode == code and (status != "refused" or "unknown-key: so said" in done.stderr), done.stderr
    finally:
        shutil.rmtree(folder)


# Our own code fails.

SABOTEUR = """\
import inspect


def sabotage(modules, noted, label, error):
    \"""Note every function of some modules that is called, and let one of them raise.\"""
    def wrapped(name, function):
        def call(*arguments, **named):
            noted.add(name)
            if name == label:
                raise error("sabotage")
            return function(*arguments, **named)
        return call

    for module in modules:
        for name, each in list(vars(module).items()):
            if getattr(each, "__module__", None) != module.__name__ or inspect.isclass(each) and issubclass(each, Exception):
                continue
            if inspect.isfunction(each) and not name.endswith("_hook"):
                setattr(module, name, wrapped(name, each))
            for method, function in list(vars(each).items()) if inspect.isclass(each) else ():
                if inspect.isfunction(function) and method != "config":
                    setattr(each, method, wrapped(each.__name__ + "." + method, function))
"""

# For each function of ours that an installation calls, do it all again in a child in which it raises. Prints how each has ended.
IN_CHILDREN = """
import json, os, sys


def in_child(run, root, label, error):
    for folder, _, names in os.walk(os.path.join(root, "var/cache")):
        for name in names:
            if name == "cachecookie":
                os.unlink(os.path.join(folder, name))
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        noted = set()
        end = run(noted, label, error)
        os.write(writing, json.dumps([sorted(noted), end]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = json.loads(stream.read().decode())
    os.wait()
    return answer


def each_in_a_child(run, root):
    names, end = in_child(run, root, "", None)
    errors = (KeyError, OSError)
    ends = [[name, in_child(run, root, name, errors[number % 2])[1]] for number, name in enumerate(names)]
    print(json.dumps([["", end]] + ends))
"""

SABOTAGED_DNF = SABOTEUR + IN_CHILDREN + """
import traceback
import dnf, dnf.plugin
install, arguments, load = compile(sys.argv[1], "api", "exec"), sys.argv[2:], dnf.plugin.Plugins._load


def run(noted, label, error):
    def load_and_sabotage(self, *everything):
        load(self, *everything)
        own = sys.modules[self.plugin_cls[0].__module__]
        sabotage((own, own.bridge, own.proofs), noted, label, error)

    dnf.plugin.Plugins._load = load_and_sabotage
    sys.argv = ["api"] + arguments
    try:
        exec(install, {"__name__": "__main__"})
        return "installed"
    except SystemExit as end:
        return str(end.code)
    except BaseException:
        return traceback.format_exc()


each_in_a_child(run, arguments[1])
"""

SABOTAGED_YUM = SABOTEUR + IN_CHILDREN + """
import traceback
stand_in = {"__name__": "stand_in"}
with open(sys.argv[1]) as source:
    exec(compile(source.read(), sys.argv[1], "exec"), stand_in)
arguments, load = sys.argv[2:], stand_in["load_module"]


def run(noted, label, error):
    def load_and_sabotage(name, path):
        module = load(name, path)
        sabotage((module, module.bridge, module.proofs), noted, label, error)
        return module

    stand_in["load_module"] = load_and_sabotage
    try:
        return "installed" if stand_in["main"](arguments) == 0 else "stopped"
    except BaseException:
        return traceback.format_exc()


each_in_a_child(run, arguments[3])
"""


def ends_of(command, host):
    """Return how an installation ended, by the function that raised; "" for the one in which none did."""
    done = subprocess.run(command, env=dict(host.environment, PYTHONDONTWRITEBYTECODE="1"), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=600)
    ends = dict(json.loads(done.stdout.splitlines()[-1]))
    assert len(ends) > 40 and ends[""] != "installed", done.stderr
    return ends


@dnf_only
@pytest.mark.parametrize("blocked", [False, True])
def test_whatever_of_ours_fails_dnf_installs_nothing_unverified(blocked, lab, host):
    lab.publish("other-key-packages")
    host.dnf("-y", "check-update")
    if blocked:
        withhold(lab)
    ends = ends_of(["/usr/bin/python3", "-c", SABOTAGED_DNF, API, host.dnf_conf, host.root, "", "install"], host)
    assert [name for name, end in ends.items() if end == "installed"] == [] and host.version("lab-agent") == ""
    assert {"Engine._line", "Engine._start", "Run.missing", "Run.wanted", "read_small"} <= ends.keys()


@pytest.mark.parametrize("blocked", [False, True])
def test_whatever_of_ours_fails_yum_installs_nothing_unverified(blocked, lab, tmp_path):
    good_mirrors(lab)
    host = YumHost(lab, str(tmp_path / "host"), "3")
    host.install_plugin(deadline=2)
    lab.publish("other-key-packages")
    host.yum("check-update")
    if blocked:
        withhold(lab)
    ends = ends_of([sys.executable, "-c", SABOTAGED_YUM, STAND_IN, "-c", host.conf, "--installroot", host.root, "install", "lab-agent"], host)
    assert [name for name, end in ends.items() if end == "installed"] == [] and host.version("lab-agent") == ""
    assert {name for name, end in ends.items() if "Traceback" in end} <= {"_message", "_warn"}, "they are what tells it"
    assert {"Engine._line", "Engine._start", "Run.missing", "Run.wanted", "read_small"} <= ends.keys()
