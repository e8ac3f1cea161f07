"""Files and packages from the mirrors, for people: found, proven, and only then given their names.

A path on the mirrors (``isos/8.3/xcp-ng-8.3.0.iso``):
    1. The redirector lists the mirrors that have it; without it the mirrors that are remembered, then the origin.
    2. Several of them are asked at once for SHA256SUMS and its signature in the path's folder. Of those that a pinned
       key has signed and that list the file, the newest counts: an old list would let an old file pass.
    3. The file is fetched by its SHA-256, from any mirror. A list of checksums itself is what step 2 has found.
A package (``NAME[-VERSION...]``) of a repository:
    1. The repository is resolved as for an update (``resolve.py``): rollback and freeze are found out.
    2. Its primary metadata is fetched by the checksum in the proven repomd.xml.
    3. The newest that matches is fetched, and is what ``packages.PackageChecker`` demands.
"""
import os
import tempfile
import time
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from .ask import Patience, ask_list_page, ask_selection
from .choose import rank_candidates
from .config import Settings
from .errors import FetchError, MirrorsError, TrustError, UsageError
from .files import write_whole
from .listing import PAGE, SELECTION, settled_list
from .model import Mirror, MirrorList, Network, Repository, Resolution
from .net.download import Events, Fetched, Rules, download
from .net.fetch import Client
from .net.probe import Crew, explain_tls
from .net.transfer import Item, Source
from .packages import PackageChecker, PackageRequest, rules_of
from .sources import base_of
from .trust.armor import MAX_FILE_BYTES as MAX_SIGNATURE_BYTES
from .trust.checksums import MAX_SUMS_BYTES, find_checksum, parse_checksums
from .trust.evr import evr_key
from .trust.hashing import new_hash
from .trust.keys import PublicKey
from .trust.openpgp import Verdict, verify_detached
from .trust.primary import MAX_OPEN_BYTES, MAX_PRIMARY_BYTES, PrimaryPackage, read_primary
from .trust.repomd import parse_repomd
from .trust.unpack import unpacked
from .urls import host_of, safe_path
