"""The small machine that an integration test runs on: a network, mount and process namespace of its own, users that the real
machine need not have, a folder that goes with the test, and the runner.

A test is a function marked with @test that takes a Machine; its name reads as a sentence. A script ends with `sys.exit(run())`.
Exit codes: 0 all passed, 1 one failed, 77 nothing could be tried because the machine forbids namespaces.
Environment: STERNPOST_BUILD names the build folder (default: build), STERNPOST_KEEP=1 keeps the tests' folders.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get('STERNPOST_BUILD') or os.path.join(TOP, 'build'))
PEERS = os.environ.get('STERNPOST_PEERS') or os.path.join(TOP, 'build', 'peers')
SKIPPED = 77

# Users as packages make them; known inside only.
USERS = {'root': 0, 'nobody': 65534, 'postfix': 64101, 'sternpost': 64103, 'alice': 64110, 'bob': 64111}
GROUPS = {
    'root': 0,
    'nogroup': 65534,
    'postfix': 64101,
    'postdrop': 64102,
    'sternpost': 64103,
    'sternpost-drop': 64104,
    'sternpost-admin': 64105,
    'alice': 64110,
    'bob': 64111,
}
MEMBERS = {'sternpost-drop': 'sternpost'}  # the daemon reads what sendmail left there


class Failure(AssertionError):
    """An expectation that does not hold, said in a sentence."""


def expect(condition, sentence):
    if not condition:
        raise Failure(sentence)


def expect_equal(seen, wanted, what):
    if seen != wanted:
        raise Failure('%s: expected %r, saw %r' % (what, wanted, seen))


def wait_for(what, probe, seconds=20, every=0.02):
    """The first true value of probe(). Asks again and again; never sleeps for its own sake."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure('after %g s still not: %s' % (seconds, what))
        time.sleep(every)


class Machine:
    """What one test has: a folder, and everything that it started, ended in reverse order when the test is over."""

    def __init__(self, name):
        # Not /tmp, which may be memory: the daemon's syncs shall be real ones.
        self.dir = tempfile.mkdtemp(prefix='sternpost-%s.' % name[:20], dir=os.environ.get('TMPDIR', '/var/tmp'))
        os.chmod(self.dir, 0o755)
        self._ends = contextlib.ExitStack()
        self.logs = []  # files whose last lines are worth seeing when the test fails

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def folder(self, *parts, mode=0o755):
        path = self.path(*parts)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        return path

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w' if isinstance(text, str) else 'wb') as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def at_end(self, call, *args):
        self._ends.callback(call, *args)

    def close(self):
        self._ends.close()

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Process:
    """A program in the foreground, its words in a log file. Ends with the machine at the latest."""

    def __init__(self, machine, name, argv, env=None, **kw):
        self.name, self.argv = name, argv
        self.log_path = machine.path(name + '.log')
        machine.logs.append(self.log_path)
        with open(self.log_path, 'ab') as log:
            self.log_start = log.tell()
            self.popen = subprocess.Popen(
                argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **kw
            )
        machine.at_end(self.kill)

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def log(self):
        """What it said since it was started."""
        with open(self.log_path, errors='replace') as f:
            f.seek(self.log_start)
            return f.read()

    def must_run(self):
        if not self.running():
            raise Failure('%s ended with %d: %s' % (self.name, self.popen.returncode, self.log()[-1500:]))
        return True

    def ready(self, what, probe, seconds=20):
        wait_for('%s %s' % (self.name, what), lambda: self.must_run() and probe(), seconds)

    def end(self, seconds=20):
        """A polite end; its exit code."""
        if self.running():
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure('%s did not end within %g s of SIGTERM' % (self.name, seconds)) from None

    def kill(self):
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


# ------------------------------------------------------------------------------------------------------------------- namespaces
def enter(script):
    """Starts `script` again inside namespaces of its own, or says why that cannot be (exit 77)."""
    unshare = ['unshare', '--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc']
    if os.geteuid() != 0:  # the peers change their user: one mapped id is not enough
        unshare[1:1] = ['--user', '--map-root-user', '--map-auto']
    try:
        probe = subprocess.run([*unshare, 'true'], capture_output=True, text=True)
        refusal = probe.stderr.strip() if probe.returncode else ''
    except OSError as e:
        refusal = str(e)
    if refusal:
        print('skipped: this machine forbids namespaces of our own (%s)' % refusal)
        sys.exit(SKIPPED)
    sys.stdout.flush()
    os.environ['STERNPOST_TEST_INSIDE'] = '1'
    os.execvp('unshare', [*unshare, sys.executable, os.path.abspath(script), *sys.argv[1:]])


def furnish(folder):
    """Inside: loopback up, and a copy of /etc in its place, with the users and names that the tests want."""
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    etc = os.path.join(folder, 'etc')
    subprocess.run(['cp', '-a', '/etc', etc], stderr=subprocess.DEVNULL)  # what we may not read, nobody here needs
    files = {
        'passwd': ''.join(
            '%s:x:%d:%d::/nonexistent:/bin/sh\n' % (name, uid, GROUPS.get(name, GROUPS['nogroup']))
            for name, uid in USERS.items()
        ),
        'group': ''.join('%s:x:%d:%s\n' % (name, gid, MEMBERS.get(name, '')) for name, gid in GROUPS.items()),
        'hosts': '127.0.0.1 localhost\n::1 localhost\n',
        'resolv.conf': 'nameserver 127.0.0.53\n',  # peers.Dns
        'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files\n',
    }
    for name, text in files.items():
        path = os.path.join(etc, name)
        if os.path.islink(path):
            os.unlink(path)
        with open(path, 'w') as f:
            f.write(text)
        os.chmod(path, 0o644)
    shutil.rmtree(os.path.join(etc, 'sternpost'), ignore_errors=True)
    subprocess.run(['mount', '--bind', etc, '/etc'], check=True)


def peers_root():
    """Where the peers lie unpacked."""
    return os.path.join(PEERS, 'root')


def callers_root():
    """Where the programs that send mail lie unpacked, as a tree to lay over /usr."""
    return os.path.join(PEERS, 'callers')


def get_peers(*options):
    """Outside, where there may be a network: the peers, unpacked unless they are already. options: of peers.sh."""
    done = subprocess.run(
        [os.path.join(TOP, 'scripts', 'peers.sh'), *options, PEERS], stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        sys.exit('%sthe peers could not be unpacked' % done.stdout)


# ----------------------------------------------------------------------------------------------------------------------- runner
tests = []


def test(function):
    """Marks a test. They run in the order in which they stand."""
    tests.append(function)
    return function


def run(peers=False, callers=False):
    """Runs the tests (those whose names hold one of the arguments, where there are any); the exit code. peers, callers: which of
    what peers.sh unpacks they need."""
    script = sys.modules['__main__'].__file__
    if 'STERNPOST_TEST_INSIDE' not in os.environ:
        if peers:
            get_peers()
        if callers:
            get_peers('--callers')
        enter(script)
    room = tempfile.mkdtemp(prefix='sternpost-etc.')
    os.chmod(room, 0o755)
    furnish(room)
    name = os.path.basename(script)[:-3]
    wanted = [t for t in tests if len(sys.argv) == 1 or any(a in t.__name__ for a in sys.argv[1:])]
    failed = 0
    for one in wanted:
        machine = Machine(name.removeprefix('test_'))
        started, error = time.monotonic(), None
        try:
            try:
                one(machine)
            finally:
                machine.close()
        except Failure as e:
            error = str(e)
        except Exception:
            error = traceback.format_exc().rstrip()
        print(
            '%-5s %s (%.1f s)'
            % ('FAIL' if error else 'ok', one.__name__.replace('_', ' '), time.monotonic() - started),
            flush=True,
        )
        if error:
            failed += 1
            print(error)
            ours = [log for log in machine.logs if 'sternpost' in os.path.basename(log)]
            for log in dict.fromkeys(ours + machine.logs):
                tail(log, 30 if log in ours else 6)
        if os.environ.get('STERNPOST_KEEP') == '1':
            print('      kept: %s' % machine.dir)
        else:
            machine.remove()
    subprocess.run(['umount', '-l', '/etc'], check=True)
    shutil.rmtree(room, ignore_errors=True)
    print('%s: %d passed, %d failed' % (name, len(wanted) - failed, failed), flush=True)
    return 1 if failed else 0


def tail(log, lines):
    try:
        with open(log, errors='replace') as f:
            last = f.readlines()[-lines:]
    except OSError:
        return
    if last:
        print('  --- the end of %s' % os.path.basename(log))
        for line in last:
            print('  | ' + line.rstrip()[:400])
