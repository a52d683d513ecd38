/* A small file system of its own, given as first argument: filled and emptied again and again, opened while full.
 * full.sh mounts it. Row 10 in docs/reliability.md. */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#define VALUE 2000

static char ballast[4200], folder[4200];

static void take_space(size_t bytes) {
  static char zeros[65536];
  int fd = open(ballast, O_CREAT | O_WRONLY | O_TRUNC, 0600);
  CHECK(fd >= 0);
  for (size_t at = 0; at < bytes; at += sizeof zeros)
    if (write(fd, zeros, sizeof zeros) < 0) break;
  close(fd);
}
static int32_t put_number(lsm_db *db, uint64_t n) {
  char key[32], value[VALUE];
  uint64_t state = n;
  snprintf(key, sizeof key, "%012" PRIu64, n);
  for (size_t i = 0; i + 8 <= sizeof value; i += 8) {
    uint64_t word = next_random(&state); /* does not compress */
    memcpy(value + i, &word, 8);
  }
  lsm_write_options w = LSM_WRITE_OPTIONS_INIT;
  w.durability = n % 3 ? LSM_DURABILITY_OS : LSM_DURABILITY_FSYNC;
  w.deadline_micros = 3000000;
  return lsm_put(lsm_default_keyspace(db), &w, key, strlen(key), value, sizeof value, NULL);
}
static int is_there(lsm_db *db, uint64_t n) {
  char key[32], value[VALUE];
  size_t len = 0;
  snprintf(key, sizeof key, "%012" PRIu64, n);
  return lsm_get(lsm_default_keyspace(db), NULL, key, strlen(key), value, sizeof value, &len, NULL) == LSM_OK && len == VALUE;
}
static lsm_db *open_small(const char *mode) {
  lsm_options *o = lsm_options_new();
  lsm_db *db = NULL;
  lsm_error *err = NULL;
  OK(lsm_options_set(o, "memtable.size", "256KiB", NULL));
  OK(lsm_options_set(o, "wal.segment_size", "256KiB", NULL));
  OK(lsm_options_set(o, "mode", mode, NULL));
  int32_t code = lsm_open(folder, o, &db, &err);
  if (code < 0) fprintf(stderr, "open %s: %s\n", mode, lsm_error_message(err));
  CHECK(code == LSM_OK);
  lsm_options_free(o);
  return db;
}
/* Puts until the disk is full; answers the next number. */
static uint64_t fill(lsm_db *db, uint64_t from) {
  int32_t code = LSM_OK;
  uint64_t n = from;
  while (n < from + 20000 && (code = put_number(db, n)) == LSM_OK) n++;
  CHECK(code == LSM_E_NOSPACE || code == LSM_E_TIMEOUT);
  return n;
}
static void until_writable(lsm_db *db, uint64_t n) {
  time_t until = time(NULL) + 20;
  while (put_number(db, n) != LSM_OK && time(NULL) < until) lsm_resume(db, NULL);
  OK(put_number(db, n));
}

static void run(void) {
  snprintf(ballast, sizeof ballast, "%s/ballast", test_folder);
  snprintf(folder, sizeof folder, "%s/db", test_folder);
  take_space(6 << 20);
  lsm_db *db = open_small("rw");
  if (db == NULL) return;
  uint64_t first = 0, next = 0;
  for (int cycle = 0; cycle < 20; cycle++) {
    take_space(6 << 20);
    next = fill(db, next);
    if (next > first) CHECK(is_there(db, first) && is_there(db, next - 1));
    CHECK(unlink(ballast) == 0);
    until_writable(db, next++); /* without a reopen */
    for (uint64_t n = first; n < next; n++) {
      char key[32];
      CHECK(is_there(db, n));
      snprintf(key, sizeof key, "%012" PRIu64, n);
      OK(lsm_delete(lsm_default_keyspace(db), NULL, key, strlen(key), NULL));
    }
    first = next;
    OK(lsm_flush(db, NULL, NULL));
    OK(lsm_compact(lsm_default_keyspace(db), NULL, 0, NULL, 0, NULL));
    usleep(200000); /* obsolete tables go in the background */
  }
  OK(lsm_close(db, NULL));
  /* Killed while full; opened while full, read-only and for writing. */
  take_space(6 << 20);
  int ends[2];
  CHECK(pipe(ends) == 0);
  pid_t child = fork();
  if (child == 0) {
    db = open_small("rw");
    uint64_t end = fill(db, first);
    if (write(ends[1], &end, sizeof end) != (ssize_t)sizeof end) _exit(1);
    for (;;) pause();
  }
  CHECK(read(ends[0], &next, sizeof next) == (ssize_t)sizeof next);
  CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
  const char *modes[] = {"ro", "rw"};
  for (int i = 0; i < 2; i++) {
    db = open_small(modes[i]);
    if (db == NULL) return;
    for (uint64_t n = first; n < next; n++) CHECK(is_there(db, n));
    if (i == 0) OK(lsm_close(db, NULL));
  }
  CHECK(unlink(ballast) == 0);
  until_writable(db, next);
  char *report = NULL;
  OK(lsm_verify(db, &report, NULL));
  lsm_free(report);
  OK(lsm_close(db, NULL));
}
