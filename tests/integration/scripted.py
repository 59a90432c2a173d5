"""Servers that do what a test tells them, honest or not: a DNS server, an HTTPS policy host, an MX host. They run on threads of the
test, on loopback addresses of its namespace, and remember what they were asked.

They are for what real software cannot be told to do. Where real software will do, tests take peers.py.
"""
import collections
import contextlib
import datetime
import http.server
import socket
import ssl
import threading
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from peers import RESOLVER

Question = collections.namedtuple('Question', 'name type id port message')
Taken = collections.namedtuple('Taken', 'reverse_path recipients data tls')


def until_the_end(machine, listener, run):
    """Runs `run` on a thread until the machine ends; then the socket is free again."""
    thread = threading.Thread(target=run, daemon=True)

    def end():
        with contextlib.suppress(OSError):  # said to a socket that is not connected; it wakes the thread all the same
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)

    machine.at_end(end)
    thread.start()


def serve(address, port, handle, machine):
    """A thread that listens and gives each connection to `handle` on a thread of its own."""
    listener = socket.create_server((address, port), family=socket.AF_INET6 if ':' in address else socket.AF_INET)

    def attend(connection):
        with connection:
            connection.settimeout(20)
            try:
                handle(connection)
            except (OSError, ssl.SSLError):
                pass  # the other side has gone: what it said is remembered

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=attend, args=(connection,), daemon=True).start()

    until_the_end(machine, listener, accept)


class ScriptedDns:
    """Answers for `records`: {(name, type): [data, …]}, names without the last dot. A name that has records of another type only gives
    NODATA, any other NXDOMAIN; both with a SOA whose time is `negative` (seconds; by name, or the default under '').

    lies(question): wire answers that are sent before the honest one."""

    def __init__(self, machine, records, negative=None):
        self.records = {(name, dns.rdatatype.from_text(kind)): data for (name, kind), data in records.items()}
        self.negative = {'': 1, **(negative or {})}
        self.lies = lambda question: []
        self.questions = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((RESOLVER, 53))
        until_the_end(machine, self.socket, self._run)

    def _run(self):
        while True:
            try:
                wire, peer = self.socket.recvfrom(65535)
            except OSError:
                return
            if not wire:
                return
            query = dns.message.from_wire(wire)
            asked = query.question[0]
            name = asked.name.to_text(omit_final_dot=True).lower()
            question = Question(name, asked.rdtype, query.id, peer[1], query)
            self.questions.append(question)
            for lie in self.lies(question):
                self.socket.sendto(lie, peer)
            self.socket.sendto(self.answer(question).to_wire(), peer)

    def answer(self, question):
        response = dns.message.make_response(question.message)
        response.flags |= dns.flags.RA
        data = self.records.get((question.name, question.type))
        owner = question.message.question[0].name
        if data:
            response.answer.append(dns.rrset.from_text(owner, 60, 'IN', question.type, *data))
            return response
        if not any(name == question.name for name, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        seconds = self.negative.get(question.name, self.negative[''])
        soa = 'ns.test. hostmaster.test. 1 3600 600 86400 %d' % seconds
        response.authority.append(dns.rrset.from_text('test.', seconds, 'IN', 'SOA', soa))
        return response

    def asked(self, name, kind):
        wanted = (name, dns.rdatatype.from_text(kind))
        return [q for q in self.questions if (q.name, q.type) == wanted]


def certificate(machine, authority, name, names=None, common_name='see subjectAltName', key=None, expired=False):
    """A context for a server whose certificate is as odd as the test wants: `names` are its subjectAltName (None: it has none)."""
    key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = datetime.datetime.utcnow()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=-1 if expired else 9))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    if names is not None:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(n) for n in names])
        builder = builder.add_extension(alternatives, critical=False)
    signed = builder.sign(authority.key, hashes.SHA256())
    pem = signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers('DEFAULT@SECLEVEL=0')  # so that weak keys can be shown at all
    context.load_cert_chain(machine.write('certificates/%s.pem' % name, pem))
    return context


class ScriptedPolicyHost:
    """HTTPS on `address`: hosts is {host: (context, answer)}; answer is (status, headers, body), or a function that gives one. A body
    has its Content-Length told unless the headers name a Transfer-Encoding, or Content-Length with the value None."""

    def __init__(self, machine, hosts, address='127.0.0.80'):
        self.requests, self.names, self.fields = [], [], []  # fields: of the requests' headers
        host_answers, outer = {host: answer for host, (_, answer) in hosts.items()}, self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                outer.requests.append((self.headers['Host'], self.path))
                outer.fields.append(dict(self.headers))
                answer = host_answers.get(self.headers['Host'], (404, {}, ''))
                status, headers, body = answer() if callable(answer) else answer
                self.send_response(status)
                self.send_header('Connection', 'close')
                for field, value in headers.items():
                    if value is not None:
                        self.send_header(field, value)
                if 'Transfer-Encoding' not in headers and 'Content-Length' not in headers:
                    self.send_header('Content-Length', str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())
                self.close_connection = True

            def log_message(self, *_):
                pass

        def choose(connection, name, _):
            self.names.append(name)
            if name in hosts:
                connection.context = hosts[name][0]

        front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        front.sni_callback = choose

        def handle(connection):
            with front.wrap_socket(connection, server_side=True) as stream:
                Handler(stream, connection.getpeername() if connection.fileno() >= 0 else ('', 0), None)

        serve(address, 443, handle, machine)


def first_record(connection):
    """The first TLS record, which stays to be read."""
    seen = b''
    while len(seen) < 5 or len(seen) < 5 + int.from_bytes(seen[3:5], 'big'):
        more = connection.recv(65536, socket.MSG_PEEK)
        if not more:
            return more
        if len(more) == len(seen):
            time.sleep(0.001)  # the rest is on its way
        seen = more
    return seen[: 5 + int.from_bytes(seen[3:5], 'big')]


class ScriptedMx:
    """An MX host on `address`:`port`. context: STARTTLS with it (None: not offered). after_220: octets in clear behind the 220 to STARTTLS.
    name: its own, as the greeting says it. offers, offers_in_tls: further EHLO keywords, before TLS and inside. rcpt: the reply to RCPT. eight_bit: 8BITMIME is offered."""

    def __init__(
        self,
        machine,
        address,
        context=None,
        after_220=b'',
        offers=(),
        offers_in_tls=(),
        rcpt='250 2.1.5 fine',
        eight_bit=True,
        port=25,
        name='mx.test',
    ):
        self.name = name
        self.context, self.after_220, self.rcpt, self.eight_bit = context, after_220, rcpt, eight_bit
        self.offers, self.offers_in_tls = offers, offers_in_tls
        self.sessions = []  # each a list of (command line, whether in TLS)
        self.taken = []
        self.names = []  # SNI
        self.resumed = []  # of each TLS session: whether it took an earlier one up
        self.hellos = []  # the first TLS record of each handshake: the ClientHello
        if context:
            context.sni_callback = lambda connection, name, _: self.names.append(name)
        self.open = set()  # sessions that nobody has asked to end
        self.most_open = 0
        self.lock = threading.Lock()
        serve(address, port, self._counted, machine)

    def commands(self):
        """The verbs of all sessions."""
        return [line.split(' ')[0].upper() for session in self.sessions for line, _ in session]

    def _counted(self, connection):
        with self.lock:
            self.open.add(connection)
            self.most_open = max(len(self.open), self.most_open)
        try:
            self._handle(connection)
        finally:
            self._ended(connection)

    def _ended(self, connection):
        with self.lock:
            self.open.discard(connection)

    def _handle(self, connection):
        said = []
        self.sessions.append(said)
        stream, version = connection, None
        lines = stream.makefile('rb')
        reply = lambda text: stream.sendall(text.encode() + b'\r\n')
        reply('220 %s ESMTP' % self.name)
        reverse_path, recipients = '', []
        while True:
            line = lines.readline().decode('utf-8', 'replace').rstrip('\r\n')
            if not line:
                return
            said.append((line, version is not None))
            verb = line.split(' ')[0].upper()
            if verb == 'EHLO':
                more = self.offers_in_tls if version else (*self.offers, *(['STARTTLS'] if self.context else []))
                for keyword in ('PIPELINING', *(['8BITMIME'] if self.eight_bit else []), *more):
                    reply('250-' + keyword)
                reply('250 ENHANCEDSTATUSCODES')
            elif verb == 'STARTTLS':
                stream.sendall(b'220 2.0.0 go ahead\r\n' + self.after_220)
                self.hellos.append(first_record(connection))
                stream = self.context.wrap_socket(connection, server_side=True)
                lines, version = stream.makefile('rb'), stream.version()
                self.resumed.append(stream.session_reused)
            elif verb == 'MAIL':
                reverse_path, recipients = line.split('<', 1)[1].split('>', 1)[0], []
                reply('250 2.1.0 fine')
            elif verb == 'RCPT':
                if self.rcpt.startswith('2'):
                    recipients.append(line.split('<', 1)[1].split('>', 1)[0])
                reply(self.rcpt)
            elif verb == 'DATA' and not recipients:
                reply('554 5.5.1 no valid recipients')
            elif verb == 'DATA':
                reply('354 go on')
                data = b''
                while not data.endswith(b'\r\n.\r\n'):
                    data += lines.readline()
                self.taken.append(Taken(reverse_path, recipients, data[:-3], version))
                reply('250 2.0.0 taken')
            elif verb == 'QUIT':
                self._ended(connection)  # before the client can know
                reply('221 2.0.0 bye')
                return
            else:
                reply('250 2.0.0 fine')
