"""The man in the middle: an attacker between Sternpost and everything else, for many domains at once.

A Script is one attack, on a domain of its own (Site): what the attacker makes of DNS answers, of the policy host and of the MX
hosts. The World plays both sides on loopback addresses: the honest servers in peace, the attacker's otherwise.
A Siege leads one daemon through the situations that all scripts share, and judges what the attacker got to see.

Every octet that a connection brings is recorded, as it came off the wire and as it was inside TLS. An attacker may be told EHLO,
HELO, STARTTLS and QUIT; anything else is a breach, whatever the mail's fate.
"""
import collections
import contextlib
import dataclasses
import datetime
import secrets
import selectors
import socket
import ssl
import struct
import subprocess
import threading
import time
import warnings

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from machine import Failure, expect, expect_equal, wait_for
from peers import RESOLVER, Authority
from sternpost import Dialogue, Sternpost

HOSTNAME = 'relay.test'
COMMANDS = tuple(c.encode() + b'\r\n' for c in ('EHLO ' + HOSTNAME, 'HELO ' + HOSTNAME, 'QUIT'))
INTAKE = ('127.0.0.1', 2525)
NETWORK_V6 = 'fd00:25::'
GREETING = b'220 mx.test ESMTP\r\n'
IPV6_FREEBIND = 78  # linux/in6.h
PATIENCE = 20  # seconds without an octet, after which a connection is given up


# ---------------------------------------------------------------------------------------------------------- one connection, recorded
class Gone(Exception):
    """The other side has closed, or the attacker has."""


class Breach(Failure):
    """An attacker heard what he must not."""


class Wire:
    """One connection at a server of ours. raw: what came off the wire; inside: what came inside TLS, deciphered.
    visit: how many connections this address has had in this phase, from 1."""

    def __init__(self, connection, site, role, visit, honest):
        self.site, self.role, self.visit, self.honest = site, role, visit, honest
        self.raw, self.inside = bytearray(), bytearray()
        self.tls = None
        self.over = False  # the connection is closed
        self._connection, self._buffer = connection, b''
        self._incoming = self._outgoing = None

    @property
    def mx(self):
        """The name of the MX host that the address belongs to."""
        return self.site.host_at(self.role)

    def take(self):
        """Octets off the wire."""
        octets = self._connection.recv(65536)
        if not octets:
            raise Gone
        self.raw += octets
        return octets

    def recv(self):
        if not self.tls:
            return self.take()
        while True:
            try:
                octets = self.tls.read(65536)
            except ssl.SSLWantReadError:
                self._flush()
                self._incoming.write(self.take())
                continue
            if not octets:
                raise Gone
            self.inside += octets
            return octets

    def line(self):
        while b'\n' not in self._buffer:
            self._buffer += self.recv()
        line, _, self._buffer = self._buffer.partition(b'\n')
        return line.rstrip(b'\r').decode('latin-1')

    def send(self, octets):
        if self.tls:
            self.tls.write(octets)
            self._flush()
        else:
            self._connection.sendall(octets)

    def _flush(self):
        octets = self._outgoing.read()
        if octets:
            self._connection.sendall(octets)

    def _server(self, context):
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(self._buffer)
        self._buffer = b''
        return context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def start_tls(self, context):
        """A whole handshake."""
        tls = self._server(context)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._incoming.write(self.take())
            except ssl.SSLError:
                self._flush()  # the alert
                raise
        self._flush()
        self.tls = tls

    def first_flight(self, context):
        """What a server answers to the ClientHello; it is not sent."""
        tls = self._server(context)
        while not self._outgoing.pending:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            if not self._outgoing.pending:
                self._incoming.write(self.take())
        return self._outgoing.read()

    def client_hello(self):
        """Waits for the record that begins the handshake; its octets."""
        while len(self._buffer) < 5 or len(self._buffer) < 5 + int.from_bytes(self._buffer[3:5], 'big'):
            self._buffer += self.take()
        return self._buffer

    def leave_tls(self):
        """close_notify; what follows is in clear again."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self._flush()
        self.tls = None

    def close(self):
        self._connection.close()
        raise Gone

    def reset(self):
        """RST."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.close()

    def listen_out(self):
        """Records whatever else is said, and says nothing."""
        with contextlib.suppress(Gone, OSError):
            with contextlib.suppress(ssl.SSLError):
                while True:
                    self.recv()
            while True:
                self.take()

    # ------------------------------------------------------------------------------------------------------------------ the judge
    def leak(self, secret_words):
        """What was said here and an attacker must not hear; empty: nothing. An honest host may hear all inside TLS."""
        said = strange(self.raw, (*COMMANDS, b'STARTTLS\r\n')) if self.site.is_mx(self.role) else b''
        heard = bytes(self.raw)
        if not self.honest:
            said = said or (strange(self.inside, COMMANDS) if self.site.is_mx(self.role) else b'')
            heard += bytes(self.inside)
        for word in secret_words:
            if word in heard:
                said = said or heard[max(0, heard.index(word) - 40) :][:120]
        return said


def strange(octets, commands):
    """The first octets that are neither one of the commands nor part of a TLS record; empty: there are none."""
    rest = bytes(octets)
    while rest:
        if 0x14 <= rest[0] <= 0x17 and rest[1:2] in (b'', b'\x03'):
            rest = rest[5 + int.from_bytes(rest[3:5], 'big') :] if len(rest) > 5 else b''
            continue
        command = next((c for c in commands if rest.startswith(c)), None)
        if command is None:
            return rest[:120]
        rest = rest[len(command) :]
    return b''


# ------------------------------------------------------------------------------------------------------------------- what hosts say
def offer(*keywords, first=b'mx.test'):
    """A reply to EHLO."""
    lines = (first, *keywords)
    return b''.join(b'250%s%s\r\n' % (b' ' if n == len(lines) - 1 else b'-', line) for n, line in enumerate(lines))


OFFER = offer(b'PIPELINING', b'8BITMIME', b'STARTTLS')


def host(wire, greeting=GREETING, clear=None, inside=None, on_mail=None):
    """An SMTP host that takes all it can get. clear, inside: {verb: octets to reply, or a function of the wire}, before TLS
    and in it. on_mail(wire): called at each MAIL."""
    wire.send(greeting)
    clear = {'EHLO': OFFER, **(clear or {})}
    inside = {'EHLO': offer(b'PIPELINING', b'8BITMIME'), **(inside or {})}
    octets = b''
    while True:
        line = wire.line()
        verb = line.split(' ')[0].upper()
        answer = (inside if wire.tls else clear).get(verb)
        if verb == 'MAIL' and on_mail:
            on_mail(wire)
        if callable(answer):
            answer(wire)
        elif answer is not None:
            wire.send(answer)
        elif verb == 'DATA':
            wire.send(b'354 go on\r\n')
            octets = b''
            while not octets.endswith(b'\n.'):
                octets += b'\n' + wire.line().encode('latin-1')
            wire.site.taken.append((wire, octets))
            wire.send(b'250 2.0.0 taken\r\n')
        elif verb == 'QUIT':
            wire.send(b'221 2.0.0 bye\r\n')
            return
        else:
            wire.send(b'250 2.0.0 fine\r\n')


def says(greeting=GREETING, **clear):
    """An attack on MX hosts: these replies in clear. With STARTTLS=function it is offered."""
    return lambda site: lambda wire: host(wire, greeting, clear)


def stripped(*keywords):
    """EHLO offers these and no STARTTLS."""
    return says(EHLO=offer(*keywords))


def after_220(action, go=b'220 2.0.0 go ahead\r\n'):
    """STARTTLS is offered and accepted, and then that happens on the wire."""

    def starttls(wire):
        wire.send(go)
        action(wire)

    return says(STARTTLS=starttls)


def after_hello(action):
    """That happens once the ClientHello is there."""

    def wait(wire):
        wire.client_hello()
        action(wire)

    return after_220(wait)


def answer(octets, *more):
    """An action: these octets in clear, a moment between one piece and the next."""

    def act(wire):
        wire.send(octets)
        for piece in more:
            time.sleep(0.05)
            wire.send(piece)

    return act


def silence(_):
    """An action: none. Whatever comes is recorded, and nothing answers."""
    raise Gone


def piece_of_flight(share, then):
    """An action: that share of a true server's first flight, then another action."""

    def prepare(site):
        context = site.certified('{mx1}', '{mx2}')[site.mx1]

        def act(wire):
            flight = wire.first_flight(context)
            wire.send(flight[: int(len(flight) * share)])
            then(wire)

        return after_220(act)(site)

    return prepare


def drip(site):
    """An attack: a true server's first flight, an octet at a time."""
    context = site.certified('{mx1}', '{mx2}')[site.mx1]

    def act(wire):
        for octet in wire.first_flight(context):
            wire.send(bytes([octet]))
            time.sleep(0.1)

    return after_220(act)(site)


def certified(*names, ehlo=OFFER, before=b'', then=None, inside=None, **how):
    """STARTTLS with a certificate: see Site.certified. ehlo: the reply in clear; before: octets in clear behind the 220;
    then: an action right after the handshake; inside: replies in TLS."""

    def prepare(site):
        contexts = site.certified(*names, **how)

        def starttls(wire):
            wire.send(b'220 2.0.0 go ahead\r\n' + before)
            wire.start_tls(contexts[wire.mx])
            if then:
                then(wire)

        return lambda wire: host(wire, clear={'EHLO': ehlo, 'STARTTLS': starttls}, inside=inside)

    return prepare


def by_role(otherwise, **attacks):
    """Another attack at each address: mx1v6, mx1, mx2."""

    def prepare(site):
        ready = {role: attack(site) for role, attack in attacks.items()}
        rest = otherwise(site)
        return lambda wire: ready.get(wire.role, rest)(wire)

    return prepare


def in_turn(*attacks):
    """Another attack at each connection to the same address, and round again."""

    def prepare(site):
        ready = [attack(site) for attack in attacks]
        return lambda wire: ready[(wire.visit - 1) % len(ready)](wire)

    return prepare


# ---------------------------------------------------------------------------------------------------------- what policy hosts say
def policy_text(mode, *mx, max_age=604800, more=''):
    hosts = ''.join('mx: %s\n' % name for name in mx)
    return 'version: STSv1\nmode: %s\n%smax_age: %d\n%s' % (mode, hosts, max_age, more)


def http(body, status='200 OK', content_type='text/plain', length=None, headers=''):
    octets = body.encode()
    head = 'HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n'
    return (head % (status, content_type, len(octets) if length is None else length, headers)).encode() + octets


def page(context, content):
    """A policy host's dialogue. content: octets of the HTTP response, or a function of the wire."""

    def talk(wire):
        wire.start_tls(context)
        request = b''
        while b'\r\n\r\n' not in request:
            request += wire.recv()
        wire.site.requests.append(request)
        if callable(content):
            content(wire)
        else:
            wire.send(content)
        wire.leave_tls()
        wire.close()

    return talk


def web(content, names=('{web}',), **how):
    """An attack on the policy host, by default with a certificate that is in order. content: see page; {evil} and {evil_web}
    in octets are the attacker's hosts. names, how: see Site.certified."""

    def prepare(site):
        mine = content
        if isinstance(content, bytes):
            mine = content.replace(b'{evil}', site.evil.encode()).replace(b'{evil_web}', site.evil_web.encode())
        return page(site.certified(*names, **how)[site.mx1], mine)

    return prepare


def web_by_role(at_web, at_evil_web):
    """One attack at the policy host's address (None: it stays honest), one at the attacker's own."""

    def prepare(site):
        ready = {'web': at_web(site) if at_web else site.honest_web, 'evil web': at_evil_web(site)}
        return lambda wire: ready[wire.role](wire)

    return prepare


def raw_web(action):
    """An attack on the policy host below HTTP."""
    return lambda site: action


def dripping(octets, pause=0.1):
    """An action: these octets, one at a time, with so many seconds between them."""

    def act(wire):
        for octet in octets:
            wire.send(bytes([octet]))
            time.sleep(pause)

    return act


# ----------------------------------------------------------------------------------------------------------------------- DNS lies
SILENCE = 'no answer at all'
NODATA = 'no data'
SERVFAIL, NXDOMAIN, REFUSED = dns.rcode.SERVFAIL, dns.rcode.NXDOMAIN, dns.rcode.REFUSED


@dataclasses.dataclass(frozen=True)
class Alias:
    """An answer: a CNAME and what stands at its target."""

    target: str
    data: tuple = ()


class World:
    """Both sides: the DNS, a policy host and MX hosts for every site, and the attacker's. attack: he is at work.
    blocked: he keeps the policies' records and hosts from everyone, too."""

    def __init__(self, machine, scripts):
        self.machine, self.attack, self.blocked = machine, False, False
        self.authority = Authority(machine)
        self.signers = make_signers(self.authority)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificates = 0
        self.wires, self.visits = [], collections.Counter()
        self.questions = []
        self.returned = []  # mail for the senders: bounces
        self.sites = [Site(self, n, script) for n, script in enumerate(scripts, 1)]
        self.records = {('sender.test', 'MX'): ['10 home.sender.test.'], ('home.sender.test', 'A'): ['127.1.0.1']}
        self.policies = {name: site for site in self.sites for name in ('_mta-sts.' + site.domain, site.web)}
        self.lies = {}
        for site in self.sites:
            self.records.update(site.records())
            self.lies.update({key: (site, data) for key, data in site.script.dns(site).items()})
        subprocess.run(['ip', '-6', 'route', 'add', 'local', NETWORK_V6 + '/64', 'dev', 'lo'], check=True)
        machine.at_end(subprocess.run, ['ip', '-6', 'route', 'del', 'local', NETWORK_V6 + '/64', 'dev', 'lo'])
        self._serve_dns()
        self._serve_hosts()

    # ------------------------------------------------------------------------------------------------------------------- threads
    def _run(self, call, *closing):
        thread = threading.Thread(target=call, daemon=True)

        def end():
            for one in closing:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for one in closing:
                one.close()

        self.machine.at_end(end)
        thread.start()

    def _serve_dns(self):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((RESOLVER, 53))

        def run():
            while True:
                try:
                    wire, peer = server.recvfrom(65535)
                except OSError:
                    return
                if not wire:
                    return
                response = self._answer(dns.message.from_wire(wire))
                if response is not None:
                    server.sendto(response.to_wire(), peer)

        self._run(run, server)

    def _serve_hosts(self):
        poll, listeners = selectors.DefaultSelector(), []
        roles = [(site, role, address) for site in self.sites for role, address in site.addresses.items()]
        for site, role, address in [*roles, (None, 'home', '127.1.0.1')]:
            listener = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ':' in address:
                listener.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)  # routed here, though on no interface
            listener.bind((address, 443 if 'web' in role else 25))
            listener.listen(128)
            listener.setblocking(False)
            poll.register(listener, selectors.EVENT_READ, (site, role))
            listeners.append(listener)
        over = threading.Event()
        self.machine.at_end(poll.close)

        def run():
            while not over.is_set():
                for key, _ in poll.select(0.2):
                    with contextlib.suppress(OSError):
                        self._accept(key.fileobj.accept()[0], *key.data)

        self._run(run, *listeners)
        self.machine.at_end(over.set)

    def _accept(self, connection, site, role):
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if site is None:
            wire = Wire(connection, Nobody(self.returned), role, 1, True)
            talk = lambda w: host(w, clear={'EHLO': offer(b'8BITMIME')})
        else:
            self.visits[site, role] += 1
            talk, honest = site.behaviour(role)
            wire = Wire(connection, site, role, self.visits[site, role], honest)
            self.wires.append(wire)

        def attend():
            with connection:
                with contextlib.suppress(Gone, OSError, ssl.SSLError):
                    talk(wire)
                wire.listen_out()
            wire.over = True

        threading.Thread(target=attend, daemon=True).start()

    # ----------------------------------------------------------------------------------------------------------------------- DNS
    def _answer(self, query):
        asked = query.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.questions.append((name, kind))
        site, lie = self.lies.get((name, kind), (None, None))
        lies = site is not None and (self.attack or site.attacked)
        data = lie if lies else self.records.get((name, kind))
        if self.attack and self.blocked:
            hidden = self.policies.get(name)
            if hidden:
                data = (NXDOMAIN, SERVFAIL, NODATA, SILENCE, REFUSED)[hidden.n % 5]
        if data == SILENCE:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if lies and site.script.forges_ad:
            response.flags |= dns.flags.AD
        if data is None:
            known = any(known_name == name for known_name, _ in self.records)
            data = NODATA if known or any(key[0] == name for key in self.lies) else NXDOMAIN
        if isinstance(data, int):
            response.set_rcode(data)
        if data == NODATA or isinstance(data, int):
            soa = 'ns.test. hostmaster.test. 1 3600 600 86400 0'
            response.authority.append(dns.rrset.from_text('test.', 0, 'IN', 'SOA', soa))
            return response
        if isinstance(data, Alias):
            response.answer.append(dns.rrset.from_text(asked.name, 0, 'IN', 'CNAME', data.target + '.'))
            if data.data:
                response.answer.append(dns.rrset.from_text(data.target + '.', 0, 'IN', kind, *data.data))
            return response
        response.answer.append(dns.rrset.from_text(asked.name, 0, 'IN', kind, *data))
        return response

    # -------------------------------------------------------------------------------------------------------------- certificates
    def context(self, certificate, key, chain=(), lowest=ssl.TLSVersion.TLSv1_2, highest=None, ciphers='DEFAULT'):
        """What a server shakes hands with. Nothing is too weak for it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = lowest
        if highest:
            context.maximum_version = highest
        context.set_ciphers(ciphers + ':@SECLEVEL=0')
        pem = b''.join(c.public_bytes(serialization.Encoding.PEM) for c in (certificate, *chain))
        pem += key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.certificates += 1
        context.load_cert_chain(self.machine.write('certificates/%d.pem' % self.certificates, pem))
        return context


@dataclasses.dataclass
class Signer:
    subject: x509.Name
    key: object
    chain: tuple = ()  # sent along with what it signs


def name_of(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def sign(
    signer, subject, key, names=(), more=(), days=(-9, 9), digest=None, authority=False, usage=None, permitted=None
):
    """A certificate. names: DNS names; more: other general names; days: from when to when it is valid, from today;
    authority: whether it says it is a CA; permitted: the only domain that one may sign for."""
    usage = usage or ExtendedKeyUsageOID.SERVER_AUTH
    now = datetime.datetime.utcnow()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    names = [*(x509.DNSName(n) for n in names), *more]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if permitted:
        limits = x509.NameConstraints(permitted_subtrees=[x509.DNSName(permitted)], excluded_subtrees=None)
        builder = builder.add_extension(limits, critical=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # SHA-1 is what some attackers want
        return builder.sign(signer.key, digest or hashes.SHA256())


def make_signers(trusted):
    """Who signs: `trusted` is the root in the daemon's bundle, the others are the attacker's, some of them beneath it."""
    root = Signer(trusted.subject, trusted.key)

    def beneath(name, **how):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = sign(root, name_of(name), key, **how)
        return Signer(certificate.subject, key, (certificate,))

    return {
        'trusted': root,
        'unknown': Signer(name_of('A root that nobody trusts'), ec.generate_private_key(ec.SECP256R1())),
        'namesake': Signer(trusted.subject, ec.generate_private_key(ec.SECP256R1())),
        'host': beneath('mx.evil.test', names=('mx.evil.test',)),  # an honest customer of the root, and no CA
        'expired': beneath('An intermediate of the past', authority=True, days=(-90, -1)),
        'limited': beneath('An intermediate for evil.test', authority=True, permitted='evil.test'),
    }


# ------------------------------------------------------------------------------------------------------------- a script and its site
def no_lies(_):
    return {}


@dataclasses.dataclass
class Script:
    """One attack. mx, web: functions of the site that make the dialogue of its MX hosts and of its policy host (None: that
    one stays honest); dns: of the site too, {(name, type): data, Alias, rcode, NODATA or SILENCE}."""

    name: str
    rows: str  # the obligations that it shows
    mx: object = stripped(b'PIPELINING', b'8BITMIME')
    dns: object = no_lies
    web: object = None
    patterns: tuple = ('{mx1}', '{mx2}')  # of the honest policy
    first: bool = True  # also at first contact; otherwise the policy is known before the attacker comes
    words: tuple = ('MTA-STS',)  # the reason has them
    status: str = '4.7.5'  # of the deferral; '4.' takes any
    contacts: tuple = ('mx1v6', 'mx1', 'mx2')  # addresses that are tried in every attempt
    dead: tuple = ()  # addresses that never take a connection
    forges_ad: bool = False
    takes: bool = True  # a daemon without MTA-STS loses the mail to it
    returns: bool = False  # a daemon without MTA-STS returns the mail to its sender
    open_neighbour: bool = False  # a domain without policy has the same MX hosts, and gets mail first
    cuts: bool = False  # the attacker comes in the middle of an honest session, at its second message


class Nobody:
    """Whose mail is none of the attacker's: bounces go to the senders' own host."""

    def __init__(self, taken):
        self.taken = taken


@dataclasses.dataclass
class Message:
    site: object
    sender: str
    recipient: str
    word: str  # in its header and in its text

    def words(self):
        return [self.sender.split('@')[0].encode(), self.recipient.split('@')[0].encode(), self.word.encode()]


class Site:
    """A script's domain: names, addresses, honest servers, messages."""

    def __init__(self, world, n, script):
        self.world, self.n, self.script = world, n, script
        self.domain = 's%d.test' % n
        self.neighbour = 'open%d.test' % n
        self.mx1, self.mx2 = 'mx1.' + self.domain, 'mx2.' + self.domain
        self.web = 'mta-sts.' + self.domain
        self.evil_domain = 'evil%d.test' % n  # the attacker's own, with honest certificates for its hosts
        self.evil, self.evil_web = 'mx.' + self.evil_domain, 'mta-sts.' + self.evil_domain
        net = '127.1.%d.' % n
        where = {'mx1v6': NETWORK_V6 + '%x' % n, 'mx1': net + '1', 'mx2': net + '2', 'web': net + '80'}
        where.update({'evil': net + '66', 'evil web': net + '67'})
        self.where = where
        self.addresses = {role: address for role, address in where.items() if role not in script.dead}
        self.messages, self.open_messages = [], []
        self.taken, self.requests = [], []
        self.attacked = False  # the attacker is at work here, if nowhere else
        self.cut = False  # he has cut a session
        self.id = 'first%d' % n
        honest = self.certified('{mx1}', '{mx2}', '{web}')[self.mx1]
        patterns = [p.format(mx1=self.mx1, mx2=self.mx2, domain=self.domain) for p in script.patterns]
        self._honest_mx = lambda wire: host(wire, clear={'STARTTLS': self._shake(honest)}, on_mail=self._at_mail)
        self.honest_web = page(honest, http(policy_text('enforce', *patterns)))
        self._attack_mx = script.mx(self)
        self._attack_web = script.web(self) if script.web else None
        self._mails_of = collections.Counter()

    @staticmethod
    def _shake(context):
        def starttls(wire):
            wire.send(b'220 2.0.0 go ahead\r\n')
            wire.start_tls(context)

        return starttls

    def _at_mail(self, wire):
        self._mails_of[wire] += 1
        if self.script.cuts and not self.cut and self._mails_of[wire] == 2:
            self.attacked = self.cut = True
            wire.reset()

    @staticmethod
    def is_mx(role):
        return 'web' not in role

    def host_at(self, role):
        return {'mx1v6': self.mx1, 'mx1': self.mx1, 'mx2': self.mx2}.get(role, self.evil)

    def behaviour(self, role):
        """How an address behaves just now, and whether that is honest."""
        peace = not (self.world.attack or self.attacked)
        if self.is_mx(role):
            return (self._honest_mx, True) if peace and role != 'evil' else (self._attack_mx, False)
        if self.world.blocked and not peace:
            return Wire.reset, False
        if role == 'web' and (peace or not self._attack_web):
            return self.honest_web, True
        return self._attack_web or Wire.reset, False

    def records(self):
        own = {
            (self.domain, 'MX'): ['10 %s.' % self.mx1, '20 %s.' % self.mx2],
            (self.mx1, 'AAAA'): [self.where['mx1v6']],
            (self.mx1, 'A'): [self.where['mx1']],
            (self.mx2, 'A'): [self.where['mx2']],
            ('_mta-sts.' + self.domain, 'TXT'): ['"v=STSv1; id=%s;"' % self.id],
            (self.web, 'A'): [self.where['web']],
            (self.evil, 'A'): [self.where['evil']],
            (self.evil_web, 'A'): [self.where['evil web']],
            ('_mta-sts.' + self.evil_domain, 'TXT'): ['"v=STSv1; id=forged;"'],
        }
        if self.script.open_neighbour:
            own[self.neighbour, 'MX'] = own[self.domain, 'MX']
        return own

    def certified(
        self, *names, signer='trusted', common_name='see subjectAltName', key=None, others=lambda mx: (), **how
    ):
        """{MX host: context} with a certificate of these names: {mx} and {other} are the MX host at hand and the other one;
        {mx1}, {mx2}, {web}, {domain}, {evil} and {evil_web} are the site's. others: the names that are no DNS names, for an
        MX host; signer: a key of make_signers, or 'self'; how: more for sign() and World.context()."""
        contexts = {}
        of_context = {k: how.pop(k) for k in ('lowest', 'highest', 'ciphers') if k in how}
        for mx, other in ((self.mx1, self.mx2), (self.mx2, self.mx1), (self.evil, self.mx1)):
            fields = {f: getattr(self, f) for f in ('mx1', 'mx2', 'web', 'domain', 'evil', 'evil_web')}
            fields.update(mx=mx, other=other)
            subject = name_of(common_name.format(**fields))
            if key is None:
                key = self.world.key
            by = Signer(subject, key) if signer == 'self' else self.world.signers[signer]
            certificate = sign(by, subject, key, [n.format(**fields) for n in names], more=others(mx), **how)
            contexts[mx] = self.world.context(certificate, key, by.chain, **of_context)
        return contexts

    def new_message(self, neighbour=False):
        sender, recipient, word = ('%s%s' % (p, secrets.token_hex(8)) for p in ('from', 'to', 'word'))
        domain = self.neighbour if neighbour else self.domain
        message = Message(self, sender + '@sender.test', '%s@%s' % (recipient, domain), word)
        (self.open_messages if neighbour else self.messages).append(message)
        return message


# ------------------------------------------------------------------------------------------------------------------------- the siege
class Siege:
    """One daemon, attacked on all sites at once. Each situation ends with its judgement, close() with that of the whole."""

    def __init__(self, machine, scripts, name='sternpost', **options):
        self.world = World(machine, scripts)
        self.sites = self.world.sites
        self.queue_ids = collections.defaultdict(set)  # by domain
        self.situations = {site: [] for site in self.sites}
        timeouts = {k + '_timeout': '2s' for k in ('connect', 'greeting', 'helo', 'starttls')}
        chosen = {
            'listener': {'listen': ['%s:%d' % INTAKE]},
            'delivery': {**timeouts, 'idle_time': '1s', 'quit_timeout': '1s', 'max_deliveries': 40},
            'dns': {'timeout': '1s', 'attempts': 2},
            'sts': {'fetch_timeout': '3s', 'failed_fetch_wait': '1s'},
        }
        for table, values in options.items():
            chosen.setdefault(table, {}).update(values)
        self.sternpost = Sternpost(machine, self.world.authority, name=name, **chosen)

    # ------------------------------------------------------------------------------------------------------------------- steps
    def send(self, messages):
        with Dialogue(INTAKE) as d:
            d.ehlo()
            for m in messages:
                text = 'From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n\r\n%s\r\n' % (m.sender, m.recipient, m.word, m.word)
                d.message(m.sender, [m.recipient], text.encode())
            d.say('QUIT', '221')

    def open_mail(self, sites):
        """Mail for the neighbours without policy goes to whoever is there, and must be taken before the siege goes on."""
        messages = [site.new_message(neighbour=True) for site in sites if site.script.open_neighbour]
        self.send(messages)
        for m in messages:
            has_it = lambda m=m: any(m.word.encode() in octets for _, octets in m.site.taken)
            wait_for('the mail without policy for %s' % m.site.neighbour, has_it)

    def deferrals(self):
        """{domain: its latest deferral} and {domain: how many}, since the daemon's start."""
        latest, count = {}, collections.Counter()
        for event in self.sternpost.events('attempt'):
            domain = event['to'].strip('<>').split('@')[1]
            self.queue_ids[domain].add(event['qid'].encode())
            if event['status'] == 'deferred':
                latest[domain] = event
                count[domain] += 1
        return latest, count

    def waiting(self):
        """{domain: [its entries in the queue]}"""
        entries = collections.defaultdict(list)
        for path, entry in self.sternpost.recipients().items():
            entries[path.split('@')[1]].append(entry)
        return entries

    def hold(self, sites, situation, act):
        """The attacker is at work; after `act` the mail of every site must wait, for the right reason."""
        before = self.deferrals()[1]
        self.world.visits.clear()
        act()
        todo, complaints = list(sites), {}
        for again in range(3):  # a busy machine may be late where nobody attacks: that is tried again, a breach never
            if again:
                before = self.deferrals()[1]
                for site in todo:
                    self.sternpost.do('queue', 'retry', '--domain', site.domain)

            def settled():
                self.must_be_tight()
                _, count = self.deferrals()
                if any(count[site.domain] <= before[site.domain] for site in todo):
                    return False
                entries = self.waiting()
                return not any(e['active'] for site in todo for e in entries[site.domain])

            try:
                wait_for('each site has deferred its mail', settled, 50, every=0.4)
            except Breach:
                raise
            except Failure:
                _, count = self.deferrals()
                late = [s.script.name for s in todo if count[s.domain] <= before[s.domain]]
                raise Failure('%s: after 50 s nothing was deferred for: %s' % (situation, late)) from None
            latest, entries = self.deferrals()[0], self.waiting()
            complaints = {site: self.complaint(site, latest[site.domain], entries[site.domain]) for site in todo}
            todo = [site for site in todo if complaints[site]]
            if not todo:
                break
        if todo:
            lines = ['%s (%s): %s' % (site.script.name, site.domain, complaints[site]) for site in todo]
            raise Failure('%s: %d scripts did not end as they should\n%s' % (situation, len(lines), '\n'.join(lines)))
        for site in sites:
            self.situations[site].append(situation)

    def complaint(self, site, deferral, entries):
        """What is wrong with how the mail waits; empty: nothing."""
        script = site.script
        pending = [m.recipient for m in site.messages if not self.deliveries(m)]
        if sorted(e['path'] for e in entries) != sorted(pending):
            return 'in the queue are %r instead of %r' % ([e['path'] for e in entries], pending)
        if not any(e['reason'] and e['status'].startswith(script.status) for e in entries):
            return 'no entry has a reason and status %s: %r' % (script.status, entries)
        for word in script.words:
            if word not in deferral['reason']:
                return 'the reason does not say %r: %s' % (word, deferral['reason'])
        if not deferral['dsn'].startswith(script.status):
            return 'the status is %s: %s' % (deferral['dsn'], deferral['reason'])
        for role in script.contacts:
            blocked = self.world.blocked and not site.is_mx(role)
            if not blocked and role not in script.dead and not self.world.visits[site, role]:
                return 'nobody called at %s, so that nothing was shown there' % role
        return ''

    def hang_up(self):
        """Waits until the daemon keeps no honest session any more."""
        honest = [w for w in self.world.wires if w.honest and w.site.is_mx(w.role)]
        wait_for('the honest sessions are over', lambda: all(w.over for w in honest))

    def deliver(self):
        """Peace: a retry by hand takes everything to where it belongs, once."""
        self.world.attack = self.world.blocked = False
        for site in self.sites:
            site.attacked = False
        ask_at = 0.0

        def empty():
            nonlocal ask_at
            if time.monotonic() > ask_at:
                self.sternpost.retry_all()
                ask_at = time.monotonic() + 4
            return not self.sternpost.recipients()

        try:
            wait_for('the queue is empty', empty, 50, every=0.4)
        except Failure:
            left = {p: e['reason'] for p, e in self.sternpost.recipients().items()}
            raise Failure('after the attack these are still waiting: %r' % left) from None
        for site in self.sites:
            for message in site.messages:
                expect_equal(self.deliveries(message), 1, '%s: deliveries of a message' % site.script.name)
        expect_equal(self.world.returned, [], 'bounces')
        self.must_be_tight()

    @staticmethod
    def deliveries(message):
        """How often the honest hosts took it, inside TLS."""
        word = message.word.encode()
        return sum(word in octets and wire.honest and wire.tls is not None for wire, octets in message.site.taken)

    # ----------------------------------------------------------------------------------------------------------------- judgement
    def breaches(self):
        """{site: what the attacker heard}"""
        found = {}
        secrets_of = {
            site: [*(w for m in site.messages for w in m.words()), *self.queue_ids[site.domain]] for site in self.sites
        }
        for wire in list(self.world.wires):
            site = wire.site
            if site in found:
                continue
            if any(m.word.encode() in wire.raw or m.word.encode() in wire.inside for m in site.open_messages):
                # The neighbour's mail is his to take, and says MAIL and RCPT; the site's own is not.
                said = next((w for w in secrets_of[site] if w in wire.raw or w in wire.inside), b'')
            else:
                said = wire.leak(secrets_of[site])
            if said:
                found[site] = bytes(said)
        return found

    def must_be_tight(self):
        found = self.breaches()
        if found:
            lines = ['BREACH %s (%s): the attacker heard %r' % (s.script.name, s.domain, w) for s, w in found.items()]
            raise Breach('%d scripts, %d breaches\n%s' % (len(self.sites), len(found), '\n'.join(lines)))

    def close(self):
        """The last look, over every octet and every question."""
        self.sternpost.stop()
        self.must_be_tight()
        secret = {w.decode() for site in self.sites for m in site.messages for w in m.words()}
        for name, _ in self.world.questions:
            expect(not any(label in secret for label in name.split('.')), 'the DNS was asked for %s' % name)
        paths = {r.split(b' HTTP/')[0] for site in self.sites for r in site.requests}
        expect(paths <= {b'GET /.well-known/mta-sts.txt'}, 'policy hosts were asked for %r' % paths)

    def report(self):
        for site in self.sites:
            wires = [w for w in self.world.wires if w.site is site and not w.honest]
            octets = sum(len(w.raw) for w in wires)
            print(
                'held   %s (%s): %s; %d connections, %d octets heard'
                % (site.script.name, site.script.rows, ', '.join(self.situations[site]), len(wires), octets)
            )

