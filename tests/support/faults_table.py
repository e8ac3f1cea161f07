"""The table of faults that the tests of yum and dnf share: what may be wrong with the first mirror of a list."""
import re

# Faults of what every refresh asks for, with the reference that the log and the table give.
METADATA_FAULTS = {
    "refused": "unreachable", "blackhole": "", "mute": "", "http-503": "http-status", "drip-500": "", "drip-1k": "",
    "captive": "signature-missing", "stale": "stale", "rolled-back": "stale", "fast-forward": "wrong-repository",
    "bad-signature": "signature-invalid", "other-key": "unknown-key", "weak-digest": "weak-digest", "no-asc": "signature-missing",
    "asc-of-another": "out-of-step", "half-synced": "http-status", "mid-sync": "ok", "endless-repomd": "too-large",
    "endless-unframed": "too-large", "endless-headers": "", "gzip-bomb": "bad-answer", "redirect-loop": "redirect-refused",
    "redirect-to-http": "redirect-refused", "crlf-location": "redirect-refused", "expired-certificate": "tls-expired",
    "wrong-host-certificate": "tls-hostname", "self-signed-certificate": "tls-untrusted", "incomplete-chain": "tls-incomplete",
}
# What the package manager itself or the package verification deals with: the metadata of such a mirror is fine.
PACKAGE_FAULTS = ["packages-404", "corrupt-packages", "truncated-packages", "short-packages"]
TRUST_FAULTS = ["captive", "fast-forward", "bad-signature", "other-key", "weak-digest", "no-asc"]


def good_mirrors(lab, *faults):
    """Mirrors with these faults, then two good ones, in the redirector's order."""
    for number, fault in enumerate(faults):
        lab.add_mirror("bad{}".format(number), fault=fault)
    for name in ("good1", "good2"):
        lab.add_mirror(name)


def own_lines(completed):
    """What the plugin said."""
    return [line for line in (completed.stdout + completed.stderr).splitlines() if "xcpng-mirrors" in line]


def left_alone(lines):
    """The repositories, in order, that these lines tell to be left as they are."""
    found = re.findall(r"xcpng-mirrors: (\S+(?:, \S+)*) (?:is left as it is|are left as they are): ", "\n".join(lines))
    return sorted(", ".join(found).split(", "))


def listed(done):
    """The versions of lab-agent in the table that ``dnf list`` prints; "2.0" alone may be a speed."""
    return re.findall(r"^lab-agent\.\S+ +([0-9.]+)-", done.stdout, re.MULTILINE)
