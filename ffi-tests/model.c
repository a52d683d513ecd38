/* A random run against a model, with snapshots, iterators, reopens: every answer must be the model's. */
#include "check.h"

enum { KEYS = 400, HELD = 6 };
struct state { int present[KEYS]; uint32_t stamp[KEYS]; };
static struct state now, held[HELD];
static lsm_snapshot *snaps[HELD];
static lsm_db *db;
static lsm_keyspace *ks;
static uint64_t seed;

static size_t key_of(int i, char *to) { return (size_t)sprintf(to, "key/%d/%05d", i % 3, i); }
static size_t value_of(uint32_t stamp, char *to) {
  size_t len = (size_t)sprintf(to, "value %u ", stamp), more = stamp % 300;
  memset(to + len, 'x', more);
  return len + more;
}
static int compare_keys(const void *a, const void *b) {
  char x[32], y[32];
  key_of(*(const int *)a, x), key_of(*(const int *)b, y);
  return strcmp(x, y);
}
static int order[KEYS];

static void check_get(const struct state *s, const lsm_read_options *r, int i) {
  char key[32], want[512], got[512];
  size_t key_len = key_of(i, key), len = 0;
  int32_t code = lsm_get(ks, r, key, key_len, got, sizeof got, &len, NULL);
  if (!s->present[i]) {
    CODE(code, LSM_NOT_FOUND);
    return;
  }
  size_t want_len = value_of(s->stamp[i], want);
  CHECK(code == LSM_OK && len == want_len && memcmp(got, want, len) == 0);
}

static void check_walk(const struct state *s, const lsm_read_options *r) {
  lsm_iter *it = NULL;
  lsm_entry e;
  char key[32], want[512];
  OK(lsm_iter_open(ks, r, &it, NULL));
  for (int pass = 0; pass < 2; pass++) {
    for (int j = 0; j < KEYS; j++) {
      int i = order[pass ? KEYS - 1 - j : j];
      if (!s->present[i]) continue;
      int32_t code = pass ? lsm_iter_prev(it, &e, NULL) : lsm_iter_next(it, &e, NULL);
      key_of(i, key);
      size_t len = value_of(s->stamp[i], want);
      CHECK(code == LSM_OK && same(e.key, e.key_len, key) && e.value_len == len && memcmp(e.value, want, len) == 0);
    }
    CODE(pass ? lsm_iter_prev(it, &e, NULL) : lsm_iter_next(it, &e, NULL), LSM_END);
  }
  /* A seek from a random place and a random dance. */
  int at = (int)(next_random(&seed) % KEYS);
  size_t key_len = key_of(order[at], key);
  int32_t code = lsm_iter_seek(it, LSM_SEEK_GE, key, key_len, &e, NULL);
  while (at < KEYS && !s->present[order[at]]) at++;
  for (int step = 0; step < 30; step++) {
    if (at < 0 || at >= KEYS) {
      CODE(code, LSM_END);
    } else {
      key_of(order[at], key);
      CHECK(code == LSM_OK && same(e.key, e.key_len, key));
    }
    if (next_random(&seed) % 2) {
      code = lsm_iter_next(it, &e, NULL);
      do at += at < KEYS ? 1 : 0;
      while (at < KEYS && !s->present[order[at]]);
    } else {
      code = lsm_iter_prev(it, &e, NULL);
      do at -= at >= 0 ? 1 : 0;
      while (at >= 0 && !s->present[order[at]]);
    }
  }
  lsm_iter_close(it);
}

static void write_some(void) {
  char key[32], value[512];
  int n = 1 + (int)(next_random(&seed) % 5), batched = next_random(&seed) % 2 == 0;
  lsm_batch *batch = NULL;
  if (batched) OK(lsm_batch_new(db, &batch, NULL));
  for (int j = 0; j < n; j++) {
    int i = (int)(next_random(&seed) % KEYS);
    size_t key_len = key_of(i, key);
    if (next_random(&seed) % 4 == 0) {
      OK(batched ? lsm_batch_delete(batch, ks, key, key_len, NULL) : lsm_delete(ks, NULL, key, key_len, NULL));
      now.present[i] = 0;
    } else {
      now.present[i] = 1, now.stamp[i] = (uint32_t)next_random(&seed) % 1000000;
      size_t len = value_of(now.stamp[i], value);
      OK(batched ? lsm_batch_put(batch, ks, key, key_len, value, len, NULL)
                 : lsm_put(ks, NULL, key, key_len, value, len, NULL));
    }
  }
  if (batched) OK(lsm_write(db, NULL, batch, NULL, NULL));
  lsm_batch_free(batch);
}

static void run(void) {
  const char *text = getenv("SEED");
  seed = text ? strtoull(text, NULL, 10) : 20260101u;
  printf("seed %llu\n", (unsigned long long)seed);
  for (int i = 0; i < KEYS; i++) order[i] = i;
  qsort(order, KEYS, sizeof order[0], compare_keys);
  const char *path = fresh("model");
  lsm_options *o = lsm_options_new();
  OK(lsm_options_set(o, "memtable.size", "1MiB", NULL));
  OK(lsm_open(path, o, &db, NULL));
  ks = lsm_default_keyspace(db);
  int steps = quick ? 1500 : 30000;
  for (int step = 0; step < steps && checks_failed < 20; step++) {
    uint64_t dice = next_random(&seed) % 1000;
    int slot = (int)(next_random(&seed) % HELD);
    lsm_read_options r = LSM_READ_OPTIONS_INIT;
    r.snapshot = snaps[slot];
    if (dice < 600) write_some();
    else if (dice < 900) check_get(&now, NULL, (int)(next_random(&seed) % KEYS));
    else if (dice < 950 && snaps[slot]) check_get(&held[slot], &r, (int)(next_random(&seed) % KEYS));
    else if (dice < 960) check_walk(&now, NULL);
    else if (dice < 965 && snaps[slot]) check_walk(&held[slot], &r);
    else if (dice < 980) {
      lsm_snapshot_release(snaps[slot]);
      OK(lsm_snapshot_new(db, &snaps[slot], NULL));
      held[slot] = now;
    } else if (dice < 990) OK(lsm_flush(db, NULL, NULL));
    else if (dice < 993) OK(lsm_compact(ks, NULL, 0, NULL, 0, NULL));
    else if (dice < 995) {
      for (int i = 0; i < HELD; i++) lsm_snapshot_release(snaps[i]), snaps[i] = NULL;
      OK(lsm_close(db, NULL));
      OK(lsm_open(path, o, &db, NULL));
      ks = lsm_default_keyspace(db);
      check_walk(&now, NULL);
    }
  }
  for (int i = 0; i < HELD; i++) lsm_snapshot_release(snaps[i]);
  check_walk(&now, NULL);
  OK(lsm_close(db, NULL));
  lsm_options_free(o);
}
