#!/usr/bin/python3
"""Obligations of RFC 8461, 7672, 8689, 3207 and 8460 that no other script shows, each at a daemon among scripted servers: what it
asks, whom it gives mail, what it counts. The ids are those of doc/obligations.tsv.
"""
import datetime
import json
import os
import sqlite3
import ssl
import sys
import threading
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from machine import expect, expect_equal, run, test, wait_for
from peers import Authority
from report_check import check_report
from scripted import ScriptedDns, ScriptedMx, ScriptedPolicyHost, certificate, serve
from sternpost import Sternpost

POLICY = 'version: STSv1\nmode: %s\nmx: %s\nmax_age: %d\n'
TEXT = 'From: Alice <alice@sender.test>\nTo: bob\nSubject: s\n\nhello\n'
PLAIN = {'Content-Type': 'text/plain'}
SERVFAIL = 'SERVFAIL'
PROMPT = {'max_ttl': '1s', 'timeout': '1s', 'attempts': 1}  # so that a changed record is seen soon
KEY = ec.generate_private_key(ec.SECP256R1())
REPORTER = {'organization': 'Nordmail e. G.', 'contact': 'tlsrpt@nordmail.test'}


class Zones(ScriptedDns):
    """What a validating resolver says of `records`: CNAMEs are followed, AD comes with what is signed, SERVFAIL stands for data that
    cannot be had. unsigned: names whose data, and that of all names below, is not signed."""

    def __init__(self, machine, records, unsigned=('',)):
        self.unsigned = unsigned
        super().__init__(machine, records)

    def _signed(self, name):
        return not any(not zone or name == zone or name.endswith('.' + zone) for zone in self.unsigned)

    def answer(self, question):
        response = dns.message.make_response(question.message)
        response.flags |= dns.flags.RA
        name, signed, alias = question.name, True, dns.rdatatype.CNAME
        while True:
            signed = signed and self._signed(name)
            data = self.records.get((name, question.type))
            target = self.records.get((name, alias)) if question.type != alias else None
            if data == SERVFAIL or target == SERVFAIL:
                response.set_rcode(dns.rcode.SERVFAIL)
                return response
            if data:
                response.answer.append(dns.rrset.from_text(name + '.', 60, 'IN', question.type, *data))
            elif target:
                response.answer.append(dns.rrset.from_text(name + '.', 60, 'IN', alias, *target))
                name = target[0].rstrip('.')
                continue
            break
        if not data:
            if not any(other == name for other, _ in self.records):
                response.set_rcode(dns.rcode.NXDOMAIN)
            soa = 'ns.test. hostmaster.test. 1 3600 600 86400 1'
            response.authority.append(dns.rrset.from_text('test.', 1, 'IN', 'SOA', soa))
        if signed:
            response.flags |= dns.flags.AD
        return response

    def put(self, name, kind, data):
        self.records[(name, dns.rdatatype.from_text(kind))] = data

    def drop(self, name, kind):
        del self.records[(name, dns.rdatatype.from_text(kind))]


def domain(name, address, mx='mx'):
    return {(name, 'MX'): ['10 %s.%s.' % (mx, name)], ('%s.%s' % (mx, name), 'A'): [address]}


def discovery(name, record='v=STSv1; id=1;'):
    return {('_mta-sts.' + name, 'TXT'): ['"%s"' % record], ('mta-sts.' + name, 'A'): ['127.0.0.80']}


def served(machine, authority, hosts):
    """A policy host with a good certificate for each of {domain: answer}; a text is served as it should be."""
    answers = {}
    for name, answer in hosts.items():
        host = 'mta-sts.' + name
        answer = (200, PLAIN, answer) if isinstance(answer, str) else answer
        answers[host] = (certificate(machine, authority, host, [host], key=KEY), answer)
    return ScriptedPolicyHost(machine, answers)


def mail(sternpost, *recipients, header=''):
    sternpost.submit('-f', 'alice@sender.test', *recipients, text=header + TEXT)


def taken_by(host, count=1):
    wait_for('%d messages are taken' % count, lambda: len(host.taken) >= count)
    expect_equal(len(host.taken), count, 'messages')
    return host.taken[-1]


# ------------------------------------------------------------------------------------------------------------- which policy, and how
@test
def the_policy_domain_is_the_one_that_the_mail_is_for(machine):
    """STS-01, STS-53, STS-54, STS-55, DANE-25: one question at the policy domain; no climbing; a route's own domain; none for addresses."""
    records = {
        **domain('a.d.test', '127.0.0.25'),
        **discovery('d.test'),
        **domain('routed.test', '127.0.0.26'),
        **discovery('routed.test'),
        **domain('relay.test', '127.0.0.27'),
        **discovery('relay.test'),
    }
    server, authority = Zones(machine, records), Authority(machine)
    answers = {'d.test': 'mx.other.test', 'routed.test': 'mx.other.test', 'relay.test': 'mx.relay.test'}
    policies = served(
        machine, authority, {name: POLICY % ('enforce', host, 86400) for name, host in answers.items()}
    )
    child, never = ScriptedMx(machine, '127.0.0.25'), ScriptedMx(machine, '127.0.0.26')
    names = ['mx.relay.test']
    relay = ScriptedMx(machine, '127.0.0.27', certificate(machine, authority, 'relay', names, key=KEY))
    sternpost = Sternpost(
        machine, authority, hostname='out.test', route=[{'domain': 'routed.test', 'to': 'mx:relay.test'}]
    )
    mail(sternpost, 'bob@a.d.test')
    expect_equal(taken_by(child).tls, None, 'TLS to the child of the domain with a policy')
    expect_equal(len(server.asked('_mta-sts.a.d.test', 'TXT')), 1, 'questions for the record')
    mail(sternpost, 'bob@routed.test')
    expect_equal(taken_by(relay).recipients, ['bob@routed.test'], 'recipients over the route')
    asked = {q.name for q in server.questions if q.type == dns.rdatatype.TXT}
    expect_equal(asked, {'_mta-sts.a.d.test', '_mta-sts.relay.test'}, 'names of TXT questions')
    expect_equal(policies.requests, [('mta-sts.relay.test', '/.well-known/mta-sts.txt')], 'policies asked for')
    expect_equal(never.sessions, [], 'sessions at the MX host of the domain with a route')
    before = len(server.questions)
    mail(sternpost, 'bob@[127.0.0.25]')
    taken_by(child, 2)
    expect_equal([q.name for q in server.questions[before:]], [], 'questions about an address')


@test
def a_policy_host_is_asked_for_one_thing_and_each_time_anew(machine):
    """STS-13, STS-14, STS-17, STS-24: GET of the one path under the policy host's name, in A-labels and whatever alias it has; nothing
    conditional, nothing cached; nobody is asked about revocation."""
    records = {**discovery('xn--bcher-kva.test'), **discovery('alias.test'), **discovery('revoked.test')}
    records[('mta-sts.alias.test', 'CNAME')] = ['web.provider.test.']
    records[('web.provider.test', 'A')] = [records.pop(('mta-sts.alias.test', 'A'))[0]]
    Zones(machine, records)
    authority = Authority(machine)
    lasting = {**PLAIN, 'ETag': '"1"', 'Cache-Control': 'max-age=86400', 'Last-Modified': 'Wed, 01 Jan 2025 00:00:00 GMT'}
    policy = POLICY % ('testing', 'mx.test', 86400)
    names = ['xn--bcher-kva.test', 'alias.test']
    hosts = {}
    for name in names:
        context = certificate(machine, authority, name, ['mta-sts.' + name], key=KEY)
        hosts['mta-sts.' + name] = (context, (200, lasting, policy))
    hosts['mta-sts.revoked.test'] = (certificate_with_revocation(machine, authority), (200, PLAIN, policy))
    told = []
    serve('127.0.0.99', 80, lambda connection: told.append(connection.recv(4096)), machine)
    host = ScriptedPolicyHost(machine, hosts)
    sternpost = Sternpost(machine, authority)
    for name in ('b\u00fccher.test', 'alias.test', 'alias.test', 'revoked.test'):
        sternpost.do('sts', 'refresh', name)
    wanted = ['mta-sts.' + name for name in ('xn--bcher-kva.test', 'alias.test', 'alias.test', 'revoked.test')]
    expect_equal(host.requests, [(name, '/.well-known/mta-sts.txt') for name in wanted], 'Host and path')
    expect_equal(host.names, wanted, 'SNI')
    conditional = [field for fields in host.fields for field in fields if field.lower().startswith('if-')]
    expect_equal(conditional, [], 'conditional header fields')
    expect_equal(told, [], 'questions about revocation, which the manual says are not asked')


def certificate_with_revocation(machine, authority):
    """Says where to ask about its revocation: CRL and OCSP."""
    now = datetime.datetime.utcnow()
    where = x509.UniformResourceIdentifier('http://127.0.0.99/')
    access = x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.OCSP, where)
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'revoked')]))
        .issuer_name(authority.subject)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName('mta-sts.revoked.test')]), critical=False)
        .add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        .add_extension(
            x509.CRLDistributionPoints([x509.DistributionPoint([where], None, None, None)]), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    key = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = signed.public_bytes(serialization.Encoding.PEM) + key
    context.load_cert_chain(machine.write('certificates/revoked.pem', pem))
    return context


@test
def a_policy_may_have_64_kib_however_it_is_sent(machine):
    """STS-26: to the octet, with a length, in chunks, or until the connection ends."""
    start = POLICY % ('testing', 'mx.test', 86400)
    ways = {
        'length': (PLAIN, lambda text: text),
        'chunks': (
            {**PLAIN, 'Transfer-Encoding': 'chunked'},
            lambda text: ''.join('%x\r\n%s\r\n' % (len(part), part) for part in (text[:999], text[999:], '')),
        ),
        'end': ({**PLAIN, 'Content-Length': None}, lambda text: text),
    }
    answers, records = {}, {}
    for way, (headers, form) in ways.items():
        for word, size in (('most', 65536), ('more', 65537)):
            text = start + 'x: ' + 'y' * (size - len(start) - 4) + '\n'
            expect_equal(len(text), size, 'octets')
            name = '%s.%s.test' % (word, way)
            answers[name] = (200, headers, form(text))
            records.update(discovery(name))
    Zones(machine, records)
    authority = Authority(machine)
    served(machine, authority, answers)
    sternpost = Sternpost(machine, authority)
    for name in answers:
        done = sternpost.command('sts', 'refresh', name)
        expect_equal(done.code, 0 if name.startswith('most') else 1, 'exit code for %s (%s)' % (name, done.err))
    expect_equal(
        [p['domain'] for p in sternpost.ask('sts', 'list')], sorted('most.%s.test' % way for way in ways), 'kept'
    )


@test
def tls_1_2_is_enough_and_1_3_is_taken_where_it_is(machine):
    """STS-29, TLS-09: for policy hosts and MX hosts under an enforced policy; less than 1.2 is not spoken at all (D-20)."""
    records, hosts, mx, authority = {}, {}, {}, Authority(machine)
    versions = {'older': (None, ssl.TLSVersion.TLSv1_2), 'only': (ssl.TLSVersion.TLSv1_3, None), 'both': (None, None)}
    for n, (name, (lowest, highest)) in enumerate(versions.items()):
        name += '.test'
        web = certificate(machine, authority, 'web.' + name, ['mta-sts.' + name], key=KEY)
        smtp = certificate(machine, authority, 'mx.' + name, ['mx.' + name], key=KEY)
        for context in (web, smtp):
            context.minimum_version = lowest or context.minimum_version
            context.maximum_version = highest or context.maximum_version
        address = '127.0.1.%d' % (n + 1)
        records.update({**domain(name, address), **discovery(name)})
        hosts['mta-sts.' + name] = (web, (200, PLAIN, POLICY % ('enforce', 'mx.' + name, 86400)))
        mx[name] = ScriptedMx(machine, address, smtp)
    ancient = certificate(machine, authority, 'ancient', ['mx.ancient.test'], key=KEY)
    ancient.minimum_version = ancient.maximum_version = ssl.TLSVersion.TLSv1_1
    records.update(domain('ancient.test', '127.0.1.9'))
    mx['ancient.test'] = ScriptedMx(machine, '127.0.1.9', ancient)
    Zones(machine, records)
    ScriptedPolicyHost(machine, hosts)
    sternpost = Sternpost(machine, authority)
    mail(sternpost, *['bob@' + name for name in mx])
    seen = {name: taken_by(host).tls for name, host in mx.items()}
    wanted = {'older.test': 'TLSv1.2', 'only.test': 'TLSv1.3', 'both.test': 'TLSv1.3', 'ancient.test': None}
    expect_equal(seen, wanted, 'TLS versions')
    policies = {e['to']: e['policy'] for e in sternpost.events('attempt')}
    for name in wanted:
        wanted_policy = 'none' if name == 'ancient.test' else 'sts/enforce'
        expect_equal(policies['<bob@%s>' % name], wanted_policy, 'the policy of ' + name)


# ------------------------------------------------------------------------------------------------------------------ cache and change
@test
def policies_change_with_their_ids_and_end_with_their_time(machine):
    """STS-27, STS-28, STS-34, STS-43, STS-46, STS-47, STS-50, STS-52, STS-66."""
    names = ['change.test', 'short.test', 'zero.test', 'none.test', 'broken.test']
    records, mx = {}, {}
    for n, name in enumerate(names):
        records.update({**domain(name, '127.0.1.%d' % (n + 1)), **discovery(name, 'v=STSv1; id=20250202;')})
        mx[name] = ScriptedMx(machine, '127.0.1.%d' % (n + 1))  # in clear: enforce holds mail back
    server, authority = Zones(machine, records), Authority(machine)
    texts = {
        'change.test': POLICY % ('enforce', 'mx.change.test', 31557600),
        'short.test': POLICY % ('enforce', 'mx.short.test', 3),
        'zero.test': POLICY % ('enforce', 'mx.zero.test', 0),
        'none.test': 'version: STSv1\nmode: none\nmax_age: 86400\n',
        'broken.test': 'no policy',
    }
    status = {'broken.test': 500}

    def answer(name):
        return lambda: (status.get(name, 200), PLAIN, texts[name])

    web = served(machine, authority, {name: answer(name) for name in names})
    asked = lambda name: [host for host, _ in web.requests].count('mta-sts.' + name)
    sternpost = Sternpost(machine, authority, tlsrpt=REPORTER, dns=PROMPT, delivery={'idle_time': '0s'}, sts={'failed_fetch_wait': '4s'})
    mail(sternpost, 'bob@none.test', 'bob@broken.test', 'bob@zero.test')
    taken_by(mx['none.test'])
    taken_by(mx['broken.test'])  # a valid record, no policy, nothing cached: as if there were no record (STS-28)
    failed = time.monotonic()
    mail(sternpost, 'bob@short.test')
    sternpost.wait_deferred('bob@short.test')
    learned = time.monotonic()
    mail(sternpost, 'bob@change.test')
    sternpost.wait_deferred('bob@change.test')
    changed_learned = time.monotonic()

    # The record of the one is gone: its policy goes on, until its time is over (STS-43). Those of mode none and of no time at all too.
    server.drop('_mta-sts.short.test', 'TXT')
    server.drop('_mta-sts.none.test', 'TXT')
    server.drop('_mta-sts.zero.test', 'TXT')
    # The id is an older date with a weaker policy: another id is all that counts (STS-47, STS-50). The same id: nothing to ask (STS-46).
    wait_for('the records in the cache are too old', lambda: time.monotonic() > changed_learned + 1.2)
    before = len(server.asked('_mta-sts.change.test', 'TXT'))
    sternpost.do('queue', 'retry', '--domain', 'change.test')
    wait_for('the record is asked for', lambda: len(server.asked('_mta-sts.change.test', 'TXT')) > before)
    sternpost.wait_deferred('bob@change.test')
    # One request to learn the policy, one that the failure to deliver forces (RFC 8461 §5.1); then none for the same id.
    expect_equal(asked('change.test'), 2, 'requests while the id is the same')
    texts['change.test'] = POLICY % ('testing', 'mx.change.test', 86400)
    server.put('_mta-sts.change.test', 'TXT', ['"v=STSv1; id=20250101;"'])
    changed = time.monotonic()

    mail(sternpost, 'carol@broken.test', 'carol@none.test')  # within the wait: no request; no record: nothing to worry about
    taken_by(mx['broken.test'], 2)
    taken_by(mx['none.test'], 2)
    if time.monotonic() < failed + 3.5:  # a machine that is slow cannot tell
        expect_equal(asked('broken.test'), 1, 'requests within the wait after a failure')
    server.put('_mta-sts.broken.test', 'TXT', ['"v=STSv1; id=new;"'])
    wait_for('the new records count', lambda: time.monotonic() > changed + 1.2)
    before = asked('broken.test')
    mail(sternpost, 'dave@broken.test')
    taken_by(mx['broken.test'], 3)
    expect_equal(asked('broken.test'), before + 1, 'requests at a new id')
    again = time.monotonic()

    sternpost.do('queue', 'retry', '--domain', 'change.test')
    taken_by(mx['change.test'])
    expect_equal(asked('change.test'), 3, 'requests after the id has changed')
    expect_equal(sternpost.ask('sts', 'show', 'change.test')['mode'], 'testing', 'the mode in the cache')

    wait_for('the time of the short policy is over', lambda: time.monotonic() > learned + 3.2)
    sternpost.do('queue', 'retry', '--domain', 'short.test')
    taken_by(mx['short.test'])
    expect_equal(asked('short.test'), 1, 'requests for the policy whose record is gone')
    taken_by(mx['zero.test'] if mx['zero.test'].taken else retried(sternpost, mx['zero.test'], 'zero.test'))

    wait_for('the wait after the failure is over', lambda: time.monotonic() > again + 4.2)
    mail(sternpost, 'eve@broken.test')
    taken_by(mx['broken.test'], 4)
    expect_equal(asked('broken.test'), before + 2, 'requests after the wait')
    about_none = [e['line'] for e in sternpost.events('policy', domain='none.test') if e.get('event') != 'fetched']
    expect_equal(about_none, [], 'words about a vanished record of mode none')
    Counted(sternpost).expect('none.test', {('no-policy-found', 'starttls-not-supported'): 2}, 'mode none')


def retried(sternpost, host, name):
    """max_age 0: the policy counted for the attempt that fetched it, at most; its record is gone now."""
    sternpost.do('queue', 'retry', '--domain', name)
    wait_for('the message at ' + name, lambda: host.taken)
    return host


@test
def the_last_attempt_looks_for_a_new_policy_before_anything_bounces(machine):
    """STS-68, STS-69, D-41."""
    records = {**domain('sender.test', '127.0.0.24')}
    mx, names = {}, ['mends.test', 'stays.test']
    for n, name in enumerate(names):
        records.update({**domain(name, '127.0.1.%d' % (n + 1)), **discovery(name)})
        mx[name] = ScriptedMx(machine, '127.0.1.%d' % (n + 1))
    server, authority = Zones(machine, records), Authority(machine)
    texts = {name: POLICY % ('enforce', 'mx.' + name, 86400) for name in names}
    served(machine, authority, {name: (lambda name=name: (200, PLAIN, texts[name])) for name in names})
    home = ScriptedMx(machine, '127.0.0.24')
    sternpost = Sternpost(machine, authority, dns=PROMPT, queue={'lifetime': '5s'})
    for name in names:
        mail(sternpost, 'bob@' + name)
    for name in names:
        entry = sternpost.wait_deferred('bob@' + name)
        expect_equal(entry['status'], '4.7.5', 'status of the deferral')
    expect_equal(home.taken, [], 'bounces after the first attempt')
    texts['mends.test'] = POLICY % ('testing', 'mx.mends.test', 86400)
    server.put('_mta-sts.mends.test', 'TXT', ['"v=STSv1; id=2;"'])
    before = {name: len(server.asked('_mta-sts.%s' % name, 'TXT')) for name in names}
    taken_by(mx['mends.test'])
    bounce = taken_by(home).data
    expect(b'stays.test' in bounce and b'mends.test' not in bounce, 'the bounce: %r' % bounce)
    expect(b'MTA-STS' in bounce, 'the bounce does not say why: %r' % bounce)
    for name in names:
        expect(len(server.asked('_mta-sts.' + name, 'TXT')) > before[name], 'no question before the last word on ' + name)
    expect('MAIL' not in mx['stays.test'].commands(), 'the host in clear was told of the message')


@test
def our_own_name_among_the_mx_records_counts_before_the_policy_does(machine):
    """STS-67: what the policy forbids is not filtered out beforehand; what is worse than ourselves is never tried."""
    records = {**discovery('d.test'), ('d.test', 'MX'): ['5 bad.d.test.', '10 relay.test.', '20 good.d.test.']}
    records[('bad.d.test', 'A')], records[('good.d.test', 'A')] = ['127.0.1.1'], ['127.0.1.2']
    Zones(machine, records)
    authority = Authority(machine)
    served(machine, authority, {'d.test': POLICY % ('enforce', 'good.d.test', 86400)})
    good = certificate(machine, authority, 'good', ['good.d.test'], key=KEY)
    bad, worse = ScriptedMx(machine, '127.0.1.1', good), ScriptedMx(machine, '127.0.1.2', good)
    sternpost = Sternpost(machine, authority)
    mail(sternpost, 'bob@d.test')
    entry = sternpost.wait_deferred('bob@d.test')
    expect('bad.d.test' in entry['reason'] and 'not in the MTA-STS policy' in entry['reason'], entry['reason'])
    expect_equal((bad.sessions, worse.sessions), ([], []), 'sessions')


# ------------------------------------------------------------------------------------------------------------------------------ DANE
def spki(matching=1):
    key = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.hex() if matching == 0 else sha256(key)


def sha256(octets):
    digest = hashes.Hash(hashes.SHA256())
    digest.update(octets)
    return digest.finalize().hex()


@test
def dane_stands_above_the_other_demands_and_is_counted_as_itself(machine):
    """DANE-02, DANE-05, DANE-06, DANE-07, DANE-08, DANE-09, DANE-11, DANE-12, DANE-18, DANE-22, DANE-30, STS-70, STS-71, RTLS-12, RTLS-14,
    MAP-02, MAP-03, MAP-07, MAP-08, MAP-09: what DANE does beside the other demands and how it is counted; test_dane.py has the records
    themselves in all their forms. Each row is a domain, whose one MX host stands at an address of its own."""
    authority, stranger = Authority(machine), Authority(machine, 'stranger')
    root = authority.certificate.public_bytes(serialization.Encoding.DER).hex()
    good, bad, no = '3 1 1 ' + spki(), '3 1 1 ' + '11' * 32, 'TLS-Required: No\n'
    right = lambda name: {'names': ['mx.' + name]}
    wrong = lambda name: {'names': ['elsewhere.test']}
    goes, held = 'goes', 'held'
    rows = {  # domain: (ids, TLSA records, certificate (None: no STARTTLS), header, what becomes of it, policy in the log or a word why not)
        'ee': ('DANE-11', [good], lambda name: {**wrong(name), 'expired': True}, '', goes, 'dane'),
        'mismatch': ('DANE-06 MAP-07', [bad], right, '', held, 'TLSA'),
        'pkix': ('DANE-09', ['1 1 1 ' + spki()], wrong, '', goes, 'dane/unusable'),
        'pkixclear': ('DANE-07 MAP-08', ['1 1 1 ' + spki()], None, '', held, 'STARTTLS'),
        'san': (
            'DANE-18 MAP-02',
            ['2 0 0 ' + root],
            lambda name: {'names': ['elsewhere.test'], 'common_name': 'mx.' + name},
            '',
            held,
            'not for this name',
        ),
        'late': ('DANE-12', ['2 0 0 ' + root], lambda name: {**right(name), 'expired': True}, '', held, 'expired'),
        'testing': ('DANE-30 STS-70', [bad], right, '', held, 'TLSA'),
        'unlisted': ('STS-71', [good], wrong, '', goes, 'dane'),
        'waived': ('RTLS-12', [bad], right, no, goes, 'dane+tls-optional'),
        'twice': ('RTLS-14', [bad], right, no + no, held, 'TLSA'),
        'other': ('RTLS-14', [bad], right, 'TLS-Required: Yes\n', held, 'TLSA'),
        'failing': ('DANE-04 MAP-09', SERVFAIL, right, '', held, 'cannot be looked up'),
        'clear': ('RTLS-12', [], None, no, goes, 'sts/enforce+tls-optional'),
        'enforced': ('RTLS-14', [], None, no.replace('No', 'no; x'), held, 'MTA-STS'),
    }
    records, mx, policies = {}, {}, {}
    modes = {'testing': ('testing', 'mx.testing.test'), 'unlisted': ('enforce', 'mx.other.test')}
    modes.update({name: ('enforce', 'mx.%s.test' % name) for name in ('clear', 'enforced')})
    for n, (word, (_, tlsa, made, _, _, _)) in enumerate(rows.items()):
        name, address = word + '.test', '127.0.1.%d' % (n + 1)
        records.update(domain(name, address))
        if tlsa:
            records[('_25._tcp.mx.' + name, 'TLSA')] = tlsa
        if word in modes:
            records.update(discovery(name))
            policies[name] = POLICY % (*modes[word], 86400)
        signer = stranger if word in ('ee', 'pkix') else authority
        context = certificate(machine, signer, name, key=KEY, **made(name)) if made else None
        mx[word] = ScriptedMx(machine, address, context)
    # The MX records are bogus: nobody is asked.
    records.update(domain('bogus.test', '127.0.2.1'))
    records[('bogus.test', 'MX')] = SERVFAIL
    # In a zone that is not signed nothing of this holds, and nothing of it is asked.
    records.update(domain('unsigned.test', '127.0.2.3'))
    records[('_25._tcp.mx.unsigned.test', 'TLSA')] = [bad]
    nobody, plain = (ScriptedMx(machine, '127.0.2.%d' % n) for n in (1, 3))
    server = Zones(machine, records, unsigned=('unsigned.test',))
    served(machine, authority, policies)
    sternpost = Sternpost(machine, authority, tlsrpt=REPORTER, dns={'trust_ad': 'yes', 'probe_secure': '', 'probe_bogus': ''})
    for word, row in rows.items():
        mail(sternpost, 'bob@%s.test' % word, header=row[3])
    mail(sternpost, 'bob@bogus.test', 'bob@unsigned.test')
    for word, (ids, _, made, _, end, told) in rows.items():
        what = '%s (%s)' % (word, ids)
        if end == goes:
            taken = wait_for('the message at ' + what, lambda: mx[word].taken)
            expect_equal(taken[0].tls is not None, made is not None, 'TLS at ' + what)
            event = sternpost.wait_event('attempt', to='<bob@%s.test>' % word, status='sent')
            expect_equal(event['policy'], told, 'the policy of ' + what)
            if made:
                expect_equal(mx[word].names, ['mx.%s.test' % word], 'SNI at ' + what)
        else:
            entry = sternpost.wait_deferred('bob@%s.test' % word)
            expect(told in entry['reason'], '%s: the reason does not speak of %r: %s' % (what, told, entry['reason']))
            expect('MAIL' not in mx[word].commands(), '%s was told of the message' % what)
    expect_equal(mx['failing'].sessions, [], 'sessions at a host whose TLSA records cannot be looked up')
    expect_equal(sternpost.wait_deferred('bob@bogus.test')['status'], '4.4.3', 'status of a bogus domain')
    expect_equal(nobody.sessions, [], 'sessions at the MX host of a bogus domain')
    taken_by(plain)
    expect_equal(server.asked('_25._tcp.mx.unsigned.test', 'TLSA'), [], 'TLSA questions in an unsigned zone')

    counted = Counted(sternpost)
    for word, result in (
        ('mismatch', 'validation-failure'),
        ('san', 'certificate-host-mismatch'),
        ('late', 'certificate-expired'),
        ('pkix', 'tlsa-invalid'),
        ('failing', 'dnssec-invalid'),
        ('ee', ''),
    ):
        counted.expect(word + '.test', {('tlsa', result): 1}, rows[word][0])


@test
def requiretls_goes_only_where_everything_holds(machine):
    """RTLS-03, RTLS-04, RTLS-05, RTLS-06, RTLS-07, RTLS-08, RTLS-09, RTLS-10, RTLS-11: each row a domain with one or two MX hosts; those who
    cannot be served get word, by REQUIRETLS themselves or, where that cannot be, of the header alone."""
    authority, stranger = Authority(machine), Authority(machine, 'stranger')
    dane, keyword = '3 1 1 ' + spki(), ['REQUIRETLS']
    right, wrong = (authority, 'mx.%s'), (authority, 'elsewhere.test')
    inside, outside, nowhere = ((), keyword), (keyword, ()), ((), ())
    rows = {  # domain: (ids, MX hosts: (certificate or None, EHLO keywords outside and inside TLS), TLSA record, the host that takes it or a status)
        'all': ('RTLS-05', [(right, inside)], '', 0),
        'tlsa': ('RTLS-04', [((stranger, 'elsewhere.test'), inside)], dane, 0),
        'name': ('RTLS-04', [(wrong, inside)], '', '5.7.30'),
        'root': ('RTLS-04', [((stranger, 'mx.%s'), inside)], '', '5.7.30'),
        'clear': ('RTLS-05 RTLS-07', [(right, outside)], '', '5.7.30'),
        'lacks': ('RTLS-07', [(right, nowhere)], '', '5.7.30'),
        'plain': ('RTLS-07', [(None, outside)], '', '5.7.10'),
        'second': ('RTLS-06', [(right, nowhere), (right, inside)], '', 1),
        'unsigned': ('RTLS-03', [(right, inside)], '', '5.7.30'),
        'listed.unsigned': ('RTLS-03', [(right, inside)], '', 0),
        'testing.unsigned': ('RTLS-03', [(right, inside)], '', '5.7.30'),
    }
    records, mx, policies = {}, {}, {}
    for n, (word, (_, hosts, tlsa, _)) in enumerate(rows.items()):
        name = word + '.test'
        records[(name, 'MX')] = ['%d mx%s.%s.' % (i, i or '', name) for i in range(len(hosts))]
        for i, (made, offers) in enumerate(hosts):
            host, address = 'mx%s.%s' % (i or '', name), '127.0.%d.%d' % (1 + i, n + 1)
            records[(host, 'A')] = [address]
            if tlsa:
                records[('_25._tcp.' + host, 'TLSA')] = [tlsa]
            names = made and [made[1].replace('mx.%s', host)]
            context = made and certificate(machine, made[0], host, names, key=KEY)
            mx[word, i] = ScriptedMx(machine, address, context, offers=offers[0], offers_in_tls=offers[1])
        mode = {'listed': 'enforce', 'testing': 'testing'}.get(word.split('.')[0])
        if mode:
            records.update(discovery(name))
            policies[name] = POLICY % (mode, 'mx.' + name, 86400)
    homes = {}
    for n, (name, offers) in enumerate((('strict.test', keyword), ('lax.test', ()))):
        address = '127.0.3.%d' % (n + 1)
        records.update(domain(name, address))
        context = certificate(machine, authority, name, ['mx.' + name], key=KEY)
        homes[name] = ScriptedMx(machine, address, context, offers_in_tls=offers)
    Zones(machine, records, unsigned=('unsigned.test',))
    served(machine, authority, policies)
    sternpost = Sternpost(machine, authority, dns={'trust_ad': 'yes', 'probe_secure': '', 'probe_bogus': ''})

    def send(word, sender):
        tagged = ['-O', 'requiretls=yes', '-R', 'full', '-f', 'alice@' + sender]
        sternpost.submit(*tagged, 'bob@%s.test' % word, text='TLS-Required: No\nSubject: s\n\nSECRET\n')

    for word in rows:
        send(word, 'strict.test')
    send('lacks', 'lax.test')
    refused = [word for word, row in rows.items() if isinstance(row[3], str)]
    wait_for('a bounce for each refusal', lambda: len(homes['strict.test'].taken) == len(refused))
    wait_for('the bounce over a way without REQUIRETLS', lambda: homes['lax.test'].taken)
    for word, (ids, hosts, _, end) in rows.items():
        said = [line for i in range(len(hosts)) for session in mx[word, i].sessions for line, _ in session]
        if isinstance(end, int):
            wait_for('the message at %s (%s)' % (word, ids), lambda: mx[word, end].taken)
            mails = [line for line, tls in mx[word, end].sessions[-1] if line.startswith('MAIL') and tls]
            expect('REQUIRETLS' in mails[0].split(), '%s: REQUIRETLS is not passed on: %r' % (word, mails))
            for i in range(end):
                commands = mx[word, i].commands()
                expect('MAIL' not in commands and commands[-1] == 'QUIT', '%s: the first host heard %r' % (word, commands))
        else:
            expect('MAIL' not in [line[:4] for line in said], '%s (%s): MAIL was said: %r' % (word, ids, said))
            about = [t.data for t in homes['strict.test'].taken if b'bob@%s.test' % word.encode() in t.data]
            expect(len(about) == 1 and b'Status: %s' % end.encode() in about[0], '%s (%s): bounces %r' % (word, ids, about))
    for name, home in homes.items():
        expect(b'SECRET' not in b''.join(taken.data for taken in home.taken), 'a bounce returns the body')
        mails = [line for session in home.sessions for line, _ in session if line.startswith('MAIL')]
        tagged = ['REQUIRETLS' in line.split() for line in mails]
        expect_equal(set(tagged), {name == 'strict.test'}, 'REQUIRETLS with the bounces to ' + name)


class Counted:
    """What is kept for reports (RFC 8460 §4.2), in the form that doc/formats.md describes."""

    POLICIES = {b'': 'no-policy-found', b'\1': 'sts', b'\2': 'tlsa'}
    POLICY_TYPE, COUNT, RESULT_TYPE = 3, 7, 8

    def __init__(self, sternpost):
        self.sternpost, self.path = sternpost, os.path.join(sternpost.options['state_dir'], 'queue.db')

    def of(self, name, details=False):
        """{(policy type, result type or ''): how often} of a domain: its sessions, or what is only a detail beside them (count 2)."""
        with sqlite3.connect('file:%s?mode=ro' % self.path, uri=True) as index:
            rows = index.execute('SELECT alike, n FROM tls_outcome WHERE domain = ?', (name,)).fetchall()
        out = {}
        for alike, n in rows:
            fields = dict(fields_of(alike))
            if (fields.get(self.COUNT) == b'\2') == details:
                key = self.POLICIES[fields.get(self.POLICY_TYPE, b'')], fields.get(self.RESULT_TYPE, b'').decode()
                out[key] = out.get(key, 0) + n
        return out

    def expect(self, name, wanted, why, details=False):
        """Exactly these are counted, once the index has followed the journal (doc/formats.md: a tenth of a second)."""
        deadline = time.monotonic() + 5
        while self.of(name, details) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        expect_equal(self.of(name, details), wanted, 'what is counted for %s (%s)' % (name, why))
        self.reported(name, wanted, why)

    def reported(self, name, wanted, why):
        """The report that the domain would get says so, in the form that RFC 8460 wants."""
        done = self.sternpost.command('tlsrpt', 'preview', name, '--json')
        if not wanted:
            expect_equal(done.code, 1, '`tlsrpt preview` of what is in no report (%s)' % why)
            return
        report = check_report(json.dumps(json.loads(done.out)['report']).encode())
        for (policy, result), n in wanted.items():
            entries = [p for p in report['policies'] if p['policy']['policy-type'] == policy]
            if result:
                told = sum(d['failed-session-count'] for p in entries for d in p['failure-details'] if d['result-type'] == result)
            else:
                told = sum(p['summary']['total-successful-session-count'] for p in entries)
            expect_equal(told, n, 'sessions of %s in the report for %s (%s)' % (result or 'success', name, why))


def fields_of(octets):
    """(tag, octets) of each field."""
    at = 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            octet, at = octets[at], at + 1
            value |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                return value

    while at < len(octets):
        tag, size = varint(), varint()
        yield tag, octets[at : at + size]
        at += size


@test
def sessions_are_counted_once_and_only_where_there_was_one(machine):
    """MAP-01, MAP-02, MAP-03, MAP-04, MAP-05, MAP-06, MAP-14, MAP-15, MAP-16, MAP-17, STS-65, STS-66, STS-75."""
    authority, stranger = Authority(machine), Authority(machine, 'stranger')
    right = lambda name: {'names': ['mx.' + name]}
    rows = {  # domain: (ids, mode, policy's mx, signer, certificate, policy type, result type)
        'tls': ('MAP-14', '', '', stranger, right, 'no-policy-found', ''),
        'clear': ('MAP-01', '', '', None, None, 'no-policy-found', 'starttls-not-supported'),
        'none': ('MAP-17 STS-66', 'none', '', stranger, right, 'no-policy-found', ''),
        'good': ('MAP-16', 'testing', 'mx', authority, right, 'sts', ''),
        'plain': ('MAP-01 STS-65', 'testing', 'mx', None, None, 'sts', 'starttls-not-supported'),
        'name': ('MAP-02 STS-65', 'testing', 'mx', authority, lambda n: {'names': [n]}, 'sts', 'certificate-host-mismatch'),
        'late': ('MAP-03', 'testing', 'mx', authority, lambda n: {**right(n), 'expired': True}, 'sts', 'certificate-expired'),
        'root': ('MAP-04', 'testing', 'mx', stranger, right, 'sts', 'certificate-not-trusted'),
        'list': ('MAP-06', 'testing', 'other', authority, right, 'sts', 'validation-failure'),
    }
    records, mx, policies = {}, {}, {}
    for n, (word, (_, mode, listed, signer, made, _, _)) in enumerate(rows.items()):
        name, address = word + '.test', '127.0.1.%d' % (n + 1)
        records.update(domain(name, address))
        if mode:
            records.update(discovery(name))
            policies[name] = POLICY % (mode, '%s.%s' % (listed or 'mx', name), 86400)
        mx[word] = ScriptedMx(machine, address, made and certificate(machine, signer, name, key=KEY, **made(name)))
    records.update(domain('away.test', '127.0.2.1'))  # nobody listens: MAP-15
    records.update(domain('busy.test', '127.0.2.2'))
    serve('127.0.2.2', 25, lambda connection: connection.sendall(b'421 4.3.2 later\r\n'), machine)
    records.update({**domain('break.test', '127.0.2.3'), **discovery('break.test')})
    policies['break.test'] = POLICY % ('enforce', 'mx.break.test', 86400)
    breaking = certificate(machine, authority, 'break', ['mx.break.test'], key=KEY)
    breaking.minimum_version = breaking.maximum_version = ssl.TLSVersion.TLSv1_1  # MAP-05
    ScriptedMx(machine, '127.0.2.3', breaking)
    Zones(machine, records)
    served(machine, authority, policies)
    sternpost = Sternpost(machine, authority, tlsrpt=REPORTER)
    for word in rows:
        mail(sternpost, 'bob@%s.test' % word)
    for word in rows:
        wait_for('the message at ' + word, lambda: mx[word].taken)
    mail(sternpost, 'carol@good.test')  # over the connection that is open still
    taken_by(mx['good'], 2)
    expect_equal(len(mx['good'].sessions), 1, 'connections for two messages')
    for word in ('away', 'busy', 'break'):
        mail(sternpost, 'bob@%s.test' % word)
        sternpost.wait_deferred('bob@%s.test' % word)
    counted = Counted(sternpost)
    for word, (ids, _, _, _, _, policy, result) in rows.items():
        counted.expect(word + '.test', {(policy, result): 1}, ids)
    counted.expect('break.test', {('sts', 'validation-failure'): 1}, 'MAP-05')
    for name in ('away.test', 'busy.test'):
        counted.expect(name, {}, 'MAP-15')


@test
def policies_that_cannot_be_had_are_counted_beside_the_sessions(machine):
    """MAP-11, MAP-12, MAP-13, STS-75, D-40: mail goes as without a policy, or by the cached one; what was wrong is told once, as a detail."""
    authority, stranger = Authority(machine), Authority(machine, 'stranger')
    policy = POLICY % ('testing', 'mx.test', 86400)
    rows = {  # domain: (ids, who signs the policy host's certificate, its name, what it answers, result type)
        'gone': ('MAP-11', authority, 'mta-sts.gone.test', (404, PLAIN, policy), 'sts-policy-fetch-error'),
        'moved': ('MAP-11', authority, 'mta-sts.moved.test', (302, {'Location': 'https://x.test/'}, ''), 'sts-policy-fetch-error'),
        'text': ('MAP-12', authority, 'mta-sts.text.test', (200, PLAIN, 'version: STSv1'), 'sts-policy-invalid'),
        'html': ('MAP-12', authority, 'mta-sts.html.test', (200, {'Content-Type': 'text/html'}, policy), 'sts-policy-invalid'),
        'root': ('MAP-13', stranger, 'mta-sts.root.test', (200, PLAIN, policy), 'sts-webpki-invalid'),
        'name': ('MAP-13', authority, 'name.test', (200, PLAIN, policy), 'sts-webpki-invalid'),
        'late': ('MAP-13', authority, 'mta-sts.late.test', (200, PLAIN, policy), 'sts-webpki-invalid'),
    }
    records, hosts, mx = {}, {}, {}
    for n, (word, (_, signer, name, answer, _)) in enumerate(rows.items()):
        records.update({**domain(word + '.test', '127.0.1.%d' % (n + 1)), **discovery(word + '.test')})
        context = certificate(machine, signer, 'web.' + word, [name], key=KEY, expired=word == 'late')
        hosts['mta-sts.%s.test' % word] = (context, answer)
        mx[word] = ScriptedMx(machine, '127.0.1.%d' % (n + 1), certificate(machine, stranger, word, ['mx'], key=KEY))
    records.update(domain('twice.test', '127.0.1.99'))
    records[('_mta-sts.twice.test', 'TXT')] = ['"v=STSv1; id=1;"', '"v=STSv1; id=2;"']
    rows['twice'] = ('MAP-12', None, None, None, 'sts-policy-invalid')
    mx['twice'] = ScriptedMx(machine, '127.0.1.99', certificate(machine, stranger, 'twice', ['mx'], key=KEY))
    Zones(machine, records)
    ScriptedPolicyHost(machine, hosts)
    sternpost = Sternpost(machine, authority, tlsrpt=REPORTER, delivery={'idle_time': '0s'})
    for person in ('bob', 'carol'):
        mail(sternpost, *['%s@%s.test' % (person, word) for word in rows])
        for word in rows:
            wait_for('the mail for %s at %s' % (person, word), lambda: len(mx[word].taken) == (2 if person == 'carol' else 1))
    counted = Counted(sternpost)
    for word, (ids, _, _, _, result) in rows.items():
        counted.expect(word + '.test', {('no-policy-found', ''): 2}, ids)
        if word != 'twice':  # a broken record is looked at anew with each attempt
            counted.expect(word + '.test', {('sts', result): 1}, ids, details=True)
        else:
            expect_equal(set(counted.of('twice.test', details=True)), {('sts', result)}, 'details of twice.test (%s)' % ids)


# ------------------------------------------------------------------------------------------------------------------------------- TLS
def read_hello(connection):
    """Plays an MX host as far as STARTTLS; the octets of the ClientHello."""
    lines = connection.makefile('rb')
    connection.sendall(b'220 mx.test ESMTP\r\n')
    for reply in (b'250-mx.test\r\n250 STARTTLS\r\n', b'220 go\r\n'):
        lines.readline()
        connection.sendall(reply)
    head = lines.read(5)
    return lines.read(int.from_bytes(head[3:5], 'big'))


def parse_hello(hello):
    """(cipher suites, compression methods, {extension: octets}) of a ClientHello (RFC 8446 §4.1.2)."""
    at = 4 + 2 + 32
    at += 1 + hello[at]
    size = int.from_bytes(hello[at : at + 2], 'big')
    suites = [int.from_bytes(hello[i : i + 2], 'big') for i in range(at + 2, at + 2 + size, 2)]
    at += 2 + size
    methods = list(hello[at + 1 : at + 1 + hello[at]])
    at += 1 + hello[at] + 2
    extensions = {}
    while at < len(hello):
        kind, size = int.from_bytes(hello[at : at + 2], 'big'), int.from_bytes(hello[at + 2 : at + 4], 'big')
        extensions[kind] = hello[at + 4 : at + 4 + size]
        at += 4 + size
    return suites, methods, extensions


@test
def the_handshake_offers_nothing_weak(machine):
    """TLS-10, DANE-29: neither to a host under a policy nor to any other one."""
    hellos = {}
    for word, address in (('open', '127.0.1.1'), ('held', '127.0.1.2')):
        serve(address, 25, lambda connection, word=word: hellos.setdefault(word, read_hello(connection)), machine)
    Zones(machine, {**domain('open.test', '127.0.1.1'), **domain('held.test', '127.0.1.2'), **discovery('held.test')})
    authority = Authority(machine)
    served(machine, authority, {'held.test': POLICY % ('enforce', 'mx.held.test', 86400)})
    sternpost = Sternpost(machine, authority, tls={'fall_back_to_clear': False})
    mail(sternpost, 'bob@open.test', 'bob@held.test')
    wait_for('both handshakes begin', lambda: len(hellos) == 2)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers('ALL:COMPLEMENTOFALL@SECLEVEL=0')
    known = {c['id'] & 0xFFFF: c for c in context.get_ciphers()}
    for word, hello in hellos.items():
        suites, methods, extensions = parse_hello(hello)
        real = [known[s] for s in suites if s != 0x00FF]  # TLS_EMPTY_RENEGOTIATION_INFO_SCSV is no suite; KeyError: we know it not
        weak = [c['name'] for c in real if c['strength_bits'] < 112 or c['auth'] == 'auth-null' or 'RC4' in c['name']]
        expect_equal(weak, [], '%s: weak suites' % word)
        lasting = [c['kea'] in ('kx-rsa', 'kx-psk', 'kx-rsa-psk') for c in real]
        expect_equal(lasting, sorted(lasting), '%s: suites without forward secrecy before others' % word)
        expect_equal(methods, [0], '%s: compression methods' % word)
        expect(42 not in extensions, '%s: early data is offered' % word)
        expect_equal(extensions[43].hex(), '0403040303', '%s: versions, TLS 1.3 first' % word)


@test
def sessions_are_taken_up_again_only_where_their_chain_still_proves_enough(machine):
    """STS-59, STS-60, DANE-11: a resumed session would satisfy OpenSSL whatever it was made with."""
    authority, stranger = Authority(machine), Authority(machine, 'stranger')
    records, mx, policies = {}, {}, {}
    for n, (word, signer) in enumerate({'plain': stranger, 'good': authority, 'dane': stranger, 'old': authority}.items()):
        name, address = word + '.test', '127.0.1.%d' % (n + 1)
        records.update({**domain(name, address), **discovery(name)})
        policies[name] = POLICY % ('none' if word == 'plain' else 'enforce', 'mx.' + name, 86400)
        mx[word] = ScriptedMx(machine, address, certificate(machine, signer, name, ['mx.' + name], key=KEY))
    mx['old'].context.maximum_version = ssl.TLSVersion.TLSv1_2
    records[('_25._tcp.mx.dane.test', 'TLSA')] = ['3 1 1 ' + spki()]
    # Another domain's policy, and another name of the host at good.test's address.
    records.update({**domain('name.test', '127.0.1.2'), **discovery('name.test')})
    policies['name.test'] = POLICY % ('enforce', 'mx.name.test', 86400)
    records.update(discovery('strict.test'))
    records[('strict.test', 'MX')] = ['10 mx.plain.test.']
    policies['strict.test'] = POLICY % ('enforce', 'mx.plain.test', 86400)
    Zones(machine, records, unsigned=('good.test', 'plain.test', 'old.test', 'name.test', 'strict.test'))
    served(machine, authority, policies)
    sternpost = Sternpost(machine, authority, delivery={'idle_time': '0s'}, dns={'trust_ad': 'yes'})
    for time_ in range(3):
        for word in mx:
            mail(sternpost, 'bob@%s.test' % word)
            taken_by(mx[word], time_ + 1)
    expect_equal(mx['plain'].resumed, [False, True, True], 'sessions resumed where nothing is demanded')
    expect_equal(mx['good'].resumed, [False, True, True], 'sessions resumed under an enforced policy')
    expect_equal(mx['old'].resumed, [False, True, True], 'sessions resumed with TLS 1.2')
    expect_equal(mx['dane'].resumed, [False, False, False], 'sessions resumed under DANE')
    mail(sternpost, 'bob@name.test')
    expect('not for this name' in sternpost.wait_deferred('bob@name.test')['reason'], 'the name is what is wrong')
    expect_equal(mx['good'].resumed[3:], [False], 'sessions resumed for another name of the host')
    mail(sternpost, 'bob@strict.test')
    expect('cannot be verified' in sternpost.wait_deferred('bob@strict.test')['reason'], 'the chain is what is wrong')
    expect_equal(mx['plain'].resumed[3:], [False], 'sessions resumed that nothing had verified')
    # A restarted host knows its tickets no more: a full handshake, and the mail goes.
    mx['good'].context = certificate(machine, authority, 'again', ['mx.good.test'], key=KEY)
    mail(sternpost, 'carol@good.test')
    taken_by(mx['good'], 4)
    expect_equal(mx['good'].resumed[4:], [False], 'sessions resumed by a host that has forgotten them')


@test
def a_reply_that_is_cut_off_counts_for_nothing(machine):
    """TLS-18: the reply to the final dot has no end of line, and the connection ends without close_notify."""
    authority = Authority(machine)
    context = certificate(machine, authority, 'cut', ['mx.cut.test'], key=KEY)
    dots = threading.Semaphore(0)

    def cut(connection):
        read_lines = connection.makefile('rb')
        connection.sendall(b'220 mx.test ESMTP\r\n')
        for reply in (b'250-mx.test\r\n250 STARTTLS\r\n', b'220 go\r\n'):
            read_lines.readline()
            connection.sendall(reply)
        stream = context.wrap_socket(connection, server_side=True)
        lines = stream.makefile('rb')
        for verb, reply in ((b'EHLO', b'250 mx.test'), (b'MAIL', b'250 ok'), (b'RCPT', b'250 ok'), (b'DATA', b'354 go on')):
            line = lines.readline()
            expect(line.startswith(verb), '%r instead of %r' % (line, verb))
            stream.sendall(reply + b'\r\n')
        while lines.readline() != b'.\r\n':
            pass
        stream.sendall(b'250 2.0.0 ok')
        dots.release()

    serve('127.0.1.1', 25, cut, machine)
    Zones(machine, domain('cut.test', '127.0.1.1'))
    sternpost = Sternpost(machine, authority)
    mail(sternpost, 'bob@cut.test')
    expect(dots.acquire(timeout=20), 'the message did not come')
    entry = sternpost.wait_deferred('bob@cut.test')
    expect(entry['reason'].startswith('possibly-delivered'), 'the reason: ' + entry['reason'])
    expect_equal(sternpost.events('attempt', status='sent'), [], 'attempts that were logged as sent')


@test
def tls_that_both_sides_want_and_cannot_have_is_said_to_the_sender(machine):
    """RTLS-13, TLS-12, TLS-13, TLS-14: a host that demands TLS and breaks it; one that is demanded to have it by this host's administrator."""
    records = {**domain('sender.test', '127.0.0.24'), **domain('strict.test', '127.0.1.1')}
    records.update({**domain('listed.test', '127.0.1.2'), **domain('open.test', '127.0.1.3')})
    records.update(domain('watched.test', '127.0.1.4'))
    Zones(machine, records)
    visits = []

    def strict(connection):
        """STARTTLS is offered and its handshake broken; in clear everything is refused until there is TLS."""
        said = []
        visits.append(said)
        lines = connection.makefile('rb')
        connection.sendall(b'220 mx.test ESMTP\r\n')
        while line := lines.readline():
            verb = line[:4].upper()
            said.append(verb)
            if verb == b'STAR':
                connection.sendall(b'220 go\r\n')
                return
            if verb == b'EHLO':
                connection.sendall(b'250-mx.test\r\n250 STARTTLS\r\n')
            elif verb in (b'QUIT', b'RSET'):
                connection.sendall(b'250 ok\r\n')
            else:
                connection.sendall(b'530 5.7.0 Must issue a STARTTLS command first\r\n')

    serve('127.0.1.1', 25, strict, machine)
    addresses = ('127.0.0.24', '127.0.1.2', '127.0.1.3', '127.0.1.4')
    home, listed, opened, watched = (ScriptedMx(machine, address) for address in addresses)
    sternpost = Sternpost(
        machine,
        route=[{'domain': 'listed.test', 'to': 'mx:listed.test', 'level': 'encrypt'}],
        override=[{'scope': 'watched.test', 'level': 'encrypt', 'reason': 'they have had TLS for years'}],
    )
    mail(sternpost, 'bob@strict.test', header='TLS-Required: No\n')
    bounce = taken_by(home).data
    expect(b'Status: 5.7.0' in bounce and b'STARTTLS' in bounce, 'the bounce: %r' % bounce)
    expect_equal([said.count(b'STAR') for said in visits], [1, 0], 'STARTTLS in each connection')
    expect(b'MAIL' not in visits[0] and b'MAIL' in visits[1], 'what each connection was told: %r' % visits)
    mail(sternpost, 'bob@listed.test', 'bob@watched.test', 'bob@open.test')
    for name, host in (('listed.test', listed), ('watched.test', watched)):
        entry = sternpost.wait_deferred('bob@' + name)
        expect('STARTTLS' in entry['reason'], 'the reason: ' + entry['reason'])
        expect('MAIL' not in host.commands(), '%s was told of the message in clear' % name)
    taken_by(opened)


if __name__ == '__main__':
    sys.exit(run())
