#!/usr/bin/python3
"""The questions of doc/questions.md: one command answers each, in a world with mail that went and mail that did not.

With STERNPOST_WRITE=1 the page is written anew, with the output of this run."""
import os
import re
import subprocess
import sys

from machine import TOP, expect, expect_equal, run, test, wait_for
from peers import Dns, Sink
from sternpost import Sternpost

PAGE = os.path.join(TOP, 'doc', 'questions.md')
RULES = os.path.join(TOP, 'debian', 'sternpost.logcheck.ignore.server')
RECORDS = [
    'sink MX 10 mx.sink',
    'mx.sink A 127.0.0.40',
    'dead MX 10 mx.dead',
    'mx.dead A 127.0.0.41',
    'relay-admin MX 10 mx.sink',
    'sender MX 10 mx.sink',
    'relay A 93.184.216.34',
]
MESSAGE = 'From: Ann <ann@sender.test>\nTo: %s\nMessage-ID: <%s@sender.test>\nSubject: hello\n\nhello\n'
BEGINNING = '''# Questions of an administrator

One command answers each. The output is that of a test, `tests/integration/test_questions.py`, in a small world: `sink.test` takes mail, and no
host of `dead.test` answers. `--json` gives the same as JSON.
'''
LONGEST = 14  # lines of output that the page shows

# The question, the command, and what its answer must have. ID is the message that waits.
QUESTIONS = [
    ('Does it run, and how is it?', 'status', 0, ['sternpostd', 'queue: 2 message(s)']),
    ('Is all well, for a monitor?', 'check', 1, ['STERNPOST WARNING', '| messages=2']),
    ('What needs my attention?', 'alarms list', 0, ['ALARM source-address', 'What to do:']),
    ('What waits, where to, and why?', 'queue summary', 0, ['dead.test', 'unreachable']),
    ('Which messages wait?', 'queue list', 0, ['bob@dead.test', 'deferred until']),
    ('Which of them have waited for long?', 'queue list --older 1h', 0, ['0 message(s)']),
    ('Why does this message wait, and who must act?', 'why ID', 0, ['bob@dead.test', 'whose move: dead.test']),
    ('What is in this message’s envelope?', 'queue show ID', 0, ['accepted by', 'from uid']),
    ('What became of mail to this person?', 'log bob@sink.test', 0, ['to <bob@sink.test>  sent']),
    ('What became of the message with this Message-ID?', 'log <two@sender.test> --attempts', 0, ['Message-ID <two@sender.test>', 'says what blocks it']),
    ('Which hosts take no mail now, and when are they tried again?', 'queue hops', 0, ['next hop dead.test', 'next attempt']),
    ('Can mail go to this domain, and on what does it depend?', 'explain dead.test', 3, ['dead.test', 'mx.dead.test']),
    ('What does its host say at this moment?', 'explain sink.test --probe', 0, ['sink.test']),
    ('How much was sent, deferred and returned?', 'stats', 0, ['accepted', 'all mail']),
    ('Where to does most mail go?', 'stats --by destination', 0, ['sink.test', 'dead.test']),
    ('Who sends the most?', 'stats --by sender', 0, ['uid']),
    ('What goes wrong most often?', 'stats --by error', 0, ['unreachable']),
    ('When was there how much mail?', 'stats --by hour', 0, [':00:00Z']),
    ('What may I stop, and how much would that be?', 'queue delete --domain dead.test --dry-run', 0, ['would be deleted: 1 message(s)']),
    ('Who stopped what?', 'queue suspended', 0, ['SUSPENDED next-hop', 'they move']),
    ('Is this machine set up as it should be?', 'doctor', 1, ['resolver', 'ptr', 'What to do:']),
    ('Is what lies on the disk sound?', 'doctor --spool', 0, ['all is well']),
    ('What must be in the DNS, and what is?', 'setup --yes --dry-run --address 93.184.216.34', 0, ['relay.test A', 'seen']),
    ('Is the configuration in order?', 'config check', 0, ['in order']),
    ('Are TLS reports sent, and what is missing?', 'tlsrpt status', 0, ['TLS reports:']),
    ('How was TLS with all partners?', 'tlsrpt digest --day today', 0, ['TLS']),
    ('What does this domain publish, and what is wrong with it?', 'sts check sink.test', 1, ['sink.test']),
    ('Is the DKIM key published?', 'dkim check', 1, ['there is no DKIM key']),
]


def answer(sternpost, command, code, fragments, waiting):
    argv = [waiting if word == 'ID' else word for word in command.split(' ')]
    done = subprocess.run(sternpost.argv(*argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    expect_equal(done.returncode, code, 'sternpost %s: %s' % (command, done.stdout))
    for fragment in fragments:
        expect(fragment in done.stdout, 'sternpost %s says nothing of %r: %s' % (command, fragment, done.stdout))
    return done.stdout


def shown(text, machine):
    """As the page has it: no names of this machine, no more than a few lines."""
    lines = [line[:140].rstrip() for line in text.replace(machine.dir, '/var/lib').rstrip().split('\n')]
    return lines[:LONGEST] + ['…'] * (len(lines) > LONGEST)


@test
def one_command_answers_each_question_of_the_page(machine):
    dns = Dns(machine, RECORDS)
    expect(dns, 'the DNS is there')
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine, source_ipv6='2001:db8::77', resolvers=['127.0.0.53'])
    sternpost.submit('-f', 'ann@sender.test', 'bob@sink.test', text=MESSAGE % ('bob@sink.test', 'one'))
    sternpost.submit('-f', 'ann@sender.test', 'bob@dead.test', text=MESSAGE % ('bob@dead.test', 'two'))
    sink.wait_taken(1)
    sternpost.wait_deferred('bob@dead.test')
    waiting = [m['id'] for m in sternpost.ask('queue', 'list')['messages']][0]
    sternpost.do('queue', 'suspend', '--domain', 'moving.test', '--reason', 'they move their servers')
    sternpost.submit('-f', 'ann@sender.test', 'eve@moving.test', text=MESSAGE % ('eve@moving.test', 'three'))
    wait_for('all is counted', lambda: sternpost.ask('stats')['total']['accepted'] == 3 and sternpost.ask('stats')['total']['deferred'] > 0)
    wait_for('the alarm is there', lambda: sternpost.ask('alarms', 'list')['alarms'])
    page = BEGINNING
    for question, command, code, fragments in QUESTIONS:
        text = answer(sternpost, command, code, fragments, waiting)
        page += '\n## %s\n\n    $ sternpost %s\n' % (question, command.replace('<', "'<").replace('>', ">'"))
        page += ''.join('    %s\n' % line if line else '\n' for line in shown(text, machine))
    if os.environ.get('STERNPOST_WRITE') == '1':
        with open(PAGE, 'w', encoding='utf-8') as f:
            f.write(page)
    with open(PAGE, encoding='utf-8') as f:
        known = f.read()
    asked = re.findall(r'(?m)^## (.*)\n\n    \$ sternpost (.*)$', known)
    expect_equal(asked, re.findall(r'(?m)^## (.*)\n\n    \$ sternpost (.*)$', page), 'the questions of the page')
    expect(len(asked) >= 25, 'there are twenty-five questions at least')


@test
def logcheck_mails_what_is_not_routine(machine):
    dns = Dns(machine, RECORDS)
    expect(dns, 'the DNS is there')
    sink = Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine, source_ipv6='2001:db8::77')
    sternpost.submit('-f', 'ann@sender.test', 'bob@sink.test', 'eve@dead.test', text=MESSAGE % ('bob@sink.test', 'one'))
    sink.wait_taken(1)
    sternpost.wait_deferred('eve@dead.test')
    sternpost.wait_event('alarm', kind='source-address')
    log = machine.write('syslog', ''.join('Dec  1 17:42:12 relay sternpostd[26]: %s\n' % line.partition('Z ')[2] for line in sternpost.process.log().splitlines()))
    rules = machine.write('rules', ''.join(line for line in open(RULES, encoding='utf-8') if not line.startswith('#')))
    left = subprocess.run(['grep', '-v', '-E', '-f', rules, log], stdout=subprocess.PIPE, text=True, check=False).stdout
    kinds = {line.split(': ', 1)[1].split(' ')[0] for line in left.splitlines()}
    expect_equal(kinds, {'alarm'}, 'what logcheck would mail: ' + left)


if __name__ == '__main__':
    sys.exit(run(peers=True))
