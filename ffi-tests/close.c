/* Close with live children, frees in any order, use after close and after free, close while threads are inside. */
#include "check.h"

#include <pthread.h>
#include <time.h>

static void children(int order) {
  const char *path = fresh("close");
  lsm_db *db = open_or_die(path);
  lsm_keyspace *ks = lsm_default_keyspace(db), *two = NULL;
  OK(lsm_keyspace_open(db, "two", NULL, &two, NULL));
  OK(put(ks, "a", "1"));
  OK(put(ks, "b", "2"));
  lsm_iter *it = NULL;
  lsm_snapshot *snap = NULL;
  lsm_batch *batch = NULL;
  lsm_value *value = NULL;
  const uint8_t *data = NULL;
  size_t len = 0;
  lsm_entry e;
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  OK(lsm_iter_next(it, &e, NULL));
  OK(lsm_snapshot_new(db, &snap, NULL));
  OK(lsm_batch_new(db, &batch, NULL));
  OK(lsm_batch_put(batch, two, "k", 1, "v", 1, NULL));
  OK(lsm_get_pinned(ks, NULL, "a", 1, &value, &data, &len, NULL));
  OK(lsm_close(db, NULL));
  /* What an iterator showed stays until the next call on it. */
  CHECK(same(e.key, e.key_len, "a") && same(e.value, e.value_len, "1"));
  /* The folder's lock is free although children live. */
  lsm_db *second = open_or_die(path);
  lsm_error *err = NULL;
  CLOSED(lsm_close(db, &err));
  CHECK(lsm_error_code(err) == LSM_E_CLOSED);
  lsm_error_free(err);
  CLOSED(lsm_iter_next(it, &e, NULL));
  CLOSED(lsm_iter_prev(it, &e, NULL));
  CLOSED(lsm_iter_seek(it, LSM_SEEK_FIRST, NULL, 0, &e, NULL));
  CLOSED(lsm_iter_read(it, LSM_FORWARD, &e, 1, &len, NULL));
  CLOSED(lsm_iter_read_packed(it, LSM_FORWARD, NULL, 0, &len, &(uint32_t){0}, NULL));
  CLOSED(lsm_iter_refresh(it, NULL));
  CLOSED(lsm_batch_put(batch, ks, "k", 1, "v", 1, NULL));
  CLOSED(lsm_batch_delete(batch, ks, "k", 1, NULL));
  CLOSED(lsm_write(db, NULL, batch, NULL, NULL));
  CHECK(lsm_batch_count(batch) == 0 && lsm_snapshot_sequence(snap) == 0);
  lsm_batch_clear(batch);
  CHECK(lsm_default_keyspace(db) == ks);
  CLOSED(put(ks, "a", "x"));
  CLOSED(put(two, "a", "x"));
  CLOSED(lsm_delete(ks, NULL, "a", 1, NULL));
  CLOSED(lsm_write_packed(ks, NULL, NULL, 0, NULL, NULL));
  CLOSED(lsm_get(ks, NULL, "a", 1, NULL, 0, &len, NULL));
  CLOSED(lsm_exists(ks, NULL, "a", 1, NULL, NULL));
  CLOSED(lsm_multi_get(ks, NULL, 0, NULL, NULL, NULL, NULL, NULL));
  CLOSED(lsm_multi_get_packed(ks, NULL, NULL, 0, 0, NULL, 0, &len, NULL));
  CLOSED(lsm_get_pinned(ks, NULL, "a", 1, &value, &data, &len, NULL));
  CLOSED(lsm_approximate(ks, NULL, 0, NULL, 0, &(uint64_t){0}, &(uint64_t){0}, NULL));
  CLOSED(lsm_iter_open(ks, NULL, &it, NULL));
  CLOSED(lsm_compact(ks, NULL, 0, NULL, 0, NULL));
  CLOSED(lsm_sync(db, NULL));
  CLOSED(lsm_sequence(db, &(uint64_t){0}, &(uint64_t){0}));
  CLOSED(lsm_flush(db, NULL, NULL));
  CLOSED(lsm_keyspace_open(db, "x", NULL, &(lsm_keyspace *){0}, NULL));
  CLOSED(lsm_keyspace_drop(db, "x", NULL));
  CLOSED(lsm_keyspace_list(db, &(lsm_list *){0}, NULL));
  CLOSED(lsm_batch_new(db, &(lsm_batch *){0}, NULL));
  CLOSED(lsm_snapshot_new(db, &(lsm_snapshot *){0}, NULL));
  CLOSED(lsm_property(db, NULL, "stats", &(char *){0}, NULL));
  CLOSED(lsm_property_u64(db, NULL, "cache.hits", &(uint64_t){0}, NULL));
  CLOSED(lsm_metrics(db, 0, &(char *){0}, NULL));
  CLOSED(lsm_cache_clear(db, NULL));
  CHECK(same(lsm_value_data(value, &len), 1, "1") && len == 1);
  /* The second database is not touched by the first one's handles. */
  OK(put(lsm_default_keyspace(second), "c", "3"));
  if (order == 0) OK(lsm_close(second, NULL));
  for (int i = 0; i < 5; i++) switch ((i * (order + 1) + order) % 5) {
      case 0: lsm_iter_close(it), lsm_iter_close(it); break;
      case 1: lsm_snapshot_release(snap), lsm_snapshot_release(snap); break;
      case 2: lsm_batch_free(batch), lsm_batch_free(batch); break;
      case 3: lsm_value_release(value), lsm_value_release(value); break;
      default: lsm_keyspace_release(two), lsm_keyspace_release(two), lsm_keyspace_release(ks); break;
    }
  CLOSED(lsm_iter_next(it, &e, NULL));
  CLOSED(lsm_close(db, NULL));
  if (order != 0) OK(lsm_close(second, NULL));
}

/* A freed handle answers CLOSED while fewer than 1,024 of its type were freed since. */
static void quarantine(void) {
  lsm_db *db = open_or_die(fresh("quarantine"));
  lsm_keyspace *ks = lsm_default_keyspace(db);
  OK(put(ks, "k", "v"));
  lsm_iter *old_it = NULL;
  lsm_batch *old_batch = NULL;
  lsm_snapshot *old_snap = NULL;
  lsm_value *old_value = NULL;
  const uint8_t *data;
  size_t len;
  OK(lsm_iter_open(ks, NULL, &old_it, NULL));
  OK(lsm_batch_new(db, &old_batch, NULL));
  OK(lsm_snapshot_new(db, &old_snap, NULL));
  OK(lsm_get_pinned(ks, NULL, "k", 1, &old_value, &data, &len, NULL));
  lsm_iter_close(old_it);
  lsm_batch_free(old_batch);
  lsm_snapshot_release(old_snap);
  lsm_value_release(old_value);
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  r.snapshot = old_snap;
  for (int i = 0; i < 1023; i++) {
    lsm_iter *it = NULL;
    lsm_batch *batch = NULL;
    lsm_snapshot *snap = NULL;
    lsm_value *value = NULL;
    lsm_entry e;
    OK(lsm_iter_open(ks, NULL, &it, NULL));
    OK(lsm_batch_new(db, &batch, NULL));
    OK(lsm_snapshot_new(db, &snap, NULL));
    OK(lsm_get_pinned(ks, NULL, "k", 1, &value, &data, &len, NULL));
    CLOSED(lsm_iter_next(old_it, &e, NULL));
    CLOSED(lsm_batch_put(old_batch, ks, "a", 1, "b", 1, NULL));
    CLOSED(lsm_get(ks, &r, "k", 1, NULL, 0, &len, NULL));
    CHECK(lsm_value_data(old_value, &len) == NULL && lsm_snapshot_sequence(old_snap) == 0);
    if (i % 2) lsm_iter_close(old_it), lsm_batch_free(old_batch), lsm_snapshot_release(old_snap), lsm_value_release(old_value);
    lsm_iter_close(it);
    lsm_batch_free(batch);
    lsm_snapshot_release(snap);
    lsm_value_release(value);
  }
  OK(lsm_close(db, NULL));
}

static lsm_db *shared_db;
static int closed_answers, other_answers;

static void *hammer(void *arg) {
  lsm_keyspace *ks = lsm_default_keyspace(shared_db);
  uint64_t state = (uint64_t)(uintptr_t)arg;
  char buffer[64], key[16];
  size_t len;
  for (;;) {
    snprintf(key, sizeof key, "%llu", (unsigned long long)(next_random(&state) % 1000));
    int32_t code;
    lsm_iter *it = NULL;
    lsm_entry e;
    switch (next_random(&state) % 6) {
      case 0: code = put(ks, key, key); break;
      case 1: code = lsm_delete(ks, NULL, key, strlen(key), NULL); break;
      case 2:
        code = lsm_iter_open(ks, NULL, &it, NULL);
        for (int i = 0; code == LSM_OK && i < 20; i++) code = lsm_iter_next(it, &e, NULL);
        lsm_iter_close(it);
        break;
      case 3: code = lsm_flush(shared_db, NULL, NULL); break;
      default: code = lsm_get(ks, NULL, key, strlen(key), buffer, sizeof buffer, &len, NULL); break;
    }
    if (code == LSM_E_CLOSED) break;
    if (code < 0) {
      fprintf(stderr, "hammer: %s\n", lsm_code_name(code));
      __atomic_add_fetch(&other_answers, 1, __ATOMIC_RELAXED);
      return NULL;
    }
  }
  __atomic_add_fetch(&closed_answers, 1, __ATOMIC_RELAXED);
  return NULL;
}
static void *closer(void *arg) {
  (void)arg;
  return (void *)(intptr_t)lsm_close(shared_db, NULL);
}

static void close_under_load(void) {
  const char *path = fresh("load");
  for (int round = 0; round < (quick ? 3 : 20); round++) {
    shared_db = open_or_die(path);
    pthread_t threads[8], closers[2];
    closed_answers = other_answers = 0;
    for (size_t i = 0; i < 8; i++) pthread_create(&threads[i], NULL, hammer, (void *)(uintptr_t)(i + 1));
    struct timespec pause = {0, (quick ? 50 : 5 + round) * 1000000L};
    nanosleep(&pause, NULL);
    for (size_t i = 0; i < 2; i++) pthread_create(&closers[i], NULL, closer, NULL);
    void *answers[2];
    for (size_t i = 0; i < 2; i++) pthread_join(closers[i], &answers[i]);
    for (size_t i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    CHECK(closed_answers == 8 && other_answers == 0);
    int ok = (int)((intptr_t)answers[0] == LSM_OK) + (int)((intptr_t)answers[1] == LSM_OK);
    int closed = (int)((intptr_t)answers[0] == LSM_E_CLOSED) + (int)((intptr_t)answers[1] == LSM_E_CLOSED);
    CHECK(ok == 1 && closed == 1);
  }
}

static void run(void) {
  for (int order = 0; order < 4; order++) children(order);
  quarantine();
  close_under_load();
}
