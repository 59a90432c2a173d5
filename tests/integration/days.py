"""A daemon whose days pass because the clock says so, and domains whose TLS is reported."""
import datetime
import json
import os
import subprocess
import time

import dns.rdatatype
from cryptography.hazmat.primitives.asymmetric import ec

from machine import TOP, expect, wait_for
from scripted import ScriptedPolicyHost, certificate
from sternpost import Sternpost

POLICY = 'version: STSv1\nmode: %s\nmx: %s\nmax_age: 864000\n'
PLAIN = {'Content-Type': 'text/plain'}
KEY = ec.generate_private_key(ec.SECP256R1())
REPORTER = {'organization': 'Nordmail e. G.', 'contact': 'tlsrpt@nordmail.test', 'window': '0s', 'allow_special_addresses': True}

KEYS = {}  # what was published: {name: record}


def domain(name, address, rua=None, policy=False):
    """DNS records of a domain with the MX host mx.NAME."""
    out = {(name, 'MX'): ['10 mx.%s.' % name], ('mx.' + name, 'A'): [address]}
    if rua:
        out[('_smtp._tls.' + name, 'TXT')] = ['"v=TLSRPTv1; rua=%s"' % rua]
    if policy:
        out[('_mta-sts.' + name, 'TXT')] = ['"v=STSv1; id=1;"']
        out[('mta-sts.' + name, 'A')] = ['127.0.0.80']
    return out


class Days:
    """A daemon whose wall clock is set at each start."""

    def __init__(self, machine, authority=None, name='sternpost', **options):
        self.machine, self.ahead, library = machine, name + '-ahead', machine.path(name + '-clock.so')
        source = os.path.join(TOP, 'tests/integration/faults.c')
        subprocess.run([os.environ.get('CC', 'cc'), '-shared', '-fPIC', '-O1', '-o', library, source, '-ldl'], check=True)
        self.before = ['env', 'TZ=Pacific/Auckland', 'LD_PRELOAD=' + library, 'SECONDS_AHEAD=' + machine.write(self.ahead, '0')]
        # some days ago: verifiers do not like signatures of tomorrow
        self.today = datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=3)
        self.days = 0
        options.setdefault('tlsrpt', REPORTER)
        self.daemon = Sternpost(machine, authority, name=name, start=False, **options)
        self.noon()

    def sign(self, server, *args):
        """A key for the contact's domain, in use and published at the ScriptedDns."""
        submitter = self.daemon.options['tlsrpt']['contact'].split('@')[1]
        made = json.loads(self.daemon.do('dkim', 'generate', submitter, '--active', '--json', *args))['made']
        for key in made:
            pieces = [key['record'][i : i + 255] for i in range(0, len(key['record']), 255)]
            server.records[(key['name'], dns.rdatatype.TXT)] = [' '.join('"%s"' % p for p in pieces)]
            KEYS[key['name']] = key['record']
        self.daemon.command('dkim', 'check')
        return self

    def noon(self, days=0):
        """Starts it at noon (UTC), so many days from today."""
        self.days = days
        noon = datetime.datetime.combine(self.today, datetime.time(12), datetime.timezone.utc) + datetime.timedelta(days=days)
        self.machine.write(self.ahead, '%d' % (noon.timestamp() - time.time()))
        self.daemon.start(before=self.before)
        return self.daemon

    def next_noon(self):
        self.daemon.stop()
        return self.noon(self.days + 1)

    def day(self, days):
        return str(self.today + datetime.timedelta(days=days))

    def counted(self, name, sessions=1, **where):
        """The report so far, once so many sessions are counted in it (the index follows the journal)."""

        def enough():
            done = self.daemon.command('tlsrpt', 'preview', name, '--json', *where.get('args', ()))
            if done.code == 1:
                return None
            expect(done.code == 0, 'preview: exit %d: %s' % (done.code, done.err))
            answer = json.loads(done.out)
            summaries = [p['summary'] for p in answer['report']['policies']]
            return answer if sum(sum(s.values()) for s in summaries) >= sessions else None

        return wait_for('%d session(s) with %s are counted' % (sessions, name), enough, 20, every=0.1)


def policies_of(machine, authority, modes):
    hosts = {
        'mta-sts.' + name: (
            certificate(machine, authority, 'mta-sts.' + name, ['mta-sts.' + name], key=KEY),
            (200, PLAIN, POLICY % (mode, 'mx.' + name)),
        )
        for name, mode in modes.items()
    }
    return ScriptedPolicyHost(machine, hosts)
