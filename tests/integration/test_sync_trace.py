#!/usr/bin/python3
"""What the kernel was asked to do, in order: before each 250 after a final dot, and before each `ok` to sendmail, the record is
written to the journal and synced, and so is the directory that names a new file (SMTP-40, doc/design.md: the promise)."""
import bisect
import collections
import os
import re
import subprocess
import sys
import threading

from machine import Failure, expect, expect_equal, run, wait_for, test
from peers import Dns
from sternpost import Dialogue, Sternpost, clean_environment, program

WRITES = ('write', 'writev', 'pwrite64', 'pwritev', 'pwritev2')
SENDS = WRITES + ('sendto', 'sendmsg')
CREATIONS = ('openat', 'rename', 'renameat', 'renameat2', 'link', 'linkat', 'mkdir', 'mkdirat')
STRACE = [
    'strace',
    '-D',
    '-f',
    '-y',
    '-q',
    '-s',
    '70000',
    '-e',
    'signal=none',
    '-e',
    'trace=fdatasync,fsync,sync_file_range,exit_group,' + ','.join(SENDS + CREATIONS),
]

Call = collections.namedtuple('Call', 'begin end name path text result')


class Trace:
    """The system calls of one strace log, in the order in which the kernel saw their begin and their end."""

    def __init__(self, path):
        self.calls, open_calls = [], {}
        with open(path, errors='replace') as f:
            for index, line in enumerate(f):
                pid, _, rest = line.rstrip('\n').partition(' ')
                rest = rest.lstrip()
                resumed = re.match(r'<\.\.\. (\w+) resumed>(.*)', rest)
                if resumed:
                    begin, head = open_calls.pop(pid)
                    self._add(begin, index, head + resumed[2])
                elif rest.endswith('<unfinished ...>'):
                    open_calls[pid] = index, rest[: -len('<unfinished ...>')]
                else:
                    self._add(index, index, rest)
        self.calls.sort(key=lambda c: c.begin)

    def _add(self, begin, end, text):
        match = re.match(r'(\w+)\((.*)\)\s+= (-?\d+)', text)
        if not match:
            return
        name, arguments = match[1], match[2]
        if name in CREATIONS:
            quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', arguments)
            path = quoted[-1] if quoted else ''  # of a rename or link: the new name
        else:
            descriptor = re.match(r'\d+<(.*?)>[,)]?', arguments + ')')
            path = descriptor[1] if descriptor else ''
        self.calls.append(Call(begin, end, name, path, arguments, int(match[3])))

    def find(self, names, path, text='', after=-1, before=1 << 60):
        """Calls of that kind that were begun after, and done before, these places in the log."""
        names = (names,) if isinstance(names, str) else names
        start = bisect.bisect_right(self.calls, after, key=lambda c: c.begin)
        return [
            c
            for c in self.calls[start:]
            if c.name in names and c.end < before and c.result >= 0 and re.search(path, c.path) and text in c.text
        ]

    def created(self, path):
        """The first appearances of files under such names: {path: call}."""
        found = {}
        for c in self.find(CREATIONS, path):
            if c.name != 'openat' or 'O_CREAT' in c.text:
                found.setdefault(c.path, c)
        return found


def acknowledgements(trace):
    """[(queue id, call)] of every promise given: 250 to a client, ok to sendmail."""
    given = []
    for c in trace.find(SENDS, r'^(socket|TCP|UNIX|UNIX-STREAM)?:?'):
        if re.search(r'\.seg$|\.log$|/bodies/', c.path):
            continue
        given += [(qid, c) for qid in re.findall(r'250 2\.0\.0 (\S+) queued', c.text)]
        given += [(qid, c) for qid in re.findall(r'"ok ([0-9A-Za-z]+)\\n"', c.text)]
    return given


def synced(trace, journal_writes, promise, what):
    """That each of these writes was followed by a finished sync of its segment before the promise was sent."""
    for write in journal_writes:
        if not trace.find(
            ('fdatasync', 'fsync'), '^%s$' % re.escape(write.path), after=write.end, before=promise.begin
        ):
            raise Failure(
                '%s: no sync of %s between its write (line %d of the trace) and the promise (line %d)'
                % (what, write.path, write.begin + 1, promise.begin + 1)
            )


def check_directories(trace, state, promises):
    """Every new segment, body file, database and folder was in a synced directory before the first promise that needs it. No
    promise needs history/: it is made from the journal, whose segments stay until its files are synced."""
    checked = 0
    for path, creation in trace.created(
        r'^%s(?:/.*)?(\.seg|\.db|\.sqlite\d?|/journal|/bodies|/bodies/[^/]+)$' % re.escape(state)
    ).items():
        if path.startswith(state + '/history/'):
            continue
        if path.endswith('.seg'):
            uses = trace.find(WRITES, '^%s$' % re.escape(path))
            if creation.name == 'openat':
                uses = uses[1:]  # the first write is its header; a spare file has it before it has its name
            needs = [p for _, p in promises if any(u.end < p.begin for u in uses)]
        elif '/bodies/' in path:
            needs = [p for _, p in promises if p.begin > creation.end]
        else:
            needs = [p for _, p in promises]
        if not needs:
            continue
        folder = os.path.dirname(path)
        first = min(p.begin for p in needs)
        if not trace.find(('fsync', 'fdatasync'), '^%s$' % re.escape(folder), after=creation.end, before=first):
            raise Failure(
                '%s was created (line %d of the trace), and its directory not synced before the promise in line %d'
                % (path, creation.begin + 1, first + 1)
            )
        checked += 1
    return checked


def traced(machine, **options):
    """A daemon under strace. The recipients' domain cannot be resolved: mail stays in the queue."""
    Dns(machine)
    sternpost = Sternpost(machine, start=False, **options)
    # The trace goes beside the state, not into it.
    sternpost.start(before=[*STRACE, '-o', machine.path('trace')], seconds=60)
    return sternpost


def finish(machine, sternpost):
    pid = sternpost.process.pid
    sternpost.stop()
    path = machine.path('trace')

    def complete():
        with open(path, errors='replace') as f:
            return re.search(r'(?m)^%d +(exit_group|\+\+\+ exited)' % pid, f.read())

    wait_for('strace has written all', complete, 20, every=0.1)
    return Trace(path)


def body(size, mark):
    line = b'x' * 70 + b'\r\n'
    return (
        b'From: <a@sender.test>\r\nSubject: sync\r\n\r\n'
        + line * (size // len(line))
        + b'END-'
        + mark.encode()
        + b'\r\n'
    )


def state_of(sternpost):
    return os.path.realpath(sternpost.options['state_dir'])


@test
def every_250_comes_after_a_sync_of_its_record(machine):
    sternpost = traced(machine)
    lone, threads, each = 10, 6, 10
    with Dialogue(timeout=60) as d:
        d.ehlo()
        for number in range(lone):
            d.message('a@sender.test', ['u@bogus.test'], body(700, 'lone-%d.' % number))

    failures = []

    def inject(thread):
        try:
            with Dialogue(timeout=60) as d:
                d.ehlo()
                for number in range(each):
                    d.message('a@sender.test', ['u@bogus.test'], body(700, '%d-%d.' % (thread, number)))
        except Exception as e:
            failures.append(repr(e))

    injectors = [threading.Thread(target=inject, args=(i,)) for i in range(threads)]
    for t in injectors:
        t.start()
    for t in injectors:
        t.join(60)
    expect_equal(failures, [], 'injection')
    sternpost.submit('-f', 'a@sender.test', 'u@bogus.test', text='Subject: local\n\nEND-local.\n')
    trace = finish(machine, sternpost)

    promises = acknowledgements(trace)
    expect_equal(len(promises), lone + threads * each + 1, 'promises seen in the trace')
    expect_equal(len({qid for qid, _ in promises}), len(promises), 'different queue ids')
    for qid, promise in promises:
        # The Received field names the queue id, so the record can be told from others in its batch.
        writes = trace.find(WRITES, r'/journal/[^/]+\.seg$', text='id ' + qid, before=promise.begin)
        expect(
            writes,
            'the record of %s was not written to the journal before its 250 (line %d of the trace)'
            % (qid, promise.begin + 1),
        )
        expect(
            'END-' in writes[0].text
            or trace.find(WRITES, r'\.seg$', text='END-', after=writes[0].begin - 1, before=promise.begin),
            'the end of the body of %s was not written before its 250' % qid,
        )
        synced(trace, writes, promise, 'message ' + qid)
    expect(
        check_directories(trace, state_of(sternpost), promises) >= 1,
        'no new segment or database in the trace: the test cannot tell',
    )
    first, last = min(p.begin for _, p in promises[lone:]), max(p.begin for _, p in promises)
    syncs = len(trace.find('fdatasync', r'\.seg$', after=first, before=last))
    print(
        '      %d promises, each after its sync; %d syncs of the journal for %d messages of %d clients'
        % (len(promises), syncs, threads * each, threads)
    )


@test
def a_new_segment_is_in_a_synced_directory_before_it_is_relied_on(machine):
    """Enough mail to fill a segment (16 MiB): the second one is created under way."""
    sternpost = traced(machine)
    count = 290
    with Dialogue(timeout=60) as d:
        d.ehlo()
        for number in range(count):
            d.message('a@sender.test', ['u@bogus.test'], body(60_000, '%d.' % number))
    trace = finish(machine, sternpost)
    promises = acknowledgements(trace)
    expect_equal(len(promises), count, 'promises seen in the trace')
    segments = trace.created(r'/journal/[^/]+\.seg$')
    expect(len(segments) >= 2, 'only %d segment was created: the test cannot tell' % len(segments))
    for qid, promise in promises:
        writes = trace.find(WRITES, r'/journal/[^/]+\.seg$', text='id ' + qid, before=promise.begin)
        expect(writes, 'the record of %s was not written before its 250' % qid)
        synced(trace, writes, promise, 'message ' + qid)
    check_directories(trace, state_of(sternpost), promises)
    print('      %d segments' % len(segments))


@test
def a_large_body_is_synced_in_its_own_file_first(machine):
    sternpost = traced(machine)
    count = 4
    with Dialogue(timeout=60) as d:
        d.ehlo()
        for number in range(count):
            d.message('a@sender.test', ['u@bogus.test'], body(300_000, 'large-%d.' % number))
    trace = finish(machine, sternpost)
    promises = acknowledgements(trace)
    expect_equal(len(promises), count, 'promises seen in the trace')
    expect_equal(len(trace.created(r'/bodies/[^/]+$')), count, 'body files')
    before = -1
    for number, (qid, promise) in enumerate(promises):
        writes = trace.find(WRITES, r'/bodies/[^/]+$', after=before, before=promise.begin)
        expect(
            any('END-large-%d.' % number in w.text for w in writes),
            'the end of the body of %s was not written before its 250' % qid,
        )
        synced(trace, writes[-1:], promise, 'body of ' + qid)
        file_sync = trace.find(('fdatasync', 'fsync'), '^%s$' % re.escape(writes[-1].path), after=writes[-1].end)[0]
        record = trace.find(WRITES, r'/journal/[^/]+\.seg$', after=writes[-1].end, before=promise.begin)
        expect(record, 'no record in the journal for ' + qid)
        expect(
            file_sync.end < record[-1].begin
            or trace.find('fdatasync', r'\.seg$', after=max(file_sync.end, record[-1].end), before=promise.begin),
            'the record of %s was made durable before its body' % qid,
        )
        synced(trace, record[-1:], promise, 'record of ' + qid)
        before = promise.begin
    check_directories(trace, state_of(sternpost), promises)


@test
def sendmail_leaves_a_synced_file_in_a_synced_maildrop(machine):
    """Exit 0 while the daemon is down: file, then name, then directory (CLI-25)."""
    sternpost = Sternpost(machine, start=False)
    variables = {
        'STERNPOST_SOCKET': sternpost.options['submit_socket'],
        'STERNPOST_MAILDROP': sternpost.options['maildrop_dir'],
    }
    done = subprocess.run(
        [
            *[a for a in STRACE if a != '-D'],
            '-o',
            machine.path('trace'),
            program('sendmail'),
            '-f',
            'a@sender.test',
            'u@bogus.test',
        ],
        input=b'Subject: drop\n\nEND-drop.\n',
        capture_output=True,
        env=clean_environment(**variables),
        timeout=60,
    )
    expect_equal(done.returncode, 0, 'exit code of sendmail (%s)' % done.stderr.decode())
    trace = Trace(machine.path('trace'))
    drop = os.path.realpath(sternpost.options['maildrop_dir'])
    names = [n for n in os.listdir(drop) if re.fullmatch('[0-9a-f]{32}', n)]
    expect_equal(len(names), 1, 'files in the maildrop (%s)' % os.listdir(drop))
    moves = trace.find(('rename', 'renameat', 'renameat2', 'link', 'linkat'), names[0])
    expect_equal(len(moves), 1, 'renames to the final name')
    writes = trace.find(WRITES, '^%s/' % re.escape(drop), before=moves[0].begin)
    expect(any('END-drop.' in w.text for w in writes), 'the message was not written before it got its name')
    expect(
        trace.find(
            ('fsync', 'fdatasync'), '^%s$' % re.escape(writes[-1].path), after=writes[-1].end, before=moves[0].begin
        ),
        'the file was not synced before it got its name',
    )
    expect(
        trace.find('fsync', '^%s$' % re.escape(drop), after=moves[0].end), 'the maildrop was not synced before exit 0'
    )


if __name__ == '__main__':
    sys.exit(run(peers=True))
