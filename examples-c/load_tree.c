/* load_tree [FOLDER]: loads a real folder tree (key = path, value = the file's bytes), reads it back and compares every
 * byte, scans it, reopens and verifies again; then a million small entries; and says how fast it went.
 *
 *   FOLDER        default /usr/share; the source tree (the working folder) where that holds under 50 MB
 *   ALL=1         take everything, not 1 GiB at most
 *   KEEP=1        leave the database
 *   LSM_DB=PATH   where the database goes (default target/load_tree)
 *   SMALL=N       how many small entries (default 1000000)
 *
 * A value's truth is a 128-bit sum over its bytes kept in memory while loading, so that a file that changes afterwards
 * does not matter. Time inside lsm_ calls is measured apart from the reading of files. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "example.h"

#define MIB (1024.0 * 1024.0)
enum { BATCH_BYTES = 1 << 20, VALUE_MAX = 1 << 30 };

struct item { char *key; uint64_t size, sum[2]; };
static struct item *items;
static size_t item_count, item_room;
static uint64_t input_bytes, limit = (uint64_t)1 << 30;
static long other_kinds, skipped, too_long;
static const char *database = "target/load_tree";
static int full, progress_on_terminal;
static double inside, next_line; /* seconds inside lsm_ calls; when the next progress line is due */
static lsm_db *db;
static lsm_keyspace *ks;
static lsm_batch *batch;
static lsm_error *err;
static uint8_t *buffer;
static size_t buffer_room;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
/* Runs a library call on the clock. */
#define TIMED(call) do { double begin_ = now(); MUST(call); inside += now() - begin_; } while (0)

static void progress(const char *what, double done, double total) {
  double t = now();
  if (t < next_line) return;
  next_line = t + (progress_on_terminal ? 0.2 : 15);
  if (total > 0) fprintf(stderr, progress_on_terminal ? "\r%s %.0f of %.0f MiB  " : "%s %.0f of %.0f MiB\n", what, done / MIB, total / MIB);
  else fprintf(stderr, progress_on_terminal ? "\r%s %.0f MiB  " : "%s %.0f MiB\n", what, done / MIB);
}
static void progress_end(void) {
  if (progress_on_terminal) fprintf(stderr, "\r%40s\r", "");
  next_line = now() + (progress_on_terminal ? 0.2 : 15);
}

static void digest(const uint8_t *data, size_t len, uint64_t sum[2]) {
  uint64_t a = 0x243f6a8885a308d3u ^ len, b = 0x13198a2e03707344u, word = 0;
  for (; len >= 8; data += 8, len -= 8) {
    memcpy(&word, data, 8);
    a = (a ^ word) * 0x9e3779b97f4a7c15u, a ^= a >> 29;
    b = (b + word) * 0xc2b2ae3d27d4eb4fu, b ^= b >> 31;
  }
  word = 0;
  if (len > 0) memcpy(&word, data, len);
  sum[0] = (a ^ word) * 0x9e3779b97f4a7c15u;
  sum[1] = (b + word) * 0xc2b2ae3d27d4eb4fu;
}

static void make_room(size_t size) {
  if (size <= buffer_room) return;
  buffer = (uint8_t *)realloc(buffer, size);
  if (buffer == NULL) fprintf(stderr, "no memory for %zu bytes\n", size), exit(1);
  buffer_room = size;
}

static void skip(const char *path, const char *why) {
  progress_end();
  fprintf(stderr, "skipped %s: %s\n", path, why);
  skipped++;
}

/* Reads a whole file; 0 when it cannot be read or changes meanwhile, after saying so. */
static int read_file(const char *path, const struct stat *before) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) {
    skip(path, strerror(errno));
    return 0;
  }
  size_t size = (size_t)before->st_size, at = 0;
  make_room(size + 1);
  ssize_t got = 0;
  while (at <= size && (got = read(fd, buffer + at, size + 1 - at)) > 0) at += (size_t)got;
  struct stat after;
  int bad = got < 0 || fstat(fd, &after) != 0;
  if (bad) skip(path, strerror(errno));
  close(fd);
  if (bad) return 0;
  if (at != size || after.st_size != before->st_size || after.st_mtim.tv_sec != before->st_mtim.tv_sec ||
      after.st_mtim.tv_nsec != before->st_mtim.tv_nsec) {
    skip(path, "it changed while it was read");
    return 0;
  }
  return 1;
}

static uint64_t small_sum;
static int add_sizes(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
  (void)path, (void)ftw;
  if (flag == FTW_F && S_ISREG(st->st_mode)) small_sum += (uint64_t)st->st_size;
  return small_sum >= 50000000;
}

static int load_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
  (void)ftw;
  if (flag == FTW_D) { /* neither the database itself nor what a source tree builds */
    struct stat mine;
    int own = stat(database, &mine) == 0 && mine.st_dev == st->st_dev && mine.st_ino == st->st_ino;
    return own || strcmp(path, "./target") == 0 || strcmp(path, "./.git") == 0 ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
  }
  if (flag == FTW_DNR || flag == FTW_NS) {
    skip(path, flag == FTW_DNR ? "the folder cannot be read" : "it cannot be looked at");
    return 0;
  }
  if (flag != FTW_F || !S_ISREG(st->st_mode)) {
    other_kinds++;
    return 0;
  }
  if (st->st_size > VALUE_MAX) {
    too_long++;
    return 0;
  }
  if (input_bytes + (uint64_t)st->st_size > limit) {
    full = 1;
    return FTW_STOP;
  }
  if (!read_file(path, st)) return 0;
  if (item_count == item_room) {
    item_room = item_room ? item_room * 2 : 4096;
    items = (struct item *)realloc(items, item_room * sizeof items[0]);
    if (items == NULL) fprintf(stderr, "no memory\n"), exit(1);
  }
  struct item *item = &items[item_count++];
  item->key = strdup(path);
  item->size = (uint64_t)st->st_size;
  digest(buffer, item->size, item->sum);
  TIMED(lsm_batch_put(batch, ks, path, strlen(path), buffer, item->size, &err));
  if (lsm_batch_bytes(batch) >= BATCH_BYTES) {
    TIMED(lsm_write(db, NULL, batch, NULL, &err));
    lsm_batch_clear(batch);
  }
  input_bytes += item->size;
  progress("loading", (double)input_bytes, 0);
  return 0;
}

static void wrong(const char *key, const char *why) {
  progress_end();
  fprintf(stderr, "WRONG: %s: %s\n", key, why);
  exit(1);
}
static void compare(const struct item *item, const uint8_t *data, size_t len) {
  uint64_t sum[2];
  if (len != item->size) wrong(item->key, "another length");
  digest(data, len, sum);
  if (sum[0] != item->sum[0] || sum[1] != item->sum[1]) wrong(item->key, "other bytes");
}

/* Gets every value; answers the seconds inside lsm_ calls. */
static double verify(const char *what) {
  inside = 0;
  uint64_t done = 0;
  for (size_t i = 0; i < item_count; i++) {
    lsm_value *value = NULL;
    const uint8_t *data = NULL;
    size_t len = 0;
    double begin = now();
    int32_t code = MUST(lsm_get_pinned(ks, NULL, items[i].key, strlen(items[i].key), &value, &data, &len, &err));
    inside += now() - begin;
    if (code != LSM_OK) wrong(items[i].key, "not found");
    compare(&items[i], data, len);
    lsm_value_release(value);
    progress(what, (double)(done += len), (double)input_bytes);
  }
  progress_end();
  return inside;
}

static int by_key(const void *a, const void *b) {
  return strcmp(((const struct item *)a)->key, ((const struct item *)b)->key);
}

/* Walks each folder directly below the root by its prefix and everything once: all keys, in order, with their bytes. */
static double scan(const char *root, size_t *prefixes) {
  inside = 0;
  size_t root_len = strcmp(root, "/") == 0 ? 0 : strlen(root), i = 0, seen = 0;
  *prefixes = 0;
  while (i < item_count) {
    const char *rest = items[i].key + root_len + 1, *slash = strchr(rest, '/');
    lsm_read_options read = LSM_READ_OPTIONS_INIT;
    read.prefix = items[i].key;
    read.prefix_len = slash ? (size_t)(slash + 1 - items[i].key) : strlen(items[i].key);
    lsm_iter *it = NULL;
    lsm_entry e;
    int32_t code = LSM_OK;
    TIMED(lsm_iter_open(ks, &read, &it, &err));
    for (;;) {
      double begin = now();
      code = MUST(lsm_iter_next(it, &e, &err));
      inside += now() - begin;
      if (code != LSM_OK) break;
      if (!slash && (e.key_len != read.prefix_len)) continue; /* a longer name beside a file's own */
      if (i >= item_count || e.key_len != strlen(items[i].key) || memcmp(e.key, items[i].key, e.key_len) != 0)
        wrong(i < item_count ? items[i].key : "the end", "the scan shows another key");
      compare(&items[i], e.value, e.value_len);
      i++, seen++;
    }
    lsm_iter_close(it);
    ++*prefixes;
    if (i < item_count && memcmp(items[i].key, read.prefix, read.prefix_len) == 0 && slash) wrong(items[i].key, "not in the scan");
  }
  if (seen != item_count) wrong("scan", "not every key was seen");
  return inside;
}

static void small_key(uint64_t i, uint8_t key[16]) {
  uint64_t z = i * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93u; /* a bijection: every key is another */
  for (int b = 0; b < 8; b++) key[b] = (uint8_t)(z >> (56 - 8 * b)), key[8 + b] = (uint8_t)(i >> (56 - 8 * b));
}

static void small_entries(long n) {
  lsm_keyspace *small = NULL;
  uint8_t key[16], value[100], got[100];
  memset(value, 'v', sizeof value);
  MUST(lsm_keyspace_open(db, "small", NULL, &small, &err));
  double begin = now();
  for (long i = 0; i < n; i++) {
    small_key((uint64_t)i, key);
    memcpy(value, key, 16);
    MUST(lsm_put(small, NULL, key, 16, value, sizeof value, &err));
  }
  double put = now() - begin;
  begin = now();
  for (long i = 0; i < n; i++) {
    size_t len = 0;
    small_key((uint64_t)(i * 7919 % n), key);
    if (MUST(lsm_get(small, NULL, key, 16, got, sizeof got, &len, &err)) != LSM_OK || len != 100 || memcmp(got, key, 16) != 0)
      wrong("a small entry", "not what was put");
  }
  double get = now() - begin;
  lsm_iter *it = NULL;
  lsm_entry e;
  long seen = 0;
  begin = now();
  MUST(lsm_iter_open(small, NULL, &it, &err));
  uint8_t last[16] = {0};
  while (MUST(lsm_iter_next(it, &e, &err)) == LSM_OK) {
    if (e.key_len != 16 || e.value_len != 100 || (seen > 0 && memcmp(last, e.key, 16) >= 0)) wrong("a small entry", "scan");
    memcpy(last, e.key, 16);
    seen++;
  }
  double walked = now() - begin;
  lsm_iter_close(it);
  if (seen != n) wrong("small entries", "the scan shows another number");
  printf("small: %ld entries of 16+100 bytes: %.0f puts/s, %.0f gets/s, %.0f scanned/s\n", n, (double)n / put,
         (double)n / get, (double)n / walked);
  lsm_keyspace_release(small);
}

static uint64_t disk_bytes(void) {
  uint64_t bytes = 0;
  MUST(lsm_property_u64(db, NULL, "disk.bytes", &bytes, &err));
  return bytes;
}

int main(int argc, char **argv) {
  char root[4096];
  const char *asked = argc > 1 ? argv[1] : "/usr/share";
  nftw(asked, add_sizes, 32, FTW_PHYS);
  if (argc < 2 && small_sum < 50000000) asked = ".";
  snprintf(root, sizeof root, "%s", asked);
  for (size_t len = strlen(root); len > 1 && root[len - 1] == '/'; len--) root[len - 1] = 0;
  if (getenv("ALL") != NULL) limit = UINT64_MAX;
  if (getenv("LSM_DB") != NULL) database = getenv("LSM_DB");
  const char *path = database;
  progress_on_terminal = isatty(STDERR_FILENO);
  next_line = now() + (progress_on_terminal ? 0.2 : 15);

  lsm_destroy(path, NULL); /* what an interrupted run left */
  MUST(lsm_open(path, NULL, &db, &err));
  ks = lsm_default_keyspace(db);
  MUST(lsm_batch_new(db, &batch, &err));
  printf("loading %s into %s\n", root, path);
  double begin = now();
  if (nftw(root, load_one, 64, FTW_PHYS | FTW_ACTIONRETVAL) < 0) fprintf(stderr, "%s: %s\n", root, strerror(errno)), exit(1);
  TIMED(lsm_write(db, NULL, batch, NULL, &err));
  lsm_batch_free(batch);
  TIMED(lsm_flush(db, NULL, &err));
  progress_end();
  double loading = inside, all = now() - begin, mib = (double)input_bytes / MIB;
  if (item_count == 0) fprintf(stderr, "%s: no regular file\n", root), exit(1);
  printf("load: %zu files, %.1f MiB%s; %.1f MiB/s inside lsm_ calls (%.2f s), %.1f MiB/s with the reading of files (%.2f s)\n",
         item_count, mib, full ? " (stopped at the limit: ALL=1 takes everything)" : "", mib / loading, loading, mib / all, all);
  printf("      %ld of other kinds, %ld skipped, %ld over 1 GiB\n", other_kinds, skipped, too_long);

  qsort(items, item_count, sizeof items[0], by_key);
  double reading = verify("comparing");
  printf("read: every byte equal; %.1f MiB/s inside lsm_ calls (%.2f s)\n", mib / reading, reading);
  size_t prefixes = 0;
  double scanning = scan(root, &prefixes);
  printf("scan: %zu prefixes, %zu entries in order; %.1f MiB/s inside lsm_ calls (%.2f s)\n", prefixes, item_count,
         mib / scanning, scanning);
  uint64_t bytes = disk_bytes();
  printf("size: %.1f MiB on disk for %.1f MiB of input (%.2f)\n", (double)bytes / MIB, mib, (double)bytes / MIB / mib);
  small_entries(getenv("SMALL") ? atol(getenv("SMALL")) : 1000000);

  begin = now();
  MUST(lsm_close(db, &err));
  double closing = now() - begin;
  begin = now();
  MUST(lsm_open(path, NULL, &db, &err));
  double opening = now() - begin;
  ks = lsm_default_keyspace(db);
  printf("reopen: closed in %.3f s, opened in %.3f s\n", closing, opening);
  verify("verifying");
  MUST(lsm_close(db, &err));
  if (getenv("KEEP") == NULL) MUST(lsm_destroy(path, &err));
  printf("all %zu values equal after reopen\n", item_count);
  for (size_t i = 0; i < item_count; i++) free(items[i].key);
  free(items);
  free(buffer);
  return 0;
}
