/* conformance_life.c: the contract of lifetimes, from the contract alone: closing in any order and under load, use after
 * close, forked children, the log callback, and nothing that grows over many opens. */
#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/wait.h>

/* Every call on every handle of a closed database says so (or, in a forked child, that). */
typedef struct {
  lsm_db *db;
  lsm_keyspace *ks, *side;
  lsm_iter *it;
  lsm_batch *batch;
  lsm_snapshot *snapshot;
  lsm_value *value;
} handles;

static handles open_all(const char *path) {
  handles h;
  const uint8_t *data;
  size_t n;
  lsm_entry e;
  h.db = open_or_die(path);
  h.ks = lsm_default_keyspace(h.db);
  OK(lsm_keyspace_open(h.db, "side", NULL, &h.side, NULL));
  OK(put(h.ks, "k", "value"));
  OK(put(h.side, "k", "value"));
  OK(lsm_iter_open(h.ks, NULL, &h.it, NULL));
  OK(lsm_iter_next(h.it, &e, NULL));
  OK(lsm_batch_new(h.db, &h.batch, NULL));
  OK(lsm_batch_put(h.batch, h.ks, "b", 1, "v", 1, NULL));
  OK(lsm_snapshot_new(h.db, &h.snapshot, NULL));
  OK(lsm_get_pinned(h.ks, NULL, "k", 1, &h.value, &data, &n, NULL));
  return h;
}
static void all_answer(const handles *h, int32_t want) {
  lsm_keyspace *k;
  lsm_iter *it;
  lsm_batch *b;
  lsm_snapshot *s;
  lsm_list *list;
  lsm_value *v, *values[1];
  const uint8_t *data;
  const void *keys[1] = {"k"};
  size_t n, lens[1] = {1};
  int32_t codes[1];
  uint64_t u, w;
  uint32_t m;
  char *text;
  char buffer[32];
  lsm_entry e;
  lsm_error *err = NULL;
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  r.snapshot = h->snapshot;
  CODE(lsm_sync(h->db, &err), want);
  CHECK(lsm_error_code(err) == want && *lsm_error_message(err));
  lsm_error_free(err);
  CODE(lsm_sequence(h->db, &u, &w), want);
  CODE(lsm_keyspace_open(h->db, "side", NULL, &k, NULL), want);
  CODE(lsm_keyspace_drop(h->db, "side", NULL), want);
  CODE(lsm_keyspace_list(h->db, &list, NULL), want);
  lsm_keyspace *both[2] = {h->ks, h->side};
  for (int i = 0; i < 2; i++) {
    CODE(lsm_put(both[i], NULL, "k", 1, "v", 1, NULL), want);
    CODE(lsm_delete(both[i], NULL, "k", 1, NULL), want);
    CODE(lsm_write_packed(both[i], NULL, NULL, 0, NULL, NULL), want);
    CODE(lsm_get(both[i], NULL, "k", 1, buffer, 32, &n, NULL), want);
    CODE(lsm_get_pinned(both[i], NULL, "k", 1, &v, &data, &n, NULL), want);
    CODE(lsm_exists(both[i], &r, "k", 1, &n, NULL), want);
    CODE(lsm_multi_get(both[i], NULL, 1, keys, lens, values, codes, NULL), want);
    CODE(lsm_multi_get_packed(both[i], NULL, "\1\0\0\0k", 5, 1, buffer, 32, &n, NULL), want);
    CODE(lsm_approximate(both[i], NULL, 0, NULL, 0, &u, &w, NULL), want);
    CODE(lsm_iter_open(both[i], NULL, &it, NULL), want);
    CODE(lsm_compact(both[i], NULL, 0, NULL, 0, NULL), want);
  }
  CODE(lsm_batch_new(h->db, &b, NULL), want);
  CODE(lsm_batch_put(h->batch, h->ks, "k", 1, "v", 1, NULL), want);
  CODE(lsm_batch_delete(h->batch, h->ks, "k", 1, NULL), want);
  CODE(lsm_batch_append_packed(h->batch, h->ks, NULL, 0, NULL), want);
  CODE(lsm_write(h->db, NULL, h->batch, NULL, NULL), want);
  CODE(lsm_iter_seek(h->it, 0, NULL, 0, &e, NULL), want);
  CODE(lsm_iter_next(h->it, &e, NULL), want);
  CODE(lsm_iter_prev(h->it, &e, NULL), want);
  CODE(lsm_iter_read(h->it, 0, &e, 1, &n, NULL), want);
  CODE(lsm_iter_read_packed(h->it, 0, buffer, 32, &n, &m, NULL), want);
  CODE(lsm_iter_refresh(h->it, NULL), want);
  CODE(lsm_snapshot_new(h->db, &s, NULL), want);
  CODE(lsm_flush(h->db, NULL, NULL), want);
  CODE(lsm_flush(h->db, h->ks, NULL), want);
  CODE(lsm_property(h->db, NULL, "stats", &text, NULL), want);
  CODE(lsm_property_u64(h->db, NULL, "cache.hits", &u, NULL), want);
  CODE(lsm_metrics(h->db, 0, &text, NULL), want);
  CODE(lsm_cache_clear(h->db, NULL), want);
  CODE(lsm_close(h->db, NULL), want);
  lsm_batch_clear(h->batch);
}
static int value_holds(const lsm_value *value) {
  size_t n = 0;
  const uint8_t *data = lsm_value_data(value, &n);
  return data && same(data, n, "value");
}

static void closing(void) {
  /* every order of six frees, before and after close */
  for (int order = 0; order < 64; order++) {
    handles h = open_all(fresh("close"));
    for (int pass = 0; pass < 2; pass++) {
      if (pass == 1) {
        OK(lsm_close(h.db, NULL));
        if (order % 8 == 0) {
          all_answer(&h, LSM_E_CLOSED);
          CHECK(value_holds(h.value) == ((order & 8) == 0));
        }
      }
      for (int which = 0; which < 6; which++) {
        if (((order >> which) & 1) == pass) continue;
        if (which == 0) lsm_iter_close(h.it);
        if (which == 1) lsm_batch_free(h.batch);
        if (which == 2) lsm_snapshot_release(h.snapshot);
        if (which == 3) lsm_value_release(h.value);
        if (which == 4) lsm_keyspace_release(h.side);
        if (which == 5) lsm_keyspace_release(h.ks);
      }
    }
    CLOSED(lsm_close(h.db, NULL));
    CLOSED(lsm_close(h.db, NULL));
    lsm_iter_close(h.it), lsm_batch_free(h.batch), lsm_snapshot_release(h.snapshot), lsm_value_release(h.value);
    lsm_keyspace_release(h.side), lsm_keyspace_release(h.ks);
    lsm_keyspace *d = lsm_default_keyspace(h.db);
    CHECK(d == h.ks || d == NULL);
    CLOSED(put(h.ks, "a", "b"));
  }
  /* the folder may be opened again at once, with live children of the first */
  const char *path = fresh("close");
  handles first = open_all(path);
  OK(lsm_close(first.db, NULL));
  handles second = open_all(path);
  all_answer(&first, LSM_E_CLOSED);
  CHECK(value_holds(first.value) && has(second.ks, NULL, "k", "value"));
  /* a handle of one in a call on the other */
  CHECK(lsm_write(second.db, NULL, first.batch, NULL, NULL) < 0);
  CHECK(lsm_flush(second.db, first.ks, NULL) < 0);
  CHECK(lsm_batch_put(second.batch, first.ks, "a", 1, "b", 1, NULL) < 0);
  OK(lsm_close(second.db, NULL));
  OK(lsm_destroy(path, NULL));
  CHECK(value_holds(first.value) && value_holds(second.value));
  lsm_value_release(first.value), lsm_value_release(second.value);
  lsm_iter_close(first.it), lsm_iter_close(second.it);
  lsm_batch_free(first.batch), lsm_batch_free(second.batch);
  lsm_snapshot_release(first.snapshot), lsm_snapshot_release(second.snapshot);
}

static lsm_db *shared_db;
static lsm_keyspace *shared_ks;
static int running;
static void *busy(void *argument) {
  uint64_t seed = (uint64_t)(uintptr_t)argument;
  char key[16], buffer[64];
  size_t n;
  lsm_entry e;
  lsm_iter *it = NULL;
  lsm_batch *batch = NULL;
  lsm_write_options fsync_write = LSM_WRITE_OPTIONS_INIT;
  fsync_write.durability = LSM_DURABILITY_FSYNC;
  int32_t code = LSM_OK;
  __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
  while (code >= 0) {
    uint64_t random = next_random(&seed);
    snprintf(key, sizeof key, "%06d", (int)(random % 5000));
    switch ((random >> 32) % 12) {
      case 0: code = lsm_get(shared_ks, NULL, key, 6, buffer, 64, &n, NULL); break;
      case 1: if (!it) code = lsm_iter_open(shared_ks, NULL, &it, NULL); break;
      case 2: if (it) code = lsm_iter_seek(it, (int)(random >> 48) % 6, key, 6, &e, NULL); break;
      case 3: if (it) code = lsm_iter_next(it, &e, NULL); break;
      case 4: if (it) lsm_iter_close(it), it = NULL; break;
      case 5: if (!batch) code = lsm_batch_new(shared_db, &batch, NULL); break;
      case 6: if (batch) code = lsm_batch_put(batch, shared_ks, key, 6, "batch", 5, NULL); break;
      case 7: if (batch) { code = lsm_write(shared_db, NULL, batch, NULL, NULL); lsm_batch_free(batch), batch = NULL; } break;
      case 8: if (random % 64 == 0) code = lsm_flush(shared_db, NULL, NULL); break;
      case 9: if (random % 64 == 0) code = lsm_put(shared_ks, &fsync_write, key, 6, "s", 1, NULL); break;
      case 10: if (random % 256 == 0) code = lsm_compact(shared_ks, NULL, 0, NULL, 0, NULL); break;
      default: code = lsm_put(shared_ks, NULL, key, 6, "a value to write", 16, NULL);
    }
  }
  CHECK(code == LSM_E_CLOSED);
  if (code != LSM_E_CLOSED) fprintf(stderr, "  a thread ended with %s\n", lsm_code_name(code));
  if (it) CLOSED(lsm_iter_next(it, &e, NULL)), lsm_iter_close(it);
  lsm_batch_free(batch);
  return NULL;
}
static void closing_under_load(void) {
  const char *path = fresh("load");
  for (int round = 0; round < (quick ? 3 : 25); round++) {
    pthread_t threads[8];
    shared_db = open_or_die(path), shared_ks = lsm_default_keyspace(shared_db), running = 0;
    for (uintptr_t i = 0; i < 8; i++) pthread_create(&threads[i], NULL, busy, (void *)(i + 1 + 100u * (unsigned)round));
    while (__atomic_load_n(&running, __ATOMIC_SEQ_CST) < 8) usleep(100);
    usleep((unsigned)(round * 997 % 20000));
    OK(lsm_close(shared_db, NULL));
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
  }
}
/* Two closers: one closes, the other hears CLOSED. */
static int32_t close_codes[4];
static void *closer(void *argument) {
  close_codes[(uintptr_t)argument] = lsm_close(shared_db, NULL);
  return NULL;
}
static void closing_twice_at_once(void) {
  const char *path = fresh("twice");
  for (int round = 0; round < (quick ? 3 : 20); round++) {
    pthread_t threads[4];
    shared_db = open_or_die(path);
    for (uintptr_t i = 0; i < 4; i++) pthread_create(&threads[i], NULL, closer, (void *)i);
    int winners = 0;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) winners += close_codes[i] == LSM_OK, CHECK(close_codes[i] == LSM_OK || close_codes[i] == LSM_E_CLOSED);
    CHECK(winners == 1);
  }
}

static int child_failed(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0)) fprintf(stderr, "  child status %x\n", status);
  return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
static void *writer(void *stop) {
  char key[16];
  for (int i = 0; !__atomic_load_n((int *)stop, __ATOMIC_RELAXED); i++) {
    snprintf(key, sizeof key, "w%06d", i % 10000);
    lsm_put(shared_ks, NULL, key, 7, "a value", 7, NULL);
    lsm_iter *it;
    if (i % 8 == 0 && lsm_iter_open(shared_ks, NULL, &it, NULL) == LSM_OK) lsm_iter_close(it);
  }
  return NULL;
}
static void forking(void) {
  const char *path = fresh("fork"), *others = fresh("fork-child");
  handles h = open_all(path);
  int stop = 0;
  pthread_t threads[2];
  shared_ks = h.ks;
  /* AddressSanitizer's allocator (gcc 12) is not made for forks: a child whose parent had a thread inside it waits for
     ever at its first malloc. */
  int writers = getenv("LSM_SANITIZED") ? 0 : 2;
  for (int i = 0; i < writers; i++) pthread_create(&threads[i], NULL, writer, &stop);
  for (int round = 0; round < (quick ? 3 : 30); round++) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
      checks_failed = 0;
      alarm(50);
      all_answer(&h, LSM_E_FORKED);
      CHECK(value_holds(h.value));
      CHECK(lsm_snapshot_sequence(h.snapshot) == 0 || 1);
      lsm_iter_close(h.it), lsm_batch_free(h.batch), lsm_snapshot_release(h.snapshot), lsm_value_release(h.value);
      lsm_keyspace_release(h.side);
      CODE(lsm_close(h.db, NULL), LSM_E_FORKED);
      CODE(lsm_close(h.db, NULL), LSM_E_FORKED);
      /* a database of its own; the parent's folder is still the parent's */
      lsm_db *mine = NULL;
      CODE(lsm_open(path, NULL, &mine, NULL), LSM_E_LOCKED);
      OK(lsm_open(others, NULL, &mine, NULL));
      lsm_error *err = NULL;
      int32_t wrote = lsm_put(lsm_default_keyspace(mine), NULL, "child", 5, "wrote", 5, &err);
      if (wrote) fprintf(stderr, "  in the child: %s\n", lsm_error_message(err));
      OK(wrote);
      OK(lsm_flush(mine, NULL, NULL));
      CHECK(has(lsm_default_keyspace(mine), NULL, "child", "wrote"));
      OK(lsm_close(mine, NULL));
      if (round % 2) exit(checks_failed ? 1 : 0); /* with atexit handlers and destructors */
      _exit(checks_failed ? 1 : 0);
    }
    CHECK(!child_failed(child));
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < writers; i++) pthread_join(threads[i], NULL);
  /* a child that lives on does not keep the folder locked */
  int pipes[2];
  CHECK(pipe(pipes) == 0);
  pid_t child = fork();
  if (child == 0) {
    char byte;
    close(pipes[1]);
    _exit(read(pipes[0], &byte, 1) == 0 ? 0 : 1);
  }
  close(pipes[0]);
  CHECK(has(h.ks, NULL, "k", "value"));
  OK(lsm_close(h.db, NULL));
  lsm_db *again = NULL;
  OK(lsm_open(path, NULL, &again, NULL));
  CHECK(has(lsm_default_keyspace(again), NULL, "k", "value"));
  OK(lsm_close(again, NULL));
  close(pipes[1]);
  CHECK(!child_failed(child));
  lsm_iter_close(h.it), lsm_batch_free(h.batch), lsm_snapshot_release(h.snapshot), lsm_value_release(h.value);
}

/* ---- the log callback ---- */
typedef struct {
  int inside, lines, overlaps, drops, wrong;
  lsm_db *db;
  lsm_keyspace *ks;
} log_state;
static void on_log(void *ctx, int32_t level, const char *message, size_t len) LSM_NOEXCEPT {
  log_state *s = ctx;
  if (__atomic_add_fetch(&s->inside, 1, __ATOMIC_SEQ_CST) != 1) s->overlaps++;
  s->lines++;
  if (level < 0 || level > 3 || message[len] != 0 || strlen(message) != len || strchr(message, '\n')) s->wrong++;
  lsm_db *db = __atomic_load_n(&s->db, __ATOMIC_ACQUIRE), *opened;
  if (db) {
    if (put(s->ks, "from inside", "a callback") != LSM_E_BUSY) s->wrong++;
    if (lsm_close(db, NULL) != LSM_E_BUSY) s->wrong++;
    if (lsm_open("nowhere", NULL, &opened, NULL) != LSM_E_BUSY) s->wrong++;
  }
  usleep(50);
  __atomic_sub_fetch(&s->inside, 1, __ATOMIC_SEQ_CST);
}
static void on_drop(void *ctx) LSM_NOEXCEPT { ((log_state *)ctx)->drops++; }
static void logging(void) {
  log_state s;
  memset(&s, 0, sizeof s);
  lsm_options *o = lsm_options_new();
  lsm_log_callbacks table = {sizeof table, &s, on_drop, on_log};
  OK(lsm_options_set_callbacks(o, "log", &table, NULL));
  memset(&table, 0xff, sizeof table); /* it was copied */
  lsm_db *db;
  const char *path = fresh("log");
  OK(lsm_open(path, o, &db, NULL));
  s.ks = lsm_default_keyspace(db);
  __atomic_store_n(&s.db, db, __ATOMIC_RELEASE);
  lsm_options_free(o);
  CHECK(s.drops == 0);
  for (int i = 0; i < 50; i++) {
    OK(put(s.ks, "key", "value"));
    OK(lsm_flush(db, NULL, NULL));
  }
  OK(lsm_compact(s.ks, NULL, 0, NULL, 0, NULL));
  OK(lsm_close(db, NULL));
  CHECK(s.lines > 0 && s.overlaps == 0 && s.wrong == 0 && s.drops == 1);
  if (s.overlaps || s.wrong || s.drops != 1) fprintf(stderr, "  log: %d lines %d overlaps %d wrong %d drops\n", s.lines, s.overlaps, s.wrong, s.drops);
  /* no LOG file beside the callback; a bag never used drops it, too */
  s.db = NULL, s.drops = 0;
  o = lsm_options_new();
  lsm_log_callbacks other = {sizeof other, &s, on_drop, on_log};
  OK(lsm_options_set_callbacks(o, "log", &other, NULL));
  lsm_options *clone = lsm_options_clone(o);
  lsm_options_free(o);
  CHECK(s.drops == 0);
  lsm_options_free(clone);
  CHECK(s.drops == 1);
  /* set twice: the first is dropped; refused: not dropped */
  s.drops = 0;
  o = lsm_options_new();
  OK(lsm_options_set_callbacks(o, "log", &other, NULL));
  OK(lsm_options_set_callbacks(o, "log", &other, NULL));
  CHECK(s.drops == 1);
  other.size = 12;
  INVALID(lsm_options_set_callbacks(o, "log", &other, NULL));
  CHECK(s.drops == 1);
  lsm_options_free(o);
  CHECK(s.drops == 2);
}

/* ---- nothing grows ---- */
static int count_in(const char *folder) {
  DIR *d = opendir(folder);
  int count = 0;
  while (readdir(d)) count++;
  closedir(d);
  return count;
}
static long resident(void) {
  FILE *f = fopen("/proc/self/status", "r");
  char line[200];
  long kib = 0;
  while (fgets(line, sizeof line, f)) sscanf(line, "VmRSS: %ld", &kib);
  fclose(f);
  return kib;
}
static void cycles(void) {
  const char *path = fresh("cycles");
  int fds = 0, tasks = 0, total = quick ? 20 : 1000, warm = quick ? 5 : 100;
  long rss = 0;
  for (int i = 0; i < total; i++) {
    if (i == warm) fds = count_in("/proc/self/fd"), tasks = count_in("/proc/self/task"), rss = resident();
    lsm_db *db = open_or_die(path);
    lsm_keyspace *ks = lsm_default_keyspace(db), *side;
    lsm_iter *it;
    lsm_entry e;
    lsm_snapshot *s;
    lsm_batch *b;
    char key[16];
    snprintf(key, sizeof key, "%d", i);
    OK(put(ks, key, "value"));
    CHECK(has(ks, NULL, key, "value"));
    if (i % 10 == 0) {
      OK(lsm_keyspace_open(db, "side", NULL, &side, NULL));
      OK(lsm_iter_open(ks, NULL, &it, NULL));
      OK(lsm_iter_next(it, &e, NULL));
      OK(lsm_snapshot_new(db, &s, NULL));
      OK(lsm_batch_new(db, &b, NULL));
      OK(lsm_batch_put(b, side, "k", 1, "v", 1, NULL));
      OK(lsm_write(db, NULL, b, NULL, NULL));
      OK(lsm_close(db, NULL));
      lsm_iter_close(it), lsm_snapshot_release(s), lsm_batch_free(b);
    } else {
      OK(lsm_close(db, NULL));
    }
    lsm_db *missing;
    lsm_options *o = lsm_options_new();
    OK(lsm_options_set(o, "error_if_exists", "true", NULL));
    CODE(lsm_open(path, o, &missing, NULL), LSM_E_EXISTS);
    lsm_options_free(o);
  }
  long grown = resident() - rss;
  CHECK(count_in("/proc/self/fd") == fds && count_in("/proc/self/task") == tasks);
  if (!getenv("LSM_SANITIZED")) CHECK(grown < 16 * 1024);
  printf("%d opens: %d descriptors, %d tasks, resident %ld KiB, grown %ld KiB\n", total, count_in("/proc/self/fd"), count_in("/proc/self/task"), resident(), grown);
  lsm_db *db = open_or_die(path);
  for (int i = 0; i < total; i++) {
    char key[16];
    snprintf(key, sizeof key, "%d", i);
    CHECK(has(lsm_default_keyspace(db), NULL, key, "value"));
  }
  /* handles, keyspaces, errors within one open */
  for (int part = 0; part < 2; part++) {
    if (part == 1) rss = resident();
    for (int i = 0; i < (quick ? 100 : 20000); i++) {
      lsm_iter *it;
      lsm_batch *b;
      lsm_snapshot *s;
      lsm_value *v;
      lsm_error *err = NULL;
      const uint8_t *data;
      size_t n;
      lsm_keyspace *ks = lsm_default_keyspace(db);
      OK(lsm_iter_open(ks, NULL, &it, NULL));
      OK(lsm_batch_new(db, &b, NULL));
      OK(lsm_batch_put(b, ks, "k", 1, "v", 1, NULL));
      OK(lsm_snapshot_new(db, &s, NULL));
      OK(lsm_get_pinned(ks, NULL, "1", 1, &v, &data, &n, NULL));
      INVALID(lsm_put(ks, NULL, NULL, 1, NULL, 0, &err));
      lsm_error_free(err), lsm_iter_close(it), lsm_batch_free(b), lsm_snapshot_release(s), lsm_value_release(v);
    }
  }
  grown = resident() - rss;
  printf("handles: grown %ld KiB\n", grown);
  if (!getenv("LSM_SANITIZED")) CHECK(grown < 4096);
  for (int i = 0; i < (quick ? 20 : 600); i++) {
    lsm_keyspace *k;
    if (i == 100) rss = resident();
    OK(lsm_keyspace_open(db, "come and go", NULL, &k, NULL));
    OK(put(k, "k", "v"));
    OK(lsm_keyspace_drop(db, "come and go", NULL));
  }
  grown = resident() - rss;
  printf("keyspaces: grown %ld KiB\n", grown);
  if (!getenv("LSM_SANITIZED") && !quick) CHECK(grown < 32 * 1024);
  OK(lsm_close(db, NULL));
}

static void run(void) {
  closing();
  closing_under_load();
  closing_twice_at_once();
  forking();
  logging();
  cycles();
}
