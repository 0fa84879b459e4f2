"""Letters to people, sent through the relay itself: links to follow, and what one should know of one's own account."""

from sekisho.letters.actions import ask, count, detach_invitation, erase_tenant, erase_user
from sekisho.letters.model import Kind

__all__ = ["Kind", "ask", "count", "detach_invitation", "erase_tenant", "erase_user"]
