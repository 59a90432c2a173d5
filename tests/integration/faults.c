/* For LD_PRELOAD: a wall clock and a disk that misbehave on command. The commands stand in two files, which are looked at in each call,
 * so that a test writes or removes them while the daemon runs:
 *   SECONDS_AHEAD=FILE  the wall clock is as many seconds ahead as stand in it; all other clocks are as they are
 *   DISK_FAULTS=FILE    each line is CALL ERRNO PATTERN: calls of that kind on files whose path matches fail with that error number,
 *                       and nothing is done. CALL is write, sync, read, truncate or open; PATTERN is a glob(7) over the whole path. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* What stands in the file that the variable names, by system calls alone: the functions below would find themselves. */
static int commands(const char *variable, char *text, size_t size) {
    const char *name = getenv(variable);
    long file, got;
    if (name == NULL) return 0;
    file = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) return 0;
    got = syscall(SYS_read, file, text, size - 1);
    syscall(SYS_close, file);
    text[got > 0 ? got : 0] = 0;
    return got > 0;
}

/* The error that a call of this kind on this path shall have, or 0. */
static int fault_of_path(const char *call, const char *path) {
    char text[2048], *line, *rest = text;
    const int was = errno;
    int error = 0;
    if (!commands("DISK_FAULTS", text, sizeof text)) {
        errno = was;
        return 0;
    }
    while (error == 0 && (line = strsep(&rest, "\n")) != NULL) {
        char kind[16], pattern[1024];
        int number;
        if (sscanf(line, "%15s %d %1023s", kind, &number, pattern) == 3 && strcmp(kind, call) == 0 &&
            fnmatch(pattern, path, 0) == 0)
            error = number;
    }
    errno = was;
    return error;
}

static int fault(const char *call, int fd) {
    char link[64], path[4096];
    const int was = errno;
    ssize_t size;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    errno = was;
    if (size <= 0) return 0;
    path[size] = 0;
    return fault_of_path(call, path);
}

#define FAIL_IF(error)       \
    do {                     \
        const int e = error; \
        if (e != 0) {        \
            errno = e;       \
            return -1;       \
        }                    \
    } while (0)

int clock_gettime(clockid_t which, struct timespec *out) {
    const int result = (int)syscall(SYS_clock_gettime, which, out);
    char text[32];
    if (result == 0 && which == CLOCK_REALTIME && commands("SECONDS_AHEAD", text, sizeof text)) out->tv_sec += atol(text);
    return result;
}

ssize_t write(int fd, const void *octets, size_t size) {
    FAIL_IF(fault("write", fd));
    return syscall(SYS_write, fd, octets, size);
}
ssize_t pwrite(int fd, const void *octets, size_t size, off_t offset) {
    FAIL_IF(fault("write", fd));
    return syscall(SYS_pwrite64, fd, octets, size, offset);
}
ssize_t pwrite64(int fd, const void *octets, size_t size, off64_t offset) { return pwrite(fd, octets, size, offset); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    FAIL_IF(fault("write", fd));
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "pwritev");
    return real(fd, parts, count, offset);
}
ssize_t pread(int fd, void *octets, size_t size, off_t offset) {
    FAIL_IF(fault("read", fd));
    return syscall(SYS_pread64, fd, octets, size, offset);
}
ssize_t pread64(int fd, void *octets, size_t size, off64_t offset) { return pread(fd, octets, size, offset); }
int fsync(int fd) {
    FAIL_IF(fault("sync", fd));
    return (int)syscall(SYS_fsync, fd);
}
int fdatasync(int fd) {
    FAIL_IF(fault("sync", fd));
    return (int)syscall(SYS_fdatasync, fd);
}
int ftruncate(int fd, off_t size) {
    FAIL_IF(fault("truncate", fd));
    return (int)syscall(SYS_ftruncate, fd, size);
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }
int open(const char *path, int flags, ...) {
    va_list more;
    mode_t mode;
    va_start(more, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    FAIL_IF(fault_of_path("open", path));
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list more;
    mode_t mode;
    va_start(more, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open(path, flags, mode);
}
