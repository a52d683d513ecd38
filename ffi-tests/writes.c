/* Batches, packed writes, sequence numbers, snapshots, keyspaces. */
#include "check.h"

static void batches(lsm_db *db, lsm_db *other) {
  lsm_keyspace *ks = lsm_default_keyspace(db), *two = NULL;
  OK(lsm_keyspace_open(db, "two", NULL, &two, NULL));
  lsm_batch *b = NULL;
  OK(lsm_batch_new(db, &b, NULL));
  CHECK(lsm_batch_count(b) == 0);
  uint64_t before = 0, durable = 0, seq = 0;
  OK(lsm_sequence(db, &before, &durable));
  OK(lsm_write(db, NULL, b, &seq, NULL));
  CHECK(seq == before);
  OK(lsm_batch_put(b, ks, "a", 1, "1", 1, NULL));
  OK(lsm_batch_put(b, two, "a", 1, "2", 1, NULL));
  OK(lsm_batch_delete(b, ks, "z", 1, NULL));
  OK(lsm_batch_put(b, ks, "a", 1, "3", 1, NULL)); /* the later one wins */
  CHECK(lsm_batch_count(b) == 4 && lsm_batch_bytes(b) > 4);
  CHECK(has(ks, NULL, "a", NULL));
  OK(lsm_write(db, NULL, b, &seq, NULL));
  CHECK(seq == before + 4);
  CHECK(has(ks, NULL, "a", "3") && has(two, NULL, "a", "2"));
  OK(lsm_delete(ks, NULL, "a", 1, NULL));
  OK(lsm_write(db, NULL, b, NULL, NULL)); /* unchanged: may be written again */
  CHECK(has(ks, NULL, "a", "3"));
  lsm_batch_clear(b);
  CHECK(lsm_batch_count(b) == 0);

  uint8_t packed[128];
  size_t at = pack(packed, "p1", "one");
  at += pack(packed + at, "a", NULL);
  at += pack(packed + at, "", "empty key");
  at += pack(packed + at, "p2", "");
  OK(lsm_batch_append_packed(b, ks, packed, at, NULL));
  CHECK(lsm_batch_count(b) == 4);
  INVALID(lsm_batch_append_packed(b, ks, packed, at - 1, NULL));
  INVALID(lsm_batch_append_packed(b, ks, packed, 7, NULL));
  INVALID(lsm_batch_append_packed(b, ks, NULL, 7, NULL));
  OK(lsm_batch_append_packed(b, ks, NULL, 0, NULL));
  CHECK(lsm_batch_count(b) == 4);
  OK(lsm_write(db, NULL, b, NULL, NULL));
  CHECK(has(ks, NULL, "p1", "one") && has(ks, NULL, "a", NULL) && has(ks, NULL, "", "empty key") && has(ks, NULL, "p2", ""));

  at = pack(packed, "w1", "one");
  at += pack(packed + at, "p1", NULL);
  OK(lsm_sequence(db, &before, &durable));
  OK(lsm_write_packed(ks, NULL, packed, at, &seq, NULL));
  CHECK(seq == before + 2 && has(ks, NULL, "w1", "one") && has(ks, NULL, "p1", NULL));
  OK(lsm_write_packed(ks, NULL, packed, at, NULL, NULL));
  OK(lsm_write_packed(ks, NULL, NULL, 0, &seq, NULL));
  CHECK(seq == before + 4);
  seq = 5;
  INVALID(lsm_write_packed(ks, NULL, packed, at - 1, &seq, NULL));
  INVALID(lsm_write_packed(ks, NULL, NULL, 3, &seq, NULL));
  put_u32(packed, 0xfffffff0u);
  INVALID(lsm_write_packed(ks, NULL, packed, at, &seq, NULL));
  put_u32(packed, 2);
  put_u32(packed + 4, 0xfffffffeu);
  INVALID(lsm_write_packed(ks, NULL, packed, at, &seq, NULL));
  CHECK(seq == 5);

  lsm_batch_clear(b);
  OK(lsm_batch_put(b, ks, "k", 1, "v", 1, NULL));
  INVALID(lsm_batch_put(b, lsm_default_keyspace(other), "k", 1, "v", 1, NULL));
  INVALID(lsm_batch_delete(b, lsm_default_keyspace(other), "k", 1, NULL));
  INVALID(lsm_batch_append_packed(b, lsm_default_keyspace(other), packed, 0, NULL));
  INVALID(lsm_write(other, NULL, b, NULL, NULL));
  INVALID(lsm_batch_put(NULL, ks, "k", 1, "v", 1, NULL));
  INVALID(lsm_batch_put(b, NULL, "k", 1, "v", 1, NULL));
  INVALID(lsm_batch_put(b, ks, NULL, 1, "v", 1, NULL));
  INVALID(lsm_batch_put(b, ks, "k", 1, NULL, 1, NULL));
  INVALID(lsm_batch_delete(b, ks, NULL, 1, NULL));
  INVALID(lsm_batch_new(NULL, &b, NULL));
  INVALID(lsm_batch_new(db, NULL, NULL));
  INVALID(lsm_write(NULL, NULL, b, NULL, NULL));
  INVALID(lsm_write(db, NULL, NULL, NULL, NULL));
  char *large = (char *)calloc(1, 65537);
  INVALID(lsm_batch_put(b, ks, large, 65537, "v", 1, NULL));
  INVALID(lsm_batch_delete(b, ks, large, 65537, NULL));
  free(large);
  CHECK(lsm_batch_count(b) == 1);
  lsm_batch_free(b);
  lsm_batch_free(b);
  CLOSED(lsm_batch_put(b, ks, "k", 1, "v", 1, NULL));
  CLOSED(lsm_write(db, NULL, b, NULL, NULL));
  CHECK(lsm_batch_count(b) == 0 && lsm_batch_bytes(b) == 0);
  lsm_batch_clear(b);
  lsm_keyspace_release(two);
}

static void snapshots(lsm_db *db, lsm_db *other) {
  lsm_keyspace *ks = lsm_default_keyspace(db);
  OK(put(ks, "s1", "old"));
  OK(put(ks, "s2", "old"));
  lsm_snapshot *snap = NULL;
  OK(lsm_snapshot_new(db, &snap, NULL));
  uint64_t committed = 0, durable = 0;
  OK(lsm_sequence(db, &committed, &durable));
  CHECK(lsm_snapshot_sequence(snap) == committed);
  OK(put(ks, "s1", "new"));
  OK(lsm_delete(ks, NULL, "s2", 2, NULL));
  OK(put(ks, "s3", "new"));
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  r.snapshot = snap;
  for (int round = 0; round < 3; round++) {
    CHECK(has(ks, &r, "s1", "old") && has(ks, &r, "s2", "old") && has(ks, &r, "s3", NULL));
    CHECK(has(ks, NULL, "s1", "new") && has(ks, NULL, "s2", NULL) && has(ks, NULL, "s3", "new"));
    const void *keys[2] = {"s1", "s3"};
    size_t lens[2] = {2, 2}, len = 0;
    lsm_value *values[2];
    int32_t codes[2];
    OK(lsm_multi_get(ks, &r, 2, keys, lens, values, codes, NULL));
    const uint8_t *data = lsm_value_data(values[0], &len);
    CHECK(codes[1] == LSM_NOT_FOUND && same(data, len, "old"));
    lsm_value_release(values[0]);
    if (round == 0) OK(lsm_flush(db, NULL, NULL));
    if (round == 1) OK(lsm_compact(ks, NULL, 0, NULL, 0, NULL));
  }
  INVALID(lsm_get(lsm_default_keyspace(other), &r, "s1", 2, NULL, 0, &(size_t){0}, NULL));
  lsm_iter *it = NULL;
  lsm_entry e;
  INVALID(lsm_iter_open(lsm_default_keyspace(other), &r, &it, NULL));
  r.lower = "s", r.lower_len = 1, r.upper = "t", r.upper_len = 1;
  OK(lsm_iter_open(ks, &r, &it, NULL));
  lsm_snapshot_release(snap);
  OK(lsm_iter_next(it, &e, NULL));
  CHECK(same(e.key, e.key_len, "s1") && same(e.value, e.value_len, "old"));
  OK(lsm_iter_next(it, &e, NULL));
  CHECK(same(e.key, e.key_len, "s2"));
  CODE(lsm_iter_next(it, &e, NULL), LSM_END);
  OK(lsm_iter_refresh(it, NULL)); /* the snapshot is dropped */
  OK(lsm_iter_next(it, &e, NULL));
  CHECK(same(e.value, e.value_len, "new"));
  OK(lsm_iter_next(it, &e, NULL));
  CHECK(same(e.key, e.key_len, "s3"));
  lsm_iter_close(it);
  lsm_snapshot_release(snap);
  CHECK(lsm_snapshot_sequence(snap) == 0);
  CLOSED(lsm_get(ks, &r, "s1", 2, NULL, 0, &(size_t){0}, NULL));
  CLOSED(lsm_iter_open(ks, &r, &it, NULL));
  INVALID(lsm_snapshot_new(NULL, &snap, NULL));
  INVALID(lsm_snapshot_new(db, NULL, NULL));
}

static int listed(lsm_db *db, const char *want) {
  lsm_list *list = NULL;
  char got[512] = "";
  if (lsm_keyspace_list(db, &list, NULL) != LSM_OK) return 0;
  for (size_t i = 0; i < lsm_list_len(list); i++) strcat(got, lsm_list_get(list, i)), strcat(got, " ");
  CHECK(lsm_list_get(list, lsm_list_len(list)) == NULL && lsm_list_get(list, SIZE_MAX) == NULL);
  lsm_list_free(list);
  if (strcmp(got, want) != 0) fprintf(stderr, "keyspaces: '%s', want '%s'\n", got, want);
  return strcmp(got, want) == 0;
}

static void keyspaces(void) {
  const char *path = fresh("keyspaces");
  lsm_db *db = open_or_die(path);
  lsm_keyspace *d = lsm_default_keyspace(db), *a = NULL, *again = NULL, *b = NULL;
  CHECK(listed(db, "default "));
  OK(lsm_keyspace_open(db, "alpha", NULL, &a, NULL));
  OK(lsm_keyspace_open(db, "alpha", NULL, &again, NULL));
  CHECK(a == again && a != d);
  OK(lsm_keyspace_open(db, "default", NULL, &again, NULL));
  CHECK(again == d);
  lsm_keyspace_release(d);
  lsm_keyspace_release(d);
  OK(put(d, "k", "default"));
  OK(put(a, "k", "alpha"));
  CHECK(has(d, NULL, "k", "default") && has(a, NULL, "k", "alpha") && listed(db, "alpha default "));
  lsm_keyspace_release(a); /* opened twice, released once: still open */
  CHECK(has(a, NULL, "k", "alpha"));
  lsm_keyspace_release(a);
  CLOSED(put(a, "k", "x"));
  CLOSED(lsm_iter_open(a, NULL, &(lsm_iter *){0}, NULL));
  lsm_keyspace_release(a);
  lsm_keyspace_release(a);
  OK(lsm_keyspace_open(db, "alpha", NULL, &a, NULL));
  CHECK(has(a, NULL, "k", "alpha"));

  lsm_options *o = lsm_options_new();
  OK(lsm_options_set(o, "create_if_missing", "false", NULL));
  b = NULL;
  CODE(lsm_keyspace_open(db, "beta", o, &b, NULL), LSM_NOT_FOUND);
  CHECK(b == NULL);
  lsm_options_free(o);
  INVALID(lsm_keyspace_open(db, "", NULL, &b, NULL));
  INVALID(lsm_keyspace_open(db, NULL, NULL, &b, NULL));
  INVALID(lsm_keyspace_open(db, "x", NULL, NULL, NULL));
  INVALID(lsm_keyspace_open(NULL, "x", NULL, &b, NULL));
  char name[300];
  memset(name, 'n', sizeof name);
  name[256] = 0;
  INVALID(lsm_keyspace_open(db, name, NULL, &b, NULL));
  name[255] = 0;
  OK(lsm_keyspace_open(db, name, NULL, &b, NULL));
  OK(lsm_keyspace_drop(db, name, NULL));
  CLOSED(put(b, "k", "x"));
  INVALID(lsm_keyspace_drop(db, "default", NULL));
  INVALID(lsm_keyspace_drop(db, "", NULL));
  INVALID(lsm_keyspace_drop(db, NULL, NULL));
  INVALID(lsm_keyspace_drop(NULL, "x", NULL));
  CODE(lsm_keyspace_drop(db, "missing", NULL), LSM_NOT_FOUND);
  INVALID(lsm_keyspace_list(db, NULL, NULL));
  INVALID(lsm_keyspace_list(NULL, &(lsm_list *){0}, NULL));

  /* Drop with an open iterator and a batch; the name again is another keyspace. */
  lsm_iter *it = NULL;
  lsm_entry e;
  lsm_batch *batch = NULL;
  OK(lsm_iter_open(a, NULL, &it, NULL));
  OK(lsm_batch_new(db, &batch, NULL));
  OK(lsm_batch_put(batch, a, "k2", 2, "v", 1, NULL));
  OK(lsm_keyspace_drop(db, "alpha", NULL));
  CLOSED(put(a, "k", "x"));
  CLOSED(lsm_get(a, NULL, "k", 1, NULL, 0, &(size_t){0}, NULL));
  CLOSED(lsm_batch_put(batch, a, "k", 1, "v", 1, NULL));
  CLOSED(lsm_write(db, NULL, batch, NULL, NULL));
  int32_t code = lsm_iter_next(it, &e, NULL);
  CHECK(code == LSM_E_CLOSED || (code == LSM_OK && same(e.value, e.value_len, "alpha")));
  lsm_keyspace *fresh_one = NULL;
  OK(lsm_keyspace_open(db, "alpha", NULL, &fresh_one, NULL));
  CHECK(fresh_one != a && has(fresh_one, NULL, "k", NULL));
  CLOSED(put(a, "k", "x"));
  lsm_keyspace_release(a);
  CLOSED(put(a, "k", "x"));
  lsm_iter_close(it);
  lsm_batch_free(batch);
  OK(put(fresh_one, "k", "second"));
  OK(lsm_close(db, NULL));
  CLOSED(put(fresh_one, "k", "x"));
  lsm_keyspace_release(fresh_one);
  db = open_or_die(path);
  CHECK(listed(db, "alpha default "));
  OK(lsm_keyspace_open(db, "alpha", NULL, &a, NULL));
  CHECK(has(a, NULL, "k", "second") && has(lsm_default_keyspace(db), NULL, "k", "default"));
  OK(lsm_close(db, NULL));
}

static void run(void) {
  lsm_db *db = open_or_die(fresh("writes")), *other = open_or_die(fresh("other"));
  batches(db, other);
  snapshots(db, other);
  OK(lsm_close(db, NULL));
  OK(lsm_close(other, NULL));
  keyspaces();
}
