"""Sternpost itself for the integration tests: the daemon with a configuration of its own, the command, sendmail, and a raw SMTP
client that says exactly what a test tells it to."""
import collections
import copy
import json
import os
import re
import signal
import socket
import subprocess

from machine import BUILD, Failure, Process, expect, expect_equal, wait_for
from peers import RESOLVER

LISTENER = ('127.0.0.1', 25)
Result = collections.namedtuple('Result', 'code out err')


def program(name, build=BUILD):
    path = os.path.join(build, name)
    expect(os.access(path, os.X_OK), '%s is not in the build folder (STERNPOST_BUILD names another one)' % name)
    return path


def clean_environment(**more):
    """Without what a service manager would have told us, and without the user's own pointers to a real installation."""
    mine = ('JOURNAL_STREAM', 'NOTIFY_SOCKET', 'STERNPOST_SOCKET', 'STERNPOST_MAILDROP')
    return dict({k: v for k, v in os.environ.items() if k not in mine}, LC_ALL='C.UTF-8', **more)


def toml(options):
    """A configuration text: scalars and lists first, then tables, then arrays of tables."""

    def value(v):
        if isinstance(v, bool):
            return 'true' if v else 'false'
        if isinstance(v, int):
            return str(v)
        if isinstance(v, list):
            return '[%s]' % ', '.join(value(x) for x in v)
        return json.dumps(v)

    lines = ['%s = %s' % (k, value(v)) for k, v in options.items() if not isinstance(v, dict) and not is_tables(v)]
    for name, table in options.items():
        for one in table if is_tables(table) else [table] if isinstance(table, dict) else []:
            lines += ['', '[[%s]]' % name if is_tables(table) else '[%s]' % name]
            lines += ['%s = %s' % (k, value(v)) for k, v in one.items()]
    return '\n'.join(lines) + '\n'


def is_tables(v):
    return isinstance(v, list) and bool(v) and isinstance(v[0], dict)


class Sternpost:
    """One daemon with its state. options: as in sternpost.toml, tables as dicts, on top of what every test wants."""

    def __init__(self, machine, authority=None, name='sternpost', start=True, build=BUILD, **options):
        self.machine, self.name, self.process, self.build = machine, name, None, build
        self.dir = machine.folder(name)
        self.options = {
            'hostname': 'relay.test',
            'admin_address': 'admin@relay-admin.test',
            'state_dir': self.dir + '/state',
            'user': '',
            'control_socket': self.dir + '/control.sock',
            'submit_socket': self.dir + '/submit.sock',
            'maildrop_dir': self.dir + '/maildrop',
            'resolvers': [RESOLVER],
            'listener': {'listen': ['%s:%d' % LISTENER], 'messages_per_minute_per_client': 0},
            'delivery': {'allow_special_addresses': True},
            'queue': {'retry': ['1h']},  # tests ask for each retry
            'sts': {'allow_special_addresses': True},
        }
        if build == BUILD:  # an earlier release does not know the option
            self.options['alarms'] = {'mail': False}  # there is no mail that no test has sent
        if authority:
            self.options['tls'] = {'ca_file': authority.bundle}
        self.change(**options)
        for folder in ('state', 'maildrop'):
            machine.folder(name, folder, mode=0o700)
        machine.folder(name, 'bin')
        for link in ('sendmail', 'mailq', 'newaliases'):
            os.symlink(program('sendmail', build), os.path.join(self.dir, 'bin', link))
        if start:
            self.start()

    def change(self, **options):
        """Other options, from the next start or reload on."""
        for key, value in options.items():
            if isinstance(value, dict):
                self.options.setdefault(key, {}).update(value)
            else:
                self.options[key] = copy.deepcopy(value)
        self.config = self.machine.write(self.name + '/sternpost.toml', toml(self.options))

    # ------------------------------------------------------------------------------------------------------------- the daemon
    def launch(self, before=(), **kw):
        """Starts it and does not wait. before: a program to run it under, with its arguments; kw: of Popen."""
        self.process = Process(
            self.machine,
            self.name + 'd',
            [*before, program('sternpostd', self.build), '--config', self.config],
            clean_environment(),
            **kw,
        )
        return self.process

    def start(self, before=(), seconds=20, **kw):
        self.launch(before, **kw)
        self.process.ready('is ready', lambda: self.events('ready'), seconds)

    def stop(self):
        code = self.process.end(30)
        expect_equal(code, 0, 'exit code of %s after SIGTERM' % self.process.name)

    def restart(self):
        self.stop()
        self.start()

    def kill(self):
        """kill -9."""
        self.process.kill()

    def reload(self):
        self.process.popen.send_signal(signal.SIGHUP)

    # ---------------------------------------------------------------------------------------------------------------- its log
    def events(self, name, /, **fields):
        """Log lines of that event since the start, as dicts, with the whole line under 'line'."""
        found = []
        for line in self.process.log().splitlines():
            match = re.match(r'(?:<\d>|\S+Z )?([a-z_-]+)(?= |$)(.*)', line)
            if not match or match[1] != name:
                continue
            event = {
                k: re.sub(r'\\(.)', r'\1', v[1:-1]) if v.startswith('"') else v
                for k, v in re.findall(r' ([\w-]+)=("(?:[^"\\]|\\.)*"|\S*)', match[2])
            }
            if all(event.get(k) == v for k, v in fields.items()):
                found.append(dict(event, line=line))
        return found

    def wait_event(self, name, /, seconds=20, **fields):
        return wait_for('the daemon logs %s with %s' % (name, fields), lambda: self.events(name, **fields), seconds)[
            -1
        ]

    # ----------------------------------------------------------------------------------------------------------- its programs
    def argv(self, *args, config=True):
        return [program('sternpost', self.build), *(['--config', self.config] if config else []), *args]

    def command(self, *args, config=True, **kw):
        argv = self.argv(*args, config=config)
        done = subprocess.run(
            argv, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, **kw
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def ask(self, *args, code=0):
        """The answer of a reading verb, from its JSON."""
        done = self.command(*args, '--json')
        if done.code != code:
            raise Failure(
                'sternpost %s: exit %d instead of %d: %s%s' % (' '.join(args), done.code, code, done.out, done.err)
            )
        try:
            return json.loads(done.out)
        except ValueError:
            raise Failure('sternpost %s --json gives no JSON: %r' % (' '.join(args), done.out[:500])) from None

    def do(self, *args):
        """An acting verb that must succeed."""
        done = self.command(*args)
        expect(done.code == 0, 'sternpost %s: exit %d: %s%s' % (' '.join(args), done.code, done.out, done.err))
        return done.out

    def retry_all(self):
        """What waits is due at once. Nothing may wait any more, for a daemon that was quicker: exit code 1."""
        done = self.command('queue', 'retry', '--all')
        expect(done.code in (0, 1), 'sternpost queue retry --all: exit %d: %s%s' % (done.code, done.out, done.err))

    def sendmail(self, *args, text='', name='sendmail', user=None, env=None):
        """sendmail (or mailq, newaliases by `name`), its standard input `text`."""
        link = os.path.join(self.dir, 'bin', name)
        variables = {
            'STERNPOST_SOCKET': self.options['submit_socket'],
            'STERNPOST_MAILDROP': self.options['maildrop_dir'],
        }
        done = subprocess.run(
            [link, *args],
            input=text if isinstance(text, bytes) else text.encode(),
            capture_output=True,
            timeout=60,
            env=dict(clean_environment(**variables), **(env or {})),
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
        return Result(done.returncode, done.stdout.decode('utf-8', 'replace'), done.stderr.decode('utf-8', 'replace'))

    def submit(self, *args, text='', **kw):
        done = self.sendmail(*args, text=text, **kw)
        expect(done.code == 0, 'sendmail %s: exit %d: %s%s' % (' '.join(args), done.code, done.out, done.err))

    # -------------------------------------------------------------------------------------------------------------- its queue
    def recipients(self):
        """Everything unfinished: {forward-path: its entry in `queue list --json`}."""
        return {
            r['path']: r
            for m in self.ask('queue', 'list', '--limit', '100000')['messages']
            for r in m['recipients']
            if r['state'] == 'queued'
        }

    def wait_deferred(self, path, seconds=30):
        """The entry of a recipient that waits for a later attempt, with the reason (which may be its next hop's)."""

        def deferred():
            entry = self.recipients().get(path)
            return entry if entry and not entry['active'] and entry['reason'] else None

        return wait_for('%s is deferred' % path, deferred, seconds, every=0.1)

    def wait_empty(self, seconds=30):
        wait_for('the queue is empty', lambda: not self.recipients(), seconds, every=0.1)


class Dialogue:
    """A raw SMTP connection: says exactly the octets it is given."""

    def __init__(self, address=LISTENER, greet=True, timeout=20, source=None):
        self.socket = socket.create_connection(
            address, timeout=timeout, source_address=(source, 0) if source else None
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b''
        if greet:
            self.expect('220')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, octets):
        self.socket.sendall(octets if isinstance(octets, bytes) else octets.encode())

    def line(self):
        """One line, or b'' when the daemon has closed."""
        while b'\r\n' not in self.buffer:
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b''
            if not more:
                return b''
            self.buffer += more
        line, self.buffer = self.buffer.split(b'\r\n', 1)
        return line

    def reply(self):
        """One reply: (code, lines). (0, []) when the daemon has closed instead."""
        lines = []
        while True:
            line = self.line()
            if not line:
                return 0, lines
            lines.append(line[4:].decode('utf-8', 'replace'))
            if line[3:4] != b'-':
                return int(line[:3]), lines

    def expect(self, code):
        """A reply whose code and text begin so, e.g. '250', '550 5.7.1'."""
        try:
            seen, lines = self.reply()
        except TimeoutError:
            raise Failure(
                'expected %s, the daemon said nothing for %g s' % (code, self.socket.gettimeout())
            ) from None
        whole = '%d %s' % (seen, lines[-1] if lines else '')
        if not whole.startswith(code):
            raise Failure('expected %s, the daemon said %s' % (code, whole if seen else 'nothing and closed'))
        return lines

    def say(self, command, code):
        self.send((command if isinstance(command, bytes) else command.encode()) + b'\r\n')
        try:
            return self.expect(code)
        except Failure as e:
            raise Failure('%r: %s' % (command[:80], e)) from None

    def ehlo(self):
        return self.say('EHLO client.test', '250')

    def envelope(self, sender, *recipients, parameters=''):
        self.say('MAIL FROM:<%s>%s' % (sender, parameters), '250')
        for recipient in recipients:
            self.say('RCPT TO:<%s>' % recipient, '250')

    def closed(self):
        """Whether the daemon has closed the connection (waits for it)."""
        return self.reply() == (0, [])

    def message(self, sender, recipients, data):
        """A whole transaction; the last reply's text. data: octets as they go on the wire, without the final dot."""
        self.envelope(sender, *recipients)
        self.say('DATA', '354')
        self.send(data + b'.\r\n')
        return self.expect('250')[-1]


def deliver(data, sender='a@sender.test', recipients=('u@sink.test',)):
    """One message by a connection of its own; the text of the 250."""
    with Dialogue() as d:
        d.ehlo()
        text = d.message(sender, recipients, data)
        d.say('QUIT', '221')
        return text
