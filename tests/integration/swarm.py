#!/usr/bin/python3
"""A load that outlives its relay: many SMTP clients and the MX hosts behind the relay in one process, which knows of every message
whether it was acknowledged and when it arrived.

usage: swarm.py FOLDER --relay ADDRESS:PORT --mx ADDRESS:PORT [--late ADDRESS:PORT] [options]

Clients keep `--connections` sessions, pipeline, and connect again when the relay has gone; a number is used once, whatever became of
it. No more than `--window` messages are acknowledged and not arrived, so that the relay's queue stays of one size. Every `--large`-th
message has 100 KB. With --late the first 25 of every 2,500 have a second recipient at late.bench.test, whose host answers 450 to
RCPT until SIGUSR1 comes. SIGTERM: no new messages. SIGINT: the end, at once.

FOLDER/status is a JSON object, written anew five times a second. At the end FOLDER/ledger.json:
  given       numbers handed out: 0 to given - 1
  accepted    numbers that got their 250
  late        numbers that have the second recipient
  refused     {reply code: how often}; 0: the connection ended before any octet of the message had gone
  arrivals    [[number, when, when its session began], …] at --mx, in order; ns of CLOCK_MONOTONIC
  late_arrivals  numbers at --late, in order
  damaged     what arrived and was not, octet by octet, what was sent
"""
import argparse
import collections
import errno
import json
import os
import re
import select
import signal
import socket
import sys
import time

LINE = b'The quick brown fox jumps over the lazy dog, and then it does so again, ad libitum.\r\n'
SMALL, LARGE = LINE * 140, LINE * 1200
NUMBER = re.compile(rb'(?m)^X-Number: (\d+)\r$')
PAUSE = 0.01  # before a client that was turned away comes again


def text_of(number, large):
    """The message, without the final dot."""
    return (
        b'X-Number: %d\r\nFrom: <a@sender.test>\r\nTo: <u@bench.test>\r\nDate: Tue, 01 Sep 2026 12:00:00 +0000\r\n'
        b'Message-ID: <%d@sender.test>\r\n\r\n%sEND %d\r\n' % (number, number, LARGE if large else SMALL, number)
    )


def address(text):
    host, _, port = text.rpartition(':')
    return host, int(port)


class Swarm:
    def __init__(self, settings):
        self.settings = settings
        self.epoll, self.ends = select.epoll(), {}
        self.given, self.refused, self.damaged = 0, collections.Counter(), []
        self.accepted, self.arrived, self.late = set(), set(), set()
        self.arrivals, self.late_arrivals = [], []
        self.waiting, self.idle = [], []  # clients: (when to connect, client) in order of time; without a message
        self.late_open, self.ending, self.over = False, False, False

    def large(self, number):
        return self.settings.large and number % self.settings.large == self.settings.large - 1

    def may_send(self):
        return not self.ending and len(self.accepted) - len(self.arrived) < self.settings.window

    def watch(self, end, events):
        self.ends[end.socket.fileno()] = end
        self.epoll.register(end.socket.fileno(), events)

    def forget(self, end):
        del self.ends[end.socket.fileno()]
        self.epoll.unregister(end.socket.fileno())
        end.socket.close()

    def run(self):
        def on_signal(number, _):
            self.late_open = self.late_open or number == signal.SIGUSR1
            self.ending = self.ending or number == signal.SIGTERM
            self.over = self.over or number == signal.SIGINT

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, on_signal)
        Listener(self, address(self.settings.mx), False)
        if self.settings.late:
            Listener(self, address(self.settings.late), True)
        clients = [Client(self) for _ in range(self.settings.connections)]
        next_status = 0.0
        while not self.over:
            now = time.monotonic()
            if now >= next_status:
                self.write_status()
                next_status = now + 0.2
            while self.waiting and self.waiting[0][0] <= now:
                self.waiting.pop(0)[1].connect()
            while self.idle and self.may_send():
                self.idle.pop().begin()
            for fd, events in self.epoll.poll(PAUSE):
                end = self.ends.get(fd)
                if end is not None:
                    end.on_event(events)
            # With no message open at any client, nobody is owed an answer; MX sessions go on until SIGINT.
            if self.ending and all(c.open is None for c in clients):
                for client in clients:
                    client.close()
                self.waiting = []
        self.write_ledger()

    def write(self, name, value):
        path = os.path.join(self.settings.folder, name)
        with open(path + '.new', 'w') as f:
            json.dump(value, f)
        os.rename(path + '.new', path)

    def write_status(self):
        open_messages = sum(end.open is not None for end in list(self.ends.values()))
        status = {
            'given': self.given,
            'accepted': len(self.accepted),
            'missing': len(self.accepted - self.arrived) if self.ending else None,
            'late_missing': len(self.late & self.accepted - set(self.late_arrivals)) if self.ending else None,
            'open': open_messages,
            'ending': self.ending,
            'late_open': self.late_open,
        }
        self.write('status', status)

    def write_ledger(self):
        ledger = {
            'given': self.given,
            'accepted': sorted(self.accepted),
            'late': sorted(self.late),
            'refused': dict(self.refused),
            'arrivals': self.arrivals,
            'late_arrivals': self.late_arrivals,
            'damaged': self.damaged,
        }
        self.write('ledger.json', ledger)


class End:
    """One side of one connection."""

    open = None

    def __init__(self, swarm):
        self.swarm, self.socket, self.into, self.out = swarm, None, b'', []

    def flush(self):
        """False: the connection is gone."""
        if not self.out:
            return True
        octets = b''.join(self.out)
        self.out = []
        try:
            sent = self.socket.send(octets)
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        events = select.EPOLLIN
        if sent < len(octets):
            self.out = [octets[sent:]]
            events |= select.EPOLLOUT
        if events != self.events:
            self.events = events
            self.swarm.epoll.modify(self.socket.fileno(), events)
        return True

    def read(self):
        """False: the connection is gone."""
        try:
            more = self.socket.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.into += more
        return bool(more)


class Client(End):
    """`open`: the number of the message that is not answered yet; `octets`: whether some of it may have gone."""

    def __init__(self, swarm):
        super().__init__(swarm)
        self.later()

    def later(self):
        self.socket = None
        self.swarm.waiting.append((time.monotonic() + PAUSE, self))

    def close(self):
        if self.socket is not None:
            self.swarm.forget(self)
        self.socket = None

    def connect(self):
        self.into, self.out, self.open, self.octets, self.ready = b'', [], None, False, False
        self.expected = collections.deque(['greeting'])
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.socket.connect_ex(address(self.swarm.settings.relay)) not in (0, errno.EINPROGRESS):
            self.socket.close()
            return self.later()
        self.events = select.EPOLLIN
        self.swarm.watch(self, self.events)

    def on_event(self, _):
        if not self.read() or not self.digest() or not self.flush():
            self.lost()

    def lost(self):
        self.close()
        if self in self.swarm.idle:
            self.swarm.idle.remove(self)
        if self.open is not None and not self.octets:
            self.swarm.refused[0] += 1
        self.open = None
        self.later()

    def begin(self):
        """The next message's envelope, or none if it has to wait."""
        if not self.swarm.may_send():
            self.swarm.idle.append(self)
            return
        self.envelope()
        if not self.flush():
            self.lost()

    def envelope(self):
        number = self.open = self.swarm.given
        settings = self.swarm.settings
        self.swarm.given += 1
        self.octets = False
        self.good = True
        late = settings.late and number % 2500 < 25
        commands = b'MAIL FROM:<a@sender.test>\r\nRCPT TO:<u@d%d.bench.test>\r\n' % (number % settings.domains)
        self.expected += ['mail', 'rcpt']
        if late:
            self.swarm.late.add(number)
            commands += b'RCPT TO:<u@late.bench.test>\r\n'
            self.expected.append('rcpt')
        self.expected.append('data')
        self.out.append(commands + b'DATA\r\n')

    def digest(self):
        while b'\n' in self.into:
            line, self.into = self.into.split(b'\n', 1)
            if line[3:4] == b'-':
                continue
            try:
                code = int(line[:3])
            except ValueError:
                return False
            if not self.expected or not self.answer(self.expected.popleft(), code):
                return False
        return True

    def answer(self, to, code):
        swarm = self.swarm
        if code == 421:
            swarm.refused[code] += 1
            return False
        if to == 'greeting':
            self.out.append(b'EHLO swarm.test\r\n')
            self.expected.append('ehlo')
            return code == 220
        if to == 'ehlo':
            if code == 250:
                self.begin()
            return code == 250
        if to in ('mail', 'rcpt'):
            if code != 250 and self.good:
                swarm.refused[code] += 1
                self.good = False
        elif to == 'data':
            if code != 354:
                if self.good:
                    swarm.refused[code] += 1
                return False  # and again over a new connection, a little later
            self.out.append(text_of(self.open, swarm.large(self.open)) + b'.\r\n' if self.good else b'.\r\n')
            self.octets = self.good
            self.expected.append('dot')
        elif to == 'dot':
            if code == 250 and self.good:
                swarm.accepted.add(self.open)
            else:
                swarm.refused[code] += self.good
            self.open = None
            if code // 100 != 2:
                return False
            self.begin()
        return True


class Listener:
    open = None

    def __init__(self, swarm, where, late):
        self.swarm, self.late = swarm, late
        self.socket = socket.create_server(where, backlog=200)
        self.socket.setblocking(False)
        swarm.watch(self, select.EPOLLIN)

    def on_event(self, _):
        while True:
            try:
                connection = self.socket.accept()[0]
            except BlockingIOError:
                return
            Host(self.swarm, connection, self.late)


class Host(End):
    """One session of an MX host."""

    def __init__(self, swarm, connection, late):
        super().__init__(swarm)
        self.socket, self.late, self.events = connection, late, select.EPOLLIN
        self.in_data, self.searched, self.began = False, 0, time.monotonic_ns()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        swarm.watch(self, self.events)
        self.out.append(b'220 mx.bench.test ESMTP\r\n')
        if not self.flush():
            swarm.forget(self)

    def on_event(self, _):
        alive = self.read()
        going_on = self.digest()
        if not self.flush() or not alive or not going_on:
            self.swarm.forget(self)

    def digest(self):
        while True:
            if self.in_data:
                end = self.into.find(b'\r\n.\r\n', self.searched)
                if end < 0:
                    self.searched = max(len(self.into) - 4, 0)
                    return True
                self.take(self.into[: end + 2])
                self.into, self.in_data = self.into[end + 5 :], False
                continue
            end = self.into.find(b'\r\n')
            if end < 0:
                return True
            line, self.into = self.into[:end], self.into[end + 2 :]
            verb = line[:4].upper()
            if verb == b'DATA' and self.late and not self.swarm.late_open:
                self.out.append(b'554 5.5.1 no recipients\r\n')
            elif verb == b'DATA':
                self.out.append(b'354 go on\r\n')
                self.in_data, self.searched = True, 0
            elif verb == b'EHLO':
                self.out.append(b'250-mx.bench.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n')
            elif verb == b'QUIT':
                self.out.append(b'221 bye\r\n')
                return False
            elif verb == b'RCPT' and self.late and not self.swarm.late_open:
                self.out.append(b'450 4.2.1 not yet\r\n')
            elif verb in (b'MAIL', b'RCPT', b'RSET', b'NOOP', b'HELO'):
                self.out.append(b'250 ok\r\n')
            else:
                self.out.append(b'502 what\r\n')

    def take(self, data):
        swarm = self.swarm
        found = NUMBER.search(data)
        number = int(found[1]) if found else -1
        if number < 0 or not data.endswith(text_of(number, swarm.large(number))):
            swarm.damaged.append(data[:300].decode('latin-1') + ' … ' + data[-80:].decode('latin-1'))
        elif self.late:
            swarm.late_arrivals.append(number)
        else:
            swarm.arrivals.append((number, time.monotonic_ns(), self.began))
            swarm.arrived.add(number)
        self.out.append(b'250 taken\r\n')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('folder')
    parser.add_argument('--relay', required=True)
    parser.add_argument('--mx', required=True)
    parser.add_argument('--late')
    parser.add_argument('--large', type=int, default=400)
    parser.add_argument('--domains', type=int, default=4)
    parser.add_argument('--connections', type=int, default=20)
    parser.add_argument('--window', type=int, default=3000)
    Swarm(parser.parse_args()).run()


if __name__ == '__main__':
    sys.exit(main())
