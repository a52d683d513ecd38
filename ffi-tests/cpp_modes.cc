// lsm.hpp in three modes in one program (C++11, C++17, C++17 without exceptions): the linker must not take a function of one
// for that of another. PART 0 is the main file, 1 to 3 the modes.
#include "lsm.hpp"

#include <string>

std::string part1(const char *path);
std::string part2(const char *path);
std::string part3(const char *path);

#if PART == 0
#include "check.h"
static void run(void) {
  CHECK(part1(fresh("modes-1")) == "1 thrown");
  CHECK(part2(fresh("modes-2")) == "2 thrown");
  CHECK(part3(fresh("modes-3")) == "3 returned");
}
#else
#define NAME_(n) part##n
#define NAME(n) NAME_(n)
std::string NAME(PART)(const char *path) {
#if defined(LSM_NO_EXCEPTIONS)
  lsm::result<lsm::db> db = lsm::db::open(path);
  if (!db || !db->put("part", std::to_string(PART))) return "failed";
  const std::string value = **db->get("part");
  return value + (db->put(std::string(70000, 'k'), "") ? " accepted" : " returned");
#else
  lsm::db db = lsm::db::open(path);
  db.put("part", std::to_string(PART));
  const std::string value = *db.get("part");
  try {
    db.put(std::string(70000, 'k'), "");
  } catch (const lsm::error &) {
    return value + " thrown";
  }
  return value + " accepted";
#endif
}
#endif
