/* Keyspaces: separate orders of keys in one database, written together. */
#include "example.h"

int main(int argc, char **argv) {
  const char *path = example_path(argc, argv, "keyspaces");
  lsm_error *err = NULL;
  lsm_db *db = NULL;
  lsm_keyspace *users = NULL, *by_mail = NULL;
  MUST(lsm_open(path, NULL, &db, &err));
  MUST(lsm_keyspace_open(db, "users", NULL, &users, &err));
  MUST(lsm_keyspace_open(db, "users.by_mail", NULL, &by_mail, &err));

  /* A record and its index entry, in one batch. */
  lsm_batch *batch = NULL;
  MUST(lsm_batch_new(db, &batch, &err));
  MUST(lsm_batch_put(batch, users, "7", 1, "Ada, ada@example.org", 20, &err));
  MUST(lsm_batch_put(batch, by_mail, "ada@example.org", 15, "7", 1, &err));
  MUST(lsm_write(db, NULL, batch, NULL, &err));
  lsm_batch_free(batch);

  char id[16], record[64];
  size_t id_len = 0, len = 0;
  MUST(lsm_get(by_mail, NULL, "ada@example.org", 15, id, sizeof id, &id_len, &err));
  MUST(lsm_get(users, NULL, id, id_len, record, sizeof record, &len, &err));
  printf("%.*s\n", (int)len, record);

  lsm_list *names = NULL;
  MUST(lsm_keyspace_list(db, &names, &err));
  size_t count = lsm_list_len(names);
  for (size_t i = 0; i < count; i++) printf("keyspace %s\n", lsm_list_get(names, i));
  lsm_list_free(names);

  lsm_keyspace_release(by_mail);
  MUST(lsm_keyspace_drop(db, "users.by_mail", &err));
  MUST(lsm_close(db, &err));
  MUST(lsm_destroy(path, &err));
  return count == 3 && len == 20 ? 0 : 1;
}
