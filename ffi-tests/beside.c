/* liblsm.a and another Rust library in one program: both work, and each catches its own panics. */
#include "check.h"

int64_t beside_sum(uint64_t n);

static void run(void) {
  lsm_db *db = open_or_die(fresh("beside"));
  lsm_keyspace *ks = lsm_default_keyspace(db);
  CHECK(beside_sum(10) == 45);
  OK(put(ks, "a", "1"));
  CHECK(beside_sum(7) == -7);
  CHECK(has(ks, NULL, "a", "1"));
  OK(lsm_flush(db, NULL, NULL));
  OK(lsm_close(db, NULL));
  CHECK(beside_sum(3) == 3);
}
