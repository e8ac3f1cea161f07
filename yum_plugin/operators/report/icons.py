"""The icons of the states: they differ in shape, not in colour alone. Each is 16 units wide and high."""
from typing import Union

from .markup import Markup, element, joined

# The filled shape, and the line on it in the colour of the background.
_SHAPES = {
    "ok": ("M8 1a7 7 0 1 0 0 14a7 7 0 1 0 0-14z", "M4.7 8.3l2.3 2.3 4.3-4.8"),
    "stale": ("M8 1.2l7 12.9h-14z", "M8 6v4M8 12.1v.1"),
    "failed": ("M2 2h12v12h-12z", "M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6"),
    "refused": ("M5 1h6l4 4v6l-4 4h-6l-4-4v-6z", "M4.4 8h7.2"),
    "excluded": ("M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12z", "M4.6 11.4l6.8-6.8"),
    "denied": ("M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12z", "M5 8h6"),
    "not asked": ("M8 3a5 5 0 1 0 0 10a5 5 0 1 0 0-10z", "M8 8v.1"),
}


def definitions() -> Markup:
    """Return the symbols, once for each page."""
    symbols = [element("symbol", element("path", d=Markup(shape), class_="shape"), element("path", d=Markup(line), class_="line"),
                       id="i-" + class_of(state), viewBox="0 0 16 16") for state, (shape, line) in _SHAPES.items()]
    return element("svg", joined(symbols), width=0, height=0, aria_hidden="true", class_="symbols")


def icon(state: str, **place: Union[int, float]) -> Markup:
    """Return a state's icon; ``place`` is x, y, width and height in a drawing."""
    name = class_of(state)
    return element("svg", element("use", href="#i-" + name), class_="icon " + name, aria_hidden="true", **place)


def badge(state: str) -> Markup:
    """Return a state's icon and name."""
    return element("span", icon(state), " ", state, class_="badge " + class_of(state))


def class_of(state: str) -> str:
    """Return the name of a state in the style sheet."""
    return state.replace(" ", "-")
