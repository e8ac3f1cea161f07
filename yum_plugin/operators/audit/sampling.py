"""A random sample of packages, fetched and verified as a host verifies its own (``packages/verify.py``)."""
from random import Random
from typing import List, NamedTuple, Sequence, Tuple

from ...errors import FetchError, MirrorsError, TrustError
from ...net.fetch import HttpSession
from ...packages.verify import PackageChecker, request_for
from ...resolve.download_plan import MAX_PACKAGE_BYTES
from ...trust.primary import PrimaryPackage
from ..facts import SYNC_COMMAND
from .client import timeouts_of
from .inventory import RepositoryContent, first_lines
from .model import OK, PROBLEM, UNKNOWN, Finding, Subject

NAME = "package-bytes"  # of the finding
MAX_PACKAGES = 20
# Without --checksum rsync compares sizes and times only, which a damaged file may have kept.
REMEDY = SYNC_COMMAND.replace("rsync ", "rsync --checksum ", 1)


class SampledPackage(NamedTuple):
    """A package and its repository."""

    path: str  # of the repository
    package: PrimaryPackage


def choose_sample(contents: Sequence[RepositoryContent], random: Random, max_bytes: int,
                  most: int = MAX_PACKAGES) -> List[SampledPackage]:
    """Choose packages of all repositories, each that still fits with the same probability.

    Args:
        contents: the repositories.
        random: seeded: the same seed chooses the same.
        max_bytes: for all of them together.
        most: how many at most.
    """
    everything = [SampledPackage(content.path, package) for content in contents for package in content.packages]
    random.shuffle(everything)
    chosen: List[SampledPackage] = []
    for sampled in everything:
        size = sampled.package.size or MAX_PACKAGE_BYTES
        if size <= max_bytes and len(chosen) < most:
            chosen.append(sampled)
            max_bytes -= size
    return chosen


def verify(client: HttpSession, subject: Subject, sampled: SampledPackage) -> int:
    """Fetch one package and verify it; nothing of it is kept.

    Returns:
        Its bytes.

    Raises:
        FetchError: it could not be fetched.
        TrustError: it is not the package that was signed.
    """
    package = sampled.package
    checker = PackageChecker(request_for(package, ""), subject.keys, subject.now)
    limits = timeouts_of(subject).limits(package.size or MAX_PACKAGE_BYTES)
    received = 0
    with client.open(subject.url + sampled.path + package.href, limits) as stream:
        for chunk in stream.chunks():
            received += len(chunk)
            subject.budget.receive(len(chunk))
            checker.update(chunk)
    checker.finish()
    return received


def check_sample(client: HttpSession, subject: Subject, contents: Sequence[RepositoryContent], max_bytes: int) -> Finding:
    """Verify a sample, and report each bad package."""
    total = sum(len(content.packages) for content in contents)
    chosen = choose_sample(contents, Random(subject.options.seed), max_bytes)
    if not chosen:
        why = "no package is known" if not total else "no package is small enough for the limit"
        return Finding(NAME, UNKNOWN, (why,))
    wrong: List[Tuple[str, MirrorsError]] = []
    read = 0
    for number, sampled in enumerate(chosen):
        subject.on_step("package {} of {}: {}".format(number + 1, len(chosen), sampled.package.href))
        try:
            read += verify(client, subject, sampled)
        except (FetchError, TrustError) as error:
            wrong.append((sampled.path + sampled.package.href, error))
    evidence = ["{} of {} packages read, chosen with --seed {}: {} verified byte for byte, {} wrong".format(
        len(chosen), total, subject.options.seed, len(chosen) - len(wrong), len(wrong))]
    evidence += first_lines("wrong", ["{}: {}: {}".format(path, error.reference, error.what) for path, error in wrong], 6)
    values = {"seed": subject.options.seed, "packages": total, "sampled": len(chosen), "read_bytes": read,
              "wrong": {path: error.reference for path, error in wrong}}
    return Finding(NAME, PROBLEM if wrong else OK, tuple(evidence), REMEDY if wrong else "", values)
