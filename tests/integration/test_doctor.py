#!/usr/bin/python3
"""What doctor finds out about a host, with a real DNS and a real mail host on the other side."""
import os
import sys

from machine import expect, expect_equal, run, test
from peers import SOA, Dns, Sink
from sternpost import Sternpost

ADDRESS = '93.184.216.34'  # only the DNS knows it
REVERSE = '216.184.93.in-addr.arpa'
RECORDS = ['relay A ' + ADDRESS, 'relay-admin MX 10 mx.sink', 'mx.sink A 127.0.0.40']


def found(sternpost, code=0):
    """The findings by check, each as (verdict, text, advice)."""
    out = {}
    for one in sternpost.ask('doctor', code=code):
        out.setdefault(one['check'], []).append((one['verdict'], one['text'], one['advice']))
    return out


def reverse(name):
    return {REVERSE: SOA % (REVERSE + '.') + '34 PTR %s\n' % name}


@test
def a_host_whose_names_agree_is_well(machine):
    dns = Dns(
        machine,
        RECORDS
        + ['relay-admin TXT "v=spf1 include:spf.relay-admin.test -all"', 'spf.relay-admin TXT "v=spf1 ip4:93.184.216.0/24 ?all"']
        + ['_dmarc.relay-admin TXT "v=DMARC1; p=none"'],
        zones=reverse('relay.test.'),
    )
    expect(dns, 'the DNS is there')
    Sink(machine, '127.0.0.40')
    sternpost = Sternpost(machine)
    seen = found(sternpost)
    for check in ('hostname', 'ptr', 'spf', 'dmarc', 'port-25', 'ca', 'disk', 'permissions', 'maildrop', 'spool', 'daemon'):
        expect_equal([one[0] for one in seen[check]], ['ok'], '%s: %s' % (check, seen[check]))
    expect('include:spf.relay-admin.test' in seen['spf'][0][1], 'which term let it pass: %s' % seen['spf'])
    expect_equal(seen['dkim'][0][0], 'warning', 'there is no key')
    sternpost.stop()
    expect_equal(found(sternpost)['daemon'][0][0], 'warning', 'the daemon is down')


@test
def each_thing_that_is_wrong_is_named_with_what_to_do(machine):
    dns = Dns(machine, RECORDS + ['relay-admin TXT "v=spf1 ip4:192.0.2.1 -all"'], zones=reverse('other.test.'))
    expect(dns, 'the DNS is there')
    sternpost = Sternpost(machine, listener={'tls_certificate': '/nowhere/cert.pem'}, start=False)
    os.chmod(sternpost.dir + '/state', 0o755)
    seen = found(sternpost, code=1)
    expect_equal(seen['ptr'][0][0], 'warning', 'another name')
    expect('other.test' in seen['ptr'][0][1] and 'relay.test' in seen['ptr'][0][2], 'both names: %s' % seen['ptr'])
    expect_equal(seen['spf'][0][0], 'error', 'SPF refuses it')
    expect('-all' in seen['spf'][0][1] and 'ip4:' + ADDRESS in seen['spf'][0][2], 'what to add: %s' % seen['spf'])
    expect_equal(seen['dmarc'][0][0], 'warning', 'no DMARC')
    expect_equal(seen['port-25'][0][0], 'error', 'no one answers')
    expect('127.0.0.40' in seen['port-25'][0][1], 'who was called: %s' % seen['port-25'])
    expect_equal(seen['certificate'][0][0], 'error', 'no certificate')
    expect_equal(seen['permissions'][0][0], 'warning', 'others may look')
    shown = sternpost.command('doctor')
    expect_equal(shown.code, 1, 'exit code')
    expect('ERROR    spf' in shown.out and 'What to do: ' in shown.out, 'for people: ' + shown.out)


@test
def a_host_without_names_or_without_a_dns_is_told_so(machine):
    dns = Dns(machine, ['relay A ' + ADDRESS])
    sternpost = Sternpost(machine, start=False)
    seen = found(sternpost, code=1)
    expect_equal(seen['ptr'][0][0], 'error', 'no PTR record')
    expect_equal(seen['spf'][0][0], 'warning', 'no SPF record')
    expect('v=spf1 ip4:%s -all' % ADDRESS in seen['spf'][0][2], 'a record to publish: %s' % seen['spf'])
    sternpost.change(hostname='nowhere.test', admin_address='')
    seen = found(sternpost, code=1)
    expect_equal(seen['hostname'][0][0], 'error', 'no address')
    expect_equal(seen['admin'][0][0], 'warning', 'no administrator')
    dns.stop()
    sternpost.change(dns={'timeout': '1s', 'attempts': 1})
    expect_equal(found(sternpost, code=1)['hostname'][0][0], 'error', 'no DNS')


if __name__ == '__main__':
    sys.exit(run(peers=True))
