#!/usr/bin/python3
"""What an earlier release left on disk: this one delivers from it and reports from it. make_spool.py made each of tests/data/spool-*."""
import datetime
import glob
import os
import re
import shutil
import sys
import tarfile

from days import KEY, Days, domain, policies_of
from machine import TOP, expect, expect_equal, run, test, wait_for
from peers import Authority
from report_check import check_mail
from scripted import ScriptedDns, ScriptedMx, certificate

MADE = {'0.1.0': datetime.date(2026, 11, 30)}


@test
def mail_of_an_earlier_release_is_delivered_and_its_day_is_reported(machine):
    archives = sorted(glob.glob(os.path.join(TOP, 'tests', 'data', 'spool-*.tar.xz')))
    expect(archives, 'there is no spool of an earlier release')
    for number, archive in enumerate(archives):
        version = re.fullmatch(r'spool-(.+)\.tar\.xz', os.path.basename(archive))[1]
        take_over(machine, archive, MADE[version], 'sternpost%d' % number)


def take_over(machine, archive, made, name):
    authority = Authority(machine)
    server = ScriptedDns(
        machine,
        {
            **domain('good.test', '127.0.1.1', 'mailto:tls@reports.test', policy=True),
            **domain('late.test', '127.0.1.2'),
            **domain('big.test', '127.0.1.3'),
            **domain('held.test', '127.0.1.4'),
            **domain('reports.test', '127.0.1.5'),
        },
    )
    policies_of(machine, authority, {'good.test': 'enforce'})
    ScriptedMx(machine, '127.0.1.1', certificate(machine, authority, 'good', ['mx.good.test'], key=KEY))
    big, held, reports = (ScriptedMx(machine, '127.0.1.%d' % n) for n in (3, 4, 5))
    days = Days(machine, authority, name=name).sign(server)
    days.daemon.stop()
    state = days.daemon.options['state_dir']
    keys = os.path.join(state, 'dkim')
    for path in (os.path.join(state, entry) for entry in os.listdir(state)):
        if os.path.isdir(path) and path != keys:
            shutil.rmtree(path)
        elif path != keys:
            os.unlink(path)
    with tarfile.open(archive) as spool:
        for member in spool.getmembers():
            member.name = member.name.removeprefix('state/')
            if member.name != 'state':
                spool.extract(member, state, set_attrs=True, numeric_owner=False)
    days.today = made
    daemon = days.noon(1)

    waits = {path for path in daemon.recipients() if path.split('@')[0] in ('bob', 'carol')}  # and not what tells alice of a delay
    expect_equal(waits, {'bob@late.test', 'carol@late.test', 'bob@big.test', 'bob@held.test'}, 'what waits')
    expect_equal([s['scope'] for s in daemon.ask('queue', 'suspended')], ['big.test'], 'what is suspended')
    expect_equal([o['scope'] for o in daemon.ask('policy', 'override', 'list')], ['odd.test'], 'overrides')
    expect_equal([p['domain'] for p in daemon.ask('sts', 'list')], ['good.test'], 'policies')
    first = daemon.ask('queue', 'list', '--domain', 'late.test')['messages'][0]['id']
    expect('come back later' in daemon.do('why', first), 'why does not know what the host said')

    late = ScriptedMx(machine, '127.0.1.2')
    daemon.do('queue', 'release', '--all')
    daemon.do('queue', 'resume', '--domain', 'big.test')
    daemon.retry_all()
    wait_for('all mail arrives', lambda: len(late.taken) == 1 and len(big.taken) == 1 and len(held.taken) == 1)
    expect_equal(len(late.taken[0].recipients), 2, 'recipients at late.test')
    expect(big.taken[0].data.count(b'y' * 70) == 3000, 'the large body is not whole')
    wait_for('the report of that day', lambda: reports.taken)
    message, report = check_mail(reports.taken[0].data)
    expect_equal(message['TLS-Report-Domain'], 'good.test', 'domain of the report')
    expect_equal(report['date-range']['start-datetime'][:10], str(made), 'day of the report')
    expect_equal(report['policies'][0]['summary']['total-successful-session-count'], 1, 'sessions')
    daemon.stop()


if __name__ == '__main__':
    sys.exit(run())
