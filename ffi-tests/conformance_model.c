/* conformance_model.c: 200,000 random operations on two keyspaces with tiny memtables, tables and log segments, checked
 * against a sorted array: puts, deletes, batches, packed writes, gets, snapshots, scans, flushes, compactions, reopens. */
#include "check.h"

#define SPACES 2
#define KEYS 3000
#define VIEWS 3

typedef struct { uint32_t version[SPACES][KEYS]; } state; /* 0: absent; else what the value is made of */

static state now, views[VIEWS];
static lsm_snapshot *snapshots[VIEWS];
static lsm_db *db;
static lsm_keyspace *ks[SPACES];
static uint64_t seed = 20260101;
static uint32_t clock_now;
static long finds;

static uint64_t r(void) { return next_random(&seed); }
static size_t key_of(int number, char *to) {
  /* keys of several lengths that still sort by number */
  return (size_t)sprintf(to, "%06d%.*s", number, number % 40, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");
}
static size_t value_of(uint32_t version, char *to) {
  size_t len = version % 97 == 0 ? 20000 : version % 7 == 0 ? 0 : version % 400;
  for (size_t i = 0; i < len; i++) to[i] = (char)(version >> (i % 4 * 8));
  return len;
}
static char wanted[20000];
static int is_value(const void *data, size_t len, uint32_t version) {
  size_t want = value_of(version, wanted);
  return len == want && (len == 0 || memcmp(data, wanted, len) == 0);
}
static void open_it(int round) {
  static const char *const shapes[] = {
      "memtable.size = 256KiB\ntable.size = 64KiB\nlevel.base_size = 256KiB\nlevel.size_ratio = 4\nwal.segment_size = 1MiB\nblock.size = 1KiB\n",
      "memtable.size = 128KiB\ntable.size = 128KiB\nlevel.base_size = 512KiB\ncache.size = 0\nfilter.fpr = 0\ncompression = none\nwal.io = write\n",
      "memtable.size = 512KiB\ntable.size = 64KiB\ncompaction.threads = 1\ncompaction.parallel_merge = false\ncache.size = 1MiB\ndurability = memory\n",
      "memtable.size = 256KiB\nlevel0.compaction_trigger = 2\nlevel0.slowdown = 4\nlevel0.stop = 6\nopen.files_max = 50\n"};
  lsm_options *o = lsm_options_new();
  lsm_error *err = NULL;
  const char *text = shapes[round % 4];
  int32_t code = lsm_options_load(o, text, strlen(text), &err);
  if (code) fprintf(stderr, "options: %s\n", lsm_error_message(err)), exit(1);
  code = lsm_open(test_folder, o, &db, &err);
  if (code) fprintf(stderr, "open %d: %s %s\n", round, lsm_code_name(code), lsm_error_message(err)), exit(1);
  ks[0] = lsm_default_keyspace(db);
  OK(lsm_keyspace_open(db, "second", NULL, &ks[1], NULL));
  lsm_options_free(o);
}
static void check_get(int space, int number, int view) {
  char key[64];
  static char buffer[20000];
  size_t key_len = key_of(number, key), n = 77;
  uint32_t want = view < 0 ? now.version[space][number] : views[view].version[space][number];
  lsm_read_options o = LSM_READ_OPTIONS_INIT;
  if (view >= 0) o.snapshot = snapshots[view];
  int32_t code = lsm_get(ks[space], &o, key, key_len, buffer, sizeof buffer, &n, NULL);
  if (want == 0) CHECK(code == LSM_NOT_FOUND && n == 77);
  else CHECK(code == LSM_OK && is_value(buffer, n, want));
  if (want == 0 ? code != LSM_NOT_FOUND : code != LSM_OK || !is_value(buffer, n, want))
    fprintf(stderr, "  get space %d key %d view %d: %s, want version %u\n", space, number, view, lsm_code_name(code), want);
  finds++;
}
static void check_scan(int space, int view, int from, int count) {
  const state *s = view < 0 ? &now : &views[view];
  char key[64];
  lsm_read_options o = LSM_READ_OPTIONS_INIT;
  if (view >= 0) o.snapshot = snapshots[view];
  int backward = (int)(r() % 2), step = backward ? -1 : 1;
  size_t key_len = key_of(from, key);
  lsm_iter *it;
  lsm_entry e;
  OK(lsm_iter_open(ks[space], &o, &it, NULL));
  int32_t code = lsm_iter_seek(it, backward ? LSM_SEEK_LE : LSM_SEEK_GE, key, key_len, &e, NULL);
  int number = from;
  for (int i = 0; i < count; i++) {
    while (number >= 0 && number < KEYS && s->version[space][number] == 0) number += step;
    if (number < 0 || number >= KEYS) {
      CHECK(code == LSM_END);
      break;
    }
    key_len = key_of(number, key);
    int held = code == LSM_OK && e.key_len == key_len && !memcmp(e.key, key, key_len) && is_value(e.value, e.value_len, s->version[space][number]);
    CHECK(held);
    if (!held) {
      fprintf(stderr, "  scan space %d view %d from %d: %s at %d\n", space, view, from, lsm_code_name(code), number);
      break;
    }
    number += step;
    code = backward ? lsm_iter_prev(it, &e, NULL) : lsm_iter_next(it, &e, NULL);
  }
  lsm_iter_close(it);
}
static void check_all(void) {
  for (int space = 0; space < SPACES; space++) {
    for (int i = 0; i < KEYS; i += quick ? 29 : 3) check_get(space, i, -1);
    check_scan(space, -1, (int)(r() % 2) ? 0 : KEYS - 1, KEYS + 1);
    for (int v = 0; v < VIEWS; v++)
      if (snapshots[v]) check_scan(space, v, (int)(r() % KEYS), KEYS + 1);
  }
}
static void operate(long step) {
  static char value[20000];
  char key[64];
  int space = (int)(r() % SPACES), number = (int)(r() % KEYS), what = (int)(r() % 100), view = (int)(r() % (VIEWS + 1)) - 1;
  if (view >= 0 && !snapshots[view]) view = -1;
  size_t key_len = key_of(number, key);
  if (what < 40) {
    uint32_t version = ++clock_now;
    OK(lsm_put(ks[space], NULL, key, key_len, value, value_of(version, value), NULL));
    now.version[space][number] = version;
  } else if (what < 50) {
    OK(lsm_delete(ks[space], NULL, key, key_len, NULL));
    now.version[space][number] = 0;
  } else if (what < 55) {
    lsm_batch *b;
    OK(lsm_batch_new(db, &b, NULL));
    int len = (int)(r() % 30);
    for (int i = 0; i < len; i++) {
      int s = (int)(r() % SPACES), k = (int)(r() % KEYS);
      key_len = key_of(k, key);
      if (r() % 3) {
        uint32_t version = ++clock_now;
        OK(lsm_batch_put(b, ks[s], key, key_len, value, value_of(version, value), NULL));
        now.version[s][k] = version;
      } else {
        OK(lsm_batch_delete(b, ks[s], key, key_len, NULL));
        now.version[s][k] = 0;
      }
    }
    CHECK(lsm_batch_count(b) == (size_t)len);
    OK(lsm_write(db, NULL, b, NULL, NULL));
    lsm_batch_free(b);
  } else if (what < 58) {
    static uint8_t packed[20 * 20100];
    size_t at = 0;
    int len = (int)(r() % 20);
    for (int i = 0; i < len; i++) {
      int k = (int)(r() % KEYS);
      key_len = key_of(k, key);
      uint32_t version = r() % 3 ? ++clock_now : 0;
      size_t value_len = version ? value_of(version, value) : 0;
      at += put_u32(packed + at, (uint32_t)key_len);
      at += put_u32(packed + at, version ? (uint32_t)value_len : 0xffffffffu);
      memcpy(packed + at, key, key_len), at += key_len;
      memcpy(packed + at, value, value_len), at += value_len;
      now.version[space][k] = version;
    }
    OK(lsm_write_packed(ks[space], NULL, packed, at, NULL, NULL));
  } else if (what < 90) {
    check_get(space, number, view);
  } else if (what < 98) {
    check_scan(space, view, number, (int)(r() % 30));
  } else if (what == 98) {
    int v = (int)(r() % VIEWS);
    if (r() % 8 == 0) {
      lsm_snapshot_release(snapshots[v]);
      OK(lsm_snapshot_new(db, &snapshots[v], NULL));
      views[v] = now;
    }
  } else if (r() % 40 == 0) {
    OK(lsm_flush(db, r() % 2 ? ks[space] : NULL, NULL));
  } else if (r() % 40 == 0) {
    OK(lsm_compact(ks[space], r() % 2 ? key : NULL, 0, NULL, 0, NULL));
  }
  (void)step;
}
static void run(void) {
  long total = quick ? 4000 : 200000, per_open = total / 10;
  fresh("");
  for (int round = 0; round < 10 && checks_failed < 20; round++) {
    open_it(round);
    check_all();
    for (long i = 0; i < per_open && checks_failed < 20; i++) operate(i);
    check_all();
    for (int v = 0; v < VIEWS; v++) lsm_snapshot_release(snapshots[v]), snapshots[v] = NULL;
    OK(lsm_close(db, NULL));
  }
  open_it(0);
  check_all();
  for (int i = 0; i < SPACES; i++) OK(lsm_compact(ks[i], NULL, 0, NULL, 0, NULL));
  check_all();
  OK(lsm_close(db, NULL));
}
