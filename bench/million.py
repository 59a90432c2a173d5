#!/usr/bin/python3
"""A long queue: sternpostd with a million messages asleep. What it holds in memory, how fast it takes more, how soon it is back after
kill -9, and whether a next hop that dies with a hundred thousand messages due makes anybody else wait. Called by million.sh.

The messages are for many domains whose MX host refuses connections, one of them (d0) apart: its host takes connections and says nothing,
so that its mail stays due until the host dies. Mail for bench.test goes through. One daemon and one spool for all steps, in this order:
intake with an empty queue, filling, intake with a full one, `queue list`, three kills, the death of the next hop, the end.
"""
import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, 'bench'))

from compare import BUILD, RECORDS, RELAY, SINK, Bench, SteadyDns, SternpostRelay, Watch, anonymous_memory, disk_use, number  # noqa: E402
from machine import Failure, Machine, Process, enter, furnish, get_peers, wait_for  # noqa: E402
from sternpost import Dialogue, clean_environment, program  # noqa: E402

DEAD, SILENT = '127.0.0.31', '127.0.0.32'
CHUNK = 20000
KILLS = 3
# name, what it is called, what is to be reached
ROWS = [
    ('queued', 'messages in the queue', None),
    ('intake_empty', 'intake with an empty queue, msg/s', None),
    ('accept_p99_empty', 'accept p99, ms', None),
    ('accept_max_empty', 'slowest accept, ms', None),
    ('fill', 'filling, msg/s', None),
    ('fill_slowest', 'slowest %d of it, msg/s' % CHUNK, None),
    ('fill_accept_max', 'slowest accept while filling, ms', ('most', 150)),
    ('busy_mib', 'RssAnon at most while filling, MiB', ('most', 64)),
    ('full_mib', 'RssAnon with the queue full, MiB', ('most', 64)),
    ('disk_octets', 'disk a queued message, octets', ('most', 5.2 * 1024)),
    ('intake_full', 'intake with a full queue, msg/s', None),
    ('intake_share', 'of that with an empty one', ('least', 0.8)),
    ('accept_p99', 'accept p99, ms', ('most', 20)),
    ('accept_max', 'slowest accept, ms', ('most', 150)),
    ('kib_written', 'written a message, KiB', ('most', 8)),
    ('list_ms', 'queue list --limit 50, ms (median of ten)', ('most', 200)),
    ('list_max_ms', 'the slowest of them', None),
    ('accepting_s', 'after kill -9: from start to the first 250, s (slowest of %d)' % KILLS, ('most', 0.3)),
    ('delivering_s', 'to the first delivery, s', ('most', 1.5)),
    ('back_mib', 'RssAnon ten seconds later, MiB', ('most', 64)),
    ('dying', 'messages due at a next hop that dies', None),
    ('dying_s', 'until it is deferred, s', None),
    ('dying_accept_max', 'meanwhile, at 50 messages/s for another: slowest accept, ms', ('most', 150)),
    ('dying_end_p99', 'end to end p99, ms', None),
    ('dying_end_max', 'slowest end to end, ms', None),
    ('stop_s', 'SIGTERM to the end, s', None),
]


class Flow:
    """What a load of source and sink is like; the settings that Bench looks at."""

    def __init__(self, domains, connections=20, rate=0):
        self.tls, self.size, self.connections, self.rate, self.policies = False, 4096, connections, rate, domains


class SilentHost:
    """Takes connections into its backlog and never greets."""

    def __init__(self, address):
        self.socket = socket.create_server((address, 25), backlog=512)

    def die(self):
        """Those that wait get a reset, and so does who comes next."""
        self.socket.close()


class Probes(threading.Thread):
    """One message after the other for bench.test, each over a connection of its own, as soon as somebody takes it."""

    def __init__(self, first):
        super().__init__(daemon=True)
        self.number, self.accepted, self.over = first, [], threading.Event()

    def run(self):
        while not self.over.is_set():
            try:
                with contextlib.closing(Dialogue(timeout=30)) as d:
                    d.ehlo()
                    text = 'X-Bench: %016x %020d\r\nFrom: <source@bench-source.test>\r\n\r\nhello\r\n'
                    d.message('source@bench-source.test', ['u@bench.test'], (text % (self.number, time.monotonic_ns())).encode())
                self.accepted.append(time.monotonic())
                self.number += 1
                time.sleep(0.02)
            except (OSError, Failure):
                time.sleep(0.002)

    def stop(self):
        self.over.set()
        self.join(60)


class Million:
    def __init__(self, machine, room, settings, progress):
        self.machine, self.room, self.settings, self.progress = machine, room, settings, progress
        self.figures, self.next_id, self.flow = {}, 0, Flow(settings.domains)
        self.accepting, self.delivering = [], []  # seconds after each kill
        records = ['d0.bench MX 10 mx.silent', 'mx.silent A ' + SILENT, 'mx.dead A ' + DEAD]
        records += ['d%d.bench MX 10 mx.dead' % n for n in range(1, settings.domains)]
        SteadyDns(machine, [*RECORDS, *records])
        self.silent = SilentHost(SILENT)
        self.relay = SternpostRelay(
            room, None, self.flow, queue={'retry': ['6h']}, delivery={'greeting_timeout': '6h', 'attempt_budget': '12h'}
        )
        self.daemon = self.relay.relay

    def note(self, **figures):
        self.figures.update(figures)
        self.progress(' '.join('%s=%s' % (k, number(v)) for k, v in figures.items()), True)

    def inject(self, flow, count):
        """What bench-source says of so many messages more."""
        sent = Bench.source(flow, RELAY, count, self.next_id)
        self.next_id += count
        if sent['accepted'] != count:
            raise Failure('of %d messages %d were accepted: %s' % (count, sent['accepted'], sent['failures']))
        return sent

    def sink(self, *options):
        argv = [os.path.join(BUILD, 'bench', 'bench-sink'), '--listen', SINK, *options]
        return Process(self.room, 'bench-sink', argv)

    @staticmethod
    def sunk(sink):
        sink.end(60)
        return json.loads(sink.log().splitlines()[-1])

    def run(self):
        count, sample = self.settings.messages, max(self.settings.messages // 33, 5000)
        empty = disk_use(self.relay.spool)
        sent = self.inject(self.flow, sample)
        self.note(
            intake_empty=sent['rate'], accept_p99_empty=sent['accept_ms']['p99'], accept_max_empty=sent['accept_ms']['max']
        )
        self.fill(count)
        self.settle()
        self.note(
            queued=self.next_id,
            full_mib=anonymous_memory(self.relay.pids),
            disk_octets=(disk_use(self.relay.spool) - empty) / self.next_id,
        )
        self.intake(sample)
        self.listing()
        for kill in range(KILLS):
            self.progress('kill %d' % (kill + 1))
            self.kill()
        times = {'accepting_s': max(self.accepting), 'delivering_s': max(self.delivering)}
        time.sleep(10)
        self.note(**times, back_mib=anonymous_memory(self.relay.pids))
        self.death(count // 10)
        began = time.monotonic()
        self.daemon.stop()
        self.note(stop_s=time.monotonic() - began)
        return self.figures

    def fill(self, count):
        watch, rates, slowest, began, first = Watch(self.relay.pids), [], 0.0, time.monotonic(), self.next_id
        while self.next_id < count:
            part = min(CHUNK, count - self.next_id)
            sent = self.inject(self.flow, part)
            slowest = max(slowest, sent['accept_ms']['max'])
            if part == CHUNK or not rates:
                rates.append(sent['rate'])
            left = (count - self.next_id) * (time.monotonic() - began) / (self.next_id - first)
            self.progress('%d of %d queued, %.0f msg/s, %d s to go' % (self.next_id, count, sent['rate'], left))
        self.note(
            fill=(self.next_id - first) / (time.monotonic() - began),
            fill_slowest=min(rates),
            fill_accept_max=slowest,
            busy_mib=watch.stop().memory,
        )

    def settle(self):
        """Until the daemon has nothing to do: its CPU stands still."""
        stat = '/proc/%d/stat' % self.daemon.process.pid

        def ticks():
            with open(stat) as f:
                return sum(int(x) for x in f.read().rsplit(')', 1)[1].split()[11:13])

        def rests():
            before = ticks()
            time.sleep(1)
            return ticks() - before <= 2

        wait_for('the daemon rests', rests, 120)

    def intake(self, count):
        device = os.stat(self.room.dir).st_dev
        subprocess.run(['sync', '-f', self.room.dir], check=True)
        before = Bench.sectors(device) if self.settings.counted else 0
        sent = self.inject(self.flow, count)
        figures = {
            'intake_full': sent['rate'],
            'intake_share': sent['rate'] / self.figures['intake_empty'],
            'accept_p99': sent['accept_ms']['p99'],
            'accept_max': sent['accept_ms']['max'],
        }
        if self.settings.counted:
            self.settle()
            subprocess.run(['sync', '-f', self.room.dir], check=True)
            figures['kib_written'] = (Bench.sectors(device) - before) / 2 / count
        self.note(**figures)

    def listing(self):
        times = []
        argv = [program('sternpost'), '--config', self.daemon.config, 'queue', 'list', '--limit', '50']
        for _ in range(10):
            began = time.monotonic()
            out = subprocess.run(argv, env=clean_environment(), capture_output=True, text=True, check=True).stdout
            times.append((time.monotonic() - began) * 1000)
        if out.count('@') < 50:
            raise Failure('queue list: ' + out[:300])
        self.note(list_ms=statistics.median(times), list_max_ms=max(times))

    def kill(self):
        probes = Probes(self.next_id)
        sink = self.sink()
        # The last probe before may have found no sink any more, and its next hop waits for hours then.
        self.daemon.command('queue', 'retry', '--domain', 'bench.test')
        probes.start()
        wait_for('probes are accepted', lambda: len(probes.accepted) > 20)
        self.daemon.kill()
        self.sunk(sink)
        sink, seen, began = self.sink(), len(probes.accepted), time.monotonic()
        self.daemon.launch()
        self.relay.pids = [self.daemon.process.pid]
        wait_for('mail is accepted again', lambda: self.daemon.process.must_run() and len(probes.accepted) > seen, 120)
        self.accepting.append(probes.accepted[seen] - began)
        self.daemon.process.ready('is ready', lambda: self.daemon.events('ready'), 120)
        time.sleep(3)
        probes.stop()
        self.next_id = probes.number + 1
        taken = self.sunk(sink)
        if not taken['unique']:
            raise Failure('nothing was delivered within 3 s of the start')
        self.delivering.append(taken['first_ns'] / 1e9 - began)
        self.progress('back after %.2f s, delivering after %.2f s' % (self.accepting[-1], self.delivering[-1]), True)
        self.settle()

    def death(self, count):
        """Mail for d0 comes due while its host says nothing; the host dies in the middle of other mail."""
        self.progress('%d messages for a host that will die' % count)
        self.inject(Flow(1), count)
        self.settle()
        sink, other = self.sink('--count', '1000', '--linger', '200'), {}
        source = threading.Thread(target=lambda: other.update(self.inject(Flow(0, 5, 50), 1000)))  # for twenty seconds
        source.start()
        time.sleep(5)
        seen = len(self.hop_events())
        died = time.monotonic()
        self.silent.die()
        wait_for('the next hop is deferred', lambda: len(self.hop_events()) > seen, 120)
        seconds = time.monotonic() - died
        source.join(120)
        taken = Bench.sunk(sink, 30)  # the last ones are on their way
        if not other or taken['unique'] != 1000:
            raise Failure('of 1000 messages for another host %d arrived' % taken['unique'])
        self.note(
            dying=count,
            dying_s=seconds,
            dying_accept_max=other['accept_ms']['max'],
            dying_end_p99=taken['end_to_end_ms']['p99'],
            dying_end_max=taken['end_to_end_ms']['max'],
        )

    def hop_events(self):
        return re.findall(r'(?m)^\S+ hop name=d0\.bench\.test status=deferred', self.daemon.process.log())


def table(figures):
    lines = ['| figure | seen | target | reached |', '|---|---|---|---|']
    for name, words, goal in ROWS:
        if name not in figures:
            continue
        value, target, reached = figures[name], '', ''
        if goal:
            kind, limit = goal
            target = '%s %s' % ('<=' if kind == 'most' else '>=', number(limit))
            reached = 'yes' if (value <= limit if kind == 'most' else value >= limit) else 'NO'
        lines.append('| %s | %s | %s | %s |' % (words, number(value), target, reached))
    return '\n'.join(lines)


def progress(text, stays=False):
    """One line on a terminal that the next overwrites, unless it stays; elsewhere only what stays."""
    shown = sys.stderr.isatty()
    if stays:
        print(('\r\033[K' if shown else '') + '# ' + text, file=sys.stderr, flush=True)
    elif shown:
        print('\r\033[K' + text, end='', file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(prog='million.sh')
    parser.add_argument('--messages', type=int, default=1000000, help='in the queue (1000000)')
    parser.add_argument('--domains', type=int, default=1000, help='that they are for (1000)')
    parser.add_argument('--counted', action='store_true', help='the spool in a loop device, to count what is written')
    parser.add_argument('--json', help='the figures into this file')
    settings = parser.parse_args()
    if 'STERNPOST_TEST_INSIDE' not in os.environ:
        get_peers()
        enter(__file__)
    etc = tempfile.mkdtemp(prefix='sternpost-etc.')
    os.chmod(etc, 0o755)
    furnish(etc)
    machine, failed, million = Machine('million'), None, None
    began, load_before = time.monotonic(), os.getloadavg()
    try:
        with Bench.room(counted=settings.counted, octets=(2 << 30) + settings.messages * 8192) as room:
            million = Million(machine, room, settings, progress)
            million.run()
    except (Failure, subprocess.SubprocessError, OSError, ValueError) as e:
        failed = e
    finally:
        machine.close()
        machine.remove()
        subprocess.run(['umount', '-l', '/etc'], check=False)
        shutil.rmtree(etc, ignore_errors=True)
    figures = million.figures if million else {}
    print(table(figures))
    print()
    if failed:
        print('ended before its time: %s' % failed)
    print(
        '%d s; load average before %.1f (this machine does not idle if that is near its %d cores)'
        % (time.monotonic() - began, load_before[0], os.cpu_count())
    )
    if settings.json:
        with open(settings.json, 'w') as f:
            json.dump({'settings': vars(settings), 'figures': figures, 'failed': str(failed or '')}, f, indent=1)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
