#!/usr/bin/python3
"""DANE among software that nobody here wrote: knot's signed zone behind a validating unbound on 127.0.0.1, Postfix with certificates
of every kind, and sternpostd with the DNS settings that it comes with. RFC 7672, RFC 7671, RFC 6698.

Where the host must be refused, its certificate is one that Web PKI would take (tls.ca_file holds its CA) unless the row is about
something else; where it must be taken, Web PKI would refuse it: so that nothing but the TLSA records can have decided.
"""
import collections
import concurrent.futures
import datetime
import hashlib
import re
import ssl
import subprocess
import sys
import time

import dns.dnssec
import dns.name
import dns.node
import dns.rdata
import dns.rdataset
import dns.zone
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from machine import Failure, expect, expect_equal, run, test, wait_for
from peers import LOCAL_RESOLVER, RESOLVER, SOA, Dns, Door, Postfix, environment
from peers import program as peer
from scripted import ScriptedMx
from sternpost import Sternpost

TEXT = 'From: Alice <alice@sender.test>\nSubject: s\n\nhello\n'


# ----------------------------------------------------------------------------------------------------------------- certificates
class Entity:
    """A key and its certificate. issuer: the Entity that signs it (None: itself). names: its subjectAltName (None: it has none).
    ca: an issuer, below which at most `pathlen` further ones may stand, for names under `permitted` alone."""

    def __init__(
        self, common_name, issuer=None, names=None, ca=False, pathlen=None, permitted=None, expired=False, like=None
    ):
        self.key = like.key if like else ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        issuer = issuer or self
        now = datetime.datetime.utcnow()
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(issuer.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=9))
            .not_valid_after(now + datetime.timedelta(days=-1 if expired else 9))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=pathlen), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
            )
        )
        if permitted:
            constraints = x509.NameConstraints([x509.DNSName(permitted)], None)
            builder = builder.add_extension(constraints, critical=True)
        if not ca:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            builder = builder.add_extension(usage, critical=False)
        if names is not None:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(n) for n in names])
            builder = builder.add_extension(alternatives, critical=False)
        self.certificate = builder.sign(issuer.key, hashes.SHA256())

    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def pem_with_key(self):
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, *form) + self.pem()

    def data(self, selector, matching_type):
        """What a TLSA record holds of it."""
        whole = (
            self.certificate.public_bytes(serialization.Encoding.DER)
            if selector == 0
            else self.key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        return {0: whole, 1: hashlib.sha256(whole).digest(), 2: hashlib.sha512(whole).digest()}[matching_type].hex()

    def tlsa(self, usage, selector, matching_type):
        return '%d %d %d %s' % (usage, selector, matching_type, self.data(selector, matching_type))


def chain(machine, name, *entities):
    """A PEM file: the first one's key and certificate, then the certificates of the others."""
    pem = entities[0].pem_with_key() + b''.join(e.pem() for e in entities[1:])
    return machine.write('certificates/%s.pem' % name, pem)


# -------------------------------------------------------------------------------------------------------------------- the rows
# What must happen: the mail is sent, under what the log calls `policy`; or it is held back, with what the log calls the reason
# (`code`, and RFC 8460's result type), after a connection on which MAIL was not said; or without any connection (`words` stand in
# the reason).
Sent = collections.namedtuple('Sent', 'policy tls', defaults=['TLSv1.3'])
Held = collections.namedtuple('Held', 'code result')
Shunned = collections.namedtuple('Shunned', 'words')

MISMATCH = Held('dane-no-tlsa-match', 'validation-failure')
WRONG_NAME = Held('certificate-host-mismatch', 'certificate-host-mismatch')
EXPIRED = Held('certificate-expired', 'certificate-expired')
NO_STARTTLS = Held('starttls-not-offered', 'starttls-not-supported')


class Row:
    """One domain NAME.test (or `domain`) with its MX host mx.NAME.test at an address of its own.

    shows: the certificates at its door, None for no STARTTLS. tlsa: the records at _PORT._tcp.mx.NAME.test. records: what stands in the
    zone test. instead of MX and address, with %(a)s for the address. more: what stands there beside them. plain: what stands in the
    unsigned zone plain.test. options: tables of sternpost.toml."""

    def __init__(
        self, name, ids, shows, tlsa, outcome, records=None, more=(), plain=(), domain=None, port=25, options=None
    ):
        self.name, self.ids, self.shows, self.tlsa, self.outcome = name, ids, shows, tlsa, outcome
        self.domain, self.port, self.plain, self.options = domain or name + '.test', port, plain, options or {}
        standard = ['%s MX 10 mx.%s' % (name, name), 'mx.%s A %%(a)s' % name]
        self.records = [*(standard if records is None else records), *more]

    def zone(self, records, address):
        return [r % {'a': address} for r in records]

    def all_records(self, address):
        tlsa = ['_%d._tcp.mx.%s TLSA %s' % (self.port, self.name, data) for data in self.tlsa]
        return self.zone(self.records, address) + tlsa


def rows_of(known, strange):
    """known: a CA in tls.ca_file; strange: one that is not."""

    def host(name):
        return 'mx.%s.test' % name

    def good(name, *names, issuer=known, **more):
        return Entity('see subjectAltName', issuer, list(names) or [host(name)], **more)

    odd = Entity('other.test', names=['other.test'], expired=True)  # self-signed, for another name, and too old
    other = Entity('other')
    low = Entity('A CA for leaves alone', known, ca=True, pathlen=0)
    below = Entity('A CA below that', low, ca=True)
    narrow = Entity('A CA for others', known, ca=True, permitted='other.test')
    middle = Entity('An intermediate CA', strange, ca=True)

    # Only the leaf counts, by key or certificate, in any form (RFC 7672 §3.1.1; RFC 7671 §5.1).
    yield Row('ee', 'DANE-11', [odd], [odd.tlsa(3, 1, 1)], Sent('dane'))
    yield Row('ee-sha512', 'DANE-11', [odd], [odd.tlsa(3, 1, 2)], Sent('dane'))
    yield Row('ee-key', 'DANE-11', [odd], [odd.tlsa(3, 1, 0)], Sent('dane'))
    yield Row('ee-digest', 'DANE-11', [odd], [odd.tlsa(3, 0, 1)], Sent('dane'))
    yield Row('ee-certificate', 'DANE-11', [odd], [odd.tlsa(3, 0, 0)], Sent('dane'))
    yield Row('ee-rollover', 'DANE-11', [odd], [other.tlsa(3, 1, 1), odd.tlsa(3, 1, 1)], Sent('dane'))
    yield Row('ee-differs', 'DANE-06', [good('ee-differs'), known], [odd.tlsa(3, 1, 1)], MISMATCH)
    yield Row('ee-issuer', 'DANE-11', [good('ee-issuer'), known], [known.tlsa(3, 1, 1)], MISMATCH)
    yield Row('ee-clear', 'DANE-06', None, [odd.tlsa(3, 1, 1)], NO_STARTTLS)

    # A chain to the trust anchor, and a name (RFC 7672 §3.1.2, §3.2.2; RFC 7671 §5.2).
    ta = strange.tlsa(2, 0, 1)
    yield Row('ta', 'DANE-12', [good('ta', issuer=strange), strange], [ta], Sent('dane'))
    yield Row('ta-key', 'DANE-12', [good('ta-key', issuer=strange), strange], [strange.tlsa(2, 1, 1)], Sent('dane'))
    yield Row('ta-name', 'DANE-12 MAP-02', [good('', 'other.test'), known], [known.tlsa(2, 0, 1)], WRONG_NAME)
    yield Row('ta-old', 'DANE-12 MAP-03', [good('ta-old', expired=True), known], [known.tlsa(2, 0, 1)], EXPIRED)
    yield Row('ta-other', 'DANE-12', [good('ta-other'), known], [ta], MISMATCH)
    yield Row('ta-middle', 'DANE-12', [good('ta-middle', issuer=middle), middle], [middle.tlsa(2, 0, 1)], Sent('dane'))
    hop = good('', 'ta-hop.test', issuer=strange)
    yield Row('ta-hop', 'DANE-12 DANE-17', [hop, strange], [ta], Sent('dane'))
    yield Row(
        'ta-hop-insecure',
        'DANE-17',
        [good('', 'ta-hop-insecure.plain.test'), known],
        [known.tlsa(2, 0, 1)],
        WRONG_NAME,
        records=['mx.ta-hop-insecure A %(a)s'],
        plain=['ta-hop-insecure MX 10 mx.ta-hop-insecure.test.'],
        domain='ta-hop-insecure.plain.test',
    )
    for name, names in (('ta-hop-alias', 'real.ta-hop-alias.test'), ('ta-hop-unexpanded', 'ta-hop-unexpanded.test')):
        yield Row(
            name,
            'DANE-17',
            [good('', names, issuer=strange), strange],
            [ta],
            Sent('dane'),
            records=['%s CNAME real.%s' % (name, name), 'real.%s MX 10 mx.%s' % (name, name), 'mx.%s A %%(a)s' % name],
        )
    yield Row('ta-missing', 'DANE-13', [good('ta-missing')], [known.tlsa(2, 0, 1)], MISMATCH)
    yield Row('ta-whole', 'DANE-14', [good('ta-whole', issuer=strange)], [strange.tlsa(2, 0, 0)], Sent('dane'))
    yield Row('ta-whole-other', 'DANE-14', [good('ta-whole-other')], [strange.tlsa(2, 0, 0)], MISMATCH)
    # A bare key is taken as a trust anchor, be its certificate shown or not (RFC 7671 §5.2.3).
    bare = strange.tlsa(2, 1, 0)
    yield Row('ta-bare', 'DANE-15', [good('ta-bare', issuer=strange), strange], [bare], Sent('dane'))
    yield Row('ta-bare-alone', 'DANE-15', [good('ta-bare-alone', issuer=strange)], [bare], Sent('dane'))
    yield Row('ta-bare-other', 'DANE-15', [good('ta-bare-other')], [bare], MISMATCH)
    whole = low.tlsa(2, 0, 0)
    yield Row('ta-deep', 'DANE-16', [good('ta-deep', issuer=below), below], [whole], MISMATCH)
    yield Row('ta-deep-shown', 'DANE-16', [good('ta-deep-shown', issuer=below), below, low], [whole], MISMATCH)
    yield Row('ta-flat', 'DANE-16', [good('ta-flat', issuer=low)], [whole], Sent('dane'))
    yield Row('ta-narrow', 'DANE-16', [good('ta-narrow', issuer=narrow)], [narrow.tlsa(2, 0, 0)], MISMATCH)
    wild = good('', '*.names-wildcard.test', issuer=strange)
    yield Row('names-wildcard', 'DANE-18', [wild, strange], [ta], Sent('dane'))
    partial = good('', 'm*.names-partial.test')
    yield Row('names-partial', 'DANE-18', [partial, known], [known.tlsa(2, 0, 1)], WRONG_NAME)
    yield Row('names-cn', 'DANE-18', [Entity(host('names-cn'), strange), strange], [ta], Sent('dane'))
    unheard = Entity(host('names-cn-unheard'), known, ['other.test'])
    yield Row('names-cn-unheard', 'DANE-18', [unheard, known], [known.tlsa(2, 0, 1)], WRONG_NAME)

    # Records that cannot be used (RFC 7672 §2.2, §3.1.3; RFC 6698 §4.1).
    unusable = [
        '0 0 1 ' + odd.data(0, 1),
        '1 1 1 ' + odd.data(1, 1),
        '3 1 9 00',
        '3 9 1 ' + odd.data(1, 1),
        '9 1 1 ' + odd.data(1, 1),
        '3 1 1 ' + odd.data(1, 1)[2:],
        '2 0 0 ' + strange.data(0, 0)[2:],
        '3 1 0 ' + odd.data(1, 0)[:-2],
    ]
    yield Row('unusable', 'DANE-07 DANE-09 DANE-10', [odd], unusable, Sent('dane/unusable'))
    yield Row('unusable-clear', 'DANE-07', None, unusable, NO_STARTTLS)
    yield Row('pkix-ee', 'DANE-09', [odd], [odd.tlsa(1, 1, 1)], Sent('dane/unusable'))
    mixed = [odd.tlsa(1, 1, 1), other.tlsa(3, 1, 1)]
    yield Row('pkix-ee-differs', 'DANE-09', [odd], mixed, MISMATCH)
    mixed = [other.tlsa(1, 1, 1), odd.tlsa(3, 1, 1)]
    yield Row('pkix-ee-beside', 'DANE-09', [odd], mixed, Sent('dane'))
    yield Row('unusable-beside', 'DANE-10', [odd], [*unusable, odd.tlsa(3, 1, 1)], Sent('dane'))

    # The strongest digest of each usage and selector, and whole values, count (RFC 7671 §9; RFC 7672 §5).
    both = [odd.tlsa(3, 1, 1), other.tlsa(3, 1, 2)]
    yield Row('digests-weak-good', 'DANE-26', [odd], both, MISMATCH)
    both = [other.tlsa(3, 1, 1), odd.tlsa(3, 1, 2)]
    yield Row('digests-strong-good', 'DANE-26', [odd], both, Sent('dane'))
    both = [odd.tlsa(3, 1, 0), other.tlsa(3, 1, 2)]
    yield Row('digests-whole-good', 'DANE-26', [odd], both, Sent('dane'))
    both = [odd.tlsa(3, 0, 1), other.tlsa(3, 1, 2)]
    yield Row('digests-selector-good', 'DANE-26', [odd], both, Sent('dane'))
    both = [odd.tlsa(3, 1, 1), '3 1 2 00']
    yield Row('digests-unusable-strong', 'DANE-26 DANE-10', [odd], both, Sent('dane'))

    # No records, or none that DNSSEC secures (RFC 7672 §2.2).
    yield Row('none', 'DANE-08', None, [], Sent('none', 'none'))
    yield Row('none-tls', 'DANE-08', [odd], [], Sent('none'))
    yield Row(
        'tlsa-insecure',
        'DANE-08',
        [odd],
        [],
        Sent('none'),
        more=['_25._tcp.mx.tlsa-insecure CNAME tlsa.plain'],
    )
    yield Row(
        'insecure',
        'DANE-02 DANE-05 DANE-08',
        None,
        [],
        Sent('none', 'none'),
        records=[],
        plain=['insecure MX 10 mx.insecure', 'mx.insecure A %(a)s', '_25._tcp.mx.insecure TLSA ' + odd.tlsa(3, 1, 1)],
        domain='insecure.plain.test',
    )
    yield Row(
        'mx-insecure',
        'DANE-24',
        [good('mx-insecure'), known],
        [odd.tlsa(3, 1, 1)],
        MISMATCH,
        records=['mx.mx-insecure A %(a)s'],
        plain=['mx-insecure MX 10 mx.mx-insecure.test.'],
        domain='mx-insecure.plain.test',
    )

    yield Row(
        'mx-insecure-good',
        'DANE-24',
        [odd],
        [odd.tlsa(3, 1, 1)],
        Sent('dane/host-only'),
        records=['mx.mx-insecure-good A %(a)s'],
        plain=['mx-insecure-good MX 10 mx.mx-insecure-good.test.'],
        domain='mx-insecure-good.plain.test',
    )

    # MX hosts that are aliases: where the records are (RFC 7672 §2.1.3, §2.2.2, §2.2.3).
    yield Row(
        'alias',
        'DANE-19',
        [good('alias', issuer=strange), strange],
        [ta],
        Sent('dane'),
        records=['alias MX 10 mx.alias', 'mx.alias CNAME middle.alias', 'middle.alias CNAME end.alias', 'end.alias A %(a)s'],
        more=['_25._tcp.middle.alias TLSA ' + other.tlsa(3, 1, 1)],
    )
    yield Row(
        'alias-end',
        'DANE-19',
        [good('', 'end.alias-end.test', issuer=strange), strange],
        [other.tlsa(3, 1, 1)],
        Sent('dane'),
        records=['alias-end MX 10 mx.alias-end', 'mx.alias-end CNAME end.alias-end', 'end.alias-end A %(a)s'],
        more=['_25._tcp.end.alias-end TLSA ' + ta],
    )
    yield Row(
        'alias-end-name',  # found at the end: the name that the alias has is none for the certificate
        'DANE-17 DANE-19',
        [good('alias-end-name'), known],
        [],
        WRONG_NAME,
        records=['alias-end-name MX 10 mx.alias-end-name', 'mx.alias-end-name CNAME e.alias-end-name', 'e.alias-end-name A %(a)s'],
        more=['_25._tcp.e.alias-end-name TLSA ' + known.tlsa(2, 0, 1)],
    )
    for name, shown, outcome in (('out', odd, Sent('dane')), ('out-differs', good('out-differs'), MISMATCH)):
        yield Row(
            name,
            'DANE-20',
            [shown],
            [odd.tlsa(3, 1, 1)],
            outcome,
            records=['%s MX 10 mx.%s' % (name, name), 'mx.%s CNAME %s.plain' % (name, name)],
            plain=[name + ' A %(a)s', '_25._tcp.%s TLSA %s' % (name, other.tlsa(3, 1, 1))],
        )
    for name, names, outcome in (
        ('tlsa-alias', 'mx.tlsa-alias.test', Sent('dane')),
        ('tlsa-alias-name', 'tlsa201.dane.test', WRONG_NAME),
    ):
        issuer = strange if outcome == Sent('dane') else known
        yield Row(
            name,
            'DANE-21',
            [good('', names, issuer=issuer), issuer],
            [],
            outcome,
            more=[
                '_25._tcp.mx.%s CNAME %s.tlsa201.dane' % (name, name),
                '%s.tlsa201.dane TLSA %s' % (name, issuer.tlsa(2, 0, 1)),
            ],
        )
    yield Row(
        'port',
        'DANE-21',
        [odd],
        [odd.tlsa(3, 1, 1)],
        Sent('route/dane+dane'),
        more=['_25._tcp.mx.port TLSA ' + other.tlsa(3, 1, 1)],
        port=2525,
        options={'route': [{'domain': 'port.test', 'to': 'mx.port.test:2525', 'level': 'dane'}]},
    )

    # Which host (RFC 7672 §2.1.2, §2.2.1).
    yield Row(
        'preference',
        'DANE-23',
        None,
        [],
        Sent('none', 'none'),
        more=['preference MX 20 mx.ee', 'preference MX 30 mx.ee-sha512'],
    )
    yield Row('next', 'DANE-03', [odd], [odd.tlsa(3, 1, 1)], Sent('dane'), more=['next MX 5 mx.bogus'])

    # What the administrator says (RFC 7672 §6, §9.1).
    def override(name, level, domain=None):
        return {'override': [{'scope': domain or name + '.test', 'level': level, 'reason': 'a trial'}]}

    yield Row(
        'must',
        'DANE-27',
        [odd],
        [odd.tlsa(3, 1, 1)],
        Sent('override/dane'),
        options=override('must', 'dane'),
    )
    yield Row(
        'must-none',
        'DANE-27 MAP-10',
        [good('must-none'), known],
        [],
        Shunned(['DANE is demanded of it', 'no TLSA records']),
        options=override('must-none', 'dane'),
    )
    yield Row(
        'must-usable',
        'DANE-27 MAP-10',
        [odd],
        unusable,
        Shunned(['DANE is demanded of it', 'none of its TLSA records can be used']),
        options=override('must-usable', 'dane'),
    )
    yield Row(
        'must-insecure',
        'DANE-27 MAP-10',
        [odd],
        [odd.tlsa(3, 1, 1)],
        Shunned(['DANE is demanded of it', 'not secured by DNSSEC']),
        records=['mx.must-insecure A %(a)s'],
        plain=['must-insecure MX 10 mx.must-insecure.test.'],
        domain='must-insecure.plain.test',
        options=override('must-insecure', 'dane', 'must-insecure.plain.test'),
    )
    yield Row(
        'may',
        'DANE-28',
        [odd],
        [other.tlsa(3, 1, 1)],
        Sent('override/may'),
        options=override('may', 'may'),
    )


class World:
    """The rows' domains: knot, unbound, and one Postfix with a door for each."""

    def __init__(self, machine):
        self.known, self.strange = Entity('A known CA', ca=True), Entity('A strange CA', ca=True)
        self.rows = list(rows_of(self.known, self.strange))
        self.address = {row.name: '127.0.2.%d' % n for n, row in enumerate(self.rows, 1)}
        records, plain, doors = ['plain NS ns'], [], []
        for row in self.rows:
            address = self.address[row.name]
            records += row.all_records(address)
            plain += row.zone(row.plain, address)
            shown = chain(machine, row.name, *row.shows) if row.shows else None
            doors.append(Door(row.name, address, row.port, shown))
        odd = next(row for row in self.rows if row.name == 'ee').shows[0]
        plain.append('tlsa TLSA ' + Entity('nobody').tlsa(3, 1, 1))
        self.sni = [  # domain, MX host, records: the name that the ClientHello must hold (DANE-22)
            ('sni', 'mx.sni.test', ['mx.sni A %s', '_25._tcp.mx.sni TLSA ' + odd.tlsa(3, 1, 1)]),
            (
                'sni-end',
                'end.sni-end.test',
                ['mx.sni-end CNAME end.sni-end', 'end.sni-end A %s', '_25._tcp.end.sni-end TLSA ' + odd.tlsa(3, 1, 1)],
            ),
            (
                'sni-alias',
                'mx.sni-alias.test',
                ['mx.sni-alias CNAME e.sni-alias', 'e.sni-alias A %s', '_25._tcp.mx.sni-alias TLSA ' + odd.tlsa(3, 1, 1)],
            ),
        ]
        self.hosts = {}
        for n, (name, _, lines) in enumerate(self.sni, 1):
            address = '127.0.3.%d' % n
            records += ['%s MX 10 mx.%s' % (name, name), *(r % address if '%s' in r else r for r in lines)]
            self.hosts[name] = ScriptedMx(machine, address, server(chain(machine, name, odd)))
        self.literal = ScriptedMx(machine, '127.0.3.99', server(chain(machine, 'literal', odd)))
        self.bogus = ScriptedMx(machine, '127.0.0.99')  # where bogus.test says that it is
        self.dns = Dns(machine, records, {'plain.test': SOA % 'plain.test.' + ''.join(r + '\n' for r in plain)})
        self.postfix = Postfix(machine, 'mx', '127.0.2.250', [row.domain for row in self.rows], doors=doors)
        self.ca_file = machine.write('known.pem', self.known.pem())

    def options(self):
        """Those of the rows, for a Sternpost on this machine with its default DNS settings."""
        tables = collections.defaultdict(list)
        for row in self.rows:
            for name, blocks in row.options.items():
                tables[name] += blocks
        return dict(defaults(self.ca_file), **tables)


def server(pem):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def defaults(ca_file):
    """The resolver is the one that /etc/resolv.conf names, on loopback: so its word on DNSSEC is taken (dns.trust_ad = "auto")."""
    with open('/etc/resolv.conf', 'w') as f:  # ours alone
        f.write('nameserver %s\n' % LOCAL_RESOLVER)
    return {
        'resolvers': [],
        'dns': {'probe_secure': 'ns.test', 'probe_bogus': 'mx.bogus.test'},
        'tls': {'ca_file': ca_file},
    }


def attempts(sternpost, domains, seconds=40):
    """The first line of the log on each of these domains' mail."""

    def first():
        seen = {}
        for event in sternpost.events('attempt'):
            seen.setdefault(event['to'].strip('<>').rsplit('@', 1)[1], event)
        return seen

    def all_seen():
        return not set(domains) - set(first())

    try:
        wait_for('an attempt for each domain', all_seen, seconds, every=0.1)
    except Failure as e:
        raise Failure('%s: none for %s' % (e, sorted(set(domains) - set(first())))) from None
    return first()


def judge(row, attempt, session, said, connections, taken):
    """What is wrong with a row: nothing, or sentences. said: the verbs at its door, a dict each connection."""
    tags = 'policy', 'tls', 'status', 'dsn'
    seen = {tag: attempt.get(tag) for tag in tags}
    mail = sum(verbs.get('mail', 0) for verbs in said)
    if isinstance(row.outcome, Sent):
        wanted = {'policy': row.outcome.policy, 'tls': row.outcome.tls, 'status': 'sent', 'dsn': '2.0.0'}
        if seen['status'] != 'sent' or any(seen[t] != wanted[t] for t in ('policy', 'tls')):
            yield 'expected %r, the log says: %s' % (wanted, attempt['line'])
        if taken != 1 or mail != 1:
            yield 'Postfix took %d messages and heard %d MAIL' % (taken, mail)
        return
    if (seen['status'], seen['dsn']) != ('deferred', '4.7.5'):
        yield 'expected it to be held back with 4.7.5, the log says: ' + attempt['line']
    if mail or taken:
        yield 'Postfix heard MAIL: %s' % said
    if isinstance(row.outcome, Shunned):
        for word in row.outcome.words:
            if word not in attempt['reason']:
                yield 'the reason does not say %r: %s' % (word, attempt['reason'])
        if connections:
            yield 'Postfix saw %d connections' % connections
        return
    if not said:
        yield 'Postfix saw no connection'
    if not session or (session['code'], session['result']) != row.outcome:
        yield 'expected %r, the log says: %s' % (row.outcome, session and session['line'])


def explanation(sternpost, domain):
    """What `explain` says of the first host of a domain whose mail would be held back (exit code 2): whether mail may go to it, the
    reason, and the result type of reports."""
    verdict = sternpost.ask('explain', domain, code=2)['hosts'][0]['verdict']
    return verdict['go'], verdict['code'], verdict['result_type']


@test
def the_tlsa_records_decide_what_a_host_must_show(machine):
    """Every row of rows_of(); DANE-01, DANE-02, DANE-05, DANE-19, DANE-21, DANE-22, DANE-23, DANE-25, DANE-28, DANE-29."""
    world = World(machine)
    dns, postfix = world.dns, world.postfix
    for question in (('mx.ee.test.', 'A'), ('_25._tcp.mx.ee.test.', 'TLSA')):
        expect('ad' in dns.flags(*question), '%s is not authentic: the test would show nothing' % (question,))
    expect(
        dns.ask('insecure.plain.test.', 'MX') and 'ad' not in dns.flags('insecure.plain.test.', 'MX'),
        'plain.test is not insecure: the test would show nothing',
    )
    asked_by_us = len(dns.questions())
    sternpost = Sternpost(machine, **world.options())
    domains = {row.name: row.domain for row in world.rows}
    paths = ['u@' + d for d in [*domains.values(), *(name + '.test' for name in world.hosts), 'bogus.test']]
    sternpost.submit('-f', 'alice@sender.test', *paths, 'u@[127.0.3.99]', text=TEXT)
    seen = attempts(sternpost, [p.split('@')[1] for p in [*paths, 'u@[127.0.3.99]']])
    explained = {
        row.name: explanation(sternpost, row.domain) for row in world.rows if isinstance(row.outcome, Shunned)
    }
    sternpost.stop()  # which ends the idle connections: the doors' logs are whole
    wait_for(
        'the end of every connection in the log',
        lambda: all(len(postfix.sessions(n)) == postfix.connected(n) for n in domains),
    )
    deadline = time.monotonic() + 10  # a mail that is missing is told below, with its row
    while len(postfix.took()) < sum(isinstance(r.outcome, Sent) for r in world.rows) and time.monotonic() < deadline:
        time.sleep(0.1)
    wrong, took = [], collections.Counter(postfix.took())
    for row in world.rows:
        sessions = sternpost.events('session', hop=row.domain)
        mistakes = judge(
            row,
            seen[row.domain],
            sessions[0] if sessions else None,
            postfix.sessions(row.name),
            postfix.connected(row.name),
            took['u@' + row.domain],
        )
        wrong += ['%s (%s): %s' % (row.name, row.ids, mistake) for mistake in mistakes]
    expect(not wrong, '%d faults in %d rows:\n  %s' % (len(wrong), len(world.rows), '\n  '.join(wrong)))

    for name, told in explained.items():  # MAP-10
        expect_equal(told, (False, 'dane-required', 'dane-required'), '`explain` on the host of ' + name)
    # DANE-02: an answer that fails validation is no answer. Nobody was called.
    bogus = seen['bogus.test']
    expect_equal((bogus['status'], bogus['dsn']), ('deferred', '4.4.3'), 'our log line (%s)' % bogus['line'])
    expect_equal(world.bogus.sessions, [], 'sessions at bogus.test')
    # DANE-23: the better host without records, not the worse ones that have some.
    expect('mx=mx.preference.test[' in seen['preference.test']['line'], seen['preference.test']['line'])
    # DANE-28: what the override excuses is told.
    relaxed = sternpost.events('relaxed', hop='may.test')
    expect(
        len(relaxed) == 1 and (relaxed[0]['policy'], relaxed[0]['code']) == ('dane', 'dane-no-tlsa-match'),
        'what was excused: %s' % [e['line'] for e in relaxed],
    )
    # DANE-22, and the names are the only ones.
    for name, wanted, _ in world.sni:
        line = seen[name + '.test']['line']
        expect_equal(world.hosts[name].names, [wanted], 'SNI at the host of %s.test (%s)' % (name, line))
        expect('policy=dane' in line and 'status=sent' in line, line)
    # DANE-25.
    expect_equal(len(world.literal.taken), 1, 'messages at the address literal')
    expect_equal(seen['[127.0.3.99]']['policy'], 'none', 'policy at the address literal')
    # DANE-29; the list must be a real one.
    for suites in [suites_of(hello) for name in world.hosts for hello in world.hosts[name].hellos]:
        expect({0x1301, 0xC02B} <= suites, 'the ClientHello was not read: %s' % sorted(map(hex, suites)))
        expect_equal(sorted(map(hex, suites & ANONYMOUS)), [], 'anonymous cipher suites')

    # Who asked what (RFC 7672 §2.2.1 … §2.2.3).
    questions = dns.questions()[asked_by_us:]
    tlsa = [name for name, kind in questions if kind == 'TLSA']
    order = [q for q in questions if q[0].endswith('mx.ee.test') and q[1] in ('A', 'TLSA')]
    expect_equal(order, [('mx.ee.test', 'A'), ('_25._tcp.mx.ee.test', 'TLSA')], 'DANE-05: questions for ee.test')
    expect_equal([n for n in tlsa if 'insecure.plain' in n], [], 'DANE-05: TLSA questions in an unsigned zone')
    expect_equal(
        [n for n in tlsa if n.endswith('.alias.test')],
        ['_25._tcp.end.alias.test', '_25._tcp.mx.alias.test'],
        'DANE-19: TLSA questions, none of them for the alias in the middle',
    )
    expect_equal([n for n in tlsa if n.endswith('alias-end.test')], ['_25._tcp.end.alias-end.test'], 'DANE-19: questions')
    expect_equal(
        [n for n in tlsa if n.endswith(('out.test', 'out.plain.test'))], ['_25._tcp.mx.out.test'], 'DANE-20: questions'
    )
    expect_equal([n for n in tlsa if n.endswith('mx.port.test')], ['_2525._tcp.mx.port.test'], 'DANE-21: questions')
    expect_equal([n for n in tlsa if '127' in n or 'in-addr' in n], [], 'DANE-25: TLSA questions for an address')

    # Without a resolver that is believed, or without DANE, the same hosts are anybody's (DANE-01, DANE-28).
    off = {
        'dns.trust_ad': {'dns': {'trust_ad': 'no'}},
        'a forwarder on loopback': {'dns': {'trust_ad': 'auto'}, 'resolvers': [RESOLVER]},
        'dane.enabled': {'dns': {'trust_ad': 'auto'}, 'resolvers': [], 'dane': {'enabled': False}},
    }
    for what, options in off.items():
        before, start = len(dns.questions()), collections.Counter(postfix.took())
        sternpost.change(**options)
        sternpost.start()
        sternpost.submit('-f', 'alice@sender.test', 'v@ee-differs.test', 'v@ee-clear.test', text=TEXT)
        for domain in ('ee-differs.test', 'ee-clear.test'):
            sternpost.command('queue', 'retry', '--domain', domain)  # at first it waits, since it was held back above
            attempt = attempts(sternpost, [domain])[domain]
            expect_equal(
                (attempt['status'], attempt['policy']), ('sent', 'none'), '%s (%s)' % (what, attempt['line'])
            )
            wait_for('%s: the mail' % what, lambda: postfix.took().count('v@' + domain) == start['v@' + domain] + 1)
        expect_equal([q for q in dns.questions()[before:] if q[1] == 'TLSA'], [], '%s: TLSA questions' % what)
        sternpost.stop()


@test
def postfix_finds_the_same_of_these_hosts(machine):
    """What the rows expect is no opinion of ours: Postfix's own DANE client, which shares none of our code, agrees on each host that it
    is verified or that it is not. It is not asked where that is no question to it: what the administrator demands, hosts that
    nothing verifies, and names under an insecure MX RRset, which it calls trusted where we go by RFC 7672 §3.2.2 to the letter."""
    world = World(machine)
    defaults(world.ca_file)  # its resolver too is that of /etc/resolv.conf
    env = dict(environment(), MAIL_CONFIG=world.postfix.dir + '/conf')

    def found(row):
        hop = row.domain if row.port == 25 else '[mx.%s]:%d' % (row.domain, row.port)
        done = subprocess.run(
            [peer('usr/sbin/posttls-finger'), '-c', '-l', 'dane', '-L', 'summary', hop],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        said = done.stdout + done.stderr
        return row, bool(re.search(r'(?m)^posttls-finger: Verified TLS connection established', said)), said

    def verified(row):
        return isinstance(row.outcome, Sent) and row.outcome.policy.endswith('dane')

    def comparable(row):
        by_certificate = verified(row) or row.outcome in (MISMATCH, WRONG_NAME, EXPIRED)
        return by_certificate and not row.domain.endswith('.plain.test')

    rows = [row for row in world.rows if comparable(row)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(found, rows))
    wrong = ['%s: %s' % (row.name, said) for row, good, said in results if good != verified(row)]
    # Refused for the certificate's sake, not for want of an answer.
    wrong += [
        '%s: %s' % (row.name, said)
        for row, good, said in results
        if not good and not re.search(r'certificate verification failed|certificate has expired', said)
    ]
    expect(not wrong, 'Postfix sees it another way:\n  ' + '\n  '.join(wrong))
    count = collections.Counter(good for _, good, _ in results)
    print('      %d hosts verified and %d refused by Postfix as by us' % (count[True], count[False]))


# Cipher suites without authentication of the server: DH_anon and ECDH_anon (RFC 5246 §A.5 and others), and none at all.
ANONYMOUS = {
    *(0x0000, 0x0017, 0x0018, 0x0019, 0x001A, 0x001B, 0x0034, 0x003A, 0x0046, 0x006C, 0x006D, 0x0089, 0x009B),
    *(0x00A6, 0x00A7, 0x00BF, 0x00C5, 0xC015, 0xC016, 0xC017, 0xC018, 0xC019, 0xC046, 0xC047, 0xC05A, 0xC05B),
    *(0xC084, 0xC085),
}


def suites_of(record):
    """The cipher suites of a ClientHello (RFC 8446 §4.1.2) in its TLS record."""
    expect(record[0] == 22 and record[5] == 1, 'no ClientHello: %s' % record[:6].hex())
    at = 5 + 4 + 2 + 32  # record and handshake headers, version, random
    at += 1 + record[at]  # session id
    size = int.from_bytes(record[at : at + 2], 'big')
    listed = record[at + 2 : at + 2 + size]
    return {int.from_bytes(listed[i : i + 2], 'big') for i in range(0, size, 2)}


# ------------------------------------------------------------------------------------------------------------ a zone that breaks
class SignedZone:
    """A zone with one key, signed here, so that it can be signed wrongly too. records: lines as in a zone file."""

    def __init__(self, name, records):
        self.name, self.records = dns.name.from_text(name), records
        self.key = ec.generate_private_key(ec.SECP256R1())

    def dnskey(self):
        return dns.dnssec.make_dnskey(self.key.public_key(), dns.dnssec.ECDSAP256SHA256, flags=257)

    def ds(self):
        """For the parent zone."""
        return dns.dnssec.make_ds(self.name, self.dnskey(), 'SHA256').to_text()

    def unsigned(self):
        return SOA % self.name.to_text() + ''.join(r + '\n' for r in self.records)

    def signed(self, age=0, key=None, garble=None):
        """The zone, signed `age` seconds ago for one hour. key: not the one of ds(). garble: the type whose signatures are wrong."""
        keys = self if key is None else key
        zone = dns.zone.from_text(self.unsigned(), origin=self.name, relativize=False)
        zone.find_rdataset(self.name, 'DNSKEY', create=True).add(keys.dnskey(), 0)
        names = sorted(zone.nodes)
        for name, following in zip(names, names[1:] + names[:1]):
            kinds = {dns.rdatatype.to_text(s.rdtype) for s in zone.nodes[name]} | {'NSEC', 'RRSIG'}
            nsec = dns.rdata.from_text('IN', 'NSEC', '%s %s' % (following.to_text(), ' '.join(sorted(kinds))))
            zone.nodes[name].replace_rdataset(dns.rdataset.from_rdata(0, nsec))
            for rdataset in list(zone.nodes[name]):
                began = int(time.time()) - age - 600  # clocks differ
                signature = dns.dnssec.sign(
                    (name, rdataset), keys.key, self.name, keys.dnskey(), inception=began, expiration=began + 4200
                )
                if garble and rdataset.rdtype == dns.rdatatype.from_text(garble):
                    octets = bytes([signature.signature[0] ^ 1]) + signature.signature[1:]
                    signature = signature.replace(signature=octets)
                covering = dns.rdataset.Rdataset(dns.rdataclass.IN, dns.rdatatype.RRSIG, rdataset.rdtype)
                covering.add(signature, 0)
                zone.nodes[name].replace_rdataset(covering)
        return zone.to_text(relativize=False)


@test
def mail_stops_when_a_zone_breaks_and_goes_when_it_is_mended(machine):
    """DANE-02, DANE-03, DANE-04, MAP-09: while its signatures are wrong nothing is said to a host, not even on a connection that is
    open; and the next retry after they are mended delivers."""
    odd = Entity('other.test', names=['other.test'], expired=True)
    zone = SignedZone(
        'breaks.test.',
        ['@ MX 10 mx', 'mx A 127.0.2.1', '_25._tcp.mx TLSA ' + odd.tlsa(3, 1, 1)]
        + ['two MX 10 mx', 'two MX 20 mx.well.test.'],
    )
    doors = [
        Door('breaks', '127.0.2.1', 25, chain(machine, 'breaks', odd)),
        Door('well', '127.0.2.2', 25, chain(machine, 'well', odd)),
    ]
    dns = Dns(
        machine,
        ['breaks NS ns', 'breaks DS ' + zone.ds(), 'mx.well A 127.0.2.2', '_25._tcp.mx.well TLSA ' + odd.tlsa(3, 1, 1)],
        {'breaks.test': zone.signed()},
    )
    postfix = Postfix(machine, 'mx', '127.0.2.250', ['breaks.test', 'two.breaks.test'], doors=doors)
    sternpost = Sternpost(machine, **defaults(machine.write('none.pem', Entity('nobody', ca=True).pem())))

    def becomes(text, *answers):
        """Another zone, and unbound sees it: (name, type, 'ad' or 'SERVFAIL')."""
        dns.serve('breaks.test', text)
        for name, kind, flag in answers:
            wait_for('%s %s is %s' % (name, kind, flag), lambda: flag in dns.flags(name, kind), every=0.1)

    mx, tlsa, well = ('breaks.test.', 'MX'), ('_25._tcp.mx.breaks.test.', 'TLSA'), ('mx.breaks.test.', 'A')
    becomes(zone.signed(), (*mx, 'ad'), (*well, 'ad'), (*tlsa, 'ad'))
    sternpost.submit('-f', 'alice@sender.test', 'first@breaks.test', text=TEXT)
    postfix.wait_taken(1)
    sent = sternpost.wait_event('attempt', to='<first@breaks.test>')
    expect_equal((sent['status'], sent['policy']), ('sent', 'dane'), 'our log line (%s)' % sent['line'])
    expect_equal(postfix.connected('breaks'), 1, 'connections before the zone breaks')

    # Only the TLSA records' signature is wrong: MX and address are found, and the connection is still open. The message to
    # two.breaks.test has another host.
    becomes(zone.signed(garble='TLSA'), (*mx, 'ad'), (*well, 'ad'), (*tlsa, 'SERVFAIL'))
    sternpost.submit('-f', 'alice@sender.test', 'second@breaks.test', 'second@two.breaks.test', text=TEXT)
    entry = sternpost.wait_deferred('second@breaks.test')
    for word in ('_25._tcp.mx.breaks.test', 'TLSA', 'SERVFAIL', 'mx.breaks.test'):
        expect(word in entry['reason'], 'the reason does not say %s: %s' % (word, entry['reason']))
    expect_equal(entry['status'], '4.4.3', 'status (%s)' % entry['reason'])
    told = explanation(sternpost, 'breaks.test')
    expect_equal(told, (False, 'tlsa-lookup-failed', 'dnssec-invalid'), 'MAP-09: `explain` on the host')
    postfix.wait_taken(2)
    expect_equal(postfix.took()[1:], ['second@two.breaks.test'], 'DANE-04: mail that had another host')
    expect_equal(postfix.connected('well'), 1, 'connections to the other host')

    # Everything is wrong, in each of the ways that happen.
    other = SignedZone('breaks.test.', [])
    breakages = {
        'signatures that have expired': zone.signed(age=86400),
        'a key that the parent does not know': zone.signed(key=other),
        'no signatures where the parent says that there are some': zone.unsigned(),
    }
    for what, text in breakages.items():
        becomes(text, (*mx, 'SERVFAIL'), (*well, 'SERVFAIL'), (*tlsa, 'SERVFAIL'))
        known = len(sternpost.events('attempt', to='<second@breaks.test>'))
        sternpost.do('queue', 'retry', '--domain', 'breaks.test')
        wait_for('%s: another attempt' % what, lambda: len(sternpost.events('attempt', to='<second@breaks.test>')) > known)
        attempt = sternpost.events('attempt', to='<second@breaks.test>')[-1]
        expect_equal((attempt['status'], attempt['dsn']), ('deferred', '4.4.3'), '%s (%s)' % (what, attempt['line']))
        for word in ('breaks.test', 'MX records', 'SERVFAIL'):
            expect(word in attempt['reason'], '%s: the reason does not say %s: %s' % (what, word, attempt['reason']))

    expect_equal(postfix.connected('breaks'), 1, 'connections until the zone is mended: the one of the first message')
    dns.forget()  # unbound remembers for a minute that a zone's key was wrong
    becomes(zone.signed(), (*mx, 'ad'), (*well, 'ad'), (*tlsa, 'ad'))
    sternpost.do('queue', 'retry', '--domain', 'breaks.test')
    postfix.wait_taken(3)
    sent = sternpost.wait_event('attempt', to='<second@breaks.test>', status='sent')
    expect_equal(sent['policy'], 'dane', 'our log line (%s)' % sent['line'])
    sternpost.wait_empty()
    sternpost.stop()
    wait_for('the log is whole', lambda: len(postfix.sessions('breaks')) == postfix.connected('breaks'))
    mail = sum(s.get('mail', 0) for s in postfix.sessions('breaks'))
    expect_equal(mail, 2, 'MAIL at the host: one before the zone broke, one after')
    expect(
        postfix.connected('breaks') <= 2, 'connections to the host: %d; some while the zone was broken' % postfix.connected('breaks')
    )


if __name__ == '__main__':
    sys.exit(run(peers=True))
