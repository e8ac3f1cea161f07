"""Certificates of an authority that stands in for Let's Encrypt: the same names, roots and cross-signature, other keys.

Also the verdict of a real libcrypto on a chain, with and without X509_V_FLAG_TRUSTED_FIRST.
"""
import json
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any, Dict, Sequence

from tests.lab.ca import common_name, make_certificate, new_key, pem, pem_key

DAY = timedelta(days=1)
_NAMES = {
    "dst": common_name("DST Root CA X3", "Digital Signature Trust Co."),
    "x1": common_name("ISRG Root X1", "Internet Security Research Group"),
    "r3": common_name("R3", "Let's Encrypt"),
    "other-root": common_name("Some Root"),
    "other": common_name("Some CA"),
    "old-root": common_name("Old Root"),
}


class Authority:
    """Makes its certificates on first use.

    Args:
        present: seconds since 1970 around which what is not expired is valid.
    """

    def __init__(self, present: float) -> None:
        self.now = datetime.utcfromtimestamp(int(present))
        self.keys: Dict[str, Any] = {}
        self._made: Dict[Any, Any] = {}

    def key(self, who: str) -> Any:
        """The key of an authority or a leaf."""
        if who not in self.keys:
            self.keys[who] = new_key()
        return self.keys[who]

    def certificate(self, who: str, by: str, ends_in: timedelta = 90 * DAY, names: Sequence[str] = (),
                    forger: str = "") -> Any:
        """The certificate that ``by`` has given to ``who``.

        Args:
            who: a key of _NAMES, or a leaf's name.
            by: the same; ``who`` itself for a root.
            ends_in: days from now; negative: it has expired.
            names: what a leaf is for; empty for an authority.
            forger: whose key really signs it, if that is another's.
        """
        known = (who, by, ends_in, tuple(names), forger)
        if known not in self._made:
            times = (self.now - 1000 * DAY, self.now + ends_in)
            self._made[known] = make_certificate(
                _NAMES.get(who) or common_name(who), self.key(who), _NAMES.get(by) or common_name(by), self.key(by), times,
                names, self.key(forger) if forger else None)
        return self._made[known]

    def leaf(self, names: Sequence[str] = ("mirror.test",), by: str = "r3", **values: Any) -> Any:
        """A leaf."""
        return self.certificate("leaf", by, names=names, **values)

    @property
    def dst(self) -> Any:
        """DST Root CA X3, expired."""
        return self.certificate("dst", "dst", -30 * DAY)

    @property
    def x1(self) -> Any:
        """ISRG Root X1."""
        return self.certificate("x1", "x1")

    @property
    def namesake(self) -> Any:
        """A root with the name of ISRG Root X1, and another key."""
        times = (self.now - 1000 * DAY, self.now + 90 * DAY)
        return make_certificate(_NAMES["x1"], self.key("impostor"), _NAMES["x1"], self.key("impostor"), times)

    @property
    def x1_by_dst(self) -> Any:
        """ISRG Root X1, cross-signed by DST Root CA X3."""
        return self.certificate("x1", "dst")

    @property
    def r3(self) -> Any:
        """The intermediate."""
        return self.certificate("r3", "x1")

    def chains(self, names: Sequence[str] = ("mirror.test",)) -> Dict[str, Sequence[Any]]:
        """Chains as servers have them: name -> certificates, the leaf first."""
        leaf, other = self.leaf(names), self.certificate("other", "other-root")
        other_leaf = self.leaf(names, by="other")
        return {
            "long": (leaf, self.r3, self.x1_by_dst),
            "long, its order turned": (leaf, self.x1_by_dst, self.r3),
            "short": (leaf, self.r3),
            "short with the root": (leaf, self.r3, self.x1),
            "long with the expired root": (leaf, self.r3, self.x1_by_dst, self.dst),
            "both ways, the cross-signed first": (leaf, self.r3, self.x1_by_dst, self.x1),
            "both ways, the root first": (leaf, self.r3, self.x1, self.x1_by_dst),
            "leaf alone": (leaf,),
            "expired leaf, short": (self.leaf(names, ends_in=-3 * DAY), self.r3),
            "expired leaf, long": (self.leaf(names, ends_in=-3 * DAY), self.r3, self.x1_by_dst),
            "expired intermediate": (leaf, self.certificate("r3", "x1", -3 * DAY)),
            "forged leaf": (self.leaf(names, forger="other"), self.r3),
            "forged intermediate": (leaf, self.certificate("r3", "x1", forger="other")),
            "other authority": (other_leaf, other),
            "other authority, with an expired way up": (other_leaf, other, self.certificate("other-root", "old-root")),
            "unknown root": (self.leaf(names, by="nobody"), self.certificate("nobody", "nobody")),
            "unknown root not served": (self.leaf(names, by="nobody"),),
            "self-signed": (self.certificate("leaf", "leaf", names=names),),
            "self-signed authority": (self.certificate("nobody", "nobody"),),
            "a root as the leaf": (self.x1,),
            "an expired root as the leaf": (self.dst,),
            "strangers beside": (leaf, other, self.r3),
            "issued by a server": (self.leaf(names, by="server"), self.certificate("server", "r3", names=names), self.r3),
        }

    def stores(self) -> Dict[str, Sequence[Any]]:
        """Stores as clients have them: name -> roots."""
        good, other, old = (self.x1, self.certificate("other-root", "other-root"),
                            self.certificate("old-root", "old-root", -30 * DAY))
        return {
            "both": (self.dst, good, other, old),
            "both, the other way round": (old, other, good, self.dst),
            "new": (good, other),
            "old": (self.dst, old),
            "cross-signed only": (self.x1_by_dst, other),
            "with an intermediate": (self.dst, self.r3),
            "a namesake of another key first": (self.namesake, good, other),
        }


def pem_of(certificates: Sequence[Any], key: Any = None) -> bytes:
    """A file of certificates, and of the first one's key."""
    return (pem_key(key) if key is not None else b"") + b"".join(pem(each) for each in certificates)


_VERIFIER = r"""
import ctypes, json, sys
lib = ctypes.CDLL(sys.argv[1])
P = ctypes.c_void_p
def call(name, result, *arguments):
    function = getattr(lib, name)
    function.restype = result
    return function(*arguments)
if hasattr(lib, "OPENSSL_add_all_algorithms_noconf"):
    lib.OPENSSL_add_all_algorithms_noconf()
def load(der):
    data = ctypes.create_string_buffer(der, len(der))
    at = ctypes.c_char_p(ctypes.addressof(data))
    return P(call("d2i_X509", P, None, ctypes.byref(at), ctypes.c_long(len(der))))
stack = "sk" if hasattr(lib, "sk_new_null") else "OPENSSL_sk"
for case in json.load(sys.stdin):
    served, store = [[load(bytes.fromhex(text)) for text in case[which]] for which in ("served", "store")]
    trusted = P(call("X509_STORE_new", P))
    for root in store:
        call("X509_STORE_add_cert", ctypes.c_int, trusted, root)
    rest = P(call(stack + "_new_null", P))
    for each in served[1:]:
        call(stack + "_push", ctypes.c_int, rest, each)
    context = P(call("X509_STORE_CTX_new", P))
    call("X509_STORE_CTX_init", ctypes.c_int, context, trusted, served[0], rest)
    settings = P(call("X509_STORE_CTX_get0_param", P, context))
    call("X509_VERIFY_PARAM_set_time", None, settings, ctypes.c_long(case["now"]))
    change = "set" if case["trusted_first"] else "clear"
    call("X509_VERIFY_PARAM_%s_flags" % change, ctypes.c_int, settings, ctypes.c_ulong(0x8000))
    good = call("X509_verify_cert", ctypes.c_int, context)
    print(json.dumps([good, call("X509_STORE_CTX_get_error", ctypes.c_int, context)]))
"""


def really_verified(library: str, cases: Sequence[Dict[str, Any]]) -> Sequence[int]:
    """Let a real libcrypto judge, in a process of its own.

    Args:
        library: its path.
        cases: ``served`` and ``store`` in DER, ``now``, ``trusted_first``.

    Returns:
        An X509_V_ERR_* for each case, 0 for a good one.
    """
    told = [dict(case, served=[der.hex() for der in case["served"]], store=[der.hex() for der in case["store"]]) for case in cases]
    done = subprocess.run([sys.executable, "-c", _VERIFIER, library], input=json.dumps(told), stdout=subprocess.PIPE,
                          universal_newlines=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(cases) and all((good == 1) == (code == 0) for good, code in found)
    return [code for _, code in found]
