"""How fast a mirror is, measured with a clock of the test."""
import pytest

from tests.lab.mirror import NOT_FOUND, Fault
from tests.support.auditing import subject_of, words
from yum_plugin.operators.audit import bandwidth
from yum_plugin.operators.audit.model import Budget, Cost, OverBudget
from yum_plugin.operators.audit.throughput import ThroughputSample as Read
from yum_plugin.operators.audit.throughput import measure, rate_words

MBIT = 10**6


@pytest.mark.parametrize("samples, grade, bits", [
    ([Read(125 * MBIT, 1.0)] * 3, "fast", 1000 * MBIT),
    ([Read(115 * MBIT, 1.0)] * 3, "fast", 920 * MBIT),  # a full gigabit line carries so much payload
    ([Read(12 * MBIT, 1.0)] * 3, "enough", 96 * MBIT),
    ([Read(11 * MBIT, 1.0)] * 3, "slow", 88 * MBIT),
    ([Read(1, 1.0), Read(125 * MBIT, 1.0), Read(125 * MBIT, 1.0)], "fast", 1000 * MBIT),  # the start does not count
    ([Read(125 * MBIT, 1.0)] * 4 + [Read(1, 1.0)], "fast", 1000 * MBIT),  # nor does one hiccup
    ([Read(12 * MBIT, 1.0)], "enough", 96 * MBIT),
])
def test_a_speed_is_judged_by_the_median_read(samples, grade, bits):
    speed = measure(samples)
    assert (speed.grade, speed.bits_per_second) == (grade, bits)


def test_without_a_byte_there_is_no_speed():
    assert measure([]) is None and measure([Read(0, 1.0)]) is None


@pytest.mark.parametrize("bits, text", [(940 * MBIT, "940 Mbit/s"), (1.25e9, "1.25 Gbit/s"), (2500, "2.5 kbit/s"), (8, "8 bit/s")])
def test_a_rate_is_worded(bits, text):
    assert rate_words(bits) == text


class Ticks:
    """A clock that moves by so much with each look."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def __call__(self):
        self.now += self.seconds
        return self.now


@pytest.mark.parametrize("tick, verdict, said", [
    (1e-4, "ok", "isos/8.3/xcp-ng-8.3.0.iso"),
    (0.15, "warning", "the mirror's line or this machine's"),
])
def test_the_largest_image_is_read_in_parts_on_one_connection(lab, tmp_path, tick, verdict, said):
    mirror = lab.add_mirror("m")
    [finding] = bandwidth.run(subject_of(lab, mirror.url, tmp_path), Ticks(tick))
    assert finding.verdict == verdict and said in words(finding)
    ranged = [entry for entry in lab.log.requests("m") if "range" in entry.headers]
    assert len(ranged) == bandwidth.PARTS and len({entry.connection for entry in ranged}) == 1


def without_images(served, request):
    return NOT_FOUND if "/isos/" in request.path else None


def test_without_images_the_largest_package_is_read_and_a_small_one_says_nothing(lab, tmp_path, monkeypatch):
    mirror = lab.add_mirror("m")
    mirror.faults = (Fault("no-images", "", without_images),)
    subject = subject_of(lab, mirror.url, tmp_path)
    assert bandwidth.run(subject)[0].verdict == "unknown"
    monkeypatch.setattr(bandwidth, "LEAST_BYTES", 1000)
    assert bandwidth.run(subject)[0].values["path"].endswith("Packages/lab-base-2.0-1.noarch.rpm")


def test_a_part_that_takes_too_long_is_left_in_its_middle(lab, tmp_path):
    mirror = lab.add_mirror("m")
    [finding] = bandwidth.run(subject_of(lab, mirror.url, tmp_path), Ticks(bandwidth.PART_SECONDS + 1))
    assert finding.verdict == "warning" and finding.values["read_bytes"] < bandwidth.PARTS * 300000


def test_a_budget_is_never_exceeded_by_more_than_a_chunk(lab, tmp_path):
    budget = Budget(Cost(20, 500000), 60.0)
    with pytest.raises(OverBudget):
        bandwidth.run(subject_of(lab, lab.add_mirror("m").url, tmp_path, budget=budget))
    assert budget.spent.bytes < 500000 + 70000


def test_a_mirror_that_breaks_off_is_told(lab, tmp_path):
    [finding] = bandwidth.run(subject_of(lab, lab.add_mirror("m", "short-packages").url, tmp_path))
    assert finding.verdict == "problem" and "truncated" in words(finding)
