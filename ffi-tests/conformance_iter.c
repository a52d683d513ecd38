/* conformance_iter.c: the contract of iterators, from the contract alone: seek modes, direction switches, ends, bounds,
 * many steps in one call, frozen views, refresh, limits on time and on hidden entries; against a sorted array. */
#include "check.h"

#include <pthread.h>

static lsm_db *db;
static lsm_keyspace *ks;

#define KEYS 200
/* the reference: key i is k%04d of 2*i, so that odd numbers are gaps */
static void name_of(char *to, int number) { snprintf(to, 8, "k%04d", number); }

static int32_t got_code;
static char got_key[65600];
static size_t got_len;
static void keep(int32_t code, const lsm_entry *e) {
  got_code = code, got_len = 0;
  if (code != LSM_OK) return;
  got_len = e->key_len;
  memcpy(got_key, e->key, e->key_len);
  CHECK(e->reserved == 0 && e->seq > 0);
}
static int at(int number) { /* whether the last step showed this number; -1: END */
  char want[8];
  if (number < 0) return got_code == LSM_END;
  name_of(want, number);
  return got_code == LSM_OK && got_len == 5 && memcmp(got_key, want, 5) == 0;
}
static void step(lsm_iter *it, int direction) {
  lsm_entry e;
  memset(&e, 0, sizeof e);
  keep(direction ? lsm_iter_prev(it, &e, NULL) : lsm_iter_next(it, &e, NULL), &e);
}
static void seek(lsm_iter *it, int mode, int number) {
  lsm_entry e;
  char key[8];
  name_of(key, number < 0 ? 0 : number);
  memset(&e, 0, sizeof e);
  if (mode < 2) keep(lsm_iter_seek(it, mode, NULL, 0, &e, NULL), &e);
  else keep(lsm_iter_seek(it, mode, key, 5, &e, NULL), &e);
}

/* Layouts: everything in memory, on disk, in several tables, mixed with deletes and overwrites. */
static void fill(int layout) {
  char key[8];
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < KEYS; i++) {
      if (layout >= 2 && i % 3 != round && round == 1) continue;
      name_of(key, 2 * i);
      OK(lsm_put(ks, NULL, key, 5, "value", 5, NULL));
      name_of(key, 2 * i + 1);
      OK(lsm_put(ks, NULL, key, 5, "gone", 4, NULL));
      if (layout >= 2 && i % 50 == 49) OK(lsm_flush(db, ks, NULL));
    }
    for (int i = 0; i < KEYS; i++) {
      name_of(key, 2 * i + 1);
      OK(lsm_delete(ks, NULL, key, 5, NULL));
    }
  }
  if (layout == 1 || layout == 3) OK(lsm_flush(db, ks, NULL));
  if (layout == 3) OK(lsm_compact(ks, NULL, 0, NULL, 0, NULL));
}

/* The model of a position: index into lo..hi with ends lo-1 and hi+1, or fresh. */
static void walk(int lo, int hi, const lsm_read_options *r, uint64_t seed, int steps) {
  lsm_iter *it;
  OK(lsm_iter_open(ks, r, &it, NULL));
  int fresh_position = 1, position = 0;
  for (int i = 0; i < steps; i++) {
    uint64_t random = next_random(&seed);
    int what = (int)(random % 16), number = (int)(random >> 8) % (2 * KEYS + 20) - 5, wanted = -1;
    if (number < 0) number = 0;
    if (what < 5) {
      int direction = 0;
      if (fresh_position) position = lo; else if (position < hi + 1) position++;
      fresh_position = 0;
      if (position > hi + 1) position = hi + 1;
      wanted = position <= hi ? 2 * position : -1;
      step(it, direction);
    } else if (what < 10) {
      if (fresh_position) position = hi; else if (position > lo - 1) position--;
      fresh_position = 0;
      wanted = position >= lo ? 2 * position : -1;
      step(it, 1);
    } else {
      int mode = what - 10;
      fresh_position = 0;
      if (mode == LSM_SEEK_FIRST) position = lo;
      else if (mode == LSM_SEEK_LAST) position = hi;
      else if (mode == LSM_SEEK_GE) position = (number + 1) / 2;
      else if (mode == LSM_SEEK_GT) position = number / 2 + 1;
      else if (mode == LSM_SEEK_LE) position = number / 2;
      else position = (number + 1) / 2 - 1;
      if (mode == LSM_SEEK_GE || mode == LSM_SEEK_GT || mode == LSM_SEEK_FIRST) {
        if (position < lo) position = lo;
        if (position > hi) position = hi + 1;
      } else {
        if (position > hi) position = hi;
        if (position < lo) position = lo - 1;
      }
      if (lo > hi) position = mode == LSM_SEEK_GE || mode == LSM_SEEK_GT || mode == LSM_SEEK_FIRST ? hi + 1 : lo - 1;
      wanted = position >= lo && position <= hi ? 2 * position : -1;
      seek(it, mode, number);
    }
    CHECK(at(wanted));
    if (!at(wanted)) fprintf(stderr, "  step %d what %d number %d wanted %d lo %d hi %d got code %d key %.5s\n", i, what, number, wanted, lo, hi, got_code, got_key);
    if (checks_failed > 20) break;
  }
  lsm_iter_close(it);
}

static void walks(void) {
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  int steps = quick ? 300 : 3000;
  walk(0, KEYS - 1, NULL, 1, steps);
  r.lower = "k0100", r.lower_len = 5;
  walk(50, KEYS - 1, &r, 2, steps);
  r.lower = "k0101";
  walk(51, KEYS - 1, &r, 3, steps);
  r.upper = "k0200", r.upper_len = 5;
  walk(51, 99, &r, 4, steps);
  r.upper = "k0201";
  walk(51, 100, &r, 5, steps);
  r.prefix = "k01", r.prefix_len = 3;
  walk(51, 99, &r, 6, steps);
  r.lower = NULL, r.lower_len = 0, r.upper = NULL, r.upper_len = 0;
  walk(50, 99, &r, 7, steps);
  r.prefix = "k0150", r.prefix_len = 5;
  walk(75, 75, &r, 8, steps);
  r.prefix = "k", r.prefix_len = 1;
  walk(0, KEYS - 1, &r, 9, steps);
  r.prefix = "", r.prefix_len = 0;
  walk(0, KEYS - 1, &r, 10, steps);
  r.flags = LSM_READ_KEYS_ONLY | LSM_READ_NO_FILL_CACHE | LSM_READ_VERIFY_CHECKSUMS;
  walk(0, KEYS - 1, &r, 11, steps);
  r.max_skip = 3 * KEYS * 4, r.readahead_bytes = 1 << 16, r.deadline_micros = 60000000;
  walk(0, KEYS - 1, &r, 12, steps);
  /* an empty range, an inverted one, a prefix without keys */
  lsm_entry e, before;
  memset(&e, 0x5a, sizeof e), before = e;
  for (int shape = 0; shape < 4; shape++) {
    lsm_read_options none = LSM_READ_OPTIONS_INIT;
    if (shape == 0) none.lower = "k0100", none.lower_len = 5, none.upper = "k0100", none.upper_len = 5;
    if (shape == 1) none.lower = "k0200", none.lower_len = 5, none.upper = "k0100", none.upper_len = 5;
    if (shape == 2) none.prefix = "zebra", none.prefix_len = 5;
    if (shape == 3) none.upper = "", none.upper_len = 0, none.prefix = "\xff\xff", none.prefix_len = 2;
    lsm_iter *it;
    OK(lsm_iter_open(ks, &none, &it, NULL));
    for (int mode = 0; mode < 6; mode++) CODE(lsm_iter_seek(it, mode, "k0100", 5, &e, NULL), LSM_END);
    CODE(lsm_iter_next(it, &e, NULL), LSM_END);
    CODE(lsm_iter_prev(it, &e, NULL), LSM_END);
    size_t n = 7;
    CODE(lsm_iter_read(it, LSM_FORWARD, &e, 1, &n, NULL), LSM_END);
    CHECK(n == 0 && memcmp(&e, &before, sizeof e) == 0);
    lsm_iter_close(it);
  }
  /* the bounds are copied at open */
  char lower[] = "k0100", upper[] = "k0200";
  lsm_read_options copied = LSM_READ_OPTIONS_INIT;
  copied.lower = lower, copied.lower_len = 5, copied.upper = upper, copied.upper_len = 5;
  lsm_iter *it;
  OK(lsm_iter_open(ks, &copied, &it, NULL));
  memset(lower, 'z', 5), memset(upper, 'a', 5);
  seek(it, LSM_SEEK_FIRST, 0);
  CHECK(at(100));
  seek(it, LSM_SEEK_LAST, 0);
  CHECK(at(198));
  OK(lsm_iter_refresh(it, NULL));
  step(it, 0);
  CHECK(at(100));
  lsm_iter_close(it);
}

static void many(void) {
  lsm_iter *it;
  lsm_entry entries[KEYS + 10];
  char want[8];
  size_t n, seen;
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  for (int only = 0; only < 2; only++) {
    r.flags = only ? LSM_READ_KEYS_ONLY : 0;
    for (int direction = 0; direction < 2; direction++) {
      for (size_t max = 1; max < KEYS + 10; max = max * 3 + 1) {
        OK(lsm_iter_open(ks, &r, &it, NULL));
        seen = 0;
        int32_t code;
        while ((code = lsm_iter_read(it, direction, entries, max, &n, NULL)) == LSM_OK) {
          CHECK(n >= 1 && n <= max);
          for (size_t i = 0; i < n; i++, seen++) {
            name_of(want, direction ? 2 * (KEYS - 1 - (int)seen) : 2 * (int)seen);
            CHECK(same(entries[i].key, entries[i].key_len, want));
            if (only) CHECK(entries[i].value == NULL && entries[i].value_len == 0);
            else CHECK(same(entries[i].value, entries[i].value_len, "value"));
          }
          if (seen > KEYS) break;
        }
        CHECK(code == LSM_END && n == 0 && seen == KEYS);
        CODE(lsm_iter_read(it, direction, entries, max, &n, NULL), LSM_END);
        /* the other way: that end's entry */
        OK(lsm_iter_read(it, !direction, entries, 1, &n, NULL));
        name_of(want, direction ? 0 : 2 * (KEYS - 1));
        CHECK(n == 1 && same(entries[0].key, entries[0].key_len, want));
        /* and switches in the middle: the entry before the last one read */
        seek(it, LSM_SEEK_GE, 100);
        OK(lsm_iter_read(it, direction, entries, 5, &n, NULL));
        int last = direction ? 100 - 2 * (int)n : 100 + 2 * (int)n;
        name_of(want, last);
        CHECK(same(entries[n - 1].key, entries[n - 1].key_len, want));
        step(it, !direction);
        CHECK(at(direction ? last + 2 : last - 2));
        lsm_iter_close(it);
      }
    }
  }
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  n = 77;
  INVALID(lsm_iter_read(it, LSM_FORWARD, entries, 0, &n, NULL));
  CHECK(n == 77);
  /* packed: every capacity, also in between, with no move when nothing fits */
  const size_t one = 8 + 5 + 5;
  for (int direction = 0; direction < 2; direction++) {
    OK(lsm_iter_refresh(it, NULL));
    size_t capacity = 0;
    for (int at_entry = 0; at_entry < KEYS;) {
      uint8_t *exact = malloc(capacity + 1);
      size_t used = 77;
      uint32_t count = 77;
      int32_t code = lsm_iter_read_packed(it, direction, capacity ? exact : NULL, capacity, &used, &count, NULL);
      if (capacity < one) {
        CHECK(code == LSM_TRUNCATED && count == 0 && used == one);
      } else {
        CHECK(code == LSM_OK && count >= 1 && used == count * one && used <= capacity);
        if (code != LSM_OK) { free(exact); break; }
        for (uint32_t i = 0; i < count; i++) {
          name_of(want, 2 * (direction ? KEYS - 1 - at_entry - (int)i : at_entry + (int)i));
          CHECK(get_u32(exact + i * one) == 5 && get_u32(exact + i * one + 4) == 5 && memcmp(exact + i * one + 8, want, 5) == 0);
        }
        at_entry += (int)count;
      }
      free(exact);
      capacity = (capacity * 7 + 5) % 97;
    }
    uint8_t small[64];
    size_t used = 77;
    uint32_t count = 77;
    CODE(lsm_iter_read_packed(it, direction, small, 64, &used, &count, NULL), LSM_END);
    CHECK(used == 0 && count == 0);
    CODE(lsm_iter_read_packed(it, direction, NULL, 0, &used, &count, NULL), LSM_END);
    /* TRUNCATED at the end the other way, then a plain step: no move */
    CODE(lsm_iter_read_packed(it, !direction, small, 3, &used, &count, NULL), LSM_TRUNCATED);
    step(it, !direction);
    CHECK(at(direction ? 0 : 2 * (KEYS - 1)));
    /* TRUNCATED in the middle, both ways, then both steps */
    for (int way = 0; way < 4; way++) {
      seek(it, LSM_SEEK_GE, 100);
      CODE(lsm_iter_read_packed(it, way & 1, small, 17, &used, &count, NULL), LSM_TRUNCATED);
      CHECK(used == one && count == 0);
      step(it, way >> 1);
      CHECK(at(way >> 1 ? 98 : 102));
      seek(it, LSM_SEEK_GE, 100);
      OK(lsm_iter_read_packed(it, way & 1, small, 2 * one + 3, &used, &count, NULL));
      int last = way & 1 ? 100 - 2 * (int)count : 100 + 2 * (int)count;
      step(it, way >> 1);
      CHECK(at(way >> 1 ? last - 2 : last + 2));
    }
    /* a fresh iterator that was told TRUNCATED is still fresh */
    OK(lsm_iter_refresh(it, NULL));
    CODE(lsm_iter_read_packed(it, direction, small, 0, &used, &count, NULL), LSM_TRUNCATED);
    step(it, !direction);
    CHECK(at(direction ? 0 : 2 * (KEYS - 1)));
    OK(lsm_iter_refresh(it, NULL));
    CODE(lsm_iter_read_packed(it, direction, small, 0, &used, &count, NULL), LSM_TRUNCATED);
    step(it, direction);
    CHECK(at(direction ? 2 * (KEYS - 1) : 0));
  }
  lsm_iter_close(it);
  r.flags = LSM_READ_KEYS_ONLY;
  OK(lsm_iter_open(ks, &r, &it, NULL));
  uint8_t small[64];
  size_t used;
  uint32_t count;
  OK(lsm_iter_read_packed(it, 0, small, 13, &used, &count, NULL));
  CHECK(count == 1 && used == 13 && get_u32(small + 4) == 0);
  CODE(lsm_iter_read_packed(it, 0, small, 12, &used, &count, NULL), LSM_TRUNCATED);
  CHECK(used == 13);
  lsm_iter_close(it);
}

/* Large entries: more than any batch size inside. */
static void large(void) {
  lsm_keyspace *big;
  size_t len = quick ? 3u << 20 : 20u << 20, n, used;
  uint32_t count;
  OK(lsm_keyspace_open(db, "large", NULL, &big, NULL));
  char *value = malloc(len), *buffer = malloc(3 * len);
  memset(value, 'L', len);
  for (int i = 0; i < 3; i++) OK(lsm_put(big, NULL, &"abc"[i], 1, value, len, NULL));
  for (int round = 0; round < 2; round++) {
    lsm_iter *it;
    lsm_entry entries[4];
    OK(lsm_iter_open(big, NULL, &it, NULL));
    size_t seen = 0;
    while (lsm_iter_read(it, 0, entries, 4, &n, NULL) == LSM_OK)
      for (size_t i = 0; i < n; i++, seen++) CHECK(entries[i].value_len == len && entries[i].value[len - 1] == 'L' && entries[i].key[0] == "abc"[seen]);
    CHECK(seen == 3);
    OK(lsm_iter_refresh(it, NULL));
    CODE(lsm_iter_read_packed(it, 1, buffer, len, &used, &count, NULL), LSM_TRUNCATED);
    CHECK(used == len + 9 && count == 0);
    for (int i = 0; i < 3;) {
      OK(lsm_iter_read_packed(it, 1, buffer, used == len + 9 ? len + 9 : 3 * len, &used, &count, NULL));
      CHECK(buffer[8] == "cba"[i] && (uint8_t)buffer[0] == 1);
      i += (int)count;
      if (count == 0) break;
    }
    lsm_iter_close(it);
    OK(lsm_flush(db, big, NULL));
  }
  free(value), free(buffer);
  lsm_keyspace_release(big);
  OK(lsm_keyspace_drop(db, "large", NULL));
}

static void *disturb(void *stop) {
  uint64_t seed = 5;
  char key[8];
  while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) {
    uint64_t random = next_random(&seed);
    name_of(key, (int)(random % (2 * KEYS)));
    if (random & 1 << 20) lsm_put(ks, NULL, key, 5, "disturbed", 9, NULL);
    else lsm_delete(ks, NULL, key, 5, NULL);
    if (random % 512 == 0) lsm_flush(db, ks, NULL);
    if (random % 2048 == 0) lsm_compact(ks, NULL, 0, NULL, 0, NULL);
  }
  return NULL;
}

static void frozen(void) {
  lsm_snapshot *s;
  lsm_iter *plain, *at_snapshot;
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  OK(lsm_snapshot_new(db, &s, NULL));
  r.snapshot = s;
  OK(lsm_iter_open(ks, NULL, &plain, NULL));
  OK(lsm_iter_open(ks, &r, &at_snapshot, NULL));
  int stop = 0;
  pthread_t thread;
  pthread_create(&thread, NULL, disturb, &stop);
  for (int round = 0; round < (quick ? 3 : 100); round++) {
    for (int which = 0; which < 2; which++) {
      lsm_iter *it = which ? at_snapshot : plain;
      seek(it, LSM_SEEK_FIRST, 0);
      for (int i = 0; i < KEYS; i++) {
        CHECK(at(2 * i));
        step(it, 0);
      }
      CHECK(at(-1));
      for (int i = KEYS - 1; i >= 0; i--) {
        step(it, 1);
        CHECK(at(2 * i));
      }
    }
    lsm_iter *late;
    OK(lsm_iter_open(ks, &r, &late, NULL));
    for (int i = 0; i < KEYS; i++) {
      step(late, 0);
      CHECK(at(2 * i));
    }
    lsm_iter_close(late);
  }
  /* the iterator outlives its snapshot; refresh drops it */
  lsm_snapshot_release(s);
  seek(at_snapshot, LSM_SEEK_GE, 100);
  CHECK(at(100));
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  pthread_join(thread, NULL);
  OK(lsm_put(ks, NULL, "k0000", 5, "new", 3, NULL));
  OK(lsm_put(ks, NULL, "a", 1, "new", 3, NULL));
  seek(at_snapshot, LSM_SEEK_FIRST, 0);
  CHECK(at(0));
  OK(lsm_iter_refresh(at_snapshot, NULL));
  lsm_entry e;
  OK(lsm_iter_next(at_snapshot, &e, NULL));
  CHECK(same(e.key, e.key_len, "a") && same(e.value, e.value_len, "new"));
  OK(lsm_iter_next(at_snapshot, &e, NULL));
  CHECK(same(e.key, e.key_len, "k0000") && same(e.value, e.value_len, "new"));
  OK(lsm_delete(ks, NULL, "a", 1, NULL));
  lsm_iter_close(at_snapshot), lsm_iter_close(plain);
  OK(lsm_iter_refresh((OK(lsm_iter_open(ks, NULL, &plain, NULL)), plain), NULL));
  OK(lsm_iter_prev(plain, &e, NULL));
  lsm_iter_close(plain);
  CLOSED(lsm_iter_next(plain, &e, NULL));
  CLOSED(lsm_iter_refresh(plain, NULL));
  lsm_iter_close(plain);
  /* an iterator over a keyspace that is dropped goes on or says so */
  lsm_keyspace *gone;
  OK(lsm_keyspace_open(db, "gone", NULL, &gone, NULL));
  for (int i = 0; i < KEYS; i++) {
    char key[8];
    name_of(key, 2 * i);
    OK(lsm_put(gone, NULL, key, 5, "value", 5, NULL));
    if (i == KEYS / 2) OK(lsm_flush(db, gone, NULL));
  }
  OK(lsm_iter_open(gone, NULL, &plain, NULL));
  step(plain, 0);
  CHECK(at(0));
  OK(lsm_keyspace_drop(db, "gone", NULL));
  for (int i = 1; i < KEYS; i++) {
    step(plain, 0);
    CHECK(got_code == LSM_E_CLOSED || at(2 * i));
    if (got_code < 0) break;
  }
  lsm_iter_close(plain);
}

static void limits(void) {
  lsm_keyspace *hid;
  lsm_entry e;
  lsm_iter *it;
  char key[8];
  OK(lsm_keyspace_open(db, "hidden", NULL, &hid, NULL));
  for (int round = 0; round < 2; round++) {
    OK(lsm_put(hid, NULL, "a", 1, "1", 1, NULL));
    for (int i = 0; i < 1000; i++) {
      name_of(key, i);
      OK(lsm_put(hid, NULL, key, 5, "x", 1, NULL));
      OK(lsm_delete(hid, NULL, key, 5, NULL));
    }
    OK(lsm_put(hid, NULL, "z", 1, "2", 1, NULL));
    lsm_read_options r = LSM_READ_OPTIONS_INIT;
    r.max_skip = 100;
    OK(lsm_iter_open(hid, &r, &it, NULL));
    for (int direction = 0; direction < 2; direction++) {
      OK(lsm_iter_seek(it, direction ? LSM_SEEK_LAST : LSM_SEEK_FIRST, NULL, 0, &e, NULL));
      CHECK(same(e.key, e.key_len, direction ? "z" : "a"));
      memset(&e, 0x5a, sizeof e);
      lsm_entry before = e;
      lsm_error *err = NULL;
      CODE(direction ? lsm_iter_prev(it, &e, &err) : lsm_iter_next(it, &e, &err), LSM_E_STALLED);
      CHECK(memcmp(&e, &before, sizeof e) == 0 && lsm_error_code(err) == LSM_E_STALLED);
      CHECK(lsm_error_flags(err) == LSM_ERROR_RETRYABLE);
      lsm_error_free(err);
      CODE(direction ? lsm_iter_prev(it, &e, NULL) : lsm_iter_next(it, &e, NULL), LSM_E_STALLED);
      size_t n = 77;
      CODE(lsm_iter_read(it, direction, &e, 1, &n, NULL), LSM_E_STALLED);
      CHECK(n == 77);
      /* a read that cannot give its first entry, in a buffer that is too small for it: still no move */
      uint8_t small[4];
      size_t used = 77;
      uint32_t count = 77;
      int stalls = 0;
      int32_t code;
      while ((code = lsm_iter_read_packed(it, direction, small, sizeof small, &used, &count, NULL)) == LSM_E_STALLED && stalls < 50) {
        CHECK(used == 77 && count == 77);
        stalls++;
      }
      CHECK(code == LSM_TRUNCATED && used == 10 && count == 0 && stalls > 2 && stalls < 50);
      /* the position is kept: tried again, the step arrives */
      OK(direction ? lsm_iter_prev(it, &e, NULL) : lsm_iter_next(it, &e, NULL));
      CHECK(same(e.key, e.key_len, direction ? "a" : "z"));
      /* entries before the stall are given first */
      lsm_entry several[5];
      OK(lsm_iter_seek(it, direction ? LSM_SEEK_LAST : LSM_SEEK_FIRST, NULL, 0, &e, NULL));
      step(it, !direction);
      CHECK(got_code == LSM_END);
      n = 77;
      OK(lsm_iter_read(it, direction, several, 5, &n, NULL));
      CHECK(n == 1 && same(several[0].key, several[0].key_len, direction ? "z" : "a"));
      CODE(lsm_iter_read(it, direction, several, 5, &n, NULL), LSM_E_STALLED);
      CHECK(n == 1);
      OK(lsm_iter_seek(it, direction ? LSM_SEEK_FIRST : LSM_SEEK_LAST, NULL, 0, &e, NULL));
      CODE(lsm_iter_seek(it, direction ? LSM_SEEK_LE : LSM_SEEK_GE, direction ? "k9999" : "k", direction ? 5 : 1, &e, NULL), LSM_E_STALLED);
    }
    lsm_iter_close(it);
    r.max_skip = 1000000;
    OK(lsm_iter_open(hid, &r, &it, NULL));
    OK(lsm_iter_next(it, &e, NULL));
    OK(lsm_iter_next(it, &e, NULL));
    CHECK(same(e.key, e.key_len, "z"));
    lsm_iter_close(it);
    if (round == 0) OK(lsm_flush(db, hid, NULL));
  }
  /* the deadline counts from the start of the call, also of one with many steps */
  lsm_keyspace *far;
  OK(lsm_keyspace_open(db, "far", NULL, &far, NULL));
  size_t total = quick ? 20000 : 200000, n = 0;
  lsm_entry *entries = malloc(total * sizeof *entries);
  for (size_t i = 0; i < total; i++) {
    uint8_t number[4];
    put_u32(number, (uint32_t)i);
    lsm_put(far, NULL, number, 4, "v", 1, NULL);
  }
  lsm_read_options soon = LSM_READ_OPTIONS_INIT;
  soon.deadline_micros = 1;
  OK(lsm_iter_open(far, &soon, &it, NULL));
  int32_t answer = lsm_iter_read(it, LSM_FORWARD, entries, total, &n, NULL);
  CHECK(answer == LSM_E_TIMEOUT || (answer == LSM_OK && n > 0 && n < total / 2));
  lsm_iter_close(it);
  for (size_t i = 0; i < total; i++) {
    uint8_t number[4];
    put_u32(number, (uint32_t)i);
    lsm_delete(far, NULL, number, 4, NULL);
  }
  OK(lsm_iter_open(far, &soon, &it, NULL));
  memset(&e, 0x5a, sizeof e);
  lsm_entry before = e;
  lsm_error *late = NULL;
  CODE(lsm_iter_next(it, &e, &late), LSM_E_TIMEOUT);
  CHECK(lsm_error_flags(late) == LSM_ERROR_RETRYABLE);
  lsm_error_free(late);
  CHECK(memcmp(&e, &before, sizeof e) == 0);
  lsm_iter_close(it);
  free(entries);
  OK(lsm_keyspace_drop(db, "far", NULL));
  OK(lsm_keyspace_drop(db, "hidden", NULL));
  char *wide = calloc(1, 65537);
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  int32_t code = lsm_iter_seek(it, LSM_SEEK_GE, wide, 65537, &e, NULL);
  CHECK(code == LSM_E_INVALID || code == LSM_OK);
  lsm_iter_close(it);
  free(wide);
}

static void run(void) {
  for (int layout = 0; layout < 4; layout++) {
    db = open_or_die(fresh("iter"));
    ks = lsm_default_keyspace(db);
    fill(layout);
    walks();
    many();
    if (layout == 0) large();
    limits();
    frozen();
    OK(lsm_close(db, NULL));
    if (checks_failed > 20) return;
  }
}
