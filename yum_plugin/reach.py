"""How the network is reached: by this process, or by one that has given up root and does it for us (privsep/).

Three things touch what servers send before anything of it is proven: HTTP and TLS, the reading of mirror lists, and the
look at a chain of certificates. A ``Reach`` says who does these; everything else is the same either way.
"""
from typing import Callable, Dict, NamedTuple, Sequence

from .ask import Patience, ask_list_page, ask_selection
from .errors import FetchError
from .listing import PAGE, SELECTION
from .model import MirrorList, Network
from .net.fetch import Clients, Conversation, OpenConversation
from .net.probe import explain_tls

AskList = Callable[[Conversation, str, Sequence[str], str, Patience], MirrorList]
Explain = Callable[[Conversation, FetchError, str, Network, float], FetchError]

_FORMS: Dict[str, Callable[[Conversation, Sequence[str], str, Patience], MirrorList]] = {
    PAGE: ask_list_page, SELECTION: ask_selection}


class Reach(NamedTuple):
    """Who touches the network."""

    open: OpenConversation
    ask_list: AskList  # as the function below
    explain: Explain  # as the function below


def here() -> Reach:
    """Let this process do it."""
    return Reach(Clients().open, ask_list, explain)


def ask_list(client: Conversation, form: str, roots: Sequence[str], path: str, patience: Patience) -> MirrorList:
    """Ask for one form of a mirror list: PAGE or SELECTION; else as ``ask.ask_list_page``."""
    return _FORMS[form](client, roots, path, patience)


def explain(client: Conversation, error: FetchError, url: str, network: Network, timeout_seconds: float) -> FetchError:
    """Refine what a fetch raised, as ``probe.explain_tls`` does; ``client`` is the conversation that it happened in."""
    return explain_tls(error, url, network, timeout_seconds)
