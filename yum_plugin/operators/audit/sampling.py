"""A random sample of packages, fetched and proven as a host's own would be (``packages.PackageChecker``)."""
from random import Random
from typing import List, NamedTuple, Sequence, Tuple

from ...errors import FetchError, MirrorsError, TrustError
from ...net.fetch import HttpSession
from ...packages.verify import MAX_PACKAGE_BYTES, PackageChecker, request_for
from ...trust.primary import PrimaryPackage
from .client import timeouts_of
from .inventory import RepositoryContent, first_lines
from .model import OK, PROBLEM, SYNC_COMMAND, UNKNOWN, Finding, Subject

CHECK = "package-bytes"
MOST = 20  # packages
REMEDY = SYNC_COMMAND.replace("rsync ", "rsync --checksum ", 1)  # sizes and times alone would pass a changed file


class SampledPackage(NamedTuple):
    """A package and the repository that it is of."""

    path: str  # of the repository
    package: PrimaryPackage


def choose_sample(contents: Sequence[RepositoryContent], random: Random, room_bytes: int,
                  most: int = MOST) -> List[SampledPackage]:
    """Choose packages of all repositories, each as likely as any other that there is room for.

    Args:
        contents: the repositories.
        random: seeded: the same seed chooses the same.
        room_bytes: what they may have in all.
        most: how many at most.
    """
    everything = [SampledPackage(content.path, package) for content in contents for package in content.packages]
    random.shuffle(everything)
    chosen: List[SampledPackage] = []
    for picked in everything:
        size = picked.package.size or MAX_PACKAGE_BYTES
        if size <= room_bytes and len(chosen) < most:
            chosen.append(picked)
            room_bytes -= size
    return chosen


def verify(client: HttpSession, subject: Subject, picked: SampledPackage) -> int:
    """Fetch one package and prove it; nothing of it is kept.

    Returns:
        Its bytes.

    Raises:
        FetchError: it could not be had.
        TrustError: it is not the package that was signed.
    """
    package = picked.package
    checker = PackageChecker(request_for(package, ""), subject.keys, subject.now)
    limits = timeouts_of(subject).limits(package.size or MAX_PACKAGE_BYTES)
    received = 0
    with client.open(subject.url + picked.path + package.href, limits) as stream:
        for chunk in stream.chunks():
            received += len(chunk)
            subject.budget.receive(len(chunk))
            checker.update(chunk)
    checker.finish()
    return received


def check_sample(client: HttpSession, subject: Subject, contents: Sequence[RepositoryContent], room_bytes: int) -> Finding:
    """Verify a sample; what went wrong with each is told."""
    total = sum(len(content.packages) for content in contents)
    chosen = choose_sample(contents, Random(subject.options.seed), room_bytes)
    if not chosen:
        why = "no package is known" if not total else "no package is small enough for what may be read"
        return Finding(CHECK, UNKNOWN, (why,))
    wrong: List[Tuple[str, MirrorsError]] = []
    read = 0
    for number, picked in enumerate(chosen):
        subject.on_step("package {} of {}: {}".format(number + 1, len(chosen), picked.package.href))
        try:
            read += verify(client, subject, picked)
        except (FetchError, TrustError) as error:
            wrong.append((picked.path + picked.package.href, error))
    evidence = ["{} of {} packages read, chosen with --seed {}: {} verified byte for byte, {} wrong".format(
        len(chosen), total, subject.options.seed, len(chosen) - len(wrong), len(wrong))]
    evidence += first_lines("wrong", ["{}: {}: {}".format(path, error.reference, error.what) for path, error in wrong], 6)
    values = {"seed": subject.options.seed, "packages": total, "sampled": len(chosen), "read_bytes": read,
              "wrong": {path: error.reference for path, error in wrong}}
    return Finding(CHECK, PROBLEM if wrong else OK, tuple(evidence), REMEDY if wrong else "", values)
