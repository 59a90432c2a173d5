"""The peers of the integration tests: software that nobody here wrote (Postfix as MX host, nginx as policy host, knot with signed
zones behind a validating unbound), a CA for them, and one small SMTP sink for tests that count rather than judge.

All of them run from where scripts/peers.sh unpacked them, with configuration and data in the machine's folder, on loopback
addresses of a namespace of their own.
"""
import asyncio
import collections
import datetime
import email
import glob
import grp
import os
import pwd
import re
import socket
import subprocess
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from machine import Failure, Process, expect, peers_root, wait_for

RESOLVER = '127.0.0.53'  # unbound
LOCAL_RESOLVER = '127.0.0.1'  # unbound too, where a machine has a resolver whose word on DNSSEC may be taken
NAME_SERVER = '127.0.0.54'  # knot, asked by unbound alone


def environment():
    root = peers_root()
    libraries = glob.glob(root + '/usr/lib/*-linux-gnu*') + [root + '/usr/lib/postfix']
    return dict(os.environ, LD_LIBRARY_PATH=':'.join(libraries), LC_ALL='C')


def program(path):
    full = os.path.join(peers_root(), path)
    expect(os.access(full, os.X_OK), '%s is not there: scripts/peers.sh puts it there' % full)
    return full


def listens(address, port):
    try:
        socket.create_connection((address, port), timeout=2).close()
        return True
    except OSError:
        return False


# ----------------------------------------------------------------------------------------------------------------- certificates
class Authority:
    """A CA made for this run; `bundle` is the file that clients trust."""

    def __init__(self, machine, name='root'):
        self.machine, self.name = machine, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'Integration test CA ' + name)])
        self.certificate = self._sign(self.subject, self.key, None, datetime.timedelta(days=30))
        self.bundle = machine.write(name + '-ca/bundle.pem', self._pem(self.certificate))

    @staticmethod
    def _pem(certificate):
        return certificate.public_bytes(serialization.Encoding.PEM)

    def _sign(self, subject, key, names, lifetime):
        now = datetime.datetime.utcnow()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names is None:
            builder = builder.add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=True,
                    crl_sign=True,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        else:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False
            )
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, *names, lifetime=datetime.timedelta(days=10)):
        """(certificate file, key file) for these host names, as subjectAltName only: the subject says nothing of use."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'see subjectAltName')])
        certificate = self._sign(subject, key, names, lifetime)
        name = self.name + '-ca/' + names[0].replace('*', 'any')
        return (
            self.machine.write(name + '.pem', self._pem(certificate) + self._pem(self.certificate)),
            self.machine.write(
                name + '.key',
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ),
                mode=0o600,
            ),
        )


# -------------------------------------------------------------------------------------------------------------------------- DNS
SOA = '$TTL 0\n$ORIGIN %s\n@ SOA ns.test. hostmaster.test. 1 3600 600 86400 1\n@ NS ns.test.\n'  # how a zone file begins


class Dns:
    """The zone `test.`, signed by knot and validated by unbound at RESOLVER and LOCAL_RESOLVER; every other name does not exist.
    Nothing may be cached (TTL 0), so that a test can change the world between two attempts.

    records: lines as in a zone file, names relative to `test.`. `bogus.test.` is a child zone whose DS matches no key: a validating
    resolver answers SERVFAIL for it. zones: further child zones, {name: text of the zone file}, served as they stand; the records say
    whether they are delegated with a DS record or without."""

    def __init__(self, machine, records=(), zones=None):
        self.machine, self.records, self.serial = machine, list(records), 1
        self.zones = {'bogus.test': SOA % 'bogus.test.' + '@ MX 10 mx\nmx A 127.0.0.99\n', **(zones or {})}
        self.dir = machine.folder('dns')
        machine.folder('dns/db')
        self._write_zones()
        self.conf = machine.write(
            'dns/knot.conf',
            f'''\
server:
    rundir: "{self.dir}"
    listen: {NAME_SERVER}@53
    background-workers: 1
database:
    storage: "{self.dir}/db"
    journal-db-max-size: 64M
    kasp-db-max-size: 64M
    timer-db-max-size: 16M
log:
  - target: stderr
    any: info
policy:
  - id: signed
    algorithm: ECDSAP256SHA256
    single-type-signing: on
template:
  - id: default
    storage: "{self.dir}"
    file: "%s.zone"
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
    serial-policy: increment
  - id: child
    storage: "{self.dir}"
    file: "%s.zone"
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
zone:
  - domain: .
    file: "root.zone"
  - domain: test
    file: "test.zone"
    dnssec-signing: on
    dnssec-policy: signed
'''
            + ''.join('  - domain: %s\n    template: child\n' % zone for zone in self.zones),
        )
        self.start()

    def _write_zones(self):
        self.machine.write(
            'dns/test.zone',
            SOA % 'test.'
            + 'ns A %s\nbogus NS ns\nbogus DS 1 13 2 %s\n' % (NAME_SERVER, '00' * 32)
            + ''.join(r + '\n' for r in self.records),
        )
        self.machine.write('dns/root.zone', SOA % '.')
        for zone, text in self.zones.items():
            self.machine.write('dns/%s.zone' % zone, text)

    def start(self):
        """Both servers; a second start begins with an empty cache."""
        self.knot = Process(self.machine, 'knotd', [program('usr/sbin/knotd'), '-c', self.conf], environment())
        self.knot.ready(
            'serves test.', lambda: listens(NAME_SERVER, 53) and self._ask(NAME_SERVER, 'test.', 'DNSKEY')
        )
        keys = subprocess.run(
            [program('usr/sbin/keymgr'), '-c', self.conf, 'test.', 'ds'],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        anchors = [k for k in keys if ' 13 2 ' in k]
        expect(anchors, 'keymgr names no DS for test.: %s' % keys)
        self.unbound_conf = self.machine.write(
            'dns/unbound.conf',
            f'''\
server:
    directory: "{self.dir}"
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    log-queries: yes
    do-daemonize: no
    num-threads: 1
    interface: {RESOLVER}
    interface: {LOCAL_RESOLVER}
    access-control: 127.0.0.0/8 allow
    do-ip6: no
    do-not-query-localhost: no
    local-zone: "test." nodefault
    module-config: "validator iterator"
    trust-anchor: "{anchors[0]}"
    cache-max-ttl: 1
    cache-max-negative-ttl: 1
    val-bogus-ttl: 1
stub-zone:
    name: "."
    stub-addr: {NAME_SERVER}
stub-zone:
    name: "test."
    stub-addr: {NAME_SERVER}
''',
        )
        self._start_unbound()

    def _start_unbound(self):
        self.unbound = Process(
            self.machine, 'unbound', [program('usr/sbin/unbound'), '-d', '-c', self.unbound_conf], environment()
        )
        self.unbound.ready('validates', lambda: listens(RESOLVER, 53) and 'ad' in self.flags('ns.test.', 'A'))

    def forget(self):
        """unbound is started anew: what it remembers of zones and keys is gone."""
        self.unbound.kill()
        self._start_unbound()

    def stop(self):
        """The DNS is gone: nobody answers any more."""
        for process in (self.unbound, self.knot):
            process.kill()

    def replace(self, *records):
        """Other records, from the next start on."""
        self.records = list(records)
        self._write_zones()

    def add(self, *records):
        """More records, from now on."""
        self.records += records
        self._write_zones()
        self._reload('test')

    def serve(self, zone, text):
        """Another text for one of the child zones, from now on."""
        self.zones[zone] = text
        self._write_zones()
        self._reload(zone)

    def _reload(self, zone):
        done = self._knotc('-b', 'zone-reload', zone + '.')
        expect(done.returncode == 0, 'knotc: ' + done.stderr)

    def questions(self):
        """What unbound was asked since it was started, in order: (name without the last dot, type)."""
        asked = re.findall(r'(?m) info: 127\.\d+\.\d+\.\d+ (\S+)\. ([A-Z]+) IN$', self.unbound.log())
        return [(name.lower(), kind) for name, kind in asked]

    def _knotc(self, *args):
        return subprocess.run(
            [program('usr/sbin/knotc'), '-s', os.path.join(self.dir, 'knot.sock'), *args],
            env=environment(),
            capture_output=True,
            text=True,
        )

    def _ask(self, server, name, kind):
        out = subprocess.run(
            [program('usr/bin/kdig'), '@' + server, '+time=1', '+retry=0', '+dnssec', '+short', name, kind],
            env=environment(),
            capture_output=True,
            text=True,
        ).stdout
        return [line for line in out.splitlines() if line and not line.startswith(';')]

    def ask(self, name, kind):
        """What unbound answers: the records' data."""
        return self._ask(RESOLVER, name, kind)

    def flags(self, name, kind):
        """The header flags of unbound's answer, and its RCODE where that is no NOERROR."""
        out = subprocess.run(
            [program('usr/bin/kdig'), '@' + RESOLVER, '+time=2', '+retry=0', '+dnssec', name, kind],
            env=environment(),
            capture_output=True,
            text=True,
        ).stdout
        flags = re.search(r'Flags: ([a-z ]*);', out)
        status = re.search(r'status: (\w+)', out)
        return (flags[1].split() if flags else []) + ([status[1]] if status and status[1] != 'NOERROR' else [])


# ------------------------------------------------------------------------------------------------------------------ policy host
class PolicyHost:
    """nginx that serves https://mta-sts.DOMAIN/.well-known/mta-sts.txt for each of `policies` (domain: text)."""

    def __init__(self, machine, authority, policies, address='127.0.0.80', name='nginx'):
        self.machine, self.address, self.name = machine, address, name
        self.dir = machine.folder(name)
        servers = ''
        for domain, text in policies.items():
            host = 'mta-sts.' + domain
            certificate, key = authority.issue(host)
            machine.write('%s/%s/.well-known/mta-sts.txt' % (name, host), text)
            servers += f'''
    server {{
        listen {address}:443 ssl;
        server_name {host};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        root {self.dir}/{host};
    }}'''
        temporary = ''.join(
            '\n    %s_temp_path %s/tmp;' % (kind, self.dir)
            for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi')
        )
        self.conf = machine.write(
            name + '/nginx.conf',
            f'''\
daemon off;
user root root;
worker_processes 1;
pid {self.dir}/nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{{temporary}
    ssl_protocols TLSv1.2 TLSv1.3;
    log_format asked '$host $request_uri $status $ssl_protocol';
    access_log {self.dir}/access.log asked;
    types {{ text/plain txt; }}
    server {{
        listen {address}:443 ssl default_server;
        server_name _;
        ssl_reject_handshake on;
    }}{servers}
}}
''',
        )
        self.start()

    def start(self):
        self.process = Process(
            self.machine,
            self.name,
            [program('usr/sbin/nginx'), '-e', 'stderr', '-p', self.dir, '-c', self.conf],
            environment(),
        )
        self.process.ready('listens', lambda: listens(self.address, 443))

    def stop(self):
        self.process.kill()

    def publish(self, domain, text):
        """Another policy text, from the next request on. (The TXT record's id is the DNS's affair.)"""
        self.machine.write('%s/mta-sts.%s/.well-known/mta-sts.txt' % (self.name, domain), text)

    def requests(self):
        """Lines of HOST PATH STATUS TLS-VERSION."""
        try:
            with open(os.path.join(self.dir, 'access.log')) as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []


# ---------------------------------------------------------------------------------------------------------------------- MX host
# One more address of a Postfix. `port` is its TCP port; `chain` one PEM file (the key, its certificate, what is shown behind it), or
# None: STARTTLS is not offered there.
Door = collections.namedtuple('Door', 'name address port chain')


class Postfix:
    """Debian's Postfix as an MX host: takes mail for `domains` at address:25 into one Maildir for all.

    certificate: (file, key file) for STARTTLS, or None: STARTTLS is not offered. doors: further addresses, each with a certificate of
    its own and a name of its own in the log: see sessions()."""

    QUEUES = (
        'active',
        'bounce',
        'corrupt',
        'defer',
        'deferred',
        'flush',
        'hold',
        'incoming',
        'private',
        'saved',
        'trace',
    )

    def __init__(self, machine, name, address, domains, certificate=None, doors=(), **parameters):
        self.machine, self.name, self.address = machine, name, address
        base = self.dir = machine.folder(name)
        root = peers_root()
        postfix, postdrop = pwd.getpwnam('postfix').pw_uid, grp.getgrnam('postdrop').gr_gid
        self.maildir, self.maillog = machine.folder(name, 'mail'), os.path.join(base, 'mail.log')
        os.chown(self.maildir, postfix, -1)
        os.chown(machine.folder(name, 'data', mode=0o700), postfix, -1)
        for folder in ('queue', 'queue/pid'):
            machine.folder(name, folder)
        for queue in self.QUEUES:
            os.chown(machine.folder(name, 'queue', queue, mode=0o700), postfix, -1)
        os.chown(machine.folder(name, 'queue/public', mode=0o710), postfix, postdrop)
        os.chown(machine.folder(name, 'queue/maildrop', mode=0o730), postfix, postdrop)
        main = {
            'compatibility_level': '3.6',
            'queue_directory': base + '/queue',
            'data_directory': base + '/data',
            'command_directory': root + '/usr/sbin',
            'daemon_directory': root + '/usr/lib/postfix/sbin',
            'shlib_directory': root + '/usr/lib/postfix',
            'meta_directory': root + '/etc/postfix',
            # Without MAIL_LOGTAG, which would outdo the doors' syslog_name.
            'import_environment': 'MAIL_CONFIG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH',
            'mail_owner': 'postfix',
            'setgid_group': 'postdrop',
            'default_privs': 'nobody',
            'maillog_file': self.maillog,
            'maillog_file_prefixes': base,
            'syslog_name': name,
            'inet_interfaces': '127.0.0.1',
            'inet_protocols': 'ipv4',
            'myhostname': name + '.test',
            'mynetworks': '192.0.2.1/32',
            'mydestination': '',
            'alias_maps': '',
            'alias_database': '',
            'local_recipient_maps': '',
            'local_transport': 'error:none',
            'virtual_mailbox_domains': ', '.join(domains),
            'virtual_mailbox_base': self.maildir,
            'virtual_mailbox_maps': 'static:all/',
            'virtual_uid_maps': 'static:%d' % postfix,
            'virtual_gid_maps': 'static:%d' % postfix,
            'virtual_mailbox_limit': '0',
            'smtpd_relay_restrictions': 'reject_unauth_destination',
            'smtpd_peername_lookup': 'no',
            'smtpd_client_connection_count_limit': '0',
            'in_flow_delay': '0',
            'biff': 'no',
            'strict_rfc821_envelopes': 'yes',
            'smtpd_tls_security_level': 'may' if certificate else 'none',
            'smtpd_tls_loglevel': '1',
            'smtpd_tls_received_header': 'yes',
        }
        if certificate:
            main.update(smtpd_tls_chain_files='%s, %s' % (certificate[1], certificate[0]))
        main.update(parameters)
        inets = ''.join(
            '%s:%d inet n - n - - smtpd\n  -o syslog_name=%s\n  -o smtpd_tls_security_level=%s\n  -o smtpd_tls_chain_files=%s\n'
            % (door.address, door.port, door.name, 'may' if door.chain else 'none', door.chain or '')
            for door in doors
        )
        machine.write(name + '/conf/main.cf', ''.join('%s = %s\n' % entry for entry in main.items()))
        machine.write(
            name + '/conf/master.cf',
            f'''\
{address}:25 inet n - n - - smtpd
{inets}\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
''',
        )
        machine.logs.append(self.maillog)
        self.start()

    def start(self):
        env = environment()
        env.update(
            MAIL_CONFIG=self.dir + '/conf',
            MAIL_LOGTAG=self.name,
            POSTLOG_SERVICE='postlog',
            POSTLOG_HOSTNAME=self.name,
        )
        self.process = Process(
            self.machine,
            self.name + '-master',
            [program('usr/lib/postfix/sbin/master'), '-c', self.dir + '/conf', '-d'],
            env,
        )
        self.process.ready('greets', self._greets)
        # The connections so far are ours, to be counted off; their log lines come a moment later than their ends.
        wait_for(
            'the log knows our connection',
            lambda: 0 < len(self._lines(' connect from ')) == len(self._lines('disconnect from ')),
        )
        self.probes = len(self._lines(' connect from '))

    def _greets(self):
        try:
            with socket.create_connection((self.address, 25), timeout=5) as s:
                return s.recv(64).startswith(b'220')
        except OSError:
            return False

    def stop(self):
        self.process.end()

    def log(self):
        try:
            with open(self.maillog, errors='replace') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def _lines(self, pattern):
        return re.findall('(?m)^.*%s.*$' % pattern, self.log())

    def connections(self):
        """Connections that clients made to it since it was started."""
        return len(self._lines(' connect from ')) - self.probes

    def commands(self):
        """The verbs that clients said to it, in order; with debug_peer_list set to what the clients' addresses are."""
        return [c.upper() for c in re.findall(r'smtpd\[\d+\]: < \S+: ([A-Za-z]+)', self.log())]

    def sessions(self, door):
        """What was said at a door: of each connection that has ended, {verb: how often}."""
        ended = re.findall(r'(?m) %s/smtpd\[\d+\]: disconnect from \S+ (.*)$' % re.escape(door), self.log())
        return [{k: int(v.split('/')[-1]) for k, v in (word.split('=') for word in line.split())} for line in ended]

    def connected(self, door):
        """How many connections were made to a door."""
        return len(self._lines(' %s/smtpd.* connect from ' % re.escape(door)))

    def tls_sessions(self):
        """The log lines of finished handshakes, one a session; they name version and cipher."""
        return self._lines('TLS connection established from ')

    def taken(self):
        """How many recipients it delivered into its Maildir, by its own log."""
        return len(self._lines('status=sent .delivered to maildir'))

    def took(self):
        """The forward-paths that it took mail for, by its own log."""
        return re.findall(r'(?m) to=<([^>]*)>.* status=sent .delivered to maildir', self.log())

    def messages(self):
        """What lies in the Maildir, parsed."""
        found = []
        for path in glob.glob(self.maildir + '/all/new/*'):
            with open(path, 'rb') as f:
                found.append(email.message_from_binary_file(f))
        return found

    def wait_taken(self, count, seconds=30):
        try:
            wait_for('%s took %d' % (self.name, count), lambda: self.taken() >= count, seconds, every=0.1)
        except Failure as e:
            raise Failure('%s; it took %d' % (e, self.taken())) from None


# ------------------------------------------------------------------------------------------------------------------------- sink
Taken = collections.namedtuple('Taken', 'reverse_path forward_paths data session')


class Sink:
    """An SMTP server that takes everything and remembers it: for tests that count messages or compare octets.

    `refuse` maps a forward-path to the reply that its RCPT gets instead of 250. No TLS."""

    def __init__(self, machine, address, port=25):
        self.address, self.port = address, port
        self.taken, self.sessions, self.refuse = [], 0, {}
        self._loop, ready = asyncio.new_event_loop(), threading.Event()

        def run():
            asyncio.set_event_loop(self._loop)
            try:
                self._loop.run_until_complete(self._serve(ready))
            except asyncio.CancelledError:
                pass
            finally:
                self._loop.close()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        expect(ready.wait(10), 'the sink cannot listen on %s:%d' % (address, port))
        machine.at_end(self.stop)

    async def _serve(self, ready):
        self._all, self._tasks = asyncio.current_task(), set()
        server = await asyncio.start_server(self._accept, self.address, self.port, limit=1 << 20, backlog=200)
        ready.set()
        try:
            await server.serve_forever()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self):
        """Nobody listens there any more, and connections are cut."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._all.cancel)
            self._thread.join(10)

    async def _accept(self, reader, writer):
        self.sessions += 1
        self._tasks.add(asyncio.current_task())
        try:
            await self._talk(reader, writer, self.sessions)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._tasks.discard(asyncio.current_task())
            writer.close()

    async def _talk(self, reader, writer, session):
        def say(text):
            writer.write(text.encode() + b'\r\n')

        say('220 sink.test ESMTP')
        reverse_path, forward_paths = None, []
        while True:
            await writer.drain()
            line = (await reader.readuntil(b'\r\n'))[:-2].decode('utf-8', 'replace')
            verb, argument = line[:4].upper(), line[4:]
            path = re.search(r':\s*<(.*?)>(?:\s|$)', argument)
            if verb == 'EHLO':
                say(
                    '250-sink.test\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME'
                )
            elif verb == 'HELO':
                say('250 sink.test')
            elif verb == 'MAIL':
                reverse_path, forward_paths = path[1], []
                say('250 2.1.0 ok')
            elif verb == 'RCPT':
                refusal = self.refuse.get(path[1])
                if not refusal:
                    forward_paths.append(path[1])
                say(refusal or '250 2.1.5 ok')
            elif verb == 'DATA':
                if not forward_paths:
                    say('554 5.5.1 no recipients')
                    continue
                say('354 go on')
                await writer.drain()
                lines = []
                while (text := await reader.readuntil(b'\r\n')) != b'.\r\n':
                    lines.append(text[1:] if text.startswith(b'.') else text)
                self.taken.append(Taken(reverse_path, tuple(forward_paths), b''.join(lines), session))
                reverse_path, forward_paths = None, []
                say('250 2.0.0 taken')
            elif verb == 'RSET':
                reverse_path, forward_paths = None, []
                say('250 2.0.0 ok')
            elif verb == 'NOOP':
                say('250 2.0.0 ok')
            elif verb == 'QUIT':
                say('221 2.0.0 bye')
                await writer.drain()
                return
            else:
                say('500 5.5.2 what?')

    def wait_taken(self, count, seconds=30):
        try:
            wait_for('%d messages at the sink' % count, lambda: len(self.taken) >= count, seconds)
        except Failure as e:
            raise Failure('%s; it has %d' % (e, len(self.taken))) from None
