/* What a host and its file system may do to an open database: odd files in the folder, tables unlinked under an iterator,
 * descriptors used up, the folder taken away, signals, exit without close. Row numbers: docs/reliability.md. */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

static void fill(lsm_db *db, int from, int to) {
  for (int i = from; i < to; i++) {
    char key[16], value[200];
    snprintf(key, sizeof key, "key%06d", i);
    memset(value, 'a' + i % 26, sizeof value - 1);
    value[sizeof value - 1] = 0;
    OK(put(lsm_default_keyspace(db), key, value));
  }
}
static long count(lsm_iter *it) {
  lsm_entry e;
  long n = 0;
  int32_t code;
  while ((code = lsm_iter_next(it, &e, NULL)) == LSM_OK) n++;
  CHECK(code == LSM_END);
  return n;
}

/* Row 17. */
static void odd_files(void) {
  const char *path = fresh("odd"), *outside = fresh("outside");
  const char *names[] = {"7.sst", "000001.sst.bak", "000001.SST", "MANIFEST-1", "CURRENT.old", "a b\nc", "\xff\xfe", "LOG.9", "notes.txt"};
  char file[4200], link[4200];
  lsm_db *db = open_or_die(path);
  fill(db, 0, 100);
  OK(lsm_close(db, NULL));
  FILE *f = fopen(outside, "w");
  CHECK(f != NULL && fputs("not yours", f) >= 0 && fclose(f) == 0);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(file, sizeof file, "%s/%s", path, names[i]);
    CHECK((f = fopen(file, "w")) != NULL && fputs("mine", f) >= 0 && fclose(f) == 0);
  }
  snprintf(file, sizeof file, "%s/sub", path);
  CHECK(mkdir(file, 0700) == 0);
  snprintf(file, sizeof file, "%s/link", path);
  CHECK(symlink(outside, file) == 0);
  /* Names of ours that are not files of ours: never followed to the outside. */
  snprintf(link, sizeof link, "%s/900000.tmp", path);
  CHECK(symlink(outside, link) == 0);
  db = open_or_die(path);
  fill(db, 100, 200);
  OK(lsm_compact(lsm_default_keyspace(db), NULL, 0, NULL, 0, NULL));
  OK(lsm_close(db, NULL));
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(file, sizeof file, "%s/%s", path, names[i]);
    CHECK(access(file, F_OK) == 0);
  }
  snprintf(file, sizeof file, "%s/sub", path);
  CHECK(access(file, F_OK) == 0);
  char text[32] = "";
  CHECK((f = fopen(outside, "r")) != NULL && fgets(text, sizeof text, f) != NULL && fclose(f) == 0);
  CHECK(strcmp(text, "not yours") == 0);
  /* CURRENT as a link to the outside, and one that names a manifest elsewhere, are refused. */
  char current[4200], kept[4200];
  snprintf(current, sizeof current, "%s/CURRENT", path);
  snprintf(kept, sizeof kept, "%s/kept", path);
  CHECK(rename(current, kept) == 0 && symlink(kept, current) == 0);
  CODE(lsm_open(path, NULL, &db, NULL), LSM_E_CORRUPTION);
  CHECK(unlink(current) == 0 && (f = fopen(current, "w")) != NULL);
  CHECK(fputs("liblsm 1\ndatabase 00000000000000000000000000000001\nmanifest ../MANIFEST-000001\nlength at-least 1\ncrc 00000000\n", f) >= 0);
  CHECK(fclose(f) == 0);
  CODE(lsm_open(path, NULL, &db, NULL), LSM_E_CORRUPTION);
  CHECK(rename(kept, current) == 0);
  db = open_or_die(path);
  OK(lsm_close(db, NULL));
}

/* Row 22. */
static void unlinked_tables(void) {
  const char *path = fresh("unlinked");
  char all[4200];
  lsm_db *db = open_or_die(path);
  lsm_iter *it = NULL;
  lsm_entry e;
  glob_t g;
  fill(db, 0, 5000);
  OK(lsm_flush(db, NULL, NULL));
  OK(lsm_iter_open(lsm_default_keyspace(db), NULL, &it, NULL));
  OK(lsm_iter_next(it, &e, NULL));
  snprintf(all, sizeof all, "%s/*.sst", path);
  CHECK(glob(all, 0, NULL, &g) == 0);
  for (size_t i = 0; i < g.gl_pathc; i++) CHECK(unlink(g.gl_pathv[i]) == 0);
  globfree(&g);
  CHECK(count(it) == 4999);
  lsm_iter_close(it);
  char *report = NULL;
  CODE(lsm_verify(db, &report, NULL), LSM_E_CORRUPTION);
  CHECK(strstr(report, "missing") != NULL);
  lsm_free(report);
  lsm_close(db, NULL);
}

/* Row 12: no descriptor is left for a while; nothing is lost and nothing is stuck. */
static void no_descriptors(void) {
  const char *path = fresh("descriptors");
  struct rlimit before, none;
  lsm_db *db = open_or_die(path);
  fill(db, 0, 2000);
  CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
  none = before, none.rlim_cur = 3;
  CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
  lsm_error *err = NULL;
  int32_t code = lsm_flush(db, NULL, &err);
  CHECK(code == LSM_E_IO && lsm_error_os(err) == EMFILE && (lsm_error_flags(err) & LSM_ERROR_RETRYABLE));
  lsm_error_free(err);
  CHECK(has(lsm_default_keyspace(db), NULL, "key000001", NULL) == 0);
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
  OK(lsm_resume(db, NULL));
  OK(lsm_flush(db, NULL, NULL));
  fill(db, 2000, 2100);
  OK(lsm_close(db, NULL));
  db = open_or_die(path);
  lsm_iter *it = NULL;
  OK(lsm_iter_open(lsm_default_keyspace(db), NULL, &it, NULL));
  CHECK(count(it) == 2100);
  lsm_iter_close(it);
  OK(lsm_close(db, NULL));
}

/* Row 21: the folder is gone. Errors, no crash, and close works. */
static void folder_removed(void) {
  const char *path = fresh("removed"), *away = fresh("away");
  lsm_db *db = open_or_die(path);
  lsm_error *err = NULL;
  fill(db, 0, 500);
  CHECK(rename(path, away) == 0);
  CODE(lsm_flush(db, NULL, &err), LSM_E_IO);
  CHECK(lsm_error_os(err) == ENOENT && strstr(lsm_error_message(err), path) != NULL);
  lsm_error_free(err);
  CHECK(has(lsm_default_keyspace(db), NULL, "key000001", NULL) == 0);
  CHECK(lsm_close(db, NULL) != LSM_OK);
  db = open_or_die(away);
  lsm_iter *it = NULL;
  OK(lsm_iter_open(lsm_default_keyspace(db), NULL, &it, NULL));
  CHECK(count(it) == 500);
  lsm_iter_close(it);
  OK(lsm_close(db, NULL));
}

/* Row 34. */
static pthread_t host_thread;
static volatile sig_atomic_t alarms, strangers;
static void on_alarm(int number) {
  (void)number;
  alarms++;
  if (!pthread_equal(pthread_self(), host_thread)) strangers++;
}
static void signals(void) {
  const char *path = fresh("signals");
  struct sigaction action, before, pipe_before, pipe_after;
  struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
  memset(&action, 0, sizeof action);
  action.sa_handler = on_alarm; /* no SA_RESTART: calls are interrupted */
  host_thread = pthread_self();
  CHECK(sigaction(SIGPIPE, NULL, &pipe_before) == 0);
  CHECK(sigaction(SIGALRM, &action, &before) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
  lsm_db *db = open_or_die(path);
  lsm_write_options synced = LSM_WRITE_OPTIONS_INIT;
  synced.durability = LSM_DURABILITY_FSYNC;
  for (int round = 0; round < (quick ? 3 : 10); round++) {
    fill(db, round * 500, round * 500 + 500);
    for (int i = 0; i < 20; i++) OK(lsm_put(lsm_default_keyspace(db), &synced, "s", 1, "v", 1, NULL));
    OK(lsm_flush(db, NULL, NULL));
  }
  OK(lsm_compact(lsm_default_keyspace(db), NULL, 0, NULL, 0, NULL));
  OK(lsm_close(db, NULL));
  /* An alarm that is on its way is thrown away: by default it would end the process. */
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0 && signal(SIGALRM, SIG_IGN) != SIG_ERR);
  CHECK(sigaction(SIGALRM, &before, NULL) == 0);
  CHECK(alarms > 3);
  CHECK(strangers == 0); /* a host's handler never runs on a thread of the library */
  CHECK(sigaction(SIGPIPE, NULL, &pipe_after) == 0 && pipe_after.sa_handler == pipe_before.sa_handler);
}

/* Row 32. */
static void *writer(void *argument) {
  lsm_db *db = (lsm_db *)argument;
  for (int i = 0;; i++) {
    char key[16];
    snprintf(key, sizeof key, "%d", i);
    if (lsm_put(lsm_default_keyspace(db), NULL, key, strlen(key), key, strlen(key), NULL) != LSM_OK) return NULL;
  }
}
static void exit_without_close(void) {
  const char *path = fresh("exit");
  int rounds = quick ? 3 : 60;
  for (int round = 0; round < rounds; round++) {
    pid_t child = fork();
    if (child == 0) {
      pthread_t threads[2];
      lsm_db *db = NULL;
      if (lsm_open(path, NULL, &db, NULL) != LSM_OK) _exit(3);
      for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, writer, db) != 0) _exit(4);
      usleep(1000 * (round % 10));
      exit(0); /* destructors run; the threads write on */
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  lsm_db *db = open_or_die(path);
  OK(lsm_close(db, NULL));
}

/* Row 24: memory that the caller's sizes ask for and the system refuses. */
static long address_space(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (f == NULL) return 0;
  if (fscanf(f, "%ld", &pages) != 1) pages = 0;
  fclose(f);
  return pages * sysconf(_SC_PAGESIZE);
}
static int refused_memory(const char *path) {
  size_t large = (size_t)400 << 20;
  char *value = calloc(1, large);
  lsm_db *db = NULL;
  lsm_batch *batch = NULL;
  struct rlimit limit;
  if (value == NULL || lsm_open(path, NULL, &db, NULL) != LSM_OK || lsm_batch_new(db, &batch, NULL) != LSM_OK) return 2;
  lsm_keyspace *ks = lsm_default_keyspace(db);
  if (put(ks, "a", "b") != LSM_OK) return 3;
  limit.rlim_cur = limit.rlim_max = (rlim_t)address_space() + ((rlim_t)150 << 20);
  if (setrlimit(RLIMIT_AS, &limit) != 0) return 4;
  if (lsm_put(ks, NULL, "k", 1, value, large, NULL) != LSM_E_NOMEM) return 5;
  if (lsm_batch_put(batch, ks, "k", 1, value, large, NULL) != LSM_E_NOMEM) return 6;
  if (lsm_batch_count(batch) != 0) return 7;
  if (lsm_write_packed(ks, NULL, value, large, NULL, NULL) == LSM_OK) return 8;
  /* It goes on as before. */
  if (put(ks, "c", "d") != LSM_OK || !has(ks, NULL, "a", "b") || !has(ks, NULL, "k", NULL)) return 9;
  return lsm_close(db, NULL) == LSM_OK ? 0 : 10;
}
static void no_memory(void) {
  const char *path = fresh("memory");
  pid_t child = fork();
  if (child == 0) _exit(refused_memory(path));
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fprintf(stderr, "refused_memory: status %x\n", (unsigned)status);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void run(void) {
  odd_files();
  unlinked_tables();
  no_descriptors();
  folder_removed();
  signals();
  if (getenv("LSM_SANITIZED") == NULL) {
    exit_without_close();
    no_memory();
  }
}
