"""Who is asked: the redirector's list, what is remembered, the .repo file's own baseurls and the fallbacks."""
import pytest

from yum_plugin.model import Mirror, MirrorList, Network, Reach, Repository
from yum_plugin.resolve.candidates import ListRules, candidates, settled_list
from yum_plugin.resolve.download_plan import sources_of
from yum_plugin.sources.redirector import PAGE, SELECTION
from yum_plugin.state.memory import Memory, known_list

from .support.world import DEFAULTS, NOW, mirror

PATH = "8/8.3/updates/x86_64/"
RULES = ListRules(("mirrors.test", "mirrors.test:8080"), ("https://origin.test/",), (), (), True)


def listed(*names, sha256="", **values):
    return MirrorList(tuple(mirror(name, **values) for name in names), sha256)


def urls(mirrors):
    return [each.url for each in mirrors]


def based(*names):
    return ["https://{}.test/{}".format(name, PATH) for name in names]


KNOWN = MirrorList(tuple(Mirror(url, source="known") for url in based("k")), "d" * 64)


@pytest.mark.parametrize("arrived, waited, expected", [
    ({}, False, None),
    ({}, True, based("k")),
    ({PAGE: listed("p")}, False, based("p")),
    ({SELECTION: listed("s")}, False, None),
    ({SELECTION: listed("s")}, True, based("s")),  # a fresh answer in hand is better than a memory
    ({PAGE: None}, False, None),
    ({PAGE: None, SELECTION: listed("s")}, False, based("s")),
    ({PAGE: listed("p", "q"), SELECTION: listed("q", "s")}, False, based("p", "q", "s")),
    ({SELECTION: listed("s"), PAGE: listed("p")}, False, based("p", "s")),
    ({PAGE: None, SELECTION: None}, False, based("k")),
    ({PAGE: MirrorList(()), SELECTION: None}, False, based("k")),
])
def test_a_list_is_settled_on(arrived, waited, expected):
    found = settled_list(arrived, KNOWN, PATH, waited)
    assert (found and urls(found.mirrors)) == expected


def test_without_any_list_at_all_there_are_still_the_baseurls():
    assert settled_list({}, MirrorList(()), PATH, False) is None
    assert settled_list({}, MirrorList(()), PATH, True) == MirrorList(())
    assert settled_list({PAGE: None, SELECTION: None}, MirrorList(()), PATH, True) == MirrorList(())


def test_the_digest_that_a_fresh_list_names_counts_and_a_remembered_one_does_not():
    assert settled_list({PAGE: listed("p", sha256="a" * 64)}, KNOWN, PATH, False).sha256 == "a" * 64
    assert settled_list({PAGE: None, SELECTION: None}, KNOWN, PATH, False).sha256 == ""


def test_http_and_https_twins_of_the_sources_are_one_mirror_asked_by_https():
    page = MirrorList((Mirror("http://twin.test/", rank=1),))
    selection = MirrorList((Mirror("https://twin.test/", rank=1),))
    found = settled_list({PAGE: page, SELECTION: selection}, KNOWN, PATH, False)
    assert urls(found.mirrors) == based("twin")


def repository(*base_urls, path=PATH):
    return Repository("xcp-ng-updates", base_urls, path, ("/key",), ())


STOCK = repository("http://mirrors.test/" + PATH, "http://origin.test/" + PATH)


def based_list(*names, **values):
    return MirrorList(tuple(mirror(name, **values)._replace(url="https://{}.test/{}".format(name, PATH)) for name in names))


def test_the_stock_repo_file_asks_the_list_first_and_the_origin_once_and_by_https():
    found = candidates(STOCK, based_list("a", "b"), [], RULES)
    assert urls(found.mirrors) == based("a", "b")
    assert urls(found.origins) == based("origin") and found.origins[0].source == "origin"


def test_a_redirector_with_a_port_is_no_mirror_either():
    found = candidates(repository("http://mirrors.test:8080/" + PATH), based_list("a"), [], RULES)
    assert urls(found.mirrors + found.origins) == based("a", "origin")


def test_an_own_http_baseurl_is_used_whatever_require_https_says_for_it_was_typed_on_purpose():
    own = "http://10.0.0.1/" + PATH
    assert own in urls(candidates(repository("http://mirrors.test/" + PATH, own), based_list("a"), [], RULES).origins)
    alone = candidates(repository(own, path=""), MirrorList(()), [], RULES)
    assert urls(alone.mirrors) == [own] and alone.origins == (), "no redirector: no fallback either"


def test_a_listed_http_mirror_is_left_out_unless_require_https_is_off():
    plain = MirrorList((Mirror("http://a.test/" + PATH),))
    assert candidates(STOCK, plain, [], RULES).mirrors == ()
    assert "https" in candidates(STOCK, plain, [], RULES).left_out[0][1]
    assert urls(candidates(STOCK, plain, [], RULES._replace(require_https=False)).mirrors) == ["http://a.test/" + PATH]


LISTED_PLACES = [  # of a mirror or fallback in a list, the reason why it is left out, and whether http is what stops it
    ("http://a.test/", "no https"), ("https://a.test:8443/", "port"), ("https://127.0.0.1/", "address"), ("https://[::1]/", "address"),
    ("https://2130706433/", "address"), ("https://a.test/", "")]


@pytest.mark.parametrize("root, reason", LISTED_PLACES)
@pytest.mark.parametrize("source", ["list-page", "origin"])
def test_the_fallbacks_of_a_list_are_no_better_than_its_mirrors(source, root, reason):
    reach = Reach(hosts=("mirrors.test", "origin.test"))
    stock = STOCK._replace(network=Network(reach=reach))
    found = candidates(stock, MirrorList((Mirror(root + PATH, source=source),)), [], RULES)
    asked = urls(found.mirrors + found.origins)
    assert (root + PATH in asked) == (not reason) and "https://origin.test/" + PATH in asked
    assert [(each.url, reason in words) for each, words in found.left_out] == [(root + PATH, True)] * bool(reason)
    allowed = stock._replace(network=Network(reach=reach._replace(networks=("127.0.0.0/8", "::1/128"))))
    widened = candidates(allowed, MirrorList((Mirror(root + PATH, source=source),)), [], RULES)
    assert (root + PATH in urls(widened.mirrors + widened.origins)) == (root not in ("http://a.test/", "https://2130706433/"))


def test_fallbacks_and_base_urls_of_the_admin_are_used_as_they_are_typed():
    stock = repository("http://mirrors.test/" + PATH, "http://10.0.0.1:8080/" + PATH)._replace(network=Network(reach=Reach()))
    rules = RULES._replace(fallbacks=("http://127.0.0.1:81/",))
    assert urls(candidates(stock, MirrorList(()), [], rules).origins) == ["http://127.0.0.1:81/" + PATH, "http://10.0.0.1:8080/" + PATH]


def test_the_fallbacks_of_a_remembered_list_are_sources_of_packages_only_if_it_may_name_them():
    reach = Reach(hosts=("origin.test",))
    memory = Memory(tuple(Mirror(root + PATH, source="origin") for root, _ in LISTED_PLACES), usable=("https://b.test/" + PATH,))
    settings = DEFAULTS._replace(fallbacks=("https://origin.test/",))
    sources = sources_of(STOCK._replace(network=Network(reach=reach)), memory, settings, NOW)
    assert [source.url for source in sources] == [root + PATH for root in ("https://b.test/", "https://a.test/", "https://origin.test/")]


def test_preferred_denied_and_resting_mirrors():
    rules = RULES._replace(prefer=("c.test",), deny=("b.test", "DE"))
    entries = based_list("a", "b", "c").mirrors + based_list("d", country="DE").mirrors
    found = candidates(STOCK, MirrorList(entries), ["a.test"], rules)
    assert urls(found.mirrors) == based("c", "a")
    assert [each.name for each, _ in found.left_out] == ["b", "d"]


def test_a_denied_origin_is_not_asked():
    assert candidates(STOCK, based_list("a"), [], RULES._replace(deny=("origin.test",))).origins == ()


def test_a_list_of_fallbacks_only_is_the_origin_not_mirrors():
    found = candidates(STOCK, based_list("origin", "second", source="origin"), [], RULES)
    assert found.mirrors == () and urls(found.origins) == based("origin", "second")


def test_a_fallback_stays_an_origin_when_the_list_is_remembered():
    memory = Memory(mirrors=based_list("origin", source="origin").mirrors + based_list("a", source="list-page").mirrors)
    assert [each.source for each in known_list(memory).mirrors] == ["origin", "known"]


def test_an_origin_that_is_listed_as_a_mirror_is_asked_once():
    found = candidates(STOCK, based_list("origin", "a"), [], RULES)
    assert urls(found.mirrors) == based("origin", "a") and found.origins == ()


def test_an_own_baseurl_by_http_is_not_asked_beside_the_same_mirror_listed_by_https():
    twin = repository("http://mirrors.test/" + PATH, "http://a.test/" + PATH)
    found = candidates(twin, based_list("a"), [], RULES)
    assert urls(found.mirrors + found.origins) == based("a", "origin")


@pytest.mark.parametrize("typed, prefer, failed, expected", [
    ("http://lan.test/x/ R", (), (), ["http://lan.test/x/", "m", "n"]),  # as yum (failovermethod=priority) and dnf take it
    ("http://lan.test/x/ http://lan2.test/x/ R", (), (), ["http://lan.test/x/", "http://lan2.test/x/", "m", "n"]),
    ("http://lan.test/x/ R", ("n.test",), (), ["http://lan.test/x/", "n", "m"]),
    ("http://lan.test/x/ R", (), ("lan.test",), ["m", "n", "http://lan.test/x/"]),
    ("R http://lan.test/x/", (), (), ["m", "n"]),
    ("R http://lan.test/x/", ("lan.test",), (), ["http://lan.test/x/", "m", "n"]),
    ("https://origin.test/x/ R", (), (), ["m", "n"]),  # thousands of hosts must not begin there
    ("http://n.test/{0} R", (), (), ["n", "m"]),  # the list names it by https
])
def test_a_place_of_ones_own_that_is_typed_before_the_redirector_or_named_by_prefer_comes_first(typed, prefer, failed, expected):
    redirector = "https://mirrors.test/" + PATH
    texts = tuple(typed.format(PATH).replace("R", redirector).split())
    repository = Repository("r", texts, PATH, (), ())
    offered = MirrorList(tuple(Mirror(url) for url in based("m", "n")))
    found = candidates(repository, offered, failed, RULES._replace(prefer=prefer))
    assert urls(found.mirrors) == [based(each)[0] if len(each) == 1 else each for each in expected]
    assert "https://mirrors.test/" + PATH not in urls(found.origins)
