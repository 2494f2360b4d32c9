/* Counts the calls of a process that change files; kills it before, or in the midst of, the n-th, or lets the disk
   be full after so many bytes. Preloaded; nothing happens until `arm`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls, left;
static long fatal = -1;
static int armed, limited, halves;

void arm(long kill_at, int in_the_midst, long bytes) {
    calls = 0;
    fatal = kill_at;
    halves = in_the_midst;
    left = bytes;
    limited = bytes >= 0;
    armed = 1;
}

long count(void) { return calls; }

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

static int doomed(void) { return armed && atomic_fetch_add(&calls, 1) == fatal; }

static int on_disk(int fd) {
    struct stat about;
    return armed && fd > 2 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define SIMPLE(name, parameters, arguments)                                                                            \
    int name parameters {                                                                                              \
        if (doomed()) die();                                                                                           \
        return REAL(name) arguments;                                                                                   \
    }

SIMPLE(rename, (const char *a, const char *b), (a, b))
SIMPLE(renameat, (int d, const char *a, int e, const char *b), (d, a, e, b))
SIMPLE(unlink, (const char *a), (a))
SIMPLE(unlinkat, (int d, const char *a, int f), (d, a, f))
SIMPLE(rmdir, (const char *a), (a))
SIMPLE(mkdir, (const char *a, mode_t m), (a, m))
SIMPLE(mkdirat, (int d, const char *a, mode_t m), (d, a, m))
SIMPLE(symlink, (const char *a, const char *b), (a, b))
SIMPLE(link, (const char *a, const char *b), (a, b))
SIMPLE(ftruncate, (int fd, off_t size), (fd, size))
SIMPLE(ftruncate64, (int fd, off64_t size), (fd, size))
SIMPLE(truncate, (const char *a, off_t size), (a, size))

#define OPEN(name, parameters, arguments)                                                                              \
    int name parameters {                                                                                              \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                        \
        va_end(more);                                                                                                  \
        if (flags & (O_CREAT | O_TRUNC) && doomed()) die();                                                            \
        return REAL(name) arguments;                                                                                   \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int d, const char *path, int flags, ...), (d, path, flags, mode))
OPEN(openat64, (int d, const char *path, int flags, ...), (d, path, flags, mode))

/* Bytes that may be written of so many: all, none with ENOSPC, or those that fit. */
static ssize_t room(int fd, size_t size) {
    if (!limited || !on_disk(fd)) return size;
    long before = atomic_fetch_sub(&left, (long)size);
    if (before >= (long)size) return size;
    atomic_store(&left, 0);
    if (before > 0) return before;
    errno = ENOSPC;
    return -1;
}

#define WRITE(name, parameters, arguments)                                                                             \
    ssize_t name parameters {                                                                                          \
        if (on_disk(fd) && doomed()) {                                                                                 \
            size /= 2;                                                                                                 \
            if (halves) (void)!REAL(name) arguments;                                                                   \
            die();                                                                                                     \
        }                                                                                                              \
        ssize_t fits = room(fd, size);                                                                                 \
        if (fits < 0) return -1;                                                                                       \
        size = fits;                                                                                                   \
        return REAL(name) arguments;                                                                                   \
    }

WRITE(write, (int fd, const void *content, size_t size), (fd, content, size))
WRITE(pwrite, (int fd, const void *content, size_t size, off_t place), (fd, content, size, place))
WRITE(pwrite64, (int fd, const void *content, size_t size, off64_t place), (fd, content, size, place))

/* A copy may ask for more than there is: what was not written is still free. */
#define counted(there, copy)                                                                                           \
    ({                                                                                                                 \
        ssize_t fits = there;                                                                                          \
        ssize_t copied = fits < 0 ? -1 : copy;                                                                         \
        if (limited && fits > 0) atomic_fetch_add(&left, fits - (copied > 0 ? copied : 0));                            \
        copied;                                                                                                        \
    })

ssize_t writev(int fd, const struct iovec *parts, int number) {
    if (on_disk(fd) && doomed()) die();
    size_t size = 0;
    for (int k = 0; k < number; k++) size += parts[k].iov_len;
    if (room(fd, size) < (ssize_t)size) { errno = ENOSPC; return -1; }
    return REAL(writev)(fd, parts, number);
}

ssize_t sendfile64(int to, int from, off64_t *place, size_t size);
ssize_t sendfile(int to, int from, off_t *place, size_t size) {
    if (on_disk(to) && doomed()) die();
    return counted(room(to, size), REAL(sendfile)(to, from, place, fits));
}
ssize_t sendfile64(int to, int from, off64_t *place, size_t size) { return sendfile(to, from, place, size); }

ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) {
    if (on_disk(to) && doomed()) die();
    return counted(room(to, size), REAL(copy_file_range)(from, a, to, b, fits, flags));
}
