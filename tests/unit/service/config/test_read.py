from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.db import parse_postgres
from sekisho.service.config import (
    Config,
    ConfigError,
    DeliveryMode,
    ListenerTls,
    LogLevel,
    RouteTls,
    Source,
    TlsVersion,
    gather,
    load,
    parse,
)
from sekisho.service.config.model import MxTls

CONTRACT = """
[server]
hostname = "relay.example.net"
data_dir = "/var/lib/sekisho"
workers = 0
public_url = "https://relay.example.net"
user = ""
drain_s = 30
signup = "closed"
[storage]
url = "sqlite"
spool = "local"
master_key_file = ""
[smtp]
max_message_size = "30MiB"
max_recipients = 1000
max_messages_per_connection = 5000
max_connections = 10000
max_connections_per_ip = 200
idle_timeout = "5m"
trusted_proxies = []
session_memory = "256MiB"
[tls]
certificate_file = ""
private_key_file = ""
minimum_version = "1.2"
[http]
address = "127.0.0.1:8080"
tls = false
trusted_proxies = []
[dns]
nameservers = []
timeout = "5s"
[delivery]
mode = "mx"
max_age = "72h"
retry_first = "60s"
retry_max = "4h"
allow_private_networks = false
mx_port = 25
source_addresses = []
"""
"""The contract's page, less what this version refuses."""


def read(text: str = "", /, **environ: str) -> Config:
    return parse(Source(text, "sekisho.toml", Path("/etc/sekisho"), environ, None))


def refusal(text: str = "", /, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        read(text, **environ)
    assert "\n" not in str(refused.value)
    return refused.value


def test_the_defaults_are_the_contract_s() -> None:
    assert read() == read(CONTRACT)


def test_the_default_listeners() -> None:
    found = {(str(listener.address), listener.tls.value) for listener in read().smtp.listeners}
    starttls = {
        (f"{host}:{port}", "starttls") for host, port in itertools.product(("[::]", "0.0.0.0"), (25, 587, 2525))
    }
    assert found == starttls | {("[::]:465", "implicit"), ("0.0.0.0:465", "implicit")}


def test_every_key_reaches_its_field() -> None:
    config = read(
        """
        [server]
        hostname = "Mail.Example"
        data_dir = "data"
        workers = 3
        user = "sekisho"
        drain_s = 2.5
        log_level = "debug"
        [storage]
        master_key_file = "/run/key"
        [smtp]
        max_message_size = 4096
        idle_timeout = "10s"
        [[smtp.listeners]]
        address = "127.0.0.1:0"
        tls = "implicit"
        [tls]
        certificate_file = "tls/chain.pem"
        private_key_file = "tls/key.pem"
        minimum_version = "1.3"
        [http]
        address = "0.0.0.0:80"
        trusted_proxies = ["10.0.0.0/8"]
        [dns]
        nameservers = ["127.0.0.1:5353", "::1"]
        [delivery]
        mode = "capture"
        source_addresses = ["192.0.2.1"]
        [[delivery.routes]]
        domain = "*.Example.com"
        account = "acme"
        host = "127.0.0.1"
        port = 1025
        tls = "off"
        verp = false
        """
    )
    assert config.server.hostname == "mail.example"
    assert config.server.public_url == "https://mail.example"
    assert config.server.data_dir == Path("/etc/sekisho/data")
    assert (config.server.workers, config.server.user, config.server.drain_s) == (3, "sekisho", 2.5)
    assert config.server.log_level is LogLevel.DEBUG
    assert config.storage.master_key_file == Path("/run/key")
    assert (config.smtp.max_message_size_bytes, config.smtp.idle_timeout_s) == (4096, 10.0)
    (listener,) = config.smtp.listeners
    assert (listener.address.port, listener.tls) == (0, ListenerTls.IMPLICIT)
    assert config.tls.certificate_file == Path("/etc/sekisho/tls/chain.pem")
    assert config.tls.minimum_version is TlsVersion.TLS_1_3
    assert [str(server) for server in config.dns.nameservers] == ["127.0.0.1:5353", "[::1]:53"]
    assert config.delivery.mode is DeliveryMode.CAPTURE
    (route,) = config.delivery.routes
    assert (route.domain, route.account, route.port, route.tls, route.verp) == (
        "*.example.com", "acme", 1025, RouteTls.OFF, False,
    )  # fmt: skip


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    file = tmp_path / "sekisho.toml"
    file.write_text('[server]\nworkers = 2\ndata_dir = "a"\n')
    environ = {
        "SEKISHO_SERVER__WORKERS": "5",
        "SEKISHO_SERVER__DATA_DIR": "/b",
        "SEKISHO_HTTP__TRUSTED_PROXIES": "10.0.0.0/8, ::1/128",
        "SEKISHO_DEBUG": "no key, no double underscore",
        "OTHER__NAME": "somebody else's",
    }
    config = load(file, environ, data_dir=tmp_path / "c")
    assert config.server.workers == 5
    assert config.server.data_dir == tmp_path / "c"
    assert len(config.http.trusted_proxies) == 2
    assert load(file, environ).server.data_dir == Path("/b")
    assert load(file, {}).server.data_dir == tmp_path / "a"


@pytest.mark.parametrize(
    ("text", "key", "word"),
    [
        ("[servr]\na = 1", "servr", "did you mean server?"),
        ('[server]\nhostnam = "a"', "server.hostnam", "did you mean hostname?"),
        ("[smtp]\nzzz = 1", "smtp.zzz", "not a key"),
        ("workers = 1", "workers", "not a key"),
        ("server = 1", "server", "must be a table"),
        ("[[server]]", "server", "must be a table"),
        ('[server]\nworkers = "2"', "server.workers", "whole number"),
        ("[server]\nworkers = -1", "server.workers", "between 0 and 256"),
        ("[smtp]\nidle_timeout = 300", "smtp.idle_timeout", "must be text"),
        ('[smtp]\nmax_message_size = "1GB 2"', "smtp.max_message_size", "size"),
        ("[smtp]\nlisteners = []", "smtp.listeners", "at least one"),
        ("[smtp]\nlisteners = 1", "smtp.listeners", "array of tables"),
        ("[[smtp.listeners]]\nport = 25", "smtp.listeners[0].port", "not a key"),
        ('[[smtp.listeners]]\ntls = "implicit"', "smtp.listeners[0].address", "missing"),
        (
            '[[smtp.listeners]]\naddress = "127.0.0.1:25"\n[[smtp.listeners]]\naddress = "127.0.0.1:25"',
            "smtp.listeners[1].address",
            "listed twice",
        ),
        ('[tls]\ncertificate_file = "a"', "tls.private_key_file", "together"),
        ('[tls]\nprivate_key_file = "a"', "tls.certificate_file", "together"),
        ('[http]\naddress = "0.0.0.0:8080"', "http.address", "not loopback"),
        ('[http]\naddress = "[::]:8080"', "http.address", "not loopback"),
        ('[delivery]\nretry_first = "5h"', "delivery.retry_first", "longer"),
        ('[[delivery.routes]]\nhost = "a.example"', "delivery.routes[0].domain", "missing"),
        ('[[delivery.routes]]\ndomain = "*"\nhost = "a.example"\nport = 0', "delivery.routes[0].port", "between"),
        (
            '[[delivery.routes]]\ndomain = "*"\nhost = "a.example"\nusername = "u"',
            "delivery.routes[0].password_file",
            "missing",
        ),
        (
            '[[delivery.routes]]\ndomain = "*"\nhost = "a.example"\npassword_file = "p"',
            "delivery.routes[0].username",
            "missing",
        ),
        (
            '[[delivery.routes]]\ndomain = "*"\nhost = "a"\nusername = "u"\npassword_file = "p"\ntls = "opportunistic"',
            "delivery.routes[0].tls",
            "verified TLS",
        ),
        ('[[delivery.routes]]\ndomain = "*"\nhost = "a"\npassword = "p"', "delivery.routes[0].password", "not a key"),
        ('[storage]\nurl = "mysql://x"', "storage.url", "sqlite"),
        ('[server]\nsignup = "anybody"', "server.signup", "invitation"),
        ("[signup]\ndaily_credits = 0", "signup.daily_credits", "between 1"),
        ("[signup]\nlift_bounces_percent = 101", "signup.lift_bounces_percent", "between 0 and 100"),
        ('[oidc]\nissuer = "https://id.test"', "oidc.client_id", "missing"),
        ('[oidc]\nissuer = "http://id.test"', "oidc.issuer", "https://"),
        ('[oidc]\nissuer = "https://id.test?x=1"', "oidc.issuer", "without a query"),
        ('[oidc]\nissuer = "https://"', "oidc.issuer", "with a host"),
        ('[oidc]\nsecond_factor_amr = ["a b"]', "oidc.second_factor_amr", "words"),
        ('[storage]\nurl = "postgresql://u@h"', "storage.url", "names no database"),
        ("a = ", "sekisho.toml", "not TOML"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_and_reason(text: str, key: str, word: str) -> None:
    refused = refusal(text)
    assert refused.key == key
    assert word in refused.reason


@pytest.mark.parametrize(
    ("text", "key", "brings"),
    [
        ("[webhooks]", "webhooks", "later release"),
        ('[webhooks]\nmax_age = "24h"', "webhooks", "later release"),
        ("[metrics]", "metrics", "later release"),
        ('[dns.authoritative]\nzone = ""', "dns.authoritative", "Identity"),
        ('[storage]\nspool = "postgresql"', "storage.spool", "later release"),
        ('[smtp]\ntrusted_proxies = ["10.0.0.0/8"]', "smtp.trusted_proxies", "PROXY"),
        (
            '[[smtp.listeners]]\naddress = "[::]:25"\naccept = ["submission", "inbound"]',
            "smtp.listeners[0].accept",
            "Identity",
        ),
    ],
)
def test_what_a_later_version_brings_is_refused_with_its_name(text: str, key: str, brings: str) -> None:
    refused = refusal(text)
    assert refused.key == key
    assert "not supported by this version" in refused.reason
    assert brings in refused.reason


@pytest.mark.parametrize(
    ("variable", "text", "key", "word"),
    [
        ("SEKISHO_SERVER__HOSTNAM", "x", "SEKISHO_SERVER__HOSTNAM", "did you mean hostname?"),
        ("SEKISHO_SERVER__WORKERS", "two", "SEKISHO_SERVER__WORKERS", "whole number"),
        ("SEKISHO_NOPE__X", "1", "nope", "not a key"),
        ("SEKISHO_SERVER__HOSTNAME__X", "1", "server.hostname", "must be text"),
        ("SEKISHO_SMTP__LISTENERS", "x", "SEKISHO_SMTP__LISTENERS", "only be set in the file"),
        ("SEKISHO_DNS__AUTHORITATIVE__ZONE", "wl.example", "dns.authoritative", "Identity"),
        ("SEKISHO_WEBHOOKS__MAX_AGE", "1h", "webhooks", "later release"),
        ("SEKISHO_SMTP__TRUSTED_PROXIES", "10.0.0.0/8", "SEKISHO_SMTP__TRUSTED_PROXIES", "PROXY"),
        ("SEKISHO_HTTP__TLS", "yes", "SEKISHO_HTTP__TLS", "true or false"),
    ],
)
def test_variables_are_judged_like_keys(variable: str, text: str, key: str, word: str) -> None:
    refused = refusal(**{variable: text})
    assert refused.key == key
    assert word in refused.reason


def test_a_variable_cannot_reach_into_a_list_of_the_file() -> None:
    listeners = '[[smtp.listeners]]\naddress = "127.0.0.1:0"'
    assert "variable" in refusal(listeners, SEKISHO_SMTP__LISTENERS__0="x").reason


def test_what_is_off_by_default_may_be_said() -> None:
    assert read("[delivery]\nmx_port = 25", SEKISHO_SMTP__TRUSTED_PROXIES="") == read()


def test_limits_by_destination() -> None:
    first, second, third = read(
        """
        [[delivery.shaping]]
        mx = "*.Mx.Example"
        domain = "example.com"
        connections = 3
        rate = "90/m"
        messages_per_connection = 20
        tls = "required"
        [[delivery.shaping]]
        mx = "192.0.2.1"
        [[delivery.shaping]]
        domain = "*"
        """
    ).delivery.shaping
    assert (first.mx, first.domain, first.connections, first.rate_per_s) == ("*.mx.example", "example.com", 3, 1.5)
    assert (first.messages_per_connection, first.tls) == (20, MxTls.REQUIRED)
    assert (second.mx, second.domain, second.rate_per_s, second.tls) == ("192.0.2.1", "", None, MxTls.OPPORTUNISTIC)
    assert (third.mx, third.domain) == ("", "*")


@pytest.mark.parametrize(
    ("row", "key", "word"),
    [
        ("connections = 1", "delivery.shaping[0]", "must name mx or domain"),
        ('mx = "a..b"', "delivery.shaping[0].mx", "must be"),
        ('domain = "*"\nrate = "10"', "delivery.shaping[0].rate", "must be a rate"),
        ('domain = "*"\nconnections = 0', "delivery.shaping[0].connections", "between"),
        ('domain = "*"\ntls = "off"', "delivery.shaping[0].tls", "must be"),
        ('domains = "*"', "delivery.shaping[0].domains", "did you mean domain?"),
    ],
)
def test_limits_that_cannot_be_used(row: str, key: str, word: str) -> None:
    refused = refusal(f"[[delivery.shaping]]\n{row}")
    assert refused.key == key
    assert word in refused.reason


@pytest.mark.parametrize("more", ["tls = true", 'trusted_proxies = ["192.0.2.1/32"]'])
def test_http_may_leave_loopback_behind_tls_or_a_proxy(more: str) -> None:
    assert str(read(f'[http]\naddress = "0.0.0.0:8080"\n{more}').http.address) == "0.0.0.0:8080"


def route(folder: Path, content: bytes | None) -> Path:
    if content is not None:
        (folder / "password").write_bytes(content)
    file = folder / "sekisho.toml"
    file.write_text(
        '[[delivery.routes]]\ndomain = "*"\nhost = "a.example"\nusername = "u"\npassword_file = "password"\n'
    )
    return file


@pytest.mark.parametrize("content", [b"hunter2", b"hunter2\n", b"hunter2\r\n"])
def test_a_password_is_its_file_without_the_line_end(tmp_path: Path, content: bytes) -> None:
    config = load(route(tmp_path, content), {})
    password = config.delivery.routes[0].password
    assert password is not None
    assert password.reveal() == "hunter2"
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize("content", [None, b"", b"\n", b"two\nlines\n", b"\xff", b"a\0b", b"x" * 5000])
def test_a_file_without_a_password_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = route(tmp_path, content)
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    assert refused.value.key == "delivery.routes[0].password_file"
    assert load(file, {}, read_secrets=False).delivery.routes[0].password is None


@pytest.mark.parametrize(
    ("content", "word"), [(None, "No such file"), (b"\xff", "UTF-8"), (b"#" * (1 << 21), "larger")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, word: str) -> None:
    file = tmp_path / "sekisho.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=word) as refused:
        gather(file, {})
    assert refused.value.key == str(file)


def test_what_was_gathered_says_the_same_without_the_files(tmp_path: Path) -> None:
    file = route(tmp_path, b"hunter2\n")
    source = gather(file, {"SEKISHO_SERVER__WORKERS": "2", "PATH": "/bin"})
    file.unlink()
    (tmp_path / "password").unlink()
    assert source.environ == {"SEKISHO_SERVER__WORKERS": "2"}
    password = parse(source).delivery.routes[0].password
    assert password is not None
    assert password.reveal() == "hunter2"


@given(
    st.text(max_size=80),
    st.dictionaries(
        st.from_regex(r"SEKISHO_[A-Z_]{0,20}__[A-Z_]{0,20}", fullmatch=True), st.text(max_size=9), max_size=3
    ),
)
def test_no_input_raises_anything_but_the_configuration_s_error(text: str, environ: dict[str, str]) -> None:
    with contextlib.suppress(ConfigError):
        read(text, **environ)


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (3, 1), (5, 1), (6, 2), (64, 21)])
def test_one_relay_worker_per_three_cores_unless_told(cores: int, workers: int) -> None:
    assert read().server.relay_workers(cores) == workers
    assert read("[server]\nworkers = 4").server.relay_workers(cores) == 4


@pytest.mark.parametrize("url", ["postgresql://me:s3cret@db.test/relay", "postgresql://me:s3cret@db.test"])
def test_a_database_s_password_is_shown_nowhere(url: str) -> None:
    source = Source(f'[storage]\nurl = "{url}"', "sekisho.toml", Path("/"), {"SEKISHO_STORAGE__URL": url}, None)
    shown = repr(source)
    try:
        shown += repr(parse(source))
    except ConfigError as refused:
        shown += f"{refused} {refused!r}"
    assert "s3cret" not in shown


def test_a_database_server_is_named_by_its_url() -> None:
    config = parse(Source('[storage]\nurl = "postgresql://me@db.test/relay"', "", Path("/"), {}, None))
    assert config.storage.postgres == parse_postgres("postgresql://me@db.test/relay")
    assert parse(Source("", "", Path("/"), {}, None)).storage.postgres is None


def test_the_client_secret_is_its_file_s_and_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "sekisho.toml"
    file.write_text('[oidc]\nissuer = "https://id.test/realm"\nclient_id = "sekisho"\nclient_secret_file = "secret"\n')
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    assert refused.value.key == "oidc.client_secret_file"
    (tmp_path / "secret").write_text("hunter2\n")
    config = load(file, {})
    assert config.oidc.client_secret is not None
    assert config.oidc.client_secret.reveal() == "hunter2"
    assert config.oidc.client_secret_file == tmp_path / "secret"
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize("issuer", ["http://localhost:3000", "http://127.0.0.1", "https://id.test:8443/a/"])
def test_an_issuer_is_kept_as_it_is_written(tmp_path: Path, issuer: str) -> None:
    file = tmp_path / "sekisho.toml"
    file.write_text(f'[oidc]\nissuer = "{issuer}"\nclient_id = "x"\n')
    assert load(file, {}).oidc.issuer == issuer
