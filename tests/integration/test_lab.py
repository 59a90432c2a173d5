#!/usr/bin/python3
"""The daemon on the small internet of sternpost-lab: the quick start's demonstration, and attackers and failures that real peers
cannot be told to play."""
import os
import subprocess
import sys
import time

from lab import Lab, daemon, must_wait, write
from machine import BUILD, TOP, expect, expect_equal, run, test, wait_for
from sternpost import clean_environment, program


def domains(names, sts='enforce'):
    """A scenario with a domain and one MX host for each name."""
    return ''.join('[domain."%s.example"]\nmx = ["mx.%s.example"]\nsts = "%s"\n' % (n, n, sts) for n in names)


def learn(sternpost, *names):
    """The policies, in the cache before anything goes wrong."""
    for name in names:
        sternpost.do('sts', 'refresh', name + '.example')


# ------------------------------------------------------------------------------------------------------------- the quick start
def demonstrate(ports):
    argv = [program('sternpost-lab'), 'run', '--ports', ports, os.path.join(TOP, 'etc/lab/quickstart.toml'), '--']
    argv += [os.path.join(TOP, 'scripts/demo.sh'), BUILD]
    done = subprocess.run(argv, env=clean_environment(), capture_output=True, text=True, timeout=150)
    expect_equal(done.returncode, 0, 'exit code of the demonstration, which said %s%s' % (done.stdout, done.stderr))
    for line in (
        'A: delivered to mx.a.example over TLSv1.3, policy=sts/enforce',
        'it does not offer STARTTLS; the mail is held back by the MTA-STS policy of b.example',
        'B: held back',
        'Diagnostic-Code: smtp; 550 5.1.1 <carol@c.example>: no such user here',
        'C: bounced',
        'B: delivered over TLSv1.3, policy=sts/enforce',
    ):
        expect(line in done.stdout, 'the demonstration does not say %r: %s' % (line, done.stdout))
    left = subprocess.run(['pgrep', '-x', 'sternpostd'], capture_output=True, text=True).stdout.split()
    expect_equal(left, [], 'daemons left running')


@test
def the_demonstration_shows_what_it_promises(machine):
    demonstrate('auto')


@test
def the_demonstration_runs_on_high_ports_too(machine):
    demonstrate('high')


# ---------------------------------------------------------------------------------------------------------------- certificates
@test
def only_certificates_that_hold_satisfy_an_enforced_policy(machine):
    """STS-59, STS-60, STS-61, STS-64: chain, dates and names, in SANs alone, a wildcard for one label."""
    good, bad = ['valid', 'wildcard'], [
        'expired',
        'notyet',
        'selfsigned',
        'unknownca',
        'wrongname',
        'cnonly',
        'wildcard2',
    ]
    lab = Lab(machine, domains(good + bad))
    sternpost = daemon(machine, lab)
    learn(sternpost, *good, *bad)
    for kind in good + bad:
        lab.set('mx.mx.%s.example.certificate' % kind, kind)
        write(sternpost, 'u@%s.example' % kind)
    for kind in good:
        mail = lab.wait_mail('u@%s.example' % kind)
        expect_equal((mail['tls'], mail['sni']), ('TLSv1.3', 'mx.%s.example' % kind), 'TLS version and SNI')
    for kind in bad:
        must_wait(sternpost, lab, 'u@%s.example' % kind, 'MTA-STS policy of %s.example' % kind)
    lab.set('mx.mx.expired.example.certificate', 'valid')
    sternpost.do('queue', 'retry', '--domain', 'expired.example')
    lab.wait_mail('u@expired.example')


@test
def a_policy_host_whose_certificate_does_not_hold_teaches_nothing(machine):
    """STS-19, STS-20, STS-21, STS-22, STS-28."""
    bad = ['expired', 'selfsigned', 'unknownca', 'wrongname', 'cnonly', 'wildcard2']
    lab = Lab(machine, domains(bad))
    sternpost = daemon(machine, lab)
    for kind in bad:
        lab.set('policy_host.mta-sts.%s.example.certificate' % kind, kind)
        expect(
            sternpost.command('sts', 'refresh', kind + '.example').code != 0, 'a policy came from a host with %s' % kind
        )
        write(sternpost, 'u@%s.example' % kind)
        lab.wait_mail('u@%s.example' % kind)  # RFC 8461 §3.3: as if there were no policy
    expect_equal(sternpost.ask('sts', 'list'), [], 'the cached policies')


# ----------------------------------------------------------------------------------------------------------------- attackers
@test
def no_trick_with_starttls_gets_mail_under_an_enforced_policy(machine):
    tricks = ['none', 'refused', 'injected', 'garbage', 'drop']
    lab = Lab(machine, domains(tricks))
    sternpost = daemon(machine, lab)
    learn(sternpost, *tricks)
    for trick in tricks:
        lab.set('mx.mx.%s.example.starttls' % trick, trick)
        write(sternpost, 'u@%s.example' % trick)
    for trick in tricks:
        must_wait(sternpost, lab, 'u@%s.example' % trick)
        lab.set('mx.mx.%s.example.starttls' % trick, 'offered')
    sternpost.retry_all()
    for trick in tricks:
        expect_equal(lab.wait_mail('u@%s.example' % trick)['tls'], 'TLSv1.3', 'TLS after the attack')


@test
def a_policy_outlives_its_record_and_its_host(machine):
    """STS-11, STS-45."""
    names = ['servfail', 'nxdomain', 'timeout', 'refused']
    lab = Lab(machine, '[lab]\nttl = 0\n' + domains(names))
    sternpost = daemon(machine, lab, dns={'timeout': '300ms', 'attempts': 1})
    learn(sternpost, *names)
    for name in names:
        lab.set('dns._mta-sts.%s.example.fault' % name, name)
        lab.set('policy_host.mta-sts.%s.example.listening' % name, 'false')
        lab.set('mx.mx.%s.example.certificate' % name, 'expired')
        write(sternpost, 'u@%s.example' % name)
    for name in names:
        must_wait(sternpost, lab, 'u@%s.example' % name, 'MTA-STS policy of %s.example' % name)
        asked = [q['answer'] for q in lab.show('dns') if q['name'] == '_mta-sts.%s.example' % name]
        expect(name in asked, 'the record was not asked for under the fault: %r' % asked)


# ------------------------------------------------------------------------------------------------------------ policy hosts
@test
def a_policy_host_that_hangs_delays_its_own_domain_alone(machine):
    """STS-25, STS-51."""
    lab = Lab(machine, domains(['hang', 'drip', 'good']))
    sternpost = daemon(machine, lab, sts={'fetch_timeout': '3s'})
    for name in ('hang', 'drip'):
        lab.set('policy_host.mta-sts.%s.example.fault' % name, name)
        write(sternpost, 'u@%s.example' % name)
    wait_for('the policy host hangs', lambda: [r for r in lab.show('https') if r['answer'] == 'hang'])
    began = time.monotonic()
    write(sternpost, 'u@good.example')
    lab.wait_mail('u@good.example', 2.5)
    expect(time.monotonic() - began < 2.5, 'the good domain waited for the bad one')
    for name in ('hang', 'drip'):  # and after the time for it, their mail goes as if they had no policy
        lab.wait_mail('u@%s.example' % name, 10)


@test
def an_answer_that_is_no_policy_is_none(machine):
    """STS-15, STS-16, STS-18, STS-26."""
    faults = ['oversize', 'redirect', 'drop']
    lab = Lab(machine, domains(faults + ['status', 'media', 'body']))
    sternpost = daemon(machine, lab)
    for fault in faults:
        lab.set('policy_host.mta-sts.%s.example.fault' % fault, fault)
    lab.set('policy_host.mta-sts.status.example.status', '404')
    lab.set('policy_host.mta-sts.media.example.content_type', 'text/html')
    lab.set('policy_host.mta-sts.body.example.body', 'version: STSv1')
    for name in faults + ['status', 'media', 'body']:
        expect(sternpost.command('sts', 'refresh', name + '.example').code != 0, 'a policy came out of %s' % name)
    redirected = [r['request'] for r in lab.show('https') if r['host'] == 'mta-sts.redirect.example']
    expect(all('/moved/' not in r for r in redirected), 'a redirect was followed: %r' % redirected)


# ------------------------------------------------------------------------------------------------------------------ DNS, hosts
@test
def a_truncated_answer_is_asked_for_again_by_tcp(machine):
    lab = Lab(machine, domains(['a']) + '[dns."a.example"]\nfault = "truncate"\n')
    sternpost = daemon(machine, lab)
    write(sternpost, 'u@a.example')
    lab.wait_mail('u@a.example')
    asked = [q['answer'] for q in lab.show('dns') if (q['name'], q['type']) == ('a.example', 'MX')]
    expect('truncate' in asked, 'the question over UDP: %r' % asked)


@test
def a_name_server_that_fails_costs_no_mail(machine):
    lab = Lab(machine, domains(['a', 'b'], sts=''))
    sternpost = daemon(machine, lab, dns={'timeout': '300ms', 'attempts': 1})
    lab.set('dns.a.example.fault', 'servfail')
    lab.set('dns.b.example.fault', 'timeout')
    for name in 'ab':
        write(sternpost, 'u@%s.example' % name)
    for name in 'ab':
        must_wait(sternpost, lab, 'u@%s.example' % name)
        lab.set('dns.%s.example.fault' % name, 'none')
    sternpost.retry_all()
    for name in 'ab':
        lab.wait_mail('u@%s.example' % name)


@test
def a_host_that_is_away_is_passed_over(machine):
    lab = Lab(machine, '[domain."a.example"]\nmx = ["10 mx1.a.example", "20 mx2.a.example"]\n')
    # A session that is kept may carry the retry to the second host: here each attempt is to choose anew.
    sternpost = daemon(machine, lab, delivery={'idle_time': '0s'})
    lab.set('mx.mx1.a.example.listening', 'false')
    write(sternpost, 'u@a.example')
    expect_equal(lab.wait_mail('u@a.example')['mx'], 'mx2.a.example', 'the host that took it')
    lab.set('mx.mx2.a.example.rcpt', '450 4.2.0 later')
    write(sternpost, 'v@a.example')
    must_wait(sternpost, lab, 'v@a.example', 'later')
    lab.set('mx.mx1.a.example.listening', 'true')
    sternpost.retry_all()
    expect_equal(lab.wait_mail('v@a.example')['mx'], 'mx1.a.example', 'the host that took it')


# -------------------------------------------------------------------------------------------------------------- the lab itself
@test
def the_lab_answers_with_exit_codes(machine):
    lab = Lab(machine, domains(['a']))
    expect_equal(lab.command('set', 'mx.mx.a.example.starttls', 'off').returncode, 1, 'a word that is none')
    expect_equal(lab.command('set', 'mx.mx.b.example.starttls', 'none').returncode, 1, 'a host that is not there')
    expect_equal(lab.command('show', 'mail', '7').returncode, 1, 'a message that is not there')
    expect_equal(lab.command('show', 'nothing').returncode, 64, 'a wrong word')
    other = subprocess.run(
        [program('sternpost-lab'), 'run', machine.path('scenario.toml'), '--dir', lab.dir], capture_output=True
    )
    expect_equal(other.returncode, 69, 'a second lab in the same folder')
    expect_equal(lab.command('stop').returncode, 0, 'stop')
    expect_equal(lab.process.popen.wait(10), 0, 'exit code of the lab')
    expect_equal(lab.command('show').returncode, 69, 'a lab that is gone')
    broken = machine.write('broken.toml', '[mx."mx.a.example"]\nstartls = "none"\n')
    done = subprocess.run([program('sternpost-lab'), 'run', broken], capture_output=True, text=True)
    expect_equal(done.returncode, 1, 'exit code for a broken scenario')
    expect('broken.toml:2: ' in done.stderr and '"starttls"' in done.stderr, 'what it says: ' + done.stderr)


@test
def a_command_inherits_none_of_the_hosts_sockets(machine):
    scenario = machine.write('scenario.toml', domains(['a']))
    argv = [program('sternpost-lab'), 'run', scenario, '--', 'ls', '/proc/self/fd']
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    descriptors = set(done.stdout.split('\n')[1:]) - {''}  # behind the lab's own line; 3 is the folder that is listed
    expect_equal(descriptors, {'0', '1', '2', '3'}, 'the descriptors of a command')


@test
def a_command_ends_with_all_that_it_started(machine):
    scenario = machine.write('scenario.toml', domains(['a']))
    argv = [program('sternpost-lab'), 'run', scenario, '--', 'sh', '-c', 'sleep 317 & exit 7']
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    expect_equal(done.returncode, 7, 'the exit code')
    expect_equal(subprocess.run(['pgrep', '-f', '^sleep 317'], capture_output=True).stdout, b'', 'what is left')


if __name__ == '__main__':
    sys.exit(run())
