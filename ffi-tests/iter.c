/* Iterators: six seek modes, direction switches, ends, bounds, prefix, many steps at once, views that stay frozen. */
#include "check.h"

static lsm_keyspace *ks;
static lsm_entry e;

static int at(int32_t code, const char *key) {
  if (key == NULL) return code == LSM_END;
  return code == LSM_OK && same(e.key, e.key_len, key) && e.reserved == 0;
}
#define SEEK(it, where, key) lsm_iter_seek(it, where, key, strlen(key), &e, NULL)
#define NEXT(it) lsm_iter_next(it, &e, NULL)
#define PREV(it) lsm_iter_prev(it, &e, NULL)

static void seeks(void) {
  lsm_iter *it = NULL;
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  /* b d f */
  CHECK(at(lsm_iter_seek(it, LSM_SEEK_FIRST, NULL, 0, &e, NULL), "b") && same(e.value, e.value_len, "2") && e.seq > 0);
  CHECK(at(lsm_iter_seek(it, LSM_SEEK_LAST, NULL, 0, &e, NULL), "f"));
  CHECK(at(SEEK(it, LSM_SEEK_GE, "d"), "d"));
  CHECK(at(SEEK(it, LSM_SEEK_GE, "c"), "d"));
  CHECK(at(SEEK(it, LSM_SEEK_GT, "d"), "f"));
  CHECK(at(SEEK(it, LSM_SEEK_GT, "c"), "d"));
  CHECK(at(SEEK(it, LSM_SEEK_LE, "d"), "d"));
  CHECK(at(SEEK(it, LSM_SEEK_LE, "e"), "d"));
  CHECK(at(SEEK(it, LSM_SEEK_LT, "d"), "b"));
  CHECK(at(SEEK(it, LSM_SEEK_LT, "e"), "d"));
  CHECK(at(lsm_iter_seek(it, LSM_SEEK_GE, NULL, 0, &e, NULL), "b"));
  /* A missed GE or GT stands after the last entry, a missed LE or LT before the first. */
  CHECK(at(SEEK(it, LSM_SEEK_GE, "g"), NULL) && at(NEXT(it), NULL) && at(PREV(it), "f"));
  CHECK(at(SEEK(it, LSM_SEEK_GT, "f"), NULL) && at(PREV(it), "f") && at(PREV(it), "d"));
  CHECK(at(SEEK(it, LSM_SEEK_LE, "a"), NULL) && at(PREV(it), NULL) && at(NEXT(it), "b"));
  CHECK(at(SEEK(it, LSM_SEEK_LT, "b"), NULL) && at(NEXT(it), "b") && at(NEXT(it), "d"));
  e.key_len = 99;
  CHECK(at(SEEK(it, LSM_SEEK_GE, "zz"), NULL) && e.key_len == 99);
  INVALID(SEEK(it, 6, "a"));
  INVALID(SEEK(it, -1, "a"));
  INVALID(lsm_iter_seek(it, LSM_SEEK_GE, NULL, 2, &e, NULL));
  INVALID(lsm_iter_seek(it, LSM_SEEK_GE, "a", 1, NULL, NULL));
  INVALID(lsm_iter_next(it, NULL, NULL));
  INVALID(lsm_iter_prev(it, NULL, NULL));
  INVALID(lsm_iter_next(NULL, &e, NULL));
  INVALID(lsm_iter_seek(NULL, 0, NULL, 0, &e, NULL));
  INVALID(lsm_iter_refresh(NULL, NULL));
  lsm_iter_close(it);

  /* Fresh: the first next is the first entry, the first prev the last. Every switch of direction. */
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  CHECK(at(NEXT(it), "b") && at(NEXT(it), "d") && at(PREV(it), "b") && at(NEXT(it), "d") && at(NEXT(it), "f"));
  CHECK(at(NEXT(it), NULL) && at(NEXT(it), NULL) && at(PREV(it), "f") && at(NEXT(it), NULL) && at(PREV(it), "f"));
  CHECK(at(PREV(it), "d") && at(PREV(it), "b") && at(PREV(it), NULL) && at(PREV(it), NULL) && at(NEXT(it), "b"));
  lsm_iter_close(it);
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  CHECK(at(PREV(it), "f"));
  OK(lsm_iter_refresh(it, NULL));
  CHECK(at(PREV(it), "f") && at(PREV(it), "d"));
  OK(lsm_iter_refresh(it, NULL));
  CHECK(at(NEXT(it), "b"));
  lsm_iter_close(it);
  INVALID(lsm_iter_open(ks, NULL, NULL, NULL));
  INVALID(lsm_iter_open(NULL, NULL, &it, NULL));
}

static int walk(const char *lower, const char *upper, const char *prefix, const char *want) {
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  r.lower = lower, r.lower_len = lower ? strlen(lower) : 0;
  r.upper = upper, r.upper_len = upper ? strlen(upper) : 0;
  r.prefix = prefix, r.prefix_len = prefix ? strlen(prefix) : 0;
  lsm_iter *it = NULL;
  if (lsm_iter_open(ks, &r, &it, NULL) != LSM_OK) return 0;
  char got[256] = "", back[256] = "";
  while (NEXT(it) == LSM_OK) strncat(got, (const char *)e.key, e.key_len), strcat(got, " ");
  if (lsm_iter_refresh(it, NULL) != LSM_OK) return 0;
  while (PREV(it) == LSM_OK) {
    char more[512];
    snprintf(more, sizeof more, "%.*s %s", (int)e.key_len, (const char *)e.key, back);
    memcpy(back, more, sizeof back - 1);
  }
  lsm_iter_close(it);
  if (strcmp(got, want) == 0 && strcmp(back, want) == 0) return 1;
  fprintf(stderr, "walk %s %s %s: forward '%s', backward '%s', want '%s'\n", lower, upper, prefix, got, back, want);
  return 0;
}

static void bounds(lsm_db *db) {
  OK(lsm_keyspace_open(db, "bounds", NULL, &ks, NULL));
  static const char *const keys[] = {"a", "ab", "abc", "abd", "b", "ba", "c"};
  for (size_t i = 0; i < 7; i++) OK(put(ks, keys[i], "v"));
  CHECK(walk(NULL, NULL, NULL, "a ab abc abd b ba c "));
  CHECK(walk("ab", NULL, NULL, "ab abc abd b ba c "));
  CHECK(walk(NULL, "b", NULL, "a ab abc abd "));
  CHECK(walk("abc", "ba", NULL, "abc abd b "));
  CHECK(walk(NULL, NULL, "ab", "ab abc abd "));
  CHECK(walk("abc", NULL, "ab", "abc abd "));
  CHECK(walk(NULL, "abd", "ab", "ab abc "));
  CHECK(walk("b", NULL, "a", ""));
  CHECK(walk("c", "a", NULL, ""));
  CHECK(walk("", "", NULL, "")); /* an empty upper bound is a bound: nothing is below it */
  CHECK(walk("", NULL, "", "a ab abc abd b ba c "));
  /* Seeks are clamped to the bounds. */
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  r.lower = "ab", r.lower_len = 2, r.upper = "b", r.upper_len = 1;
  lsm_iter *it = NULL;
  OK(lsm_iter_open(ks, &r, &it, NULL));
  CHECK(at(SEEK(it, LSM_SEEK_GE, "a"), "ab"));
  CHECK(at(SEEK(it, LSM_SEEK_GT, ""), "ab"));
  CHECK(at(SEEK(it, LSM_SEEK_LE, "z"), "abd"));
  CHECK(at(SEEK(it, LSM_SEEK_LT, "z"), "abd"));
  CHECK(at(SEEK(it, LSM_SEEK_GE, "b"), NULL) && at(PREV(it), "abd"));
  CHECK(at(SEEK(it, LSM_SEEK_LE, "a"), NULL) && at(NEXT(it), "ab"));
  CHECK(at(SEEK(it, LSM_SEEK_FIRST, ""), "ab") && at(SEEK(it, LSM_SEEK_LAST, ""), "abd"));
  lsm_iter_close(it);
  r.prefix = NULL, r.prefix_len = 1;
  INVALID(lsm_iter_open(ks, &r, &it, NULL));
  uint8_t high[2] = {0xff, 0xff};
  OK(lsm_put(ks, NULL, high, 2, "v", 1, NULL));
  OK(lsm_put(ks, NULL, high, 1, "v", 1, NULL));
  lsm_read_options p = LSM_READ_OPTIONS_INIT;
  p.prefix = high, p.prefix_len = 1;
  OK(lsm_iter_open(ks, &p, &it, NULL));
  CHECK(NEXT(it) == LSM_OK && e.key_len == 1 && NEXT(it) == LSM_OK && e.key_len == 2 && NEXT(it) == LSM_END);
  lsm_iter_close(it);
  lsm_read_options k = LSM_READ_OPTIONS_INIT;
  k.flags = LSM_READ_KEYS_ONLY, k.readahead_bytes = 1 << 20;
  OK(lsm_iter_open(ks, &k, &it, NULL));
  CHECK(at(NEXT(it), "a") && e.value == NULL && e.value_len == 0);
  lsm_iter_close(it);
  lsm_keyspace_release(ks);
}

static void many(lsm_db *db) {
  OK(lsm_keyspace_open(db, "many", NULL, &ks, NULL));
  char key[16], value[32];
  for (int i = 0; i < 1000; i++) {
    snprintf(key, sizeof key, "k%04d", i);
    snprintf(value, sizeof value, "value of %d", i);
    OK(put(ks, key, value));
  }
  lsm_iter *it = NULL;
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  lsm_entry entries[64];
  size_t n = 0, total = 0;
  int32_t code;
  while ((code = lsm_iter_read(it, LSM_FORWARD, entries, 64, &n, NULL)) == LSM_OK) {
    CHECK(n >= 1 && n <= 64);
    for (size_t i = 0; i < n; i++, total++) {
      snprintf(key, sizeof key, "k%04zu", total);
      snprintf(value, sizeof value, "value of %zu", total);
      CHECK(same(entries[i].key, entries[i].key_len, key) && same(entries[i].value, entries[i].value_len, value));
      CHECK(entries[i].seq > 0 && entries[i].reserved == 0);
    }
  }
  CODE(code, LSM_END);
  CHECK(total == 1000 && n == 0);
  while (lsm_iter_read(it, LSM_BACKWARD, entries, 64, &n, NULL) == LSM_OK) {
    for (size_t i = 0; i < n; i++) {
      snprintf(key, sizeof key, "k%04zu", --total);
      CHECK(same(entries[i].key, entries[i].key_len, key));
    }
  }
  CHECK(total == 0);
  INVALID(lsm_iter_read(it, 2, entries, 64, &n, NULL));
  INVALID(lsm_iter_read(it, LSM_FORWARD, NULL, 64, &n, NULL));
  INVALID(lsm_iter_read(it, LSM_FORWARD, entries, 0, &n, NULL));
  INVALID(lsm_iter_read(it, LSM_FORWARD, entries, 64, NULL, NULL));
  /* Mixed: after a read the iterator stands on its last entry. */
  CHECK(at(lsm_iter_seek(it, LSM_SEEK_GE, "k0100", 5, &e, NULL), "k0100"));
  OK(lsm_iter_read(it, LSM_FORWARD, entries, 3, &n, NULL));
  CHECK(n >= 1 && same(entries[0].key, entries[0].key_len, "k0101"));
  snprintf(key, sizeof key, "k%04zu", 101 + n);
  CHECK(at(NEXT(it), key));

  /* Also where the end cut it short, in both directions: the last entry is not shown twice. */
  for (int packed = 0; packed < 2; packed++)
    for (int back = 0; back < 2; back++) {
      uint8_t room[400];
      size_t bytes;
      uint32_t rows;
      for (int turn = 0; turn < 4; turn++) {
        CHECK(at(SEEK(it, back ? LSM_SEEK_LE : LSM_SEEK_GE, back ? "k0003" : "k0996"), back ? "k0003" : "k0996"));
        if (packed) {
          OK(lsm_iter_read_packed(it, back, room, sizeof room, &bytes, &rows, NULL));
          CHECK(rows == 3);
        } else {
          OK(lsm_iter_read(it, back, entries, 64, &n, NULL));
          CHECK(n == 3);
        }
        const char *inner = back ? "k0001" : "k0998", *last = back ? "k0000" : "k0999";
        /* the other way; the end and back from it; a seek; the other way by a read */
        if (turn == 0) CHECK(at(back ? NEXT(it) : PREV(it), inner) && at(back ? PREV(it) : NEXT(it), last));
        if (turn == 1) CHECK(at(back ? PREV(it) : NEXT(it), NULL) && at(back ? NEXT(it) : PREV(it), last) && at(back ? NEXT(it) : PREV(it), inner));
        if (turn == 2) CHECK(at(SEEK(it, LSM_SEEK_GE, "k0500"), "k0500") && at(NEXT(it), "k0501") && at(PREV(it), "k0500"));
        if (turn == 3) {
          OK(lsm_iter_read(it, !back, entries, 2, &n, NULL));
          CHECK(n == 2 && same(entries[0].key, 5, inner) && same(entries[1].key, 5, back ? "k0002" : "k0997"));
        }
      }
    }

  /* Packed: whole entries only; the iterator stands behind the last one copied. */
  OK(lsm_iter_refresh(it, NULL));
  uint8_t buffer[100];
  size_t used = 9, count = 0;
  uint32_t m = 9;
  while ((code = lsm_iter_read_packed(it, LSM_FORWARD, buffer, sizeof buffer, &used, &m, NULL)) == LSM_OK) {
    size_t p = 0;
    for (uint32_t i = 0; i < m; i++, count++) {
      uint32_t kl = get_u32(buffer + p), vl = get_u32(buffer + p + 4);
      snprintf(key, sizeof key, "k%04zu", count);
      snprintf(value, sizeof value, "value of %zu", count);
      CHECK(same(buffer + p + 8, kl, key) && same(buffer + p + 8 + kl, vl, value));
      p += 8 + kl + vl;
    }
    CHECK(p == used && m >= 1);
  }
  CODE(code, LSM_END);
  CHECK(count == 1000 && used == 0 && m == 0);
  OK(lsm_iter_refresh(it, NULL));
  CHECK(at(NEXT(it), "k0000"));
  CODE(lsm_iter_read_packed(it, LSM_FORWARD, buffer, 10, &used, &m, NULL), LSM_TRUNCATED);
  CHECK(used == 8 + 5 + strlen("value of 1") && m == 0);
  CODE(lsm_iter_read_packed(it, LSM_FORWARD, NULL, 0, &used, &m, NULL), LSM_TRUNCATED);
  CHECK(at(NEXT(it), "k0001"));
  OK(lsm_iter_read_packed(it, LSM_BACKWARD, buffer, 40, &used, &m, NULL));
  CHECK(m == 1 && memcmp(buffer + 8, "k0000", 5) == 0);
  CODE(lsm_iter_read_packed(it, LSM_BACKWARD, buffer, 40, &used, &m, NULL), LSM_END);
  INVALID(lsm_iter_read_packed(it, 7, buffer, 40, &used, &m, NULL));
  INVALID(lsm_iter_read_packed(it, LSM_FORWARD, NULL, 40, &used, &m, NULL));
  INVALID(lsm_iter_read_packed(it, LSM_FORWARD, buffer, 40, NULL, &m, NULL));
  INVALID(lsm_iter_read_packed(it, LSM_FORWARD, buffer, 40, &used, NULL, NULL));
  lsm_iter_close(it);
  lsm_keyspace_release(ks);
}

static void frozen(lsm_db *db) {
  OK(lsm_keyspace_open(db, "frozen", NULL, &ks, NULL));
  for (int i = 0; i < 100; i++) {
    char key[16];
    snprintf(key, sizeof key, "k%03d", i);
    OK(put(ks, key, "old"));
  }
  lsm_iter *it = NULL;
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  CHECK(at(NEXT(it), "k000"));
  for (int i = 0; i < 100; i++) {
    char key[16];
    snprintf(key, sizeof key, "k%03d", i);
    OK(i % 2 ? put(ks, key, "new") : lsm_delete(ks, NULL, key, strlen(key), NULL));
    snprintf(key, sizeof key, "n%03d", i);
    OK(put(ks, key, "added"));
  }
  OK(lsm_flush(db, NULL, NULL));
  OK(lsm_compact(ks, NULL, 0, NULL, 0, NULL));
  int n = 1;
  while (NEXT(it) == LSM_OK) CHECK(e.key[0] == 'k' && same(e.value, e.value_len, "old")), n++;
  CHECK(n == 100);
  while (PREV(it) == LSM_OK) n--;
  CHECK(n == 0);
  OK(lsm_iter_refresh(it, NULL));
  CHECK(at(NEXT(it), "k001") && same(e.value, e.value_len, "new"));
  n = 1;
  while (NEXT(it) == LSM_OK) n++;
  CHECK(n == 150);
  lsm_iter_close(it);
  /* max_skip: a step over more hidden entries than that answers STALLED and goes on from where it stood. */
  for (int i = 0; i < 1000; i++) {
    char key[16];
    snprintf(key, sizeof key, "s%04d", i);
    OK(put(ks, key, "x"));
    OK(lsm_delete(ks, NULL, key, strlen(key), NULL));
  }
  OK(put(ks, "t", "end"));
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  r.max_skip = 10, r.lower = "s", r.lower_len = 1;
  OK(lsm_iter_open(ks, &r, &it, NULL));
  int stalls = 0;
  int32_t code;
  while ((code = NEXT(it)) == LSM_E_STALLED && stalls < 5000) stalls++;
  CHECK(at(code, "t"));
  lsm_iter_close(it);
  /* A deadline that has passed. */
  r.max_skip = 0, r.deadline_micros = 60000000;
  OK(lsm_iter_open(ks, &r, &it, NULL));
  CHECK(at(NEXT(it), "t"));
  lsm_iter_close(it);
  lsm_keyspace_release(ks);
}

static void run(void) {
  lsm_db *db = open_or_die(fresh("iter"));
  ks = lsm_default_keyspace(db);
  lsm_iter *it = NULL;
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  CHECK(at(NEXT(it), NULL) && at(PREV(it), NULL) && at(SEEK(it, LSM_SEEK_GE, "a"), NULL));
  lsm_iter_close(it);
  OK(put(ks, "b", "2"));
  OK(put(ks, "d", "4"));
  OK(put(ks, "f", "6"));
  OK(put(ks, "e", "gone"));
  OK(lsm_delete(ks, NULL, "e", 1, NULL));
  seeks();
  OK(lsm_flush(db, NULL, NULL));
  seeks();
  OK(lsm_compact(ks, NULL, 0, NULL, 0, NULL));
  seeks();
  bounds(db);
  many(db);
  frozen(db);
  OK(lsm_close(db, NULL));
}
