"""Who changed what, whose, when and from where: a log that cannot be changed unnoticed."""

from sekisho.audit.log import OPERATOR, By, Detail, audit, audit_chain, erase, record
from sekisho.audit.reading import Entry, Search, entries, heads

__all__ = [
    "OPERATOR",
    "By",
    "Detail",
    "Entry",
    "Search",
    "audit",
    "audit_chain",
    "entries",
    "erase",
    "heads",
    "record",
]
