#!/usr/bin/python3
"""sternpostd with an attacker between it and everything else: the DNS, the policy hosts, the MX hosts.

Each script is one attack on a domain with an MTA-STS policy in mode enforce. It is tried at first contact (once the policy has
been found), with a policy that is known, by a retry by hand, on a new connection after honest deliveries, and after kill -9
while the attacker also keeps the policy's record and host away (STS-43, STS-44, STS-45); and at every address on the way down: the best
MX host over IPv6, over IPv4, the second one (STS-72). What an attacker may hear is said in mitm.py. The mail must wait for the
right reason, and once he is gone it must arrive exactly once. RFC 8461 §3.3, §4, §5, §10.2; RFC 3207 §4.2, §6; RFC 9525 §6.3.
"""
import dataclasses
import ipaddress
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from machine import expect, expect_equal, run, test, wait_for
from mitm import (
    GREETING,
    NODATA,
    NXDOMAIN,
    OFFER,
    REFUSED,
    SERVFAIL,
    SILENCE,
    Alias,
    Script,
    Siege,
    Wire,
    after_220,
    after_hello,
    answer,
    by_role,
    certified,
    drip,
    dripping,
    http,
    in_turn,
    offer,
    piece_of_flight,
    policy_text,
    raw_web,
    says,
    silence,
    stripped,
    web,
    web_by_role,
)

STRIPPED = stripped(b'PIPELINING', b'8BITMIME')
SELF_SIGNED = certified('{mx}', signer='self')
NONE = http(policy_text('none', max_age=86400))
OWN_POLICY = web(NONE, ('{evil_web}',))  # at the attacker's own policy host, and all in order there
TESTING = http(policy_text('testing', '{evil}', max_age=86400))


RUNGS = ('mx1v6', 'mx1', 'mx2')


def because(word, *scripts):
    """These scripts, whose mail is held for a reason that has the word."""
    return [dataclasses.replace(s, words=(*s.words, word)) if s.status == '4.7.5' else s for s in scripts]


def starttls(reply):
    """STARTTLS is offered, and answered so; then the host goes on in clear."""
    return says(STARTTLS=reply)


def alert(level, description):
    return answer(bytes([0x15, 3, 3, 0, 2, level, description]))


# ------------------------------------------------------------------------------------------------ STARTTLS that is not there
ADVERTISED = because(
    'does not offer STARTTLS',
    Script('STARTTLS is cut out of the EHLO reply', 'STS-58 TLS-15', mx=STRIPPED),
    Script('STARTTLS is overwritten with XXXXXXXX', 'TLS-15', mx=stripped(b'PIPELINING', b'XXXXXXXX')),
    Script('STARTTLS is overwritten with XXXXXXXA', 'TLS-15', mx=stripped(b'XXXXXXXA', b'8BITMIME')),
    Script('one letter of STARTTLS is changed', 'TLS-15', mx=stripped(b'STARTTLX', b'START-TLS', b'STARTTL')),
    Script('STARTTLS has more letters', 'TLS-15', mx=stripped(b'STARTTLSX', b'XSTARTTLS', b'STARTTLS=no')),
    Script('STARTTLS is only a parameter', 'TLS-15', mx=stripped(b'AUTH STARTTLS', b'X-TLS STARTTLS')),
    Script('STARTTLS has a NUL in it', 'TLS-15', mx=stripped(b'START\0TLS', b'STARTTLS\0')),
    Script(
        'STARTTLS stands where the host says its name', 'TLS-15', mx=says(EHLO=offer(b'8BITMIME', first=b'STARTTLS'))
    ),
    Script(
        'STARTTLS stands in the greeting alone',
        'TLS-15',
        mx=says(b'220 mx.test STARTTLS\r\n', EHLO=offer(b'8BITMIME')),
    ),
    Script('the EHLO reply is one line', 'TLS-15', mx=says(EHLO=b'250 mx.test\r\n')),
    Script('EHLO is unknown and HELO does', 'STS-58 SMTP-06', mx=says(EHLO=b'502 5.5.1 unknown\r\n')),
    Script('EHLO is a syntax error and HELO does', 'STS-58 SMTP-06', mx=says(EHLO=b'500 5.5.2 what\r\n')),
    Script(
        'STARTTLS is pushed out by a hundred lines',
        'TLS-15',
        mx=says(EHLO=offer(*(b'X-%d' % n for n in range(120)), b'STARTTLS')),
        words=('100 lines',),
        status='4.',
        takes=False,
    ),
    Script(
        'EHLO is answered by 421',
        'STS-72',
        mx=says(EHLO=b'421 4.3.2 too busy\r\n'),
        words=('too busy',),
        status='4.',
        takes=False,
    ),
    Script(
        'the greeting is 421',
        'STS-72',
        mx=says(b'421 4.3.2 too busy\r\n'),
        words=('too busy',),
        status='4.',
        takes=False,
    ),
    Script(
        'the greeting refuses and names another host',
        'STS-72',
        mx=says(b'554 5.3.2 go to mx.evil.test\r\n'),
        words=('mx.evil.test',),
        status='4.',
        takes=False,
    ),
    Script(
        'EHLO and HELO are answered by 551 and another host',
        'STS-72',
        mx=says(EHLO=b'551 5.7.1 try <mx.evil.test>\r\n', HELO=b'551 5.7.1 try <mx.evil.test>\r\n'),
        words=('mx.evil.test',),
        status='4.',
        takes=False,
    ),
    Script('nobody greets', 'STS-72', mx=lambda site: silence, words=('greeting',), status='4.', takes=False),
)

# ------------------------------------------------------------------------------------------------------ STARTTLS that is refused
REFUSALS = [
    Script('STARTTLS is refused with 454', 'STS-58', mx=starttls(b'454 4.7.0 TLS not available\r\n')),
    Script('STARTTLS is refused with 554', 'STS-58', mx=starttls(b'554 5.7.3 no\r\n')),
    Script('STARTTLS is refused with 502', 'STS-58', mx=starttls(b'502 5.5.1 unknown\r\n')),
    Script('STARTTLS is refused with 530', 'STS-58', mx=starttls(b'530 5.7.0 must not issue STARTTLS first\r\n')),
    Script('STARTTLS is answered with another host by 551', 'STS-58', mx=starttls(b'551 5.7.0 use mx.evil.test\r\n')),
    Script('STARTTLS is answered by 421', 'STS-58 STS-72', mx=starttls(b'421 4.3.2 later\r\n')),
    Script('STARTTLS is answered by 221', 'STS-58 STS-72', mx=starttls(b'221 2.0.0 bye\r\n')),
    Script('STARTTLS is answered by 250', 'TLS-01', mx=starttls(b'250 2.0.0 no need to\r\n')),
    Script('STARTTLS is answered by 354', 'TLS-01', mx=starttls(b'354 go on\r\n')),
    Script(
        'STARTTLS is answered by no SMTP',
        'TLS-01',
        mx=starttls(b'HTTP/1.1 400 Bad Request\r\n\r\n'),
        words=('refuses STARTTLS', 'MTA-STS'),
    ),
    Script('STARTTLS is never answered', 'STS-72', mx=says(STARTTLS=silence)),
]

# ----------------------------------------------------------------------------------------- octets in clear where TLS should be
WHOLE_DIALOGUE = b'250-mx.test\r\n250 8BITMIME\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 taken\r\n'
INJECTIONS = [
    Script('a reply is injected behind the 220', 'TLS-03', mx=after_220(silence, b'220 go\r\n250 injected\r\n')),
    Script(
        'a whole dialogue is injected behind the 220', 'TLS-03', mx=after_220(silence, b'220 go\r\n' + WHOLE_DIALOGUE)
    ),
    Script('half a line is injected behind the 220', 'TLS-03 TLS-19', mx=after_220(silence, b'220 go\r\n250')),
    Script(
        'a dialogue follows the 220 a moment later',
        'TLS-03',
        mx=after_220(answer(WHOLE_DIALOGUE), b'220 go\r\n'),
    ),
    Script(
        'the replies to all of STARTTLS come with that to EHLO',
        'TLS-03 TLS-19',
        mx=says(EHLO=OFFER + b'220 go\r\n' + WHOLE_DIALOGUE, STARTTLS=silence),
    ),
    Script(
        'the replies to everything come with the greeting',
        'TLS-03 TLS-19',
        mx=says(GREETING + OFFER + b'220 go\r\n' + WHOLE_DIALOGUE, EHLO=silence, STARTTLS=silence),
    ),
    Script('a dialogue is injected before an honest handshake', 'TLS-03', mx=certified('{mx}', before=WHOLE_DIALOGUE)),
]

# ------------------------------------------------------------------------------------------------------ handshakes that go wrong
# What is only too weak comes with an honest certificate, so that nothing else can hold the mail.
HANDSHAKES = because(
    'handshake',
    Script('the connection is closed behind the 220', 'STS-72 TLS-14', mx=after_220(Wire.close)),
    Script('the connection is reset behind the 220', 'STS-72 TLS-14', mx=after_220(Wire.reset)),
    Script('the connection is closed at the ClientHello', 'STS-72', mx=after_hello(Wire.close)),
    Script('the connection is reset at the ClientHello', 'STS-72', mx=after_hello(Wire.reset)),
    Script('the ClientHello gets a fatal alert', 'STS-72', mx=after_hello(alert(2, 40))),
    Script('the ClientHello gets protocol_version', 'STS-72', mx=after_hello(alert(2, 70))),
    Script(
        'the ClientHello gets a warning and clear text',
        'STS-72',
        mx=after_hello(answer(b'\x15\x03\x03\0\2\1\x5a', b'250 ok\r\n')),
    ),
    Script('the ClientHello gets close_notify', 'STS-72', mx=after_hello(alert(1, 0))),
    Script('the ClientHello gets an SMTP reply', 'TLS-03', mx=after_hello(answer(b'250 2.0.0 no TLS here\r\n'))),
    Script('the ClientHello gets a web page', 'STS-72', mx=after_hello(answer(http('hello')))),
    Script('the ClientHello gets garbage', 'STS-72', mx=after_hello(answer(bytes(range(256))))),
    Script(
        'the ClientHello gets a broken ServerHello',
        'STS-72',
        mx=after_hello(answer(b'\x16\x03\x03\0\x08\x02\0\0\x04\x03\x03\0\0')),
    ),
    Script('the ClientHello comes back', 'STS-72', mx=after_hello(lambda wire: wire.send(wire.client_hello()))),
    Script('the ClientHello gets no answer', 'STS-72', mx=after_hello(silence)),
    Script('the handshake is closed half-way', 'STS-72', mx=piece_of_flight(0.5, Wire.close)),
    Script('the handshake is reset half-way', 'STS-72', mx=piece_of_flight(0.5, Wire.reset)),
    Script('the handshake ends in silence half-way', 'STS-72', mx=piece_of_flight(0.5, silence)),
    Script(
        'the handshake goes over to clear text half-way', 'TLS-03', mx=piece_of_flight(0.5, answer(WHOLE_DIALOGUE))
    ),
    Script(
        'the handshake is closed before the client has its say',
        'STS-72',
        mx=piece_of_flight(1, Wire.close),
        words=('EHLO',),
        status='4.',
        takes=False,
    ),
    Script('the handshake drips', 'STS-72', mx=drip),
    Script(
        'only TLS 1.0 is spoken',
        'TLS-09',
        mx=certified('{mx}', lowest=ssl.TLSVersion.TLSv1, highest=ssl.TLSVersion.TLSv1),
    ),
    Script(
        'only TLS 1.1 is spoken',
        'TLS-09',
        mx=certified('{mx}', lowest=ssl.TLSVersion.TLSv1_1, highest=ssl.TLSVersion.TLSv1_1),
    ),
    Script(
        'only ciphers without authentication are spoken',
        'TLS-10',
        mx=certified('{mx}', highest=ssl.TLSVersion.TLSv1_2, ciphers='aNULL'),
    ),
    Script(
        'only ciphers without encryption are spoken',
        'TLS-10',
        mx=certified('{mx}', highest=ssl.TLSVersion.TLSv1_2, ciphers='eNULL'),
    ),
)


# ---------------------------------------------------------------------------------------------------------- certificates that lie
def certificates():
    """Made when the test runs: some keys take their time."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return because(
        'certificate',
        Script('the certificate signs itself', 'STS-59', mx=SELF_SIGNED),
        Script('the root is unknown', 'STS-59', mx=certified('{mx}', signer='unknown')),
        Script('the root has the name of a trusted one', 'STS-59', mx=certified('{mx}', signer='namesake')),
        Script('the signer is no authority', 'STS-59', mx=certified('{mx}', signer='host')),
        Script('the intermediate has expired', 'STS-59', mx=certified('{mx}', signer='expired')),
        Script('the intermediate may not sign for this name', 'STS-59', mx=certified('{mx}', signer='limited')),
        Script('the certificate has expired', 'STS-59', mx=certified('{mx}', days=(-30, -1))),
        Script('the certificate is not valid yet', 'STS-59', mx=certified('{mx}', days=(1, 30))),
        Script(
            'the certificate is for a client', 'STS-59', mx=certified('{mx}', usage=ExtendedKeyUsageOID.CLIENT_AUTH)
        ),
        Script('the key has 1024 bits', 'TLS-10', mx=certified('{mx}', key=weak)),
        Script('the signature is by SHA-1', 'TLS-10', mx=certified('{mx}', digest=hashes.SHA1())),
        Script('the certificate is for the attacker\'s own host', 'STS-60', mx=certified('{evil}')),
        Script('the name stands only in the CN', 'STS-60', mx=certified(common_name='{mx}')),
        Script('the name stands in the CN beside another SAN', 'STS-60', mx=certified('{evil}', common_name='{mx}')),
        Script('the certificate is for the recipient\'s domain', 'STS-60', mx=certified('{domain}')),
        Script('the certificate is for the other listed MX host', 'STS-60', mx=certified('{other}')),
        Script('the certificate is the policy host\'s', 'STS-60', mx=certified('{web}')),
        Script('a wildcard would cover two labels', 'STS-61', mx=certified('*.test', '*.*.test')),
        Script(
            'a wildcard covers part of a label', 'STS-61', mx=certified('m*.{domain}', '*1.{domain}', '*2.{domain}')
        ),
        Script('a wildcard is not the left-most label', 'STS-61', mx=certified('mx1.*.test', 'mx2.*.test')),
        Script('a wildcard stands alone', 'STS-61', mx=certified('*', '*.')),
        Script('a wildcard stands below the name', 'STS-61', mx=certified('*.{mx}')),
        Script(
            'a name begins or ends with the right one', 'STS-60', mx=certified('{mx}.evil.test', 'x{mx}', 'x.{mx}')
        ),
        Script('a name has a NUL behind the right one', 'STS-60', mx=certified('{mx}\0.evil.test')),
        Script(
            'the name stands in a URI, a mailbox and an address',
            'STS-60',
            mx=certified(
                'x.evil.test',
                others=lambda mx: [
                    x509.UniformResourceIdentifier('smtp://%s' % mx),
                    x509.RFC822Name('postmaster@' + mx),
                    x509.IPAddress(ipaddress.ip_address('127.0.0.1')),
                ],
            ),
        ),
        Script(
            'TLS 1.2 with a certificate that signs itself',
            'STS-59',
            mx=certified('{mx}', signer='self', highest=ssl.TLSVersion.TLSv1_2),
        ),
        Script(
            'close_notify after the handshake, and on in clear',
            'STS-59 TLS-18',
            mx=certified('{mx}', signer='self', then=Wire.leave_tls),
            words=('certificate', 'MTA-STS'),
            takes=False,
        ),
        Script('STARTTLS once more inside', 'TLS-06', mx=certified('{mx}', signer='self', inside={'EHLO': OFFER})),
        Script(
            'EHLO lists STARTTLS twice',
            'TLS-15',
            mx=certified('{evil}', ehlo=offer(b'STARTTLS', b'8BITMIME', b'STARTTLS')),
        ),
        Script(
            'inside TLS the host talks of another one',
            'STS-73 TLS-11',
            mx=certified('{evil}', inside={'EHLO': b'250-mx.test\r\n250 8BITMIME\r\n221 2.0.0 use mx.evil.test\r\n'}),
        ),
        Script('a neighbour without policy trusts the same host', 'STS-74', mx=SELF_SIGNED, open_neighbour=True),
        Script(
            'a neighbour without policy has a ticket of TLS 1.2',
            'STS-74',
            mx=certified('{mx}', signer='self', highest=ssl.TLSVersion.TLSv1_2),
            open_neighbour=True,
        ),
    )


# ------------------------------------------------------------------------------------------------------- one rung after the other
RESET = after_220(Wire.reset)
LADDERS = [
    Script('IPv6 is dead, IPv4 is open in clear', 'STS-58', dead=('mx1v6',), mx=STRIPPED),
    Script('the best MX host is dead, the second open in clear', 'STS-58', dead=('mx1v6', 'mx1'), mx=STRIPPED),
    Script(
        'the best MX host is dead, the second has a wrong certificate',
        'STS-60',
        dead=('mx1v6', 'mx1'),
        mx=certified('{other}'),
    ),
    Script('IPv6 resets TLS, IPv4 is open in clear', 'STS-72', mx=by_role(STRIPPED, mx1v6=RESET)),
    Script('the best MX host resets TLS, the second is open in clear', 'STS-72', mx=by_role(RESET, mx2=STRIPPED)),
    Script(
        'the best MX host is busy, the second open in clear',
        'STS-58',
        mx=by_role(says(b'421 4.3.2 busy\r\n'), mx2=STRIPPED),
    ),
    Script(
        'the best MX host is silent in TLS, the second signs for itself',
        'STS-59',
        mx=by_role(after_hello(silence), mx2=SELF_SIGNED),
    ),
    Script(
        'each address breaks in its own way',
        'STS-58 STS-59',
        mx=by_role(certified('{domain}'), mx1v6=STRIPPED, mx2=RESET),
    ),
    Script('TLS is reset, the next connection is open in clear', 'STS-72 TLS-14', mx=in_turn(RESET, STRIPPED)),
    Script(
        'TLS is refused, the next connection is open in clear',
        'STS-72',
        mx=in_turn(starttls(b'454 4.7.0 no\r\n'), STRIPPED),
    ),
    Script(
        'TLS fails, the next connection signs for itself', 'STS-59', mx=in_turn(after_hello(alert(2, 40)), SELF_SIGNED)
    ),
    Script(
        'open in clear and busy by turns',
        'STS-58',
        mx=in_turn(STRIPPED, says(b'421 4.3.2 busy\r\n')),
        words=(),
        status='4.',
    ),
    Script(
        'an honest session is cut at its second message, the next open in clear',
        'STS-72',
        mx=STRIPPED,
        first=False,
        cuts=True,
    ),
]


# ------------------------------------------------------------------------------------------------------- DNS answers about hosts
def mx(*names):
    return lambda site: {(site.domain, 'MX'): ['%d %s.' % (10 * n, name(site)) for n, name in enumerate(names, 1)]}


def evil(site):
    return site.evil


def mx1(site):
    return site.mx1


EVIL = certified('{evil}')
NOT_LISTED = ('MTA-STS', 'not in the MTA-STS policy')


def addressed(name, site, role):
    return {(name, 'A'): [site.where[role]], (name, 'AAAA'): NODATA}


def listed_under(prefix):
    """The MX record names a host below the domain that is the attacker's."""
    return lambda site: {
        (site.domain, 'MX'): ['10 %s%s.' % (prefix, site.domain)],
        **addressed(prefix + site.domain, site, 'evil'),
    }


def begins_with_listed(site):
    name = '%s.%s' % (site.mx1, site.evil)
    return {(site.domain, 'MX'): ['10 %s.' % name], **addressed(name, site, 'evil')}


def forged_addresses(site):
    return {**addressed(site.mx1, site, 'evil'), **addressed(site.mx2, site, 'evil')}


def host_is_alias(site):
    alias = Alias(site.evil, (site.where['evil'],))
    hosts = (site.mx1, site.mx2)
    return {**{(name, 'A'): alias for name in hosts}, **{(name, 'AAAA'): Alias(site.evil) for name in hosts}}


def implicit(site):
    return {(site.domain, 'MX'): NODATA, **addressed(site.domain, site, 'evil')}


def tlsa(data):
    def lies(site):
        return {('_25._tcp.' + name, 'TLSA'): [data(site)] for name in (site.mx1, site.mx2)}

    return lies


def tlsa_of_the_attacker(site):
    digest = hashes.Hash(hashes.SHA256())
    digest.update(site.world.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return '3 1 1 ' + digest.finalize().hex()


HOSTS = [
    Script(
        'MX names the attacker\'s host, with a certificate in order',
        'STS-57',
        mx=EVIL,
        dns=mx(evil),
        words=NOT_LISTED,
        contacts=(),
    ),
    Script(
        'MX names the attacker\'s host before the listed one, which is stripped',
        'STS-57 STS-67',
        mx=by_role(STRIPPED, evil=EVIL),
        dns=mx(evil, mx1),
        words=NOT_LISTED,
        contacts=('mx1', 'mx1v6'),
    ),
    Script(
        'MX names the attacker\'s host behind the listed one, which resets',
        'STS-57 STS-67',
        mx=by_role(RESET, evil=EVIL),
        dns=mx(mx1, evil),
        words=NOT_LISTED,
        contacts=('mx1', 'mx1v6'),
    ),
    Script(
        'MX is an alias of the attacker\'s domain',
        'STS-56 STS-57',
        mx=EVIL,
        dns=lambda site: {(site.domain, 'MX'): Alias('evil.test', ('10 %s.' % site.evil,))},
        words=NOT_LISTED,
        contacts=(),
    ),
    Script(
        'MX names a host that begins with a listed name',
        'STS-57',
        mx=certified('{mx1}.{evil}'),
        dns=begins_with_listed,
        words=NOT_LISTED,
        contacts=(),
    ),
    Script(
        'MX names a host below a listed one',
        'STS-57 STS-62',
        mx=certified('x.{mx1}'),
        dns=lambda site: {(site.domain, 'MX'): ['10 x.%s.' % site.mx1], **addressed('x.' + site.mx1, site, 'evil')},
        words=NOT_LISTED,
        contacts=(),
    ),
    Script(
        'MX names two labels where the policy has a wildcard',
        'STS-62',
        patterns=('*.{domain}',),
        mx=certified('a.b.{domain}'),
        dns=listed_under('a.b.'),
        words=NOT_LISTED,
        contacts=(),
    ),
    Script(
        'MX names the domain where the policy has a wildcard',
        'STS-62',
        patterns=('*.{domain}',),
        mx=certified('{domain}'),
        dns=listed_under(''),
        words=NOT_LISTED,
        contacts=(),
    ),
    Script(
        'MX names an unknown host that a wildcard covers',
        'STS-60',
        patterns=('*.{domain}',),
        mx=EVIL,
        dns=listed_under('new.'),
        contacts=('evil',),
    ),
    Script(
        'MX records are gone, and the domain is an address',
        'STS-57',
        mx=certified('{domain}'),
        dns=implicit,
        words=NOT_LISTED,
        contacts=(),
    ),
    Script(
        'addresses of listed hosts are the attacker\'s', 'STS-60', mx=EVIL, dns=forged_addresses, contacts=('evil',)
    ),
    Script(
        'addresses of listed hosts are the attacker\'s, who signs for himself',
        'STS-59',
        mx=certified('{mx1}', '{mx2}', signer='self'),
        dns=forged_addresses,
        contacts=('evil',),
    ),
    Script('listed hosts are aliases of the attacker\'s', 'STS-60', mx=EVIL, dns=host_is_alias, contacts=('evil',)),
    Script(
        'the best host cannot be looked up, the second is stripped',
        'STS-58',
        dns=lambda site: {(site.mx1, 'A'): SERVFAIL, (site.mx1, 'AAAA'): SERVFAIL},
        contacts=('mx2',),
    ),
    Script(
        'the best host\'s addresses are never answered, the second is stripped',
        'STS-58',
        dns=lambda site: {(site.mx1, 'A'): SILENCE, (site.mx1, 'AAAA'): SILENCE},
        contacts=('mx2',),
    ),
    Script(
        'the best host is gone, the second is stripped',
        'STS-58',
        dns=lambda site: {(site.mx1, 'A'): NXDOMAIN, (site.mx1, 'AAAA'): NXDOMAIN},
        contacts=('mx2',),
    ),
    # "There is nowhere to go", forged: the bounce would hold the message, and goes out by its own way.
    Script(
        'the domain does not exist',
        'STS-45 STS-68',
        dns=lambda site: {(site.domain, 'MX'): NXDOMAIN},
        words=('DNSSEC does not vouch', 'MTA-STS'),
        status='4.',
        contacts=(),
        takes=False,
        returns=True,
    ),
    Script(
        'the domain takes no mail',
        'STS-45 STS-68',
        dns=lambda site: {(site.domain, 'MX'): ['0 .']},
        words=('DNSSEC does not vouch', 'MTA-STS'),
        status='4.',
        contacts=(),
        takes=False,
        returns=True,
    ),
    Script(
        'the MX host is this relay itself',
        'STS-45 STS-68',
        dns=lambda site: {(site.domain, 'MX'): ['10 relay.test.']},
        words=('DNSSEC does not vouch', 'MTA-STS'),
        status='4.',
        contacts=(),
        takes=False,
        returns=True,
    ),
    Script(
        'no MX host has an address',
        'STS-45 STS-68',
        dns=lambda site: {(name, kind): NODATA for name in (site.mx1, site.mx2) for kind in ('A', 'AAAA')},
        words=('DNSSEC does not vouch', 'MTA-STS'),
        status='4.',
        contacts=(),
        takes=False,
        returns=True,
    ),
    Script(
        'MX cannot be looked up',
        'STS-45',
        mx=EVIL,
        dns=lambda site: {(site.domain, 'MX'): SERVFAIL},
        words=('MX records',),
        status='4.4.3',
        contacts=(),
        takes=False,
    ),
    Script(
        'MX is never answered',
        'STS-45',
        mx=EVIL,
        dns=lambda site: {(site.domain, 'MX'): SILENCE},
        words=('MX records',),
        status='4.4.3',
        contacts=(),
        takes=False,
    ),
    Script(
        'AD and TLSA records of the attacker\'s key are forged',
        'DANE-01',
        mx=SELF_SIGNED,
        dns=tlsa(tlsa_of_the_attacker),
        forges_ad=True,
    ),
    Script(
        'AD and TLSA records that nobody can use are forged',
        'DANE-01',
        mx=SELF_SIGNED,
        dns=tlsa(lambda site: '9 9 9 00'),
        forges_ad=True,
    ),
    Script(
        'AD is forged over an attacker\'s MX',
        'STS-57 DANE-01',
        mx=EVIL,
        dns=lambda site: {**mx(evil)(site), ('_25._tcp.' + site.evil, 'TLSA'): [tlsa_of_the_attacker(site)]},
        forges_ad=True,
        words=NOT_LISTED,
        contacts=(),
    ),
]


# --------------------------------------------------------------------------------------------------------- DNS answers about policies
def record(data):
    return lambda site: {('_mta-sts.' + site.domain, 'TXT'): data}


def txt(text):
    return '"%s"' % text


NEW = txt('v=STSv1; id=forged;')


def policy_alias(site):
    return {('_mta-sts.' + site.domain, 'TXT'): Alias('_mta-sts.' + site.evil_domain, (NEW,))}


def forged_policy_host(site):
    return {**record([NEW])(site), (site.web, 'A'): [site.where['evil web']]}


def policy_host_alias(site):
    address = {(site.web, 'A'): Alias(site.evil_web, (site.where['evil web'],)), (site.web, 'AAAA'): Alias(site.evil_web)}
    return {**record([NEW])(site), **address}


def policy_host(data):
    return lambda site: {**record([NEW])(site), (site.web, 'A'): data, (site.web, 'AAAA'): data}


RECORDS = [
    Script('the record is gone (NXDOMAIN)', 'STS-11', dns=record(NXDOMAIN), first=False),
    Script('the record is gone (no data)', 'STS-11', dns=record(NODATA), first=False),
    Script('the record cannot be looked up', 'STS-11 STS-45', dns=record(SERVFAIL), first=False),
    Script('the record is refused', 'STS-11 STS-45', dns=record(REFUSED), first=False),
    Script('the record is never answered', 'STS-11 STS-45', dns=record(SILENCE), first=False),
    Script(
        'the record cannot be looked up at first contact', 'STS-12', dns=record(SERVFAIL), contacts=(), status='4.'
    ),
    Script('the record is never answered at first contact', 'STS-12', dns=record(SILENCE), contacts=(), status='4.'),
    Script('there are two records', 'STS-03 STS-11', dns=record([NEW, txt('v=STSv1; id=other;')]), first=False),
    Script('the record is garbage', 'STS-02 STS-11', dns=record([txt('v=spf1 -all')]), first=False),
    Script('the record has no id', 'STS-04 STS-11', dns=record([txt('v=STSv1;')]), first=False),
    Script(
        'the record is an alias of the attacker\'s',
        'STS-10 STS-23',
        dns=policy_alias,
        web=web_by_role(None, OWN_POLICY),
        first=False,
    ),
    Script('a new id, and the policy host does not exist', 'STS-45', dns=policy_host(NXDOMAIN), first=False),
    Script('a new id, and the policy host cannot be looked up', 'STS-45', dns=policy_host(SERVFAIL), first=False),
    Script(
        'a new id, and the policy host is the attacker\'s',
        'STS-21',
        dns=forged_policy_host,
        web=OWN_POLICY,
        first=False,
        contacts=(*RUNGS, 'evil web'),
    ),
    Script(
        'a new id, and the policy host is an alias of the attacker\'s',
        'STS-23',
        dns=policy_host_alias,
        web=OWN_POLICY,
        first=False,
        contacts=(*RUNGS, 'evil web'),
    ),
]


# ------------------------------------------------------------------------------------------------------------- a policy host that lies
def fetched(name, rows, attack):
    return Script(
        'a new id, and ' + name, rows, dns=record([NEW]), web=attack, first=False, contacts=(*RUNGS, 'web')
    )


def moved(status):
    where = 'Location: https://{evil_web}/.well-known/mta-sts.txt\r\n'
    return web(http(policy_text('none'), status=status, headers=where))


FETCHES = [
    fetched('the policy host is closed', 'STS-45', raw_web(Wire.reset)),
    fetched('the policy host never answers', 'STS-25 STS-45', raw_web(silence)),
    fetched(
        'the policy host breaks the handshake', 'STS-45', raw_web(lambda wire: (wire.client_hello(), wire.reset()))
    ),
    fetched(
        'the policy host speaks no TLS',
        'STS-45',
        raw_web(lambda wire: (wire.client_hello(), wire.send(NONE), wire.close())),
    ),
    fetched(
        'the policy host speaks TLS 1.1',
        'STS-29',
        web(NONE, lowest=ssl.TLSVersion.TLSv1_1, highest=ssl.TLSVersion.TLSv1_1),
    ),
    fetched('the policy is 404', 'STS-16', web(http(policy_text('none'), status='404 Not Found'))),
    fetched('the policy is 500', 'STS-16', web(http(policy_text('none'), status='500 Oops'))),
    fetched('the policy is 206', 'STS-16', web(http(policy_text('none'), status='206 Partial Content'))),
    fetched(
        'the policy has moved to the attacker (301)', 'STS-15', web_by_role(moved('301 Moved Permanently'), OWN_POLICY)
    ),
    fetched('the policy is at the attacker\'s for now (302)', 'STS-15', web_by_role(moved('302 Found'), OWN_POLICY)),
    fetched(
        'the policy is at the attacker\'s for now (307)',
        'STS-15',
        web_by_role(moved('307 Temporary Redirect'), OWN_POLICY),
    ),
    fetched('the policy is garbage', 'STS-42', web(http('mode none please\n'))),
    fetched('the policy lacks its max_age', 'STS-34 STS-42', web(http('version: STSv1\nmode: none\n'))),
    fetched('the policy is a web page', 'STS-18', web(http(policy_text('none'), content_type='text/html'))),
    fetched(
        'the policy is too large', 'STS-26', web(http(policy_text('none', more='x-padding: %s\n' % ('x' * 70000))))
    ),
    fetched('the policy drips', 'STS-25', web(dripping(NONE))),
    fetched('the policy ends too early', 'STS-42', web(http(policy_text('none'), length=4000))),
    fetched('mode none comes with a certificate that signs itself', 'STS-19', web(NONE, signer='self')),
    fetched('mode testing comes with a certificate that signs itself', 'STS-19', web(TESTING, signer='self')),
    fetched('mode none comes from an unknown root', 'STS-19', web(NONE, signer='unknown')),
    fetched('mode none comes with an expired certificate', 'STS-20', web(NONE, days=(-30, -1))),
    fetched('mode none comes with a name in the CN alone', 'STS-21', web(NONE, (), common_name='{web}')),
    fetched('mode testing comes with a name in the CN alone', 'STS-21', web(TESTING, (), common_name='{web}')),
    fetched('mode none comes with the attacker\'s valid certificate', 'STS-21', web(NONE, ('{evil}',))),
    fetched('mode none comes with a certificate for the domain', 'STS-21', web(NONE, ('{domain}',))),
    fetched('mode none comes with a wildcard for part of a label', 'STS-22', web(NONE, ('mta-*.{domain}',))),
    fetched('mode none comes with a wildcard for two labels', 'STS-22', web(NONE, ('*.test', '*.*.test'))),
    fetched(
        'max_age 0 comes with a certificate that signs itself',
        'STS-19 STS-50',
        web(http(policy_text('enforce', '{evil}', max_age=0)), signer='self'),
    ),
    Script(
        'a new id, and a policy for the attacker\'s host that MX names, with his certificate',
        'STS-21 STS-57',
        mx=EVIL,
        dns=lambda site: {**record([NEW])(site), **mx(evil)(site)},
        web=web(http(policy_text('enforce', '{evil}')), ('{evil}',)),
        first=False,
        words=NOT_LISTED,
        contacts=(),
    ),
]


def scripts():
    return [
        *ADVERTISED,
        *REFUSALS,
        *INJECTIONS,
        *HANDSHAKES,
        *certificates(),
        *LADDERS,
        *HOSTS,
        *RECORDS,
        *FETCHES,
    ]


@test
def no_attacker_hears_of_mail_that_a_policy_protects(machine):
    siege = Siege(machine, scripts())
    sites, world = siege.sites, siege.world
    strangers = [s for s in sites if s.script.first]
    known = [s for s in sites if not s.script.first]

    # Before the attacker comes: the policies of some become known by honest deliveries.
    siege.send([s.new_message() for s in known for _ in range(2 if s.script.cuts else 1)])
    wait_for('the first honest deliveries', lambda: all(siege.deliveries(s.messages[0]) for s in known))
    wait_for('the cuts', lambda: all(s.cut for s in known if s.script.cuts))
    siege.hang_up()

    world.attack = True
    siege.open_mail(strangers)
    siege.hold(strangers, 'first contact', lambda: siege.send([s.new_message() for s in strangers]))

    def again():
        siege.send([s.new_message() for s in sites])
        siege.sternpost.retry_all()

    siege.hold(sites, 'known policy, by hand', again)
    siege.deliver()
    siege.hang_up()

    world.attack = True
    siege.open_mail(sites)
    siege.hold(sites, 'after honest sessions', lambda: siege.send([s.new_message() for s in sites]))
    world.blocked = True
    siege.sternpost.kill()
    siege.sternpost.start()
    siege.hold(sites, 'after kill -9 without records', lambda: siege.sternpost.retry_all())
    siege.deliver()
    siege.close()
    siege.report()
    expect(len(sites) >= 40, 'only %d scripts' % len(sites))
    print('%d scripts, %d breaches' % (len(sites), len(siege.breaches())))


@test
def every_attacker_hears_of_mail_when_no_policy_is_kept(machine):
    """The other test can fail: the same scripts against a daemon that does not look for policies."""
    siege = Siege(machine, [s for s in scripts() if not s.returns], sts={'enabled': False})
    siege.world.attack = True
    siege.open_mail(siege.sites)
    siege.send([s.new_message() for s in siege.sites])

    def settled():
        found, (_, count) = siege.breaches(), siege.deferrals()
        return all(s in found or count[s.domain] for s in siege.sites)

    wait_for('each message is taken or waits', settled, 50, every=0.4)
    found = siege.breaches()
    unexpected = [s.script.name for s in siege.sites if (s in found) != s.script.takes]
    expect_equal(unexpected, [], 'scripts whose `takes` is not what they do')
    print('%d scripts, %d breaches without MTA-STS' % (len(siege.sites), len(found)))


if __name__ == '__main__':
    sys.exit(run())
