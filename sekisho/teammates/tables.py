"""Teammates as stored, beside their rows in ``user``."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, String, Table, Text

from sekisho.db import ROW_ID, control

invitation = Table(
    "invitation",
    control,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    # The vendor's pending token: names the invitation to the API, opens nothing.
    Column("token", String(36), nullable=False),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("email", String(254), nullable=False),
    # JSON list of scope names; NULL: all (admins).
    Column("scopes", Text, nullable=True),
    Column("is_admin", Boolean, nullable=False),
    # Only the subusers in "access": JSON list of {subuser_id, permission_type, scopes}.
    Column("restricted", Boolean, nullable=False),
    Column("access", Text, nullable=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

Index("invitation_token_once", invitation.c.token, unique=True)
Index("invitation_account", invitation.c.account_id)

subuser_access = Table(
    "subuser_access",
    control,
    # What a teammate of the parent account may do for one subuser.
    Column("user_id", ForeignKey("user.id"), primary_key=True),
    Column("subuser_id", ForeignKey("account.id"), primary_key=True),
    # "admin" or "restricted".
    Column("permission_type", String(10), nullable=False),
    # JSON list of scope names; NULL: all (admin).
    Column("scopes", Text, nullable=True),
)

Index("subuser_access_subuser", subuser_access.c.subuser_id)

scope_request = Table(
    "scope_request",
    control,
    # A teammate asks for a group of scopes.
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("user_id", ForeignKey("user.id"), nullable=False),
    Column("scope_group", String(100), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

Index("scope_request_once", scope_request.c.user_id, scope_request.c.scope_group, unique=True)
