// The header and the library from C++: types, initialisers, noexcept callbacks, RAII by unique_ptr.
#include <memory>
#include <string>
#include <vector>

#include "check.h"

#if __cplusplus >= 201703L
static_assert(std::is_same<lsm_drop_fn, void (*)(void *) noexcept>::value, "callbacks are noexcept in C++17");
#endif

struct close_db { void operator()(lsm_db *db) const { OK(lsm_close(db, nullptr)); } };
struct close_iter { void operator()(lsm_iter *it) const { lsm_iter_close(it); } };
struct free_options { void operator()(lsm_options *o) const { lsm_options_free(o); } };

static void run() {
  std::unique_ptr<lsm_options, free_options> options(lsm_options_new());
  OK(lsm_options_set(options.get(), "cache.size", "8MiB", nullptr));
  lsm_db *raw = nullptr;
  OK(lsm_open(fresh("cxx"), options.get(), &raw, nullptr));
  std::unique_ptr<lsm_db, close_db> db(raw);
  lsm_keyspace *ks = lsm_default_keyspace(db.get());
  lsm_write_options w = LSM_WRITE_OPTIONS_INIT;
  w.durability = LSM_DURABILITY_FSYNC;
  std::vector<std::string> keys = {"one", "three", "two"};
  for (const auto &key : keys) OK(lsm_put(ks, &w, key.data(), key.size(), key.data(), key.size(), nullptr));
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  r.prefix = "t", r.prefix_len = 1;
  lsm_iter *raw_iter = nullptr;
  OK(lsm_iter_open(ks, &r, &raw_iter, nullptr));
  std::unique_ptr<lsm_iter, close_iter> it(raw_iter);
  std::vector<std::string> found;
  lsm_entry e;
  while (lsm_iter_next(it.get(), &e, nullptr) == LSM_OK)
    found.emplace_back(reinterpret_cast<const char *>(e.value), e.value_len);
  CHECK(found == std::vector<std::string>({"three", "two"}));
}
