"""Who may send and sign as which domain."""

from sekisho.domains.lookup import SenderDomains
from sekisho.domains.model import Domain, Record, RecordName, Relay, SigningDomain

__all__ = ["Domain", "Record", "RecordName", "Relay", "SenderDomains", "SigningDomain"]
