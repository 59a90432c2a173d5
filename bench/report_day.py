#!/usr/bin/python3
"""A day with many partners closes: how long until each of them has its report in the queue, and what that takes. Called by
report_day.sh.

bench-fill-day writes the day's sessions into a store; sternpostd starts on it with the next day's clock, closes the day and sends. Half
of the domains want mail, the other half HTTPS, which a small server takes. What is measured is the time from the start of the
daemon's work on it (`day-closed`) until `tlsrpt status` says that nothing waits, the most memory of its own on the way, and the CPU time.
"""
import argparse
import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, 'bench'))

import compare  # noqa: E402, F401  (finds the modules of the tests)
from machine import Machine, enter, furnish, wait_for  # noqa: E402
from peers import Authority  # noqa: E402
from sternpost import Sternpost, program  # noqa: E402

import dns.flags  # noqa: E402
import dns.message  # noqa: E402
import dns.rcode  # noqa: E402
import dns.rrset  # noqa: E402

COLLECTOR = '127.0.0.81'


class Names(asyncio.DatagramProtocol):
    """Every domain asks for reports, the even ones by mail to a mailbox of their own, the odd ones by HTTPS."""

    def __init__(self, keys):
        self.keys = keys

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        question = dns.message.from_wire(data)
        name, kind = question.question[0].name.to_text().lower(), dns.rdatatype.to_text(question.question[0].rdtype)
        response = dns.message.make_response(question)
        response.flags |= dns.flags.RA
        text = None
        if kind == 'TXT' and name.startswith('_smtp._tls.d'):
            number = int(name.split('.')[2][1:])
            domain = name[len('_smtp._tls.') : -1]
            rua = 'mailto:tls@%s' % domain if number % 2 == 0 else 'https://collector.test/%d' % number
            text = '"v=TLSRPTv1; rua=%s"' % rua
        elif kind == 'TXT' and name.rstrip('.') in self.keys:
            record = self.keys[name.rstrip('.')]
            text = ' '.join('"%s"' % record[i : i + 255] for i in range(0, len(record), 255))
        elif kind == 'A' and name == 'collector.test.':
            text = COLLECTOR
        if text:
            response.answer.append(dns.rrset.from_text(name, 300, 'IN', kind, text))
        elif kind != 'AAAA':
            response.set_rcode(dns.rcode.SERVFAIL if kind == 'MX' else dns.rcode.NXDOMAIN)
        self.transport.sendto(response.to_wire(), address)


class Collector(asyncio.Protocol):
    """Takes any POST."""

    posts = 0

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b''

    def data_received(self, data):
        self.buffer += data
        head, found, body = self.buffer.partition(b'\r\n\r\n')
        if not found:
            return
        length = next(int(line.split(b':')[1]) for line in head.split(b'\r\n') if line.lower().startswith(b'content-length:'))
        if len(body) >= length:
            Collector.posts += 1
            self.transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
            self.transport.close()


def serve(keys, chain, key):
    """On a thread: names and collector."""

    async def run():
        loop = asyncio.get_running_loop()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        await loop.create_datagram_endpoint(lambda: Names(keys), ('127.0.0.53', 53))
        server = await loop.create_server(Collector, COLLECTOR, 443, ssl=context, backlog=500)
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()


def measure(machine, args):
    authority = Authority(machine)
    keys = {}
    serve(keys, *authority.issue('collector.test'))
    sternpost = Sternpost(
        machine,
        authority,
        start=False,
        hostname='relay.reporter.test',
        tlsrpt={'organization': 'Bench', 'contact': 'tls@reporter.test', 'window': '0s', 'allow_special_addresses': True},
    )
    made = subprocess.run(sternpost.argv('dkim', 'generate', 'reporter.test', '--algorithm', 'ed25519', '--json'), capture_output=True, text=True)
    if made.returncode == 0:
        for one in json.loads(made.stdout)['made']:
            keys[one['name']] = one['record']
        subprocess.run(sternpost.argv('dkim', 'rotate', 'reporter.test', '--force'), capture_output=True)
    state = sternpost.options['state_dir']
    print(subprocess.run([program('bench/bench-fill-day'), state, str(args.domains), str(args.sessions)], check=True, capture_output=True, text=True).stdout.strip())
    began = time.monotonic()
    sternpost.start(seconds=60)
    pid, most = sternpost.process.popen.pid, 0
    wait_for('the day is closed', lambda: sternpost.events('day-closed'), 60)
    closed = time.monotonic()
    begun = False  # what is to be sent is looked for a moment after the day is closed
    while True:
        with open('/proc/%d/status' % pid) as f:
            most = max(most, next(int(line.split()[1]) for line in f if line.startswith('RssAnon')))
        standing = sternpost.ask('tlsrpt', 'status')
        if standing['missing']:
            raise SystemExit('missing: %s' % standing['missing'])
        begun = begun or standing['waiting'] > 0
        if begun and standing['waiting'] == 0:
            break
        if time.monotonic() > closed + 600:
            raise SystemExit('still waiting: %s' % standing)
        time.sleep(0.2)
    took = time.monotonic() - closed
    with open('/proc/%d/stat' % pid) as f:
        fields = f.read().rsplit(')', 1)[1].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
    states = {}
    for report in sternpost.ask('tlsrpt', 'list', '--all'):
        states[report['state']] = states.get(report['state'], 0) + 1
    queued = sternpost.ask('status')['queue']['messages']
    print('started and closed in %.1f s; %d reports in %.1f s: %s; %d mails queued, %d posted; RssAnon at most %.1f MiB; %.1f s of CPU, %.2f ms a report'
          % (closed - began, sum(states.values()), took, states, queued, Collector.posts, most / 1024, cpu, cpu * 1000 / max(1, sum(states.values()))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--domains', type=int, default=20000)
    parser.add_argument('--sessions', type=int, default=1000000)
    args = parser.parse_args()
    if not os.environ.get('STERNPOST_TEST_INSIDE'):
        enter(__file__)
    etc = tempfile.mkdtemp(prefix='sternpost-etc.')
    os.chmod(etc, 0o755)
    furnish(etc)
    machine = Machine('report-day')
    try:
        measure(machine, args)
    finally:
        machine.close()
        machine.remove()
        subprocess.run(['umount', '-l', '/etc'], check=False)
        shutil.rmtree(etc, ignore_errors=True)


if __name__ == '__main__':
    main()
