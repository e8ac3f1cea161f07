"""The .conf, the .repo files and what a plugin asks: what cannot be used is told, and nothing stops the package manager."""
import json
import re
import shutil
import time

import pytest

from tests.conftest import REPOSITORY_ROOT
from yum_plugin.errors import UsageError
from yum_plugin.host.inifile import MAX_BYTES, IniEntry, parse_ini
from yum_plugin.host.repofiles import host_variables, main_options, read_repositories, replace_variables
from yum_plugin.host.repository_options import reach_of, repository_from_request, repository_path
from yum_plugin.host.settings import KEYS, MAX_VALUE_CHARACTERS, MAX_WARNINGS, Settings, read_settings
from yum_plugin.model import Network, Repository
from yum_plugin.plugins import bridge

from .support.world import DEFAULTS, read_values

CONF = REPOSITORY_ROOT / "etc" / "xcpng-mirrors.conf"
PIN = "34AC2EB68248FED6D076838ACD75783A3FD3AC9E"
KEY_FILE = "/etc/pki/rpm-gpg/RPM-GPG-KEY-xcpng"
BASE_URLS = ("http://mirrors.xcp-ng.org/8/8.3/updates/x86_64/", "http://updates.xcp-ng.org/8/8.3/updates/x86_64/")
REQUEST = {"id": "xcp-ng-updates", "base_urls": list(BASE_URLS), "gpgkeys": ["file://" + KEY_FILE]}
SECTION = "[xcp-ng-updates]\nbaseurl={}\ngpgkey=file://{}\n".format(" ".join(BASE_URLS), KEY_FILE)
REACH = reach_of(BASE_URLS, DEFAULTS)
EXPECTED = Repository("xcp-ng-updates", BASE_URLS, "8/8.3/updates/x86_64/", (KEY_FILE,), (PIN,), Network(reach=REACH))


# The file that is installed


def explained():
    """Return (key, default, comment, whether it is commented out) of each key of the .conf."""
    blocks = CONF.read_text(encoding="utf-8").split("\n\n")
    for block in blocks[2:]:
        lines = block.strip().split("\n")
        key, value = lines[-1].lstrip("#").split("=", 1)
        yield key, value, " ".join(line[2:] for line in lines[:-1]), lines[-1].startswith("#")


def test_the_conf_explains_every_key_with_its_unit_and_default():
    found = list(explained())
    assert [(key, value) for key, value, _, _ in found] == [(key.name, key.default) for key in KEYS]
    for key, (_, _, comment, commented_out) in zip(KEYS, found):
        facts = "Unit: {}. Default: {} Reason: ".format(key.unit.replace("|", " or "), key.default or "nothing")
        assert facts in comment and comment.partition(facts)[2]
        assert len(comment.partition("Unit:")[0]) > 20  # the purpose
        assert commented_out == (key.name != "enabled")


@pytest.mark.parametrize("uncommented", [False, True])
def test_the_conf_as_installed_and_with_every_key_active_gives_the_defaults(tmp_path, uncommented):
    text = CONF.read_text(encoding="utf-8")
    path = tmp_path / "x.conf"
    path.write_text(re.sub("(?m)^#(?! )", "", text) if uncommented else text, encoding="utf-8")
    assert read_settings(str(path))[:2] == (DEFAULTS, ())


def test_the_table_and_the_settings_have_the_same_names():
    assert tuple(key.name for key in KEYS) == Settings._fields


def test_what_the_plugins_read_themselves_has_the_same_defaults():
    table = {key.name: key.default for key in KEYS}
    assert {name: table[name] for name in bridge.DEFAULTS} == bridge.DEFAULTS


def test_the_defaults_are_those_of_the_design():
    assert DEFAULTS.repos == ("xcp-ng-*",) and DEFAULTS.redirectors == ("mirrors.xcp-ng.org",)
    assert DEFAULTS.fallbacks == ("https://updates.xcp-ng.org/",) and DEFAULTS.fingerprints == (PIN,)
    assert (DEFAULTS.probe_mirrors, DEFAULTS.enough, DEFAULTS.connect_timeout, DEFAULTS.read_timeout) == (6, 3, 3, 4)
    assert (DEFAULTS.deadline, DEFAULTS.refresh_after, DEFAULTS.require_https, DEFAULTS.on_unreachable) == (8, 900, True, "stock")


# Values


@pytest.mark.parametrize(
    "key, text, value",
    [
        ("enabled", "False", False),
        ("enabled", "YES", True),
        ("repos", "xcp-ng-*, other\n third", ("xcp-ng-*", "other", "third")),
        ("redirectors", "Mirrors.Example:8080 [::1]:80", ("mirrors.example:8080", "[::1]:80")),
        ("fallbacks", "https://a.example/x", ("https://a.example/x/",)),
        ("fallbacks", "", ()),
        ("fingerprints", PIN.lower() + "," + "0" * 40, (PIN, "0" * 40)),
        ("deadline", "2.5", 2.5),
        ("refresh_after", "0", 0),
        ("max_age", "2", 172800),
        ("on_unreachable", "ABORT", "abort"),
        ("deny", "cn, bad.example:8443", ("cn", "bad.example:8443")),
        ("state_dir", "/srv/with space", "/srv/with space"),
    ],
)
def test_values_are_read_into_their_types(key, text, value):
    settings, warnings, origins, _ = read_values({key: text})
    assert getattr(settings, key) == value and type(getattr(settings, key)) is type(getattr(DEFAULTS, key))
    assert warnings == () and origins[key].line == 2


@pytest.mark.parametrize(
    "key, text",
    [
        ("enabled", "perhaps"),
        ("command", "bin/xcpng-mirrors"),
        ("state_dir", "/a\x07b"),
        ("log_file", ""),
        ("repos", ""),
        ("repos", "x " * 65),
        ("repos", "bad/id"),
        ("redirectors", "https://mirrors.example/"),
        ("redirectors", "mirrors.example/path"),
        ("redirectors", "user@mirrors.example"),
        ("redirectors", "mirrors.example:0"),
        ("fallbacks", "ftp://a.example/"),
        ("fallbacks", "https://user:secret@a.example/"),
        ("fingerprints", ""),
        ("fingerprints", "3FD3AC9E"),
        ("fingerprints", PIN + " x"),
        ("fingerprints", " ".join([PIN] * 17)),
        ("fingerprints", PIN + "\u0130"),
        ("probe_mirrors", "0"),
        ("probe_mirrors", "-1"),
        ("probe_mirrors", "65"),
        ("probe_mirrors", "six"),
        ("probe_mirrors", "6.5"),
        ("probe_mirrors", "9" * 4000),
        ("deadline", "nan"),
        ("deadline", "inf"),
        ("deadline", "-inf"),
        ("deadline", "1e400"),
        ("connect_timeout", ""),
        ("max_age", "-1"),
        ("on_unreachable", "stock|abort"),
        ("log_level", "loud"),
        ("minrate", "5k"),
        ("prefer", "de;rm"),
        ("prefer", "x" * (MAX_VALUE_CHARACTERS + 1)),
    ],
)
def test_a_value_that_cannot_be_used_is_told_and_the_default_is_used(key, text):
    settings, (warning,), origins, _ = read_values({key: text})
    assert settings == DEFAULTS and origins == {}
    assert ".conf: line 2: {}: ".format(key) in warning and "secret" not in warning


@pytest.mark.parametrize("values, told", [
    ({"enough": "7"}, True), ({"probe_mirrors": "2"}, True), ({"probe_mirrors": "2", "enough": "3"}, True),
    ({"enough": "6"}, False), ({"probe_mirrors": "3"}, False)])  # fmt: skip
def test_more_mirrors_that_must_agree_than_are_asked_at_first_is_told(values, told):
    warnings = read_values(values).warnings
    assert len(warnings) == told and all("line" in warning and "probe_mirrors" in warning for warning in warnings)


# The file


def write(folder, data):
    path = folder / "x.conf"
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
    return str(path)


def test_a_missing_file_means_the_defaults_without_a_word(tmp_path):
    assert read_settings(str(tmp_path / "none.conf")) == (DEFAULTS, (), {}, ())


@pytest.mark.parametrize("path", [".", "\0"])
def test_a_file_that_cannot_be_read_means_the_defaults_and_a_warning(path):
    settings, (warning,) = read_settings(path)[:2]
    assert settings == DEFAULTS and "cannot be read" in warning


@pytest.mark.parametrize(
    "text, line, word",
    [
        ("[main]\nenough=2\nprobe=3\n", 3, "unknown key 'probe'"),
        ("# x\n[main]\n\ndeadline = soon\nenough=2\n", 4, "deadline"),
        ("[main]\nenough=1\nenough=2\n", 3, "twice"),
        ("[main]\nenough=2\n[other]\nenough=9\n", 4, "only [main]"),
        ("enough=5\n[main]\nenough=2\n", 1, "neither"),
        ("[main]\nnonsense\nenough=2\n", 2, "neither"),
        ("[main]\nenough=2\n=3\n", 3, "neither"),
        ("[main\n[main]\nenough=2\n", 1, "neither"),
    ],
)
def test_each_problem_is_told_with_its_line_and_the_rest_is_used(tmp_path, text, line, word):
    path = write(tmp_path, text)
    settings, (warning,) = read_settings(path)[:2]
    assert settings == DEFAULTS._replace(enough=2)
    assert warning.startswith("{}: line {}: ".format(path, line)) and word in warning


@pytest.mark.parametrize(
    "data, word",
    [
        (b"\xef\xbb\xbf[main]\r\nenough = 2\r\n", ""),
        (b"[main]\nenough=2\0\n", "NUL"),
        (b"[main]\n# caf\xe9\nenough=2\n", "not UTF-8"),
        (b"[main]\nenough=2\n#" + b"x" * MAX_BYTES + b"\nenough=9\n", "larger than"),
        (b"[main]\nenough: 2\n", ""),
        (b"[main]\nENOUGH=2\n; deadline=1\n", ""),
        (b"[main]\nprefer=%(x)s\nenough=2\n", "prefer"),  # no interpolation, so no such host
    ],
)
def test_damaged_files_are_read_as_far_as_they_can_be(tmp_path, data, word):
    settings, warnings = read_settings(write(tmp_path, data))[:2]
    assert settings == DEFAULTS._replace(enough=2)
    assert len(warnings) == bool(word) and all(word in warning for warning in warnings)


@pytest.mark.parametrize(
    "data",
    [
        b"\x7fELF\0\1\2",
        b"<xml/>",
        b"[main",
        b"]" * 5000,
        b"=" * 5000,
        b"\n=\n" * 50000,
        b"\xff\xfe[\0m\0",
        b"[main]\n\x1bk=1\n\x1bk=2",
    ],
)
def test_an_unparsable_file_means_the_defaults_and_few_warnings(tmp_path, data):
    settings, warnings = read_settings(write(tmp_path, data))[:2]
    assert settings == DEFAULTS and 1 <= len(warnings) <= MAX_WARNINGS + 1
    assert all(warning.isprintable() for warning in warnings)


@pytest.mark.parametrize("piece", [b" ", b"a", b"=", b"a \n", b"a=1\n", b" x\n", b"[", b"[a]\n", b"a" + b" " * 1000])
def test_the_largest_file_of_anything_takes_linear_time(piece):
    data = b"[main]\nk=v\n" + piece * (MAX_BYTES // len(piece))
    begin = time.process_time()
    parse_ini(data)
    assert time.process_time() - begin < 5


def test_what_is_beyond_the_size_limit_is_not_read():
    content = parse_ini(b"[a]\nb=1\n" + b"#" * MAX_BYTES + b"\nc=2\n")
    assert content.entries == (IniEntry("a", "b", "1", 2),) and len(content.problems) == 1


def test_continued_lines_belong_to_their_key():
    content = parse_ini(b"[a]\nbaseurl=http://x/\n  http://y/\n\n\thttp://z/\n[b]\n stray\nk=v=w:u\n")
    assert content.entries == (
        IniEntry("a", "baseurl", "http://x/\nhttp://y/\nhttp://z/", 2),
        IniEntry("b", "k", "v=w:u", 8),
    )
    assert content.problems == ("line 7: neither [section] nor key=value in a section",)


# Repositories out of a plugin's request


def test_a_plugins_request_becomes_a_repository():
    values = dict(
        REQUEST, proxy="http://p.example:3128", proxy_username="u", proxy_password="pä", username="me", password="secret",
        sslverify=False, sslcacert="/ca.pem", sslclientcert="/c.pem", sslclientkey="/k.pem", ip_resolve="IPv4",
        proxy_auth_method="Any",
    )  # fmt: skip
    network = Network("http://p.example:3128", "u", "pä", "any", "me", "secret", False, "/ca.pem", "/c.pem", "/k.pem", 4, REACH)
    assert repository_from_request(values, DEFAULTS) == EXPECTED._replace(network=network)


def test_what_is_not_set_is_the_default():
    values = dict.fromkeys("proxy proxy_username username password sslverify sslcacert ip_resolve".split())
    assert repository_from_request(dict(REQUEST, **values), DEFAULTS) == EXPECTED == repository_from_request(REQUEST, DEFAULTS)


def test_the_admin_has_named_what_base_urls_fallbacks_preferred_and_redirectors_name():
    settings = DEFAULTS._replace(prefer=("DE", "Mirror.test", "peer.test:8080"), redirectors=("mirrors.xcp-ng.org", "[::1]:81"),
                                 fallbacks=("https://origin.test:1/",), allow_networks=("10.0.0.0/8",))
    reach = reach_of(["http://own.test/a/", "https://own.test/b/"], settings)
    assert reach.own == ("http://own.test:80", "https://own.test:443") and reach.networks == ("10.0.0.0/8",)
    assert reach.redirectors == ("mirrors.xcp-ng.org", "::1")
    assert {"own.test", "origin.test", "mirrors.xcp-ng.org", "::1", "mirror.test", "peer.test"} <= set(reach.hosts)


@pytest.mark.parametrize("given, proxy", [(None, None), ("", ""), ("_none_", ""), (" http://p:1 ", "http://p:1")])
def test_no_proxy_and_the_environments_proxy_are_told_apart(given, proxy):
    assert repository_from_request(dict(REQUEST, proxy=given), DEFAULTS).network.proxy == proxy


@pytest.mark.parametrize("given, family", [("whatever", 0), (0, 0), (4, 4), ("6", 6), ("IPv6", 6)])
def test_the_address_family_is_read_in_every_spelling(given, family):
    assert repository_from_request(dict(REQUEST, ip_resolve=given), DEFAULTS).network.ip_resolve == family


def test_unusable_baseurls_and_keys_from_the_network_are_left_out():
    values = dict(REQUEST, base_urls=["ftp://x/", BASE_URLS[1]], gpgkeys=["https://x/key", "file://localhost/a%20b"])
    assert repository_from_request(values, DEFAULTS) == EXPECTED._replace(
        base_urls=BASE_URLS[1:], path="", key_paths=("/a b",), network=Network(reach=reach_of(BASE_URLS[1:], DEFAULTS)))


DEEP = json.loads("[" * 900 + "]" * 900)


@pytest.mark.parametrize(
    "change, word",
    [
        ({"id": "../etc"}, "id"),
        ({"id": ""}, "id"),
        ({"id": None}, "id"),
        ({"id": DEEP}, "text"),
        ({"id": "x" * 200}, "id"),
        ({"base_urls": []}, "no baseurl="),
        ({"base_urls": None}, "no baseurl="),
        ({"base_urls": "http://x/"}, "list"),
        ({"base_urls": [1]}, "list"),
        ({"base_urls": ["http://x/"] * 65}, "list"),
        ({"base_urls": ["http://[x/"]}, "baseurl="),
        ({"base_urls": ["http://u:secret@x/"]}, "user or password"),
        ({"base_urls": [BASE_URLS[0], "http://HTTPS///updates.xcp-ng.org/8/"]}, "caching proxy"),
        ({"gpgkeys": []}, "gpgkey="),
        ({"gpgkeys": ["https://x/key"]}, "gpgkey="),
        ({"gpgkeys": ["file://elsewhere/key"]}, "gpgkey="),
        ({"gpgkeys": ["file://[x"]}, ""),
        ({"gpgkeys": ["file:relative"]}, "absolute"),
        ({"gpgkeys": ["file:///a%00b"]}, "absolute"),
        ({"proxy": ["http://x"]}, "text"),
        ({"proxy": "http://x\r\nHost: y"}, "control"),
        ({"password": "x" * 5000}, "text"),
        ({"sslverify": "perhaps"}, "neither"),
        ({"ip_resolve": "5"}, "ip_resolve="),
        ({"ip_resolve": float("nan")}, "text"),
        ({"ip_resolve": 10**4000}, "text"),
    ],
)
def test_a_request_that_cannot_be_used_is_refused_with_its_reason(change, word):
    with pytest.raises(UsageError) as refusal:
        repository_from_request(dict(REQUEST, **change), DEFAULTS)
    assert refusal.value.reference == "configuration" and word in refusal.value.what and "secret" not in str(refusal.value)


@pytest.mark.parametrize("values", [None, [], "x", 7])
def test_a_request_that_is_no_object_is_refused(values):
    with pytest.raises(UsageError):
        repository_from_request(values, DEFAULTS)


@pytest.mark.parametrize(
    "urls, redirectors, path",
    [
        (BASE_URLS, ("mirrors.xcp-ng.org",), "8/8.3/updates/x86_64/"),
        (BASE_URLS[::-1], ("mirrors.xcp-ng.org",), "8/8.3/updates/x86_64/"),
        (("http://MIRRORS.xcp-ng.org:8080/a/",), ("mirrors.xcp-ng.org",), "a/"),
        (("http://m.example:8080/a/",), ("m.example:8080",), "a/"),
        (("http://m.example:8081/a/",), ("m.example:8080",), ""),
        (("http://mirrors.xcp-ng.org.evil.example/a/",), ("mirrors.xcp-ng.org",), ""),
        (BASE_URLS, (), ""),
        ((), ("m.example",), ""),
    ],
)
def test_the_path_is_that_of_the_first_baseurl_on_a_redirector(urls, redirectors, path):
    assert repository_path(urls, redirectors) == path


# Repositories out of .repo files


def repositories(folder, text, **more):
    (folder / "x.repo").write_text(text, encoding="utf-8")
    return read_repositories(str(folder), DEFAULTS, more.pop("variables", {}), **more)


def test_the_real_repo_file_gives_its_enabled_repositories(shared_data, tmp_path):
    shutil.copy(str(shared_data / "xcp-ng.repo"), str(tmp_path))
    found, warnings = read_repositories(str(tmp_path), DEFAULTS, {})
    assert [repository.id for repository in found] == ["xcp-ng-base", "xcp-ng-updates"] and warnings == ()
    assert found[1] == EXPECTED
    everything, _ = read_repositories(str(tmp_path), DEFAULTS, {}, include_disabled=True)
    assert len(everything) == 7
    (lab,), _ = read_repositories(str(tmp_path), DEFAULTS, {}, ids=["xcp-ng-lab", "unknown"])
    assert lab.path == "8/8.3/lab/x86_64/"


def test_only_repositories_that_the_conf_names_are_looked_after(tmp_path):
    other = SECTION.replace("xcp-ng-updates", "epel")
    assert repositories(tmp_path, other + SECTION) == ((EXPECTED,), ())
    assert repositories(tmp_path, other + SECTION, ids=["epel"]) == ((), ())


@pytest.mark.parametrize(
    "text, word",
    [
        ("mirrorlist=https://x/", "mirrorlist="),
        ("metalink=file:///x", "metalink="),
        ("baseurl=http://HTTPS///updates.xcp-ng.org/8/", "caching proxy"),
        ("baseurl=ftp://x/", "neither http nor https"),
        ("baseurl=", "no baseurl="),
        ("baseurl=https://x/$releasever/", "$variable"),
        ("baseurl=https://x/" + "y" * 20000, "too long"),
        ("gpgkey=https://x/key", "gpgkey="),
        ("enabled=perhaps", "enabled="),
        ("sslverify=perhaps", "neither 1 nor 0"),
    ],
)
def test_a_section_that_is_not_for_us_is_left_as_it_is_with_its_reason(tmp_path, text, word):
    found, (warning,) = repositories(tmp_path, SECTION + text + "\n")
    assert found == () and warning.startswith("xcp-ng-updates: ") and word in warning


def test_a_disabled_section_that_is_not_for_us_is_not_worth_a_word(tmp_path):
    assert repositories(tmp_path, SECTION + "enabled=0\nmetalink=https://x/\n") == ((), ())


def test_network_settings_come_from_the_section_then_from_main(tmp_path):
    main = {"proxy": "http://main:1", "sslcacert": "/main.pem", "ip_resolve": "4", "baseurl": "http://never/"}
    (found,), _ = repositories(tmp_path, SECTION + "proxy=_none_\nsslverify=0\n", main=main)
    expected = EXPECTED.network._replace(proxy="", ssl_verify=False, ssl_ca_cert="/main.pem", ip_resolve=4)
    assert found == EXPECTED._replace(network=expected)


def test_lists_may_be_separated_by_commas_and_lines_and_hold_variables(tmp_path):
    text = SECTION.replace("baseurl=", "baseurl=https://a/${releasever}/$BASEARCH,\n  https://b/$releasever\n ")
    (found,), _ = repositories(tmp_path, text, variables={"releasever": "8.3", "basearch": "x86_64"})
    assert found.base_urls[:2] == ("https://a/8.3/x86_64/", "https://b/8.3/")


@pytest.mark.parametrize(
    "text, result",
    [("$a", "1"), ("${a}", "1"), ("$A$a", "11"), ("$ab/$a-$b", "$ab/1-$a"), ("$", "$"), ("${a", "${a"), ("$$a", "$1")],
)
def test_variables_are_replaced_once(text, result):
    assert replace_variables(text, {"a": "1", "b": "$a"}) == result


def test_files_are_read_by_name_and_a_section_counts_once(tmp_path):
    (tmp_path / "a.repo").write_text(SECTION, encoding="utf-8")
    (tmp_path / "b.repo").write_text("broken\n" + SECTION.replace("/8/", "/9/"), encoding="utf-8")
    (tmp_path / ".c.repo").write_text(SECTION, encoding="utf-8")
    (tmp_path / "d.repo.rpmnew").write_text(SECTION, encoding="utf-8")
    (tmp_path / "e.repo").symlink_to(tmp_path / "nowhere")
    found, warnings = read_repositories(str(tmp_path), DEFAULTS, {})
    assert found == (EXPECTED,)
    assert [re.sub(".*/", "", warning) for warning in warnings] == [
        "b.repo: line 1: neither [section] nor key=value in a section",
        "a.repo already",
        "e.repo: cannot be read",
    ]


def test_no_folder_means_no_repository(tmp_path):
    assert read_repositories(str(tmp_path / "none"), DEFAULTS, {}) == ((), ())


# The host


def test_the_hosts_variables_are_guessed_from_its_files(tmp_path):
    for name, text in (
        ("etc/os-release", 'NAME="XCP-ng"\nVERSION_ID="8.3.0"\n'),
        ("etc/yum/vars/infra", "stock\nmore"),
        ("etc/yum/vars/Both", "yum"),
        ("etc/dnf/vars/both", "dnf\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    variables = host_variables(str(tmp_path))
    assert (variables["releasever"], variables["infra"], variables["both"]) == ("8.3.0", "stock", "dnf")


@pytest.mark.parametrize(
    "machine, basearch", [("x86_64", "x86_64"), ("amd64", "x86_64"), ("i686", "i386"), ("aarch64", "aarch64")]
)
def test_the_architecture_is_named_as_dnf_names_it(monkeypatch, tmp_path, machine, basearch):
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert host_variables(str(tmp_path))["basearch"] == basearch


@pytest.mark.parametrize("files, proxy", [(["dnf/dnf.conf", "yum.conf"], "dnf/dnf.conf"), (["yum.conf"], "yum.conf"), ([], None)])
def test_main_is_read_from_dnf_conf_or_else_from_yum_conf(tmp_path, files, proxy):
    (tmp_path / "etc" / "dnf").mkdir(parents=True)
    for name in files:
        (tmp_path / "etc" / name).write_text("[other]\nproxy=x\n[main]\nproxy={}\n".format(name), encoding="utf-8")
    assert main_options(str(tmp_path)).get("proxy") == proxy


def test_no_link_of_another_root_leads_its_repo_files_and_variables_out_of_it(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "etc/yum.repos.d", root / "etc/yum/vars", outside):
        folder.mkdir(parents=True)
    (outside / "secret").write_text("[xcp-ng-x]\nbaseurl=https://a.test/\ngpgkey=file:///k\n")
    for path in ("etc/yum.repos.d/x.repo", "etc/yum/vars/site", "etc/os-release", "etc/yum.conf"):
        (root / path).symlink_to(outside / "secret")
    assert read_repositories(str(root / "etc/yum.repos.d"), DEFAULTS, {}, root=str(root)) == ((), ())
    assert host_variables(str(root))["site"] == "" and main_options(str(root)) == {}
    (root / "real.repo").write_text((outside / "secret").read_text())
    (root / "etc/yum.repos.d/y.repo").symlink_to("/real.repo")  # as a program in that root sees it
    (found,), _ = read_repositories(str(root / "etc/yum.repos.d"), DEFAULTS, {}, root=str(root))
    assert found.id == "xcp-ng-x"
