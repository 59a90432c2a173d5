#!/usr/bin/python3
"""What peers, clients and local users can multiply: connections, lines in the log, files in the maildrop, notices, memory. Each
has a bound, and nobody else pays for it."""
import fcntl
import json
import os
import random
import re
import select
import signal
import socket
import sqlite3
import subprocess
import threading
import time

from machine import Failure, USERS, expect, expect_equal, run, wait_for, test
from peers import Dns, Sink
from scripted import ScriptedMx, serve
from sternpost import Dialogue, Sternpost, clean_environment, deliver, program
import sys

NOBODY = USERS['nobody']
ALICE = USERS['alice']
ADMINS = 64105  # the group sternpost-admin
HEADER = b'From: <a@sender.test>\r\nSubject: x\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <x@sender.test>\r\n\r\n'
F_SETPIPE_SZ = 1031


def address(machine, text):
    """One more address of this machine, beside loopback."""
    subprocess.run(['ip', 'addr', 'add', text + '/32', 'dev', 'lo'], check=True)
    machine.at_end(subprocess.run, ['ip', 'addr', 'del', text + '/32', 'dev', 'lo'])
    return text


def rss_mib(pid):
    with open('/proc/%d/status' % pid) as f:
        return int(re.search(r'VmRSS:\s+(\d+)', f.read())[1]) // 1024


def as_user(uid, work, groups=()):
    """work() in a process of that user; its exit code is 0 when it returns without an exception."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups(list(groups))
            os.setgid(uid)
            os.setuid(uid)
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


class Control:
    """A connection to the administrator's socket that says what it is told to."""

    def __init__(self, sternpost):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(sternpost.options['control_socket'])

    def send(self, request):
        self.socket.sendall(json.dumps(request).encode() + b'\n')

    def answer(self):
        octets = b''
        while not octets.endswith(b'\n'):
            more = self.socket.recv(1 << 20)
            if not more:
                break
            octets += more
        return json.loads(octets)

    def ask(self, request):
        self.send(request)
        return self.answer()


# ------------------------------------------------------------------------------------------------------------------- the listener
@test
def strangers_take_no_place_of_those_who_may_send(machine):
    host = address(machine, '192.0.2.25')
    strangers = [address(machine, '198.51.100.%d' % n) for n in range(1, 6)]
    Dns(machine, [])
    sternpost = Sternpost(
        machine,
        listener={
            'listen': [host + ':25', '127.0.0.1:25'],
            'max_connections': 20,
            'max_stranger_connections': 10,
            'stranger_time': '3s',
        },
    )
    held = [Dialogue((host, 25), source=s) for s in strangers for _ in range(2)]
    for _ in range(30):
        with Dialogue((host, 25), source=strangers[0], greet=False) as more:
            code, _lines = more.reply()
            expect(code in (421, 0), 'a stranger beyond the pool was told %d' % code)
    with Dialogue() as local:
        local.ehlo()
    busy = held.pop()
    for command in range(20):
        busy.say('NOOP', '250')
    busy.say('NOOP', '421 4.7.0')
    expect(busy.closed(), 'a stranger with too many commands goes on')
    began = time.monotonic()
    for one in held:
        code, _lines = one.reply()  # one NOOP now and then would not have helped
        expect_equal(code, 421, 'the end of a stranger that says nothing')
    expect(time.monotonic() - began < 15, 'strangers stay')
    lines = sternpost.events('reject', at='connect')
    expect_equal(len(lines), 1, 'lines about strangers that were turned away')
    sternpost.stop()
    counted = [int(e['count']) for e in sternpost.events('reject', at='connect') if 'count' in e]
    expect_equal(counted, [29], 'the count of those that had no line')


# -------------------------------------------------------------------------------------------------------------------- the log
@test
def a_reader_of_the_log_that_stops_stops_nothing_else(machine):
    Dns(machine, ['sink MX 10 mx.sink', 'mx.sink A 127.0.0.40'])
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine, start=False)
    out, into = os.pipe()
    fcntl.fcntl(into, F_SETPIPE_SZ, 4096)
    daemon = subprocess.Popen(
        [program('sternpostd'), '--config', sternpost.config], stdin=subprocess.DEVNULL, stderr=into, env=clean_environment()
    )
    machine.at_end(daemon.kill)
    os.close(into)
    wait_for('the listener answers', lambda: not socket.socket().connect_ex(('127.0.0.1', 25)))
    for n in range(120):
        deliver(HEADER + b'x\r\n')
    sink.wait_taken(120)
    fcntl.fcntl(out, fcntl.F_SETFL, os.O_NONBLOCK)
    read = b''

    def more():
        nonlocal read
        try:
            read += os.read(out, 65536)
        except BlockingIOError:
            pass
        return b'log-lost lines=' in read or (daemon.poll() is not None)

    # While nothing is lost the pipe and the daemon's own buffer hold it all; another round fills both.
    for n in range(900):
        deliver(HEADER + b'x\r\n')
    daemon.send_signal(signal.SIGTERM)
    while daemon.poll() is None:
        more()
        time.sleep(0.001)
    expect_equal(daemon.returncode, 0, 'exit code after SIGTERM with a log that nobody read')
    while True:
        try:
            piece = os.read(out, 65536)
        except BlockingIOError:
            break
        if not piece:
            break
        read += piece
    os.close(out)
    whole = read.count(b' accept ')
    lost = sum(int(n) for n in re.findall(rb'log-lost lines=(\d+)', read))
    expect(lost > 0 or whole >= 1020, '%d accept lines, and nothing says that any was lost' % whole)


@test
def what_a_sender_writes_forges_no_line(machine):
    Dns(machine, ['sink MX 10 mx.sink', 'mx.sink A 127.0.0.40'])
    sternpost = Sternpost(machine)
    forged = '"z status=sent mx=mx.bank.test[192.0.2.1]:25 qid=AAAA"@bogus.test'
    sternpost.submit('-f', '"x to=<ceo@bank.test>"@sender.test', forged, text='Subject: x\n\nx\n')
    attempt = sternpost.wait_event('attempt')
    expect_equal(attempt['to'], '<%s>' % forged, 'the recipient in the log')
    expect_equal(attempt['status'], 'deferred', 'the status in the log')
    expect(attempt['qid'] != 'AAAA', 'the queue id is forged')
    for steering in ('a\u009b31m@bogus.test', 'a\u202egnp@bogus.test', 'a\u2066b@bogus.test'):
        sternpost.submit('-f', 'a@sender.test', steering, text='Subject: x\n\nx\n')
    wait_for('all have been tried', lambda: len(sternpost.recipients()) == 4)
    texts = [sternpost.process.log(), *(sternpost.command(*v).out for v in (['queue', 'list'], ['queue', 'list', '--json'], ['queue', 'hops'], ['status']))]
    for text in texts:
        found = [c for c in text if 0x7f <= ord(c) <= 0x9f or ord(c) in (0x202E, 0x2066, 0x1B)]
        expect_equal(found, [], 'characters that steer a terminal')
    paths = sternpost.recipients()
    expect('a\u202egnp@bogus.test' in paths, 'the JSON value is another one')


# ------------------------------------------------------------------------------------------------------- the administrator's socket
@test
def local_users_cannot_keep_root_out(machine):
    Dns(machine, [])
    sternpost = Sternpost(machine)

    def hold():
        # A hundred at a time, each until it is turned away: one that was closed before it was accepted would take no place.
        held = []
        end = time.monotonic() + 6
        while time.monotonic() < end:
            while len(held) < 100:
                one = socket.socket(socket.AF_UNIX)
                one.settimeout(5)
                one.connect(sternpost.options['control_socket'])
                held.append(one)
            ended, _, _ = select.select(held, [], [], 0.1)
            for one in ended:
                one.close()
                held.remove(one)

    os.chmod(machine.dir, 0o755)
    for uid, groups in ((NOBODY, ()), (ALICE, (ADMINS,))):  # the second is an administrator too
        holder = as_user(uid, hold, groups)
        wait_for('the user is turned away', lambda: sternpost.events('control', uid=str(uid)))
        for _ in range(20):
            done = sternpost.command('status')
            expect_equal(done.code, 0, 'root asks for the status: %s' % (done,))
        os.waitpid(holder, 0)
        expect_equal(len(sternpost.events('control', uid=str(uid))), 1, 'lines about calls that were turned away')


@test
def outward_and_heavy_verbs_are_for_administrators(machine):
    Dns(machine, ['d MX 10 mx.d', 'mx.d A 127.0.0.66'])
    sternpost = Sternpost(machine)
    os.chmod(machine.dir, 0o755)
    results = machine.path('results')

    def asked(uid, groups=()):
        """The exit codes that this user gets for some verbs."""
        if os.path.exists(results):
            os.unlink(results)
        pid = os.fork()
        if pid == 0:
            try:
                codes = {}
                os.setgroups(list(groups))
                os.setgid(uid)
                os.setuid(uid)
                for verb in ('status', 'queue.list', 'explain', 'sts.check', 'policy.whatif', 'queue.suspend', 'tlsrpt.preview', 'no.such.verb'):
                    codes[verb] = Control(sternpost).ask({'verb': verb, 'domain': 'd.test'})['code']
                codes['filtered'] = Control(sternpost).ask({'verb': 'queue.list', 'sender': '<>'})['code']
                os.write(pipe[1], json.dumps(codes).encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        return json.loads(os.read(pipe[0], 65536))

    pipe = os.pipe()
    for verb, code in asked(NOBODY).items():
        expect_equal(code, 0 if verb in ('status', 'queue.list') else 77, 'nobody asks for ' + verb)
    member = asked(ALICE, [64105])
    expect(77 not in member.values(), 'a member of sternpost-admin: %s' % member)
    sternpost.stop()
    sternpost.change(control_readers='admins')
    sternpost.start()
    expect_equal(set(asked(NOBODY).values()), {77}, 'what nobody gets with control_readers = "admins"')


@test
def a_caller_that_does_not_read_its_answer_costs_a_page(machine):
    Dns(machine, [])
    sternpost = Sternpost(machine)
    for _ in range(2):  # so that what a page has says nothing of the next one
        sternpost.submit('-f', 'a@sender.test', 'first@bogus.test', text='Subject: x\n\nx\n')
    for _ in range(30):
        with Dialogue() as d:
            d.ehlo()
            d.say('MAIL FROM:<a@sender.test>', '250')
            d.send(b''.join(b'RCPT TO:<recipient-%d@bogus.test>\r\n' % i for i in range(1000)))
            for _ in range(1000):
                d.expect('250')
            d.say('DATA', '354')
            d.say(HEADER + b'x\r\n.', '250')
    all_of_it = sternpost.ask('queue', 'list', '--limit', '100000')
    expect_equal(sum(len(m['recipients']) for m in all_of_it['messages']), 30002, 'recipients in a long answer')
    expect(not all_of_it['more'], 'a whole list says that there is more')
    before = rss_mib(sternpost.process.pid)
    calls = [Control(sternpost) for _ in range(10)]
    for call in calls:
        call.send({'verb': 'queue.list', 'limit': 10**9, 'parts': True})
    # each waits for its caller with one page in its hands
    for _ in range(5):
        expect_equal(sternpost.command('status').code, 0, 'the status meanwhile')
    after = rss_mib(sternpost.process.pid)
    expect(after - before < 80, 'memory grew from %d to %d MiB' % (before, after))
    print('      10 unread lists of 30,000 recipients: %d MiB -> %d MiB' % (before, after))
    page = Control(sternpost).ask({'verb': 'queue.list', 'limit': 10**9})
    expect(page['data']['more'] and len(page['data']['messages']) < 30, 'an answer in one piece is not bounded')


@test
def next_hops_are_listed_in_pages(machine):
    Dns(machine, [])
    sternpost = Sternpost(machine)
    with Dialogue() as d:
        d.ehlo()
        d.say('MAIL FROM:<a@sender.test>', '250')
        d.send(b''.join(b'RCPT TO:<u@d%d.bogus.test>\r\n' % i for i in range(1000)))
        for _ in range(1000):
            d.expect('250')
        d.say('DATA', '354')
        d.say(HEADER + b'x\r\n.', '250')
    names = lambda hops: {hop['name'] for hop in hops}
    wait_for('all next hops', lambda: len(names(sternpost.ask('queue', 'hops', '--limit', '10000'))) == 1000)
    one_piece = Control(sternpost).ask({'verb': 'queue.hops', 'limit': 10000})
    expect(len(one_piece['data']) <= 500, 'an answer in one piece has %d next hops' % len(one_piece['data']))


# ------------------------------------------------------------------------------------------------------------------ start and stop
@test
def sigterm_at_any_moment_of_the_start_is_a_stop(machine):
    Dns(machine, [])
    sternpost = Sternpost(machine)
    for n in range(20):
        sternpost.submit('-f', 'a@sender.test', 'u@bogus.test', text='Subject: x\n\nx\n')
    sternpost.stop()
    chance = random.Random(7)
    codes = {}
    for _ in range(60):
        sternpost.launch()
        time.sleep(chance.random() * 0.15)  # the moment is what is drawn; nothing is awaited
        code = sternpost.process.end(30)
        codes[code] = codes.get(code, 0) + 1
    expect(set(codes) <= {0, -signal.SIGTERM}, 'exit codes: %s; %s' % (codes, sternpost.process.log()[-800:]))
    print('      exit codes of 60 starts: %s' % codes)
    sternpost.start()
    expect_equal(len(sternpost.ask('queue', 'list')['messages']), 20, 'messages after that')


@test
def a_damaged_index_is_put_aside_and_the_queue_is_held(machine):
    Dns(machine, ['sink MX 10 mx.sink', 'mx.sink A 127.0.0.40', 'later MX 10 mx.later', 'mx.later A 127.0.0.41'])
    sternpost = Sternpost(machine)
    for n in range(30):
        sternpost.submit('-f', 'a@sender.test', 'u%d@later.test' % n, text='Subject: x\n\nx\n')
    wait_for('all wait', lambda: len(sternpost.recipients()) == 30)
    sternpost.stop()
    path = sternpost.options['state_dir'] + '/queue.db'
    with open(path, 'r+b') as f:
        f.seek(4096)
        f.write(b'\xa5' * 4096)  # the first page of a table
    sternpost.start()
    store = [e for e in sternpost.events('store') if 'queue.db.damaged' in e['reason']]
    expect(store and 'sternpost queue release --all' in store[0]['reason'], 'the log says what happened: %s' % sternpost.events('store'))
    expect(os.path.exists(path + '.damaged'), 'the damaged index is kept')
    held = sternpost.ask('queue', 'list')['messages']
    expect_equal([m['held'] for m in held], [True] * 30, 'held messages')
    done = sternpost.command('queue', 'retry', '--all')
    expect(done.code == 1 and 'queue release' in done.err, 'a retry of what is on hold: %s' % (done,))
    sink = Sink(machine, '127.0.0.41')
    sternpost.do('queue', 'release', '--all')
    sternpost.retry_all()
    sink.wait_taken(30)


@test
def an_index_that_is_found_damaged_later_is_put_aside_too(machine):
    """What the start does not look at: the mail is not due, and the first question finds it."""
    Dns(machine, ['later MX 10 mx.later', 'mx.later A 127.0.0.41'])
    sternpost = Sternpost(machine)
    for n in range(30):
        sternpost.submit('-f', 'a@sender.test', 'u%d@later.test' % n, text='Subject: x\n\nx\n')
    wait_for('all wait', lambda: len(sternpost.recipients()) == 30)
    sternpost.stop()
    path = sternpost.options['state_dir'] + '/queue.db'
    with sqlite3.connect(path) as index:
        page = index.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'recipient'").fetchone()[0]
        size = index.execute('PRAGMA page_size').fetchone()[0]
    index.close()
    with open(path, 'r+b') as f:
        f.seek((page - 1) * size)
        f.write(b'\xa5' * size)
    sternpost.start()
    sternpost.command('queue', 'list')
    wait_for('the daemon ends', lambda: sternpost.process.popen.poll() is not None)
    expect_equal(sternpost.process.popen.returncode, 75, 'its exit code')
    expect(sternpost.events('index-damaged'), 'the log says why')
    sternpost.start()
    held = sternpost.ask('queue', 'list')['messages']
    expect_equal([m['held'] for m in held], [True] * 30, 'held messages')
    sink = Sink(machine, '127.0.0.41')
    sternpost.do('queue', 'release', '--all')
    sternpost.retry_all()
    sink.wait_taken(30)


# --------------------------------------------------------------------------------------------------------------------- the maildrop
@test
def a_full_maildrop_delays_nobody_else(machine):
    Dns(machine, ['sink MX 10 mx.sink', 'mx.sink A 127.0.0.40'])
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine, start=False, sender=[{'match': 'user:nobody', 'messages_per_minute': 1}])
    drop = sternpost.options['maildrop_dir']
    for n in range(15000):
        open('%s/tmp-%032x' % (drop, n * 7919), 'w').close()
    sternpost.submit('-f', 'bulk@sender.test', 'u@sink.test', text='Subject: bulk\n\nx\n')
    [name] = [n for n in os.listdir(drop) if not n.startswith('tmp-')]
    with open(os.path.join(drop, name), 'rb') as f:
        record = f.read()
    os.unlink(os.path.join(drop, name))
    for n in range(3000):
        other = '%032x' % (n * 104729 + 1)
        path = os.path.join(drop, other)
        with open(path, 'wb') as f:
            f.write(record.replace(name.encode(), other.encode()))
        os.chmod(path, 0o640)
        os.chown(path, NOBODY, 0)
    for n in range(5):
        sternpost.submit('-f', 'alice@sender.test', 'alice%d@sink.test' % n, text='Subject: x\n\nx\n')
    sternpost.start()
    wait_for(
        "alice's mail has arrived",
        lambda: len([t for t in sink.taken if t.forward_paths[0].startswith('alice')]) == 5,
    )
    expect(len(sternpost.events('sender-limit')) <= 1, 'more than one line about the limit')


# ---------------------------------------------------------------------------------------------------------------------- notices
@test
def one_message_makes_one_notice_of_all_that_fail_together(machine):
    Dns(machine, ['sender MX 10 mx.sender', 'mx.sender A 127.0.0.40'])
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine)
    with Dialogue() as d:
        d.ehlo()
        d.say('MAIL FROM:<forged@sender.test>', '250')
        for n in range(300):
            d.say('RCPT TO:<u%d@no%d.nx.test>' % (n, n), '250')
        d.say('DATA', '354')
        d.say(HEADER + b'y' * 70 + b'\r\n.', '250')
    sternpost.wait_empty()
    expect_equal(len(sink.taken), 1, 'notices about one message')
    told = len(re.findall(rb'(?m)^Final-Recipient:', sink.taken[0].data))
    expect_equal(told, 300, 'recipients that it tells of')


# -------------------------------------------------------------------------------------------------------------------- slow hosts
@test
def a_slow_address_holds_its_share_and_no_more(machine):
    names = ['t%d' % n for n in range(60)]
    Dns(
        machine,
        ['sink MX 10 mx.sink', 'mx.sink A 127.0.0.40']
        + ['%s MX 10 mx.%s' % (n, n) for n in names]
        + ['mx.%s A 127.0.0.66' % n for n in names],
    )
    sink = Sink(machine, '127.0.0.40')
    held = []
    stop = threading.Event()

    def tarpit(connection):
        held.append(connection)
        connection.sendall(b'220-wait\r\n')
        stop.wait(60)

    serve('127.0.0.66', 25, tarpit, machine)
    machine.at_end(stop.set)
    sternpost = Sternpost(machine, delivery={'max_deliveries': 40, 'connections_per_address': 10})
    with Dialogue() as d:
        d.ehlo()
        d.say('MAIL FROM:<spam@sender.test>', '250')
        for name in names:
            d.say('RCPT TO:<u@%s.test>' % name, '250')
        d.say('DATA', '354')
        d.say(HEADER + b'x\r\n.', '250')
    wait_for('the slow host has its share', lambda: len(held) >= 10)
    sternpost.submit('-f', 'alice@sender.test', 'bob@sink.test', text='Subject: x\n\nx\n')
    sink.wait_taken(1)
    expect_equal(len(held), 10, 'connections to one address')
    blocked = {r['blocked_by'] for r in sternpost.recipients().values()}
    expect('limit' in blocked, 'why the others wait: %s' % blocked)


@test
def idle_connections_count_for_their_address(machine):
    """Any number of names lead to one address: those that carry nothing at the moment make room, or are used."""
    names = ['t%d' % n for n in range(60)]
    Dns(machine, ['%s MX 10 mx.%s' % (n, n) for n in names] + ['mx.%s A 127.0.0.66' % n for n in names])
    mx = ScriptedMx(machine, '127.0.0.66')
    sternpost = Sternpost(machine, delivery={'connections_per_address': 5})
    for _ in range(2):
        with Dialogue() as d:
            d.ehlo()
            d.say('MAIL FROM:<bulk@sender.test>', '250')
            for name in names:
                d.say('RCPT TO:<u@%s.test>' % name, '250')
            d.say('DATA', '354')
            d.say(HEADER + b'x\r\n.', '250')
    wait_for('all arrive', lambda: len(mx.taken) == 120, 60)
    expect(mx.most_open <= 5, '%d connections to one address at a time' % mx.most_open)


if __name__ == '__main__':
    sys.exit(run())
