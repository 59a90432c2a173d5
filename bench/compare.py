#!/usr/bin/python3
"""Runs the floor (bench-source to bench-sink), sternpostd and Postfix in turn under the same loads and prints one table with ratios.
Called by compare.sh; the machine, DNS, CA and daemon are those of the integration tests.

Each run has a fresh relay with a fresh spool under TMPDIR (default /var/tmp; a real disk, please). Rounds are interleaved: floor,
sternpost, postfix, and again; figures are medians over the rounds. CPU is utime + stime of all the relay's processes. Syncs and octets
written come from a run of their own, under `perf stat` (system calls counted at their tracepoints) on a file system of its own in a
loop device (sectors that reached it, the file system's own included).

With --against, another build of sternpostd takes the place of the floor and of Postfix: what a change costs. Who goes first alternates.
"""
import argparse
import contextlib
import copy
import grp
import json
import os
import pwd
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, 'tests', 'integration'))

from machine import BUILD, Failure, Machine, Process, enter, furnish, get_peers, peers_root, wait_for  # noqa: E402
from peers import Authority, Dns, environment, listens, program  # noqa: E402
from sternpost import Sternpost, clean_environment  # noqa: E402

SINK = '127.0.0.30:25'
RELAY = '127.0.0.1:25'
POLICY_HOST = '127.0.0.80'
STS_RESOLVER = 8461  # the port of Postfix's
RECORDS = ['bench MX 10 mx.bench', 'mx.bench A 127.0.0.30']
KINDS = ('floor', 'sternpost', 'postfix')
TICK = os.sysconf('SC_CLK_TCK')
SYNC_CALLS = ('fsync', 'fdatasync', 'sync_file_range', 'sync', 'syncfs', 'msync')


class SteadyDns(Dns):
    """The tests' DNS, but answers may be remembered for an hour and questions are not logged: it shall not be what is measured."""

    def _write_zones(self):
        super()._write_zones()
        self._edit(self.machine.path('dns/test.zone'), '$TTL 0', '$TTL 3600')
        self._edit(self.machine.path('dns/test.zone'), ' 86400 1\n', ' 86400 3600\n')  # that there is no such record, too

    def _start_unbound(self):
        self._edit(self.unbound_conf, 'cache-max-ttl: 1\n', 'cache-max-ttl: 3600\n')
        self._edit(self.unbound_conf, 'log-queries: yes', 'log-queries: no')
        super()._start_unbound()

    @staticmethod
    def _edit(path, old, new):
        with open(path) as f:
            text = f.read()
        with open(path, 'w') as f:
            f.write(text.replace(old, new))


def policy_records(count):
    """What d0.bench.test … publish, each for itself."""
    for n in range(count):
        yield 'd%d.bench MX 10 mx.bench' % n
        yield '_mta-sts.d%d.bench TXT "v=STSv1; id=20260901"' % n
        yield 'mta-sts.d%d.bench A %s' % (n, POLICY_HOST)


class PolicyHosts:
    """One nginx that serves the same policy for each of d0.bench.test …, with a certificate of its own for each."""

    def __init__(self, machine, authority, count):
        folder = machine.folder('nginx')
        names = ['mta-sts.d%d.bench.test' % n for n in range(count)]
        for name in names:
            certificate, key = authority.issue(name)
            os.rename(certificate, machine.path('nginx', name + '.pem'))
            os.rename(key, machine.path('nginx', name + '.key'))
        machine.write(
            'nginx/www/.well-known/mta-sts.txt',
            'version: STSv1\nmode: enforce\nmx: mx.bench.test\nmax_age: 604800\n',
        )
        temporary = ''.join(
            '\n    %s_temp_path %s/tmp;' % (kind, folder) for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi')
        )
        conf = machine.write(
            'nginx/nginx.conf',
            f'''\
daemon off;
user root root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{{temporary}
    ssl_protocols TLSv1.2 TLSv1.3;
    access_log off;
    types {{ text/plain txt; }}
    server {{
        listen {POLICY_HOST}:443 ssl backlog=1024;
        server_name _;
        ssl_certificate {folder}/$ssl_server_name.pem;
        ssl_certificate_key {folder}/$ssl_server_name.key;
        root {folder}/www;
    }}
}}
''',
        )
        argv = [program('usr/sbin/nginx'), '-e', 'stderr', '-p', folder, '-c', conf]
        Process(machine, 'nginx', argv, environment()).ready('listens', lambda: listens(POLICY_HOST, 443))


# ----------------------------------------------------------------------------------------------------------------------- relays
def knows(build, option):
    """Whether the sternpostd there, which may be of another release, has this option."""
    with open(os.path.join(build, 'sternpostd'), 'rb') as f:
        return option.encode() in f.read()


class SternpostRelay:
    def __init__(self, room, authority, load, before=(), build=BUILD, **options):
        options.setdefault('listener', {})['max_connections_per_client'] = 400
        # all domains lead to the one sink, as Postfix's counts them by name
        if knows(build, 'connections_per_address'):
            options.setdefault('delivery', {})['connections_per_address'] = 400
        if load.tls and not load.policies:  # what an administrator says who wants a host's certificate to be valid, whatever its domain publishes
            options['override'] = [
                {'scope': 'bench.test', 'level': 'verify', 'reason': 'benchmark', 'author': 'compare'}
            ]
        self.relay = Sternpost(room, authority, start=False, build=build, **options)
        self.relay.start(before=before)
        self.pids = [self.relay.process.pid]
        self.sendmail = [os.path.join(self.relay.dir, 'bin', 'sendmail')]
        self.environment = clean_environment(
            STERNPOST_SOCKET=self.relay.options['submit_socket'], STERNPOST_MAILDROP=self.relay.options['maildrop_dir']
        )
        self.spool = self.relay.options['state_dir']

    def flush(self):
        self.relay.do('queue', 'retry', '--all')

    def stop(self):
        self.relay.process.end(60)


class PostfixRelay:
    """Debian's Postfix as a relay, tuned."""

    def __init__(self, room, authority, load, before=()):
        base, root = room.folder('postfix'), peers_root()
        owner, postdrop = pwd.getpwnam('postfix').pw_uid, grp.getgrnam('postdrop').gr_gid
        os.chown(room.folder('postfix/data', mode=0o700), owner, -1)
        room.folder('postfix/queue/pid')
        for queue in 'active bounce corrupt defer deferred flush hold incoming private saved trace'.split():
            os.chown(room.folder('postfix/queue', queue, mode=0o700), owner, -1)
        os.chown(room.folder('postfix/queue/public', mode=0o710), owner, postdrop)
        os.chown(room.folder('postfix/queue/maildrop', mode=0o730), owner, postdrop)
        main = {
            'compatibility_level': '3.6',
            'queue_directory': base + '/queue',
            'data_directory': base + '/data',
            'command_directory': root + '/usr/sbin',
            'daemon_directory': root + '/usr/lib/postfix/sbin',
            'shlib_directory': root + '/usr/lib/postfix',
            'meta_directory': root + '/etc/postfix',
            'import_environment': 'MAIL_CONFIG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH',
            'export_environment': 'MAIL_CONFIG TZ LANG=C LD_LIBRARY_PATH',  # sendmail's postdrop
            'mail_owner': 'postfix',
            'setgid_group': 'postdrop',
            'default_privs': 'nobody',
            'maillog_file': base + '/mail.log',
            'maillog_file_prefixes': base,
            'inet_interfaces': '127.0.0.1',
            'inet_protocols': 'ipv4',
            'myhostname': 'relay.test',
            'mynetworks': '127.0.0.0/8',
            'mydestination': '',
            'alias_maps': '',
            'alias_database': '',
            'local_recipient_maps': '',
            'local_transport': 'error:none',
            'smtpd_relay_restrictions': 'permit_mynetworks, reject',
            'smtpd_peername_lookup': 'no',
            'smtpd_client_connection_count_limit': '0',
            'smtp_host_lookup': 'dns',
            'biff': 'no',
            # the tuning
            'in_flow_delay': '0',
            'default_process_limit': '200',
            'default_destination_concurrency_limit': '50',
            'initial_destination_concurrency': '20',
            'smtp_connection_cache_destinations': 'bench.test',
            'smtp_connection_cache_on_demand': 'yes',
        }
        if load.tls:
            main.update(
                {
                    'smtp_tls_security_level': 'verify',
                    'smtp_tls_CAfile': authority.bundle,
                    'smtp_tls_connection_reuse': 'yes',
                    'smtp_tls_session_cache_database': 'btree:%s/data/smtp_scache' % base,
                }
            )
        if load.policies:  # as the resolver's manual has it
            main['smtp_tls_security_level'] = 'may'
            main['smtp_tls_policy_maps'] = 'socketmap:inet:127.0.0.1:%d:postfix' % STS_RESOLVER
        room.write('postfix/conf/main.cf', ''.join('%s = %s\n' % entry for entry in main.items()))
        room.write(
            'postfix/conf/master.cf',
            f'''\
{RELAY} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
scache unix - - n - 1 scache
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
''',
        )
        room.logs.append(base + '/mail.log')
        self.environment = dict(
            environment(),
            MAIL_CONFIG=base + '/conf',
            MAIL_LOGTAG='postfix',
            POSTLOG_SERVICE='postlog',
            POSTLOG_HOSTNAME='relay',
        )
        resolver = self.sts_resolver(room, authority) if load.policies else None
        self.process = Process(
            room,
            'postfix-master',
            [*before, program('usr/lib/postfix/sbin/master'), '-c', base + '/conf', '-d'],
            self.environment,
        )
        self.process.ready('greets', lambda: listens('127.0.0.1', 25))
        self.pids, self.spool = [self.process.pid], base + '/queue'
        if resolver:
            self.pids.append(resolver.pid)
        self.sendmail = [program('usr/sbin/sendmail')]

    @staticmethod
    def sts_resolver(room, authority):
        """Debian's postfix-mta-sts-resolver with its defaults, but that it trusts the bench's CA."""
        config = room.write('sts/mta-sts-daemon.yml', 'host: 127.0.0.1\nport: %d\n' % STS_RESOLVER)
        modules = dict(
            environment(),
            PYTHONPATH=os.path.join(peers_root(), 'usr/lib/python3/dist-packages'),
            SSL_CERT_FILE=authority.bundle,
        )
        argv = ['/usr/bin/python3', program('usr/bin/mta-sts-daemon'), '-v', 'warn', '-c', config]
        process = Process(room, 'mta-sts-daemon', argv, modules)
        process.ready('listens', lambda: listens('127.0.0.1', STS_RESOLVER))
        return process

    def flush(self):
        subprocess.run([program('usr/sbin/postqueue'), '-f'], env=self.environment, check=True)

    def stop(self):
        self.process.end(60)
        # Its smtpd processes hold the port for a moment longer than their master lives.
        wait_for('the port of Postfix is free', lambda: not listens('127.0.0.1', 25), 20)


# ---------------------------------------------------------------------------------------------------------------------- figures
def family(pids):
    """They and all that descend from them."""
    parents = {}
    for entry in os.listdir('/proc'):
        with contextlib.suppress(OSError, ValueError):
            with open('/proc/%d/stat' % int(entry)) as f:
                parents[int(entry)] = int(f.read().rsplit(')', 1)[1].split()[1])
    found = list(pids)
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cpu(pids):
    """Seconds of CPU of the family so far, ended members too (their parent's cutime and cstime)."""
    total = 0
    for one in family(pids):
        with contextlib.suppress(OSError):
            with open('/proc/%d/stat' % one) as f:
                total += sum(int(x) for x in f.read().rsplit(')', 1)[1].split()[11:15])
    return total / TICK


def anonymous_memory(pids):
    """RssAnon of the family, MiB."""
    total = 0
    for one in family(pids):
        with contextlib.suppress(OSError):
            with open('/proc/%d/status' % one) as f:
                total += sum(int(kib) for kib in re.findall(r'RssAnon:\s+(\d+)', f.read()))
    return total / 1024


def connections_out():
    """Connections to the sink."""
    host, _, port = SINK.partition(':')
    wanted = '%s:%04X' % (''.join('%02X' % int(n) for n in reversed(host.split('.'))), int(port))
    with open('/proc/net/tcp') as f:
        return sum(line.split()[2:4] == [wanted, '01'] for line in f)


class Watch:
    """The most anonymous memory and connections that were seen, looked at four times a second."""

    def __init__(self, pids):
        self.memory, self.connections, self._end = anonymous_memory(pids), 0, threading.Event()
        self._thread = threading.Thread(target=self._look, args=(pids,), daemon=True)
        self._thread.start()

    def _look(self, pids):
        while not self._end.wait(0.25):
            self.memory = max(self.memory, anonymous_memory(pids))
            self.connections = max(self.connections, connections_out())

    def stop(self):
        self._end.set()
        self._thread.join()
        return self


def disk_use(folder):
    done = subprocess.run(['du', '-sk', folder], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) * 1024


# ------------------------------------------------------------------------------------------------------------------------- runs
class Bench:
    def __init__(self, machine, policies=0, against=None):
        self.machine, self.against = machine, against
        self.authority = Authority(machine)
        self.certificate = self.authority.issue('mx.bench.test')
        SteadyDns(machine, [*RECORDS, *policy_records(policies)])
        if policies:
            PolicyHosts(machine, self.authority, policies)

    def sink(self, room, load, count):
        argv = [os.path.join(BUILD, 'bench', 'bench-sink'), '--listen', SINK, '--count', str(count), '--linger', '200']
        if load.tls:
            argv += ['--certificate', self.certificate[0], '--key', self.certificate[1]]
        process = Process(room, 'bench-sink', argv)
        # asked by looking, not by connecting: it counts its connections
        process.ready('listens', lambda: ':0019 ' in open('/proc/net/tcp').read().replace(RELAY_HEX, ''))
        return process

    @staticmethod
    def sunk(sink, seconds):
        """The sink's JSON; when not all arrived in time, of what did."""
        try:
            sink.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            sink.end()
        return json.loads(sink.log().splitlines()[-1])

    @staticmethod
    def source(load, target, count, first=0):
        argv = [os.path.join(BUILD, 'bench', 'bench-source'), '--target', target, '--messages', str(count)]
        argv += ['--connections', str(load.connections), '--size', str(load.size), '--rate', str(load.rate)]
        argv += ['--domains', str(load.policies), '--first-id', str(first)]
        if load.tls and target == SINK:
            argv.append('--tls')
        done = subprocess.run(argv, capture_output=True, text=True, timeout=max(240, count / 100))
        if not done.stdout:
            raise Failure('bench-source: ' + done.stderr)
        return json.loads(done.stdout)

    def relay(self, kind, room, load, before=()):
        if kind == 'postfix':
            return PostfixRelay(room, self.authority, load, before)
        return SternpostRelay(room, self.authority, load, before, build=self.against if kind == 'other' else BUILD)

    @staticmethod
    @contextlib.contextmanager
    def room(counted=False, octets=1 << 30):
        room = Machine('bench')
        image = None
        try:
            if counted:
                image = room.dir + '.image'
                with open(image, 'wb') as f:
                    f.truncate(octets)
                subprocess.run(['mkfs.ext4', '-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image], check=True)
                subprocess.run(['mount', '-o', 'loop', image, room.dir], check=True)
                os.chmod(room.dir, 0o755)
                room.at_end(subprocess.run, ['umount', '-l', room.dir])
            try:
                yield room
            finally:
                room.close()
        finally:
            room.remove()
            if image:
                os.unlink(image)

    def through(self, kind, load, count):
        """One run: messages through a relay, or past it, to the sink."""
        if kind == 'floor' and load.policies:
            return {}  # that of TLS
        with self.room() as room:
            sink = self.sink(room, load, count)
            if kind == 'floor':
                sent = self.source(load, SINK, count)
                return self.figures(load, sent, self.sunk(sink, 10))
            relay = self.relay(kind, room, load)
            idle = anonymous_memory(relay.pids)
            before, watch = cpu(relay.pids), Watch(relay.pids)
            sent = self.source(load, RELAY, count)
            taken = self.sunk(sink, 120)
            figures = self.figures(load, sent, taken)
            busy = watch.stop()
            figures.update(
                cpu_ms=(cpu(relay.pids) - before) * 1000 / count,
                idle_mib=idle,
                busy_mib=busy.memory,
                connections_out=busy.connections,
            )
            return figures

    @staticmethod
    def figures(load, sent, taken):
        if load.tls and not taken['handshakes']:
            raise Failure('the sink saw no TLS')
        missing = set(taken['missing']) - set(sent['not_accepted'])
        seconds = (max(taken['last_ns'], sent['end_ns']) - sent['start_ns']) / 1e9
        return {
            'rate': taken['unique'] / seconds,
            'accept_p50': sent['accept_ms']['p50'],
            'accept_p99': sent['accept_ms']['p99'],
            'end_p50': taken['end_to_end_ms']['p50'],
            'end_p99': taken['end_to_end_ms']['p99'],
            'lost': len(missing),
            'refused': sent['messages'] - sent['accepted'],
            'duplicates': taken['duplicates'],
            'connections': taken['connections'],
        }

    def down(self, kind, load, count):
        """Injection while nobody listens at the destination, then the drain."""
        if kind == 'floor':
            return {}
        with self.room() as room:
            relay = self.relay(kind, room, load)
            empty = disk_use(relay.spool)
            sent = self.source(load, RELAY, count)
            time.sleep(1)  # for what is not written yet
            figures = {'rate': sent['rate'], 'disk_octets': (disk_use(relay.spool) - empty) / count}
            sink = self.sink(room, load, count)
            began = time.monotonic_ns()
            relay.flush()
            taken = self.sunk(sink, max(240, count / 100))
            missing = set(taken['missing']) - set(sent['not_accepted'])
            figures.update(
                drain=taken['unique'] / ((taken['last_ns'] - began) / 1e9),
                lost=len(missing),
                duplicates=taken['duplicates'],
            )
            return figures

    def sendmail(self, kind, load, count):
        """sendmail -t, one after the other, until the last has returned."""
        if kind == 'floor':
            return {}
        text = (
            'From: <source@bench-source.test>\nTo: <u@bench.test>\nSubject: one of many\n\n' + 'lorem ipsum\n' * 330
        ).encode()
        with self.room() as room:
            self.sink(room, load, 0)
            relay = self.relay(kind, room, load)
            began, before = time.monotonic(), cpu(relay.pids)
            for _ in range(count):
                subprocess.run([*relay.sendmail, '-t'], input=text, env=relay.environment, check=True)
            return {
                'rate': count / (time.monotonic() - began),
                'cpu_ms': (cpu(relay.pids) - before) * 1000 / count,
            }

    def policy(self, kind, load, count):
        """Sternpost alone: the CPU that a policy costs when mail first asks for it, and when it is known."""
        if kind != 'sternpost':
            return {}
        few, seconds = 3 * load.policies, {}
        one = copy.copy(load)  # mail to one of the domains alone
        one.policies = 1
        for sts in (True, False):
            with self.room() as room:
                relay = SternpostRelay(room, self.authority, load, sts={'enabled': sts})
                seconds['cold', sts] = self.passage(relay, load, 0, few)
                seconds['warm', sts] = self.passage(relay, load, few, few)
                seconds['after', sts] = self.passage(relay, one, 2 * few, count)
            with self.room() as room:  # a daemon that knows this policy alone
                relay = SternpostRelay(room, self.authority, one, sts={'enabled': sts})
                self.passage(relay, one, 0, few)
                seconds['one', sts] = self.passage(relay, one, few, count)
        share = {which: (seconds[which, True] / seconds[which, False] - 1) * 100 for which in ('warm', 'after', 'one')}
        return {
            # the difference that a policy makes to the first messages, beyond the other look-ups that they cause
            'fetch_ms': sum(seconds[which, sts] * sign for which, sts, sign in FETCH) * 1000 / load.policies,
            'known_share': share['one'],
            'known_share_after': share['after'],
            'known_share_many': share['warm'],
        }

    def passage(self, relay, load, first, count):
        """Seconds of the relay's CPU that so many messages take, from `first` on."""
        with contextlib.closing(Machine('pass')) as room:
            sink, before = self.sink(room, load, count), cpu(relay.pids)
            self.source(load, RELAY, count, first)
            taken = self.sunk(sink, max(120, count / 100))
            if taken['unique'] != count:
                raise Failure('of %d messages %d arrived' % (count, taken['unique']))
            time.sleep(0.5)  # for what the relay writes last
        room.remove()
        return cpu(relay.pids) - before

    def counted(self, kind, load, count):
        """Syncs and octets written, in a run that is not timed."""
        if kind == 'floor':
            return {}
        with self.room(counted=True) as room:
            # Postfix's processes run as another user: the counts go where only perf writes
            report = os.path.join(self.machine.dir, 'perf-stat')
            events = ','.join('syscalls:sys_enter_' + name for name in SYNC_CALLS)
            before = ['perf', 'stat', '-x', ';', '-o', report, '-e', events, '--']
            sink = self.sink(room, load, count)
            relay = self.relay(kind, room, load, before)
            device = os.stat(room.dir).st_dev
            time.sleep(0.5)
            subprocess.run(['sync', '-f', room.dir], check=True)
            start = self.sectors(device)
            self.source(load, RELAY, count)
            taken = self.sunk(sink, 120)
            subprocess.run(['sync', '-f', room.dir], check=True)
            octets = (self.sectors(device) - start) * 512
            # perf reports when what it started ends: the relay is its child
            for pid in family(relay.pids)[1:2]:
                os.kill(pid, signal.SIGTERM)
            wait_for('perf stat is done', lambda: (relay.process if kind == 'postfix' else relay.relay.process).popen.poll() is not None, 60)
            with open(report) as f:
                syncs = sum(int(line.split(';')[0]) for line in f if line[0].isdigit())
            return {'syncs': syncs / taken['unique'], 'kib_written': octets / 1024 / taken['unique']}

    @staticmethod
    def sectors(device):
        with open('/sys/dev/block/%d:%d/stat' % (os.major(device), os.minor(device))) as f:
            return int(f.read().split()[6])


# Cold passages less warm ones, with policies less without.
FETCH = [('cold', True, 1), ('warm', True, -1), ('cold', False, -1), ('warm', False, 1)]
RELAY_HEX = '0100007F:0019 '  # 127.0.0.1:25 in /proc/net/tcp

# -------------------------------------------------------------------------------------------------------------------- scenarios


class Load:
    """counts: messages through floor, sternpost, postfix, so that each takes seconds. policies: so many recipient domains, each with a
    policy to be enforced, instead of one without."""

    def __init__(self, name, title, how, counts, tls=False, size=4096, connections=20, rate=0, policies=0):
        self.name, self.title, self.how, self.tls, self.policies = name, title, how, tls, policies
        self.size, self.connections, self.rate = size, connections, rate
        self.counts = dict(zip(KINDS, counts))
        self.counts['other'] = self.counts['sternpost']


LOADS = [
    Load('plain', 'plain, 20 connections, 4 KB', 'through', (60000, 30000, 3000)),
    Load('tls', 'verified TLS, 20 connections, 4 KB', 'through', (30000, 30000, 3000), tls=True),
    Load('one', 'one connection, plain, 4 KB', 'through', (20000, 6000, 1000), connections=1),
    Load('hundred', '100 connections, plain, 4 KB', 'through', (60000, 30000, 3000), connections=100),
    Load('50k', '50 KB, TLS', 'through', (6000, 6000, 1500), tls=True, size=50 * 1024),
    Load('1m', '1 MB, TLS', 'through', (500, 400, 200), tls=True, size=1024 * 1024),
    Load('slow', '50 messages/s, TLS', 'through', (500, 500, 500), tls=True, rate=50),
    Load('down', 'destination down', 'down', (0, 20000, 5000)),
    Load('drain', 'destination down, 100,000 queued', 'down', (0, 100000, 100000)),
    Load('sts-100', '100 enforced domains, 30 messages each, nothing cached', 'through', (0, 3000, 3000), tls=True, policies=100),
    Load('sts-1000', '1,000 enforced domains, 3 messages each, nothing cached', 'through', (0, 3000, 3000), tls=True, policies=1000),
    Load('policy', '1,000 enforced domains: the policies', 'policy', (0, 20000, 0), tls=True, policies=1000),
    Load('sendmail', 'sendmail -t, in sequence', 'sendmail', (0, 1000, 300)),
    Load('counted', 'plain, 20 connections: the disk', 'counted', (0, 20000, 2000)),
    Load('counted-one', 'one connection: the disk', 'counted', (0, 2000, 500), connections=1),
]
# load, figure, what it is called, what is to be reached: ('ratio', least) of sternpost to postfix, ('share', most), ('most', value).
ROWS = [
    ('plain', 'rate', 'msg/s', ('ratio', 10)),
    ('plain', 'cpu_ms', 'own CPU, ms a message', ('most', 0.16)),
    ('plain', 'accept_p50', 'accept p50, ms', None),
    ('plain', 'accept_p99', 'accept p99, ms', None),
    ('plain', 'idle_mib', 'RssAnon idle, MiB', ('most', 16)),
    ('plain', 'busy_mib', 'RssAnon busy, MiB', ('most', 64)),
    ('tls', 'rate', 'msg/s', ('ratio', 10)),
    ('tls', 'cpu_ms', 'own CPU, ms a message', ('most', 0.20)),
    ('tls', 'accept_p50', 'accept p50, ms', None),
    ('tls', 'busy_mib', 'RssAnon busy, MiB', ('most', 64)),
    ('one', 'rate', 'msg/s', ('ratio', 3)),
    ('one', 'accept_p50', 'accept p50, ms', ('share', 0.4)),
    ('hundred', 'rate', 'msg/s', ('ratio', 8)),
    ('hundred', 'accept_p99', 'accept p99, ms', ('share', 0.25)),
    ('50k', 'rate', 'msg/s', ('ratio', 6)),
    ('1m', 'rate', 'msg/s', ('ratio', 3)),
    ('slow', 'accept_p50', 'accept p50, ms', ('share', 0.5)),
    ('slow', 'end_p50', 'end to end p50, ms', ('share', 0.4)),
    ('down', 'rate', 'injection, msg/s', ('ratio', 8)),
    ('down', 'drain', 'drain, msg/s', ('ratio', 6)),
    ('down', 'disk_octets', 'disk a queued message, octets', ('most', 5.2 * 1024)),
    ('drain', 'rate', 'injection, msg/s', None),
    ('drain', 'drain', 'drain, msg/s', ('ratio', 6)),
    ('sts-100', 'rate', 'msg/s', ('ratio', 8)),
    ('sts-100', 'cpu_ms', 'own CPU, ms a message', None),
    ('sts-1000', 'rate', 'msg/s', ('ratio', 6)),
    ('sts-1000', 'cpu_ms', 'own CPU, ms a message', None),
    ('sts-1000', 'busy_mib', 'RssAnon busy, MiB', ('most', 100)),
    ('sts-1000', 'connections_out', 'connections out at most', ('most', 500)),
    ('policy', 'fetch_ms', 'CPU for a fetch, ms', ('most', 1.5)),
    ('policy', 'known_share', 'CPU for the known policy of one domain, % of a message more', ('most', 3)),
    ('policy', 'known_share_after', 'CPU for the known policy of one domain of 1,000, % of a message more', None),
    ('policy', 'known_share_many', 'CPU for known policies of all in turn, % of a message more', None),
    ('sendmail', 'rate', 'msg/s', ('ratio', 4)),
    ('counted', 'syncs', 'syncs a message', ('most', 0.12)),
    ('counted', 'kib_written', 'written a message, KiB', ('most', 6.5)),
    ('counted-one', 'syncs', 'syncs a message', None),
    ('counted-one', 'kib_written', 'written a message, KiB', ('most', 20)),
]


def number(value):
    if value is None:
        return '-'
    return '%.0f' % value if value >= 1000 else '%.1f' % value if value >= 20 else '%.3g' % value


def judged(goal, ours, theirs):
    """(the ratio, the target in words, whether it is reached)"""
    ratio = ours / theirs if ours is not None and theirs else None
    if goal is None or ours is None:
        return ratio, '', ''
    kind, value = goal
    if kind == 'most':
        return ratio, '<= %s' % number(value), 'yes' if ours <= value else 'NO'
    words = '%s %sx' % ('>=' if kind == 'ratio' else '<=', number(value))
    if ratio is None:
        return ratio, words, ''
    return ratio, words, 'yes' if (ratio >= value if kind == 'ratio' else ratio <= value) else 'NO'


def table(medians):
    lines = ['| load | figure | floor | sternpost | postfix | ratio | target | reached |', '|---|---|---|---|---|---|---|---|']
    for load in LOADS:
        seen = medians.get(load.name, {})
        for name, figure, words, goal in ROWS:
            if name != load.name or not seen:
                continue
            values = [seen.get(kind, {}).get(figure) for kind in KINDS]
            ratio, target, reached = judged(goal, values[1], values[2])
            cells = [load.title, words, *map(number, values), number(ratio), target, reached]
            lines.append('| %s |' % ' | '.join(cells))
    return '\n'.join(lines)


def table_against(results):
    """Per load and figure: both medians, and the median, least and most of the ratios of each round's two runs."""
    lines = ['| load | figure | this build | the other | ratio | from | to |', '|---|---|---|---|---|---|---|']
    for load in LOADS:
        rounds = list(zip(*results.get(load.name, {}).values()))
        for figure, words in (('rate', 'msg/s'), ('cpu_ms', 'own CPU, ms a message'), ('accept_p50', 'accept p50, ms')):
            pairs = [(this[figure], other[figure]) for this, other in rounds if figure in this and other.get(figure)]
            if pairs:
                ratios = [this / other for this, other in pairs]
                cells = [*map(statistics.median, zip(*pairs)), statistics.median(ratios), min(ratios), max(ratios)]
                lines.append('| %s |' % ' | '.join([load.title, words, *map(number, cells)]))
    return '\n'.join(lines)


def losses(medians):
    """What a benchmark must not hide: mail lost, doubled or refused in any round."""
    for load, seen in medians.items():
        for kind, figures in seen.items():
            for what in ('lost', 'duplicates', 'refused'):
                if figures.get(what + '_total'):
                    yield '%s, %s: %d %s' % (load, kind, figures[what + '_total'], what)


def median_of(rounds):
    figures = {}
    for key in {key for one in rounds for key in one}:
        values = [one[key] for one in rounds if key in one]
        figures[key] = statistics.median(values)
        figures[key + '_total'] = sum(values)
    return figures


def main():
    parser = argparse.ArgumentParser(prog='compare.sh')
    parser.add_argument('--quick', action='store_true', help='one round of a third of the messages')
    parser.add_argument('--rounds', type=int, help='how often each load is run (3)')
    parser.add_argument('--only', help='names of loads, by commas: ' + ' '.join(load.name for load in LOADS))
    parser.add_argument('--against', metavar='FOLDER', help='another build folder, instead of the floor and Postfix')
    parser.add_argument('--json', help='every round and the medians into this file')
    args = parser.parse_args()
    names = args.only.split(',') if args.only else [load.name for load in LOADS]
    unknown = set(names) - {load.name for load in LOADS}
    if unknown:
        parser.error('no such load: ' + ', '.join(sorted(unknown)))
    kinds = ('sternpost', 'other') if args.against else KINDS
    if 'STERNPOST_TEST_INSIDE' not in os.environ:
        get_peers('--bench')
        enter(__file__)
    rounds, share = args.rounds or (1 if args.quick else 3), 3 if args.quick else 1

    etc = tempfile.mkdtemp(prefix='sternpost-etc.')
    os.chmod(etc, 0o755)
    furnish(etc)
    machine = Machine('bench')
    results, failed = {}, 0
    began, load_before = time.monotonic(), os.getloadavg()
    try:
        policies = max(load.policies for load in LOADS if load.name in names)
        bench = Bench(machine, policies, args.against and os.path.abspath(args.against))
        for load in (load for load in LOADS if load.name in names):
            seen = results[load.name] = {kind: [] for kind in kinds}
            for turn in range(1 if load.how == 'counted' else rounds):
                for kind in reversed(kinds) if args.against and turn % 2 else kinds:
                    count = load.counts[kind] // (1 if load.rate or load.policies else share)
                    try:
                        figures = getattr(bench, load.how)(kind, load, count)
                    except (Failure, subprocess.SubprocessError, ValueError, OSError) as e:
                        failed += 1
                        print('%s, %s: %s' % (load.name, kind, e), file=sys.stderr, flush=True)
                        if args.against:
                            seen[kind].append({})  # so that the runs of a round stay side by side
                        continue
                    if figures:
                        seen[kind].append(figures)
                        shown = ('rate', 'cpu_ms', 'accept_p50', 'end_p50', 'drain', 'syncs', 'kib_written', 'fetch_ms', 'known_share', 'known_share_after', 'known_share_many')
                        words = ' '.join('%s=%s' % (k, number(figures[k])) for k in shown if k in figures)
                        print('# %-11s %-9s %s' % (load.name, kind, words), file=sys.stderr, flush=True)
    finally:
        machine.close()
        machine.remove()
        subprocess.run(['umount', '-l', '/etc'], check=False)
        shutil.rmtree(etc, ignore_errors=True)
    medians = {name: {kind: median_of(rows) for kind, rows in seen.items() if rows} for name, seen in results.items()}
    print(table_against(results) if args.against else table(medians))
    print()
    for line in losses(medians):
        print(line)
    print(
        '%d round%s in %d s; load average before %.1f (this machine does not idle if that is near its %d cores)'
        % (rounds, '' if rounds == 1 else 's', time.monotonic() - began, load_before[0], os.cpu_count())
    )
    if args.json:
        with open(args.json, 'w') as f:
            json.dump({'medians': medians, 'rounds': results}, f, indent=1)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
