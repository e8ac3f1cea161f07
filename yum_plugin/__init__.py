"""xcpng-mirrors: package updates on XCP-ng hosts that survive bad mirrors.

Each folder's ``__init__.py`` says what lives there; docs/architecture.md has the picture and two walks through the code.
"""

__version__ = "0.1.0"
