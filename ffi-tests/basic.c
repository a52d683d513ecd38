/* Open, put, get, delete, exists, pinned, multi_get, packed forms, estimates: codes, NULL rules, truncation, reopening. */
#include "check.h"

static void reads(lsm_db *db, lsm_keyspace *ks) {
  char buffer[16];
  size_t len = 77;
  OK(put(ks, "key", "0123456789"));
  memset(buffer, '#', sizeof buffer);
  CODE(lsm_get(ks, NULL, "key", 3, buffer, 4, &len, NULL), LSM_TRUNCATED);
  CHECK(len == 10 && memcmp(buffer, "0123#", 5) == 0);
  CODE(lsm_get(ks, NULL, "key", 3, NULL, 0, &len, NULL), LSM_TRUNCATED);
  CHECK(len == 10);
  OK(lsm_get(ks, NULL, "key", 3, buffer, 10, &len, NULL));
  CHECK(len == 10 && memcmp(buffer, "0123456789#", 11) == 0);
  len = 77;
  CODE(lsm_get(ks, NULL, "nokey", 5, buffer, 10, &len, NULL), LSM_NOT_FOUND);
  CHECK(len == 77 && buffer[0] == '0');
  INVALID(lsm_get(ks, NULL, NULL, 3, buffer, 10, &len, NULL));
  INVALID(lsm_get(ks, NULL, "key", 3, NULL, 10, &len, NULL));
  INVALID(lsm_get(ks, NULL, "key", 3, buffer, 10, NULL, NULL));
  INVALID(lsm_get(NULL, NULL, "key", 3, buffer, 10, &len, NULL));
  CHECK(len == 77);

  OK(lsm_exists(ks, NULL, "key", 3, &len, NULL));
  CHECK(len == 10);
  OK(lsm_exists(ks, NULL, "key", 3, NULL, NULL));
  CODE(lsm_exists(ks, NULL, "ke", 2, NULL, NULL), LSM_NOT_FOUND);
  INVALID(lsm_exists(ks, NULL, NULL, 2, NULL, NULL));

  lsm_value *value = NULL;
  const uint8_t *data = NULL;
  OK(lsm_get_pinned(ks, NULL, "key", 3, &value, &data, &len, NULL));
  CHECK(same(data, len, "0123456789"));
  OK(put(ks, "key", "other"));
  size_t again = 0;
  CHECK(lsm_value_data(value, &again) == data && again == 10 && same(data, len, "0123456789"));
  lsm_value_release(value);
  lsm_value_release(value);
  CHECK(lsm_value_data(value, &again) == NULL && again == 0);
  lsm_value *none = NULL;
  CODE(lsm_get_pinned(ks, NULL, "nokey", 5, &none, &data, &len, NULL), LSM_NOT_FOUND);
  CHECK(none == NULL);
  INVALID(lsm_get_pinned(ks, NULL, "key", 3, NULL, &data, &len, NULL));
  INVALID(lsm_get_pinned(ks, NULL, "key", 3, &none, NULL, &len, NULL));
  INVALID(lsm_get_pinned(ks, NULL, "key", 3, &none, &data, NULL, NULL));

  uint64_t bytes = 1, keys = 1;
  OK(lsm_approximate(ks, NULL, 0, NULL, 0, &bytes, &keys, NULL));
  OK(lsm_approximate(ks, "a", 1, "z", 1, &bytes, &keys, NULL));
  INVALID(lsm_approximate(ks, NULL, 1, NULL, 0, &bytes, &keys, NULL));
  INVALID(lsm_approximate(ks, NULL, 0, NULL, 0, NULL, &keys, NULL));
  INVALID(lsm_approximate(ks, NULL, 0, NULL, 0, &bytes, NULL, NULL));

  uint64_t committed = 0, durable = 0;
  OK(lsm_sync(db, NULL));
  OK(lsm_sequence(db, &committed, &durable));
  CHECK(committed > 0 && durable == committed);
  INVALID(lsm_sequence(db, NULL, &durable));
  INVALID(lsm_sequence(db, &committed, NULL));
}

static void extremes(lsm_keyspace *ks) {
  /* Empty key, empty value, NUL and high bytes, 64 KiB keys, beyond the limits. */
  size_t len = 7;
  OK(lsm_put(ks, NULL, NULL, 0, NULL, 0, NULL));
  OK(lsm_exists(ks, NULL, NULL, 0, &len, NULL));
  CHECK(len == 0);
  lsm_value *value = NULL;
  const uint8_t *data = NULL;
  OK(lsm_get_pinned(ks, NULL, "", 0, &value, &data, &len, NULL));
  CHECK(data != NULL && len == 0);
  lsm_value_release(value);
  OK(lsm_delete(ks, NULL, NULL, 0, NULL));
  CODE(lsm_exists(ks, NULL, NULL, 0, &len, NULL), LSM_NOT_FOUND);
  OK(lsm_put(ks, NULL, "\0\xff\0", 3, "\0", 1, NULL));
  OK(lsm_exists(ks, NULL, "\0\xff\0", 3, &len, NULL));
  CODE(lsm_exists(ks, NULL, "\0\xff", 2, &len, NULL), LSM_NOT_FOUND);
  char *large = (char *)malloc(65537);
  memset(large, 'k', 65537);
  OK(lsm_put(ks, NULL, large, 65536, "v", 1, NULL));
  OK(lsm_exists(ks, NULL, large, 65536, NULL, NULL));
  lsm_error *err = NULL;
  INVALID(lsm_put(ks, NULL, large, 65537, "v", 1, &err));
  CHECK(lsm_error_code(err) == LSM_E_INVALID && strlen(lsm_error_message(err)) > 0);
  lsm_error_free(err);
  OK(lsm_delete(ks, NULL, large, 65536, NULL));
  free(large);
  size_t big = quick ? 1u << 20 : 64u << 20;
  char *blob = (char *)malloc(big), *copy = (char *)malloc(big);
  for (size_t i = 0; i < big; i += 4096) memset(blob + i, (int)(i >> 12), 4096);
  OK(lsm_put(ks, NULL, "blob", 4, blob, big, NULL));
  OK(lsm_get(ks, NULL, "blob", 4, copy, big, &len, NULL));
  CHECK(len == big && memcmp(blob, copy, big) == 0);
  INVALID(lsm_put(ks, NULL, "blob", 4, blob, (size_t)1 << 62, NULL));
  INVALID(lsm_put(ks, NULL, "blob", 4, NULL, 5, NULL));
  INVALID(lsm_put(ks, NULL, NULL, 5, "v", 1, NULL));
  INVALID(lsm_put(NULL, NULL, "k", 1, "v", 1, NULL));
  INVALID(lsm_delete(ks, NULL, NULL, 5, NULL));
  INVALID(lsm_delete(NULL, NULL, "k", 1, NULL));
  OK(lsm_delete(ks, NULL, "never there", 11, NULL));
  free(blob);
  free(copy);
}

static void many(lsm_keyspace *ks) {
  OK(put(ks, "m1", "one"));
  OK(put(ks, "m3", ""));
  const void *keys[4] = {"m1", "m2", "m3", NULL};
  size_t lens[4] = {2, 2, 2, 0};
  lsm_value *values[4] = {NULL, NULL, NULL, NULL};
  int32_t codes[4] = {9, 9, 9, 9};
  OK(lsm_multi_get(ks, NULL, 4, keys, lens, values, codes, NULL));
  CHECK(codes[0] == LSM_OK && codes[1] == LSM_NOT_FOUND && codes[2] == LSM_OK && codes[3] == LSM_NOT_FOUND);
  size_t len = 9;
  const uint8_t *data = lsm_value_data(values[0], &len);
  CHECK(same(data, len, "one"));
  CHECK(values[1] == NULL && values[3] == NULL);
  data = lsm_value_data(values[2], &len);
  CHECK(data != NULL && len == 0);
  for (int i = 0; i < 4; i++) lsm_value_release(values[i]);
  OK(lsm_multi_get(ks, NULL, 0, NULL, NULL, NULL, NULL, NULL));
  INVALID(lsm_multi_get(ks, NULL, 4, NULL, lens, values, codes, NULL));
  INVALID(lsm_multi_get(ks, NULL, 4, keys, NULL, values, codes, NULL));
  INVALID(lsm_multi_get(ks, NULL, 4, keys, lens, NULL, codes, NULL));
  INVALID(lsm_multi_get(ks, NULL, 4, keys, lens, values, NULL, NULL));
  lens[3] = 3; /* NULL + 3: this key is invalid, the others are read */
  lsm_error *err = NULL;
  INVALID(lsm_multi_get(ks, NULL, 4, keys, lens, values, codes, &err));
  CHECK(codes[0] == LSM_OK && codes[3] == LSM_E_INVALID && values[3] == NULL && lsm_error_code(err) == LSM_E_INVALID);
  lsm_error_free(err);
  for (int i = 0; i < 4; i++) lsm_value_release(values[i]);

  uint8_t packed[64], out[64];
  size_t at = put_u32(packed, 2), used = 0;
  memcpy(packed + at, "m1", 2), at += 2;
  at += put_u32(packed + at, 2);
  memcpy(packed + at, "m2", 2), at += 2;
  at += put_u32(packed + at, 0);
  OK(lsm_multi_get_packed(ks, NULL, packed, at, 3, out, sizeof out, &used, NULL));
  CHECK(used == 27 && get_u32(out) == 0 && get_u32(out + 4) == 3 && memcmp(out + 8, "one", 3) == 0);
  CHECK(get_u32(out + 11) == 1 && get_u32(out + 15) == 0 && get_u32(out + 19) == 1 && get_u32(out + 23) == 0);
  used = 0;
  CODE(lsm_multi_get_packed(ks, NULL, packed, at, 3, out, 26, &used, NULL), LSM_TRUNCATED);
  CHECK(used == 27);
  CODE(lsm_multi_get_packed(ks, NULL, packed, at, 3, NULL, 0, &used, NULL), LSM_TRUNCATED);
  used = 5;
  INVALID(lsm_multi_get_packed(ks, NULL, packed, at, 2, out, sizeof out, &used, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, packed, at, 4, out, sizeof out, &used, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, packed, at - 1, 3, out, sizeof out, &used, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, NULL, at, 3, out, sizeof out, &used, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, packed, at, 3, NULL, 9, &used, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, packed, at, 3, out, sizeof out, NULL, NULL));
  CHECK(used == 5);
  OK(lsm_multi_get_packed(ks, NULL, NULL, 0, 0, NULL, 0, &used, NULL));
  CHECK(used == 0);
}

static void option_structs(lsm_db *db, lsm_keyspace *ks) {
  char buffer[64];
  size_t len;
  OK(put(ks, "s", "v"));
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  OK(lsm_get(ks, &r, "s", 1, buffer, sizeof buffer, &len, NULL));
  uint32_t bad_sizes[] = {0, 1, 7, 100000};
  for (size_t i = 0; i < 4; i++) {
    r.size = bad_sizes[i];
    INVALID(lsm_get(ks, &r, "s", 1, buffer, sizeof buffer, &len, NULL));
  }
  r.size = 8; /* as if zeros followed: what stands there is not read */
  r.io_class = 9, r.txn = (lsm_txn *)(void *)&r;
  OK(lsm_get(ks, &r, "s", 1, buffer, sizeof buffer, &len, NULL));
  r.size = sizeof r, r.txn = NULL;
  CODE(lsm_get(ks, &r, "s", 1, buffer, sizeof buffer, &len, NULL), LSM_E_UNSUPPORTED);
  r.io_class = 0, r.txn = (lsm_txn *)(void *)&r;
  CODE(lsm_get(ks, &r, "s", 1, buffer, sizeof buffer, &len, NULL), LSM_E_UNSUPPORTED);
  r.txn = NULL, r.overlay = (lsm_batch *)(void *)&r;
  CODE(lsm_get(ks, &r, "s", 1, buffer, sizeof buffer, &len, NULL), LSM_E_UNSUPPORTED);
  r.overlay = NULL;
  r.flags = 8;
  INVALID(lsm_get(ks, &r, "s", 1, buffer, sizeof buffer, &len, NULL));
  r.flags = LSM_READ_NO_FILL_CACHE | LSM_READ_VERIFY_CHECKSUMS | LSM_READ_KEYS_ONLY;
  OK(lsm_get(ks, &r, "s", 1, buffer, sizeof buffer, &len, NULL));
  r.flags = 0, r.upper_len = 3;
  INVALID(lsm_get(ks, &r, "s", 1, buffer, sizeof buffer, &len, NULL));
  struct { lsm_read_options r; uint64_t more[2]; } larger;
  memset(&larger, 0, sizeof larger);
  larger.r.size = sizeof larger;
  OK(lsm_get(ks, &larger.r, "s", 1, buffer, sizeof buffer, &len, NULL));
  larger.more[1] = 1;
  INVALID(lsm_get(ks, &larger.r, "s", 1, buffer, sizeof buffer, &len, NULL));
  lsm_iter *it = NULL;
  INVALID(lsm_iter_open(ks, &larger.r, &it, NULL));
  CHECK(it == NULL);

  lsm_write_options w = LSM_WRITE_OPTIONS_INIT;
  for (int32_t d = LSM_DURABILITY_DEFAULT; d <= LSM_DURABILITY_FSYNC; d++) {
    w.durability = d;
    OK(lsm_put(ks, &w, "w", 1, "x", 1, NULL));
  }
  w.durability = 4;
  INVALID(lsm_put(ks, &w, "w", 1, "y", 1, NULL));
  w.durability = -1;
  INVALID(lsm_put(ks, &w, "w", 1, "y", 1, NULL));
  w.durability = 0, w.flags = 1;
  INVALID(lsm_put(ks, &w, "w", 1, "y", 1, NULL));
  w.flags = 0, w.io_class = 1;
  CODE(lsm_put(ks, &w, "w", 1, "y", 1, NULL), LSM_E_UNSUPPORTED);
  w.io_class = 0, w.ttl_micros = 1;
  CODE(lsm_delete(ks, &w, "w", 1, NULL), LSM_E_UNSUPPORTED);
  w.ttl_micros = 0, w.deadline_micros = 60000000;
  OK(lsm_put(ks, &w, "w", 1, "z", 1, NULL));
  w.size = 4;
  INVALID(lsm_put(ks, &w, "w", 1, "y", 1, NULL));
  CHECK(has(ks, NULL, "w", "z"));
  (void)db;
}

/* The files of LevelDB and RocksDB are named as ours: theirs are neither opened, repaired nor removed. */
static void theirs(void) {
  static const char *const files[][2] = {
      {"CURRENT", "MANIFEST-000005\n"}, {"MANIFEST-000005", "theirs"}, {"000018.sst", "theirs"}, {"000019.log", "theirs"}};
  const char *path = fresh("theirs");
  char file[4200], *report = NULL;
  lsm_db *db = NULL;
  CHECK(mkdir(path, 0700) == 0);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(file, sizeof file, "%s/%s", path, files[i][0]);
    FILE *f = fopen(file, "w");
    fputs(files[i][1], f), fclose(f);
  }
  lsm_options *o = lsm_options_new();
  lsm_error *err = NULL;
  OK(lsm_options_set(o, "mode", "ro", NULL));
  for (int i = 0; i < 4; i++) {
    int32_t code = i == 0   ? lsm_open(path, NULL, &db, &err)
                   : i == 1 ? lsm_open(path, o, &db, &err)
                   : i == 2 ? lsm_repair(path, NULL, &report, &err)
                            : lsm_destroy(path, &err);
    CODE(code, LSM_E_INVALID);
    CHECK(strstr(lsm_error_message(err), "RocksDB") != NULL);
    lsm_error_free(err), err = NULL;
  }
  lsm_options_free(o);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    struct stat found;
    snprintf(file, sizeof file, "%s/%s", path, files[i][0]);
    CHECK(stat(file, &found) == 0 && (size_t)found.st_size == strlen(files[i][1]) && unlink(file) == 0);
  }
  CHECK(rmdir(path) == 0);  /* nor is anything added */
}

static void run(void) {
  theirs();
  const char *path = fresh("basic");
  lsm_db *db = open_or_die(path), *second = NULL;
  lsm_error *err = NULL;
  CODE(lsm_open(path, NULL, &second, &err), LSM_E_LOCKED);
  CHECK(second == NULL && strstr(lsm_error_message(err), "basic") != NULL);
  CHECK(lsm_error_flags(err) == LSM_ERROR_RETRYABLE);
  lsm_error_free(err);
  CODE(lsm_destroy(path, NULL), LSM_E_LOCKED);
  INVALID(lsm_open(NULL, NULL, &second, NULL));
  INVALID(lsm_open("", NULL, &second, NULL));
  INVALID(lsm_open(path, NULL, NULL, NULL));
  INVALID(lsm_destroy(NULL, NULL));
  INVALID(lsm_sync(NULL, NULL));
  lsm_keyspace *ks = lsm_default_keyspace(db);
  CHECK(ks != NULL && ks == lsm_default_keyspace(db));
  reads(db, ks);
  extremes(ks);
  many(ks);
  option_structs(db, ks);
  OK(lsm_close(db, NULL));
  db = open_or_die(path);
  ks = lsm_default_keyspace(db);
  CHECK(has(ks, NULL, "key", "other") && has(ks, NULL, "m1", "one") && has(ks, NULL, "m3", "") && has(ks, NULL, "m2", NULL));
  OK(lsm_close(db, NULL));

  /* What open refuses. */
  lsm_options *o = lsm_options_new();
  OK(lsm_options_set(o, "error_if_exists", "true", NULL));
  CODE(lsm_open(path, o, &db, NULL), LSM_E_EXISTS);
  lsm_options_free(o);
  o = lsm_options_new();
  OK(lsm_options_set(o, "create_if_missing", "false", NULL));
  err = NULL;
  CODE(lsm_open(fresh("missing"), o, &second, &err), LSM_E_IO);
  CHECK(lsm_error_os(err) == ENOENT && strstr(lsm_error_message(err), "missing") != NULL);
  lsm_error_free(err);
  lsm_options_free(o);
  o = lsm_options_new();
  OK(lsm_options_set(o, "mode", "ro", NULL));
  err = NULL;
  CODE(lsm_open(fresh("missing"), o, &second, &err), LSM_E_IO);
  CHECK(lsm_error_os(err) == ENOENT);
  lsm_error_free(err);
  OK(lsm_open(path, o, &db, NULL));
  ks = lsm_default_keyspace(db);
  CHECK(has(ks, NULL, "m1", "one"));
  CODE(put(ks, "m1", "x"), LSM_E_READONLY);
  CODE(lsm_delete(ks, NULL, "m1", 2, NULL), LSM_E_READONLY);
  lsm_keyspace *made = NULL;
  CODE(lsm_keyspace_open(db, "new", NULL, &made, NULL), LSM_E_READONLY);
  OK(lsm_open(path, o, &second, NULL)); /* any number of readers */
  OK(lsm_close(second, NULL));
  OK(lsm_close(db, NULL));
  lsm_options_free(o);

  const char *file = fresh("file");
  FILE *f = fopen(file, "w");
  fputs("not a folder", f);
  fclose(f);
  second = NULL;
  CHECK(lsm_open(file, NULL, &second, NULL) < 0 && second == NULL);
  CHECK(access(file, F_OK) == 0);

  /* destroy removes only what is ours. */
  char stranger[4200];
  snprintf(stranger, sizeof stranger, "%s/stranger.txt", path);
  f = fopen(stranger, "w");
  fputs("keep me", f);
  fclose(f);
  OK(lsm_destroy(path, NULL));
  CHECK(access(stranger, F_OK) == 0);
  CHECK(unlink(stranger) == 0 && rmdir(path) == 0);
  path = fresh("whole");
  OK(lsm_close(open_or_die(path), NULL));
  OK(lsm_destroy(path, NULL));
  CHECK(access(path, F_OK) != 0);
}
