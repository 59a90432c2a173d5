#!/usr/bin/python3
"""Programs that send mail and programs that read mailq, as Debian and npm ship them, on a machine whose mail system is Sternpost:
/usr/sbin/sendmail and /usr/bin/mailq are its own, and its listener is at 127.0.0.1:25. What counts is what an MX host takes: the
envelope, the header fields and the whole text.

All tests share one daemon, which they start when the first of them needs it. Each test has recipients of its own."""
import collections
import email
import email.message
import email.policy
import json
import os
import pwd
import re
import shutil
import smtplib
import socket
import subprocess
import sys

from machine import USERS, Machine, Process, callers_root, expect, expect_equal, run, test, wait_for
from peers import Dns, Sink
from sternpost import LISTENER, Sternpost, clean_environment, program

RECORDS = [
    'sink MX 10 mx.sink',
    'mx.sink A 127.0.0.40',
    'dead MX 10 mx.dead',
    'mx.dead A 127.0.0.41',
    'relay-admin MX 10 mx.sink',
]
ADMIN = 'admin@relay-admin.test'
UTF8 = 'Grüße aus Köln: 5 €'
HOST = socket.gethostname()
PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
Mail = collections.namedtuple('Mail', 'reverse_path forward_paths header body data')


class World:
    """One daemon at its default paths, the callers laid over /usr, their configuration in /etc, and what they keep in /var."""

    LINKS = {  # programs that Debian's alternatives would name, and ours
        'usr/sbin/sendmail': 'sendmail',
        'usr/lib/sendmail': 'sendmail',
        'usr/bin/mailq': 'sendmail',
        'usr/bin/newaliases': 'sendmail',
        'usr/bin/mail': '/usr/bin/s-nail',
        'usr/bin/php': '/usr/bin/php8.2',
    }

    def __init__(self):
        self.machine, self.begun, self.ready = Machine('world'), False, False
        self.read = {}  # how many messages of each recipient a test has seen

    def begin(self):
        """Once. When that fails, all tests do."""
        if self.ready:
            return
        expect(not self.begun, 'the world that the tests share could not be made')
        self.begun, machine = True, self.machine
        self.lay_out()
        Dns(machine, RECORDS)
        self.sink = Sink(machine, '127.0.0.40')
        self.sternpost = Sternpost(
            machine,
            start=False,
            admin_address=ADMIN,
            control_socket='/run/sternpost/control.sock',
            submit_socket='/run/sternpost/submit.sock',
            maildrop_dir='/var/spool/sternpost/maildrop',
        )
        os.makedirs('/etc/sternpost')
        shutil.copy(self.sternpost.config, '/etc/sternpost/sternpost.toml')
        self.sternpost.start()
        self.ready = True

    def lay_out(self):
        machine, callers = self.machine, callers_root()
        subprocess.run(['cp', '-a', '-n', callers + '/etc/.', '/etc/'], check=True)
        homes = {
            'root': machine.folder('home/root', mode=0o700),
            'alice': machine.folder('home/alice', mode=0o700),
        }
        os.chown(homes['alice'], USERS['alice'], USERS['alice'])
        names = {'alice': 'Alice Ünser,,,'}
        with open('/etc/passwd', encoding='utf-8') as f:
            lines = [line.rstrip('\n').split(':') for line in f]
        with open('/etc/passwd', 'w', encoding='utf-8') as f:
            for line in lines:
                line[4], line[5] = names.get(line[0], ''), homes.get(line[0], line[5])
                f.write(':'.join(line) + '\n')
        with open('/etc/shadow', 'w') as f:  # cron asks PAM whether an account has expired
            f.write(''.join('%s:*:20000:0:99999:7:::\n' % line[0] for line in lines))
        for link, target in self.LINKS.items():
            path = machine.path('links', link)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(target if target.startswith('/') else '/usr/lib/sternpost/' + target, path)
        own = machine.path('links', 'usr/lib/sternpost')  # copies: other users may not reach the build folder
        os.makedirs(own)
        for name in ('sendmail', 'sternpost'):
            shutil.copy(program(name), own)
        layers = '%s:%s/usr:/usr' % (machine.path('links/usr'), callers)
        self.mount('/usr', '-t', 'overlay', '-o', 'lowerdir=' + layers, 'overlay')
        self.mount('/run', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs')
        self.mount('/dev/shm', '-t', 'tmpfs', '-o', 'mode=1777', 'tmpfs')  # faketime(1) leaves files in it
        for name in ('spool', 'lib', 'log', 'cache'):
            folder = machine.folder('var', name)
            unpacked = os.path.join(callers, 'var', name)
            if os.path.isdir(unpacked):
                subprocess.run(['cp', '-a', unpacked + '/.', folder], check=True)
            self.mount('/var/' + name, '--bind', folder)
        os.makedirs('/run/sternpost')
        os.makedirs('/var/spool/sternpost/maildrop', mode=0o700)

    def mount(self, where, *what):
        done = subprocess.run(['mount', *what, where], capture_output=True, text=True)
        expect(done.returncode == 0, 'mount %s %s: %s' % (' '.join(what), where, done.stderr))
        self.machine.at_end(subprocess.run, ['umount', '-l', where])

    def arrived(self, recipient, count=1, seconds=20):
        """The next `count` messages that the MX host took for the recipient, in their order."""

        def for_recipient():
            return [t for t in self.sink.taken if recipient in t.forward_paths][self.read.get(recipient, 0) :]

        wait_for(
            '%d message(s) for %s at the MX host' % (count, recipient),
            lambda: len(for_recipient()) >= count,
            seconds,
        )
        found = for_recipient()
        self.read[recipient] = self.read.get(recipient, 0) + len(found)
        expect_equal(len(found), count, 'messages for %s' % recipient)
        return [mail_of(taken) for taken in found]

    def close(self):
        self.machine.close()
        self.machine.remove()


def mail_of(taken):
    parsed = email.message_from_bytes(taken.data, policy=email.policy.default)
    return Mail(taken.reverse_path, taken.forward_paths, parsed, taken.data.partition(b'\r\n\r\n')[2], taken.data)


the_world = []


def world(machine):
    """The world that all tests share, made when the first of them asks."""
    if not the_world:
        the_world.append(World())
    try:
        the_world[0].begin()
    finally:
        machine.logs += the_world[0].machine.logs
    return the_world[0]


def call(*argv, user=None, text=b'', env=None, code=0, cwd=None):
    """Runs a program as it would run on a machine where it is installed; what it said."""
    entry = pwd.getpwnam(user or 'root')
    done = subprocess.run(
        argv,
        input=text if isinstance(text, bytes) else text.encode(),
        capture_output=True,
        timeout=60,
        cwd=cwd or entry.pw_dir,
        env={
            'PATH': PATH,
            'HOME': entry.pw_dir,
            'USER': entry.pw_name,
            'LOGNAME': entry.pw_name,
            'LANG': 'C.UTF-8',
            **(env or {}),
        },
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
    )
    said = done.stdout.decode('utf-8', 'replace')
    expect_equal(
        done.returncode, code, '%s: exit code (%s%s)' % (argv[0], said, done.stderr.decode('utf-8', 'replace'))
    )
    return said


def expect_mail(mail, reverse_path, sender, subject, recipients):
    """What every mail must have: the right envelope and fields, and no field or line that a mail system must not leave in it."""
    expect_equal(mail.reverse_path, reverse_path, 'reverse-path')
    expect_equal(sorted(mail.forward_paths), sorted(recipients), 'forward-paths')
    expect_equal([str(a) for a in mail.header['from'].addresses], [sender], 'From')
    expect_equal(mail.header['subject'], subject, 'Subject')
    for field in ('From', 'Subject', 'Date', 'Message-ID'):
        expect_equal(len(mail.header.get_all(field, [])), 1, '%s fields' % field)
    expect_equal(mail.header.get_all('bcc', []), [], 'Bcc fields')
    expect(not re.search(rb'(?<!\r)\n|\r(?!\n)', mail.data), 'a bare CR or LF arrived')


def lines(mail):
    """The text of a mail, line by line, without its attachments."""
    return mail.header.get_body(('plain',)).get_content().splitlines()


def attachment(mail):
    """Octets of the one attachment."""
    found = [part for part in mail.header.walk() if part.get_filename()]
    expect_equal(len(found), 1, 'attachments')
    return found[0].get_payload(decode=True)


# ------------------------------------------------------------------------------------------------------------- programs of a system
@test
def cron_mails_what_its_jobs_print(machine):
    """Two jobs of alice's name recipients, and one of root's has none. faketime starts cron half a minute before that one is due, and
    makes a minute last a second. The first job has raw UTF-8 in its output and in its command, which cron copies into the Subject.
    """
    w = world(machine)
    tabs = '/var/spool/cron/crontabs'
    os.makedirs(tabs, exist_ok=True)
    tab = tabs + '/alice'
    with open(tab, 'w', encoding='utf-8') as f:
        f.write('MAILTO=cron@sink.test\n@reboot echo "%s"; echo; echo .; echo last\n' % UTF8)
        f.write('MAILTO=two@sink.test,three@sink.test\n@reboot echo plain\n')
    os.chown(tab, USERS['alice'], USERS['alice'])
    os.chmod(tab, 0o600)
    with open('/etc/cron.d/once', 'w', encoding='utf-8') as f:
        f.write('5 3 * * * root echo minute >&2\n')
    clock = ['faketime', '-f', '@2026-11-29 03:04:30 x60']
    Process(machine, 'cron', [*clock, '/usr/sbin/cron', '-f'], dict(clean_environment(), PATH=PATH))
    mail = w.arrived('cron@sink.test')[0]
    command = 'echo "%s"; echo; echo .; echo last' % UTF8
    subject = 'Cron <alice@%s> %s' % (HOST, command)
    expect_mail(mail, 'alice@relay.test', 'root@relay.test', subject, ['cron@sink.test'])
    expect_equal(lines(mail), [UTF8, '', '.', 'last'], 'text')
    expect_equal(mail.header['content-transfer-encoding'], '8bit', 'encoding')
    mail = w.arrived('two@sink.test')[0]
    expect_mail(
        mail,
        'alice@relay.test',
        'root@relay.test',
        'Cron <alice@%s> echo plain' % HOST,
        ['two@sink.test', 'three@sink.test'],
    )
    expect_equal(lines(mail), ['plain'], 'text')
    mail = w.arrived(ADMIN)[0]
    expect_mail(mail, 'root@relay.test', 'root@relay.test', 'Cron <root@%s> echo minute >&2' % HOST, [ADMIN])
    expect_equal(lines(mail), ['minute'], 'text')


@test
def mdadm_mails_its_test_alert(machine):
    """No array needs to exist: mdadm reports on those that its configuration names."""
    w = world(machine)
    conf = machine.write(
        'mdadm.conf',
        'MAILADDR raid@sink.test\nMAILFROM mdadm@sender.test\nARRAY /dev/md127 UUID=00000000:00000000:00000000:00000001\n',
    )
    call('mdadm', '--monitor', '--scan', '--oneshot', '--test', '--config', conf)
    mail = w.arrived('raid@sink.test')[0]
    expect_mail(
        mail,
        'root@relay.test',
        'mdadm@sender.test',
        'TestMessage event on /dev/md127:%s' % HOST,
        ['raid@sink.test'],
    )
    expect('This is an automatically generated mail message' in lines(mail)[0], 'the text: %r' % mail.body)
    expect('Faithfully yours, etc.' in lines(mail), 'the end of the text: %r' % mail.body)


SMART = {
    'SMARTD_MESSAGE': 'Device: /dev/sda [SAT], 8 Currently unreadable (pending) sectors',
    'SMARTD_FAILTYPE': 'CurrentPendingSector',
    'SMARTD_TFIRST': '',
    'SMARTD_PREVCNT': '0',
    'SMARTD_NEXTDAYS': '1',
    'SMARTD_DEVICEINFO': 'WDC WD40EFRX-68N32N0, S/N:WD-WCC7K0000000, FW:82.00A82, 4.00 TB',
}


@test
def smartd_mails_its_warnings(machine):
    """smartd runs this script with these variables: with mail(1) as the mailer, and with Debian's runner."""
    w = world(machine)
    script = '/usr/share/smartmontools/smartd_warning.sh'
    call(script, env=dict(SMART, SMARTD_ADDRESS='disk@sink.test more@sink.test'))
    runner = '/usr/share/smartmontools/smartd-runner'
    call(script, env=dict(SMART, SMARTD_ADDRESS='runner@sink.test', SMARTD_MAILER=runner))
    subject = 'SMART error (CurrentPendingSector) detected on host: %s' % HOST.partition('.')[0]
    for mail, recipients in (
        (w.arrived('disk@sink.test')[0], ['disk@sink.test', 'more@sink.test']),
        (w.arrived('runner@sink.test')[0], ['runner@sink.test']),
    ):
        expect_mail(mail, 'root@relay.test', 'root@relay.test', subject, recipients)
        text = lines(mail)
        expect_equal(text[0], 'This message was generated by the smartd daemon running on:', 'first line')
        expect(SMART['SMARTD_MESSAGE'] in text and SMART['SMARTD_DEVICEINFO'] in text, 'the text: %r' % text)


@test
def logwatch_mails_its_report(machine):
    w = world(machine)
    os.makedirs('/var/cache/logwatch', exist_ok=True)
    with open('/var/log/auth.log', 'w') as f:
        for port in (40000, 40001):
            f.write('Nov  1 03:04:05 vm sshd[77]: Accepted publickey for alice from 192.0.2.7 port %d ssh2\n' % port)
    call(
        'logwatch',
        '--output',
        'mail',
        '--mailto',
        'watch@sink.test',
        '--range',
        'all',
        '--service',
        'sshd',
        '--detail',
        'high',
    )
    mail = w.arrived('watch@sink.test')[0]
    expect_mail(mail, 'root@relay.test', 'root@relay.test', mail.header['subject'], ['watch@sink.test'])
    expect(mail.header['subject'].startswith('Logwatch for ' + HOST), 'Subject: ' + mail.header['subject'])
    text = '\n'.join(lines(mail))
    expect('Users logging in through sshd' in text and '192.0.2.7' in text, 'the report: ' + text)
    expect('Logwatch End' in text, 'the end of the report: ' + text)


@test
def monit_mails_an_alert_to_the_listener(machine):
    w = world(machine)
    conf = machine.write(
        'monitrc',
        """set daemon 600
set pidfile %s
set statefile %s
set idfile %s
set mailserver 127.0.0.1 port 25 using hostname "client.test"
set mail-format {
  from: Monit <monit@sender.test>
  subject: $SERVICE: $EVENT
  message: $ACTION because of $DESCRIPTION
}
set alert monit@sink.test only on { nonexist }
check file gone with path /nonexistent/file
  if does not exist then alert
"""
        % (machine.path('monit.pid'), machine.path('monit.state'), machine.path('monit.id')),
        mode=0o600,
    )
    Process(machine, 'monit', ['/usr/bin/monit', '-I', '-c', conf], clean_environment())
    mail = w.arrived('monit@sink.test')[0]
    expect_mail(mail, 'monit@sender.test', 'Monit <monit@sender.test>', 'gone: Does not exist', ['monit@sink.test'])
    expect_equal(lines(mail), ["alert because of file doesn't exist"], 'text')


# ------------------------------------------------------------------------------------------------------------ programs of a person
def patch_repository(machine):
    """A repository of alice's with one commit, and the patch for it."""
    folder = machine.folder('home-git')
    os.chown(folder, USERS['alice'], USERS['alice'])
    for argv in (
        ('git', 'init', '-q', '-b', 'main'),
        ('git', 'config', 'user.name', 'Alice Ünser'),
        ('git', 'config', 'user.email', 'alice@sender.test'),
    ):
        call(*argv, user='alice', cwd=folder)
    with open(folder + '/file', 'w', encoding='utf-8') as f:
        f.write('%s\n.\n.. two\nFrom here on\n' % UTF8)
    call('git', 'add', 'file', user='alice', cwd=folder)
    call('git', 'commit', '-q', '-m', 'file: say what ' + UTF8 + ' means', user='alice', cwd=folder)
    return folder, call('git', 'format-patch', '-1', user='alice', cwd=folder).strip()


@test
def git_send_email_brings_a_patch_by_sendmail_and_by_smtp(machine):
    w = world(machine)
    folder, patch = patch_repository(machine)
    smtp = [
        '--smtp-server=127.0.0.1',
        '--smtp-server-port=25',
        '--smtp-encryption=none',
        '--smtp-domain=client.test',
    ]
    ways = {
        'patch@sink.test': ([], 'alice@relay.test'),  # git finds /usr/sbin/sendmail itself
        'patch2@sink.test': (
            ['--sendmail-cmd=/usr/sbin/sendmail -oi', '--envelope-sender=auto'],
            'alice@sender.test',
        ),
        'patch3@sink.test': (smtp, 'alice@sender.test'),
    }
    for recipient, (options, reverse_path) in ways.items():
        call(
            'git',
            'send-email',
            '--quiet',
            '--confirm=never',
            '--to=' + recipient,
            '--cc=Carol <c-%s>' % recipient,
            *options,
            patch,
            user='alice',
            cwd=folder,
        )
        mail = w.arrived(recipient)[0]
        # git adds the author, who is the sender, as Cc
        expect_mail(
            mail,
            reverse_path,
            'Alice Ünser <alice@sender.test>',
            '[PATCH] file: say what %s means' % UTF8,
            [recipient, 'c-' + recipient],
        )
        text = lines(mail)
        for line in ('+' + UTF8, '+.', '+.. two', '+From here on', '-- '):
            expect(line in text, '%r is not in the patch: %r' % (line, text))
        expect(mail.header['x-mailer'].startswith('git-send-email'), 'X-Mailer is gone')


@test
def mutt_and_mail_bring_text_and_attachment(machine):
    """mutt -s -a -- and mail -s, each with a file whose octets are not text."""
    w = world(machine)
    octets = bytes(range(256)) * 40 + b'\n.\n'
    file = machine.write('data.bin', octets)
    text = '%s\n.\nFrom the start\nlast\n' % UTF8
    home = pwd.getpwnam('alice').pw_dir
    with open(home + '/.muttrc', 'w') as f:
        f.write('set realname="Alice"\nset from=alice@sender.test\nset use_envelope_from=yes\nset copy=no\n')
    call('mutt', '-s', 'mutt ' + UTF8, '-a', file, '--', 'mutt@sink.test', user='alice', text=text)
    mail = w.arrived('mutt@sink.test')[0]
    expect_mail(mail, 'alice@sender.test', 'Alice <alice@sender.test>', 'mutt ' + UTF8, ['mutt@sink.test'])
    expect_equal(lines(mail), text.splitlines(), 'text by mutt')
    expect_equal(attachment(mail), octets, 'attachment by mutt')

    call('mail', '-s', 'mail ' + UTF8, 'nail@sink.test', user='alice', text=text)
    mail = w.arrived('nail@sink.test')[0]
    expect_mail(mail, 'alice@relay.test', 'Alice Ünser <alice@relay.test>', 'mail ' + UTF8, ['nail@sink.test'])
    expect_equal(lines(mail), text.splitlines(), 'text by mail')
    call(
        'mail',
        '-s',
        'with a file',
        '-a',
        file,
        '-r',
        'a@sender.test',
        '-b',
        'hidden@sink.test',
        '-c',
        'copy@sink.test',
        'nail2@sink.test',
        user='alice',
        text='see the file\n',
    )
    mail = w.arrived('nail2@sink.test')[0]
    expect_mail(
        mail,
        'a@sender.test',
        'a@sender.test',
        'with a file',
        ['nail2@sink.test', 'copy@sink.test', 'hidden@sink.test'],
    )
    expect_equal(attachment(mail), octets, 'attachment by mail')


@test
def msmtp_and_swaks_bring_mail_to_the_listener(machine):
    w = world(machine)
    message = (
        'From: Ann <ann@sender.test>\nTo: msmtp2@sink.test\nBcc: hidden2@sink.test\nSubject: msmtp\n\n.\n..\n%s\n'
        % UTF8
    )
    server = ('--host=127.0.0.1', '--port=25', '--auth=off', '--tls=off')
    call('msmtp', *server, '--from=ann@sender.test', 'msmtp@sink.test', text=message)
    call('msmtp', *server, '--read-envelope-from', '-t', text=message)
    for recipient, recipients in (
        ('msmtp@sink.test', ['msmtp@sink.test']),
        ('msmtp2@sink.test', ['msmtp2@sink.test', 'hidden2@sink.test']),
    ):
        mail = w.arrived(recipient)[0]
        expect_mail(mail, 'ann@sender.test', 'Ann <ann@sender.test>', 'msmtp', recipients)
        expect_equal(mail.body, ('.\r\n..\r\n%s\r\n' % UTF8).encode(), 'text')
    file = machine.write('data.bin', bytes(range(256)) * 20)
    for recipient, transport in (
        ('swaks@sink.test', ['--server', '127.0.0.1:25']),
        ('swaks2@sink.test', ['--pipe', '/usr/sbin/sendmail -bs']),
    ):
        call(
            'swaks',
            *transport,
            '--helo',
            'client.test',
            '--from',
            'ann@sender.test',
            '--to',
            recipient,
            '--h-Subject',
            'swaks ' + UTF8,
            '--body',
            UTF8 + '\n.\nlast',
            '--attach',
            '@' + file,
        )
        mail = w.arrived(recipient)[0]
        expect_mail(mail, 'ann@sender.test', 'ann@sender.test', 'swaks ' + UTF8, [recipient])
        expect_equal(attachment(mail), bytes(range(256)) * 20, 'attachment by swaks')


# ------------------------------------------------------------------------------------------------------------- languages' libraries
@test
def php_mail_uses_sendmail(machine):
    """mail() as PHP calls sendmail by default, with a sender of its own, and with the ini option."""
    w = world(machine)
    text = '%s\n.\nlast\n' % UTF8
    head = (
        '"From: Shop <shop@sender.test>\\r\\nBcc: php-hidden@sink.test\\r\\n'
        'Content-Type: text/plain; charset=utf-8"'
    )
    code = (
        "exit(mail('%s', '=?UTF-8?B?' . base64_encode('%s') . '?=', stream_get_contents(STDIN), "
        + head
        + '%s) ? 0 : 1);'
    )
    cases = (
        ('php@sink.test', [], '', 'alice@relay.test'),
        ('php2@sink.test', [], ", '-fbounce@sender.test'", 'bounce@sender.test'),
        (
            'php3@sink.test',
            ['-d', 'sendmail_path=/usr/sbin/sendmail -t -i -f ini@sender.test'],
            '',
            'ini@sender.test',
        ),
    )
    for recipient, options, parameters, reverse_path in cases:
        call('php', *options, '-r', code % (recipient, UTF8, parameters), user='alice', text=text)
        mail = w.arrived(recipient)[0]
        expect_mail(mail, reverse_path, 'Shop <shop@sender.test>', UTF8, [recipient, 'php-hidden@sink.test'])
        expect_equal(lines(mail), [*text.splitlines(), ''], 'text')  # mail() ends it with one more line


NODE = """
const mailer = require('nodemailer');
const [options, message] = JSON.parse(process.argv[1]);
mailer.createTransport(options).sendMail(message, (error, info) => {
    if (error) { console.error(error); process.exit(1); }
    console.log(JSON.stringify(info.envelope));
    process.exit(0);
});
"""


@test
def nodemailer_brings_mail_by_sendmail_and_by_smtp(machine):
    w = world(machine)
    octets = bytes(range(256)) * 40
    text = '%s\n.\nFrom here\nlast\n' % UTF8
    message = {
        'from': {'name': 'Ünser Shop', 'address': 'shop@sender.test'},
        'bcc': 'node-hidden@sink.test',
        'subject': 'node ' + UTF8,
        'text': text,
        'attachments': [{'filename': 'data.bin', 'path': machine.write('data.bin', octets)}],
    }
    cases = (
        ('node@sink.test', {'sendmail': True}, 'shop@sender.test'),
        (
            'node2@sink.test',
            {'sendmail': True, 'newline': 'windows', 'path': '/usr/sbin/sendmail'},
            'shop@sender.test',
        ),
        (
            'node3@sink.test',
            {'sendmail': True, 'args': ['-oem', '-odb', '-f', 'bounce@sender.test']},
            'bounce@sender.test',
        ),
        (
            'node4@sink.test',
            {'host': '127.0.0.1', 'port': 25, 'secure': False, 'name': 'client.test'},
            'shop@sender.test',
        ),
    )
    for recipient, options, reverse_path in cases:
        options = dict(options, tls={'rejectUnauthorized': False})
        argument = json.dumps([options, dict(message, to=recipient)])
        call('node', '-e', NODE, argument, user='alice', env={'NODE_PATH': '/usr/lib/node_modules'})
        mail = w.arrived(recipient)[0]
        expect_mail(
            mail,
            reverse_path,
            'Ünser Shop <shop@sender.test>',
            'node ' + UTF8,
            [recipient, 'node-hidden@sink.test'],
        )
        expect_equal(lines(mail), text.splitlines(), 'text')
        expect_equal(attachment(mail), octets, 'attachment')


@test
def symfony_mailer_keeps_a_dialogue_with_sendmail_bs(machine):
    """What its SendmailTransport says to `sendmail -bs`: a literal in EHLO, one process for many messages, NOOP between them."""
    w = world(machine)

    def say(octets, code):
        process.stdin.write(octets)
        process.stdin.flush()
        reply = []
        while not reply or reply[-1][3:4] == b'-':
            line = process.stdout.readline()
            expect(line, 'sendmail -bs ended after %r' % octets)
            reply.append(line)
        expect(reply[-1].startswith(code), '%r: expected %s, sendmail said %r' % (octets[:60], code, reply))

    with subprocess.Popen(
        ['/usr/sbin/sendmail', '-bs'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={'PATH': PATH},
        user='alice',
        group='alice',
        extra_groups=[],
    ) as process:
        say(b'', b'220')
        say(b'EHLO [127.0.0.1]\r\n', b'250')
        for number in range(2):
            say(b'MAIL FROM:<web@sender.test>\r\n', b'250')
            for name in (b'symfony', b'symfony-bcc'):
                say(b'RCPT TO:<%s@sink.test>\r\n' % name, b'250')
            say(b'DATA\r\n', b'354')
            text = (
                'From: Web <web@sender.test>\r\nTo: symfony@sink.test\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= %d\r\n'
                % number
            )
            text += (
                'Message-ID: <%d@web.test>\r\nDate: Sun, 29 Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\n' % number
            )
            text += 'Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n..\r\n5 =E2=82=AC\r\n'
            say(text.encode() + b'.\r\n', b'250')
            say(b'NOOP\r\n', b'250')
        say(b'MAIL FROM:<web@sender.test>\r\n', b'250')
        say(b'RSET\r\n', b'250')  # what it says when a message fails
        say(b'QUIT\r\n', b'221')
        expect_equal(process.wait(10), 0, 'exit code of sendmail -bs')
    mails = w.arrived('symfony@sink.test', 2)
    for number, mail in enumerate(sorted(mails, key=lambda m: m.header['subject'])):
        expect_mail(
            mail,
            'web@sender.test',
            'Web <web@sender.test>',
            'Grüße %d' % number,
            ['symfony@sink.test', 'symfony-bcc@sink.test'],
        )
        expect_equal(lines(mail), ['.', '5 €'], 'text')
        expect_equal(mail.header['message-id'], '<%d@web.test>' % number, 'Message-ID')


@test
def python_smtplib_brings_mail_to_the_listener(machine):
    w = world(machine)
    message = email.message.EmailMessage(policy=email.policy.SMTP.clone(cte_type='8bit'))
    message['From'], message['To'], message['Bcc'] = (
        'Ün Ser <py@sender.test>',
        'python@sink.test',
        'python-bcc@sink.test',
    )
    message['Subject'] = 'python ' + UTF8
    text = '.\n..\n%s\nlast, without an end of line' % UTF8
    message.set_content(text)
    message.add_attachment(b'\0\xff.\r\n' * 500, 'application', 'octet-stream', filename='data.bin')
    with smtplib.SMTP(*LISTENER, local_hostname='client.test') as client:
        expect_equal(client.send_message(message), {}, 'recipients that were refused')
        client.sendmail('py@sender.test', ['python2@sink.test'], 'Subject: bare\n\nbare\r\n.\nlast')
    mail = w.arrived('python@sink.test')[0]
    expect_mail(
        mail,
        'py@sender.test',
        'Ün Ser <py@sender.test>',
        'python ' + UTF8,
        ['python@sink.test', 'python-bcc@sink.test'],
    )
    expect_equal(lines(mail), text.splitlines(), 'text')
    expect_equal(attachment(mail), b'\0\xff.\r\n' * 500, 'attachment')
    mail = w.arrived('python2@sink.test')[0]
    expect_mail(mail, 'py@sender.test', 'py@sender.test', 'bare', ['python2@sink.test'])
    expect_equal(mail.body, b'bare\r\n.\r\nlast\r\n', 'text')


# ------------------------------------------------------------------------------------------------------------ programs that read mailq
def queue_length(text):
    """The number of queued messages, found in three ways: by the pattern of mackerel and of scripts for collectd's exec plugin, by the
    words of the last line, as netdata does it, and by a count of the entries."""
    last = text.rstrip('\n').split('\n')[-1]
    if last == 'Mail queue is empty':
        return [0, 0, 0]
    words = last.split(' ')
    match = re.fullmatch(r'-- (\d+) Kbytes in (\d+) Requests?\.', last)
    expect(match, 'the last line of mailq: %r' % last)
    expect_equal(len(words), 6, 'words in the last line of mailq')
    entries = re.findall(
        r'(?m)^([0-9A-Za-z]{6,20})[*!]? +(\d+) +([A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) +(\S+)$', text
    )
    return [int(match[2]), int(words[4]), len(entries)]


@test
def monitors_read_the_length_of_the_queue(machine):
    """check_mailq of monitoring-plugins, which any user may run, and the ways in which other monitors read mailq. The layout is
    Postfix's; a line in Sendmail's words tells check_mailq -M sendmail the length. Munin's plugins do not run mailq: they count
    files in the spool directories of Postfix and Sendmail."""
    w = world(machine)
    check = '/usr/lib/nagios/plugins/check_mailq'
    w.sternpost.wait_empty()
    said = call(check, '-M', 'postfix', '-w', '2', '-c', '4', user='alice')
    expect_equal(said, 'OK: postfix mailq reports queue is empty|unsent=0;2;4;0\n', 'check_mailq of an empty queue')
    expect_equal(call('mailq'), 'Mail queue is empty\n', 'mailq of an empty queue')
    expect_equal(queue_length(call('mailq')), [0, 0, 0], 'what monitors read from an empty queue')
    for count, code, state in ((1, 0, 'OK'), (2, 1, 'WARNING'), (4, 2, 'CRITICAL')):
        while len(w.sternpost.recipients()) < count:
            path = 'u%d@dead.test' % len(w.sternpost.recipients())
            call('/usr/sbin/sendmail', '-f', 'ann@sender.test', path, text='Subject: x\n\nx\n')
            w.sternpost.wait_deferred(path)
        said = call(check, '-M', 'postfix', '-w', '2', '-c', '4', code=code, user='alice')
        expect(
            said.startswith(state) and said.endswith('|unsent=%d;2;4;0\n' % count),
            'check_mailq of %d messages: %r' % (count, said),
        )
        said = call(check, '-M', 'sendmail', '-w', '2', '-c', '4', code=code, user='alice')
        expect(
            said.startswith(state) and 'unsent=%d;' % count in said, 'check_mailq -M sendmail of %d messages: %r' % (count, said)
        )
        expect_equal(queue_length(call('mailq')), [count] * 3, 'what monitors read from\n' + call('mailq'))
    w.sternpost.stop()
    for kind, user, error in (('postfix', 'root', 69), ('sendmail', 'root', 69), ('postfix', 'alice', 77)):
        said = call(check, '-M', kind, '-w', '20', '-c', '40', code=2, user=user)
        expect(said.startswith('CRITICAL: Error code %d' % error), 'check_mailq while the daemon is down: %r' % said)
    w.sternpost.start()


if __name__ == '__main__':
    code = 1
    try:
        code = run(peers=True, callers=True)
    finally:
        for one in the_world:
            one.close()
    sys.exit(code)
