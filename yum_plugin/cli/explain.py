"""``xcpng-mirrors explain``: show the last decisions about a repository or a mirror, in words and with their reasons.

It reads files and uses no network. state/store.py defines what is remembered of a decision.
"""
import argparse
import json
import sys
import time
from typing import Any, Dict, List, NamedTuple, Sequence

from ..errors import EXIT_OK, UsageError
from ..model import Repository
from ..resolve.selection import rank_candidates
from ..state.memory import Decision, Memory
from ..trust.freshness import duration
from ..util.urls import authority_of, clean_base_url, host_of
from .common.console import Console, ago, utc, wrapped
from .common.host_options import NOTES, SCHEMA, Host, add_host_arguments, open_host


class Story(NamedTuple):
    """What is shown about one repository."""

    repository: Repository
    memory: Memory
    decisions: Sequence[Decision]  # the newest first


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("subject", metavar="REPO|URL", help="id of a repository; or URL or host of a mirror, to show only the "
                        "decisions about it and its present state")
    add_host_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the last decisions, the newest first.

    Raises:
        UsageError: the subject is neither a repository of this host nor a mirror that it has used.
    """
    host, now, subject = open_host(arguments), time.time(), arguments.subject
    memories = [(repository, host.state.load(repository.id).memory) for repository in host.repositories]
    stories = [Story(repository, memory, memory.decisions[::-1]) for repository, memory in memories]
    mirror = "" if any(story.repository.id == subject for story in stories) else _authority(subject)
    if mirror:
        stories = [_about(story, mirror) for story in stories if _urls(story, mirror) or _about(story, mirror).decisions]
    else:
        stories = [story for story in stories if story.repository.id == subject]
    if not stories:
        raise UsageError("usage", "neither a repository nor a mirror that this host knows", where=subject,
                         hint="'xcpng-mirrors status' and 'xcpng-mirrors mirrors' show them; use --repo ID for a disabled one")
    out = Console(sys.stdout)
    if arguments.json:
        out.line(json.dumps(_values(stories, host, subject, now), indent=1))
    elif not arguments.quiet:
        lines = [line for story in stories for line in _lines(story, mirror, host, now)]
        out.lines(wrapped(lines, out.width))
    for problem in host.state.problems:
        host.warn("state", problem)
    return EXIT_OK


def _authority(subject: str) -> str:
    """Return the host, or host:port, of a mirror's URL or name; "" if the subject is neither."""
    try:
        return authority_of(clean_base_url(subject if "://" in subject else "http://" + subject))
    except ValueError:
        return ""


def _is(authority: str, wanted: str) -> bool:
    """Whether an authority is the wanted one; a wanted one without a port matches any port."""
    return wanted in (authority, host_of("http://{}/".format(authority)))


def _urls(story: Story, mirror: str) -> List[str]:
    """Return the URLs of a mirror on the last list and in the records."""
    known = [each.url for each in story.memory.mirrors] + list(story.memory.records)
    return sorted({url for url in known if _is(authority_of(url), mirror)})


def _about(story: Story, mirror: str) -> Story:
    """Keep only the decisions about a mirror."""
    return story._replace(decisions=[decision for decision in story.decisions if any(
        _is(authority, mirror) for authority in decision.used + tuple(each[0] for each in decision.rejected))])


def _lines(story: Story, mirror: str, host: Host, now: float) -> List[str]:
    lines = [story.repository.id]
    for url in _urls(story, mirror) if mirror else []:
        lines += ["  now: {}: {}".format(authority_of(url), words) for words in _standing(story, url, host, now)]
    for decision in story.decisions:
        lines += _decision_lines(decision, mirror, now)
    nothing = "  no remembered decision is about it" if mirror else "  there is no decision yet; run 'xcpng-mirrors refresh'"
    return lines + ([] if story.decisions else [nothing])


def _standing(story: Story, url: str, host: Host, now: float) -> List[str]:
    """Return the present state of a mirror, by the last list, the current settings and its last answer."""
    memory = story.memory
    listed = [each for each in memory.mirrors if each.url == url]
    words = ["on the last list, number {}".format(each.rank) if each.rank else "on the last list" for each in listed]
    words = words or ["not on the last list"]
    settings, reach = host.settings, story.repository.network.reach
    reasons = rank_candidates(listed, (), settings.deny, (), not settings.require_https, reach=reach)[1]
    words += [reason for _, reason in reasons]
    record = memory.records.get(url)
    if record is not None:
        detail = ": ".join(part for part in (record.outcome, record.detail) if part)
        words.append("last answer {}: {}".format(ago(now - record.at), detail))
        if record.quarantined_until > now:
            words.append("asked last for {} more, after {} failures in a row".format(
                duration(int(record.quarantined_until - now)), record.failures))
    return words


def _decision_lines(decision: Decision, mirror: str, now: float) -> List[str]:
    """Return the lines of a decision: what was chosen and why, and what was not; for one mirror, if one is wanted."""
    lines = ["  {} ({}): {}".format(utc(decision.at), ago(now - decision.at), _chosen(decision))]
    if decision.note in NOTES:
        lines.append("    " + NOTES[decision.note])
    for place, authority in enumerate(decision.used, 1):
        if mirror and _is(authority, mirror):
            lines.append("    {}: used, number {} of {}".format(authority, place, len(decision.used)))
    for authority, reference, reason in decision.rejected:
        if not mirror or _is(authority, mirror):
            lines.append("    not used: {}: {}".format(authority, ": ".join(part for part in (reference, reason) if part)))
    return lines + (["    not used: {} more".format(decision.more)] if decision.more and not mirror else [])


def _chosen(decision: Decision) -> str:
    used = ", ".join(decision.used)
    if decision.about == "pin" and decision.note:
        return "pinned to revision {} until {}, as agreed for the pool".format(decision.revision, decision.note)
    if decision.about == "pin":
        return "the pin on revision {} has ended".format(decision.revision)
    if decision.about == "packages":
        return "packages came from {}; the others failed and are asked last for a while".format(used or "no mirror")
    if decision.error:
        return "no mirror was used; {} asked: {}".format(decision.asked, decision.error)
    return "revision {} from {}: of {} mirrors asked these serve the newest that the pinned key has signed, best first".format(
        decision.revision, used, decision.asked)


def _values(stories: Sequence[Story], host: Host, subject: str, now: float) -> Dict[str, Any]:
    return {"schema": SCHEMA, "command": "explain", "now": utc(now), "subject": subject, "warnings": list(host.warnings),
            "problems": list(host.state.problems),
            "repositories": [{"id": story.repository.id, "decisions": [_decision_values(each) for each in story.decisions]}
                             for story in stories]}


def _decision_values(decision: Decision) -> Dict[str, Any]:
    return {"decided_at": utc(decision.at), "about": decision.about, "asked": decision.asked,
            "revision": decision.revision or None, "used": list(decision.used), "note": decision.note,
            "error": decision.error or None, "more_rejected": decision.more,
            "rejected": [{"mirror": authority, "reference": reference, "reason": reason}
                         for authority, reference, reason in decision.rejected]}
