/* Version, names of codes, features, accessors on NULL, frees of NULL. */
#include "check.h"

static void run(void) {
  CHECK(lsm_abi_version() == 1);
  CHECK(strchr(lsm_version(), '.') != NULL);
  static const struct { int32_t code; const char *name; } codes[] = {
    {LSM_OK, "LSM_OK"}, {LSM_NOT_FOUND, "LSM_NOT_FOUND"}, {LSM_END, "LSM_END"}, {LSM_TRUNCATED, "LSM_TRUNCATED"},
    {LSM_PENDING, "LSM_PENDING"}, {LSM_E_INVALID, "LSM_E_INVALID"}, {LSM_E_IO, "LSM_E_IO"},
    {LSM_E_CORRUPTION, "LSM_E_CORRUPTION"}, {LSM_E_CONFLICT, "LSM_E_CONFLICT"}, {LSM_E_DEADLOCK, "LSM_E_DEADLOCK"},
    {LSM_E_TIMEOUT, "LSM_E_TIMEOUT"}, {LSM_E_BUSY, "LSM_E_BUSY"}, {LSM_E_LOCKED, "LSM_E_LOCKED"},
    {LSM_E_NOSPACE, "LSM_E_NOSPACE"}, {LSM_E_NOMEM, "LSM_E_NOMEM"}, {LSM_E_READONLY, "LSM_E_READONLY"},
    {LSM_E_EXISTS, "LSM_E_EXISTS"}, {LSM_E_UNSUPPORTED, "LSM_E_UNSUPPORTED"}, {LSM_E_CLOSED, "LSM_E_CLOSED"},
    {LSM_E_CANCELLED, "LSM_E_CANCELLED"}, {LSM_E_STALLED, "LSM_E_STALLED"}, {LSM_E_VERSION, "LSM_E_VERSION"},
    {LSM_E_CALLBACK, "LSM_E_CALLBACK"}, {LSM_E_SEQ_GONE, "LSM_E_SEQ_GONE"},
    {LSM_E_PRECONDITION, "LSM_E_PRECONDITION"}, {LSM_E_FENCED, "LSM_E_FENCED"}, {LSM_E_PANIC, "LSM_E_PANIC"},
    {LSM_E_FORKED, "LSM_E_FORKED"}};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    CHECK(codes[i].code == (i < 5 ? (int32_t)i : 4 - (int32_t)i));
    CHECK(strcmp(lsm_code_name(codes[i].code), codes[i].name) == 0);
  }
  CHECK(lsm_code_name(12345) != NULL && lsm_code_name(INT32_MIN) != NULL);
  CHECK(lsm_has_feature("lz4") == 1);
  CHECK(lsm_has_feature("no such thing") == 0);
  CHECK(lsm_has_feature(NULL) == 0);

  CHECK(sizeof(lsm_entry) == 48 && sizeof(lsm_read_options) == 104 && sizeof(lsm_write_options) == 32);
  lsm_read_options read = LSM_READ_OPTIONS_INIT;
  lsm_write_options write = LSM_WRITE_OPTIONS_INIT;
  CHECK(read.size == sizeof read && read.prefix == NULL && read.io_class == 0);
  CHECK(write.size == sizeof write && write.ttl_micros == 0);

  CHECK(lsm_error_code(NULL) == 0 && lsm_error_os(NULL) == 0 && lsm_error_flags(NULL) == 0);
  CHECK(strcmp(lsm_error_message(NULL), "") == 0);
  lsm_error_free(NULL);
  lsm_free(NULL);
  lsm_options_free(NULL);
  lsm_keyspace_release(NULL);
  lsm_list_free(NULL);
  lsm_batch_free(NULL);
  lsm_batch_clear(NULL);
  lsm_value_release(NULL);
  lsm_iter_close(NULL);
  lsm_snapshot_release(NULL);
  OK(lsm_close(NULL, NULL));
  CHECK(lsm_options_clone(NULL) == NULL);
  CHECK(lsm_default_keyspace(NULL) == NULL);
  CHECK(lsm_list_len(NULL) == 0 && lsm_list_get(NULL, 0) == NULL);
  CHECK(lsm_batch_count(NULL) == 0 && lsm_batch_bytes(NULL) == 0);
  CHECK(lsm_snapshot_sequence(NULL) == 0);
  size_t len = 9;
  CHECK(lsm_value_data(NULL, &len) == NULL && len == 0);
  CHECK(lsm_value_data(NULL, NULL) == NULL);
}
