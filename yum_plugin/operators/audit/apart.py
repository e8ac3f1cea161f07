"""An audit in a process without root: it asks the mirror, runs rsync and judges. The caller has read keys and .conf, and shows.

    1. The subject goes there as JSON, the keys as public numbers; TLS files are loaded before root is given up, and
       ``Subject.make_contexts`` then gives what was loaded.
    2. Findings, progress and the application come back as values. Their form is checked here, and their texts are made
       printable where they are shown.
    3. Only with --rsync may it start programs.
"""
import base64
import contextlib
import importlib
import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from ...host.settings import Settings
from ...model import Network
from ...privsep.child import Say, Wait
from ...privsep.gateway import DOWNLOAD_CPU_SECONDS
from ...privsep.parent import MALFORMED, sandbox_error
from ...privsep.task import WAITING, ApartTask, run_apart
from ...privsep.wire import MAX_VALUE_BYTES, encoded
from ...trust.keys import PublicKey, Subkey
from ...util.text import MAX_TEXT_CHARACTERS, printable
from ..facts import MIRRORS_ADDRESS
from .application import Application, application, failing
from .auditor import Auditor, seconds_of
from .model import OK, PROBLEM, UNKNOWN, WARNING, AuditOptions, Budget, Cost, Finding, Subject

GRACE_SECONDS = 60.0  # after the time that all checks together may take
MAX_DEPTH = 8  # of the values of a finding
MAX_NUMBER = 2 ** 63
VERDICTS = (OK, WARNING, PROBLEM, UNKNOWN)
_CHECK = re.compile("[a-z][a-z0-9-]{0,39}\\Z")
NEVER, IF_FINE, ALWAYS = "never", "if-fine", "always"
# What the checks load when they need it.
LATE_MODULES = ("cryptography.hazmat.backends.openssl.backend", "cryptography.hazmat.primitives.asymmetric.padding",
                "cryptography.hazmat.primitives.asymmetric.ec", "cryptography.hazmat.primitives.asymmetric.utils")
LATE_AND_RARE_MODULES = ("compression.zstd",)  # trust/unpack.py
_PLAIN = ("url", "rsync_url", "network", "others_network", "keys_problem", "repositories", "settings", "options",
          "now", "also_url")
_MADE = {"network": Network, "others_network": Network, "settings": Settings, "options": AuditOptions}
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError)  # what the wrong form of a value leads to


class AuditReport(NamedTuple):
    """What an audit has found."""

    findings: List[Finding]
    subject: Subject  # by the scheme that answers
    spent: Cost
    unreachable: bool  # the mirror did not answer at all
    mail: Optional[Application]  # None: not wanted, or a prerequisite fails


def audit_apart(subject: Subject, on_finding: Callable[[Finding], None], mail: str) -> AuditReport:
    """Audit a mirror.

    Args:
        subject: the mirror; its callbacks are called in this process.
        on_finding: called with each finding as soon as its check has ended.
        mail: when to write the application: NEVER, IF_FINE or ALWAYS; but only if the mirror answers.

    Raises:
        UsageError: a TLS file cannot be used, or "sandbox".
    """
    listener = _Listener(subject, on_finding)
    networks = (subject.network, subject.others_network, subject.network._replace(ssl_verify=False))
    given = dict(_subject_values(subject), mail=mail)
    task = ApartTask(__name__, given, networks, bool(subject.rsync_url), DOWNLOAD_CPU_SECONDS,
                     seconds_of(subject.options) + GRACE_SECONDS)
    run_apart(task, listener.take, lambda say: _audit(subject, mail, say))
    return listener.report()


def prepare(given: Mapping[str, Any], contexts: Mapping[Network, Any]) -> Callable[[Say, Wait], None]:
    """Return the audit as a task, see privsep/task.py."""
    subject, mail = _subject_of(given)._replace(make_contexts=contexts.__getitem__), str(given["mail"])
    for name in LATE_MODULES:
        importlib.import_module(name)
    for name in LATE_AND_RARE_MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)

    def task(say: Say, wait: Wait) -> None:
        if subject.options.watch_seconds:
            say(WAITING)  # before "Ctrl-C ends it" is shown
        _audit(subject._replace(sleep=wait), mail, say)

    return task


def _subject_values(subject: Subject) -> Dict[str, Any]:
    """Return the subject as JSON, without its callbacks."""
    keys = [list(_written(key)._replace(subkeys=[list(_written(subkey)) for subkey in key.subkeys])) for key in subject.keys]
    return dict({name: getattr(subject, name) for name in _PLAIN}, keys=keys)


def _written(key: Any) -> Any:
    """Return a key or subkey with its numbers as text."""
    return key._replace(material=base64.b64encode(key.material.public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode("ascii"))


def _read(key: Any) -> Any:
    return key._replace(material=load_der_public_key(base64.b64decode(key.material)))


def _subject_of(given: Mapping[str, Any]) -> Subject:
    frozen = {name: _frozen(value) for name, value in given.items()}
    keys = tuple(_read(key)._replace(subkeys=tuple(_read(Subkey(*subkey)) for subkey in key.subkeys))
                 for key in (PublicKey(*values) for values in frozen["keys"]))
    made = {name: kind(*frozen[name]) for name, kind in _MADE.items()}
    return Subject(**dict({name: frozen[name] for name in _PLAIN}, keys=keys, budget=Budget(Cost(0, 0), 0), **made))


def _frozen(value: Any) -> Any:
    """Return JSON with tuples in the place of lists, as the values of this program have them."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _audit(subject: Subject, mail: str, say: Say) -> None:
    """Run the audit, and say what it finds."""
    auditor = Auditor(subject._replace(on_bytes=lambda what, done, total: say({"bytes": [what, done, total]}),
                                       on_step=lambda what: say({"step": what})))
    findings = []
    for finding in auditor.findings():
        findings.append(finding)
        said = {"finding": list(finding)}
        say(said if len(encoded(said)) <= MAX_VALUE_BYTES else {"finding": list(finding._replace(values={}))})
    wanted = mail == ALWAYS or mail == IF_FINE and not failing(findings)
    say({"end": {"spent": list(auditor.spent), "unreachable": auditor.unreachable, "url": auditor.subject.url,
                 "mail": list(application(auditor.subject, findings)[1:]) if wanted and not auditor.unreachable else None}})


class _Listener:
    """Takes what the audit says.

    Args:
        subject, on_finding: see ``audit_apart``.
    """

    def __init__(self, subject: Subject, on_finding: Callable[[Finding], None]) -> None:
        self._subject = subject
        self._on_finding = on_finding
        self._findings: List[Finding] = []
        self._report: Optional[AuditReport] = None

    def take(self, said: Dict[str, Any]) -> None:
        """Take one value; raise UsageError "sandbox" for one that has not the right form."""
        if self._report is not None:
            raise sandbox_error(MALFORMED)
        try:
            [(kind, value)] = said.items()
            takers = {"finding": self._finding, "step": self._step, "bytes": self._bytes, "end": self._end}
            show = takers[kind](value)
        except _MALFORMED as error:
            raise sandbox_error(MALFORMED) from error
        show()

    def report(self) -> AuditReport:
        """Return what was found; raise UsageError "sandbox" if the audit has not come to its end."""
        if self._report is None:
            raise sandbox_error(MALFORMED)
        return self._report

    def _finding(self, said: Any) -> Callable[[], None]:
        check, verdict, evidence, remedy, values = said
        finding = Finding(check, verdict, tuple(map(_text, evidence)), _text(remedy), _bounded(dict(values)))
        if not _CHECK.match(check) or verdict not in VERDICTS:
            raise ValueError("no finding")
        self._findings.append(finding)
        return lambda: self._on_finding(finding)

    def _step(self, said: Any) -> Callable[[], None]:
        text = _text(said)
        return lambda: self._subject.on_step(text)

    def _bytes(self, said: Any) -> Callable[[], None]:
        what, done, total = said
        text, numbers = _text(what), (_count(done), _count(total))
        return lambda: self._subject.on_bytes(text, *numbers)

    def _end(self, said: Any) -> Callable[[], None]:
        url, mail, subject = said["url"], said["mail"], self._subject
        if url != subject.url:
            if not url or url != subject.also_url:
                raise ValueError("another mirror")
            subject = subject._replace(url=url, also_url=subject.url)
        letter = None
        if mail is not None:
            heading, body = map(_text, mail)
            letter = Application(MIRRORS_ADDRESS, _line(heading), "\n".join(map(_line, body.split("\n"))))
        spent = Cost(*map(_count, said["spent"]))
        self._report = AuditReport(self._findings, subject, spent, said["unreachable"] is True, letter)
        return lambda: None


def _text(said: Any) -> str:
    if not isinstance(said, str):
        raise TypeError("no text")
    return said


def _line(text: str) -> str:
    """Return a line of any length, made printable."""
    return "".join(printable(text[at:at + MAX_TEXT_CHARACTERS]) for at in range(0, len(text), MAX_TEXT_CHARACTERS))


def _count(said: Any) -> int:
    if not isinstance(said, int) or not 0 <= said <= MAX_NUMBER:
        raise ValueError("no number of anything")
    return said


def _bounded(said: Any, depth: int = 0) -> Any:
    """Return a value of JSON; ValueError if it is nested too deeply, or has a number that is none."""
    if isinstance(said, (dict, list)):
        if depth == MAX_DEPTH:
            raise ValueError("nested too deeply")
        for each in said.values() if isinstance(said, dict) else said:
            _bounded(each, depth + 1)
    elif isinstance(said, (int, float)) and not abs(said) <= MAX_NUMBER:
        raise ValueError("no number")
    return said
