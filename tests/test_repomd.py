"""repomd.xml: what a signed one says, and what is refused even if it was signed."""
import shutil
import subprocess
from time import process_time

import pytest
from lxml import etree

from tests.support.documents import OTHER_SUM, REPOMD, SUM
from yum_plugin.errors import TrustError
from yum_plugin.trust.repomd import MAX_REPOMD_BYTES, Repomd, RepomdFile, parse_repomd

TIMESTAMP = "<timestamp>{}</timestamp>"
NAMESPACES = 'xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm"'


def entry(kind="primary", checksum=None, location=None, timestamp=TIMESTAMP.format(1700000000), more=""):
    """One ``<data>``; any of its parts can be replaced by other XML."""
    checksum = '<checksum type="sha256">{}</checksum>'.format(SUM) if checksum is None else checksum
    location = '<location href="repodata/{}.xml.gz"/>'.format(kind) if location is None else location
    return '<data type="{}">{}{}{}{}</data>'.format(kind, checksum, location, timestamp, more)


def repomd(*entries, revision="<revision>1700000001</revision>", attributes=NAMESPACES, before='<?xml version="1.0"?>\n'):
    content = revision + "".join(entries or [entry()])
    return "{}<repomd {}>{}</repomd>\n".format(before, attributes, content).encode("utf-8")


def moment(text):
    return repomd(entry(timestamp=TIMESTAMP.format(text)))


def refusal(raw):
    with pytest.raises(TrustError) as refused:
        parse_repomd(raw)
    return refused.value.reference


def test_everything_is_read():
    primary = RepomdFile(
        "primary", "repodata/{}-primary.xml.gz".format(SUM), "sha256", SUM, 1234, "sha256", OTHER_SUM, 56789, 1700000000
    )
    database = RepomdFile("primary_db", "repodata/primary.sqlite.bz2", "sha512", SUM * 2, None, "", "", None, 1700000009)
    assert parse_repomd(REPOMD) == Repomd(1700000001, 1700000009, (primary, database))


def test_what_createrepo_makes_is_read(tmp_path):
    if not shutil.which("createrepo_c"):
        pytest.skip("createrepo_c is not installed")
    subprocess.run(["createrepo_c", "--quiet", "--revision", "42", str(tmp_path)], check=True)
    parsed = parse_repomd((tmp_path / "repodata" / "repomd.xml").read_bytes())
    assert parsed.revision == 42
    assert {"primary", "filelists", "other"} <= {file.type for file in parsed.files}
    for file in parsed.files:
        assert (tmp_path / file.href).stat().st_size == file.size
        assert abs((tmp_path / file.href).stat().st_mtime - file.timestamp) <= 1 <= file.open_size


REVISIONS = {
    "<revision>12</revision>": 12,
    "<revision> 12\n</revision>": 12,
    "": 0,
    "<revision/>": 0,
    "<revision>8.3 updates</revision>": 0,
    "<revision>-5</revision>": 0,
    "<revision>1e9</revision>": 0,
    "<revision>\u0663</revision>": 0,
    "<revision>{}</revision>".format("9" * 5000): 0,
}


@pytest.mark.parametrize("text", sorted(REVISIONS), ids=lambda text: text[:40])
def test_a_revision_that_is_no_number_counts_as_zero(text):
    assert parse_repomd(repomd(revision=text)) == parse_repomd(repomd())._replace(revision=REVISIONS[text])


def test_the_newest_timestamp_counts_and_one_is_enough():
    files = [entry("a", timestamp="")] + [entry("t" + second, timestamp=TIMESTAMP.format(second)) for second in "572"]
    assert parse_repomd(repomd(*files)).timestamp == 7


@pytest.mark.parametrize("raw", [repomd(entry(timestamp="")), moment("0")], ids=["none", "zero"])
def test_metadata_without_timestamps_is_read(raw):
    assert parse_repomd(raw) == parse_repomd(repomd())._replace(timestamp=0, files=(parse_repomd(raw).files[0],))


def test_what_createrepo_makes_without_timestamps_is_read(tmp_path):
    if not shutil.which("createrepo_c"):
        pytest.skip("createrepo_c is not installed")
    subprocess.run(["createrepo_c", "--quiet", "--revision=0", "--set-timestamp-to-revision", str(tmp_path)], check=True)
    parsed = parse_repomd((tmp_path / "repodata" / "repomd.xml").read_bytes())
    assert (parsed.revision, parsed.timestamp) == (0, 0) and len(parsed.files) >= 3


def test_an_empty_xml_base_says_nothing():
    base = ' xml:base=""'
    for raw in (repomd(attributes=NAMESPACES + base), repomd(entry().replace("<data ", "<data{} ".format(base)))):
        assert parse_repomd(raw) == parse_repomd(repomd())


def test_a_timestamp_of_far_ahead_is_read_because_freshness_judges_it():
    assert parse_repomd(repomd(entry(timestamp=TIMESTAMP.format(253402300799)))).timestamp == 253402300799


def test_comments_and_instructions_do_not_split_a_value():
    split = '<checksum type="sha256">{}<!-- x --><?y z?>{}</checksum>'.format(SUM[:10], SUM[10:])
    assert parse_repomd(repomd(entry(checksum=split))) == parse_repomd(repomd())


def test_64_files_are_read():
    assert len(parse_repomd(repomd(*[entry("t{}".format(number)) for number in range(64)])).files) == 64


@pytest.mark.parametrize("kind, digits", [("sha256", 64), ("sha384", 96), ("sha512", 128)])
def test_a_digest_has_exactly_its_number_of_digits(kind, digits):
    assert parse_repomd(checksum(kind, "0" * digits)).files[0].checksum == "0" * digits
    for wrong in (digits - 1, digits + 1):
        assert refusal(checksum(kind, "0" * wrong)) == "malformed"


def test_a_file_of_1_mib_is_read_and_not_a_byte_more():
    full = repomd().ljust(1048576)
    assert parse_repomd(full) == parse_repomd(repomd())
    with pytest.raises(TrustError, match="larger than 1048576 bytes"):
        parse_repomd(full + b" ")


def test_8_levels_and_2048_elements_are_read_and_not_one_more():
    inside = len(list(etree.fromstring(repomd()).iter()))
    for most, beyond in (("<a>" * 6 + "</a>" * 6, "<a>" * 7 + "</a>" * 7), ("<a/>" * (2048 - inside), "<a/>" * (2049 - inside))):
        assert parse_repomd(more(most)) == parse_repomd(repomd())
        with pytest.raises(TrustError, match="too deep or has too many elements"):
            parse_repomd(more(beyond))


# --- refused: reference -> name -> file ---


def checksum(kind, digits):
    return repomd(entry(checksum='<checksum type="{}">{}</checksum>'.format(kind, digits)))


def href(text):
    return repomd(entry(location='<location href="{}"/>'.format(text)))


def more(text):
    return repomd(entry(more=text))


LAUGHS = '<!DOCTYPE repomd [<!ENTITY a "ha">' + "".join(
    '<!ENTITY {} "{}">'.format(chr(98 + level), "&{};".format(chr(97 + level)) * 10) for level in range(9)
) + "]>"

REFUSED = {
    "malformed": {
        "empty": b"",
        "no XML": b"not found",
        "HTML": b"<html><body>login</body></html>",
        "another root": repomd().replace(b"repomd ", b"metalink ").replace(b"/repomd>", b"/metalink>"),
        "no namespace": repomd(attributes=""),
        "another namespace": repomd(attributes='xmlns="http://linux.duke.edu/metadata/common"'),
        "cut": repomd()[:-10],
        "junk after": repomd() + b"<more/>",
        "NUL": repomd() + b"\0",
        "not UTF-8": repomd(entry(more="<x>\xe9</x>")).replace("\xe9".encode("utf-8"), b"\xe9"),
        "UTF-16": repomd().decode("utf-8").encode("utf-16"),
        "DOCTYPE": repomd(before="<!DOCTYPE repomd>"),
        "external DTD": repomd(before='<!DOCTYPE repomd SYSTEM "http://127.0.0.1:9/x.dtd">'),
        "external entity": repomd(entry(more="<x>&e;</x>"), before='<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]>'),
        "billion laughs": repomd(entry(more="<x>&j;</x>"), before=LAUGHS),
        "billion laughs in an attribute": repomd(entry(more='<x a="&j;"/>'), before=LAUGHS),
        "undefined entity": repomd(entry(more="<x>&e;</x>")),
        "thousands of levels deep": more("<a>" * 5000 + "</a>" * 5000),
        "no file": repomd("<data/>").replace(b"<data/>", b""),
        "no type": repomd(entry().replace(' type="primary"', "", 1)),
        "empty type": repomd(entry("")),
        "type with a slash": repomd(entry("../x")),
        "type with a line end": repomd(entry("primary&#10;")),
        "endless type": repomd(entry("x" * 65)),
        "a type twice": repomd(entry(), entry("other"), entry()),
        "no checksum": repomd(entry(checksum="")),
        "two checksums": more('<checksum type="sha256">{}</checksum>'.format(OTHER_SUM)),
        "two locations": more('<location href="repodata/b"/>'),
        "two timestamps": more("<timestamp>1</timestamp>"),
        "two sizes": more("<size>1</size><size>2</size>"),
        "two revisions": repomd(revision="<revision>1</revision><revision>2</revision>"),
        "elements inside a checksum": checksum("sha256", SUM + "<b/>"),
        "elements inside the revision": repomd(revision="<revision>1<b/></revision>"),
        "empty checksum": checksum("sha256", ""),
        "checksum too short": checksum("sha256", SUM[1:]),
        "checksum too long": checksum("sha256", SUM + "0"),
        "checksum of another length": checksum("sha512", SUM),
        "checksum in upper case": checksum("sha256", SUM.upper()),
        "checksum that is no number": checksum("sha256", "g" * 64),
        "open-checksum too short": more('<open-checksum type="sha256">00</open-checksum>'),
        "negative timestamp": moment("-1"),
        "timestamp NaN": moment("nan"),
        "timestamp infinite": moment("inf"),
        "timestamp with exponent": moment("1e9"),
        "timestamp in hexadecimal": moment("0x10"),
        "timestamp with underscore": moment("1_000"),
        "timestamp of other digits": moment("\u0661\u0662"),
        "timestamp after the year 9999": moment("253402300800"),
        "endless timestamp": moment("1" * 1000),
        "timestamp with two points": moment("1.2.3"),
        "negative size": more("<size>-1</size>"),
        "decimal size": more("<size>1.5</size>"),
        "endless size": more("<size>{}</size>".format("1" * 19)),
        "open-size that is none": more("<open-size>many</open-size>"),
    },
    "unsafe-path": {
        "no location": repomd(entry(location="")),
        "location without href": repomd(entry(location="<location/>")),
        "empty": href(""),
        "CVE-2020-14352": href("../../../etc/cron.d/x"),
        "parent inside": href("repodata/../../x"),
        "absolute": href("/etc/passwd"),
        "two slashes": href("//evil.example/x"),
        "another host": href("http://evil.example/primary.xml.gz"),
        "encoded parent": href("%2e%2e/x"),
        "twice encoded parent": href("%252e%252e/x"),
        "backslash": href("repodata\\..\\x"),
        "encoded NUL": href("repodata/x%00"),
        "line end": href("repodata/x&#10;y"),
        "broken encoding": href("repodata/%ff"),
        "xml:base of the root": repomd(attributes=NAMESPACES + ' xml:base="http://evil.example/"'),
        "xml:base of a file": repomd(entry().replace("<data ", '<data xml:base="http://evil.example/" ')),
        "xml:base of a location": repomd(entry(location='<location xml:base="http://evil.example/" href="repodata/x"/>')),
    },
    "weak-digest": {
        "MD5": checksum("md5", "0" * 32),
        "SHA-1": checksum("sha1", "0" * 40),
        "SHA-1 by its old name": checksum("sha", "0" * 40),
        "SHA-224": checksum("sha224", "0" * 56),
        "SHA-1 of the content": more('<open-checksum type="sha">{}</open-checksum>'.format("0" * 40)),
    },
    "unsupported": {
        "nine levels deep": more("<a>" * 7 + "</a>" * 7),
        "too many elements": more("<a/>" * 2048),
        "too large": repomd() + b" " * MAX_REPOMD_BYTES,
        "65 files": repomd(*[entry("t{}".format(number)) for number in range(65)]),
        "no type of checksum": repomd(entry(checksum="<checksum>{}</checksum>".format(SUM))),
        "unknown checksum": checksum("crc32", "0" * 8),
        "SHA-256 in upper case": checksum("SHA256", SUM),
    },
}  # fmt: skip


CASES = [(reference, name) for reference in sorted(REFUSED) for name in sorted(REFUSED[reference])]


@pytest.mark.parametrize("reference, name", CASES)
def test_a_bad_repomd_is_refused(reference, name):
    assert refusal(REFUSED[reference][name]) == reference


def test_a_doctype_cannot_hide_in_another_encoding():
    text = repomd(before='<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE r+AFs-+ADwAIQ-ENTITY e "x"+AD4AXQA+-')
    assert refusal(text) == "malformed"


@pytest.mark.parametrize("unit", ["<a/>", "<!--x-->", "<?x?>", " ", 'a="b" ', "&#65;", "<![CDATA[x]]>", "<a>"])
def test_a_full_size_file_is_judged_within_seconds(unit):
    raw = repomd(entry(more=unit * ((MAX_REPOMD_BYTES - 800) // len(unit))))
    started = process_time()
    try:
        parse_repomd(raw)
    except TrustError:
        pass
    assert len(raw) <= MAX_REPOMD_BYTES and process_time() - started < 5
