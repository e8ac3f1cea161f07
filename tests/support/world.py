"""What several tests are made of: values by short names, and the product set up for the lab."""
import tempfile
from typing import Any, List, Mapping

from tests.lab.lab import ALLOWED, Lab
from tests.lab.repositories import repository_path
from yum_plugin.host.repository_options import reach_of
from yum_plugin.host.settings import LoadedSettings, read_settings
from yum_plugin.model import Mirror, Network, Repository, Snapshot

NOW = 1_800_000_000  # seconds since 1970: "now" wherever a test sets the time
DAY = 86400


def snapshot(version: int, signed_later: int = 60) -> Snapshot:
    """Version 3 is a day newer than version 2; of one version all bytes are equal."""
    stamp = NOW - 100 * DAY + version * DAY
    return Snapshot("{:064x}".format(version), 3000, stamp, stamp, stamp + signed_later)


def mirror(name: str, **values: Any) -> Mirror:
    """A mirror at https://NAME.test/."""
    return Mirror("https://{}.test/".format(name), name=name, **values)


def mirrors(count: int) -> List[Mirror]:
    """m1, m2, ... in the redirector's order."""
    return [mirror("m{}".format(rank), rank=rank) for rank in range(1, count + 1)]


def read_values(values: Mapping[str, str]) -> LoadedSettings:
    """What a .conf with these values says."""
    with tempfile.NamedTemporaryFile(suffix=".conf") as stream:
        stream.write(("[main]\n" + "".join("{}={}\n".format(*item) for item in values.items())).encode("utf-8"))
        stream.flush()
        return read_settings(stream.name)


DEFAULTS = read_values({}).settings


def lab_settings(lab: Lab, folder: Any, **changes: Any) -> Any:
    """The product's settings on a host of the lab; state and log are in ``folder``."""
    reading = read_values({
        "redirectors": lab.redirector.authority,
        "fallbacks": lab.origin.url,
        "allow_networks": ALLOWED,
        "fingerprints": lab.key_fingerprint,
        "state_dir": "{}/state".format(folder),
        "log_file": "{}/log".format(folder),
    })
    assert not reading.warnings
    return reading.settings._replace(**changes)


def lab_repository(lab: Lab, name: str = "updates", **network: Any) -> Repository:
    """A repository as the lab's .repo file has it."""
    network.setdefault("ssl_ca_cert", lab.ca_bundle)
    network.setdefault("proxy", "")
    network.setdefault("reach", reach_of(lab.base_urls(name), lab_settings(lab, lab.folder)))
    return Repository("xcp-ng-" + name, tuple(lab.base_urls(name)), repository_path(name), (lab.key_file,),
                      (lab.key_fingerprint,), Network(**network))
