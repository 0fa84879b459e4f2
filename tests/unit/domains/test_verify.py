from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sekisho.domains.model import Record, RecordName
from sekisho.domains.verify import Finding, Sight, is_disproof, is_proof, judge, look
from sekisho.ports.dns import Absent, Exchanger, Exchangers, NoRecords, NoSuchName, Texts, TryLater
from sekisho.wire.dkim.keys import generate_ed25519, txt_record

KEY = txt_record(generate_ed25519())
DKIM = Record(RecordName.DKIM_ED25519, "ske1-ab12._domainkey.example.com", "txt", KEY, seen=False)
SPF = Record(RecordName.SUBDOMAIN_SPF, "em1234.example.com", "txt", "v=spf1 a:relay.example.net -all", seen=False)
MAIL = Record(RecordName.MAIL_SERVER, "em1234.example.com", "mx", "relay.example.net", seen=False)


def texts(*values: str) -> Texts:
    return Texts(values)


def exchangers(*hosts: str) -> Exchangers:
    return Exchangers(tuple(Exchanger(10, host) for host in hosts))


@pytest.mark.parametrize(
    ("record", "answer", "sight"),
    [
        (DKIM, texts(KEY), Sight.VALID),
        (DKIM, texts(KEY.replace("; ", ";")), Sight.VALID),
        (DKIM, texts("some other text", KEY), Sight.VALID),
        (DKIM, texts(KEY.replace("p=", "p=A")), Sight.DIFFERENT),
        (DKIM, texts("v=DKIM1; p="), Sight.DIFFERENT),
        (DKIM, texts(KEY, txt_record(generate_ed25519())), Sight.DIFFERENT),
        (DKIM, texts(KEY, KEY), Sight.DIFFERENT),
        (DKIM, texts(), Sight.DIFFERENT),
        (DKIM, NoSuchName(), Sight.MISSING),
        (DKIM, NoRecords(), Sight.MISSING),
        (DKIM, TryLater("SERVFAIL"), Sight.UNKNOWN),
        (SPF, texts("v=spf1 a:relay.example.net -all"), Sight.VALID),
        (SPF, texts("V=SPF1  A:Relay.Example.Net  -ALL"), Sight.VALID),
        (SPF, texts("google-site-verification=x", "v=spf1 a:relay.example.net -all"), Sight.VALID),
        (SPF, texts("v=spf1 a:relay.example.net ~all"), Sight.DIFFERENT),
        (SPF, texts("v=spf1 a:relay.example.net -all", "v=spf1 -all"), Sight.DIFFERENT),
        (SPF, texts("v=spf10 a:relay.example.net -all"), Sight.DIFFERENT),
        (SPF, TryLater("no answer in time"), Sight.UNKNOWN),
        (MAIL, exchangers("relay.example.net"), Sight.VALID),
        (MAIL, exchangers("relay.example.net", "relay.example.net"), Sight.VALID),
        (MAIL, exchangers("relay.example.net", "mx.elsewhere.example"), Sight.DIFFERENT),
        (MAIL, exchangers("mx.elsewhere.example"), Sight.DIFFERENT),
        (MAIL, exchangers(""), Sight.DIFFERENT),
        (MAIL, exchangers(), Sight.DIFFERENT),
        (MAIL, NoRecords(), Sight.MISSING),
        (MAIL, TryLater("REFUSED"), Sight.UNKNOWN),
    ],
)
def test_an_answer_is_compared_by_what_it_means(
    record: Record, answer: Texts | Exchangers | Absent, sight: Sight
) -> None:
    finding = judge(record, answer)
    assert finding.sight is sight
    assert (finding.reason is None) == (sight is Sight.VALID)


def test_what_is_found_is_shown_in_bounds_and_harmless() -> None:
    finding = judge(DKIM, texts("\x1b[31m" + "x" * 5000, *["y"] * 50))
    assert len(finding.found) == 5
    assert max(len(value) for value in finding.found) == 500
    assert "\x1b" not in finding.found[0] + (finding.reason or "")
    assert DKIM.data in (finding.reason or "")


def test_a_host_name_compares_without_case_and_final_dot() -> None:
    upper = Record(RecordName.MAIL_SERVER, "em1.example.com", "mx", "Relay.Example.Net.", seen=False)
    assert judge(upper, exchangers("relay.example.net")).sight is Sight.VALID


def found(**sights: Sight) -> tuple[Finding, ...]:
    every = dict.fromkeys(
        ("dkim1", "dkim2", "dkim_ed25519", "dkim_ed25519_2", "mail_server", "subdomain_spf"), Sight.VALID
    )
    every.update(sights)
    return tuple(
        Finding(Record(RecordName(name), "h", "txt", "d", seen=False), sight, (), None) for name, sight in every.items()
    )


@pytest.mark.parametrize(
    ("findings", "proof", "disproof"),
    [
        (found(), True, False),
        (found(mail_server=Sight.MISSING, subdomain_spf=Sight.DIFFERENT), True, False),
        (found(dkim1=Sight.MISSING), False, True),
        (found(dkim_ed25519_2=Sight.DIFFERENT), False, True),
        (found(dkim2=Sight.UNKNOWN), False, False),
        (found(dkim2=Sight.UNKNOWN, dkim1=Sight.MISSING), False, True),
        ((), False, False),
    ],
)
def test_proof_needs_all_four_keys_and_no_answer_is_no_disproof(
    findings: tuple[Finding, ...], proof: bool, disproof: bool
) -> None:
    assert is_proof(findings) == proof
    assert is_disproof(findings) == disproof


@dataclass
class FakeDns:
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def texts(self, name: str) -> Texts | Absent:
        self.asked.append(("txt", name))
        return Texts((KEY,)) if name == DKIM.host else NoSuchName()

    async def exchangers(self, name: str) -> Exchangers | Absent:
        self.asked.append(("mx", name))
        return exchangers("relay.example.net")


async def test_each_record_is_asked_for_once_by_its_type() -> None:
    dns = FakeDns()
    findings = await look(dns, (DKIM, SPF, MAIL))
    assert [finding.record for finding in findings] == [DKIM, SPF, MAIL]
    assert [finding.sight for finding in findings] == [Sight.VALID, Sight.MISSING, Sight.VALID]
    assert sorted(dns.asked) == sorted([("txt", DKIM.host), ("txt", SPF.host), ("mx", MAIL.host)])
