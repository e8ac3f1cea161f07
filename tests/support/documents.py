"""Documents that vouch for files, as real tools write them: repomd.xml and SHA256SUMS. Tests read, damage and forge them."""
SUM = "0123456789abcdef" * 4
OTHER_SUM = "fedcba9876543210" * 4
ISO = "xcp-ng-8.3.0.iso"

# What createrepo_c 0.20 writes.
REPOMD = '''<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1700000001</revision>
  <tags><distro cpeid="cpe:/o:xcp-ng">XCP-ng</distro></tags>
  <data type="primary">
    <checksum type="sha256">{0}</checksum>
    <open-checksum type="sha256">{1}</open-checksum>
    <location href="repodata/{0}-primary.xml.gz"/>
    <timestamp>1700000000</timestamp>
    <size>1234</size>
    <open-size>56789</open-size>
  </data>
  <data type="primary_db">
    <checksum type="sha512">{0}{0}</checksum>
    <location href="repodata/primary.sqlite.bz2"/>
    <timestamp>1700000009.75</timestamp>
    <database_version>10</database_version>
  </data>
</repomd>
'''.format(SUM, OTHER_SUM).encode("utf-8")


def line(name=ISO, digest=SUM, between="  ", end="\n"):
    """Write one line of a SHA256SUMS as sha256sum does; any of its parts can be replaced."""
    return (digest + between + name + end).encode("utf-8")


# What sha256sum writes.
CHECKSUM_LISTS = {
    "text mode": line(),
    "binary mode": line(between=" *"),
    "no line end": line(end=""),
    "two files": line() + line("xcp-ng-8.3.0-netinstall.iso", OTHER_SUM),
    "two files of the same content": line() + line("other"),
    "names of all characters": line() + line("!#$%&'()*+,-.0:;<=>?@[]^_`{|}~") + line("*star") + line("...") + line(".x") + line("x" * 255),
}
