"""sternpost-lab for the integration tests: the small internet of a scenario, in the test's own network, with the faults that real
software cannot be told to make."""
import json
import os
import subprocess

from machine import Failure, Process, expect, wait_for
from sternpost import Sternpost, clean_environment, program


class Lab:
    """A running lab on the well-known ports. It is the authority of a Sternpost too: bundle is its root."""

    def __init__(self, machine, scenario):
        self.dir = machine.folder('lab')
        self.bundle = os.path.join(self.dir, 'ca.pem')
        path = machine.write('scenario.toml', scenario)
        argv = [program('sternpost-lab'), 'run', path, '--dir', self.dir, '--ports', 'low', '--log', 'info']
        self.process = Process(machine, 'sternpost-lab', argv, clean_environment())
        self.process.ready('is ready', lambda: 'ready: ' in self.process.log())

    def command(self, *args):
        return subprocess.run(
            [program('sternpost-lab'), *args, '--dir', self.dir], capture_output=True, text=True, timeout=30
        )

    def set(self, path, value):
        done = self.command('set', path, value)
        expect(done.returncode == 0, 'sternpost-lab set %s %s: %s' % (path, value, done.stderr))

    def show(self, what, *args):
        done = self.command('show', what, *args, '--json')
        expect(done.returncode == 0, 'sternpost-lab show %s: %s' % (what, done.stderr))
        return json.loads(done.stdout)

    def mail(self, recipient):
        """What arrived for a recipient, oldest first."""
        return [m for m in self.show('mail') if recipient in m['recipients']]

    def wait_mail(self, recipient, seconds=20):
        return wait_for('mail for %s arrives' % recipient, lambda: self.mail(recipient), seconds, every=0.1)[-1]


def daemon(machine, lab, **options):
    return Sternpost(machine, lab, **options)


def write(sternpost, recipient):
    sternpost.submit('-f', 'a@sender.example', recipient, text='Subject: to %s\n\nhello\n' % recipient)


def must_wait(sternpost, lab, recipient, *words):
    """The recipient's mail is held back, with these words in the reason, and no host was given it."""
    reason = sternpost.wait_deferred(recipient)['reason']
    for word in words:
        expect(word in reason, 'the reason does not say %r: %s' % (word, reason))
    if lab.mail(recipient):
        raise Failure('%s was delivered: %r' % (recipient, lab.mail(recipient)))
    return reason
