/* kill -9 at random moments while examples-c/load_tree loads a real folder: whatever was acknowledged is there after a
 * reopen, with the bytes of its file, and nothing else is.
 *
 * The example itself is compiled in; its lsm_write also notes, in shared memory, how many files were acknowledged. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/mman.h>

#include <lsm.h>

static volatile size_t *acknowledged; /* shared with the child */

static int32_t noted_write(lsm_db *db, const lsm_write_options *options, lsm_batch *batch, uint64_t *seq, lsm_error **err) {
  size_t count = lsm_batch_count(batch);
  int32_t code = lsm_write(db, options, batch, seq, err);
  if (code == LSM_OK) __atomic_add_fetch(acknowledged, count, __ATOMIC_RELEASE);
  return code;
}
#define lsm_write noted_write
#define main load_tree_main
#include "../examples-c/load_tree.c"
#undef main
#undef lsm_write
#include "check.h"

#include <signal.h>
#include <sys/wait.h>

/* Whether the file `key` still has these bytes; one that changed under the test is no witness. */
static int is_file(const lsm_entry *e) {
  char name[4096];
  if (e->key_len >= sizeof name) return 0;
  memcpy(name, e->key, e->key_len);
  name[e->key_len] = 0;
  FILE *file = fopen(name, "rb");
  if (file == NULL) return 0;
  char *bytes = malloc(e->value_len + 1);
  size_t got = fread(bytes, 1, e->value_len + 1, file);
  int is_same = got == e->value_len && memcmp(bytes, e->value, got) == 0;
  free(bytes);
  fclose(file);
  return is_same;
}

static void load_and_die(const char *path, const char *root, uint64_t micros) {
  *acknowledged = 0;
  pid_t child = fork();
  if (child == 0) {
    char *arguments[] = {(char *)"load_tree", (char *)root, NULL};
    setenv("LSM_DB", path, 1);
    if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL) _exit(1);
    _exit(load_tree_main(2, arguments));
  }
  usleep((useconds_t)micros);
  kill(child, SIGKILL);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

static void run(void) {
  const char *root = getenv("TREE") != NULL ? getenv("TREE") : "/usr/share";
  uint64_t random = 7;
  size_t most = 0;
  acknowledged = mmap(NULL, sizeof *acknowledged, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(acknowledged != MAP_FAILED);
  for (int round = 0; round < (quick ? 3 : 12); round++) {
    const char *path = fresh("kill-tree");
    lsm_db *found = NULL;
    lsm_iter *it = NULL;
    lsm_entry e;
    size_t here = 0;
    load_and_die(path, root, 200000 + next_random(&random) % 900000);
    size_t told = __atomic_load_n(acknowledged, __ATOMIC_ACQUIRE);
    OK(lsm_open(path, NULL, &found, NULL));
    OK(lsm_iter_open(lsm_default_keyspace(found), NULL, &it, NULL));
    while (lsm_iter_next(it, &e, NULL) == LSM_OK) CHECK(is_file(&e)), here++;
    lsm_iter_close(it);
    /* A batch that the kill met on its way back may be there; it is whole then. */
    CHECK(here >= told);
    OK(lsm_close(found, NULL));
    OK(lsm_destroy(path, NULL));
    if (told > most) most = told;
  }
  CHECK(most > 0);
  printf("  up to %zu files acknowledged before a kill\n", most);
}
