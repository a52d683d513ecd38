/* Many threads on one handle: four writers and four readers, no lock of our own. */
#include <pthread.h>

#include "example.h"

enum { WRITERS = 4, READERS = 4, EACH = 25000 };
static lsm_keyspace *ks;

static void *writer(void *arg) {
  lsm_error *err = NULL;
  for (int i = 0; i < EACH; i++) {
    char key[32];
    int len = snprintf(key, sizeof key, "%d/%06d", *(int *)arg, i);
    MUST(lsm_put(ks, NULL, key, (size_t)len, key, (size_t)len, &err));
  }
  return NULL;
}
static void *reader(void *arg) {
  lsm_error *err = NULL;
  long *found = (long *)arg;
  for (int i = 0; i < 8 * EACH; i++) {
    char key[32], value[32];
    size_t value_len = 0;
    int len = snprintf(key, sizeof key, "%d/%06d", i % WRITERS, i % EACH);
    int32_t code = MUST(lsm_get(ks, NULL, key, (size_t)len, value, sizeof value, &value_len, &err));
    if (code == LSM_OK && (value_len != (size_t)len || memcmp(key, value, value_len) != 0)) exit(2);
    *found += code == LSM_OK;
  }
  return NULL;
}

int main(int argc, char **argv) {
  const char *path = example_path(argc, argv, "threads");
  lsm_error *err = NULL;
  lsm_db *db = NULL;
  MUST(lsm_open(path, NULL, &db, &err));
  ks = lsm_default_keyspace(db);
  pthread_t threads[WRITERS + READERS];
  int numbers[WRITERS];
  long found[READERS] = {0}, total = 0;
  for (int i = 0; i < WRITERS; i++) numbers[i] = i, pthread_create(&threads[i], NULL, writer, &numbers[i]);
  for (int i = 0; i < READERS; i++) pthread_create(&threads[WRITERS + i], NULL, reader, &found[i]);
  for (int i = 0; i < WRITERS + READERS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < READERS; i++) total += found[i];

  lsm_iter *it = NULL;
  lsm_entry e;
  long n = 0;
  MUST(lsm_iter_open(ks, NULL, &it, &err));
  while (MUST(lsm_iter_next(it, &e, &err)) == LSM_OK) n++;
  lsm_iter_close(it);
  printf("%ld keys written by %d threads; readers met %ld of them on the way\n", n, WRITERS, total);
  MUST(lsm_close(db, &err));
  MUST(lsm_destroy(path, &err));
  return n == (long)WRITERS * EACH ? 0 : 1;
}
