"""Checks for URLs and paths that come from the network. Pure.

Every host name, path or file name of a mirror list, a redirect or metadata passes through here first.
"""
import re
from urllib.parse import quote, unquote, urlsplit

MAX_URL_CHARACTERS = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_DECODING_ROUNDS = 3  # "%252e" is "%2e" is "."; a path that is still encoded after that is refused
# Not quoted: RFC 3986 section 3.3, and what is quoted already. "+" is, as librepo does it: some stores read it as a space.
_PATH_CHARACTERS = "/%:@!$&'()*,;=~"
_VISIBLE = re.compile(r"^[\x21-\x7e]+\Z")
_HOST = re.compile(r"^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?\Z")
_PORT = re.compile(r"^:[1-9][0-9]{0,4}\Z")  # without zeros before it: one server has one name
_IPV6 = re.compile(r"^[0-9A-Fa-f:.]{2,45}\Z")
_REPOSITORY_ID = re.compile(r"^[A-Za-z0-9_.:-]{1,128}\Z")  # the characters that dnf/repo.py:repo_id_invalid allows


def clean_base_url(text: str) -> str:
    """Check the base URL of a mirror.

    Args:
        text: of the source; a missing final "/" is added.

    Returns:
        The URL, ending in "/": http or https, an ASCII host without user or password,
        no query, fragment, dot segment, backslash, white space or control character.

    Raises:
        ValueError: it is none; the message says what is wrong and repeats nothing of the text.
    """
    if not 0 < len(text) <= MAX_URL_CHARACTERS:
        raise ValueError("empty or longer than {} characters".format(MAX_URL_CHARACTERS))
    if not _VISIBLE.match(text):
        raise ValueError("white space, control or non-ASCII characters in the URL")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError("neither http nor https")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("a query or fragment in a base URL")
    _check_authority(parts.netloc)
    path = parts.path[1:-1] if parts.path.endswith("/") else parts.path[1:]
    if path:
        safe_path(path)
    return text if text.endswith("/") else text + "/"


def _check_authority(netloc: str) -> None:
    """Raise ValueError unless ``netloc`` is HOST, HOST:PORT, [IPV6] or [IPV6]:PORT."""
    if "@" in netloc:
        raise ValueError("a user or password in the URL")
    end = netloc.find("]") + 1 if netloc.startswith("[") else (netloc + ":").find(":")
    host, after = netloc[:end], netloc[end:]
    known = _IPV6.match(host[1:-1]) if netloc.startswith("[") else _HOST.match(host)
    if not known or ".." in host:
        raise ValueError("no valid host name in the URL")
    if after and not (_PORT.match(after) and int(after[1:]) < 65536):
        raise ValueError("no valid port in the URL")


def safe_path(text: str) -> str:
    """Check a relative path of metadata (``location href``).

    Against CVE-2020-14352 (librepo: ``..``) and its escaped variants.

    Args:
        text: the path, relative to its repository.

    Returns:
        ``text``, unchanged.

    Raises:
        ValueError: it is absolute, leaves its folder, or hides something, encoded or not.
    """
    if not 0 < len(text) <= MAX_URL_CHARACTERS:
        raise ValueError("an empty or overlong path")
    plain = text
    for _ in range(MAX_DECODING_ROUNDS):
        _check_plain_path(plain)
        decoded = unquote(plain, errors="strict")
        if decoded == plain:
            return text
        plain = decoded
    raise ValueError("a path encoded more than {} times".format(MAX_DECODING_ROUNDS - 1))


def _check_plain_path(path: str) -> None:
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        raise ValueError("control characters in a path")
    if "\\" in path or "://" in path or path.startswith("/"):
        raise ValueError("an absolute path or a backslash")
    if "?" in path or "#" in path:
        raise ValueError("a query or fragment in a path")
    if any(segment in ("", ".", "..") for segment in path.split("/")):
        raise ValueError("a path with empty or dot segments")


def quoted_path(path: str) -> str:
    """Escape the path of a file for a request; what is escaped already stays."""
    return quote(path, safe=_PATH_CHARACTERS, errors="surrogateescape")


def safe_repository_id(text: str) -> str:
    """Check that a repository id is safe as the name of a folder.

    Raises:
        ValueError: it has other characters than dnf allows, or is a dot segment.
    """
    if not is_safe_repository_id(text):
        raise ValueError("a repository id that is no safe file name")
    return text


def is_safe_repository_id(text: str) -> bool:
    """Whether ``safe_repository_id`` takes an id."""
    return bool(_REPOSITORY_ID.match(text)) and not text.startswith(".")


def host_of(url: str) -> str:
    """Return the host name of a URL in lower case, without the port; "" if there is none."""
    return (urlsplit(url).hostname or "").lower()


def authority_of(url: str) -> str:
    """Return host and port of a URL in lower case, as written."""
    return urlsplit(url).netloc.lower()


def port_of(url: str) -> int:
    """Return the port of an http or https URL, the scheme's own if none is written."""
    parts = urlsplit(url)
    return parts.port or DEFAULT_PORTS[parts.scheme]
