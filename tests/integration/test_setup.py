#!/usr/bin/python3
"""`setup` on a new machine: what it asks, writes down and says about the DNS."""
import json
import os
import pty
import select
import subprocess
import sys

from machine import expect, expect_equal, run, test
from peers import SOA, Dns
from sternpost import clean_environment, program

ADDRESS = '93.184.216.34'  # only the DNS knows it
REVERSE = '216.184.93.in-addr.arpa'


class Setup:
    """The command with a configuration of its own, before there is a daemon."""

    def __init__(self, machine, text=None):
        self.dir = machine.folder('relay')
        machine.folder('relay', 'state')
        self.file = self.dir + '/sternpost.toml'
        if text is not None:
            machine.write('relay/sternpost.toml', text)

    def argv(self, *args):
        return [program('sternpost'), '--config', self.file, *args]

    def run(self, *args, code=0):
        done = subprocess.run(self.argv('setup', *args), env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        expect_equal(done.returncode, code, 'exit code: %s%s' % (done.stdout, done.stderr))
        return done

    def ask(self, *args):
        return json.loads(self.run(*args, '--yes', '--json').stdout)

    def text(self):
        with open(self.file, encoding='utf-8') as f:
            return f.read()


FLAGS = ('--hostname', 'relay.test', '--admin', 'ann@office.test', '--organization', 'Office Ltd', '--network', '192.0.2.0/24', '--address', ADDRESS)


def beginning(machine):
    """What a package brings, as far as a test may have it."""
    return (
        '# mine\nstate_dir = "%s/state"\nresolvers = ["127.0.0.53"]\n#hostname = ""\n\n[dns]\nprobe_secure = ""\nprobe_bogus = ""\n'
        % machine.folder('relay')
    )


def answered(argv, answers):
    """Runs it on a terminal, and types an answer to each question. Its output and exit code."""
    main, terminal = pty.openpty()
    process = subprocess.Popen(argv, env=clean_environment(), stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = ''
    try:
        while select.select([main], [], [], 20)[0]:
            try:
                octets = os.read(main, 10000)
            except OSError:
                break
            if not octets:
                break
            shown += octets.decode()
            if answers and answers[0][0] in shown:
                os.write(main, answers.pop(0)[1].encode() + b'\n')
    finally:
        os.close(main)
    return process.wait(20), shown


@test
def a_new_relay_is_set_up_once_and_what_to_publish_is_said(machine):
    dns = Dns(machine, ['relay A ' + ADDRESS], zones={REVERSE: SOA % (REVERSE + '.') + '34 PTR relay.test.\n'})
    setup = Setup(machine, beginning(machine))
    first = setup.ask(*FLAGS)
    expect_equal((first['changed'], len(first['key_files'])), (True, 1), 'what was made')
    text = setup.text()
    for line in ('# mine', 'hostname = "relay.test"', 'admin_address = "ann@office.test"', 'organization = "Office Ltd"', 'network = "192.0.2.0/24"'):
        expect(line in text.splitlines(), '%s is in %s' % (line, text))
    expect('contact = "ann@office.test"' in text, 'the contact is the administrator: ' + text)
    expect_equal(subprocess.run(setup.argv('config', 'check'), capture_output=True, check=False).returncode, 0, 'the configuration is in order')
    records = {(r['name'], r['type']): r for r in first['records']}
    expect_equal(records[('relay.test', 'A')]['seen'], 'yes', 'the address')
    expect_equal(records[(ADDRESS, 'PTR')]['seen'], 'yes', 'its PTR')
    expect_equal(records[('office.test', 'TXT')]['value'], 'v=spf1 ip4:%s -all' % ADDRESS, 'SPF')
    key = [r for r in first['records'] if r['name'].endswith('._domainkey.office.test')][0]
    expect('v=DKIM1' in key['value'] and key['seen'] == 'no', 'the key: %s' % key)
    expect_equal(records[('_smtp._tls.office.test', 'TXT')]['value'], 'v=TLSRPTv1; rua=mailto:ann@office.test', 'reports')
    again = setup.ask(*FLAGS)
    expect_equal((again['changed'], again['key_files'], setup.text()), (False, [], text), 'a second time')
    quoted = ' '.join('"%s"' % key['value'][n : n + 200] for n in range(0, len(key['value']), 200))
    dns.add(
        'office TXT "v=spf1 ip4:93.184.216.0/24 ~all"',
        '_dmarc.office TXT "v=DMARC1; p=reject"',
        '_smtp._tls.office TXT "v=TLSRPTv1; rua=mailto:other@office.test"',
        '%s TXT %s' % (key['name'].replace('.test', ''), quoted),
    )
    dns.forget()
    expect_equal({r['seen'] for r in setup.ask('--address', ADDRESS)['records'] if r['type'] == 'TXT'}, {'yes'}, 'when all is published')
    shown = setup.run('--yes', '--address', ADDRESS).stdout
    expect('6 of 6 records are seen' in shown, 'for people: ' + shown)


@test
def what_is_not_given_is_asked_for_on_a_terminal(machine):
    Dns(machine, [])
    setup = Setup(machine, beginning(machine))
    code, shown = answered(
        setup.argv('setup', '--address', ADDRESS),
        [
            ('Fully qualified name', 'nonsense'),
            ('nonsense is none', 'relay.test'),
            ('Your mailbox', 'ann@office.test'),
            ('Networks', '192.0.2.0/24 2001:db8::/32'),
            ("organization's name", ''),
            ('Mailbox that people', ''),
        ],
    )
    expect_equal(code, 0, 'exit code: ' + shown)
    text = setup.text()
    for line in ('hostname = "relay.test"', 'admin_address = "ann@office.test"', 'network = "192.0.2.0/24"', 'network = "2001:db8::/32"'):
        expect(line in text.splitlines(), '%s is in %s' % (line, text))


@test
def nothing_is_written_that_is_not_in_order(machine):
    Dns(machine, [])
    setup = Setup(machine, beginning(machine))
    before = setup.text()
    setup.run('--yes', '--hostname', 'relay.test', '--admin', 'ann', code=64)
    setup.run('--yes', '--network', '192.0.2.0/99', code=64)
    shown = setup.run(*FLAGS, '--yes', '--dry-run').stdout
    expect('admin_address = "ann@office.test"' in shown, 'what would be: ' + shown)
    expect_equal(setup.text(), before, 'the file')
    machine.write('relay/sternpost.toml', 'nonsense = 1\n')
    setup.run(*FLAGS, '--yes', code=1)
    expect_equal(setup.text(), 'nonsense = 1\n', 'a file with an error')


if __name__ == '__main__':
    sys.exit(run(peers=True))
