"""Somebody on the way lets the package manager speak with its mirrors, and this program with nobody."""
from tests.lab.faults import UNAVAILABLE, Fault
from tests.lab.plugin import NAME
from tests.lab.wire import SILENCE

HOW = ("silence", "503", "cut")


def withhold(lab, how="503"):
    """Withhold every answer from this program, known by its User-Agent; ``how`` is one of HOW."""
    def answer(mirror, request):
        if not request.headers.get("user-agent", "").startswith(NAME):
            return None
        if how == "cut":
            raise ConnectionError("the connection is closed")
        return SILENCE if how == "silence" else UNAVAILABLE

    for mirror in list(lab.mirrors.values()) + [lab.origin]:
        mirror.faults = (Fault("withheld", "", answer),)
    lab.redirector.override = lambda request: answer(None, request)
