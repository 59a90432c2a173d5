#!/usr/bin/python3
"""The listener against raw sockets: what a hostile, broken or merely odd client says, octet by octet, and what reaches the MX host.
A client that is served badly never costs another one its service."""
import email
import email.policy
import os
import re
import socket
import ssl
import stat
import struct
import subprocess
import sys
import threading

from machine import expect, expect_equal, run, wait_for, test
from peers import Authority, Dns, Sink, listens
from scripted import ScriptedMx
from sternpost import LISTENER, Dialogue, Sternpost, deliver

RECORDS = ['sink MX 10 mx.sink', 'mx.sink A 127.0.0.40']  # and bogus.test, whose look-ups fail: mail for it waits
HEADER = b'From: <a@sender.test>\r\nSubject: x\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <x@sender.test>\r\n\r\n'


def world(machine, **options):
    Dns(machine, RECORDS)
    return Sink(machine, '127.0.0.40'), Sternpost(machine, **options)


def body_of(taken):
    return taken.data.partition(b'\r\n\r\n')[2]


def nothing_but_crlf(octets):
    return not re.search(rb'(?<!\r)\n|\r(?!\n)', octets)


# --------------------------------------------------------------------------------------------------------------------- smuggling
# What other servers have taken for the end of data (SMTP-61; CVE-2023-51764 and its kin).
FALSE_ENDS = [
    b'\n.\n',
    b'\n.\r\n',
    b'\r\n.\n',
    b'\r.\r',
    b'\r.\r\n',
    b'\r\n.\r',
    b'\r\r\n.\r\r\n',
    b'\r\n\0.\r\n',
    b'\r\n.\0\r\n',
    b'\n\r.\n\r',
    b'\r\n. \r\n',
    b'\r\n..\r\n',
    b'\r.\n',
    b'\n.\r',
    b'\r\n\r.\r\n',
    b'\r\n.\r\r\n',
]


@test
def no_false_end_of_data_smuggles_a_second_message(machine):
    """In both roles: from a client whose mail is normalised, and from one whose bare line ends are refused (D-24, SMTP-62)."""
    sink, sternpost = world(
        machine,
        client=[{'network': '127.0.0.1/32', 'role': 'originate'}, {'network': '127.0.1.0/24', 'role': 'relay'}],
    )
    outcomes = []
    for source in ('127.0.0.1', '127.0.1.1'):
        for number, end in enumerate(FALSE_ENDS):
            with Dialogue(source=source) as d:
                d.ehlo()
                d.envelope('a@sender.test', 'u@sink.test')
                d.say('DATA', '354')
                forged = (
                    b'MAIL FROM:<forged@sender.test>\r\nRCPT TO:<victim@sink.test>\r\nDATA\r\nSubject: forged\r\n\r\nforged %d\r\n'
                    % number
                )
                d.send(HEADER + b'body' + end + forged + b'.\r\n')
                code, lines = d.reply()
                outcomes.append(code)
                expect(code in (250, 550, 554), '%r from %s: %d %s' % (end, source, code, lines))
                d.say('NOOP', '250 2.0.0')  # exactly one reply: the session is where we think it is
                d.say('QUIT', '221')
                if source == '127.0.1.1' and not nothing_but_crlf(b'body' + end):
                    expect_equal(code // 100, 5, '%r in the role of a relay' % end)
    taken = outcomes.count(250)
    sink.wait_taken(taken)
    sternpost.wait_empty()
    expect_equal(len(sink.taken), taken, 'messages at the sink')
    for t in sink.taken:
        expect_equal(
            (t.reverse_path, t.forward_paths), ('a@sender.test', ('u@sink.test',)), 'envelope of what arrived'
        )
        expect(nothing_but_crlf(t.data), 'a bare CR or LF went out: %r' % t.data[-200:])
        expect(b'\0' not in t.data, 'a NUL went out')
    print('      %d forms, %d taken as one message, %d refused' % (len(outcomes), taken, len(outcomes) - taken))


@test
def mail_of_real_programs_is_corrected_before_it_is_sent(machine):
    """Cron's addresses, raw UTF-8 in the header, doubled CRs, an mbox line and lines that are too long (D-22, D-42, D-43, D-44)."""
    sink, sternpost = world(
        machine,
        client=[{'network': '127.0.0.1/32', 'role': 'originate'}, {'network': '127.0.1.0/24', 'role': 'relay'}],
    )
    long_line = b'<p>' + b'x' * 2000 + b'</p>'
    rough = (
        b'From ann Mon Nov 23 12:00:00 2026\r\nFrom: root (Cron Daemon)\r\nTo: "J\xc3\xb6rg, A" <u@sink.test>, bob\r\r\n'
        b'Subject: best\xc3\xa4tigt w\xf6rld\r\nContent-Type: text/html; charset=utf-8\r\n\r\n' + long_line + b'\r\n'
    )
    def send(source, path):
        with Dialogue(source=source) as d:
            d.ehlo()
            d.envelope('ann@sender.test', path)
            d.say('DATA', '354')
            d.send(rough + b'.\r\n')
            code, lines = d.reply()
            d.say('QUIT', '221')
            return code, lines
    expect_equal(send('127.0.0.1', 'a@sink.test')[0], 250, 'reply to an originating client')
    done = sternpost.sendmail('-f', 'ann@sender.test', 'b@sink.test', text=rough)
    expect_equal(done.code, 0, 'sendmail: ' + done.err)
    relayed = rough.partition(b'\r\n')[2].replace(b'\r\r\n', b'\r\n')
    rough = relayed
    expect_equal(send('127.0.1.1', 'c@sink.test')[0], 250, 'reply to a relay')
    sink.wait_taken(3)
    by_path = {t.forward_paths[0]: t.data for t in sink.taken}
    expect(by_path['c@sink.test'].endswith(relayed), 'what was relayed is not the same: %r' % by_path['c@sink.test'])
    for path in ('a@sink.test', 'b@sink.test'):
        data = by_path[path]
        head = data.partition(b'\r\n\r\n')[0]
        expect(head.isascii() and nothing_but_crlf(data), '%s: %r' % (path, head))
        expect(max(map(len, data.split(b'\r\n'))) <= 998, path + ': a line is too long')
        read = email.message_from_bytes(data, policy=email.policy.default)
        expect_equal(read['Subject'], 'best\u00e4tigt w\u00f6rld', path)
        expect(b'\r\nFrom: root@relay.test (Cron Daemon)\r\n' in data, '%s: %r' % (path, head))
        expect_equal(
            [(a.display_name, a.addr_spec) for a in read['To'].addresses],
            [('J\u00f6rg, A', 'u@sink.test'), ('', 'bob@relay.test')],
            path,
        )
        expect_equal(read.get_content().rstrip('\r\n').encode(), long_line, path + ': the text')
    expect_equal(
        sorted(event['repaired'] for event in sternpost.events('accept')),
        ['encoded,latin1,qualified,lines', 'encoded,latin1,qualified,lines', 'none'],
        'what the log says was corrected',
    )
    for kind in ('signed', 'encrypted'):
        bad = b'From: a@sender.test\r\nContent-Type: multipart/%s; boundary=b\r\n\r\n--b\r\n\r\n%s\r\n--b--\r\n' % (
            kind.encode(),
            long_line,
        )
        done = sternpost.sendmail('-f', 'ann@sender.test', 'd@sink.test', text=bad)
        expect(done.code == 65 and '5.6.0' in done.err, 'multipart/%s: exit %d: %s' % (kind, done.code, done.err))
    sternpost.wait_empty()


@test
def only_crlf_ends_a_command(machine):
    """SMTP-60: what follows a bare LF or CR is never carried out."""
    sink, sternpost = world(machine)
    for end in (b'\n', b'\r', b'\n\r', b'\r\r'):
        with Dialogue() as d:
            d.ehlo()
            d.send(b'NOOP' + end + b'NOOP' + end)
            d.socket.settimeout(1)
            try:
                code, _ = d.reply()
            except TimeoutError:
                code = None  # it waits for a CRLF: as good
            expect(code is None or code == 0 or code >= 400, 'NOOP ended by %r: %s' % (end, code))
    with Dialogue() as d:
        d.ehlo()
        d.send(b'MAIL FROM:<a@sender.test>\nRCPT TO:<u@sink.test>\nDATA\nSubject: x\n\nx\n.\nQUIT\r\n')
        while (reply := d.reply())[0]:
            expect(
                reply[0] >= 400 or reply[0] == 221, 'a command that a bare LF ended was carried out: %s' % (reply,)
            )
    sternpost.wait_empty()


# ------------------------------------------------------------------------------------------------------------ lines, octets, sizes
@test
def long_lines_and_odd_octets_end_in_a_reply_of_their_own(machine):
    sink, sternpost = world(machine)
    with Dialogue() as d:
        d.ehlo()
        d.say(b'NOOP ' + b'x' * 505, '250')  # 512 with its CRLF (SMTP-64)
        d.say(b'NOOP ' + b'x' * 20_000, '500 5.5.2')
        d.say('NOOP', '250')
        for command in (b'N\0OP', b'\xff\xfe', b'NOOP\0', b'', b' NOOP', b'MAIL', b'\x7f\x1b[2J'):
            d.send(command + b'\r\n')
            code, _ = d.reply()
            expect(500 <= code < 600 or (command == b'NOOP\0' and code == 250), '%r: %d' % (command, code))
        # The longest of everything that a server must take.
        local, domain = b'l' * 255, b'.'.join([b'd' * 63] * 3) + b'.' + b'e' * 48 + b'.sink.test'
        d.send(b'MAIL FROM:<' + local + b'@sender.test>\r\n')
        d.expect('250')
        d.send(b'RCPT TO:<' + local + b'@sink.test>\r\n')
        d.expect('250')
        d.send(b'RCPT TO:<u@' + domain[-250:] + b'>\r\n')
        d.expect('250')
        d.send(b'RCPT TO:<' + b'l' * 256 + b'@sink.test>\r\n')
        expect(d.reply()[0] in (500, 501, 553), 'a local-part of 300 octets')
        d.say('RSET', '250')
    # A million octets without a line end: memory stays bounded, others are served.
    with Dialogue() as d:
        d.ehlo()
        sender = threading.Thread(target=lambda: suppress(lambda: d.send(b'x' * 8_000_000)), daemon=True)
        sender.start()
        deliver(HEADER + b'meanwhile\r\n')
        sender.join(20)
    sink.wait_taken(1)
    # Lines of data: 998 octets as the standard allows, and very much longer ones, arrive whole or are refused, never broken.
    for length in (998, 5_000, 100_000):
        before = len(sink.taken)
        with Dialogue() as d:
            d.ehlo()
            d.envelope('a@sender.test', 'u@sink.test')
            d.say('DATA', '354')
            d.send(HEADER + b'y' * length + b'\r\n.\r\n')
            code, lines = d.reply()
        expect(
            code == 250 or (length > 998 and code // 100 == 5), 'a line of %d octets: %d %s' % (length, code, lines)
        )
        if code == 250:
            sink.wait_taken(before + 1)
            expect_equal(
                body_of(sink.taken[-1]).replace(b'=\r\n', b'').strip(),
                b'y' * length,
                'the line of %d octets' % length,
            )
    # NUL in data.
    with Dialogue() as d:
        d.ehlo()
        d.envelope('a@sender.test', 'u@sink.test')
        d.say('DATA', '354')
        d.send(HEADER + b'a\0b\r\n.\r\n')
        d.expect('55')
        d.say('NOOP', '250')
    sternpost.wait_empty()


def suppress(call):
    try:
        call()
    except OSError:
        pass


@test
def bare_line_ends_in_data_never_go_out(machine):
    """D-24: normalised for clients that originate mail, refused from relays; dots are kept apart from all that (SMTP-63)."""
    sink, sternpost = world(machine, client=[{'network': '127.0.1.0/24', 'role': 'relay'}])
    deliver(HEADER + b'one\ntwo\rthree\r\n..four\r\n...\r\n')
    sink.wait_taken(1)
    expect_equal(body_of(sink.taken[0]), b'one\r\ntwo\r\nthree\r\n.four\r\n..\r\n', 'what the sink took')
    for bad in (b'one\ntwo', b'one\rtwo'):
        with Dialogue(source='127.0.1.7') as d:
            d.ehlo()
            d.envelope('a@sender.test', 'u@sink.test')
            d.say('DATA', '354')
            d.send(HEADER + bad + b'\r\n.\r\n')
            d.expect('550 5.6.11')
            d.say('QUIT', '221')
    # From a relay, what is right goes through unchanged but for the trace (SMTP-54).
    octets = b'Received: from x by y; Mon, 23 Nov 2026 12:00:00 +0000\r\nSubject: no date\r\n\r\nx\r\n'
    with Dialogue(source='127.0.1.7') as d:
        d.ehlo()
        d.message('a@sender.test', ['u@sink.test'], octets)
    sink.wait_taken(2)
    trace, _, rest = sink.taken[1].data.partition(b'Received: from x')
    expect_equal(b'Received: from x' + rest, octets, 'what a relay\'s message became')
    expect(
        re.fullmatch(
            rb'Received: from client\.test \(.*\[127\.0\.1\.7\]\)(?:[^\n]|\n[ \t])*by relay\.test(?:[^\n]|\n[ \t])*with ESMTP(?:[^\n]|\n[ \t])*\r\n',
            trace,
        ),
        'the trace: %r' % trace,
    )


@test
def a_message_beyond_the_size_is_refused_and_the_session_goes_on(machine):
    """SMTP-75: declared at MAIL, undeclared after the dot."""
    limit = 100_000
    sink, sternpost = world(machine, listener={'max_message_size': limit})
    with Dialogue() as d:
        expect('SIZE %d' % limit in d.ehlo(), 'EHLO does not say SIZE %d' % limit)
        d.say('MAIL FROM:<a@sender.test> SIZE=%d' % (limit + 1), '552 5.3.4')
        d.envelope('a@sender.test', 'u@sink.test', parameters=' SIZE=%d' % limit)
        d.say('RSET', '250')
        for bad in ('SIZE=', 'SIZE=x', 'SIZE=-1', 'SIZE=' + '9' * 21):
            d.send('MAIL FROM:<a@sender.test> %s\r\n' % bad)
            code, _ = d.reply()
            expect(code in (501, 552, 555), '%s: %d' % (bad, code))
        d.envelope('a@sender.test', 'u@sink.test')
        d.say('DATA', '354')
        d.send(HEADER + (b'x' * 76 + b'\r\n') * (3 * limit // 78) + b'.\r\n')
        d.expect('552 5.3.4')
        d.message('a@sender.test', ['u@sink.test'], HEADER + b'small\r\n')
    sink.wait_taken(1)
    sternpost.wait_empty()
    expect_equal([body_of(t) for t in sink.taken], [b'small\r\n'], 'what arrived')


@test
def recipients_beyond_the_limit_are_asked_to_come_again(machine):
    """SMTP-65: the first ones are kept."""
    sink, sternpost = world(machine, listener={'max_recipients': 100})
    with Dialogue() as d:
        d.ehlo()
        d.say('MAIL FROM:<a@sender.test>', '250')
        for number in range(105):
            d.say('RCPT TO:<u%d@sink.test>' % number, '250' if number < 100 else '452 4.5.3')
        d.say('DATA', '354')
        d.send(HEADER + b'x\r\n.\r\n')
        d.expect('250')
    wait_for('all hundred arrive', lambda: sum(len(t.forward_paths) for t in sink.taken) >= 100)
    sternpost.wait_empty()
    expect_equal(
        sorted(p for t in sink.taken for p in t.forward_paths),
        sorted('u%d@sink.test' % n for n in range(100)),
        'recipients',
    )


# -------------------------------------------------------------------------------------------------------------------- permission
def address(machine, text):
    """One more address of this machine, beside loopback."""
    subprocess.run(['ip', 'addr', 'add', text + '/32', 'dev', 'lo'], check=True)
    machine.at_end(subprocess.run, ['ip', 'addr', 'del', text + '/32', 'dev', 'lo'])
    return text


TRICKS = [
    'u@sink.test',
    'u%sink.test@relay.test',
    'sink.test!u',
    'sink.test!u@relay.test',
    '@relay.test:u@sink.test',
    '"u@sink.test"@relay.test',
    'u@[127.0.0.40]',
    '"u@sink.test"',
    'u@sink.test@relay.test',
    'u',
]


@test
def a_sender_who_has_had_it_all_is_told_when_to_come_again(machine):
    """By SMTP, by sendmail and in the maildrop, each sender by itself."""
    sink, sternpost = world(
        machine,
        listener={'messages_per_minute_per_client': 3},
        sender=[
            {'match': '127.0.0.9', 'messages_per_minute': 0, 'recipients_per_hour': 2},
            {'match': 'user:%d' % os.getuid(), 'messages_per_minute': 2},
        ],
    )

    def tries(source, count, recipients=('u@bogus.test',)):
        """The refusal of the first of so many messages that is refused."""
        with Dialogue(source=source) as d:
            d.ehlo()
            for _ in range(count):
                d.send('MAIL FROM:<a@sender.test>\r\n')
                code, lines = d.reply()
                if code != 250:
                    return '%d %s' % (code, lines[-1])
                for path in recipients:
                    d.say('RCPT TO:<%s>' % path, '250')
                d.say('DATA', '354')
                d.say(HEADER + b'hello\r\n.', '250')
        return None

    expect_equal(tries('127.0.0.1', 3), None, 'as many as it may')
    again = r'450 4.7.1 127.0.0.1 has sent as many messages as it may in a minute, 3; try again in \d+ seconds'
    for _ in range(3):
        refused = tries('127.0.0.1', 1)
        expect(re.fullmatch(again, refused or ''), 'one more: %s' % refused)
    expect_equal(tries('127.0.0.2', 1), None, 'another client')
    expect_equal(tries('127.0.0.9', 1, ['u@bogus.test', 'v@bogus.test', 'w@bogus.test']), None, 'more recipients than are left')
    refused = tries('127.0.0.9', 1)
    expect(refused and 'recipients as it may in an hour, 2; try again in 60 minutes' in refused, 'after them: %s' % refused)
    for _ in range(2):
        sternpost.submit('-f', 'ann@sender.test', 'u@bogus.test', text='Subject: x\n\nx\n')
    for _ in range(2):
        done = sternpost.sendmail('-f', 'ann@sender.test', 'u@bogus.test', text='Subject: x\n\nx\n')
        expect(done.code == 75 and 'as many messages as it may in a minute, 2' in done.err, 'sendmail: %s' % (done,))
    expect_equal(len(sternpost.events('sender-limit')), 3, 'lines in the log')

    def alarms():
        return [a['subject'] for a in sternpost.ask('status')['alarms'] if a['kind'] == 'sender-limit']

    wait_for('status names all three', lambda: len(alarms()) == 3 and {'127.0.0.1', '127.0.0.9'} < set(alarms()))
    queued = len(sternpost.ask('queue', 'list')['messages'])
    sternpost.stop()
    for _ in range(3):
        sternpost.submit('-f', 'ann@sender.test', 'u@bogus.test', text='Subject: x\n\nx\n')
    sternpost.start()
    wait_for('the maildrop is read', lambda: len(sternpost.ask('queue', 'list')['messages']) == queued + 2)
    expect_equal(len(os.listdir(sternpost.options['maildrop_dir'])), 1, 'what waits in the maildrop')
    sternpost.restart()
    wait_for('it has had its turn', lambda: len(sternpost.ask('queue', 'list')['messages']) == queued + 3)
    expect_equal(os.listdir(sternpost.options['maildrop_dir']), [], 'the maildrop')


@test
def whom_a_client_and_a_user_may_write_as_is_kept_to(machine):
    """D-47: reverse-path and From, by SMTP, by sendmail, by its session, and with -G."""
    sink, sternpost = world(
        machine,
        client=[{'network': '127.0.0.0/8', 'role': 'originate', 'domains': ['own.test']}],
        sender=[{'match': 'user:root', 'domains': ['own.test']}],
    )
    with Dialogue() as d:
        d.ehlo()
        d.say('MAIL FROM:<ceo@bank.test>', '550 5.7.1')
        for sender, code in (('ceo@bank.test', '550 5.7.1'), ('ann@own.test', '250')):
            d.envelope('ann@own.test', 'u@sink.test')
            d.say('DATA', '354')
            d.say(('From: <%s>\r\nSubject: x\r\n\r\nx\r\n.' % sender).encode(), code)
    sink.wait_taken(1)
    text = 'From: <%s>\nSubject: x\n\nx\n'
    for options in ((), ('-G',)):
        for path, sender, code in (('ceo@bank.test', 'ann@own.test', 77), ('ann@own.test', 'ceo@bank.test', 77), ('ann@own.test', 'ann@own.test', 0)):
            done = sternpost.sendmail(*options, '-f', path, 'u@sink.test', text=text % sender)
            expect_equal(done.code, code, 'sendmail %s -f %s, From %s: %s' % (options, path, sender, done.err))
            expect(code == 0 or '5.7.1 ' in done.err and '[[sender]] user:root' in done.err, done.err)
    session = 'EHLO x\nMAIL FROM:<ann@own.test>\nRCPT TO:<u@sink.test>\nDATA\n' + text % 'ceo@bank.test' + '.\nQUIT\n'
    done = sternpost.sendmail('-bs', text=session)
    expect('554 5.7.1 ' in done.out, done.out)
    sink.wait_taken(3)
    expect_equal({t.reverse_path for t in sink.taken}, {'ann@own.test'}, 'who wrote what arrived')


@test
def a_stranger_gets_no_recipient_past_it(machine):
    """SMTP-69: not an open relay, whatever the sender and the spelling of the recipient."""
    host, stranger, known = (address(machine, a) for a in ('192.0.2.25', '192.0.2.99', '192.0.2.7'))
    sink, sternpost = world(
        machine,
        listener={'listen': [host + ':25', '127.0.0.1:25']},
        client=[{'network': known + '/32', 'role': 'relay'}],
    )
    for sender in ('a@sender.test', '', 'root@relay.test', 'u@sink.test'):
        with Dialogue((host, 25), source=stranger, greet=False) as d:
            said = [d.reply()]
            if said[0][0] == 220:
                for command in (
                    ['EHLO client.test', 'MAIL FROM:<%s>' % sender] + ['RCPT TO:<%s>' % t for t in TRICKS] + ['DATA']
                ):
                    d.send(command + '\r\n')
                    said.append(d.reply())
                said = said[3:]  # greeting, EHLO and MAIL may be answered politely
            for code, lines in said:
                expect(500 <= code < 600, 'a stranger as <%s> was told %d %s' % (sender, code, lines))
    with Dialogue((host, 25), source=known) as d:
        d.ehlo()
        d.message('a@sender.test', ['u@sink.test'], HEADER + b'permitted\r\n')
    sink.wait_taken(1)
    sternpost.wait_empty()
    expect_equal([body_of(t) for t in sink.taken], [b'permitted\r\n'], 'what arrived')


@test
def wishes_for_notices_are_kept_and_what_no_host_tells_is_told(machine):
    """SMTP-92, SMTP-94 … SMTP-97: a sink without DSN gets no parameters; success is told by us, failure if it is wanted."""
    sink, sternpost = world(machine)
    sink.refuse['lost@sink.test'] = sink.refuse['quiet@sink.test'] = '550 5.1.1 no such user'
    with Dialogue() as d:
        d.ehlo()
        d.say('MAIL FROM:<back@sink.test> RET=HDRS ENVID=QQ+2B314', '250')
        d.say('RCPT TO:<good@sink.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Good+2BA@sink.test', '250')
        d.say('RCPT TO:<plain@sink.test>', '250')
        d.say('RCPT TO:<quiet@sink.test> NOTIFY=NEVER', '250')
        d.say('RCPT TO:<lost@sink.test> NOTIFY=FAILURE', '250')
        d.say('DATA', '354')
        d.send(b'Subject: hello\r\n\r\nnot for notices\r\n.\r\n')
        d.expect('250')
        d.say('QUIT', '221')
    sink.wait_taken(3)
    sternpost.wait_empty()
    notices = {}
    for taken in sink.taken[1:]:
        expect_equal((taken.reverse_path, taken.forward_paths), ('', ('back@sink.test',)), 'the envelope of a notice')
        expect(b'not for notices' not in taken.data, 'RET=HDRS, and text came back')
        report = email.message_from_bytes(taken.data).get_payload()[1].get_payload()
        expect_equal(report[0]['Original-Envelope-Id'], 'QQ+314', 'the envelope id')
        for recipient in report[1:]:
            notices[recipient['Final-Recipient']] = (recipient['Action'], recipient['Original-Recipient'])
    expect_equal(
        notices,
        {
            'rfc822; good@sink.test': ('relayed', 'rfc822; Good+A@sink.test'),
            'rfc822; lost@sink.test': ('failed', None),
        },
        'who was told what of whom',
    )


# --------------------------------------------------------------------------------------------------------------------- behaviour
@test
def commands_out_of_order_are_refused_and_change_nothing(machine):
    """SMTP-57, SMTP-58, SMTP-59, SMTP-66, SMTP-67, SMTP-79, SMTP-87."""
    sink, sternpost = world(machine)
    with Dialogue() as d:
        d.say('MAIL FROM:<a@sender.test>', '503')
        expect_equal(len(d.say('HELO client.test', '250')), 1, 'lines of the reply to HELO')
        offered = d.ehlo()
        for extension in ('PIPELINING', '8BITMIME', 'ENHANCEDSTATUSCODES', 'DSN'):
            expect(extension in offered, 'EHLO does not offer %s: %s' % (extension, offered))
        for command, code in [
            ('RCPT TO:<u@sink.test>', '503 5'),
            ('DATA', '503 5'),
            ('NONSENSE', '500 5'),
            ('VRFY u', '252 2'),
            ('NOOP', '250 2'),
            ('EXPN list', '50'),
            ('MAIL FROM:a@sender.test', '501 5'),
            ('MAIL FROM:<a@sender.test> FOO=1', '555 5'),
            ('MAIL FROM:<a@sender.test> BODY=8BITMIME BODY=7BIT', '501 5'),
            ('MAIL FROM:<a@sender.test> BODY=BINARYMIME', '5'),
            ('MAIL TO:<a@sender.test>', '501 5'),
            ('MAIL FROM:<>', '250 2'),
            ('MAIL FROM:<a@sender.test>', '503 5'),
            ('DATA', '503 5'),
            ('RCPT TO:<>', '5'),
            ('RCPT TO:<u@sink.test> FOO=1', '555 5'),
            ('RCPT TO:<u@sink.test>', '250 2'),
            ('HELP', '2'),
            ('RSET', '250 2'),
            ('DATA', '503 5'),
            ('mail from:<a@sender.test>', '250 2'),
            ('rcpt to:<Postmaster>', '250 2'),
            ('EHLO other.test', '250'),
            ('RCPT TO:<u@sink.test>', '503 5'),
            ('QUIT', '221 2'),
        ]:
            if command == 'HELP':  # optional
                d.send('HELP\r\n')
                d.reply()
            else:
                d.say(command, code)
        expect(d.closed(), 'it did not close after QUIT')
    sternpost.wait_empty()


@test
def a_pipelined_group_is_answered_in_order_however_it_is_cut(machine):
    """SMTP-74: in one segment, and octet by octet."""
    sink, sternpost = world(machine)
    group = (
        b'MAIL FROM:<a@sender.test>\r\nRCPT TO:<u@sink.test>\r\nRCPT TO:<bad@>\r\nRCPT TO:<v@sink.test>\r\nDATA\r\n'
    )
    data = HEADER + b'pipelined\r\n.\r\n'
    seen = []
    for pieces in ([group], [bytes([o]) for o in group]):
        with Dialogue() as d:
            d.ehlo()
            for piece in pieces:
                d.send(piece)
            codes = [d.reply()[0] for _ in range(5)]
            for piece in [data + b'QUIT\r\n'] if len(pieces) == 1 else [bytes([o]) for o in data + b'QUIT\r\n']:
                d.send(piece)
            codes += [d.reply()[0], d.reply()[0]]
            expect(d.closed(), 'it did not close after QUIT')
        expect(codes[2] // 100 == 5, 'a recipient without domain: %d' % codes[2])
        seen.append(codes[:2] + codes[3:])
    expect_equal(seen, [[250, 250, 250, 354, 250, 221]] * 2, 'the codes')
    sink.wait_taken(2)


@test
def a_client_that_leaves_at_any_octet_costs_nobody_anything(machine):
    """Before the final dot's 250 nothing is accepted; others are served at the same time."""
    sink, sternpost = world(machine)
    talk = (
        b'EHLO client.test\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<lost@sink.test>\r\nDATA\r\n'
        + HEADER
        + b'cut\r\n.\r\n'
    )
    stop, served, failures = threading.Event(), [], []

    def others():
        try:
            while not stop.is_set():
                deliver(HEADER + b'other\r\n', recipients=['other@sink.test'])
                served.append(1)
        except Exception as e:
            failures.append(repr(e))

    other = threading.Thread(target=others)
    other.start()
    try:
        for cut in range(len(talk)):  # the last octet of the dot line is never sent
            with Dialogue(greet=cut % 3 == 0) as d:
                d.send(talk[:cut])
                if cut % 5 == 0:  # not with FIN but with RST
                    d.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        wait_for('others were served meanwhile', lambda: len(served) >= 20 or failures)
    finally:
        stop.set()
        other.join(20)
    expect_equal(failures, [], 'the other client')
    deliver(HEADER + b'last\r\n', recipients=['last@sink.test'])
    wait_for('the last one arrives', lambda: any('last@sink.test' in t.forward_paths for t in sink.taken))
    sternpost.wait_empty()
    paths = [p for t in sink.taken for p in t.forward_paths]
    expect_equal(
        (paths.count('lost@sink.test'), paths.count('other@sink.test')), (0, len(served)), 'what arrived of both'
    )
    print('      cut at %d octets, %d messages of another client meanwhile' % (len(talk), len(served)))


@test
def silent_and_crowding_clients_are_shown_the_door(machine):
    """A command time limit, and a limit of connections from one address; others keep their service."""
    sink, sternpost = world(machine, listener={'command_timeout': '1s', 'max_connections_per_client': 5})
    with Dialogue(source='127.0.0.9') as silent:
        silent.expect('421')
        expect(silent.closed(), 'it did not close after 421')
    with Dialogue(source='127.0.0.9') as silent:  # in the middle of data
        silent.ehlo()
        silent.envelope('a@sender.test', 'u@sink.test')
        silent.say('DATA', '354')
        silent.send(HEADER)
        silent.expect('421')
    crowd = [Dialogue(source='127.0.0.9') for _ in range(5)]
    with Dialogue(source='127.0.0.9', greet=False) as one_too_many:
        code, _ = one_too_many.reply()
        expect(code in (421, 0), 'the sixth connection: %d' % code)
    deliver(HEADER + b'x\r\n')
    for d in crowd:
        d.close()
    sink.wait_taken(1)
    wait_for('there is room again', lambda: room('127.0.0.9'))


def room(source):
    with Dialogue(source=source, greet=False) as d:
        return d.reply()[0] == 220


@test
def a_stop_ends_sessions_with_421_and_loses_nothing(machine):
    """SMTP-66: idle sessions hear 421; what was accepted is there after the next start."""
    sink, sternpost = world(machine)
    with Dialogue() as idle, Dialogue() as sending:
        idle.ehlo()
        sending.ehlo()
        text = sending.message('a@sender.test', ['u@sink.test'], HEADER + b'accepted\r\n')
        expect(re.fullmatch(r'2\.0\.0 [0-9A-Za-z]+ queued', text), 'the 250: ' + text)
        sternpost.process.popen.terminate()
        idle.expect('421 4.3.2')
        expect(idle.closed(), 'it did not close after 421')
    expect_equal(sternpost.process.popen.wait(20), 0, 'exit code after SIGTERM')
    expect(not listens(*LISTENER), 'something listens still')
    sternpost.start()
    sink.wait_taken(1)
    sternpost.wait_empty()
    expect_equal(len(sink.taken), 1, 'messages at the sink')


@test
def a_message_in_a_loop_is_stopped(machine):
    """SMTP-52: more than a hundred Received fields."""
    sink, sternpost = world(machine)
    field = b'Received: from a by b; Mon, 23 Nov 2026 12:00:00 +0000\r\n'
    deliver(field * 99 + HEADER + b'x\r\n')
    with Dialogue() as d:
        d.ehlo()
        d.envelope('a@sender.test', 'u@sink.test')
        d.say('DATA', '354')
        d.send(field * 101 + HEADER + b'x\r\n.\r\n')
        d.expect('554 5.4.6')
    sink.wait_taken(1)


@test
def a_large_message_arrives_octet_for_octet(machine):
    """10 MB with every printable octet and dots at line starts."""
    sink, sternpost = world(machine)
    line = bytes(range(33, 127)) * 8 + b'\r\n'
    body = (b'.' + line + line + b'\r\n') * 6600
    deliver(HEADER + re.sub(rb'(?m)^\.', b'..', body))
    sink.wait_taken(1, 60)
    expect(
        body_of(sink.taken[0]) == body,
        'the body came out differently: %d octets of %d' % (len(body_of(sink.taken[0])), len(body)),
    )


# -------------------------------------------------------------------------------------------------------------------- STARTTLS
class Encrypted(Dialogue):
    """A session inside TLS, EHLO said. trust: whom the listener's certificate must come from (None: it is not looked at)."""

    def __init__(self, trust=None, **kw):
        super().__init__(**kw)
        self.ehlo()
        self.say('STARTTLS', '220 2.0.0')
        context = ssl.create_default_context(cafile=trust) if trust else ssl._create_unverified_context()
        self.socket = context.wrap_socket(self.socket, server_hostname='relay.test')
        self.offered = self.ehlo()


@test
def starttls_and_requiretls_work_out_of_the_box(machine):
    """RTLS-01, RTLS-02, RTLS-15, TLS-04, TLS-06, TLS-07, TLS-08: with a certificate of the daemon's own making, which it keeps."""
    sink, sternpost = world(machine)
    with Dialogue() as d:
        offered = d.ehlo()
        expect('STARTTLS' in offered and 'REQUIRETLS' not in offered, 'EHLO in clear: %s' % offered)
        d.say('STARTTLS now', '501 5.5.4')
        d.say('MAIL FROM:<a@sender.test> REQUIRETLS', '530 5.7.0')
        d.envelope('a@sender.test')  # TLS is not demanded
    with Encrypted() as d:
        expect('REQUIRETLS' in d.offered and 'STARTTLS' not in d.offered, 'EHLO inside TLS: %s' % d.offered)
        d.say('STARTTLS', '503 5.5.1')
        d.say('MAIL FROM:<a@sender.test> REQUIRETLS=1', '501 5.5.4')
        d.message('a@sender.test', ['u@sink.test'], HEADER + b'by TLS\r\n')
        d.envelope('a@sender.test', 'u@bogus.test', parameters=' REQUIRETLS')
        d.say('DATA', '354')
        d.send(b'TLS-Required: No\r\n' + HEADER + b'tagged\r\n.\r\n')
        d.expect('250')
        shown = d.socket.getpeercert(binary_form=True)
    sink.wait_taken(1)
    trace = sink.taken[0].data.decode().partition('\r\nFrom:')[0]
    expect(re.search(r' with ESMTPS id .*\r\n tls TLS_\w+ \(TLSv1\.3\);', trace, re.DOTALL), 'the trace: %r' % trace)
    expect(sternpost.events('accept', tls='TLSv1.3'), 'no accept event says tls=TLSv1.3')
    key = os.stat(sternpost.options['state_dir'] + '/listener-key.pem')
    expect_equal(stat.S_IMODE(key.st_mode), 0o600, 'mode of the key')
    for restarted in (False, True):
        if restarted:
            sternpost.restart()
        (tagged,) = [
            m for m in sternpost.ask('queue', 'list')['messages'] if m['recipients'][0]['path'] == 'u@bogus.test'
        ]
        expect_equal((tagged['requiretls'], tagged['tls_required_no']), (True, False), 'the tag in the queue')
    with Encrypted() as d:
        expect_equal(d.socket.getpeercert(binary_form=True), shown, 'the certificate after a restart')


@test
def a_configured_certificate_is_used_and_read_again(machine):
    authority = Authority(machine)
    certificate, key = authority.issue('relay.test')
    sink, sternpost = world(machine, listener={'tls_certificate': certificate, 'tls_key': key})
    with Encrypted(trust=authority.bundle) as old:
        serial = old.socket.getpeercert()['serialNumber']
        for new, name in ((authority.issue('relay.test'), 'renewed'), (('nothing', 'nothing'), 'spoilt')):
            for path, source in zip((certificate, key), new):
                if name == 'spoilt':
                    machine.write(path, 'no PEM\n')
            sternpost.reload()
            wait_for(
                'the %s certificate was read' % name,
                lambda: [e for e in sternpost.events('reload') if 'tls_certificate' in e or 'listener' in e.get('reason', '')][
                    (0 if name == 'renewed' else 1) :
                ],
            )
            with Encrypted(trust=authority.bundle) as fresh:
                expect(fresh.socket.getpeercert()['serialNumber'] != serial, 'the old certificate is shown still (%s)' % name)
        old.say('NOOP', '250')  # a session under way goes on
    reason = sternpost.events('reload')[-1]['reason']
    expect(certificate in reason, 'the reason does not name the file: ' + reason)
    sternpost.stop()
    sternpost.launch()
    expect_equal(sternpost.process.popen.wait(20), 78, 'exit code with a certificate that is none')
    expect(certificate in sternpost.events('start')[-1]['reason'], 'the reason does not name the file')


@test
def nothing_injected_before_the_handshake_is_carried_out(machine):
    """TLS-05, TLS-19; CVE-2011-0411."""
    sink, sternpost = world(machine)
    forged = b'MAIL FROM:<forged@sender.test>\r\nRCPT TO:<victim@sink.test>\r\nDATA\r\n'
    with Dialogue() as d:
        d.ehlo()
        d.send(b'STARTTLS\r\n' + forged)
        d.expect('554 5.5.1')
        expect(d.closed(), 'it goes on after injected octets')
    expect(sternpost.wait_event('reject', at='STARTTLS'), 'it is not in the log')
    with Dialogue() as d:  # in a segment of its own, after the 220
        d.ehlo()
        d.say('STARTTLS', '220')
        d.send(forged)
        expect_equal([code for code, _ in (d.reply(), d.reply()) if 200 <= code < 400], [], 'replies to it')
    expect(sternpost.wait_event('reject', at='handshake'), 'it is not in the log')
    with Encrypted() as d:
        d.say('RCPT TO:<u@sink.test>', '503')
    sternpost.wait_empty()


# ------------------------------------------------------------------------------------------------- sendmail -O, UTF-8, 8-bit mail
TEXT = 'From: a@sender.test\nSubject: %s\n\nx\n'


@test
def sendmail_passes_on_what_is_asked_for_by_O(machine):
    """CLI-22, RTLS-15: by the socket and by the maildrop."""
    sink, sternpost = world(machine)

    def submit(*args, subject='x'):
        sternpost.submit('-f', 'a@sender.test', *args, text=TEXT % subject)

    submit('-O', 'requiretls=yes', '1@bogus.test')
    submit('-O', 'requiretls=no', '2@bogus.test')
    submit('3@bogus.test', subject='ö')
    submit('-O', 'smtputf8=no', '4@bogus.test', subject='ö')
    submit('ö@bogus.test')
    expect_equal(sternpost.sendmail('-O', 'smtputf8=no', 'é@bogus.test', text=TEXT % 'x').code, 65, 'exit code')
    sternpost.stop()
    submit('-O', 'requiretls=yes', '5@bogus.test')
    sternpost.start()
    wait_for('the maildrop is read', lambda: '5@bogus.test' in sternpost.recipients())
    seen = {m['recipients'][0]['path'][0]: (m['requiretls'], m['smtputf8']) for m in sternpost.ask('queue', 'list')['messages']}
    expect_equal(
        seen,
        {
            '1': (True, False),
            '2': (False, False),
            '3': (False, False),  # D-42: it is encoded
            '4': (False, False),
            'ö': (False, True),
            '5': (True, False),
        },
        'REQUIRETLS and SMTPUTF8 in the queue',
    )


@test
def utf8_goes_where_it_is_taken(machine):
    """SMTP-83, SMTP-84, SMTP-85, SMTP-110."""
    Dns(
        machine,
        RECORDS
        + ['able MX 10 mx.able', 'mx.able A 127.0.0.41', 'xn--bcher-kva MX 10 mx.unable', 'mx.unable A 127.0.0.42']
        + ['sender MX 10 mx.sink'],
    )
    sink = Sink(machine, '127.0.0.40')
    able, unable = ScriptedMx(machine, '127.0.0.41', offers=['SMTPUTF8']), ScriptedMx(machine, '127.0.0.42')
    sternpost = Sternpost(machine)

    def lines(mx, verb):
        return [line for session in mx.sessions for line, _ in session if line.startswith(verb)]

    def send(*recipients, header='Subject: x'):
        with Dialogue() as d:
            expect('SMTPUTF8' in d.ehlo(), 'SMTPUTF8 is not offered')
            d.envelope('a@sender.test', *recipients, parameters=' SMTPUTF8')
            d.say('DATA', '354')
            d.send((header + '\r\nDate: x\r\n\r\nx\r\n.\r\n').encode())
            d.expect('250')

    with Dialogue() as d:
        d.ehlo()
        d.say('MAIL FROM:<a@sender.test> SMTPUTF8=1', '501 5.5.4')
        d.envelope('a@sender.test')
        d.say('RCPT TO:<ö@able.test>', '553 5.6.7')
    send('ö@able.test')
    wait_for('the able host takes it', lambda: len(able.taken) == 1)
    expect_equal(able.taken[0].recipients, ['ö@able.test'], 'RCPT')
    expect(lines(able, 'MAIL')[0].endswith(' SMTPUTF8'), lines(able, 'MAIL')[0])
    expect(b' with UTF8SMTP id ' in able.taken[0].data, 'the trace: %r' % able.taken[0].data)
    send('plain@able.test')
    wait_for('the able host takes it', lambda: len(able.taken) == 2)
    expect('SMTPUTF8' not in lines(able, 'MAIL')[1], lines(able, 'MAIL')[1])
    send('u@bücher.test')
    wait_for('the other host takes it', lambda: len(unable.taken) == 1)
    expect_equal(unable.taken[0].recipients, ['u@xn--bcher-kva.test'], 'RCPT')
    expect('SMTPUTF8' not in lines(unable, 'MAIL')[0], lines(unable, 'MAIL')[0])
    # What that host cannot take comes back, in ASCII, since the reverse-path is.
    send('ö@bücher.test', header='Subject: ü')
    sink.wait_taken(1)
    notice = email.message_from_bytes(sink.taken[0].data, policy=email.policy.default)
    people, programs, original = notice.iter_parts()
    expect(sink.taken[0].data.isascii(), 'the notice is not ASCII')
    expect('<ö@bücher.test>' in people.get_content() and 'SMTPUTF8' in people.get_content(), people.get_content())
    expect_equal(programs.get_content_type(), 'message/delivery-status', 'type')
    expect_equal(programs.get_payload()[1]['Final-Recipient'], 'utf-8; \\x{F6}@b\\x{FC}cher.test', 'recipient')
    expect_equal(programs.get_payload()[1]['Status'], '5.6.7', 'status')
    expect_equal(len(unable.taken), 1, 'messages at the host without SMTPUTF8')
    # One recipient that it cannot take keeps no other from it.
    send('u@bücher.test', 'ö@bücher.test', 'v@bücher.test')
    sink.wait_taken(2)
    sternpost.wait_empty()
    expect_equal(sorted(unable.taken[1].recipients), ['u@xn--bcher-kva.test', 'v@xn--bcher-kva.test'], 'RCPT')
    expect_equal(sink.taken[1].data.count(b'Final-Recipient'), 1, 'recipients in the notice')


@test
def eight_bit_mail_is_converted_for_a_host_without_8bitmime(machine):
    """SMTP-77, SMTP-78, D-28: what a reader makes of it is what was sent."""
    Dns(machine, RECORDS + ['old MX 10 mx.old', 'mx.old A 127.0.0.41', 'sender MX 10 mx.sink'])
    sink, old = Sink(machine, '127.0.0.40'), ScriptedMx(machine, '127.0.0.41', eight_bit=False)
    Sternpost(machine)
    message = email.message.EmailMessage(policy=email.policy.SMTP.clone(cte_type='8bit'))
    message['Subject'], message['From'], message['Message-ID'] = 'x', 'a@sender.test', '<x@sender.test>'
    message['Date'] = 'Mon, 23 Nov 2026 12:00:00 +0000'
    text = 'Grüße = ' + 'ö' * 100 + ' \n.\nend\n'
    message.set_content(text, cte='8bit')
    raw = b'\r\n'.join([bytes(range(128, 256))] * 20)
    message.add_attachment(raw, 'application', 'octet-stream', filename='x.bin')
    # Python encodes attachments: this one goes as the octets that it is
    head, _, tail = message.as_bytes().partition(b'Content-Transfer-Encoding: base64')
    fields, _, rest = tail.partition(b'\r\n\r\n')
    end = rest[rest.rindex(b'--===') :]
    octets = head + b'Content-Transfer-Encoding: 8bit' + fields + b'\r\n\r\n' + raw + b'\r\n' + end
    stuffed = re.sub(rb'(?m)^\.', b'..', octets)
    deliver(stuffed, recipients=['u@old.test', 'u@sink.test'])
    wait_for('the old host takes it', lambda: old.taken)
    sink.wait_taken(1)
    expect(sink.taken[0].data.endswith(octets), 'it came otherwise to a host with 8BITMIME: %r' % sink.taken[0].data)
    data = re.sub(rb'(?m)^\.', b'', old.taken[0].data)
    expect(data.isascii(), '8-bit octets went to a host without 8BITMIME')
    read = email.message_from_bytes(data, policy=email.policy.default)
    body, attachment = read.iter_parts()
    expect_equal(body['Content-Transfer-Encoding'], 'quoted-printable', 'the encoding of the text')
    expect_equal(body.get_content().replace('\r\n', '\n'), text, 'the text')
    expect_equal((attachment['Content-Transfer-Encoding'], attachment.get_content()), ('base64', raw), 'the attachment')
    expect('BODY=' not in [l for s in old.sessions for l, _ in s if l.startswith('MAIL')][0], 'BODY was said')
    # Signed by somebody: it comes back instead.
    deliver(b'DKIM-Signature: v=1; a=x\r\n' + stuffed, recipients=['u@old.test'])
    sink.wait_taken(2)
    expect(b'Status: 5.6.3' in sink.taken[1].data, 'the notice: %r' % sink.taken[1].data)
    expect_equal(len(old.taken), 1, 'messages at the old host')


@test
def a_port_that_the_service_manager_holds_refuses_no_connection_during_a_restart(machine):
    Dns(machine, RECORDS)
    Sink(machine, '127.0.0.40')
    held = socket.create_server(LISTENER, backlog=100)
    other = socket.create_server(('127.0.0.77', 2525))
    machine.at_end(held.close)
    machine.at_end(other.close)
    sternpost = Sternpost(machine, start=False)

    def launch():
        # What sd_listen_fds(3) reads: the first descriptor is 3, and the process is the one that is named.
        line = 'exec 3<&%d 4<&%d; LISTEN_PID=$$ LISTEN_FDS=2 exec "$@"' % (held.fileno(), other.fileno())
        sternpost.start(before=('bash', '-c', line, 'sh'), pass_fds=(held.fileno(), other.fileno()))

    launch()
    expect('127.0.0.77:2525' in sternpost.wait_event('listen')['address'], 'a socket that the configuration does not name')
    with Dialogue() as d:
        d.ehlo()
    sternpost.stop()
    with Dialogue(greet=False) as waiting:  # there is no daemon, and a connection all the same
        launch()
        waiting.expect('220')
        waiting.ehlo()
        waiting.message('ann@sender.test', ['bob@sink.test'], b'Subject: held\r\n\r\nhello\r\n')


if __name__ == '__main__':
    sys.exit(run(peers=True))
