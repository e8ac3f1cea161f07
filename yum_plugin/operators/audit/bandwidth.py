"""How fast the mirror is: timed range requests for a large file (``throughput.py`` judges them)."""
import time
from typing import Callable, List, NamedTuple, Optional

from ...errors import FetchError, TrustError
from ...model import Mirror
from ...net.fetch import HttpSession
from ...resolve.probe import ask_repomd
from ...trust.metadata import RepomdProver
from ...trust.repomd import primary_file
from ..facts import IMAGE_FOLDERS, LEAST_BITS_PER_SECOND
from .client import session, timeouts_of
from .image_lists import read_list
from .listings import STATUSES, size_in
from .model import MIRROR, OK, PROBLEM, UNKNOWN, WARNING, Check, Cost, Finding, Subject
from .signed import fetch_packages
from .throughput import Throughput, ThroughputSample, measure, rate_words

PARTS = 12  # enough for a median, and at most 48 s of PART_SECONDS each
PART_BYTES = 16 * 1024 * 1024  # 0.13 s at 1 Gbit/s, 1.3 s at 100 Mbit/s
PART_SECONDS = 4.0  # then what has arrived is the sample
LEAST_BYTES = 64 * 1024  # a smaller file arrives before its speed can be measured
CHECK = Check("bandwidth", Cost(PARTS + 2, PARTS * PART_BYTES + 16 * 10**6), 120.0, needs=MIRROR,
              wanted=lambda options: options.bandwidth)


class LargestFile(NamedTuple):
    """The file that is read."""

    path: str
    size: int  # bytes


def run(subject: Subject, clock: Callable[[], float] = time.monotonic) -> List[Finding]:
    """Read parts of a large file one after the other."""
    with session(subject) as client:
        large = _largest(client, subject)
    if large is None or large.size < LEAST_BYTES:
        return [Finding(CHECK.name, UNKNOWN, ("no file is large enough to measure with",))]
    samples: List[ThroughputSample] = []
    error: Optional[FetchError] = None
    try:
        with session(subject) as client:
            for number in range(PARTS):
                samples.append(_read_part(client, subject, large, number, clock))
                subject.on_bytes(large.path, sum(sample.bytes for sample in samples), PARTS * min(PART_BYTES, large.size))
    except FetchError as failure:
        error = failure
    return [judge(measure(samples), large, sum(sample.bytes for sample in samples), error)]


def _largest(client: HttpSession, subject: Subject) -> Optional[LargestFile]:
    """Find the largest image; where there is none, the largest package of the first repository."""
    images = []
    for folder in IMAGE_FOLDERS[:2]:
        try:
            names = list(read_list(client, subject, subject.url, folder).sums)
        except (FetchError, TrustError):
            continue
        for name in names[:8]:
            answer = client.get(subject.url + folder + name, timeouts_of(subject).limits(0), accept=STATUSES, method="HEAD")
            if answer.status == 200:
                images.append(LargestFile(folder + name, size_in(answer.headers) or 0))
    return max(images + _first_packages(client, subject), key=lambda large: large.size, default=None)


def _first_packages(client: HttpSession, subject: Subject) -> List[LargestFile]:
    """Return the packages of the first repository; none without a key."""
    path = subject.repositories[0]
    try:
        signed = ask_repomd(client, Mirror(subject.url + path), RepomdProver(subject.keys, subject.now), timeouts_of(subject))
        packages = fetch_packages(client, subject, path, primary_file(signed.proven.content))
    except (FetchError, TrustError):
        return []
    return [LargestFile(path + package.href, package.size or 0) for package in packages]


def _read_part(client: HttpSession, subject: Subject, large: LargestFile, number: int,
               clock: Callable[[], float]) -> ThroughputSample:
    """Read one part; one that takes too long is not read to its end."""
    length = min(PART_BYTES, large.size)
    first = (number * length) % (large.size - length + 1)
    headers = {"Range": "bytes={}-{}".format(first, first + length - 1)}
    received = 0
    with client.open(subject.url + large.path, timeouts_of(subject).limits(large.size), headers, accept=(200, 206)) as stream:
        began = now = clock()
        for chunk in stream.chunks():
            received += len(chunk)
            subject.budget.receive(len(chunk))
            now = clock()
            if now - began > PART_SECONDS or (stream.status == 200 and received >= length):  # 200: it ignores Range
                subject.budget.connect()  # a stream that is not read to its end costs its connection
                break
    return ThroughputSample(received, max(now - began, 1e-6))


def judge(speed: Optional[Throughput], large: LargestFile, received: int, error: Optional[FetchError]) -> Finding:
    """Judge a speed.

    Args:
        speed: of the samples; None: nothing was read.
        large: the file.
        received: bytes in all.
        error: why reading stopped early.
    """
    broken = ["{}: {}".format(error.reference, error.what)] if error else []
    if speed is None:
        return Finding(CHECK.name, PROBLEM if error else UNKNOWN, tuple(broken or ["nothing was read"]))
    evidence = ["{} (median of {} reads; best {}), one connection, {}".format(
        rate_words(speed.bits_per_second), speed.samples, rate_words(speed.best), large.path)]
    verdict = {"fast": OK, "enough": OK, "slow": WARNING}[speed.grade]
    if speed.grade == "enough":
        evidence.append("100 Mbit/s are required, and 1 Gbit/s is recommended")
    elif speed.grade == "slow":
        evidence.append("less than {}: of the mirror's line or this machine's; repeat it on a machine with a faster one".format(
            rate_words(LEAST_BITS_PER_SECOND)))
    values = {"bits_per_second": round(speed.bits_per_second), "best_bits_per_second": round(speed.best), "read_bytes": received,
              "path": large.path}
    return Finding(CHECK.name, PROBLEM if error else verdict, tuple(evidence + broken), values=values)
