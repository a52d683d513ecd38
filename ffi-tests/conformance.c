/* conformance.c: the contract of the C interface, chapter one: numbers, NULL rules, structs, reads, writes, batches.
 * Written from the contract alone, as an outside judge would; the other chapters are conformance_*.c. */
#include "check.h"

static lsm_db *db, *other;
static lsm_keyspace *ks, *foreign;

#define POISON ((void *)(uintptr_t)0xdeadbeef)

static int holds(const lsm_value *value, const char *text) {
  size_t len = 0;
  const uint8_t *data = lsm_value_data(value, &len);
  return data != NULL && same(data, len, text);
}

static void numbers(void) {
  static const struct { int32_t code; const char *name; } codes[] = {
      {0, "LSM_OK"}, {1, "LSM_NOT_FOUND"}, {2, "LSM_END"}, {3, "LSM_TRUNCATED"}, {4, "LSM_PENDING"},
      {-1, "LSM_E_INVALID"}, {-2, "LSM_E_IO"}, {-3, "LSM_E_CORRUPTION"}, {-4, "LSM_E_CONFLICT"}, {-5, "LSM_E_DEADLOCK"},
      {-6, "LSM_E_TIMEOUT"}, {-7, "LSM_E_BUSY"}, {-8, "LSM_E_LOCKED"}, {-9, "LSM_E_NOSPACE"}, {-10, "LSM_E_NOMEM"},
      {-11, "LSM_E_READONLY"}, {-12, "LSM_E_EXISTS"}, {-13, "LSM_E_UNSUPPORTED"}, {-14, "LSM_E_CLOSED"},
      {-15, "LSM_E_CANCELLED"}, {-16, "LSM_E_STALLED"}, {-17, "LSM_E_VERSION"}, {-18, "LSM_E_CALLBACK"},
      {-19, "LSM_E_SEQ_GONE"}, {-20, "LSM_E_PRECONDITION"}, {-21, "LSM_E_FENCED"}, {-22, "LSM_E_PANIC"}, {-23, "LSM_E_FORKED"}};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) CHECK(strcmp(lsm_code_name(codes[i].code), codes[i].name) == 0);
  static const int32_t strange[] = {5, 100, -24, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < 5; i++) CHECK(lsm_code_name(strange[i]) != NULL && *lsm_code_name(strange[i]) != 0);
  CHECK(LSM_E_FORKED == -23 && LSM_TRUNCATED == 3 && LSM_E_CLOSED == -14 && LSM_E_STALLED == -16);
  CHECK(LSM_FORWARD == 0 && LSM_BACKWARD == 1 && LSM_SEEK_FIRST == 0 && LSM_SEEK_LAST == 1 && LSM_SEEK_GE == 2);
  CHECK(LSM_SEEK_GT == 3 && LSM_SEEK_LE == 4 && LSM_SEEK_LT == 5);
  CHECK(LSM_ERROR_RETRYABLE == 1 && LSM_ERROR_FATAL == 2 && LSM_ERROR_BACKGROUND == 4);
  CHECK(LSM_READ_NO_FILL_CACHE == 1 && LSM_READ_VERIFY_CHECKSUMS == 2 && LSM_READ_KEYS_ONLY == 4);
  CHECK(LSM_DURABILITY_DEFAULT == 0 && LSM_DURABILITY_MEMORY == 1 && LSM_DURABILITY_OS == 2 && LSM_DURABILITY_FSYNC == 3);
  CHECK(LSM_IF_ABSENT == 0 && LSM_IF_PRESENT == 1 && LSM_IF_EQUALS == 2 && LSM_IF_SEQUENCE == 3);
  CHECK(LSM_SAVEPOINT_SET == 0 && LSM_SAVEPOINT_ROLLBACK == 1 && LSM_SAVEPOINT_POP == 2);
  CHECK(LSM_TXN_OPTIMISTIC == 0 && LSM_TXN_PESSIMISTIC == 1 && LSM_ISOLATION_SNAPSHOT == 0 && LSM_ISOLATION_SERIALIZABLE == 1);
  CHECK(LSM_METRICS_PROMETHEUS == 0 && LSM_METRICS_JSON == 1);
  CHECK(lsm_abi_version() >= 1 && lsm_version() != NULL && strchr(lsm_version(), '.') != NULL);
  CHECK(lsm_has_feature(NULL) == 0 && lsm_has_feature("") == 0 && lsm_has_feature("no such thing") == 0);
  int32_t zstd = lsm_has_feature("zstd");
  CHECK(zstd == 0 || zstd == 1);
  CHECK(sizeof(lsm_entry) == 2 * sizeof(void *) + 2 * sizeof(size_t) + 16);
}

static void errors(void) {
  CHECK(lsm_error_code(NULL) == 0 && lsm_error_os(NULL) == 0 && lsm_error_flags(NULL) == 0);
  CHECK(lsm_error_message(NULL) != NULL && *lsm_error_message(NULL) == 0);
  lsm_error_free(NULL), lsm_free(NULL), lsm_options_free(NULL), lsm_list_free(NULL), lsm_batch_free(NULL);
  lsm_batch_clear(NULL), lsm_iter_close(NULL), lsm_snapshot_release(NULL), lsm_value_release(NULL), lsm_keyspace_release(NULL);
  OK(lsm_close(NULL, NULL));
  CHECK(lsm_list_len(NULL) == 0 && lsm_list_get(NULL, 0) == NULL && lsm_batch_count(NULL) == 0 && lsm_batch_bytes(NULL) == 0);
  CHECK(lsm_snapshot_sequence(NULL) == 0 && lsm_default_keyspace(NULL) == NULL);
  size_t len = 9;
  CHECK(lsm_value_data(NULL, &len) == NULL && len == 0);
  CHECK(lsm_value_data(NULL, NULL) == NULL);
  /* *err is overwritten, never freed, and untouched on 0 and above */
  lsm_error *err = POISON;
  OK(lsm_put(ks, NULL, "e", 1, "v", 1, &err));
  CHECK(err == POISON);
  CODE(lsm_get(ks, NULL, "absent", 6, NULL, 0, &len, &err), LSM_NOT_FOUND);
  CHECK(err == POISON);
  INVALID(lsm_put(ks, NULL, NULL, 3, "v", 1, &err));
  CHECK(err != POISON && lsm_error_code(err) == LSM_E_INVALID && lsm_error_os(err) == 0);
  CHECK(strlen(lsm_error_message(err)) > 3);
  lsm_error_free(err);
}

/* Every function and parameter that must not be NULL. */
static void nulls(void) {
  lsm_options *o = lsm_options_new();
  lsm_db *d = POISON;
  lsm_keyspace *k = POISON;
  lsm_list *list = POISON;
  lsm_batch *b = POISON;
  lsm_value *v = POISON;
  lsm_iter *it = POISON;
  lsm_snapshot *s = POISON;
  char *text = POISON;
  const uint8_t *data = POISON;
  size_t n = 77;
  uint64_t u = 77, w = 77;
  uint32_t m = 77;
  lsm_entry e;
  memset(&e, 0x5a, sizeof e);
  const void *keys[1] = {"a"};
  size_t lens[1] = {1};
  lsm_value *values[1] = {POISON};
  int32_t codes[1] = {77};
  uint8_t packed[32];
  size_t plen = pack(packed, "a", "b");

  INVALID(lsm_options_set(NULL, "block.size", "4KiB", NULL));
  INVALID(lsm_options_set(o, NULL, "4KiB", NULL));
  INVALID(lsm_options_set(o, "block.size", NULL, NULL));
  INVALID(lsm_options_set_int(NULL, "block.size", 4096, NULL));
  INVALID(lsm_options_set_int(o, NULL, 4096, NULL));
  INVALID(lsm_options_set_float(NULL, "filter.fpr", 0.1, NULL));
  INVALID(lsm_options_set_float(o, NULL, 0.1, NULL));
  lsm_log_callbacks cb = {sizeof cb, NULL, NULL, NULL};
  INVALID(lsm_options_set_callbacks(NULL, "log", &cb, NULL));
  INVALID(lsm_options_set_callbacks(o, NULL, &cb, NULL));
  INVALID(lsm_options_set_callbacks(o, "log", NULL, NULL));
  INVALID(lsm_options_set_callbacks(o, "log", &cb, NULL));
  INVALID(lsm_options_get(NULL, "block.size", &text, NULL));
  INVALID(lsm_options_get(o, NULL, &text, NULL));
  INVALID(lsm_options_get(o, "block.size", NULL, NULL));
  INVALID(lsm_options_load(NULL, "", 0, NULL));
  INVALID(lsm_options_load(o, NULL, 3, NULL));
  OK(lsm_options_load(o, NULL, 0, NULL));
  INVALID(lsm_options_dump(NULL, &text, NULL));
  INVALID(lsm_options_dump(o, NULL, NULL));
  INVALID(lsm_options_describe(NULL));
  CHECK(lsm_options_clone(NULL) == NULL);
  INVALID(lsm_open(NULL, NULL, &d, NULL));
  INVALID(lsm_open("x", NULL, NULL, NULL));
  INVALID(lsm_destroy(NULL, NULL));
  INVALID(lsm_sync(NULL, NULL));
  INVALID(lsm_sequence(NULL, &u, &w));
  INVALID(lsm_sequence(db, NULL, &w));
  INVALID(lsm_sequence(db, &u, NULL));
  INVALID(lsm_keyspace_open(NULL, "k", NULL, &k, NULL));
  INVALID(lsm_keyspace_open(db, NULL, NULL, &k, NULL));
  INVALID(lsm_keyspace_open(db, "nulls", NULL, NULL, NULL));
  INVALID(lsm_keyspace_drop(NULL, "k", NULL));
  INVALID(lsm_keyspace_drop(db, NULL, NULL));
  INVALID(lsm_keyspace_list(NULL, &list, NULL));
  INVALID(lsm_keyspace_list(db, NULL, NULL));
  INVALID(lsm_put(NULL, NULL, "a", 1, "b", 1, NULL));
  INVALID(lsm_put(ks, NULL, NULL, 1, "b", 1, NULL));
  INVALID(lsm_put(ks, NULL, "a", 1, NULL, 1, NULL));
  INVALID(lsm_delete(NULL, NULL, "a", 1, NULL));
  INVALID(lsm_delete(ks, NULL, NULL, 1, NULL));
  INVALID(lsm_batch_new(NULL, &b, NULL));
  INVALID(lsm_batch_new(db, NULL, NULL));
  CHECK(b == POISON);
  OK(lsm_batch_new(db, &b, NULL));
  INVALID(lsm_batch_put(NULL, ks, "a", 1, "b", 1, NULL));
  INVALID(lsm_batch_put(b, NULL, "a", 1, "b", 1, NULL));
  INVALID(lsm_batch_put(b, ks, NULL, 1, "b", 1, NULL));
  INVALID(lsm_batch_put(b, ks, "a", 1, NULL, 1, NULL));
  INVALID(lsm_batch_delete(NULL, ks, "a", 1, NULL));
  INVALID(lsm_batch_delete(b, NULL, "a", 1, NULL));
  INVALID(lsm_batch_delete(b, ks, NULL, 1, NULL));
  INVALID(lsm_batch_append_packed(NULL, ks, packed, plen, NULL));
  INVALID(lsm_batch_append_packed(b, NULL, packed, plen, NULL));
  INVALID(lsm_batch_append_packed(b, ks, NULL, plen, NULL));
  OK(lsm_batch_append_packed(b, ks, NULL, 0, NULL));
  CHECK(lsm_batch_count(b) == 0);
  INVALID(lsm_write_packed(NULL, NULL, packed, plen, &u, NULL));
  INVALID(lsm_write_packed(ks, NULL, NULL, plen, &u, NULL));
  INVALID(lsm_write(NULL, NULL, b, &u, NULL));
  INVALID(lsm_write(db, NULL, NULL, &u, NULL));
  lsm_batch_free(b);
  INVALID(lsm_get(NULL, NULL, "a", 1, NULL, 0, &n, NULL));
  INVALID(lsm_get(ks, NULL, NULL, 1, NULL, 0, &n, NULL));
  INVALID(lsm_get(ks, NULL, "a", 1, NULL, 5, &n, NULL));
  INVALID(lsm_get(ks, NULL, "a", 1, NULL, 0, NULL, NULL));
  INVALID(lsm_get_pinned(NULL, NULL, "a", 1, &v, &data, &n, NULL));
  INVALID(lsm_get_pinned(ks, NULL, NULL, 1, &v, &data, &n, NULL));
  INVALID(lsm_get_pinned(ks, NULL, "a", 1, NULL, &data, &n, NULL));
  INVALID(lsm_get_pinned(ks, NULL, "a", 1, &v, NULL, &n, NULL));
  INVALID(lsm_get_pinned(ks, NULL, "a", 1, &v, &data, NULL, NULL));
  INVALID(lsm_exists(NULL, NULL, "a", 1, &n, NULL));
  INVALID(lsm_exists(ks, NULL, NULL, 1, &n, NULL));
  INVALID(lsm_multi_get(NULL, NULL, 1, keys, lens, values, codes, NULL));
  INVALID(lsm_multi_get(ks, NULL, 1, NULL, lens, values, codes, NULL));
  INVALID(lsm_multi_get(ks, NULL, 1, keys, NULL, values, codes, NULL));
  INVALID(lsm_multi_get(ks, NULL, 1, keys, lens, NULL, codes, NULL));
  INVALID(lsm_multi_get(ks, NULL, 1, keys, lens, values, NULL, NULL));
  INVALID(lsm_multi_get_packed(NULL, NULL, "\1\0\0\0a", 5, 1, packed, 32, &n, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, NULL, 5, 1, packed, 32, &n, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, "\1\0\0\0a", 5, 1, NULL, 32, &n, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, "\1\0\0\0a", 5, 1, packed, 32, NULL, NULL));
  INVALID(lsm_approximate(NULL, NULL, 0, NULL, 0, &u, &w, NULL));
  INVALID(lsm_approximate(ks, NULL, 0, NULL, 0, NULL, &w, NULL));
  INVALID(lsm_approximate(ks, NULL, 0, NULL, 0, &u, NULL, NULL));
  INVALID(lsm_approximate(ks, NULL, 2, NULL, 0, &u, &w, NULL));
  INVALID(lsm_approximate(ks, NULL, 0, NULL, 2, &u, &w, NULL));
  INVALID(lsm_iter_open(NULL, NULL, &it, NULL));
  INVALID(lsm_iter_open(ks, NULL, NULL, NULL));
  CHECK(it == POISON);
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  INVALID(lsm_iter_seek(NULL, 0, NULL, 0, &e, NULL));
  INVALID(lsm_iter_seek(it, 0, NULL, 0, NULL, NULL));
  INVALID(lsm_iter_seek(it, LSM_SEEK_GE, NULL, 4, &e, NULL));
  INVALID(lsm_iter_seek(it, 6, "a", 1, &e, NULL));
  INVALID(lsm_iter_seek(it, -1, "a", 1, &e, NULL));
  INVALID(lsm_iter_next(NULL, &e, NULL));
  INVALID(lsm_iter_next(it, NULL, NULL));
  INVALID(lsm_iter_prev(NULL, &e, NULL));
  INVALID(lsm_iter_prev(it, NULL, NULL));
  INVALID(lsm_iter_read(NULL, 0, &e, 1, &n, NULL));
  INVALID(lsm_iter_read(it, 0, NULL, 1, &n, NULL));
  INVALID(lsm_iter_read(it, 0, &e, 1, NULL, NULL));
  INVALID(lsm_iter_read(it, 2, &e, 1, &n, NULL));
  INVALID(lsm_iter_read(it, -1, &e, 1, &n, NULL));
  INVALID(lsm_iter_read_packed(NULL, 0, packed, 32, &n, &m, NULL));
  INVALID(lsm_iter_read_packed(it, 0, NULL, 32, &n, &m, NULL));
  INVALID(lsm_iter_read_packed(it, 0, packed, 32, NULL, &m, NULL));
  INVALID(lsm_iter_read_packed(it, 0, packed, 32, &n, NULL, NULL));
  INVALID(lsm_iter_read_packed(it, 2, packed, 32, &n, &m, NULL));
  INVALID(lsm_iter_refresh(NULL, NULL));
  lsm_iter_close(it);
  INVALID(lsm_snapshot_new(NULL, &s, NULL));
  INVALID(lsm_snapshot_new(db, NULL, NULL));
  INVALID(lsm_flush(NULL, NULL, NULL));
  INVALID(lsm_compact(NULL, NULL, 0, NULL, 0, NULL));
  INVALID(lsm_compact(ks, NULL, 1, NULL, 0, NULL));
  INVALID(lsm_compact(ks, NULL, 0, NULL, 1, NULL));
  INVALID(lsm_property(NULL, NULL, "stats", &text, NULL));
  INVALID(lsm_property(db, NULL, NULL, &text, NULL));
  INVALID(lsm_property(db, NULL, "stats", NULL, NULL));
  INVALID(lsm_property_u64(NULL, NULL, "cache.hits", &u, NULL));
  INVALID(lsm_property_u64(db, NULL, NULL, &u, NULL));
  INVALID(lsm_property_u64(db, NULL, "cache.hits", NULL, NULL));
  INVALID(lsm_metrics(NULL, 0, &text, NULL));
  INVALID(lsm_metrics(db, 0, NULL, NULL));
  INVALID(lsm_metrics(db, 2, &text, NULL));
  INVALID(lsm_metrics(db, -1, &text, NULL));
  INVALID(lsm_cache_clear(NULL, NULL));
  /* nothing was stored by any of them */
  CHECK(d == POISON && k == POISON && list == POISON && v == POISON && s == POISON && text == POISON && data == POISON);
  CHECK(n == 77 && u == 77 && w == 77 && m == 77 && values[0] == POISON && codes[0] == 77);
  lsm_entry same_entry;
  memset(&same_entry, 0x5a, sizeof e);
  CHECK(memcmp(&e, &same_entry, sizeof e) == 0);
  lsm_options_free(o);
}

static void structs(void) {
  size_t n;
  struct { lsm_read_options r; uint8_t tail[16]; } big;
  struct { lsm_write_options w; uint8_t tail[16]; } wbig;
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  lsm_write_options w = LSM_WRITE_OPTIONS_INIT;
  CHECK(r.size == sizeof r && w.size == sizeof w);
  OK(put(ks, "s", "v"));
  OK(lsm_exists(ks, &r, "s", 1, &n, NULL));
  OK(lsm_put(ks, &w, "s", 1, "v", 1, NULL));
  for (uint32_t size = 0; size < 8; size++) {
    r.size = size, w.size = size;
    INVALID(lsm_exists(ks, &r, "s", 1, &n, NULL));
    INVALID(lsm_put(ks, &w, "s", 1, "v", 1, NULL));
  }
  /* a smaller struct is read as if zeros followed: what lies behind is not looked at */
  for (uint32_t size = 8; size <= sizeof r; size++) {
    uint8_t *exact = malloc(size);
    lsm_read_options full = LSM_READ_OPTIONS_INIT;
    full.size = size;
    memcpy(exact, &full, size);
    OK(lsm_exists(ks, (const lsm_read_options *)(const void *)exact, "s", 1, &n, NULL));
    free(exact);
  }
  for (uint32_t size = 8; size <= sizeof w; size++) {
    uint8_t *exact = malloc(size);
    lsm_write_options full = LSM_WRITE_OPTIONS_INIT;
    full.size = size;
    memcpy(exact, &full, size);
    OK(lsm_put(ks, (const lsm_write_options *)(const void *)exact, "s", 1, "v", 1, NULL));
    OK(lsm_delete(ks, (const lsm_write_options *)(const void *)exact, "s0", 2, NULL));
    free(exact);
  }
  lsm_read_options cut;
  memset(&cut, 0xff, sizeof cut);
  cut.size = 8, cut.flags = 0;
  OK(lsm_exists(ks, &cut, "s", 1, &n, NULL));
  memset(&big, 0, sizeof big), memset(&wbig, 0, sizeof wbig);
  big.r.size = sizeof big, wbig.w.size = sizeof wbig;
  OK(lsm_exists(ks, &big.r, "s", 1, &n, NULL));
  OK(lsm_put(ks, &wbig.w, "s", 1, "v", 1, NULL));
  big.tail[15] = 1, wbig.tail[15] = 1;
  INVALID(lsm_exists(ks, &big.r, "s", 1, &n, NULL));
  INVALID(lsm_put(ks, &wbig.w, "s", 1, "v", 1, NULL));
  big.tail[15] = 0, wbig.tail[15] = 0, big.tail[0] = 1, wbig.tail[0] = 1;
  INVALID(lsm_exists(ks, &big.r, "s", 1, &n, NULL));
  INVALID(lsm_delete(ks, &wbig.w, "s", 1, NULL));

  r = (lsm_read_options)LSM_READ_OPTIONS_INIT;
  lsm_iter *it = POISON;
  for (uint32_t bit = 3; bit < 32; bit++) {
    r.flags = 1u << bit, w = (lsm_write_options)LSM_WRITE_OPTIONS_INIT;
    INVALID(lsm_exists(ks, &r, "s", 1, &n, NULL));
    INVALID(lsm_iter_open(ks, &r, &it, NULL));
  }
  for (uint32_t bit = 0; bit < 32; bit++) {
    w.flags = 1u << bit;
    INVALID(lsm_put(ks, &w, "s", 1, "v", 1, NULL));
  }
  r.flags = 3;
  OK(lsm_exists(ks, &r, "s", 1, &n, NULL));
  r.flags = 0, w.flags = 0;
#define READ_UNSUPPORTED(field, with) \
  r.field = with; \
  CODE(lsm_exists(ks, &r, "s", 1, &n, NULL), LSM_E_UNSUPPORTED); \
  CODE(lsm_iter_open(ks, &r, &it, NULL), LSM_E_UNSUPPORTED); \
  CODE(lsm_get(ks, &r, "s", 1, NULL, 0, &n, NULL), LSM_E_UNSUPPORTED); \
  r.field = 0
  READ_UNSUPPORTED(txn, POISON);
  READ_UNSUPPORTED(overlay, POISON);
  READ_UNSUPPORTED(io_class, 1);
  CHECK(it == POISON);
  for (int32_t durability = 0; durability < 4; durability++) {
    w.durability = durability;
    OK(lsm_put(ks, &w, "s", 1, "v", 1, NULL));
  }
  w.durability = 4;
  INVALID(lsm_put(ks, &w, "s", 1, "v", 1, NULL));
  w.durability = -1;
  INVALID(lsm_put(ks, &w, "s", 1, "v", 1, NULL));
  w.durability = 0, w.io_class = 1;
  CODE(lsm_put(ks, &w, "s", 1, "v", 1, NULL), LSM_E_UNSUPPORTED);
  w.io_class = 0, w.ttl_micros = 1;
  CODE(lsm_put(ks, &w, "s", 1, "v", 1, NULL), LSM_E_UNSUPPORTED);
  CODE(lsm_write_packed(ks, &w, NULL, 0, NULL, NULL), LSM_E_UNSUPPORTED);
  w.ttl_micros = 0, w.deadline_micros = UINT64_MAX;
  OK(lsm_put(ks, &w, "s", 1, "v", 1, NULL));
  r.deadline_micros = UINT64_MAX, r.max_skip = UINT64_MAX, r.readahead_bytes = UINT32_MAX;
  OK(lsm_exists(ks, &r, "s", 1, &n, NULL));
  OK(lsm_iter_open(ks, &r, &it, NULL));
  lsm_entry e;
  OK(lsm_iter_next(it, &e, NULL));
  lsm_iter_close(it);
  r.deadline_micros = 1u << 20, r.lower = NULL, r.lower_len = 4;
  INVALID(lsm_iter_open(ks, &r, &it, NULL));
  r.lower_len = 0, r.upper_len = 4;
  INVALID(lsm_iter_open(ks, &r, &it, NULL));
  r.upper_len = 0, r.prefix_len = 4;
  INVALID(lsm_iter_open(ks, &r, &it, NULL));
}

static void reads_and_writes(void) {
  char buffer[16];
  size_t n = 77;
  memset(buffer, '#', sizeof buffer);
  OK(put(ks, "rw", "0123456789"));
  OK(lsm_get(ks, NULL, "rw", 2, buffer, 16, &n, NULL));
  CHECK(n == 10 && memcmp(buffer, "0123456789######", 16) == 0);
  memset(buffer, '#', sizeof buffer), n = 0;
  CODE(lsm_get(ks, NULL, "rw", 2, buffer, 4, &n, NULL), LSM_TRUNCATED);
  CHECK(n == 10 && memcmp(buffer, "0123############", 16) == 0);
  n = 0;
  CODE(lsm_get(ks, NULL, "rw", 2, NULL, 0, &n, NULL), LSM_TRUNCATED);
  CHECK(n == 10);
  OK(lsm_get(ks, NULL, "rw", 2, buffer, 10, &n, NULL));
  n = 77;
  CODE(lsm_get(ks, NULL, "no", 2, buffer, 4, &n, NULL), LSM_NOT_FOUND);
  CODE(lsm_exists(ks, NULL, "no", 2, &n, NULL), LSM_NOT_FOUND);
  CHECK(n == 77);
  OK(lsm_exists(ks, NULL, "rw", 2, NULL, NULL));
  OK(lsm_exists(ks, NULL, "rw", 2, &n, NULL));
  CHECK(n == 10);
  lsm_value *v = POISON;
  const uint8_t *data = POISON;
  n = 77;
  CODE(lsm_get_pinned(ks, NULL, "no", 2, &v, &data, &n, NULL), LSM_NOT_FOUND);
  CHECK(v == POISON && data == POISON && n == 77);
  OK(lsm_get_pinned(ks, NULL, "rw", 2, &v, &data, &n, NULL));
  size_t again = 0;
  CHECK(same(data, n, "0123456789") && lsm_value_data(v, &again) == data && again == n);
  CHECK(lsm_value_data(v, NULL) == data);
  OK(lsm_delete(ks, NULL, "rw", 2, NULL));
  OK(lsm_delete(ks, NULL, "rw", 2, NULL));
  OK(lsm_flush(db, NULL, NULL));
  OK(lsm_compact(ks, NULL, 0, NULL, 0, NULL));
  CHECK(same(data, n, "0123456789"));
  lsm_value_release(v);
  CHECK(lsm_value_data(v, &again) == NULL && again == 0);
  lsm_value_release(v);

  /* empty keys and values, NULL with length 0 */
  OK(lsm_put(ks, NULL, NULL, 0, NULL, 0, NULL));
  OK(lsm_get(ks, NULL, NULL, 0, NULL, 0, &n, NULL));
  CHECK(n == 0);
  OK(lsm_get(ks, NULL, "", 0, buffer, 16, &n, NULL));
  OK(lsm_get_pinned(ks, NULL, NULL, 0, &v, &data, &n, NULL));
  CHECK(n == 0);
  lsm_value_release(v);
  OK(lsm_put(ks, NULL, "", 0, "filled", 6, NULL));
  CHECK(has(ks, NULL, "", "filled"));
  OK(lsm_flush(db, ks, NULL));
  CHECK(has(ks, NULL, "", "filled"));
  OK(lsm_delete(ks, NULL, NULL, 0, NULL));
  CHECK(has(ks, NULL, "", NULL));

  /* limits */
  char *big = malloc((64u << 20) + 8), *back = malloc((64u << 20) + 8);
  memset(big, 'k', 70000);
  for (int round = 0; round < 2; round++) {
    OK(lsm_put(ks, NULL, big, 65536, "edge", 4, NULL));
    OK(lsm_get(ks, NULL, big, 65536, buffer, 16, &n, NULL));
    CHECK(n == 4);
    OK(lsm_flush(db, ks, NULL));
    OK(lsm_get(ks, NULL, big, 65536, buffer, 16, &n, NULL));
  }
  INVALID(lsm_put(ks, NULL, big, 65537, "edge", 4, NULL));
  INVALID(lsm_delete(ks, NULL, big, 65537, NULL));
  int32_t code = lsm_exists(ks, NULL, big, 65537, &n, NULL);
  CHECK(code == LSM_E_INVALID || code == LSM_NOT_FOUND);
  OK(lsm_delete(ks, NULL, big, 65536, NULL));
  size_t huge = quick ? 4u << 20 : 64u << 20;
  for (size_t i = 0; i < huge; i += 4) memcpy(big + i, &i, 4);
  OK(lsm_put(ks, NULL, "huge", 4, big, huge, NULL));
  OK(lsm_get(ks, NULL, "huge", 4, back, huge, &n, NULL));
  CHECK(n == huge && memcmp(big, back, huge) == 0);
  OK(lsm_flush(db, ks, NULL));
  OK(lsm_get_pinned(ks, NULL, "huge", 4, &v, &data, &n, NULL));
  CHECK(n == huge && memcmp(big, data, huge) == 0);
  lsm_value_release(v);
  INVALID(lsm_put(ks, NULL, "x", 1, big, (size_t)-1, NULL));
  INVALID(lsm_put(ks, NULL, big, (size_t)-1, "x", 1, NULL));
  OK(lsm_delete(ks, NULL, "huge", 4, NULL));
  free(big), free(back);
}

static void batches(void) {
  lsm_batch *b, *theirs;
  uint64_t seq = 0, committed = 0, durable = 0, first = 0;
  OK(lsm_batch_new(db, &b, NULL));
  OK(lsm_batch_new(other, &theirs, NULL));
  INVALID(lsm_batch_put(b, foreign, "a", 1, "b", 1, NULL));
  INVALID(lsm_batch_delete(b, foreign, "a", 1, NULL));
  INVALID(lsm_write(db, NULL, theirs, NULL, NULL));
  uint8_t packed[256];
  size_t len = pack(packed, "a", "b");
  INVALID(lsm_batch_append_packed(b, foreign, packed, len, NULL));
  CHECK(lsm_batch_count(b) == 0);
  OK(lsm_sequence(db, &first, &durable));
  seq = 99;
  OK(lsm_write(db, NULL, b, &seq, NULL));
  OK(lsm_sequence(db, &committed, &durable));
  CHECK(committed == first);
  OK(lsm_batch_put(b, ks, "b1", 2, "one", 3, NULL));
  OK(lsm_batch_put(b, ks, "b1", 2, "two", 3, NULL));
  OK(lsm_batch_put(b, ks, "b2", 2, NULL, 0, NULL));
  OK(lsm_batch_delete(b, ks, "b3", 2, NULL));
  CHECK(lsm_batch_count(b) == 4 && lsm_batch_bytes(b) >= 8);
  OK(lsm_write(db, NULL, b, &seq, NULL));
  OK(lsm_sequence(db, &committed, &durable));
  CHECK(seq == committed && committed == first + 4);
  CHECK(has(ks, NULL, "b1", "two") && has(ks, NULL, "b2", "") && has(ks, NULL, "b3", NULL));
  OK(put(ks, "b1", "over"));
  CHECK(lsm_batch_count(b) == 4);
  OK(lsm_write(db, NULL, b, NULL, NULL));
  CHECK(has(ks, NULL, "b1", "two"));
  size_t count = lsm_batch_count(b), bytes = lsm_batch_bytes(b);
  char *key = calloc(1, 65537);
  INVALID(lsm_batch_put(b, ks, key, 65537, "v", 1, NULL));
  INVALID(lsm_batch_delete(b, ks, key, 65537, NULL));
  free(key);
  CHECK(count == lsm_batch_count(b) && bytes == lsm_batch_bytes(b));
  lsm_batch_clear(b);
  CHECK(lsm_batch_count(b) == 0);
  OK(lsm_batch_put(b, ks, "b4", 2, "x", 1, NULL));
  OK(lsm_write(db, NULL, b, NULL, NULL));
  CHECK(has(ks, NULL, "b4", "x"));

  /* packed */
  len = pack(packed, "p1", "v1");
  len += pack(packed + len, "p2", "");
  len += pack(packed + len, "b4", NULL);
  len += pack(packed + len, "", "nokey");
  OK(lsm_sequence(db, &first, &durable));
  OK(lsm_write_packed(ks, NULL, packed, len, &seq, NULL));
  CHECK(seq == first + 4 && has(ks, NULL, "p1", "v1") && has(ks, NULL, "p2", "") && has(ks, NULL, "b4", NULL) && has(ks, NULL, "", "nokey"));
  OK(lsm_delete(ks, NULL, "", 0, NULL));
  OK(lsm_write_packed(ks, NULL, NULL, 0, NULL, NULL));
  OK(lsm_sequence(db, &first, &durable));
  for (size_t cut = 1; cut < len; cut++) {
    int boundary = cut == 12 || cut == 22 || cut == 32;
    uint8_t *exact = malloc(cut);
    memcpy(exact, packed, cut);
    size_t before = lsm_batch_count(b);
    seq = 77;
    if (!boundary) {
      INVALID(lsm_write_packed(ks, NULL, exact, cut, &seq, NULL));
      INVALID(lsm_batch_append_packed(b, ks, exact, cut, NULL));
      CHECK(seq == 77 && lsm_batch_count(b) == before);
    }
    free(exact);
  }
  put_u32(packed, 0xffffffffu), put_u32(packed + 4, 1);
  INVALID(lsm_write_packed(ks, NULL, packed, 200, &seq, NULL));
  put_u32(packed, 1), put_u32(packed + 4, 0xfffffffeu);
  INVALID(lsm_write_packed(ks, NULL, packed, 200, &seq, NULL));
  uint8_t *wide = calloc(1, 70000);
  put_u32(wide, 65537);
  INVALID(lsm_write_packed(ks, NULL, wide, 8 + 65537, &seq, NULL));
  put_u32(wide, 65536);
  OK(lsm_write_packed(ks, NULL, wide, 8 + 65536, &seq, NULL));
  OK(lsm_delete(ks, NULL, wide + 8, 65536, NULL));
  free(wide);
  lsm_batch_clear(b);
  len = pack(packed, "q1", "v");
  len += pack(packed + len, "p1", NULL);
  OK(lsm_batch_put(b, ks, "q0", 2, "z", 1, NULL));
  OK(lsm_batch_append_packed(b, ks, packed, len, NULL));
  CHECK(lsm_batch_count(b) == 3);
  OK(lsm_write(db, NULL, b, &seq, NULL));
  CHECK(has(ks, NULL, "q0", "z") && has(ks, NULL, "q1", "v") && has(ks, NULL, "p1", NULL));
  lsm_batch_free(b);
  CHECK(lsm_batch_count(b) == 0);
  CLOSED(lsm_batch_put(b, ks, "a", 1, "b", 1, NULL));
  CLOSED(lsm_write(db, NULL, b, NULL, NULL));
  lsm_batch_free(b), lsm_batch_clear(b);
  lsm_batch_free(theirs);

  /* sequences: durable after sync and after an fsync write */
  OK(put(ks, "seq", "1"));
  OK(lsm_sync(db, NULL));
  OK(lsm_sequence(db, &committed, &durable));
  CHECK(durable == committed);
  lsm_write_options w = LSM_WRITE_OPTIONS_INIT;
  w.durability = LSM_DURABILITY_FSYNC;
  OK(lsm_put(ks, &w, "seq", 3, "2", 1, NULL));
  uint64_t c2, d2;
  OK(lsm_sequence(db, &c2, &d2));
  CHECK(c2 == committed + 1 && d2 == c2);
  w.durability = LSM_DURABILITY_MEMORY;
  OK(lsm_put(ks, &w, "seq", 3, "3", 1, NULL));
  OK(lsm_sequence(db, &c2, &d2));
  CHECK(c2 == committed + 2 && d2 <= c2);
  CHECK(has(ks, NULL, "seq", "3"));
}

static void multi(void) {
  OK(put(ks, "m1", "one"));
  OK(put(ks, "m2", ""));
  char *wide = calloc(1, 65537);
  const void *keys[5] = {"m1", "nope", "m2", NULL, "m1"};
  size_t lens[5] = {2, 4, 2, 0, 2};
  lsm_value *values[5];
  int32_t codes[5];
  size_t n;
  for (int i = 0; i < 5; i++) values[i] = POISON, codes[i] = 77;
  OK(lsm_multi_get(ks, NULL, 5, keys, lens, values, codes, NULL));
  CHECK(codes[0] == 0 && codes[1] == 1 && codes[2] == 0 && codes[3] == 1 && codes[4] == 0);
  CHECK(values[1] == NULL && values[3] == NULL && values[0] && values[2] && values[4]);
  CHECK(holds(values[0], "one") && holds(values[2], "") && holds(values[4], "one"));
  for (int i = 0; i < 5; i++) lsm_value_release(values[i]);
  OK(lsm_multi_get(ks, NULL, 0, NULL, NULL, NULL, NULL, NULL));
  /* a key that is not legal: its code is negative, the call's is the first negative one, the others are answered */
  keys[1] = wide, lens[1] = 65537;
  lsm_error *err = NULL;
  for (int i = 0; i < 5; i++) values[i] = POISON, codes[i] = 77;
  INVALID(lsm_multi_get(ks, NULL, 5, keys, lens, values, codes, &err));
  CHECK(err != NULL);
  lsm_error_free(err);
  if (codes[0] != 77) {
    CHECK(codes[0] == 0 && codes[1] == LSM_E_INVALID && codes[2] == 0 && values[1] == NULL);
    for (int i = 0; i < 5; i++) lsm_value_release(values[i]);
  }
  keys[1] = NULL, lens[1] = 3;
  for (int i = 0; i < 5; i++) values[i] = POISON, codes[i] = 77;
  INVALID(lsm_multi_get(ks, NULL, 5, keys, lens, values, codes, NULL));
  if (codes[0] != 77) {
    for (int i = 0; i < 5; i++) lsm_value_release(values[i]);
  } else {
    CHECK(values[0] == POISON);
  }

  uint8_t in[128], out[128];
  size_t len = 0;
  const char *names[4] = {"m1", "nope", "m2", "m1"};
  for (int i = 0; i < 4; i++) {
    len += put_u32(in + len, (uint32_t)strlen(names[i]));
    memcpy(in + len, names[i], strlen(names[i])), len += strlen(names[i]);
  }
  n = 0;
  OK(lsm_multi_get_packed(ks, NULL, in, len, 4, out, sizeof out, &n, NULL));
  CHECK(n == 4 * 8 + 6);
  CHECK(get_u32(out) == 0 && get_u32(out + 4) == 3 && memcmp(out + 8, "one", 3) == 0);
  CHECK(get_u32(out + 11) == 1 && get_u32(out + 15) == 0 && get_u32(out + 19) == 0 && get_u32(out + 23) == 0);
  CHECK(get_u32(out + 27) == 0 && get_u32(out + 31) == 3);
  size_t whole = n;
  for (size_t capacity = 0; capacity <= whole; capacity++) {
    uint8_t *exact = malloc(capacity ? capacity : 1);
    n = 0;
    CODE(lsm_multi_get_packed(ks, NULL, in, len, 4, capacity ? exact : NULL, capacity, &n, NULL),
         capacity < whole ? LSM_TRUNCATED : LSM_OK);
    CHECK(n == whole);
    free(exact);
  }
  n = 77;
  INVALID(lsm_multi_get_packed(ks, NULL, in, len, 3, out, sizeof out, &n, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, in, len, 5, out, sizeof out, &n, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, in, len, UINT32_MAX, out, sizeof out, &n, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, in, len - 1, 4, out, sizeof out, &n, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, in, 0, 4, out, sizeof out, &n, NULL));
  INVALID(lsm_multi_get_packed(ks, NULL, NULL, 0, 1, out, sizeof out, &n, NULL));
  CHECK(n == 77);
  OK(lsm_multi_get_packed(ks, NULL, NULL, 0, 0, NULL, 0, &n, NULL));
  CHECK(n == 0);
  free(wide);
}

static void views(void) {
  lsm_snapshot *s, *theirs;
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  uint64_t committed, durable;
  size_t n;
  OK(put(ks, "v", "old"));
  OK(lsm_snapshot_new(db, &s, NULL));
  OK(lsm_snapshot_new(other, &theirs, NULL));
  OK(lsm_sequence(db, &committed, &durable));
  CHECK(lsm_snapshot_sequence(s) == committed);
  r.snapshot = s;
  OK(put(ks, "v", "new"));
  CHECK(has(ks, &r, "v", "old") && has(ks, NULL, "v", "new"));
  OK(lsm_flush(db, NULL, NULL));
  OK(lsm_delete(ks, NULL, "v", 1, NULL));
  OK(lsm_flush(db, NULL, NULL));
  OK(lsm_compact(ks, NULL, 0, NULL, 0, NULL));
  CHECK(has(ks, &r, "v", "old") && has(ks, NULL, "v", NULL));
  const void *keys[1] = {"v"};
  size_t lens[1] = {1};
  lsm_value *values[1];
  int32_t codes[1];
  OK(lsm_multi_get(ks, &r, 1, keys, lens, values, codes, NULL));
  CHECK(codes[0] == 0 && holds(values[0], "old"));
  lsm_value_release(values[0]);
  r.snapshot = theirs;
  INVALID(lsm_exists(ks, &r, "v", 1, &n, NULL));
  lsm_iter *it;
  INVALID(lsm_iter_open(ks, &r, &it, NULL));
  lsm_snapshot_release(theirs);
  lsm_snapshot_release(s);
  CHECK(lsm_snapshot_sequence(s) == 0);
  r.snapshot = s;
  CLOSED(lsm_exists(ks, &r, "v", 1, &n, NULL));
  lsm_snapshot_release(s);
  INVALID(lsm_flush(db, foreign, NULL));
  char *text = NULL;
  uint64_t u;
  INVALID(lsm_property(db, foreign, "stats", &text, NULL));
  INVALID(lsm_property_u64(db, foreign, "memtable.bytes", &u, NULL));
}

static void swapped(void) {
  /* handles of one type given for another */
  lsm_batch *b;
  lsm_iter *it;
  lsm_entry e;
  size_t n;
  OK(lsm_batch_new(db, &b, NULL));
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  CHECK(lsm_iter_next((lsm_iter *)(void *)b, &e, NULL) < 0);
  CHECK(lsm_put((lsm_keyspace *)(void *)db, NULL, "a", 1, "b", 1, NULL) < 0);
  CHECK(lsm_put((lsm_keyspace *)(void *)b, NULL, "a", 1, "b", 1, NULL) < 0);
  CHECK(lsm_sync((lsm_db *)(void *)ks, NULL) < 0);
  CHECK(lsm_sync((lsm_db *)(void *)it, NULL) < 0);
  CHECK(lsm_close((lsm_db *)(void *)ks, NULL) < 0);
  CHECK(lsm_value_data((lsm_value *)(void *)it, &n) == NULL && n == 0);
  lsm_batch_free((lsm_batch *)(void *)it);
  lsm_iter_close((lsm_iter *)(void *)b);
  int32_t code = lsm_iter_next(it, &e, NULL);
  CHECK(code == LSM_OK || code == LSM_END);
  OK(lsm_batch_put(b, ks, "a", 1, "b", 1, NULL));
  lsm_batch_free(b), lsm_iter_close(it);
}

static void run(void) {
  db = open_or_die(fresh("one")), other = open_or_die(fresh("two"));
  ks = lsm_default_keyspace(db), foreign = lsm_default_keyspace(other);
  CHECK(ks != NULL && foreign != NULL && ks != foreign && lsm_default_keyspace(db) == ks);
  numbers();
  errors();
  nulls();
  structs();
  reads_and_writes();
  batches();
  multi();
  views();
  swapped();
  OK(lsm_close(db, NULL));
  OK(lsm_close(other, NULL));
}
