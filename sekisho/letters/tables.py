"""Letters to people as stored, until they are handed to the relay itself."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from sekisho.db import ROW_ID, control

letter = Table(
    "letter",
    control,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    # model.Kind.
    Column("kind", String(20), nullable=False),
    # As it was typed: whether anybody has this address is found out when the letter is written, not when it is asked.
    Column("to_email", String(254), nullable=False),
    Column("language", String(8), nullable=False),
    # What it is about, by kind.
    Column("user_id", ForeignKey("user.id"), nullable=True),
    Column("account_id", ForeignKey("account.id"), nullable=True),
    Column("invitation_id", ForeignKey("invitation.id"), nullable=True),
    # JSON of what the text names; never a secret: a link's token is made when the letter is written.
    Column("about", Text, nullable=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    # NULL: still to be sent. Also set for one that concerns nobody.
    Column("done_ms", BigInteger, nullable=True),
    sqlite_autoincrement=True,
)

Index("letter_due", letter.c.done_ms, letter.c.next_ms)
Index("letter_user", letter.c.user_id)
Index("letter_account", letter.c.account_id)
Index("letter_invitation", letter.c.invitation_id)
