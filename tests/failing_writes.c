/* Makes writes to the files of a store fail, as a full disk (ENOSPC) or a broken one (EIO) does.
 *
 * Preloaded (LD_PRELOAD) it stands between SQLite and libc. `fail_writes` says which writes fail,
 * counted from then on: those from number `from`, `many` of them, with the error `code`. With
 * `torn`, the first of them writes half of its bytes. `writes_seen` returns how many there were.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int code_, from_, many_, torn_, seen_;

void fail_writes(int code, int from, int many, int torn)
{
    code_ = code, from_ = from, many_ = many, torn_ = torn, seen_ = 0;
}

int writes_seen(void)
{
    return seen_;
}

static int of_a_store(int file)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, "answers.v1.sqlite3") != NULL;
}

/* 0: the call goes on; 1: it fails; 2: it writes half. */
static int fate(int file)
{
    if (!of_a_store(file))
        return 0;
    int number = seen_++;
    if (number < from_ || number - from_ >= many_)
        return 0;
    errno = code_;
    return torn_ && number == from_ ? 2 : 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define FAILING_WRITE(name, offset)                                               \
    ssize_t name(int file, const void *bytes, size_t size, offset at)             \
    {                                                                             \
        int fate_ = fate(file);                                                   \
        if (fate_ == 1 || (fate_ == 2 && size < 2))                               \
            return -1;                                                            \
        return REAL(name)(file, bytes, fate_ == 2 ? size / 2 : size, at);         \
    }

#define FAILING(name, parameters, arguments)                                      \
    int name parameters                                                           \
    {                                                                             \
        return fate(file) ? -1 : REAL(name) arguments;                            \
    }

FAILING_WRITE(pwrite, off_t)
FAILING_WRITE(pwrite64, off64_t)
FAILING(fsync, (int file), (file))
FAILING(fdatasync, (int file), (file))
FAILING(ftruncate, (int file, off_t size), (file, size))
FAILING(ftruncate64, (int file, off64_t size), (file, size))

ssize_t write(int file, const void *bytes, size_t size)
{
    return fate(file) ? -1 : REAL(write)(file, bytes, size);
}
