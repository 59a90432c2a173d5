#!/usr/bin/python3
"""kill -9, again and again, under load: what got its 250, or its exit 0, arrives (SMTP-40, DESIGN: the promise).

A kill alone proves no sync, since the kernel keeps what was written: test_sync_trace.py looks at that."""
import collections
import re
import sys
import threading
import time

from kill_run import KillRun, judged, summary
from machine import Failure, expect_equal, run, wait_for, test
from peers import Dns, Sink
from sternpost import Dialogue, Sternpost

MESSAGES, THREADS, KILLS = 2000, 8, 10
DEADLINE = 150  # for the injection of all, kills included


class Injector(threading.Thread):
    """Sends its share of the messages. What is not acknowledged is sent again under a new number of its own: the old one may
    arrive or not, and only what was acknowledged must."""

    def __init__(self, test, numbers):
        super().__init__(daemon=True)
        self.test, self.numbers, self.tries = test, numbers, 0

    def run(self):
        dialogue = None
        for number in self.numbers:
            while not self.test.give_up.is_set():
                self.tries += 1
                name = '%d.%d' % (number, self.tries)
                try:
                    if dialogue is None:
                        dialogue = Dialogue(timeout=30)
                        dialogue.ehlo()
                    # Most messages are small; some are large enough for a body file of their own.
                    body = b'x' * 76 + b'\r\n'
                    body *= 2000 if number % 200 == 7 else 10
                    dialogue.message(
                        'a@sender.test',
                        ['u@sink.test'],
                        b'From: <a@sender.test>\r\nX-Number: %s\r\n\r\n%sEND %s\r\n'
                        % (name.encode(), body, name.encode()),
                    )
                except (OSError, Failure) as e:
                    self.test.refused[str(e)[:60]] += 1
                    if dialogue:
                        dialogue.close()
                    dialogue = None
                    time.sleep(0.02)  # the daemon is down: asks again, not as fast as it can
                    continue
                self.test.acknowledged.append(name)
                break
        if dialogue:
            dialogue.close()


class Load:
    def __init__(self):
        self.acknowledged, self.refused, self.give_up = [], collections.Counter(), threading.Event()
        self.threads = [Injector(self, range(i, MESSAGES, THREADS)) for i in range(THREADS)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def finish(self, seconds):
        try:
            wait_for('all messages are acknowledged', lambda: not any(t.is_alive() for t in self.threads), seconds)
        finally:
            self.give_up.set()


def number_of(data):
    """The name of a message, from both of its ends: one that was cut is none."""
    head, tail = re.search(rb'(?m)^X-Number: (\S+)\r$', data), re.search(rb'(?m)^END (\S+)\r\n\Z', data)
    if not head or not tail or head[1] != tail[1]:
        raise Failure('a message arrived damaged: %r … %r' % (data[:300], data[-80:]))
    return head[1].decode()


def sound(sternpost):
    """The doctor finds nothing wrong in what so many kills have left."""
    found = sternpost.ask('doctor', '--spool')['findings']
    expect_equal(found, [], 'findings of the doctor')


@test
def nothing_acknowledged_is_lost_over_ten_kills(machine):
    Dns(machine, ['sink MX 10 mx.sink', 'mx.sink A 127.0.0.40'])
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine)
    load = Load()
    load.start()
    slowest = 0.0
    for kill in range(KILLS):
        # Spread over the injection, so that each kill falls into the middle of work.
        wait_for(
            'enough was acknowledged before kill %d' % (kill + 1),
            lambda: len(load.acknowledged) >= (kill + 1) * MESSAGES // (KILLS + 1),
            DEADLINE,
        )
        sternpost.kill()
        started = time.monotonic()
        if kill % 3 == 2:  # and once more, in the middle of the recovery
            sternpost.launch()
            wait_for(
                'the daemon says that it starts', lambda: sternpost.process.must_run() and sternpost.events('start')
            )
            sternpost.kill()
        sternpost.start()
        slowest = max(slowest, time.monotonic() - started)
    load.finish(DEADLINE)
    expect_equal(len(load.acknowledged), MESSAGES, 'messages acknowledged')

    def missing():
        arrived = {number_of(t.data) for t in list(sink.taken)}
        return [n for n in load.acknowledged if n not in arrived]

    try:
        wait_for('all that was acknowledged has arrived', lambda: not missing(), 60, every=0.5)
    except Failure:
        lost, queued = missing(), sternpost.recipients()
        raise Failure(
            '%d acknowledged messages did not arrive (%s …); %d recipients are still queued: %s'
            % (len(lost), ', '.join(lost[:5]), len(queued), list(queued.values())[:1])
        ) from None
    sternpost.wait_empty()
    arrived = collections.Counter(number_of(t.data) for t in sink.taken)
    twice = sum(n - 1 for n in arrived.values())
    expect_equal(
        {(t.reverse_path, t.forward_paths) for t in sink.taken}, {('a@sender.test', ('u@sink.test',))}, 'envelopes'
    )
    extra = len(set(arrived) - set(load.acknowledged))
    print(
        '      %d acknowledged, all arrived; %d duplicates, %d that never got their 250 arrived too; %d kills, slowest '
        'restart %.2f s' % (MESSAGES, twice, extra, KILLS + KILLS // 3, slowest)
    )
    sternpost.stop()


@test
def what_sendmail_took_is_not_lost_when_the_daemon_is_killed(machine):
    """Exit 0 of sendmail is the same promise, whether the socket or the maildrop took the message, and the 128-bit id keeps a
    message single whose socket was lost after the commit (CLI-25)."""
    Dns(machine, ['sink MX 10 mx.sink', 'mx.sink A 127.0.0.40'])
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine)
    done, stop = [], threading.Event()

    def submit(thread):
        number = 0
        while not stop.is_set():
            number += 1
            name = '%d-%d' % (thread, number)
            result = sternpost.sendmail(
                '-f', 'a@sender.test', 'u@sink.test', text='X-Number: %s\n\nEND %s\n' % (name, name)
            )
            if result.code == 0:
                done.append(name)

    threads = [threading.Thread(target=submit, args=(i,), daemon=True) for i in range(3)]
    for thread in threads:
        thread.start()
    try:
        for kill in range(4):
            seen = len(done)
            wait_for('sendmail works before kill %d' % (kill + 1), lambda: len(done) >= seen + 15, 30)
            sternpost.kill()
            seen = len(done)
            wait_for('sendmail works while the daemon is down', lambda: len(done) >= seen + 6, 30)
            sternpost.start()
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)

    def missing():
        arrived = {number_of(t.data) for t in list(sink.taken)}
        return [n for n in done if n not in arrived]

    try:
        wait_for('all arrived', lambda: not missing(), 30, every=0.2)
    except Failure:
        raise Failure('%d of %d did not arrive: %s …' % (len(missing()), len(done), missing()[:5])) from None
    sternpost.wait_empty()
    arrived = collections.Counter(number_of(t.data) for t in sink.taken)
    accepted = collections.defaultdict(set)
    for t in sink.taken:
        accepted[number_of(t.data)].add(re.search(rb'\bid (\w+)', t.data)[1])
    expect_equal(
        [n for n, ids in accepted.items() if len(ids) > 1], [], 'submissions accepted under more than one queue id'
    )
    print(
        '      %d taken by sendmail, all arrived; %d duplicates' % (len(done), sum(n - 1 for n in arrived.values()))
    )
    sound(sternpost)
    sternpost.stop()
    sound(sternpost)


@test
def nothing_is_lost_at_the_worst_moments(machine):
    """The short form of kill_run.py, which says what the moments are."""
    result = KillRun(machine, kills=14, seed=None).run()
    for line in summary(result):
        print('      ' + line)
    judged(result)


if __name__ == '__main__':
    sys.exit(run(peers=True))
