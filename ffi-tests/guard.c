/* guard.c: one kind of call, many times, inside a function of its own, so that callgrind can count its instructions:
 *   guard FOLDER KIND N [TIMES]      FOLDER: of the database, not there yet; TIMES: how often each call is made (1); 2 is how the guard itself is tested
 * `cargo xtask guard` runs it. The work is the same every time: fixed keys, 100-byte values, nothing random. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm.h"

enum { KEYS = 20000, KEY = 16, VALUE = 100, BATCH = 100 };

static lsm_db *db;
static lsm_keyspace *keyspace;
static lsm_iter *iter;
static lsm_batch *batch;
static int times = 1;
static int failed;

static void check(int held, const char *what) {
  if (held) return;
  fprintf(stderr, "guard: failed: %s\n", what);
  failed = 1;
}
#define CHECK(condition) check(condition, #condition)
#define OK(call) check((call) == LSM_OK, #call)

/* Key number `i` of those that are stored; `odd` 1: one that lies behind it and is not. */
static void key_of(char *key, unsigned i, int odd) {
  snprintf(key, KEY + 1, "key%013u", i * 2 + (unsigned)odd);
}
static void value_of(char *value, unsigned i) {
  memset(value, 'v', VALUE);
  for (int at = 0; at < VALUE / 2; at++) value[at] = (char)((i * 2654435761u) >> (at % 24));
}
/* A walk over all numbers below KEYS in an order that looks random. */
static unsigned scattered(unsigned i) { return (unsigned)((uint64_t)i * 7919 % KEYS); }

static void put(unsigned i) {
  char key[KEY + 1], value[VALUE];
  key_of(key, i, 0);
  value_of(value, i);
  OK(lsm_put(keyspace, NULL, key, KEY, value, VALUE, NULL));
}
static void fill(unsigned from, unsigned to) {
  for (unsigned i = from; i < to; i++) put(scattered(i));
}
static void settle(void) {
  fill(0, KEYS);
  OK(lsm_flush(db, NULL, NULL));
  OK(lsm_compact(keyspace, NULL, 0, NULL, 0, NULL));
}

/* Keys and values are made outside of what is counted. */
static char (*keys)[KEY + 1];
static char (*values)[VALUE];
static void prepare(unsigned n, int odd) {
  keys = calloc(n, sizeof *keys);
  values = calloc(n, sizeof *values);
  CHECK(keys && values);
  for (unsigned i = 0; i < n; i++) {
    key_of(keys[i], scattered(i), odd);
    value_of(values[i], i);
  }
}

#define COUNTED __attribute__((noinline, noclone))
COUNTED static int counted_put(unsigned n) {
  int bad = 0;
  for (unsigned i = 0; i < n; i++)
    for (int t = 0; t < times; t++) bad += lsm_put(keyspace, NULL, keys[i], KEY, values[i], VALUE, NULL) != LSM_OK;
  return bad;
}
COUNTED static int counted_batch(unsigned n) {
  int bad = 0;
  for (unsigned i = 0; i < n; i++) {
    for (int t = 0; t < times; t++) bad += lsm_batch_put(batch, keyspace, keys[i], KEY, values[i], VALUE, NULL) != LSM_OK;
    if (i % BATCH == BATCH - 1) {
      bad += lsm_write(db, NULL, batch, NULL, NULL) != LSM_OK;
      lsm_batch_clear(batch);
    }
  }
  return bad;
}
COUNTED static int counted_get(unsigned n, int32_t want) {
  char value[VALUE];
  size_t len;
  int bad = 0;
  for (unsigned i = 0; i < n; i++)
    for (int t = 0; t < times; t++) bad += lsm_get(keyspace, NULL, keys[i], KEY, value, sizeof value, &len, NULL) != want;
  return bad;
}
COUNTED static int counted_next(unsigned n) {
  lsm_entry entry;
  int bad = 0;
  for (unsigned i = 0; i < n; i++)
    for (int t = 0; t < times; t++) bad += lsm_iter_next(iter, &entry, NULL) != LSM_OK;
  return bad;
}
COUNTED static int counted_seek(unsigned n) {
  lsm_entry entry;
  int bad = 0;
  for (unsigned i = 0; i < n; i++)
    for (int t = 0; t < times; t++) bad += lsm_iter_seek(iter, LSM_SEEK_GE, keys[i], KEY, &entry, NULL) != LSM_OK;
  return bad;
}

/* Reads everything once, so that what is counted is in the cache. */
static void warm(unsigned n, int32_t want) { CHECK(counted_get(n, want) == 0); }

static int run(const char *kind, unsigned n) {
  int is_miss = !strcmp(kind, "miss");
  prepare(n, is_miss);
  if (!strcmp(kind, "put")) return counted_put(n);
  if (!strcmp(kind, "batch put")) {
    OK(lsm_batch_new(db, &batch, NULL));
    return counted_batch(n);
  }
  if (!strcmp(kind, "get live")) {
    /* Three tables in level 0 and the rest in the memtable. */
    for (unsigned part = 0; part < 3; part++) {
      fill(KEYS / 6 * part, KEYS / 6 * (part + 1));
      OK(lsm_flush(db, NULL, NULL));
    }
    fill(KEYS / 2, KEYS);
    warm(n, LSM_OK);
    return counted_get(n, LSM_OK);
  }
  settle();
  warm(n, is_miss ? LSM_NOT_FOUND : LSM_OK);
  if (is_miss) return counted_get(n, LSM_NOT_FOUND);
  if (!strcmp(kind, "get")) return counted_get(n, LSM_OK);
  OK(lsm_iter_open(keyspace, NULL, &iter, NULL));
  if (!strcmp(kind, "next")) return counted_next(n);
  if (!strcmp(kind, "seek")) return counted_seek(n);
  fprintf(stderr, "guard: no kind is called %s\n", kind);
  return 1;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: guard FOLDER KIND N [TIMES]\n");
    return 2;
  }
  unsigned n = (unsigned)atoi(argv[3]);
  if (argc > 4) times = atoi(argv[4]);
  lsm_options *options = lsm_options_new();
  /* Level 0 stays as it is. */
  OK(lsm_options_set(options, "compaction.threads", "1", NULL));
  OK(lsm_open(argv[1], options, &db, NULL));
  lsm_options_free(options);
  keyspace = lsm_default_keyspace(db);
  CHECK(n > 0 && n <= KEYS);
  if (!failed) CHECK(run(argv[2], n) == 0);
  if (iter) lsm_iter_close(iter);
  if (batch) lsm_batch_free(batch);
  OK(lsm_close(db, NULL));
  free(keys);
  free(values);
  return failed;
}
