"""Whether a repository is a copy that its admin has made on purpose: by files of this host alone."""
import pytest

from tests.support import craft
from yum_plugin.host.own_copy import OTHER_KEY, UNSIGNED, own_copy

from .support.world import DEFAULTS

PINNED, OWN = craft.rsa_key("pinned"), craft.rsa_key("own")
SETTINGS = DEFAULTS._replace(redirectors=("r.test", "r2.test:8080"), fallbacks=("https://origin.test/",),
                             fingerprints=(PINNED.fingerprint,))
LAN = "http://lan.test/updates/"


@pytest.fixture
def judged(tmp_path):
    """A function that judges a repository with these values."""
    files = {}
    for name, key in (("pinned", PINNED), ("own", OWN)):
        files[name] = str(tmp_path / name)
        with open(files[name], "wb") as stream:
            stream.write(craft.armor(craft.key_packets(key), "PUBLIC KEY BLOCK"))
    files["both"] = str(tmp_path / "both")
    (tmp_path / "both").write_bytes(craft.armor(craft.key_packets(PINNED) + craft.key_packets(OWN), "PUBLIC KEY BLOCK"))
    files["damaged"] = str(tmp_path / "damaged")
    (tmp_path / "damaged").write_bytes(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n")

    def judge(urls=(LAN,), section="[x]\nrepo_gpgcheck=0\n", keys=("pinned",)):
        (tmp_path / "x.repo").write_text(section)
        return own_copy("x", urls, str(tmp_path / "x.repo"), [files.get(key, key) for key in keys], SETTINGS)

    return judge


@pytest.mark.parametrize("urls", [(LAN,), ("file:///srv/x/",), (LAN, "https://other.test/"), ("ftp://user:pw@lan.test/",)])
def test_own_copy_rule_2_a_check_that_is_switched_off_in_the_file_makes_a_copy(urls, judged):
    reason, named = judged(urls)
    assert UNSIGNED in reason and named == (PINNED.fingerprint,)


def test_own_copy_rule_2_a_key_of_ones_own_makes_a_copy_and_verifies_its_packages(judged):
    reason, named = judged(section="[x]\nrepo_gpgcheck=1\n", keys=("pinned", "own"))
    assert OTHER_KEY in reason and named == (PINNED.fingerprint, OWN.fingerprint)


@pytest.mark.parametrize("url", ["https://r.test/x/", "http://R.TEST:81/x/", "http://user:pw@r2.test:8080/", "http://origin.test/",
                                 "https://origin.test:8443/x/", "http://[::1/"])
def test_own_copy_rule_1_one_place_of_the_projects_own_is_enough_to_be_none(url, judged):
    assert judged((LAN, url)) == ("", ()) == judged((url,), keys=("own",))


@pytest.mark.parametrize("section", ["", "[x]\n", "[x]\nrepo_gpgcheck=1\n", "[main]\nrepo_gpgcheck=0\n", "[y]\nrepo_gpgcheck=0\n",
                                     "[x]\nrepo_gpgcheck=maybe\n", "[x]\nrepo_gpgcheck=0\nrepo_gpgcheck=1\n", "repo_gpgcheck=0\n"])
@pytest.mark.parametrize("keys", [("pinned",), ("both",), ("pinned", "both"), ("damaged",), ("/nonexistent",), ()])
def test_own_copy_rule_2_what_is_not_written_does_not_count(section, keys, judged):
    assert judged(section=section, keys=keys) == ("", ())


def test_own_copy_rule_1_a_repository_without_base_urls_is_none(judged):
    assert judged(()) == ("", ())
