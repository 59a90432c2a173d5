#!/usr/bin/python3
"""Makes tests/data/spool-VERSION.tar.xz: the state directory that a daemon of this version leaves behind when it is killed, for
test_upgrade.py. Run once for each release, by a build of it; what is there already is never made again."""
import os
import re
import sys
import tarfile

from days import KEY, domain, policies_of
from machine import TOP, expect, run, test, wait_for
from peers import Authority
from scripted import ScriptedDns, ScriptedMx, certificate
from sternpost import Sternpost

TEXT = 'From: Alice <alice@sender.test>\nTo: bob\nSubject: %s\n\n%s'


@test
def a_spool(machine):
    with open(os.path.join(TOP, 'meson.build')) as f:
        version = re.search(r"version: '([^']+)'", f.read())[1]
    archive = os.path.join(TOP, 'tests', 'data', 'spool-%s.tar.xz' % version)
    expect(not os.path.exists(archive), archive + ' is there already')
    authority = Authority(machine)
    ScriptedDns(
        machine,
        {
            **domain('good.test', '127.0.1.1', 'mailto:tls@reports.test', policy=True),
            **domain('late.test', '127.0.1.2'),
            **domain('big.test', '127.0.1.3'),
            **domain('held.test', '127.0.1.4'),
        },
    )
    policies_of(machine, authority, {'good.test': 'enforce'})
    good = ScriptedMx(machine, '127.0.1.1', certificate(machine, authority, 'good', ['mx.good.test'], key=KEY))
    ScriptedMx(machine, '127.0.1.2', rcpt='450 4.7.1 come back later')
    sternpost = Sternpost(machine, authority)
    sternpost.do('queue', 'suspend', '--domain', 'big.test', '--reason', 'they move house')
    sternpost.do('queue', 'suspend', '--domain', 'held.test', '--reason', 'for a moment')
    sternpost.do('policy', 'override', 'set', 'odd.test', 'may', '--reason', 'their certificate has expired')
    sternpost.submit('-f', 'alice@sender.test', 'bob@good.test', text=TEXT % ('good', 'hello\n'))
    wait_for('the mail of good.test', lambda: good.taken)
    sternpost.submit('-f', 'alice@sender.test', 'bob@late.test', 'carol@late.test', text=TEXT % ('late', 'hello\n'))
    sternpost.wait_deferred('carol@late.test')
    sternpost.submit('-f', 'alice@sender.test', 'bob@big.test', text=TEXT % ('big', 'x' * 70 + '\n') + ('y' * 70 + '\n') * 3000)
    sternpost.submit('-f', 'alice@sender.test', 'bob@held.test', text=TEXT % ('held', 'hello\n'))
    wait_for('all mail', lambda: sternpost.ask('status')['queue']['messages'] == 3)
    sternpost.do('queue', 'hold', '--domain', 'held.test')
    wait_for('the index', lambda: sternpost.command('tlsrpt', 'preview', 'good.test', '--json').code == 0)
    sternpost.do('queue', 'resume', '--domain', 'held.test')
    sternpost.kill()
    with tarfile.open(archive, 'w:xz') as out:
        for name in sorted(os.listdir(sternpost.options['state_dir'])):
            out.add(os.path.join(sternpost.options['state_dir'], name), 'state/' + name)
    print('%s: %d octets' % (os.path.relpath(archive, TOP), os.path.getsize(archive)))


if __name__ == '__main__':
    sys.exit(run())
