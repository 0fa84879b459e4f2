"""Which person an OpenID Provider's subject is, as stored."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table

from sekisho.db import control

oidc_identity = Table(
    "oidc_identity",
    control,
    # OpenID Connect Core §2: the two together name somebody for good; an address does not.
    Column("issuer", String(255), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("user_id", ForeignKey("user.id"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

Index("oidc_identity_user", oidc_identity.c.user_id)
