/* A hundred threads on one database: every thread owns its keys, so that the end is known exactly; readers of shared
 * batches never see half of one; 10 KiB values come back whole. */
#include "check.h"

#include <pthread.h>

enum { THREADS = 100, KEYS_EACH = 100 };
static lsm_db *db;
static lsm_keyspace *ks, *pairs;
static int operations;
static uint32_t last[THREADS][KEYS_EACH];
static long writes, gets, deletes, torn, stop;

static void *worker(void *arg) {
  int me = (int)(uintptr_t)arg;
  uint64_t seed = (uint64_t)me * 7919 + 1;
  char key[32], value[64], got[64];
  long w = 0, g = 0, d = 0, bad = 0;
  for (int i = 0; i < operations; i++) {
    int k = (int)(next_random(&seed) % KEYS_EACH);
    size_t key_len = (size_t)snprintf(key, sizeof key, "t%02d/%03d", me, k), len = 0;
    uint64_t dice = next_random(&seed) % 10;
    if (dice < 7) {
      uint32_t stamp = (uint32_t)next_random(&seed) | 1;
      size_t value_len = (size_t)snprintf(value, sizeof value, "%d %d %u", me, k, stamp);
      bad += lsm_put(ks, NULL, key, key_len, value, value_len, NULL) != LSM_OK;
      last[me][k] = stamp, w++;
    } else if (dice < 9) {
      int32_t code = lsm_get(ks, NULL, key, key_len, got, sizeof got, &len, NULL);
      size_t value_len = (size_t)snprintf(value, sizeof value, "%d %d %u", me, k, last[me][k]);
      if (last[me][k] == 0) bad += code != LSM_NOT_FOUND;
      else bad += code != LSM_OK || len != value_len || memcmp(got, value, len) != 0;
      g++;
    } else {
      bad += lsm_delete(ks, NULL, key, key_len, NULL) != LSM_OK;
      last[me][k] = 0, d++;
    }
  }
  __atomic_add_fetch(&writes, w, __ATOMIC_RELAXED);
  __atomic_add_fetch(&gets, g, __ATOMIC_RELAXED);
  __atomic_add_fetch(&deletes, d, __ATOMIC_RELAXED);
  __atomic_add_fetch(&checks_failed, bad, __ATOMIC_RELAXED);
  return NULL;
}

/* Writes the same number under two keys in one batch. */
static void *pair_writer(void *arg) {
  (void)arg;
  lsm_batch *batch = NULL;
  OK(lsm_batch_new(db, &batch, NULL));
  for (uint32_t i = 1; i < (quick ? 500u : 20000u); i++) {
    uint8_t number[4];
    put_u32(number, i);
    lsm_batch_clear(batch);
    OK(lsm_batch_put(batch, pairs, "left", 4, number, 4, NULL));
    OK(lsm_batch_put(batch, pairs, "right", 5, number, 4, NULL));
    OK(lsm_write(db, NULL, batch, NULL, NULL));
  }
  lsm_batch_free(batch);
  __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
  return NULL;
}
static void *pair_reader(void *arg) {
  (void)arg;
  uint32_t before = 0;
  while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
    const void *keys[2] = {"left", "right"};
    size_t lens[2] = {4, 5}, n;
    lsm_value *values[2] = {NULL, NULL};
    int32_t codes[2];
    OK(lsm_multi_get(pairs, NULL, 2, keys, lens, values, codes, NULL));
    CHECK(codes[0] == codes[1]);
    if (codes[0] == LSM_OK && codes[1] == LSM_OK) {
      uint32_t left = get_u32(lsm_value_data(values[0], &n)), right = get_u32(lsm_value_data(values[1], &n));
      if (left != right || left < before) __atomic_add_fetch(&torn, 1, __ATOMIC_RELAXED);
      before = left;
    }
    lsm_value_release(values[0]);
    lsm_value_release(values[1]);
    lsm_iter *it = NULL;
    lsm_entry a, b;
    uint32_t left = 0, right = 0;
    OK(lsm_iter_open(pairs, NULL, &it, NULL));
    if (lsm_iter_next(it, &a, NULL) == LSM_OK) left = get_u32(a.value);
    if (lsm_iter_next(it, &b, NULL) == LSM_OK) right = get_u32(b.value);
    if (left != right) __atomic_add_fetch(&torn, 1, __ATOMIC_RELAXED);
    lsm_iter_close(it);
  }
  return NULL;
}

static void run(void) {
  const char *path = fresh("threads");
  db = open_or_die(path);
  ks = lsm_default_keyspace(db);
  OK(lsm_keyspace_open(db, "pairs", NULL, &pairs, NULL));
  operations = quick ? 50 : 10000;
  pthread_t t[THREADS];
  for (size_t i = 0; i < THREADS; i++) pthread_create(&t[i], NULL, worker, (void *)(uintptr_t)i);
  for (size_t i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
  printf("%d threads, %ld operations: %ld puts, %ld gets, %ld deletes\n", THREADS, writes + gets + deletes, writes, gets,
         deletes);
  pthread_create(&t[0], NULL, pair_writer, NULL);
  for (size_t i = 1; i < 4; i++) pthread_create(&t[i], NULL, pair_reader, NULL);
  for (size_t i = 0; i < 4; i++) pthread_join(t[i], NULL);
  CHECK(torn == 0);
  static char large[10240], got[10240];
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 1000; i++) {
      char key[16];
      size_t key_len = (size_t)snprintf(key, sizeof key, "large%d", i), len = 0;
      uint64_t seed = (uint64_t)i;
      for (size_t at = 0; at < sizeof large; at += 8) {
        uint64_t word = next_random(&seed);
        memcpy(large + at, &word, 8);
      }
      if (round == 0) {
        OK(lsm_put(ks, NULL, key, key_len, large, sizeof large, NULL));
      } else {
        OK(lsm_get(ks, NULL, key, key_len, got, sizeof got, &len, NULL));
        CHECK(len == sizeof large && memcmp(got, large, len) == 0);
      }
    }
  }
  printf("1000 values of 10 KiB came back whole\n");
  for (int again = 0; again < 2; again++) {
    for (int me = 0; me < THREADS; me++)
      for (int k = 0; k < KEYS_EACH; k++) {
        char key[32], value[64];
        snprintf(key, sizeof key, "t%02d/%03d", me, k);
        snprintf(value, sizeof value, "%d %d %u", me, k, last[me][k]);
        CHECK(has(ks, NULL, key, last[me][k] ? value : NULL));
      }
    OK(lsm_close(db, NULL));
    if (again == 0) db = open_or_die(path), ks = lsm_default_keyspace(db);
  }
}
