#!/usr/bin/python3
"""What a person and a program at a shell have: sendmail, mailq, newaliases, the sternpost command, the configuration file."""
import array
import collections
import contextlib
import email
import email.header
import email.utils
import fcntl
import grp
import os
import pty
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios

from machine import USERS, Failure, Process, expect, expect_equal, run, wait_for, test
from peers import Dns, Sink, listens
from sternpost import Dialogue, Sternpost, clean_environment, deliver, program

RECORDS = [
    'sink MX 10 mx.sink',
    'mx.sink A 127.0.0.40',
    'dead MX 10 mx.dead',
    'mx.dead A 127.0.0.41',
    'relay-admin MX 10 mx.sink',
    'sender MX 10 mx.sink',
]
MESSAGE = 'From: Ann <ann@sender.test>\nTo: bob@sink.test\nSubject: hello\n\nhello\n'


def world(machine, **options):
    """DNS, a sink for sink.test, sender.test and the administrator; nobody listens for dead.test."""
    Dns(machine, RECORDS)
    sink = Sink(machine, '127.0.0.40')
    return sink, Sternpost(machine, **options)


def body_of(taken):
    return taken.data.partition(b'\r\n\r\n')[2]


def header_of(taken):
    return email.message_from_bytes(taken.data)


# ---------------------------------------------------------------------------------------------------------------------- sendmail
Form = collections.namedtuple('Form', 'name arguments text reverse_path forward_paths body')
HELLO = b'hello\r\n'
FORMS = [
    Form('recipient as argument (CLI-02)', ['bob@sink.test'], MESSAGE, 'root@relay.test', {'bob@sink.test'}, HELLO),
    Form(
        'list and names in one argument (CLI-02)',
        ['Ann B <a@sink.test>, b@sink.test', 'c@sink.test'],
        MESSAGE,
        'root@relay.test',
        {'a@sink.test', 'b@sink.test', 'c@sink.test'},
        HELLO,
    ),
    Form(
        '-t (CLI-03)',
        ['-t'],
        'To: a@sink.test,\n "B, the second" <b@sink.test>\nCc: c@sink.test\nBcc: d@sink.test,\n\te@sink.test\n\nhello\n',
        'root@relay.test',
        {x + '@sink.test' for x in 'abcde'},
        HELLO,
    ),
    Form(
        '-t with a group',
        ['-t'],
        'To: friends: a@sink.test, b@sink.test;\n\nhello\n',
        'root@relay.test',
        {'a@sink.test', 'b@sink.test'},
        HELLO,
    ),
    Form(
        '-t with Resent fields (CLI-03)',
        ['-t'],
        'To: no@sink.test\nResent-To: yes@sink.test\nResent-Bcc: also@sink.test\n\nhello\n',
        'root@relay.test',
        {'yes@sink.test', 'also@sink.test'},
        HELLO,
    ),
    Form(
        '-t and arguments are added (D-26)',
        ['-t', 'b@sink.test'],
        'To: a@sink.test\n\nhello\n',
        'root@relay.test',
        {'a@sink.test', 'b@sink.test'},
        HELLO,
    ),
    Form(
        'lone dot ends the message (CLI-07)',
        ['a@sink.test'],
        'Subject: x\n\na\n.\nb\n',
        'root@relay.test',
        {'a@sink.test'},
        b'a\r\n',
    ),
    Form(
        '-i keeps a lone dot (CLI-07)',
        ['-i', 'a@sink.test'],
        'Subject: x\n\na\n.\n..\n.b\n',
        'root@relay.test',
        {'a@sink.test'},
        b'a\r\n.\r\n..\r\n.b\r\n',
    ),
    Form(
        '-oi (CLI-08)',
        ['-oi', 'a@sink.test'],
        'Subject: x\n\n.\nb\n',
        'root@relay.test',
        {'a@sink.test'},
        b'.\r\nb\r\n',
    ),
    Form('-ti (CLI-08)', ['-ti'], 'To: a@sink.test\n\n.\nb\n', 'root@relay.test', {'a@sink.test'}, b'.\r\nb\r\n'),
    Form(
        '-f separate (CLI-09)',
        ['-f', 'x@sender.test', 'a@sink.test'],
        MESSAGE,
        'x@sender.test',
        {'a@sink.test'},
        HELLO,
    ),
    Form(
        '-f attached (CLI-09)', ['-fx@sender.test', 'a@sink.test'], MESSAGE, 'x@sender.test', {'a@sink.test'}, HELLO
    ),
    Form('-r (CLI-09)', ['-r', 'x@sender.test', 'a@sink.test'], MESSAGE, 'x@sender.test', {'a@sink.test'}, HELLO),
    Form('-f <> (CLI-09)', ['-f', '<>', 'a@sink.test'], MESSAGE, '', {'a@sink.test'}, HELLO),
    Form('-f empty (CLI-09)', ['-f', '', 'a@sink.test'], MESSAGE, '', {'a@sink.test'}, HELLO),
    Form(
        'body alone (CLI-12)',
        ['a@sink.test'],
        'just a line\n',
        'root@relay.test',
        {'a@sink.test'},
        b'just a line\r\n',
    ),
    Form(
        'CRLF input (CLI-14)',
        ['a@sink.test'],
        MESSAGE.replace('\n', '\r\n'),
        'root@relay.test',
        {'a@sink.test'},
        HELLO,
    ),
    Form(
        'no newline at the end (SMTP-12)',
        ['a@sink.test'],
        'Subject: x\n\nhello',
        'root@relay.test',
        {'a@sink.test'},
        HELLO,
    ),
    Form(
        'mbox line (CLI-13)',
        ['a@sink.test'],
        'From ann Mon Nov 23 12:00:00 2026\n' + MESSAGE,
        'root@relay.test',
        {'a@sink.test'},
        HELLO,
    ),
    Form(
        '8-bit text',
        ['a@sink.test'],
        'Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n'
        'Content-Transfer-Encoding: 8bit\n\nGrüße\n',
        'root@relay.test',
        {'a@sink.test'},
        'Grüße\r\n'.encode(),
    ),
    Form(
        '-- and a recipient with a dash (CLI-23)',
        ['-i', '--', '-x@sink.test'],
        MESSAGE,
        'root@relay.test',
        {'-x@sink.test'},
        HELLO,
    ),
    Form('root goes to the administrator', ['root'], MESSAGE, 'root@relay.test', {'admin@relay-admin.test'}, HELLO),
    Form(
        'so does a name at this host',
        ['daemon@relay.test'],
        MESSAGE,
        'root@relay.test',
        {'admin@relay-admin.test'},
        HELLO,
    ),
    Form('-bm', ['-bm', 'a@sink.test'], MESSAGE, 'root@relay.test', {'a@sink.test'}, HELLO),
    Form(
        'many options without effect (CLI-21)',
        [
            '-odb',
            '-oem',
            '-oep',
            '-oew',
            '-om',
            '-o7',
            '-o8',
            '-m',
            '-n',
            '-U',
            '-v',
            '-x',
            '-Am',
            '-Ac',
            '-d0.1',
            '-e',
            'm',
            '-h',
            '17',
            '-L',
            'tag',
            '-O',
            'DeliveryMode=b',
            '-X',
            '/dev/null',
            '-C',
            '/etc/mail/sendmail.cf',
            '-B',
            '8BITMIME',
            '-N',
            'failure',
            '-R',
            'hdrs',
            '-V',
            'id',
            '-G',
            'a@sink.test',
        ],
        MESSAGE,
        'root@relay.test',
        {'a@sink.test'},
        HELLO,
    ),
]


@test
def every_form_of_sendmail_arrives_as_it_should(machine):
    sink, sternpost = world(machine)
    wrong = []
    for form in FORMS:
        before = len(sink.taken)
        done = sternpost.sendmail(*form.arguments, text=form.text)
        if done.code != 0:
            wrong.append('%s: exit %d: %s' % (form.name, done.code, done.err.strip()))
            continue
        try:
            wait_for(
                'it arrives',
                lambda: sum(len(t.forward_paths) for t in sink.taken[before:]) >= len(form.forward_paths),
                8,
            )
        except Failure as e:
            wrong.append('%s: %s; queued: %s' % (form.name, e, list(sternpost.recipients().values())))
            continue
        got = sink.taken[before:]
        seen = (
            {t.reverse_path for t in got},
            sorted(p for t in got for p in t.forward_paths),
            {body_of(t) for t in got},
        )
        wanted = {form.reverse_path}, sorted(form.forward_paths), {form.body}
        if seen != wanted:
            wrong.append('%s: expected %r, the sink took %r' % (form.name, wanted, seen))
        for t in got:
            header = header_of(t)
            needed = ('From', 'Received') if '-G' in form.arguments else ('From', 'Date', 'Message-ID', 'Received')
            wrong += ['%s: it arrived without %s' % (form.name, field) for field in needed if not header[field]]
            wrong += [
                '%s: it arrived with %s' % (form.name, field)
                for field in ('Bcc', 'Resent-Bcc', 'Return-Path')
                if header[field]
            ]
            if re.search(rb'(?<!\r)\n|\r(?!\n)', t.data):
                wrong.append('%s: it arrived with a bare CR or LF' % form.name)
    expect(not wrong, '%d complaints about %d forms:\n  %s' % (len(wrong), len(FORMS), '\n  '.join(wrong)))
    sternpost.wait_empty()
    print('      %d forms' % len(FORMS))


@test
def sendmail_names_the_sender_and_the_user(machine):
    """CLI-10, CLI-11: -F and NAME make a From field where there is none; the real uid stands in the trace."""
    sink, sternpost = world(machine)
    sternpost.submit('-F', 'Ann Example', '-f', 'ann@sender.test', 'a@sink.test', text='Subject: x\n\nx\n')
    sternpost.submit('-f', 'ann@sender.test', 'b@sink.test', text='Subject: x\n\nx\n', env={'NAME': 'Other Ann'})
    sternpost.submit('-F', 'Nobody', 'c@sink.test', text=MESSAGE)
    sink.wait_taken(3)
    by_path = {t.forward_paths[0]: header_of(t) for t in sink.taken}
    for path, name, address in (
        ('a@sink.test', 'Ann Example', 'ann@sender.test'),
        ('b@sink.test', 'Other Ann', 'ann@sender.test'),
        ('c@sink.test', 'Ann', 'ann@sender.test'),
    ):
        expect_equal(email.utils.parseaddr(by_path[path]['from']), (name, address), 'From of the message to ' + path)
    for header in by_path.values():
        received = ' '.join(header['received'].split())
        expect('uid 0' in received and 'by relay.test' in received, 'the Received field: ' + received)
    expect_equal(len(header_of(sink.taken[0]).get_all('received')), 1, 'Received fields')


REFUSED = [  # name, arguments, standard input, exit code (sysexits.h)
    ('no recipient (CLI-06)', [], MESSAGE, 64),
    ('-t without recipients (CLI-06)', ['-t'], 'Subject: x\n\nx\n', 64),
    ('unknown option', ['-Z', 'a@sink.test'], MESSAGE, 64),
    ('-f without its address', ['a@sink.test', '-f'], MESSAGE, 64),
    ('-B of another kind (CLI-19)', ['-B', 'BINARY', 'a@sink.test'], MESSAGE, 64),
    ('-bv without an address', ['-bv'], '', 64),
    ('-bv of what is no address (CLI-16)', ['-bv', 'a@@sink.test'], '', 65),
    ('-bt', ['-bt'], '', 64),
    ('recipient that is no address (CLI-24)', ['a@@sink.test'], MESSAGE, 65),
    ('sender that is no address', ['-f', 'a b c', 'a@sink.test'], MESSAGE, 64),
    ('errors mailed back are errors still (CLI-27)', ['-oem', 'a@@sink.test'], MESSAGE, 65),
]


@test
def sendmail_says_what_is_wrong_by_its_exit_code(machine):
    sink, sternpost = world(machine, listener={'max_message_size': 100_000})
    wrong = []
    cases = REFUSED + [
        ('message too large (CLI-26)', ['a@sink.test'], 'Subject: x\n\n' + ('x' * 70 + '\n') * 3000, 65)
    ]
    for name, arguments, text, code in cases:
        done = sternpost.sendmail(*arguments, text=text)
        if done.code != code:
            wrong.append('%s: exit %d instead of %d (%s)' % (name, done.code, code, done.err.strip()))
        elif not done.err.strip():
            wrong.append('%s: exit %d without a word' % (name, code))
    expect(not wrong, '; '.join(wrong))
    expect_equal(
        (sternpost.recipients(), sink.taken, os.listdir(sternpost.options['maildrop_dir'])),
        ({}, [], []),
        'what was kept all the same',
    )
    expect_equal(sternpost.sendmail(name='newaliases').code, 0, 'exit code of newaliases')
    expect_equal(sternpost.sendmail('-bi').code, 0, 'exit code of sendmail -bi')


SESSION = (
    'EHLO app\r\nMAIL FROM:<ann@sender.test>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: b\u00e4\r\nTo: root\r\n\r\n'
    '..dot\r\n.\r\nQUIT\r\n'
)


@test
def sendmail_speaks_smtp_with_the_daemon_and_without(machine):
    """CLI-15: what it took while the daemon was down goes out afterwards; the daemon corrects both alike."""
    sink, sternpost = world(machine)
    done = sternpost.sendmail('-bs', text=SESSION % 'a@sink.test')
    codes = [line[:3] for line in done.out.splitlines() if line[3:4] == ' ']
    expect_equal((done.code, codes), (0, ['220', '250', '250', '250', '354', '250', '221']), done.out + done.err)
    expect('250-DSN' not in done.out and 'STARTTLS' not in done.out, 'what EHLO offers: ' + done.out)
    sink.wait_taken(1)
    sternpost.stop()
    done = sternpost.sendmail('-bs', text=SESSION % 'b@sink.test')
    expect('250 2.0.0' in done.out and 'in the maildrop' in done.out, done.out)
    cut = sternpost.sendmail('-bs', text=(SESSION % 'c@sink.test').partition('.\r\nQUIT')[0])
    expect_equal((cut.code, len(dropped(sternpost))), (74, 1), 'a session that ends inside a message')
    sternpost.start()
    sink.wait_taken(2)
    for taken in sink.taken:
        header = header_of(taken)
        expect_equal(
            (taken.reverse_path, body_of(taken), header['To'], header['From']),
            ('ann@sender.test', b'.dot\r\n', 'root@relay.test', 'ann@sender.test'),
            'what arrived',
        )
        expect_equal(str(email.header.make_header(email.header.decode_header(header['Subject']))), 'b\u00e4', 'Subject')
        expect('uid 0' in header['Received'], 'the uid in the trace: ' + header['Received'])
    refused = sternpost.sendmail('-bs', text='EHLO a\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<a@@b>\r\nQUIT\r\n')
    expect('553 5.1.2' in refused.out and refused.code == 0, refused.out)


@test
def sendmail_checks_addresses(machine):
    """CLI-16"""
    sink, sternpost = world(machine)
    done = sternpost.sendmail('-bv', 'a@sink.test', 'root')
    expect_equal((done.code, done.err), (0, ''), 'sendmail -bv')
    expect('a@sink.test: well-formed' in done.out and 'root: well-formed' in done.out, done.out)
    for address, code in (('a@short', 68), ('a@@sink.test', 65)):
        done = sternpost.sendmail('-bv', address)
        expect(done.code == code and done.err and not done.out, '%s: exit %d: %s' % (address, done.code, done.err))
    expect_equal((sternpost.recipients(), sink.taken), ({}, []), 'what was sent')


@test
def mailq_is_read_by_what_watches_mail_queues(machine):
    """The layout of Postfix; and a list never hides that the daemon is down or that mail waits in the maildrop."""
    sink, sternpost = world(machine)
    install_configuration(machine, sternpost)
    empty = sternpost.sendmail('-bp')
    expect_equal((empty.code, empty.out, empty.err), (0, 'Mail queue is empty\n', ''), 'an empty queue')
    for number in range(3):
        sternpost.submit('-f', 'ann@sender.test', 'u%d@dead.test' % number, text=MESSAGE)
    for number in range(3):
        sternpost.wait_deferred('u%d@dead.test' % number)
    listed = sternpost.sendmail(name='mailq')
    lines = listed.out.splitlines()
    expect_equal(lines[0], '-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------', 'the first line')
    expect(re.fullmatch(r'-- \d+ Kbytes in 3 Requests\.', lines[-1]), 'the last line: ' + lines[-1])
    starts = [line for line in lines if re.match(r'[0-9A-Za-z]{10}[*! ] +\d+ +\w{3} \w{3} \d\d \d\d:\d\d:\d\d ann@sender.test$', line)]
    expect_equal(len(starts), 3, 'messages in ' + listed.out)
    expect(' ' * 42 + 'u1@dead.test' in lines, listed.out)
    expect(any(line.strip().startswith('(') and line.endswith(')') for line in lines), 'no reason in ' + listed.out)
    sternpost.do('queue', 'hold', '--all')
    expect_equal(len(re.findall(r'^[0-9A-Za-z]{10}! ', sternpost.sendmail('-bp').out, re.M)), 3, 'held messages')
    for form, code in (('-qRdead.test', 0), ('-qSann@sender.test', 0), ('-qI' + starts[0][:10], 0), ('-qp5m', 0), ('-qGx', 64)):
        done = sternpost.sendmail(form)
        expect_equal(done.code, code, form + ': ' + done.out + done.err)  # CLI-17
    sternpost.stop()
    sternpost.submit('-f', 'ann@sender.test', 'late@dead.test', text=MESSAGE)
    down = sternpost.sendmail('-bp')
    expect_equal((down.code, 'in 3 Requests.' in down.out), (69, True), 'mailq while the daemon is down: %r' % (down,))
    expect('mail system is down' in down.err and '1 message(s) wait in the maildrop' in down.err, down.err)


@test
def a_service_without_new_privileges_hears_why_its_mail_is_not_taken(machine):
    sink, sternpost = world(machine)
    # as set-gid would leave it: no rights in the maildrop
    os.chmod(drop(sternpost), 0o700)
    link = os.path.join(sternpost.dir, 'bin', 'sendmail')
    variables = {'STERNPOST_SOCKET': sternpost.options['submit_socket'], 'STERNPOST_MAILDROP': drop(sternpost)}

    def send():
        return subprocess.run(
            ['setpriv', '--no-new-privs', '--reuid', '65534', '--clear-groups', link, 'a@sink.test'],
            input=MESSAGE.encode(), capture_output=True, timeout=60, env=clean_environment(**variables),
        )

    expect_equal(send().returncode, 0, 'exit code while the daemon runs')
    sternpost.stop()
    done = send()
    expect(done.returncode == 75 and b'NoNewPrivileges' in done.stderr, 'without the daemon: %r' % (done,))


@test
def an_answer_from_the_journal_alone_says_so(machine):
    _, sternpost = world(machine)
    sternpost.do('queue', 'suspend', '--domain', 'sink.test', '--reason', 'so that it stays')
    sternpost.submit('-f', 'ann@sender.test', 'u@sink.test', text=MESSAGE)
    sternpost.stop()
    done = sternpost.command('queue', 'list')
    expect_equal((done.code, done.err), (0, ''), 'exit code and warnings while the index is there')
    for name in os.listdir(sternpost.options['state_dir']):
        if name.startswith('queue.db'):
            os.unlink(os.path.join(sternpost.options['state_dir'], name))
    done = sternpost.command('queue', 'list')
    expect_equal(done.code, 0, 'exit code')
    expect('u@sink.test' in done.out, 'the mail is not listed: %s' % done.out)
    expect('read from the journal alone' in done.err, 'no word about the index: %r' % done.err)


@test
def sendmail_that_is_interrupted_leaves_nothing(machine):
    """CLI-26: SIGTERM before the end of the input."""
    sink, sternpost = world(machine)
    variables = {
        'STERNPOST_SOCKET': sternpost.options['submit_socket'],
        'STERNPOST_MAILDROP': sternpost.options['maildrop_dir'],
    }
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(
            [program('sendmail'), '-f', 'a@sender.test', 'a@sink.test'],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(**variables),
        ) as running:
            running.stdin.write(MESSAGE.encode())
            running.stdin.flush()
            wait_for('it has read', lambda: not unread(running.stdin))
            running.send_signal(number)
            expect(running.wait(10) != 0, 'exit 0 after signal %d' % number)
            running.stdin.close()
    sternpost.submit('-f', 'a@sender.test', 'b@sink.test', text=MESSAGE)
    sink.wait_taken(1)
    sternpost.wait_empty()
    expect_equal([t.forward_paths for t in sink.taken], [('b@sink.test',)], 'what arrived')
    expect_equal(os.listdir(sternpost.options['maildrop_dir']), [], 'what lies in the maildrop')


def unread(pipe):
    """Octets in a pipe that its reader has not taken yet."""
    count = array.array('i', [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


# ---------------------------------------------------------------------------------------------------------------------- maildrop
def drop(sternpost):
    return sternpost.options['maildrop_dir']


def dropped(sternpost):
    return sorted(n for n in os.listdir(drop(sternpost)) if re.fullmatch('[0-9a-f]{32}', n))


@test
def mail_given_while_the_daemon_is_down_goes_out_when_it_is_back(machine):
    """CLI-25; and a file that the daemon took before is not delivered a second time."""
    sink, sternpost = world(machine, start=False)
    for number in range(5):
        sternpost.submit('-f', 'ann@sender.test', 'u%d@sink.test' % number, text=MESSAGE)
    expect_equal(len(dropped(sternpost)), 5, 'files in the maildrop (%s)' % os.listdir(drop(sternpost)))
    one = os.path.join(drop(sternpost), dropped(sternpost)[0])
    expect_equal(os.stat(one).st_mode & 0o7027, 0, 'rights on a file in the maildrop that nobody should have')
    kept = shutil.copy2(one, machine.path('kept'))
    sternpost.start()
    sink.wait_taken(5)
    wait_for('the maildrop is empty', lambda: not dropped(sternpost))
    expect_equal(
        sorted(t.forward_paths[0] for t in sink.taken), ['u%d@sink.test' % n for n in range(5)], 'what arrived'
    )
    sternpost.wait_empty()
    # As if the daemon had died between its commit and the unlink.
    sternpost.stop()
    shutil.copy2(kept, one)
    sternpost.start()
    wait_for('the old file is gone', lambda: not dropped(sternpost))
    # While it runs, too: a file that appears is taken.
    sternpost.kill()
    sternpost.submit('-f', 'ann@sender.test', 'late@sink.test', text=MESSAGE)
    late = dropped(sternpost)[0]
    os.rename(os.path.join(drop(sternpost), late), machine.path(late))
    sternpost.start()
    shutil.copy2(machine.path(late), os.path.join(drop(sternpost), 'tmp-' + late))
    os.rename(os.path.join(drop(sternpost), 'tmp-' + late), os.path.join(drop(sternpost), late))
    sink.wait_taken(6)
    sternpost.wait_empty()
    expect_equal(len(sink.taken), 6, 'messages at the sink')


@test
def what_does_not_belong_into_the_maildrop_is_refused_and_reported(machine):
    sink, sternpost = world(machine, start=False)
    sternpost.submit('-f', 'ann@sender.test', 'good@sink.test', text=MESSAGE)
    good = os.path.join(drop(sternpost), dropped(sternpost)[0])
    with open(good, 'rb') as f:
        record = f.read()

    def name(number):
        return '%032x' % (0xABC000 + number)

    secret = machine.write('secret', record, mode=0o600)
    bad = [name(n) for n in range(10)]
    path = [os.path.join(drop(sternpost), b) for b in bad]
    os.symlink(secret, path[0])
    os.mkfifo(path[1])
    os.link(secret, path[2])
    os.mkdir(path[3])
    for number, octets in (
        (4, record[: len(record) // 2]),
        (5, record[:-1]),
        (6, b''),
        (7, b'\0' * 5000),
        (8, record.replace(b'hello', b'hxllo', 1)),
        (9, b'sternpost-submission 1\n' + b'to <a@sink.test>\n' * 100_000),
    ):
        with open(path[number], 'wb') as f:
            f.write(octets)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.join(drop(sternpost), name(10)))
    bad.append(name(10))
    sternpost.start()
    sink.wait_taken(1)
    sternpost.submit('-f', 'ann@sender.test', 'after@sink.test', text=MESSAGE)
    sink.wait_taken(2)
    refused = os.path.join(drop(sternpost), 'refused')
    wait_for('each is set aside', lambda: all(os.path.lexists(os.path.join(refused, b)) for b in bad))
    reported = [b for b in bad if b in sternpost.process.log()]
    expect_equal(len(reported), 10, 'files reported in the first minute, of one user')
    sternpost.wait_empty()
    expect_equal(
        sorted(t.forward_paths[0] for t in sink.taken), ['after@sink.test', 'good@sink.test'], 'what arrived'
    )
    with open(secret, 'rb') as f:
        expect_equal(f.read(), record, 'what the links pointed to')
    # One report each, not one every look.
    expect(
        all(len(re.findall(b, sternpost.process.log())) <= 3 for b in bad),
        'the same file is reported again and again',
    )


# -------------------------------------------------------------------------------------------------------------- as it is installed
def mount(machine, target):
    """An empty folder over `target`, in this test's mount namespace only."""
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', target], check=True)
    machine.at_end(subprocess.run, ['umount', '-l', target])


def install_configuration(machine, sternpost):
    """Where programs that are told nothing look for it; /etc is the test's own."""
    os.makedirs('/etc/sternpost')
    shutil.copy(sternpost.config, '/etc/sternpost/sternpost.toml')
    machine.at_end(shutil.rmtree, '/etc/sternpost')


@test
def installed_as_a_package_would_unprivileged_users_send_and_root_is_given_up(machine):
    """The daemon as user sternpost; sendmail set-gid, whose maildrop nobody else can read, list or fill."""
    for target in ('/run', '/var/spool'):
        mount(machine, target)
    ids = {n: pwd.getpwnam(n).pw_uid for n in USERS}
    group = grp.getgrnam('sternpost-drop').gr_gid
    os.makedirs('/run/sternpost')
    os.chown('/run/sternpost', ids['sternpost'], ids['sternpost'])
    maildrop = '/var/spool/sternpost/maildrop'
    os.makedirs(maildrop)
    os.chown(maildrop, ids['sternpost'], group)
    os.chmod(maildrop, 0o1730)
    sendmail = shutil.copy(program('sendmail'), machine.path('sendmail'))
    os.chown(sendmail, 0, group)
    os.chmod(sendmail, 0o2755)
    sink, sternpost = world(
        machine,
        start=False,
        user='sternpost',
        control_socket='/run/sternpost/control.sock',
        submit_socket='/run/sternpost/submit.sock',
        maildrop_dir=maildrop,
    )
    os.chown(sternpost.options['state_dir'], ids['sternpost'], ids['sternpost'])

    def send(user, recipient, **env):
        return subprocess.run(
            [sendmail, '-f', user + '@sender.test', recipient],
            input=MESSAGE.encode(),
            capture_output=True,
            user=user,
            group=user,
            extra_groups=[],
            env=clean_environment(**env),
            timeout=30,
        )

    # The daemon is down. The environment must not lead a set-gid program elsewhere.
    elsewhere = machine.folder('elsewhere', mode=0o777)
    done = send('alice', 'down@sink.test', STERNPOST_MAILDROP=elsewhere, STERNPOST_SOCKET=elsewhere + '/s')
    expect_equal(
        (done.returncode, done.stderr, os.listdir(elsewhere)), (0, b'', []), 'sendmail while the daemon is down'
    )
    files = os.listdir(maildrop)
    expect_equal(len(files), 1, 'files in the maildrop')
    expect_equal(os.stat(os.path.join(maildrop, files[0])).st_uid, ids['alice'], 'owner of the file')
    for what, argv in (
        ('list the maildrop', ['ls', maildrop]),
        ('read the file', ['cat', os.path.join(maildrop, files[0])]),
        ('write there', ['touch', maildrop + '/x']),
        ('remove it', ['rm', '-f', os.path.join(maildrop, files[0])]),
    ):
        expect(
            subprocess.run(argv, user='bob', group='bob', extra_groups=[], capture_output=True).returncode != 0,
            'another user can ' + what,
        )
    sternpost.start()
    sink.wait_taken(1)
    expect_equal(send('bob', 'up@sink.test').returncode, 0, 'exit code of sendmail while the daemon runs')
    sink.wait_taken(2)
    for taken, user in zip(sink.taken, ('alice', 'bob')):
        expect(
            'uid %d' % ids[user] in header_of(taken)['received'],
            'Received of %s\'s message: %s' % (user, header_of(taken)['received']),
        )
    with open('/proc/%d/status' % sternpost.process.pid) as f:
        status = f.read()
    expect_equal(
        re.search(r'(?m)^Uid:\s+(.*)$', status)[1].split(), [str(ids['sternpost'])] * 4, 'the daemon\'s user ids'
    )
    expect_equal(int(re.search(r'(?m)^CapEff:\s+(.*)$', status)[1], 16), 0, 'the daemon\'s capabilities')
    expect_equal(os.listdir(maildrop) in ([], ['refused']), True, 'the maildrop is empty (%s)' % os.listdir(maildrop))
    # The queue is the administrator's affair. (Others need not be able to look into the build folder.)
    command = shutil.copy(program('sternpost'), os.path.join(os.path.dirname(sendmail), 'sternpost'))
    done = subprocess.run(
        [command, '--config', sternpost.config, 'queue', 'retry', '--all'],
        user='bob',
        group='bob',
        extra_groups=[],
        capture_output=True,
        env=clean_environment(),
    )
    expect_equal(done.returncode, 77, 'exit code of `queue retry` for bob (%s)' % done.stderr.decode())
    sternpost.stop()


@test
def without_a_configuration_file_it_runs_on_safe_defaults(machine):
    for target in ('/run', '/var/lib', '/var/spool'):
        mount(machine, target)
    Dns(machine, RECORDS)
    daemon = Process(machine, 'sternpostd', [program('sternpostd')], clean_environment())
    daemon.ready('is ready', lambda: re.search(r'(?m)(^|\s)ready(\s|$)', daemon.log()))
    with Dialogue() as d:
        d.ehlo()
        d.message('a@sender.test', ['u@sink.test'], MESSAGE.replace('\n', '\r\n').encode())
    expect(listens('::1', 25), 'it does not listen on ::1')
    listed = subprocess.run(
        [program('sternpost'), 'queue', 'list'], capture_output=True, text=True, env=clean_environment()
    )
    expect_equal((listed.returncode, listed.stderr), (0, ''), '`sternpost queue list`')
    # Its MX host is a loopback address, which is refused unless allowed.
    wait_for('the message is not delivered there', lambda: 'status=deferred' in daemon.log() or 'status=bounced' in daemon.log())
    expect_equal(daemon.end(), 0, 'exit code after SIGTERM')


# ---------------------------------------------------------------------------------------------------------------- configuration
MISTAKES = [  # text, line of the mistake, what must be said about it
    ('hostnmae = "relay.test"\n', 1, ['unknown key', '"hostnmae"', 'did you mean "hostname"']),
    ('hostname = "relay.test"\n\n[queue]\nlifetime = "5x"\n', 4, ['queue.lifetime', '"5x"', 'duration', '"5m"']),
    ('[queue]\nretry = "5m"\n', 2, ['queue.retry']),
    ('[queue]\nretry = ["5m", "soon"]\n', 2, ['queue.retry', '"soon"']),
    ('[listener]\nmax_message_size = "big"\n', 2, ['listener.max_message_size', '"big"', 'MiB']),
    ('[listener]\nlisten = ["127.0.0.1"]\n', 2, ['listener.listen', '127.0.0.1']),
    ('[sts]\nenabled = "yes"\n', 2, ['sts.enabled', 'true']),
    ('[delivery]\nsmtp_port = 70000\n', 2, ['delivery.smtp_port', '70000']),
    ('[deliver]\nsmtp_port = 25\n', 1, ['"deliver"', '"delivery"']),
    ('[[client]]\nnetwork = "192.0.2.0/24"\nrole = "submit"\n', 3, ['"submit"', 'originate', 'relay']),
    ('[[client]]\nnetwork = "192.0.2.0/99"\nrole = "relay"\n', 2, ['192.0.2.0/99']),
    ('log_level = "loud"\n', 1, ['log_level', '"loud"', 'debug']),
    ('resolvers = ["nonsense"]\n', 1, ['resolvers', 'nonsense']),
    ('hostname = relay.test\n', 1, []),
    ('hostname = "relay.test"\nhostname = "relay.test"\n', 2, []),
    ('hostname = "not a name"\n', 1, ['hostname', 'not a name']),
]


@test
def a_mistake_in_the_configuration_is_named_by_file_and_line(machine):
    wrong = []
    for number, (text, line, words) in enumerate(MISTAKES):
        path = machine.write('%d.toml' % number, text)
        checked = subprocess.run(
            [program('sternpost'), '--config', path, 'config', 'check'],
            capture_output=True,
            text=True,
            env=clean_environment(),
        )
        started = subprocess.run(
            [program('sternpostd'), '--config', path],
            capture_output=True,
            text=True,
            env=clean_environment(),
            timeout=20,
        )
        for who, done, codes in (('config check', checked, (1,)), ('sternpostd', started, (1, 78))):
            said = done.stdout + done.stderr
            place = '%s:%d: ' % (path, line)
            if done.returncode not in codes:
                wrong.append('%s on %r: exit %d' % (who, text, done.returncode))
            if place not in said or any(w not in said for w in words):
                wrong.append('%s on %r: expected %s… %s, it said %r' % (who, text, place, words, said[-300:]))
    absent = machine.path('absent.toml')
    done = subprocess.run(
        [program('sternpost'), '--config', absent, 'config', 'check'],
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    if done.returncode == 0 or absent not in done.stdout + done.stderr:
        wrong.append('a file that is not there: exit %d, %r' % (done.returncode, done.stderr))
    expect(not wrong, '%d complaints:\n  %s' % (len(wrong), '\n  '.join(wrong)))
    good = Sternpost(machine, start=False)
    expect_equal(good.command('config', 'check').code, 0, 'exit code of `config check` on a good file')
    shown = good.ask('config', 'show')
    expect(isinstance(shown, dict) and 'relay.test' in repr(shown), '`config show --json`: %r' % shown)
    expect('relay.test' in good.do('config', 'show'), '`config show` does not name the host')


@test
def all_mistakes_of_a_file_are_told_at_once(machine):
    path = machine.write('many.toml', 'hostnmae = "a.test"\n[queue]\nlifetime = "5x"\n[sts]\nenabeld = true\n')
    done = subprocess.run(
        [program('sternpost'), '--config', path, 'config', 'check'],
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    said = done.stdout + done.stderr
    expect(all('%s:%d: ' % (path, n) in said for n in (1, 3, 5)), 'not every mistake is named: ' + said)


@test
def what_a_configuration_names_is_opened_and_warned_of(machine):
    sternpost = Sternpost(machine, start=False)

    def warned(*words, **options):
        sternpost.change(**options)
        done = sternpost.command('config', 'check')
        expect_equal(done.code, 0, 'a warning is no error: ' + done.err)
        expect(any(all(word in line for word in words) for line in done.err.splitlines()), '%s in: %s' % (words, done.err))
        expect('with the warnings above' in done.out, 'it says so: ' + done.out)

    expect_equal(sternpost.command('config', 'check').err, '', 'nothing to warn of')
    warned('source_ipv4', '192.0.2.77', 'no interface', source_ipv4='192.0.2.77')
    warned('admin_address', 'at this host', admin_address='root@relay.test')
    warned('tls_certificate', '/nowhere', listener={'tls_certificate': '/nowhere/cert.pem'})
    warned('[[client]] 0.0.0.0/0', 'open relay', client=[{'network': '0.0.0.0/0'}, {'network': '198.18.0.0/15'}, {'network': '198.18.0.0/15'}])
    warned('198.18.0.0/15', 'twice')
    warned(
        '[[override]] old.test', 'expired', override=[{'scope': 'old.test', 'level': 'encrypt', 'reason': 'a test', 'expires': '2020-01-01T00:00:00Z'}]
    )
    warned('tlsrpt.contact', 'no active DKIM key of office.test', tlsrpt={'organization': 'Office', 'contact': 'ann@office.test'})


@test
def a_second_daemon_on_the_same_state_directory_refuses(machine):
    sink, first = world(machine)
    second = Sternpost(
        machine,
        name='second',
        start=False,
        state_dir=first.options['state_dir'],
        listener={'listen': ['127.0.0.1:2526']},
    )
    process = second.launch()
    code = process.popen.wait(20)
    expect(code != 0, 'exit 0')
    expect(first.options['state_dir'] in process.log(), 'it does not name the directory: ' + process.log())
    expect(not listens('127.0.0.1', 2526), 'it listened all the same')
    first.submit('-f', 'ann@sender.test', 'a@sink.test', text=MESSAGE)
    sink.wait_taken(1)
    # A kill leaves no lock behind.
    first.kill()
    second.start()
    second.stop()


# ------------------------------------------------------------------------------------------------------------------- the command
KINDS = {'text': str, 'number': int, 'yes or no': bool, 'list': list, 'table': dict}
MESSAGE_SHAPE = {
    'id': 'text',
    'arrived': 'text',
    'size': 'number',
    'class': 'text',
    'reverse_path': 'text',
    'held': 'yes or no',
    'recipients': 'list',
}
RECIPIENT_SHAPE = {
    'path': 'text',
    'next_hop': 'text',
    'state': 'text',
    'active': 'yes or no',
    'next_at': 'text',
    'tries': 'number',
    'status': 'text',
    'reason': 'text',
}
TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z')


def has_shape(value, shape, what):
    expect(isinstance(value, dict), '%s is no object: %r' % (what, value))
    for key, kind in shape.items():
        expect(key in value, '%s has no %s: %r' % (what, key, value))
        expect(type(value[key]) is KINDS[kind], '%s: %s is not a %s: %r' % (what, key, kind, value[key]))


@test
def the_queue_is_shown_in_json_and_in_words(machine):
    sink, sternpost = world(machine)
    install_configuration(machine, sternpost)
    sternpost.submit('-f', 'ann@sender.test', 'a@dead.test', 'b@dead.test', text=MESSAGE)
    sternpost.submit('-f', '<>', 'c@dead.test', text=MESSAGE)
    for path in ('a@dead.test', 'b@dead.test', 'c@dead.test'):
        sternpost.wait_deferred(path)
    for running in (True, False):  # a reading verb works while the daemon is down, and says the same
        if not running:
            sternpost.stop()
        listed = sternpost.ask('queue', 'list')
        has_shape(listed, {'messages': 'list', 'totals': 'table'}, 'queue list')
        has_shape(
            listed['totals'],
            {'messages': 'number', 'recipients': 'number', 'octets': 'number', 'oldest': 'text'},
            'totals',
        )
        expect_equal((listed['totals']['messages'], listed['totals']['recipients']), (2, 3), 'totals')
        for message in listed['messages']:
            has_shape(message, MESSAGE_SHAPE, 'message')
            expect(TIME.fullmatch(message['arrived']), 'arrived is no time: ' + message['arrived'])
            for recipient in message['recipients']:
                has_shape(recipient, RECIPIENT_SHAPE, 'recipient')
                expect_equal(
                    (recipient['state'], recipient['active'], recipient['next_hop']),
                    ('queued', False, 'dead.test'),
                    'recipient',
                )
                expect(TIME.fullmatch(recipient['next_at']), 'next_at is no time: ' + recipient['next_at'])
                expect(
                    recipient['status'].startswith('4.') and 'mx.dead.test' in recipient['reason'],
                    'reason: %r' % recipient,
                )
        expect_equal(sorted(m['reverse_path'] for m in listed['messages']), ['', 'ann@sender.test'], 'reverse-paths')
        first = listed['messages'][0]
        shown = sternpost.ask('queue', 'show', first['id'])
        has_shape(shown, MESSAGE_SHAPE, 'queue show')
        expect_equal(shown['id'], first['id'], 'the message shown')
        expect_equal(len(sternpost.ask('queue', 'list', '--limit', '1')['messages']), 1, 'messages with --limit 1')
        expect_equal(
            len(sternpost.ask('queue', 'list', '--domain', 'dead.test')['messages']), 2, 'messages of dead.test'
        )
        words = sternpost.do('queue', 'list')
        expect(
            first['id'] in words and 'a@dead.test' in words and 'mx.dead.test' in words,
            '`queue list` in words: ' + words,
        )
        for mailq in (sternpost.sendmail(name='mailq'), sternpost.sendmail('-bp')):
            expect_equal((mailq.code, first['id'] in mailq.out), (0 if running else 69, True), 'mailq (%s)' % mailq.out)
            expect_equal('mail system is down' in mailq.err, not running, 'what mailq says of the daemon: ' + mailq.err)
        status = sternpost.command('status', '--json')
        expect(status.code in ((0, 1) if running else (69,)) and status.out.lstrip().startswith('{'), '`status --json`: %r' % (status,))


@test
def every_exit_code_of_the_command_is_the_documented_one(machine):
    sink, sternpost = world(machine)
    unknown = '0BCDFGH'
    cases = [
        (('queue', 'list'), 0),
        (('queue', 'show', unknown), 1),
        (('queue', 'retry', unknown), 1),
        (('queue', 'delete', unknown), 1),
        (('queue', 'retry', '--domain', 'nobody.test'), 1),
        (('queue', 'hops'), 0),
        (('queue', 'suspended'), 0),
        (('queue', 'resume', '--domain', 'nobody.test'), 1),
        (('queue', 'reroute', '--all', '--to', 'other.test'), 1),
        (('doctor', '--spool'), 0),
        (('doctor', '--spool', '--repair'), 69),
        (('sts', 'show', 'nobody.test'), 1),
        (('sts', 'list'), 0),
        (('status',), 0),
        (('config', 'check'), 0),
        (('config', 'show'), 0),
        ((), 64),
        (('nonsense',), 64),
        (('queue',), 64),
        (('queue', 'nonsense'), 64),
        (('queue', 'show'), 64),
        (('queue', 'retry'), 64),
        (('queue', 'delete'), 64),
        (('queue', 'reroute', '--all'), 64),
        (('queue', 'suspend', '--domain', 'nobody.test'), 64),
        (('queue', 'suspend', '--reason', 'because'), 64),
        (('doctor',), 1),  # relay.test has no address
        (('doctor', '--repair'), 64),
        (('log', 'nobody@sink.test'), 1),
        (('alarms', 'list'), 0),
        (('alarms', 'ack'), 64),
        (('alarms', 'mute', '--all'), 64),
        (('queue', 'summary'), 0),
        (('queue', 'list', '--older', 'soon'), 64),
        (('queue', 'list', '--nonsense'), 64),
        (('queue', 'list', '--limit', 'many'), 64),
        (('--help',), 0),
    ]
    down = [
        (('queue', 'list'), 0),
        (('queue', 'show', unknown), 1),
        (('sts', 'list'), 0),
        (('sts', 'show', 'nobody.test'), 1),
        (('config', 'check'), 0),
        (('queue', 'hops'), 0),
        (('queue', 'suspended'), 0),
        (('doctor', '--spool'), 0),
        (('doctor', '--spool', '--repair'), 0),
        (('doctor',), 1),
        (('log', 'nobody@sink.test'), 1),
        (('alarms', 'list'), 0),
        (('alarms', 'ack', '--all'), 69),
        (('queue', 'summary'), 0),
        (('queue', 'retry', '--all'), 69),
        (('queue', 'delete', unknown), 69),
        (('sts', 'refresh', 'sink.test'), 69),
    ]
    wrong = []
    for running, table in ((True, cases), (False, down)):
        if not running:
            sternpost.stop()
        for arguments, code in table:
            done = sternpost.command(*arguments)
            if done.code != code:
                wrong.append(
                    '%s (daemon %s): exit %d instead of %d: %s'
                    % (
                        ' '.join(arguments),
                        'up' if running else 'down',
                        done.code,
                        code,
                        (done.err or done.out).strip()[:200],
                    )
                )
            elif code and not done.err.strip():
                wrong.append('%s: exit %d without a word on standard error' % (' '.join(arguments), code))
    expect(not wrong, '\n  '.join(wrong))


@test
def queued_mail_is_retried_and_deleted_by_hand(machine):
    sink, sternpost = world(machine)
    sternpost.submit('-f', 'ann@sender.test', 'a@dead.test', text=MESSAGE)
    sternpost.submit('-f', 'ann@sender.test', 'b@dead.test', text=MESSAGE)
    for path in ('a@dead.test', 'b@dead.test'):
        sternpost.wait_deferred(path)
    ids = {m['recipients'][0]['path']: m['id'] for m in sternpost.ask('queue', 'list')['messages']}
    sternpost.do('queue', 'delete', ids['a@dead.test'])
    expect_equal(list(sternpost.recipients()), ['b@dead.test'], 'queued after the deletion')
    back = Sink(machine, '127.0.0.41')
    sternpost.do('queue', 'retry', ids['b@dead.test'])
    back.wait_taken(1)
    sternpost.wait_empty()
    # The same by sendmail -q (CLI-17), for all.
    back.stop()
    sternpost.submit('-f', 'ann@sender.test', 'c@dead.test', text=MESSAGE)
    sternpost.wait_deferred('c@dead.test')
    again = Sink(machine, '127.0.0.41')
    install_configuration(machine, sternpost)
    done = sternpost.sendmail('-q')
    expect_equal((done.code, done.err), (0, ''), 'sendmail -q')
    again.wait_taken(1)
    sternpost.wait_empty()
    sternpost.restart()
    expect_equal(sternpost.recipients(), {}, 'queued after a restart')
    expect_equal(
        ([t.forward_paths for t in back.taken], sink.taken),
        ([('b@dead.test',)], []),
        'what arrived: no bounce for what was deleted',
    )


@test
def what_ends_mail_for_good_is_counted_first_and_asks_on_a_terminal(machine):
    _, sternpost = world(machine)
    for path in ('a@dead.test', 'b@dead.test'):
        sternpost.submit('-f', 'ann@sender.test', path, text=MESSAGE)
        sternpost.wait_deferred(path)
    for verb, done in (('hold', 'on hold'), ('expire', 'given up'), ('delete', 'deleted'), ('retry', 'due now')):
        said = sternpost.do('queue', verb, '--domain', 'dead.test', '--dry-run')
        expect_equal(said, 'would be %s: 2 message(s), 2 recipient(s)\n' % done, 'a dry run of ' + verb)
    expect_equal(sternpost.ask('queue', 'delete', '--all', '--dry-run')['dry_run'], True, 'a dry run in JSON')
    messages = sternpost.ask('queue', 'list')['messages']
    expect_equal([(m['held'], len(m['recipients'])) for m in messages], [(False, 1)] * 2, 'what waits after the dry runs')
    for answer, left in (('n', 2), ('', 2), ('y', 0)):
        said, code = at_terminal(sternpost.argv('queue', 'delete', '--all'), answer + '\n')
        expect('2 message(s), 2 recipient(s) would be deleted. Go on? [y/N]' in said, 'the question is missing: ' + said)
        expect_equal((code, len(sternpost.recipients())), (0 if answer == 'y' else 1, left), 'after the answer %r' % answer)
    sternpost.submit('-f', 'ann@sender.test', 'c@dead.test', text=MESSAGE)
    sternpost.wait_deferred('c@dead.test')
    said, code = at_terminal(sternpost.argv('queue', 'delete', '--all', '--yes'), '')
    expect_equal((code, 'Go on' in said, sternpost.recipients()), (0, False, {}), 'with --yes')


def at_terminal(argv, typed):
    """What a command says at a terminal where this is typed, and its exit code."""
    ours, its = pty.openpty()
    child = subprocess.Popen(argv, env=clean_environment(), stdin=its, stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    os.write(ours, typed.encode())
    said = b''
    with contextlib.suppress(OSError):  # a terminal that no program has open any more
        while piece := os.read(ours, 4096):
            said += piece
    os.close(ours)
    return said.decode(), child.wait(timeout=30)


@test
def the_command_helps_those_who_mistype(machine):
    sternpost = Sternpost(machine, start=False)
    for words, said in (
        (['qeue', 'list'], 'sternpost: "sternpost" has no verb "qeue"; did you mean "sternpost queue"?\n'),
        (['queue', 'lsit'], 'sternpost: "sternpost queue" has no verb "lsit"; did you mean "sternpost queue list"?\n'),
        (['help', 'polcy', 'whatif'], 'sternpost: "sternpost" has no verb "polcy"; did you mean "sternpost policy"?\n'),
        (['sts', 'elephants'], 'sternpost: "sternpost sts" has no verb "elephants"; "sternpost sts --help" lists what there is\n'),
    ):
        done = sternpost.command(*words)
        expect_equal((done.code, done.out, done.err), (64, '', said), ' '.join(words))
    for words in (['queue', 'list'], ['queue'], []):
        helped, asked = sternpost.command('help', *words), sternpost.command(*words, '--help')
        expect_equal(helped.code, 0, 'help ' + ' '.join(words))
        for line in asked.out.splitlines():
            if line.startswith('  '):
                expect(line in helped.out, 'help %s lacks %r' % (' '.join(words), line))


@test
def a_reader_that_has_seen_enough_is_no_failure(machine):
    sternpost = Sternpost(machine, start=False)
    ours, its = os.pipe()
    os.close(ours)
    done = subprocess.run(
        sternpost.argv('config', 'show'), env=clean_environment(), stdin=subprocess.DEVNULL, stdout=its, stderr=subprocess.PIPE, text=True, timeout=30
    )
    os.close(its)
    expect_equal((done.returncode, done.stderr), (0, ''), 'into a closed pipe')


@test
def a_monitor_hears_in_a_line_how_the_daemon_is(machine):
    _, sternpost = world(machine)
    done = sternpost.command('check')
    expect_equal(
        (done.code, done.out),
        (0, 'STERNPOST OK - 0 messages in the queue | messages=0;1000;10000;0 oldest=0s;14400;86400;0 alarms=0;;;0\n'),
        'an empty queue',
    )
    sternpost.submit('-f', 'ann@sender.test', 'a@dead.test', text=MESSAGE)
    sternpost.wait_deferred('a@dead.test')
    for options, code in (([], 0), (['--queue-warning', '1'], 1), (['--queue-critical', '1'], 2), (['--queue-warning', '0'], 0)):
        expect_equal(sternpost.command('check', *options).code, code, 'one message, and %s' % options)
    sternpost.stop()
    done = sternpost.command('check')
    expect_equal(done.code, 2, 'the daemon is down')
    expect(done.out.startswith('STERNPOST CRITICAL - the daemon is down | messages=1;'), done.out)
    with open(sternpost.config, 'a') as f:
        f.write('\nnonsense = 1\n')
    done = sternpost.command('check')
    expect_equal((done.code, done.out[:20]), (3, 'STERNPOST UNKNOWN - '), 'an unusable configuration')


@test
def a_shell_completes_verbs_and_options(machine):
    sternpost = Sternpost(machine, start=False)
    script = machine.path('completion')
    with open(script, 'w') as f:
        f.write(sternpost.do('completion', 'bash'))
    for line, offers in (
        ('sternpost qu', ['queue']),
        ('sternpost queue del', ['delete']),
        ('sternpost --config /x queue re', ['release', 'reroute', 'resume', 'retry']),
        ('sternpost queue delete --dr', ['--dry-run']),
        ('sternpost policy override s', ['set']),
    ):
        words = line.split()
        done = subprocess.run(
            ['bash', '-c', '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sternpost; printf "%s\\n" "${COMPREPLY[@]}" | sort', script, *words],
            capture_output=True,
            text=True,
            timeout=30,
        )
        expect_equal((done.stdout.split(), done.stderr), (offers, ''), line)
    expect(sternpost.do('completion', 'zsh').startswith('#compdef sternpost\n'), 'zsh does not see whom it completes')


@test
def an_administrator_holds_releases_ends_and_deletes_mail(machine):
    """By id, next hop, sender and reason; durable, with who did it."""
    sink, sternpost = world(machine)
    for sender, path in (('carol@sender.test', 'a@dead.test'), ('bulk@sender.test', 'b@dead.test'), ('bulk@sender.test', 'c@dead.test')):
        sternpost.submit('-f', sender, path, text=MESSAGE)
        sternpost.wait_deferred(path)
    sternpost.submit('-f', 'ann@sender.test', 'd@dead.test', 'd@[127.0.0.41]', text=MESSAGE)
    sternpost.wait_deferred('d@dead.test')
    ids = {r['path']: m['id'] for m in sternpost.ask('queue', 'list')['messages'] for r in m['recipients']}
    done = sternpost.ask('queue', 'hold', '--sender', '@sender.test', '--domain', 'DEAD.test')
    expect_equal((done['messages'], done['active']), (4, 0), 'held by sender and next hop')
    sternpost.restart()
    held = {m['id'] for m in sternpost.ask('queue', 'list')['messages'] if m['held']}
    expect_equal(held, set(ids.values()), 'on hold after a restart')
    why = sternpost.do('why', ids['a@dead.test'])
    expect('the message is on hold' in why and 'put on hold by uid 0' in why, 'why says who holds the message:\n' + why)
    # The senders of what is ended by hand are told; of two recipients only the one that is meant is ended.
    done = sternpost.ask('queue', 'expire', '--domain', 'dead.test', '--sender', 'ann@sender.test')
    expect_equal((done['messages'], done['recipients']), (1, 1), 'ended by next hop')
    wait_for('the bounce', lambda: any(r.startswith('ann@') for r in sternpost.recipients()) or sink.taken)
    done = sternpost.ask('queue', 'delete', '--reason', 'refused', '--sender', 'bulk@sender.test')
    expect_equal(done['messages'], 2, 'deleted by the reason that they wait for')
    back = Sink(machine, '127.0.0.41')
    expect_equal(sternpost.ask('queue', 'release', ids['a@dead.test'])['messages'], 1, 'released by id')
    sternpost.do('queue', 'retry', '--sender', 'carol@sender.test')
    back.wait_taken(1)
    nothing = sternpost.command('queue', 'release', '--reason', 'no such reason')
    expect_equal((nothing.code, nothing.err), (1, 'sternpost: nothing in the queue matches\n'), 'a selection that meets nothing')
    why = sternpost.do('why', ids['d@dead.test'])
    expect('given up before its time by the administrator (uid 0); what stood in the way before: ' in why, 'why says who gave up:\n' + why)
    why = sternpost.do('why', ids['b@dead.test'])
    expect('deleted by uid 0' in why, 'why says who deleted:\n' + why)
    sternpost.restart()
    expect(not {'b@dead.test', 'c@dead.test', 'd@dead.test'} & set(sternpost.recipients()), 'what was ended stays ended')
    expect_equal([t.forward_paths for t in back.taken], [('a@dead.test',)], 'what was delivered')


@test
def the_sender_of_mail_that_waits_long_is_told_once(machine):
    """RFC 3461 §5.2.5, RFC 3464 §2.3.8: why, and until when; not with NOTIFY=NEVER, and not again after a restart."""
    sink, sternpost = world(machine, queue={'delay_warning': '1s'})
    sternpost.submit('-f', 'ann@sender.test', 'bob@dead.test', text=MESSAGE)
    sternpost.submit('-f', 'quiet@sender.test', '-N', 'never', 'bob@dead.test', text=MESSAGE)
    sternpost.submit('-f', 'failure@sender.test', '-N', 'failure', 'bob@dead.test', text=MESSAGE)
    sternpost.wait_event('delay-warning')
    ids = {m['reverse_path']: m['id'] for m in sternpost.ask('queue', 'list')['messages']}
    why = wait_for('why says it', lambda: (lambda text: 'told of the delay' in text and text)(sternpost.do('why', ids['ann@sender.test'])))
    told = [event['for'] for event in sternpost.events('delay-warning')]
    expect_equal(told, [ids['ann@sender.test']], 'messages whose senders were told')
    sternpost.restart()
    sternpost.submit('-f', 'later@sender.test', 'bob@dead.test', text=MESSAGE)
    sternpost.wait_event('delay-warning')
    ids.update({m['reverse_path']: m['id'] for m in sternpost.ask('queue', 'list')['messages']})
    told = [event['for'] for event in sternpost.events('delay-warning')]
    expect_equal(told, [ids['later@sender.test']], 'those told after a restart')
    wait_for('the warning at the sink', lambda: any('ann@sender.test' in t.forward_paths for t in sink.taken))
    notices = [t for t in sink.taken if 'ann@sender.test' in t.forward_paths]
    expect_equal(len(notices), 1, 'warnings to one sender')
    report = email.message_from_bytes(notices[0].data)
    status = report.get_payload()[1].get_payload()[1]
    seen = notices[0].reverse_path, report['Subject'], status['Action']
    expect_equal(seen, ('', 'Your message is delayed', 'delayed'), 'the warning')
    expect('Will-Retry-Until' in status and 'Connection refused' in status['Diagnostic-Code'], 'what it says for programs:\n%s' % status)
    expect_equal(report.get_payload()[2].get_content_type(), 'text/rfc822-headers', 'what comes back of the message')


@test
def mail_that_cannot_be_delivered_comes_back(machine):
    """RFC 3464: to the sender, from the null reverse-path, with the remote reply; a bounce of a bounce to the administrator."""
    sink, sternpost = world(machine)
    sink.refuse['no@sink.test'] = '550 5.1.1 nobody of that name'
    sink.refuse['gone@sender.test'] = '550 5.1.1 gone'
    sternpost.submit('-f', 'ann@sender.test', 'no@sink.test', 'yes@sink.test', text=MESSAGE)
    sink.wait_taken(2)
    bounce = next(t for t in sink.taken if t.reverse_path == '')
    expect_equal(bounce.forward_paths, ('ann@sender.test',), 'who gets the bounce')
    header = header_of(bounce)
    expect_equal(
        (header.get_content_type(), header.get_param('report-type')),
        ('multipart/report', 'delivery-status'),
        'the bounce',
    )
    expect(
        header['auto-submitted'] and header['message-id'] and header['date'],
        'fields of the bounce: %s' % header.items(),
    )
    parts = header.get_payload()
    words, status = parts[0].get_payload(), parts[1].as_string()
    expect('no@sink.test' in words and 'nobody of that name' in words, 'the words for people: ' + words)
    for pattern in (
        r'(?i)reporting-mta: dns; ?relay\.test',
        r'(?i)final-recipient: rfc822; ?no@sink\.test',
        r'(?i)action: failed',
        r'(?i)status: 5\.1\.1',
        r'(?i)diagnostic-code: smtp; ?550 5\.1\.1 nobody of that name',
    ):
        expect(re.search(pattern, status), 'the delivery-status part lacks %s: %s' % (pattern, status))
    expect('yes@sink.test' not in status, 'it speaks of the recipient that got its mail')
    expect('Subject: hello' in parts[2].as_string(), 'it does not carry the message\'s header')
    # The sender is gone, too.
    before = len(sink.taken)
    sternpost.submit('-f', 'gone@sender.test', 'no@sink.test', text=MESSAGE)
    sink.wait_taken(before + 1)
    expect_equal(
        (sink.taken[before].forward_paths, sink.taken[before].reverse_path),
        (('admin@relay-admin.test',), ''),
        'the double bounce',
    )
    sternpost.wait_empty()
    expect_equal(len(sink.taken), before + 1, 'messages at the sink')


@test
def root_is_given_up_in_every_thread_and_mail_still_flows(machine):
    Dns(machine, RECORDS)
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine, start=False, user='sternpost', listener={'listen': ['127.0.0.1:25']})
    uid = pwd.getpwnam('sternpost').pw_uid
    for folder in ('', 'state', 'maildrop'):
        os.chown(os.path.join(sternpost.dir, folder), uid, -1)
    sternpost.start()
    tasks = '/proc/%d/task' % sternpost.process.pid
    for task in os.listdir(tasks):
        with open('%s/%s/status' % (tasks, task)) as f:
            status = dict(line.rstrip('\n').split(':', 1) for line in f if ':' in line)
        expect_equal(status['Uid'].split(), [str(uid)] * 4, 'the user ids of a thread')
        for held in ('CapEff', 'CapPrm', 'CapAmb'):
            expect_equal(int(status[held], 16), 0, held + ' of a thread')
        expect_equal(status['NoNewPrivs'].strip(), '1', 'NoNewPrivs of a thread')
    sternpost.submit('-f', 'ann@sender.test', 'a@sink.test', text=MESSAGE)
    sink.wait_taken(1)


@test
def a_queue_in_memory_is_warned_about(machine):
    Dns(machine, RECORDS)
    target = machine.folder('volatile')
    mount(machine, target)
    sternpost = Sternpost(machine, state_dir=target + '/state')
    reasons = [e['reason'] for e in sternpost.events('store')]
    expect(any('tmpfs' in r for r in reasons), 'warnings at start: %s' % reasons)


@test
def a_message_outlives_a_clean_stop_and_is_sent_by_the_next_daemon(machine):
    sink, sternpost = world(machine)
    sternpost.submit('-f', 'ann@sender.test', 'a@dead.test', text=MESSAGE)
    entry = sternpost.wait_deferred('a@dead.test')
    sternpost.restart()
    again = sternpost.recipients()['a@dead.test']
    expect_equal(
        (again['reason'], again['tries']), (entry['reason'], entry['tries']), 'reason and tries after the restart'
    )
    back = Sink(machine, '127.0.0.41')
    sternpost.do('queue', 'retry', '--all')
    back.wait_taken(1)
    expect_equal(
        deliver(b'Subject: x\r\n\r\nx\r\n', recipients=['b@dead.test'])[:5], '2.0.0', 'the 250 to a new message'
    )
    back.wait_taken(2)


if __name__ == '__main__':
    sys.exit(run(peers=True))
