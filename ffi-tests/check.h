/* check.h: the little that the tests of the C interface share: checks that say where they failed, a folder per test.
 *
 * A test program gets its folder as first argument and exits 0 only when every check held. With QUICK=1 in the
 * environment (valgrind) loops are shorter. */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lsm.h"

static long checks_done, checks_failed;
static const char *test_folder = "target/ffi-tests/db";
static int quick;

/* Each is used in most programs, not in all. */
#if defined(__GNUC__)
#define MAYBE_UNUSED __attribute__((unused))
#else
#define MAYBE_UNUSED
#endif

MAYBE_UNUSED static void check_that(int held, const char *what, const char *file, int line) {
  __atomic_add_fetch(&checks_done, 1, __ATOMIC_RELAXED);
  if (!held) {
    __atomic_add_fetch(&checks_failed, 1, __ATOMIC_RELAXED);
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
  }
}
MAYBE_UNUSED static void check_code(int32_t got, int32_t want, const char *what, const char *file, int line) {
  __atomic_add_fetch(&checks_done, 1, __ATOMIC_RELAXED);
  if (got != want) {
    __atomic_add_fetch(&checks_failed, 1, __ATOMIC_RELAXED);
    fprintf(stderr, "%s:%d: %s: got %s, want %s\n", file, line, what, lsm_code_name(got), lsm_code_name(want));
  }
}
#define CHECK(condition) check_that((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
#define CODE(call, want) check_code((call), (want), #call, __FILE__, __LINE__)
#define OK(call) CODE(call, LSM_OK)
#define INVALID(call) CODE(call, LSM_E_INVALID)
#define CLOSED(call) CODE(call, LSM_E_CLOSED)

MAYBE_UNUSED static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
  (void)st, (void)flag, (void)ftw;
  return remove(path);
}
/* A path under the test's folder where nothing is. The caller frees nothing: a few static buffers take turns. */
MAYBE_UNUSED static const char *fresh(const char *name) {
  static char paths[8][4096];
  static int turn;
  char *path = paths[turn++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
  nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  return path;
}
MAYBE_UNUSED static lsm_db *open_or_die(const char *path) {
  lsm_db *db = NULL;
  lsm_error *err = NULL;
  int32_t code = lsm_open(path, NULL, &db, &err);
  if (code != LSM_OK) {
    fprintf(stderr, "lsm_open %s: %s: %s\n", path, lsm_code_name(code), lsm_error_message(err));
    exit(1);
  }
  return db;
}
/* Puts a C string under a C string. */
MAYBE_UNUSED static int32_t put(lsm_keyspace *ks, const char *key, const char *value) {
  return lsm_put(ks, NULL, key, strlen(key), value, strlen(value), NULL);
}
/* Whether the value under a key is this C string; NULL: that there is none. */
MAYBE_UNUSED static int has(lsm_keyspace *ks, const lsm_read_options *options, const char *key, const char *value) {
  char buffer[4096];
  size_t len = 77;
  int32_t code = lsm_get(ks, options, key, strlen(key), buffer, sizeof buffer, &len, NULL);
  if (value == NULL) return code == LSM_NOT_FOUND && len == 77;
  return code == LSM_OK && len == strlen(value) && memcmp(buffer, value, len) == 0;
}
MAYBE_UNUSED static int same(const uint8_t *data, size_t len, const char *text) {
  return len == strlen(text) && (len == 0 || memcmp(data, text, len) == 0);
}
MAYBE_UNUSED static uint64_t next_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
MAYBE_UNUSED static size_t put_u32(uint8_t *to, uint32_t value) {
  to[0] = (uint8_t)value, to[1] = (uint8_t)(value >> 8), to[2] = (uint8_t)(value >> 16), to[3] = (uint8_t)(value >> 24);
  return 4;
}
MAYBE_UNUSED static uint32_t get_u32(const uint8_t *from) {
  return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}
/* Appends one packed entry; a NULL value is a delete. */
MAYBE_UNUSED static size_t pack(uint8_t *to, const char *key, const char *value) {
  size_t at = put_u32(to, (uint32_t)strlen(key));
  at += put_u32(to + at, value ? (uint32_t)strlen(value) : 0xffffffffu);
  memcpy(to + at, key, strlen(key));
  at += strlen(key);
  if (value) {
    memcpy(to + at, value, strlen(value));
    at += strlen(value);
  }
  return at;
}

static void run(void);

int main(int argc, char **argv) {
  if (argc > 1) test_folder = argv[1];
  quick = getenv("QUICK") != NULL;
  run();
  printf("%s: %ld checks, %ld failed\n", argv[0], checks_done, checks_failed);
  return checks_failed ? 1 : 0;
}
#endif
