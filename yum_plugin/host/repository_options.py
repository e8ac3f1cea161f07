"""Turn the options of one repository, as a plugin or a .repo file gives them, into a checked ``Repository``."""
from typing import Any, List, Mapping, Sequence, Tuple
from urllib.parse import unquote, urlsplit

from ..errors import UsageError
from ..model import Network, Reach, Repository
from ..net.reach import place_of
from ..util.urls import authority_of, clean_base_url, host_of, safe_repository_id
from .own_copy import own_copy
from .settings import Settings, bounded_text, read_flag, read_path

MAX_URLS = 64  # baseurls of one repository
MAX_KEYS = 16  # gpgkeys of one repository
_FAMILIES = {"": 0, "0": 0, "whatever": 0, "4": 4, "ipv4": 4, "6": 6, "ipv6": 6}


def repository_from_request(values: object, settings: Settings, is_offline: bool = False) -> Repository:
    """Check the options of one repository.

    Args:
        values: a dictionary with id, base_urls, gpgkeys, repofile (its path), proxy, proxy_username,
            proxy_password, proxy_auth_method, username,
            password, sslverify, sslcacert, sslclientcert, sslclientkey, ip_resolve: texts as in the .repo file, with variables
            replaced; base_urls and gpgkeys are lists of texts; sslverify and ip_resolve may also be true/false and 4/6.
            A missing value or null means "not set"; ``proxy`` "" or "_none_" means "no proxy, even if the environment
            names one".
        settings: for the fingerprints and the redirectors.
        is_offline: nothing will be asked of its servers: base URLs of any kind will do (file:, or with a password), and the
            network settings are not looked at.

    Returns:
        The repository, without gpgkeys that are no files, and without baseurls that are neither http nor https if it has others.

    Raises:
        UsageError: own-copy: it is one, and ``is_offline`` is not set.
            configuration: the repository cannot be used and must be left as it is.
    """
    if not isinstance(values, dict):
        raise UsageError("configuration", "a repository that is no JSON object")
    name = values.get("id")
    try:
        typed = _texts(values, "base_urls", MAX_URLS)
        key_paths = _key_paths(_texts(values, "gpgkeys", MAX_KEYS))
        reason, named = own_copy(_text(values, "id"), typed, _text(values, "repofile"), key_paths, settings)
        if reason and not is_offline:
            raise UsageError("own-copy", reason, where=_text(values, "id"))
        base_urls = _base_urls(typed, is_offline)
        return Repository(
            id=safe_repository_id(_text(values, "id")),
            base_urls=base_urls,
            path=repository_path(base_urls, settings.redirectors),
            key_paths=key_paths,
            fingerprints=named if reason else settings.fingerprints,
            own_copy=reason,
            network=Network() if is_offline else _network(values)._replace(reach=reach_of(base_urls, settings)),
        )
    except ValueError as problem:
        where = name if isinstance(name, str) else ""
        raise UsageError("configuration", "the repository is left as it is: {}".format(problem), where=where) from None


def repository_path(base_urls: Sequence[str], redirectors: Sequence[str]) -> str:
    """Return the path of a repository below a mirror's root, as its first baseurl on a redirector has it.

    Args:
        base_urls: each ending in "/".
        redirectors: host or host:port, lower case.

    Returns:
        For example "8/8.3/updates/x86_64/"; "" if no baseurl is on a redirector.
    """
    for url in base_urls:
        if host_of(url) in redirectors or authority_of(url) in redirectors:
            return urlsplit(url).path.lstrip("/")
    return ""


def reach_of(base_urls: Sequence[str], settings: Settings) -> Reach:
    """Return what the admin has named: the places of some base URLs, and the hosts of the .conf."""
    named = [host_of(url) for url in tuple(base_urls) + settings.fallbacks]
    redirectors = [host_of("http://" + name) for name in settings.redirectors]
    preferred = [name.lower() for name in settings.prefer]  # countries are harmless here
    preferred += [name.rpartition(":")[0].strip("[]") for name in preferred]
    hosts = dict.fromkeys(filter(None, named + redirectors + preferred))
    return Reach(tuple(dict.fromkeys(map(place_of, base_urls))), tuple(hosts), tuple(redirectors), settings.allow_networks)


def _base_urls(texts: Sequence[str], any_will_do: bool) -> Tuple[str, ...]:
    """Return the usable baseurls; raise ValueError if there is none, or if one is rewritten for a caching proxy."""
    if any("://HTTPS///" in text.upper() for text in texts):
        raise ValueError("baseurl= goes through a caching proxy (http://HTTPS///)")
    usable, reason = [], "there is no baseurl="
    for text in texts:
        try:
            usable.append(clean_base_url(text))
        except ValueError as problem:
            reason = "baseurl=: {}".format(problem)
    if not usable and not any_will_do:
        raise ValueError(reason)
    return tuple(usable or texts)


def _key_paths(texts: Sequence[str]) -> Tuple[str, ...]:
    """Return the paths of file:// keys; raise ValueError if there is none."""
    files = [urlsplit(text) for text in texts if text.startswith("file:")]
    paths = tuple(read_path(unquote(url.path)) for url in files if url.netloc in ("", "localhost"))
    if not paths:
        raise ValueError("gpgkey= names no file:// key")
    return paths


def _network(values: Mapping[str, Any]) -> Network:
    proxy = _text(values, "proxy")
    family = _text(values, "ip_resolve").lower()
    if family not in _FAMILIES:
        raise ValueError("ip_resolve= is none of 4, 6 and whatever")
    return Network(
        proxy=None if values.get("proxy") is None else "" if proxy == "_none_" else proxy,
        proxy_username=_text(values, "proxy_username"),
        proxy_password=_text(values, "proxy_password"),
        proxy_auth_method=_text(values, "proxy_auth_method").lower(),
        username=_text(values, "username"),
        password=_text(values, "password"),
        ssl_verify=read_flag(_text(values, "sslverify") or "1"),
        ssl_ca_cert=_text(values, "sslcacert"),
        ssl_client_cert=_text(values, "sslclientcert"),
        ssl_client_key=_text(values, "sslclientkey"),
        ip_resolve=_FAMILIES[family],
    )


def _text(values: Mapping[str, Any], key: str) -> str:
    """Return a text, "" if it is not set; true, false and numbers are returned as in a file."""
    value = values.get(key)
    if value is None:
        return ""
    text = bounded_text(str(value) if value in (0, 1, 4, 6) else value)
    if not text.isprintable():
        raise ValueError("control characters in {}=".format(key))
    return text.strip()


def _texts(values: Mapping[str, Any], key: str, most: int) -> List[str]:
    found = values.get(key)
    if found is None:
        return []
    if not isinstance(found, (list, tuple)) or len(found) > most or not all(isinstance(text, str) for text in found):
        raise ValueError("{} is not a list of at most {} texts".format(key, most))
    return list(found)
