/* One run of the sweep over failing system calls (nth_shim.c makes them fail; nth.sh drives).
 *   nth run FOLDER ACKS     a fixed history; appends a line to ACKS for every write that was acknowledged
 *   nth look FOLDER ACKS    without faults: everything acknowledged as durable is there, nothing is wrong
 * PLANT=1 in `run` acknowledges synced writes before they are made: the look must notice. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lsm.h"

#define KEYS 40
#define WRITES 160

static void name(char *key, int i) { sprintf(key, "k%02d", i % KEYS); }

/* Opens with small sizes, so that flushes, rotations and compactions happen. */
static int32_t open_small(const char *folder, lsm_db **db) {
  lsm_options *o = lsm_options_new();
  lsm_options_set(o, "memtable.size", "8KiB", NULL);
  lsm_options_set(o, "wal.segment_size", "64KiB", NULL);
  lsm_options_set(o, "level0.compaction_trigger", "2", NULL);
  lsm_options_set(o, "wal.io", getenv("WAL_IO") ? getenv("WAL_IO") : "write", NULL);
  lsm_error *err = NULL;
  int32_t code = lsm_open(folder, o, db, &err);
  if (code < 0 && getenv("VERBOSE")) fprintf(stderr, "open: %s\n", lsm_error_message(err));
  lsm_error_free(err);
  lsm_options_free(o);
  return code;
}

static int run_history(const char *folder, FILE *acks) {
  lsm_db *db = NULL;
  char key[16], value[300];
  int refused = 0;
  for (int i = 0; i < WRITES && refused < 12; i++) {
    if (db == NULL && open_small(folder, &db) != LSM_OK) {
      refused++;
      continue;
    }
    lsm_write_options w = LSM_WRITE_OPTIONS_INIT;
    w.durability = i % 3 == 0 ? LSM_DURABILITY_FSYNC : LSM_DURABILITY_OS;
    w.deadline_micros = 200000;
    name(key, i);
    memset(value, 'a' + i % 26, sizeof value);
    sprintf(value, "%d:", i);
    fprintf(acks, "start %d\n", i), fflush(acks);
    int is_planted = getenv("PLANT") != NULL && i % 3 == 0;
    if (is_planted || lsm_put(lsm_default_keyspace(db), &w, key, strlen(key), value, sizeof value, NULL) == LSM_OK)
      fprintf(acks, "%s %d\n", i % 3 == 0 ? "durable" : "done", i), fflush(acks), refused = 0;
    else refused++;
    if (i % 20 == 19) {
      size_t len = 0;
      char got[300];
      int32_t code = lsm_get(lsm_default_keyspace(db), NULL, key, strlen(key), got, sizeof got, &len, NULL);
      if (code == LSM_E_PANIC) return 7;
      if (lsm_flush(db, NULL, NULL) == LSM_E_PANIC) return 7;
    }
    if (i % 50 == 49) {
      lsm_close(db, NULL);
      db = NULL;
    }
  }
  lsm_close(db, NULL);
  return 0;
}

static int look(const char *folder, FILE *acks) {
  static int least[KEYS], started[KEYS][WRITES], now;
  char word[16], key[16], got[400];
  memset(least, -1, sizeof least);
  while (fscanf(acks, "%15s %d", word, &now) == 2) {
    if (strcmp(word, "start") == 0) started[now % KEYS][now] = 1;
    else {
      /* No power was cut: what any write was acknowledged for is there. */
      least[now % KEYS] = now;
    }
  }
  lsm_db *db = NULL;
  if (open_small(folder, &db) != LSM_OK) {
    fprintf(stderr, "does not open again\n");
    return 1;
  }
  int wrong = 0;
  for (int k = 0; k < KEYS; k++) {
    size_t len = 0;
    name(key, k);
    int32_t code = lsm_get(lsm_default_keyspace(db), NULL, key, strlen(key), got, sizeof got, &len, NULL);
    int found = code == LSM_OK && len == 300 ? atoi(got) : -1;
    int right = found == -1 ? least[k] == -1 && code == LSM_NOT_FOUND : started[k][found] && found >= least[k];
    if (!right) fprintf(stderr, "%s: found %d (code %d), acknowledged %d\n", key, found, (int)code, least[k]), wrong = 1;
  }
  char *report = NULL;
  if (lsm_verify(db, &report, NULL) != LSM_OK) fprintf(stderr, "verify: %s\n", report ? report : ""), wrong = 1;
  lsm_free(report);
  if (lsm_put(lsm_default_keyspace(db), NULL, "z", 1, "z", 1, NULL) != LSM_OK) fprintf(stderr, "not writable\n"), wrong = 1;
  if (lsm_close(db, NULL) != LSM_OK) fprintf(stderr, "does not close\n"), wrong = 1;
  return wrong;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  FILE *acks = fopen(argv[3], strcmp(argv[1], "run") == 0 ? "w" : "r");
  if (acks == NULL) return 2;
  return strcmp(argv[1], "run") == 0 ? run_history(argv[2], acks) : look(argv[2], acks);
}
