"""Sternpost as the MTA under test of the black-box judge in ../shared/lab (beside the project): LAB/run.sh tests/lab_adapter.py.

The programs are those of the build folder that STERNPOST_BUILD names (default: build, beside this file's folder). The daemon's
configuration, state and log lie in the judge's scratch folder under sternpost/.
"""
import json
import os
import re
import signal
import subprocess
import time

from adapters.base import Adapter

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get('STERNPOST_BUILD') or os.path.join(TOP, 'build'))

# Every automatic retry is an hour away: the judge asks for each attempt.
CONFIGURATION = '''\
hostname = "mta.lab.test"
state_dir = "{dir}/state"
user = ""
log_level = "debug"
control_socket = "{dir}/control.sock"
submit_socket = "{dir}/submit.sock"
maildrop_dir = "{dir}/maildrop"
resolvers = ["127.0.0.53"]

[listener]
listen = ["127.0.0.1:2525"]
messages_per_minute_per_client = 0

[delivery]
connect_timeout = "{smtp}s"
greeting_timeout = "{smtp}s"
helo_timeout = "{smtp}s"
starttls_timeout = "{smtp}s"
mail_timeout = "{smtp}s"
rcpt_timeout = "{smtp}s"
data_timeout = "{smtp}s"
data_block_timeout = "{smtp}s"
dot_timeout = "{smtp}s"
quit_timeout = "{smtp}s"
idle_time = "{idle}s"
allow_special_addresses = true

[queue]
lifetime = "{lifetime}s"
notice_lifetime = "{lifetime}s"
retry = ["1h"]

[dns]
timeout = "{dns}s"
trust_ad = "yes"
probe_secure = ""
probe_bogus = ""

[tls]
ca_file = "{bundle}"

[alarms]
mail = false

[sts]
fetch_timeout = "{https}s"
allow_special_addresses = true
'''


class Sternpost(Adapter):
    name = 'sternpost'
    features = {'sts', 'dane', 'requiretls', 'tls-required-no', 'smtputf8', 'routes', 'restart', 'crash', 'lifetime', 'tlsrpt'}

    def configure(self, world):
        super().configure(world)
        self.dir = os.path.join(world.tmp, 'sternpost')
        self.file = os.path.join(self.dir, 'sternpost.toml')
        self.log = os.path.join(self.dir, 'sternpostd.log')
        self.daemon = None
        for folder in ('', 'state', 'maildrop'):
            os.makedirs(os.path.join(self.dir, folder), exist_ok=True)

    def write_configuration(self):
        knobs = self.world.knobs
        text = CONFIGURATION.format(
            dir=self.dir,
            bundle=self.world.bundle,
            smtp=knobs['smtp_timeout'],
            idle=knobs['idle'],
            lifetime=knobs['queue_lifetime'],
            dns=knobs['dns_timeout'],
            https=knobs['https_timeout'],
        )
        for domain, relay in self.world.routes.items():
            text += '\n[[route]]\ndomain = "%s"\nto = "mx:%s"\n' % (domain, relay)
        with open(self.file, 'w') as f:
            f.write(text)

    def start(self):
        self.write_configuration()
        with open(self.log, 'ab') as log:
            before = log.tell()
            # Started from a service, its log would go to the journal and its readiness to the wrong manager.
            env = {k: v for k, v in os.environ.items() if k not in ('JOURNAL_STREAM', 'NOTIFY_SOCKET')}
            self.daemon = subprocess.Popen(
                [os.path.join(BUILD, 'sternpostd'), '--config', self.file],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 20
        while True:
            with open(self.log, errors='replace') as f:
                f.seek(before)
                said = f.read()
            version = re.search(r'\bstart version=(\S+)', said)
            if version:
                self.version = version[1]
            if re.search(r'(?m)(^|\s)ready(\s|$)', said):
                return self.wait_port()
            if self.daemon.poll() is not None:
                raise RuntimeError('sternpostd ended with %d: %s' % (self.daemon.returncode, said[-2000:]))
            if time.monotonic() > deadline:
                raise RuntimeError('sternpostd is not ready after 20 s: ' + said[-2000:])
            time.sleep(0.02)

    def stop(self):
        if self.daemon is None:
            return
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(30)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
            raise RuntimeError('sternpostd did not stop within 30 s of SIGTERM')
        finally:
            self.daemon = None

    def crash(self):
        self.daemon.kill()
        self.daemon.wait()
        self.start()

    def command(self, *args):
        return subprocess.run(
            [os.path.join(BUILD, 'sternpost'), '--config', self.file, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def retry_now(self, domain=None):
        done = self.command('queue', 'retry', *(('--domain', domain) if domain else ('--all',)))
        if done.returncode not in (0, 1):  # 1: nothing of that domain is queued
            raise RuntimeError('queue retry: exit %d: %s' % (done.returncode, done.stderr.strip()))

    def queue(self):
        done = self.command('queue', 'list', '--limit', '100000', '--json')
        if done.returncode not in (0, 1):
            raise RuntimeError('queue list: exit %d: %s' % (done.returncode, done.stderr.strip()))
        return [
            {
                'id': message['id'],
                'recipient': recipient['path'],
                'status': 'active' if recipient['active'] else 'deferred',
                'reason': recipient.get('reason', ''),
            }
            for message in json.loads(done.stdout)['messages']
            for recipient in message['recipients']
            if recipient['state'] == 'queued'
        ]


    def tlsrpt(self, domain):
        seen, deadline = None, time.monotonic() + 5
        while True:  # what is counted follows deliveries within a moment
            done = self.command('tlsrpt', 'preview', domain, '--json')
            if done.returncode not in (0, 1):  # 1: nothing was counted
                raise RuntimeError('tlsrpt preview: exit %d: %s' % (done.returncode, done.stderr.strip()))
            answer = json.loads(done.stdout) if done.returncode == 0 else {}
            if answer == seen and (answer or time.monotonic() > deadline):
                return {} if answer.get('why_not') else answer.get('report', {})
            seen = answer
            time.sleep(0.3)


ADAPTER = Sternpost
