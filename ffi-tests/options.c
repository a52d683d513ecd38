/* The bag of options: set, get, load, dump, describe, clone; what is refused and that the message names it. */
#include "check.h"

static void refused(lsm_options *o, const char *key, const char *value) {
  lsm_error *err = NULL;
  int32_t code = lsm_options_set(o, key, value, &err);
  CHECK(code == LSM_E_INVALID || code == LSM_E_UNSUPPORTED);
  CHECK(lsm_error_code(err) == code);
  if (strstr(lsm_error_message(err), key) == NULL)
    fprintf(stderr, "the message does not name %s: %s\n", key, lsm_error_message(err)), checks_failed++;
  lsm_error_free(err);
}
static void is(lsm_options *o, const char *key, const char *want) {
  char *got = NULL;
  OK(lsm_options_get(o, key, &got, NULL));
  if (got == NULL || strcmp(got, want) != 0)
    fprintf(stderr, "%s is %s, not %s\n", key, got ? got : "NULL", want), checks_failed++;
  lsm_free(got);
}

static void run(void) {
  lsm_options *o = lsm_options_new();
  CHECK(o != NULL);
  static const char *const keys[] = {"create_if_missing", "error_if_exists", "mode", "durability", "memtable.size",
    "memtable.count_max", "block.size", "compression", "compression.per_level", "filter.fpr", "cache.size",
    "level0.compaction_trigger", "level0.slowdown", "level0.stop", "level.base_size", "level.size_ratio",
    "level.count_max", "table.size", "compaction.threads", "compaction.subjobs_max", "compaction.tables_per_job_max",
    "compaction.parallel_merge", "compaction.style", "flush.threads", "wal.io", "wal.segment_size", "wal.total_max",
    "wal.visible_before_sync", "open.files_max"};
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    /* get answers canonical text: set then get is stable, an unset key reads its default. */
    char *first = NULL, *second = NULL;
    OK(lsm_options_get(o, keys[i], &first, NULL));
    if (first != NULL && first[0] != 0) {
      OK(lsm_options_set(o, keys[i], first, NULL));
      OK(lsm_options_get(o, keys[i], &second, NULL));
      CHECK(second != NULL && strcmp(first, second) == 0);
    }
    lsm_free(first);
    lsm_free(second);
  }
  lsm_options_free(o);
  o = lsm_options_new();
  is(o, "create_if_missing", "true");
  is(o, "mode", "rw");
  is(o, "durability", "os");
  is(o, "memtable.size", "64MiB");
  OK(lsm_options_set(o, "memtable.size", "16MiB", NULL));
  is(o, "memtable.size", "16MiB");
  OK(lsm_options_set_int(o, "memtable.size", 8 << 20, NULL));
  is(o, "memtable.size", "8MiB");
  OK(lsm_options_set_float(o, "filter.fpr", 0.001, NULL));
  is(o, "filter.fpr", "0.001");
  OK(lsm_options_set_int(o, "memtable.count_max", 3, NULL));
  is(o, "memtable.count_max", "3");

  refused(o, "no.such.key", "1");
  refused(o, "memtable.count_max", "0");
  refused(o, "memtable.size", "-1");
  refused(o, "memtable.size", "lots");
  refused(o, "filter.fpr", "1");
  refused(o, "filter.fpr", "1.5");
  refused(o, "filter.fpr", "nan");
  refused(o, "block.size", "255");
  refused(o, "level.count_max", "13");
  refused(o, "level.size_ratio", "0");
  refused(o, "mode", "both");
  refused(o, "durability", "maybe");
  INVALID(lsm_options_set_int(o, "cache.size", -5, NULL));
  INVALID(lsm_options_set_float(o, "filter.fpr", -0.5, NULL));
  is(o, "memtable.count_max", "3");

  INVALID(lsm_options_set(NULL, "mode", "rw", NULL));
  INVALID(lsm_options_set(o, NULL, "rw", NULL));
  INVALID(lsm_options_set(o, "mode", NULL, NULL));
  INVALID(lsm_options_set_int(NULL, "cache.size", 1, NULL));
  INVALID(lsm_options_set_int(o, NULL, 1, NULL));
  INVALID(lsm_options_set_float(NULL, "filter.fpr", 0.5, NULL));
  INVALID(lsm_options_set_float(o, NULL, 0.5, NULL));
  INVALID(lsm_options_set(o, "\xff\xfe", "1", NULL));
  char *text = NULL;
  INVALID(lsm_options_get(NULL, "mode", &text, NULL));
  INVALID(lsm_options_get(o, NULL, &text, NULL));
  INVALID(lsm_options_get(o, "mode", NULL, NULL));
  INVALID(lsm_options_get(o, "no.such.key", &text, NULL));
  CHECK(text == NULL);

  /* load is all or nothing and ignores empty lines and comments. */
  const char good[] = "# a comment\n\ncache.size = 1MiB\n  block.size=8KiB\n";
  OK(lsm_options_load(o, good, sizeof good - 1, NULL));
  is(o, "cache.size", "1MiB");
  is(o, "block.size", "8KiB");
  const char bad[] = "cache.size = 2MiB\nblock.size = 1\n";
  INVALID(lsm_options_load(o, bad, sizeof bad - 1, NULL));
  is(o, "cache.size", "1MiB");
  OK(lsm_options_load(o, NULL, 0, NULL));
  INVALID(lsm_options_load(o, NULL, 4, NULL));
  INVALID(lsm_options_load(NULL, good, sizeof good - 1, NULL));
  INVALID(lsm_options_load(o, "\xff\xff", 2, NULL));
  INVALID(lsm_options_load(o, "no equals sign", 14, NULL));

  /* dump loads back. */
  OK(lsm_options_dump(o, &text, NULL));
  lsm_options *back = lsm_options_new();
  OK(lsm_options_load(back, text, strlen(text), NULL));
  is(back, "block.size", "8KiB");
  lsm_free(text);
  lsm_options *copy = lsm_options_clone(back);
  OK(lsm_options_set(back, "block.size", "16KiB", NULL));
  is(copy, "block.size", "8KiB");
  lsm_options_free(copy);
  lsm_options_free(back);
  INVALID(lsm_options_dump(NULL, &text, NULL));
  INVALID(lsm_options_dump(o, NULL, NULL));

  char *json = NULL;
  OK(lsm_options_describe(&json));
  CHECK(json != NULL && json[0] == '[');
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\"", keys[i]);
    if (strstr(json, quoted) == NULL) fprintf(stderr, "describe lacks %s\n", keys[i]), checks_failed++;
  }
  static const char *const fields[] = {"\"key\"", "\"type\"", "\"default\"", "\"range\"", "\"unit\"", "\"scope\"",
    "\"mutable\"", "\"text\""};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) CHECK(strstr(json, fields[i]) != NULL);
  lsm_free(json);
  INVALID(lsm_options_describe(NULL));

  int something = 0;
  static const char *const later[] = {"comparator", "merge_operator", "compaction_filter", "listener", "vfs", "keyring"};
  for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
    CODE(lsm_options_set_callbacks(o, later[i], &something, NULL), LSM_E_UNSUPPORTED);
  INVALID(lsm_options_set_callbacks(o, "nonsense", &something, NULL));
  INVALID(lsm_options_set_callbacks(o, "log", NULL, NULL));
  INVALID(lsm_options_set_callbacks(o, NULL, &something, NULL));
  INVALID(lsm_options_set_callbacks(NULL, "log", &something, NULL));
  lsm_options_free(o);
}
