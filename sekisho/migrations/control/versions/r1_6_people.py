"""People: how they log in, second factors, sessions, one-time links, teammates, letters, probation.

Before the code switch: it only adds.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "1.6"
down_revision: Final = "1.5"
branch_labels: Final = None
depends_on: Final = None

ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

FIRST_NAMES: Final = """
UPDATE "user" SET username = (SELECT name FROM account WHERE account.id = "user".account_id),
    folded_username = (SELECT folded_name FROM account WHERE account.id = "user".account_id)
"""


def upgrade() -> None:
    op.create_table(
        "login_failure",
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("window", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", "window", name=op.f("pk_login_failure")),
    )
    op.create_table(
        "invitation",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("token", sa.String(length=36), nullable=False),
        sa.Column("account_id", ROW_ID, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=True),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("restricted", sa.Boolean(), nullable=False),
        sa.Column("access", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_invitation_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
        sqlite_autoincrement=True,
    )
    op.create_index("invitation_account", "invitation", ["account_id"], unique=False)
    op.create_index("invitation_token_once", "invitation", ["token"], unique=True)
    op.create_table(
        "probation",
        sa.Column("account_id", ROW_ID, nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("lifted_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_probation_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_probation")),
    )
    op.create_table(
        "letter",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("to_email", sa.String(length=254), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("user_id", ROW_ID, nullable=True),
        sa.Column("account_id", ROW_ID, nullable=True),
        sa.Column("invitation_id", ROW_ID, nullable=True),
        sa.Column("about", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_letter_account_id")),
        sa.ForeignKeyConstraint(["invitation_id"], ["invitation.id"], name=op.f("fk_letter_invitation_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_letter_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_letter")),
        sqlite_autoincrement=True,
    )
    op.create_index("letter_account", "letter", ["account_id"], unique=False)
    op.create_index("letter_due", "letter", ["done_ms", "next_ms"], unique=False)
    op.create_index("letter_invitation", "letter", ["invitation_id"], unique=False)
    op.create_index("letter_user", "letter", ["user_id"], unique=False)
    op.create_table(
        "link",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("purpose", sa.String(length=10), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("user_id", ROW_ID, nullable=True),
        sa.Column("account_id", ROW_ID, nullable=True),
        sa.Column("invitation_id", ROW_ID, nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_link_account_id")),
        sa.ForeignKeyConstraint(["invitation_id"], ["invitation.id"], name=op.f("fk_link_invitation_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_link_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link")),
        sqlite_autoincrement=True,
    )
    op.create_index("link_account", "link", ["account_id"], unique=False)
    op.create_index("link_digest_once", "link", ["digest"], unique=True)
    op.create_index("link_expires", "link", ["expires_ms"], unique=False)
    op.create_index("link_invitation", "link", ["invitation_id"], unique=False)
    op.create_index("link_user", "link", ["user_id"], unique=False)
    op.create_table(
        "oidc_identity",
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_oidc_identity_user_id")),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_oidc_identity")),
    )
    op.create_index("oidc_identity_user", "oidc_identity", ["user_id"], unique=False)
    op.create_table(
        "passkey",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("credential_id", sa.LargeBinary(length=1023), nullable=False),
        sa.Column("public_key", sa.LargeBinary(length=2048), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("backed_up", sa.Boolean(), nullable=False),
        sa.Column("transports", sa.String(length=100), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_passkey_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkey")),
        sqlite_autoincrement=True,
    )
    op.create_index("passkey_credential_once", "passkey", ["credential_id"], unique=True)
    op.create_index("passkey_user", "passkey", ["user_id"], unique=False)
    op.create_table(
        "recovery_code",
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_recovery_code_user_id")),
        sa.PrimaryKeyConstraint("user_id", "digest", name=op.f("pk_recovery_code")),
    )
    op.create_table(
        "scope_request",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("scope_group", sa.String(length=100), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_scope_request_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scope_request")),
        sqlite_autoincrement=True,
    )
    op.create_index("scope_request_once", "scope_request", ["user_id", "scope_group"], unique=True)
    op.create_table(
        "session",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_id", ROW_ID, nullable=True),
        sa.Column("stage", sa.String(length=10), nullable=False),
        sa.Column("acting_for", ROW_ID, nullable=True),
        sa.Column("method", sa.String(length=10), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("stepped_up_ms", sa.BigInteger(), nullable=True),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("user_agent", sa.String(length=200), nullable=False),
        sa.Column("scratch", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["acting_for"], ["account.id"], name=op.f("fk_session_acting_for")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_session_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        sqlite_autoincrement=True,
    )
    op.create_index("session_digest_once", "session", ["digest"], unique=True)
    op.create_index("session_expires", "session", ["expires_ms"], unique=False)
    op.create_index("session_user", "session", ["user_id"], unique=False)
    op.create_table(
        "subuser_access",
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("subuser_id", ROW_ID, nullable=False),
        sa.Column("permission_type", sa.String(length=10), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["subuser_id"], ["account.id"], name=op.f("fk_subuser_access_subuser_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_subuser_access_user_id")),
        sa.PrimaryKeyConstraint("user_id", "subuser_id", name=op.f("pk_subuser_access")),
    )
    op.create_index("subuser_access_subuser", "subuser_access", ["subuser_id"], unique=False)
    op.create_table(
        "totp",
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("sealed", sa.LargeBinary(length=200), nullable=False),
        sa.Column("confirmed_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_totp_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_totp")),
    )
    op.create_table(
        "totp_pending",
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("sealed", sa.LargeBinary(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_totp_pending_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_totp_pending")),
    )
    op.create_table(
        "user_address",
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("network", sa.String(length=43), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_user_address_user_id")),
        sa.PrimaryKeyConstraint("user_id", "network", name=op.f("pk_user_address")),
    )
    op.add_column("api_key", sa.Column("maker_id", sa.BigInteger(), nullable=True))
    op.create_index("api_key_maker", "api_key", ["maker_id"], unique=False)
    op.add_column("user", sa.Column("username", sa.String(length=254), server_default="", nullable=False))
    op.add_column("user", sa.Column("folded_username", sa.String(length=254), server_default="", nullable=False))
    op.add_column("user", sa.Column("login_email", sa.String(length=254), nullable=True))
    op.add_column("user", sa.Column("role", sa.String(length=10), server_default="owner", nullable=False))
    op.add_column("user", sa.Column("scopes", sa.Text(), nullable=True))
    op.add_column("user", sa.Column("restricted", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("user", sa.Column("profile", sa.Text(), nullable=True))
    op.add_column("user", sa.Column("language", sa.String(length=8), nullable=True))
    op.create_index("user_login_email_once", "user", ["login_email"], unique=True)
    # One person per subuser so far, whose name was the subuser's.
    op.execute(FIRST_NAMES)
    op.create_index("user_username_once", "user", ["folded_username"], unique=True)
