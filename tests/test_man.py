"""What stands around the command: man pages, completion and units must know what the code knows, and nothing else."""
import argparse
import configparser
import importlib
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY_ROOT
from yum_plugin.cli.main import OPERATORS_SUBCOMMANDS, SUBCOMMANDS
from yum_plugin.host.settings import KEYS
from yum_plugin.plugins.bridge import __file__ as BRIDGE

PAGES = sorted((REPOSITORY_ROOT / "man").glob("*.8"))
ETC = REPOSITORY_ROOT / "etc"
NAMES = [name for name, _ in SUBCOMMANDS + OPERATORS_SUBCOMMANDS]
FOLDERS = {name: "operators.cli." for name, _ in OPERATORS_SUBCOMMANDS}
GLOBAL_OPTIONS = {"-h", "--help", "-v", "--verbose", "-q", "--quiet"}  # of every subcommand
COMMON = "Options: the common ones"


def run(command, **settings):
    """Run a command to its end and return what it said."""
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, **settings)


def sections(page="xcpng-mirrors.8"):
    """Return a page's sections: heading -> its lines, with the escapes of "-" and "'" resolved."""
    found = {}
    for line in (REPOSITORY_ROOT / "man" / page).read_text().replace("\\-", "-").replace("\\(aq", "'").splitlines():
        request, _, title = line.partition(" ")
        if request in (".SH", ".SS"):
            lines = found.setdefault(title, [])
        elif request not in ('.\\"', ".TH"):
            lines.append(line)
    return found


def options_in(lines):
    """Return the options that tagged paragraphs describe."""
    tags = [lines[number] for number in range(1, len(lines)) if lines[number - 1] in (".TP", ".TQ") or lines[number - 2] == ".TQ"]
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", "\n".join(tags)))


def options_of(name):
    """Return the options that a subcommand has itself, and its choices."""
    parser = argparse.ArgumentParser(add_help=False)
    importlib.import_module("yum_plugin." + FOLDERS.get(name, "cli.") + name.replace("-", "_")).add_arguments(parser)
    options = {text for action in parser._actions for text in action.option_strings}
    return options, {choice for action in parser._actions for choice in action.choices or ()}


# Man pages


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_is_plain_roff_without_a_warning(page):
    text = page.read_bytes().decode("ascii")
    assert ".TH {} 8 ".format(page.name[:-2].upper().replace("-", "\\-")) in text
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    done = run(["groff", "-man", "-Tascii", "-ww", "-z", page])
    assert (done.returncode, done.stderr) == (0, "")


def test_there_is_a_page_for_the_command_and_each_plugin():
    assert [page.name for page in PAGES] == ["dnf-xcpng-mirrors.8", "xcpng-mirrors.8", "yum-xcpng-mirrors.8"]
    for manager in ("dnf", "yum"):
        text = "\n".join("\n".join(lines) for lines in sections(manager + "-xcpng-mirrors.8").values())
        assert all(word in text for word in ("enabled=0", "--disableplugin=xcpng-mirrors", "rollback", ".conf", "xcpng-mirrors.py"))
        assert os.path.exists(os.path.join(os.path.dirname(BRIDGE), manager + ".py"))


def test_the_page_has_a_section_for_each_subcommand_and_no_other():
    headings = list(sections())
    assert headings[headings.index("SUBCOMMANDS") + 1 : headings.index("COMMON OPTIONS")] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_page_describes_every_option_of_a_subcommand_and_none_that_it_lacks(name):
    page = sections()
    own, common = options_in(page[name]), options_in(page["COMMON OPTIONS"]) - GLOBAL_OPTIONS - {"--version"}
    options, choices = options_of(name)
    if any(line.startswith(COMMON) for line in page[name]):
        own |= common
    assert own == options
    assert [choice for choice in choices if choice not in "\n".join(page[name])] == []


def test_the_common_options_of_the_page_are_those_of_the_command():
    assert options_in(sections()["COMMON OPTIONS"]) == options_of("explain")[0] | GLOBAL_OPTIONS | {"--version"}


def test_the_page_has_every_key_of_the_conf_with_its_default_and_unit():
    text = "\n".join(sections()["SETTINGS"]).replace("\\ ", " ")
    found = re.findall(r"^\.TP\n\.BR (\w+) = ?(.*)\n((?:[^.].*\n?)+)", text, re.M)
    assert [(key, default) for key, default, _ in found] == [(key.name, key.default) for key in KEYS]
    for key, (_, _, words) in zip(KEYS, found):
        assert words.rstrip().endswith("\nUnit: {}.".format(key.unit.replace("|", " or "))), key.name


# Completion


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """A function from the words of a command line to what bash offers for the last one."""
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("bash is not installed")
    folder = tmp_path_factory.mktemp("completion")
    command = folder / "xcpng-mirrors"
    command.write_text("#!/bin/sh\nexec {} -m yum_plugin \"$@\"\n".format(sys.executable))
    command.chmod(0o755)
    (folder / "some file").write_text("")
    (folder / "folder").mkdir()
    script = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); cd "$HERE"; _xcpng_mirrors; printf "%s\\n" "${COMPREPLY[@]}"'
    environment = dict(os.environ, PATH="{}:{}".format(folder, os.environ["PATH"]), PYTHONPATH=str(REPOSITORY_ROOT), HERE=str(folder))

    def ask(*words):
        done = run([bash, "--norc", "-c", script, ETC / "xcpng-mirrors.bash-completion", "xcpng-mirrors"] + list(words),
                   env=environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split("\n")[:-1]

    return ask


def test_the_first_word_is_a_subcommand_or_an_option(complete):
    assert complete("") == NAMES + ["--help", "--version"]
    assert complete("re") == ["refresh", "report", "report-mirror"]


@pytest.mark.parametrize("name", NAMES)
def test_a_subcommand_is_offered_its_options_and_choices(complete, name):
    options, choices = options_of(name)
    long_options = {option for option in options | GLOBAL_OPTIONS if option.startswith("--")} - {"--help", "--verbose", "--quiet"}
    assert set(complete(name, "--")) == long_options
    assert set(complete(name, "")) - {""} == choices


@pytest.mark.parametrize("words, offered", [
    (["refresh", "--config", "some"], ["some file"]), (["get", "--output", "f"], ["folder"]), (["status", "--state-dir", "some"], [""]),
    (["get", "--arch", "noa"], ["noarch"]), (["verify", "--fingerprint", ""], [""]), (["precheck", "--pin", ""], [""]), (["status", "--js"], ["--json"]),
])
def test_the_value_of_an_option_is_a_file_a_folder_or_a_word(complete, words, offered):
    assert complete(*words) == offered


# Units


UNITS = {"refresh": ("ExecStart=/usr/bin/xcpng-mirrors refresh --quiet --if-needed", "MemoryLimit=256M"),
         "sync@": ("ExecStart=/usr/bin/xcpng-mirrors sync --quiet $OPTIONS %f", "MemoryLimit=2G")}


@pytest.mark.parametrize("job", UNITS)
def test_the_timer_is_off_by_preset_and_spreads_the_hosts(job):
    assert "disable xcpng-mirrors-{}.timer".format(job) in (ETC / "xcpng-mirrors.preset").read_text().splitlines()
    timer = configparser.ConfigParser(interpolation=None)
    timer.read_string((ETC / "xcpng-mirrors-{}.timer".format(job)).read_text())
    assert "RandomizedDelaySec" in timer["Timer"] and "OnCalendar" not in timer["Timer"]


@pytest.mark.parametrize("job", UNITS)
def test_the_service_is_sandboxed_and_starts_the_command(job):
    lines = (ETC / "xcpng-mirrors-{}.service".format(job)).read_text().splitlines()
    assert {"NoNewPrivileges=yes", "ProtectSystem=full", "PrivateTmp=yes"} | set(UNITS[job]) <= set(lines)
    assert "ProtectSystem=strict" in (ETC / "xcpng-mirrors-newer.conf").read_text().splitlines()
    written = {key.default for key in KEYS if key.name in ("state_dir", "log_file")}
    [paths] = [line.partition("=")[2].replace("-/", "/").split() for line in lines if line.startswith("ReadWriteDirectories=")]
    assert all(any(path.startswith(allowed) for allowed in paths) for path in written)
    assert job != "sync@" or paths[0] == "%f"


# systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.resource-control(5) and systemd.timer(5) of systemd 219 as CentOS 7
# has it, which knows RandomizedDelaySec, too.
KNOWN_TO_219 = set("""
    Description Documentation Wants After RequiresMountsFor WantedBy Type Environment ExecStart SuccessExitStatus TimeoutStartSec Nice
    IOSchedulingClass ProtectSystem ReadWriteDirectories ProtectHome PrivateTmp PrivateDevices DevicePolicy NoNewPrivileges
    CapabilityBoundingSet RestrictAddressFamilies SystemCallArchitectures MemoryLimit OnBootSec OnUnitActiveSec OnUnitInactiveSec
    RandomizedDelaySec""".split())


@pytest.mark.parametrize("job", UNITS)
@pytest.mark.parametrize("unit", ["service", "timer"])
def test_the_systemd_of_a_host_warns_of_no_line_that_it_does_not_know(job, unit):
    lines = (ETC / "xcpng-mirrors-{}.{}".format(job, unit)).read_text().splitlines()
    assert {line.partition("=")[0] for line in lines if "=" in line and not line.startswith("#")} <= KNOWN_TO_219


@pytest.mark.parametrize("job", UNITS)
def test_a_newer_systemd_finds_little_that_a_service_could_still_do(job, tmp_path):
    if "--offline" not in run(["systemd-analyze", "--help"]).stdout if shutil.which("systemd-analyze") else True:
        pytest.skip("no systemd-analyze that examines files")
    units = tmp_path / "usr/lib/systemd/system"
    (units / "xcpng-mirrors-.service.d").mkdir(parents=True)
    for name in ("refresh", "sync@"):
        shutil.copy(str(ETC / "xcpng-mirrors-{}.service".format(name)), str(units))
    shutil.copy(str(ETC / "xcpng-mirrors-newer.conf"), str(units / "xcpng-mirrors-.service.d" / "10-newer.conf"))
    command = tmp_path / "usr/bin/xcpng-mirrors"
    command.parent.mkdir()
    command.touch(0o755)
    done = run(["systemd-analyze", "security", "--offline=true", "--root", str(tmp_path), "--threshold=29",
                "xcpng-mirrors-{}.service".format(job.replace("@", "@srv-mirror"))])
    assert done.returncode == 0 and "Overall exposure level" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("job", UNITS)
def test_systemd_understands_the_units(job, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    for unit in ("service", "timer"):
        name = "xcpng-mirrors-{}.{}".format(job, unit)
        (tmp_path / name).write_text((ETC / name).read_text().replace("/usr/bin/xcpng-mirrors ", "/bin/sh "))
    done = run(["systemd-analyze", "verify", "--man=no"] + [str(path).replace("@", "@srv-mirror") for path in sorted(tmp_path.glob("*"))])
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line and "MemoryLimit=" not in line] == []
