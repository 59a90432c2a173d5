#!/usr/bin/python3
"""The Debian packages in a clean Debian 12: they are installed, send mail, are upgraded over a queue, stand beside bsd-mailx, refuse
a downgrade below the queue's schema, and are removed and purged. The system is a folder that debootstrap fills; apt gets its
packages where this machine gets them.

usage: test_package.py [PACKAGES], the folder with sternpost_*.deb and sternpost-lab_*.deb; by default they are made of the programs
in STERNPOST_BUILD. Wants root, and apt's mirrors.
Exit codes: 0 all is well, 1 something is not, 77 it could not be tried.
"""
import contextlib
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED = 77
MESSAGE = 'From: Alice <alice@sender.example>\nTo: bob@a.example\nSubject: over an upgrade\n\nThis waits.\n'

# The daemon as a service manager would run it, for a moment: no systemd runs in a folder.
SESSION = r"""
set -eu
install -d -o sternpost -g sternpost -m 0700 /var/lib/sternpost
install -d -o sternpost -g sternpost -m 0755 /run/sternpost
unshare --net sh -eu -c '
    ip link set lo up
    sternpostd 2>/tmp/log &
    daemon=$!
    for i in $(seq 200); do sternpost status >/dev/null 2>&1 && break; sleep 0.05; done
    kill -0 $daemon || { cat /tmp/log; exit 1; }
    "$@"
    kill $daemon
    wait $daemon
' sh "$@"
"""


class Failure(AssertionError):
    """An expectation that does not hold, said in a sentence."""


def expect(condition, sentence):
    if not condition:
        raise Failure(sentence)


class NotToBeTried(Exception):
    """The machine lacks what the test needs."""


def packages_of_build():
    """Packages with the programs that were built for the tests."""
    done = subprocess.run(
        [os.path.join(TOP, 'scripts', 'package.sh'), '--prebuilt', os.environ['STERNPOST_BUILD']],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    expect(done.returncode == 0, 'scripts/package.sh:\n' + done.stdout[-3000:])
    return os.path.join(TOP, 'build', 'packages')


class System:
    """A clean Debian 12 in a folder, bound onto itself so that namespaces can be made in it."""

    def __init__(self, folder, ends):
        self.folder = folder
        made = subprocess.run(
            ['debootstrap', '--variant=minbase', '--include=ca-certificates,iproute2', 'bookworm', folder, 'http://deb.debian.org/debian'],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise NotToBeTried('debootstrap: ' + made.stdout[-500:])
        ends.callback(self._run, 'umount', '--recursive', '--lazy', folder)
        self._run('mount', '--bind', folder, folder)
        self._run('mount', '--make-private', folder)
        for name in ('proc', 'sys', 'dev'):
            self._run('mount', '--rbind', '/' + name, os.path.join(folder, name))
            self._run('mount', '--make-rslave', os.path.join(folder, name))
        # apt, with this machine's mirrors and proxies
        for path in ('/etc/resolv.conf', '/etc/ssl/certs/ca-certificates.crt'):
            shutil.copy(path, folder + path)
        self.write('/etc/apt/sources.list', '')
        for path in glob.glob('/etc/apt/sources.list') + glob.glob('/etc/apt/apt.conf.d/*') + glob.glob('/etc/apt/sources.list*/*'):
            target = folder + path
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(path, target)
        # No service is started by a package, and what was asked for can be read: Debian's way to say so.
        self.write(
            '/usr/sbin/policy-rc.d',
            '#!/bin/sh\necho "$1 $2" >>/var/log/services\nexit 101\n',
            mode=0o755,
        )
        self.do('apt-get', 'update')

    @staticmethod
    def _run(*command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def write(self, path, text, mode=0o644):
        with open(self.folder + path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(self.folder + path, mode)

    def read(self, path):
        try:
            with open(self.folder + path, encoding='utf-8') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def exists(self, path):
        return os.path.lexists(self.folder + path)

    def attempt(self, *command, stdin='', environment=()):
        """The finished command, whatever its exit code."""
        environ = {
            'PATH': '/usr/sbin:/usr/bin:/sbin:/bin',
            'HOME': '/root',
            'LANG': 'C.UTF-8',
            'DEBIAN_FRONTEND': 'noninteractive',
            **dict(environment),
        }
        return subprocess.run(
            ['chroot', self.folder, *command], env=environ, input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )

    def do(self, *command, **options):
        """Its output. It must succeed."""
        done = self.attempt(*command, **options)
        expect(done.returncode == 0, '%s: exit code %d\n%s' % (' '.join(command)[:100], done.returncode, done.stdout[-3000:]))
        return done.stdout

    def with_daemon(self, *command, **options):
        return self.do('sh', '-c', SESSION, 'sh', *command, **options)

    def services(self):
        """What packages have asked the service manager for since the last look."""
        out = self.read('/var/log/services').split('\n')[:-1]
        if out:
            self.write('/var/log/services', '')
        return out


def repacked(package, folder, version, edit=None):
    """The package as another release of it."""
    tree = os.path.join(folder, 'tree')
    shutil.rmtree(tree, ignore_errors=True)
    subprocess.run(['dpkg-deb', '-R', package, tree], check=True)
    control = os.path.join(tree, 'DEBIAN', 'control')
    with open(control, encoding='utf-8') as f:
        text = f.read()
    with open(control, 'w', encoding='utf-8') as f:
        f.write(re.sub(r'(?m)^Version: .*$', 'Version: ' + version, text))
    if edit:
        edit(tree)
    out = os.path.join(folder, 'sternpost_%s.deb' % version)
    subprocess.run(['dpkg-deb', '-b', '--root-owner-group', tree, out], check=True, stdout=subprocess.DEVNULL)
    return out


def check_installed(system):
    state = system.do('stat', '-c', '%a %U %G', '/usr/sbin/sendmail').strip()
    expect(state == '2755 root sternpost-drop', 'sendmail is not set-gid to sternpost-drop: ' + state)
    state = system.do('stat', '-c', '%a %U %G', '/var/spool/sternpost/maildrop').strip()
    expect(state == '1730 sternpost sternpost-drop', 'the maildrop is not what tmpfiles.d says: ' + state)
    for path in ('/usr/lib/sendmail', '/usr/bin/mailq', '/usr/bin/newaliases'):
        expect(system.do('readlink', '-f', path).strip() == '/usr/sbin/sendmail', path + ' does not lead to sendmail')
    expect(system.attempt('dpkg', '--verify', 'sternpost').stdout == '', 'files of the package were changed')
    system.do('sternpost', 'config', 'check')


def waiting(system):
    return system.with_daemon('sternpost', 'queue', 'list')


def main(packages, folder, ends):
    system = System(folder, ends)
    debs = {name: glob.glob(os.path.join(packages, name + '_*.deb'))[0] for name in ('sternpost', 'sternpost-lab')}
    for deb in debs.values():
        shutil.copy(deb, system.folder + '/root')
    inside = {name: '/root/' + os.path.basename(deb) for name, deb in debs.items()}
    version = system.do('dpkg-deb', '-f', inside['sternpost'], 'Version').strip()

    print('installs', flush=True)
    system.do('apt-get', 'install', '-y', '--no-install-recommends', inside['sternpost'], inside['sternpost-lab'])
    check_installed(system)

    print('sends mail', flush=True)
    system.do('mkdir', '-p', '/root/tree')
    for name in ('debian', 'scripts'):
        shutil.copytree(os.path.join(TOP, name), system.folder + '/root/tree/' + name, dirs_exist_ok=True)
    system.do('sh', '-c', 'cd /root/tree && debian/tests/sends-mail')

    print('is upgraded over a queue', flush=True)
    system.with_daemon('sendmail', '-f', 'alice@sender.example', 'bob@a.example', stdin=MESSAGE)
    expect('bob@a.example' in waiting(system), 'the message does not wait')
    os.makedirs(system.folder + '/run/systemd/system', exist_ok=True)  # from here on packages ask the service manager
    system.services()
    newer = repacked(debs['sternpost'], folder + '/root', version + '+1')
    system.do('dpkg', '-i', newer.removeprefix(system.folder))
    check_installed(system)
    expect('sternpost.service restart' in system.services(), 'the upgrade does not restart the daemon')
    expect('bob@a.example' in waiting(system), 'the message is gone after the upgrade')

    print('is not restarted with an error in its configuration', flush=True)
    sound = system.read('/etc/sternpost/sternpost.toml')
    system.write('/etc/sternpost/sternpost.toml', sound + '\n[queue]\nretry = ["soon"]\n')
    newest = repacked(debs['sternpost'], folder + '/root', version + '+2')
    said = system.do('dpkg', '-i', '--force-confold', newest.removeprefix(system.folder))
    expect('the configuration has an error' in said and 'soon' in said, 'the error is not shown:\n' + said)
    expect(not [s for s in system.services() if 'restart' in s], 'the daemon is restarted all the same')
    system.write('/etc/sternpost/sternpost.toml', sound)

    print('stands beside bsd-mailx', flush=True)
    system.do('apt-get', 'install', '-y', 'bsd-mailx')
    expect('exim' not in system.do('dpkg-query', '-W', '-f', '${Package} '), 'Exim has come')
    check_installed(system)

    print('refuses a queue of a later release', flush=True)

    def knows_less(tree):
        path = os.path.join(tree, 'DEBIAN', 'preinst')
        with open(path, encoding='utf-8') as f:
            text = f.read()
        expect(re.search(r"(?m)^known='\d+'$", text), 'preinst does not know the schema')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(re.sub(r"(?m)^known='\d+'$", "known='1'", text))

    older = repacked(debs['sternpost'], folder + '/root', '0.0.9', knows_less)
    refused = system.attempt('dpkg', '-i', older.removeprefix(system.folder))
    expect(refused.returncode != 0 and 'which a later release wrote' in refused.stdout, 'the downgrade is not refused:\n' + refused.stdout)
    expect(system.do('dpkg-query', '-W', '-f', '${Version} ${db:Status-Status}', 'sternpost') == version + '+2 installed', 'the release changed')
    expect('bob@a.example' in waiting(system), 'the message is gone after the refused downgrade')

    print('is removed and purged', flush=True)
    system.do('apt-get', 'remove', '-y', 'sternpost')
    expect(not system.exists('/usr/sbin/sendmail') and not system.exists('/usr/lib/sendmail'), 'sendmail is still there')
    expect(system.exists('/etc/sternpost/sternpost.toml') and system.exists('/var/lib/sternpost/queue.db'), 'a removal takes too much')
    system.do('apt-get', 'purge', '-y', 'sternpost')
    expect(not system.exists('/etc/sternpost'), 'the configuration stays after a purge')
    expect(system.exists('/var/lib/sternpost/queue.db'), 'a purge that no one was asked about took the queue')
    system.do('apt-get', 'install', '-y', '--no-install-recommends', inside['sternpost'])
    expect('bob@a.example' in waiting(system), 'the message is gone after the package came back')
    system.do('debconf-set-selections', stdin='sternpost sternpost/purge-queue boolean true\n')
    system.do('apt-get', 'purge', '-y', 'sternpost')
    expect(not system.exists('/var/lib/sternpost') and not system.exists('/var/spool/sternpost'), 'the queue stays though the answer was yes')


if __name__ == '__main__':
    if len(sys.argv) > 2 or (len(sys.argv) == 1 and 'STERNPOST_BUILD' not in os.environ):
        sys.exit(__doc__)
    if os.geteuid() != 0 or not shutil.which('debootstrap'):
        print('it wants root, and debootstrap')
        sys.exit(SKIPPED)
    with contextlib.ExitStack() as stack:
        # Not /tmp, which may be memory: the daemon's syncs shall be real ones.
        where = tempfile.mkdtemp(prefix='sternpost-package.', dir=os.environ.get('TMPDIR', '/var/tmp'))
        # One file system: should something still be mounted there, it is not deleted.
        stack.callback(subprocess.run, ['rm', '-rf', '--one-file-system', where], check=False)
        os.chmod(where, 0o755)  # the root of a system is everybody's
        try:
            main(sys.argv[1] if len(sys.argv) == 2 else packages_of_build(), where, stack)
        except Failure as failure:
            print('FAILED: %s' % failure)
            sys.exit(1)
        except NotToBeTried as why:
            print('it cannot be tried here: %s' % why)
            sys.exit(SKIPPED)
