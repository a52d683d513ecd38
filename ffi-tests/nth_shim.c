/* Preloaded: lets the nth system call of a kind on files below a folder fail. NTH_CALL: write, sync, read, open, close, rename,
 * unlink, ftruncate, fallocate. NTH_EFFECT: an errno's number, or "short". NTH: which one, from 1 on. NTH_STICKY=1: all later
 * ones too. NTH_CLOCK: the wall clock is "frozen" or goes "back" an hour with every look. NTH_BELOW: the folder. How many calls there were and how many failed goes to NTH_COUNT (a file) at exit. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const char *call_name, *below, *count_file;
static long nth, seen, failed;
static int effect, sticky, is_short, is_ready;

__attribute__((constructor)) static void start(void) {
  const char *text = getenv("NTH_EFFECT");
  call_name = getenv("NTH_CALL"), below = getenv("NTH_BELOW"), count_file = getenv("NTH_COUNT");
  nth = getenv("NTH") ? atol(getenv("NTH")) : 0;
  sticky = getenv("NTH_STICKY") != NULL;
  is_short = text != NULL && strcmp(text, "short") == 0;
  effect = text != NULL && !is_short ? atoi(text) : 0;
  is_ready = call_name != NULL && below != NULL;
}
__attribute__((destructor)) static void end(void) {
  if (count_file == NULL) return;
  FILE *f = fopen(count_file, "w");
  if (f != NULL) fprintf(f, "%ld %ld\n", seen, failed), fclose(f);
}
static int is_below(const char *path) { return path != NULL && strncmp(path, below, strlen(below)) == 0; }
static int fd_is_below(int fd) {
  char link[64], path[4200];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  return is_below(path);
}
/* 1: fail with errno; 2: be short. */
static int meets(const char *kind, int ours) {
  if (!is_ready || strcmp(kind, call_name) != 0 || !ours) return 0;
  long at = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
  if (at != nth && !(sticky && at > nth && nth > 0)) return 0;
  __atomic_add_fetch(&failed, 1, __ATOMIC_SEQ_CST);
  if (is_short) return 2;
  errno = effect;
  return 1;
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define IS(kind) (is_ready && strcmp(call_name, kind) == 0)

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at) {
  int met = IS("write") ? meets("write", fd_is_below(fd)) : 0;
  if (met == 1) return -1;
  return REAL(pwrite64)(fd, data, met == 2 && len > 1 ? len / 2 : len, at);
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t at) { return pwrite64(fd, data, len, at); }
ssize_t pwritev2(int fd, const struct iovec *parts, int n, off_t at, int flags) {
  int met = IS("write") ? meets("write", fd_is_below(fd)) : 0;
  if (met == 1) return -1;
  if (IS("sync") && meets("sync", fd_is_below(fd)) == 1) return -1;
  if (met == 2 && n == 1 && parts[0].iov_len > 1) {
    struct iovec half = {parts[0].iov_base, parts[0].iov_len / 2};
    return REAL(pwritev2)(fd, &half, 1, at, flags);
  }
  return REAL(pwritev2)(fd, parts, n, at, flags);
}
ssize_t pwritev64v2(int fd, const struct iovec *parts, int n, off64_t at, int flags) { return pwritev2(fd, parts, n, at, flags); }
ssize_t pread64(int fd, void *data, size_t len, off64_t at) {
  int met = IS("read") ? meets("read", fd_is_below(fd)) : 0;
  if (met == 1) return -1;
  return REAL(pread64)(fd, data, met == 2 && len > 1 ? len / 2 : len, at);
}
ssize_t pread(int fd, void *data, size_t len, off_t at) { return pread64(fd, data, len, at); }
int fdatasync(int fd) { return IS("sync") && meets("sync", fd_is_below(fd)) == 1 ? -1 : REAL(fdatasync)(fd); }
int fsync(int fd) { return IS("sync") && meets("sync", fd_is_below(fd)) == 1 ? -1 : REAL(fsync)(fd); }
int close(int fd) {
  int met = IS("close") ? meets("close", fd_is_below(fd)) : 0;
  int answer = REAL(close)(fd), number = errno;
  errno = met == 1 ? effect : number;
  return met == 1 ? -1 : answer;
}
int rename(const char *from, const char *to) { return IS("rename") && meets("rename", is_below(from)) == 1 ? -1 : REAL(rename)(from, to); }
int unlink(const char *path) { return IS("unlink") && meets("unlink", is_below(path)) == 1 ? -1 : REAL(unlink)(path); }
int ftruncate64(int fd, off64_t len) { return IS("ftruncate") && meets("ftruncate", fd_is_below(fd)) == 1 ? -1 : REAL(ftruncate64)(fd, len); }
int ftruncate(int fd, off_t len) { return ftruncate64(fd, len); }
int fallocate64(int fd, int mode, off64_t at, off64_t len) {
  return IS("fallocate") && meets("fallocate", fd_is_below(fd)) == 1 ? -1 : REAL(fallocate64)(fd, mode, at, len);
}
int fallocate(int fd, int mode, off_t at, off_t len) { return fallocate64(fd, mode, at, len); }
int open64(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = (mode_t)va_arg(list, int);
  va_end(list);
  return IS("open") && meets("open", is_below(path)) == 1 ? -1 : REAL(open64)(path, flags, mode);
}
int open(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = (mode_t)va_arg(list, int);
  va_end(list);
  return open64(path, flags, mode);
}

int clock_gettime(clockid_t id, struct timespec *now) {
  static long looks;
  int answer = REAL(clock_gettime)(id, now);
  const char *how = id == CLOCK_REALTIME ? getenv("NTH_CLOCK") : NULL;
  if (how != NULL) now->tv_nsec = 0, now->tv_sec = 1700000000 - (*how == 'b' ? 3600 * looks++ : 0);
  return answer;
}
