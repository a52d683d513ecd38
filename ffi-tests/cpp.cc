// lsm.hpp: every class, in every mode. Built with gcc and clang as C++11 to C++23, with and without exceptions; one source, so
// that both modes are held to the same. GET takes a value out of what a method returns, DO is for methods without one, FAILS
// wants a code.
#include "lsm.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>
#if __cplusplus >= 202002L
#include <ranges>
#endif

#include "check.h"

#if defined(LSM_NO_EXCEPTIONS)
template <class T>
static T must(lsm::result<T> r, const char *what, int line) {
  if (!r) fprintf(stderr, "line %d: %s: %s: %s\n", line, what, r.why().name(), r.why().message()), exit(1);
  return std::move(*r);
}
static void must(lsm::result<void> r, const char *what, int line) {
  if (!r) fprintf(stderr, "line %d: %s: %s: %s\n", line, what, r.why().name(), r.why().message()), exit(1);
}
#define GET(call) must((call), #call, __LINE__)
#define DO(call) must((call), #call, __LINE__)
#define FAILS(call, want) CODE((call).code(), want)
#else
#define GET(call) (call)
#define DO(call) (call)
#define FAILS(call, want)                                \
  do {                                                   \
    int32_t thrown = LSM_OK;                             \
    try {                                                \
      (void)(call);                                      \
    } catch (const lsm::error &why) {                    \
      thrown = why.code();                               \
      CHECK(why.what()[0] != 0 && why.name()[0] == 'L'); \
    }                                                    \
    check_code(thrown, want, #call, __FILE__, __LINE__); \
  } while (0)
#endif

typedef std::vector<std::pair<std::string, std::string>> pairs;

static pairs collect(lsm::range entries) {
  pairs all;
  for (const lsm::entry &e : entries) all.emplace_back(std::string(e.key), std::string(e.value));
  CODE(entries.why().code(), LSM_OK);
  return all;
}

static lsm::db fill(const char *name, unsigned count) {
  lsm::db db = GET(lsm::db::open(fresh(name), lsm::options().cache_size(8 << 20).memtable_size(1 << 20)));
  for (unsigned i = 0; i < count; i++) {
    char key[16];
    snprintf(key, sizeof key, "k%05u", i);
    DO(db.put(key, std::to_string(i)));
  }
  return db;
}

static void views() {
  const lsm::view none, empty(""), text("abc"), zero("a\0b", 3);
  CHECK(none.data() == nullptr && none.size() == 0 && none == empty && empty.data() != nullptr);
  CHECK(text == std::string("abc") && text != zero && zero < text && zero.size() == 3 && text[1] == 'b');
  CHECK(std::string(zero) == std::string("a\0b", 3) && std::string(none).empty());
  CHECK(text.compare("abd") < 0 && text.compare("ab") > 0 && text.compare("abc") == 0);
  const lsm::view high("\xff", 1);
  CHECK(text < high);  // bytes, not chars
  CHECK(std::string(text.begin(), text.end()) == "abc");
  const uint8_t raw[2] = {7, 0};
  CHECK(lsm::bytes(raw, 2).size() == 2);
  lsm::maybe<std::string> a, b(std::string("x"));
  CHECK(!a && !a.has_value() && b && *b == "x" && b->size() == 1);
  a = b;
  CHECK(a && b && *a == "x");
  lsm::maybe<std::string> c(std::move(a)), d(c);
  CHECK(*c == "x" && *d == "x");
  c = lsm::maybe<std::string>();
  CHECK(!c);
  d.reset();
  CHECK(!d);
}

static void reads_and_writes() {
  const char *path = fresh("cpp");
  lsm::db db = GET(lsm::db::open(path));
  DO(db.put("one", "1"));
  DO(db.put(std::string("two"), std::string(1000, '2'), lsm::sync));
  DO(db.put("", ""));
  DO(db.put("gone", "x", lsm::write_options(lsm::durability::os).deadline(std::chrono::seconds(5))));
  DO(db.erase("gone"));
  DO(db.erase("never", lsm::durability::memory));
  const lsm::maybe<std::string> one = GET(db.get("one")), two = GET(db.get("two")), gone = GET(db.get("gone"));
  CHECK(one && *one == "1");
  CHECK(two && *two == std::string(1000, '2'));  // beyond what get() keeps on the stack
  CHECK(!gone);
  for (size_t size : {255u, 256u, 257u}) {
    DO(db.put("edge", std::string(size, 'e')));
    CHECK(*GET(db.get("edge")) == std::string(size, 'e'));
  }
  DO(db.erase("edge"));
  CHECK(GET(db.get(""))->empty());
  char buffer[4] = "???";
  CHECK(*GET(db.get_into("two", buffer, 2)) == 1000 && memcmp(buffer, "22?", 3) == 0);
  CHECK(!GET(db.get_into("gone", buffer, 2)));
  CHECK(GET(db.contains("one")) && !GET(db.contains("gone")));

  lsm::maybe<lsm::pinned> held = GET(db.get_pinned("two"));
  CHECK(held && held->size() == 1000 && held->view() == lsm::view(*two) && held->str() == *two);
  CHECK(!GET(db.get_pinned("gone")));
  const std::vector<std::string> keys = {"two", "gone", "", "one"};
  const std::vector<lsm::maybe<lsm::pinned>> many = GET(db.multi_get(keys));
  CHECK(many.size() == 4 && many[0]->size() == 1000 && !many[1] && many[2]->size() == 0 && many[3]->view() == "1");
  CHECK(GET(db.multi_get(std::vector<const char *>())).empty());

  FAILS(db.put(std::string(70000, 'k'), "v"), LSM_E_INVALID);
  FAILS(db.multi_get(std::vector<std::string>{"one", std::string(70000, 'k')}), LSM_E_INVALID);
  FAILS(lsm::db::open(path), LSM_E_LOCKED);
  FAILS(lsm::db::destroy(path), LSM_E_LOCKED);
  const std::string cut = path + std::string("\0x", 2);
  FAILS(lsm::db::open(cut), LSM_E_INVALID);
  FAILS(lsm::db::destroy(cut), LSM_E_INVALID);
  FAILS(lsm::db::repair(cut), LSM_E_INVALID);

  lsm::db moved(std::move(db));
  CHECK(GET(moved.contains("one")));
  FAILS(db.put("one", "2"), LSM_E_INVALID);  // also what a keyspace can do: nothing of it is left behind
  FAILS(db.get("one"), LSM_E_INVALID);
  CHECK(db.raw() == nullptr && db.raw_keyspace() == nullptr);
  db = std::move(moved);
  FAILS(moved.put("one", "2"), LSM_E_INVALID);
  moved = std::move(db);
  CHECK(*GET(moved.get("one")) == "1");
  lsm::pinned given(std::move(*held));
  CHECK(given.size() == 1000 && held->size() == 0 && held->str().empty());
  *held = std::move(given);
  DO(moved.close());
  FAILS(moved.close(), LSM_E_CLOSED);
  FAILS(moved.put("a", "b"), LSM_E_CLOSED);
  CHECK(held->view() == lsm::view(*two));  // outlives the database
  lsm::db again = GET(lsm::db::open(path, lsm::options().create_if_missing(false)));
  CHECK(*GET(again.get("two")) == *two);
  DO(again.close());
  DO(lsm::db::destroy(path));
  FAILS(lsm::db::open(path, lsm::options().create_if_missing(false)), LSM_E_IO);
}

static void batches() {
  lsm::db db = GET(lsm::db::open(fresh("cpp-batch")));
  lsm::keyspace people = GET(db.open_keyspace("people"));
  lsm::batch b = GET(db.new_batch());
  DO(b.put("a", "1"));
  DO(b.put(people, "a", "2"));
  DO(b.erase("b"));
  DO(b.erase(people, "b"));
  CHECK(b.count() == 4 && b.size_bytes() > 0);
  CHECK(!GET(db.get("a")));
  const uint64_t seq = GET(db.write(b, lsm::sync));
  CHECK(seq == GET(db.sequence()).committed && GET(db.sequence()).durable >= seq);
  CHECK(*GET(db.get("a")) == "1" && *GET(people.get("a")) == "2");
  lsm::packed p;
  p.put("pa", "x").put(std::string(300, 'k'), "").erase("a");
  CHECK(!p.empty() && p.data().size() == 3 * 8 + 3 + 300 + 1);
  DO(b.append(people, p));
  DO(b.append(p));
  CHECK(b.count() == 10);
  CHECK(GET(people.write(p)) == seq + 3);
  CHECK(!GET(people.get("a")) && GET(people.get(std::string(300, 'k')))->empty() && *GET(people.get("pa")) == "x");
  CHECK(*GET(db.get("a")) == "1");
  p.clear();
  CHECK(p.empty());
  b.clear();
  CHECK(b.count() == 0);
  FAILS(db.write_packed("broken"), LSM_E_INVALID);
  p.put("big", lsm::view("x", 0xffffffffu));  // not looked at: it is too long for the form
  FAILS(db.write(p), LSM_E_INVALID);
  p.clear();
  lsm::db other = GET(lsm::db::open(fresh("cpp-other")));
  FAILS(other.write(b), LSM_E_INVALID);
  DO(db.close());
  FAILS(b.put("late", "x"), LSM_E_CLOSED);
}

static void ranges() {
  lsm::db db = fill("cpp-range", 300);
  pairs all = collect(GET(db.all()));
  CHECK(all.size() == 300 && all[0].first == "k00000" && all[299].second == "299");
  pairs back = collect(GET(db.all(lsm::direction::backward)));
  CHECK(pairs(back.rbegin(), back.rend()) == all);
  CHECK(collect(GET(db.all()).reversed()) == back);
  CHECK(collect(GET(db.range("k00010", "k00020"))) == pairs(all.begin() + 10, all.begin() + 20));
  CHECK(collect(GET(db.range(lsm::view(), "k00020"))).size() == 20);
  CHECK(collect(GET(db.range("k00290", lsm::view()))).size() == 10);
  CHECK(collect(GET(db.range("x", lsm::view()))).empty());
  CHECK(collect(GET(db.prefix("k0012"))) == pairs(all.begin() + 120, all.begin() + 130));
  CHECK(collect(GET(db.prefix("k0012", lsm::direction::backward)))[0].first == "k00129");
  const pairs keys = collect(GET(db.range(lsm::read_options().lower("k00298").keys_only().no_fill_cache().readahead(4096))));
  CHECK(keys.size() == 2 && keys[1].first == "k00299" && keys[1].second.empty());
#if !defined(LSM_NO_EXCEPTIONS) && __cplusplus >= 201703L
  size_t bound = 0;
  for (auto [key, value] : db.range("k00100", "k00103")) bound += key.size() + value.size();
  CHECK(bound == 3 * 9);
#endif

  // A second loop begins again, also after one that was left early, in both directions.
  for (const lsm::direction way : {lsm::direction::forward, lsm::direction::backward}) {
    lsm::range twice = GET(db.all(way));
    size_t seen = 0;
    for (const lsm::entry &e : twice) {
      (void)e;
      if (++seen == 150) break;
    }
    pairs second;
    for (const lsm::entry &e : twice) second.emplace_back(std::string(e.key), std::string(e.value));
    CHECK(second == (way == lsm::direction::forward ? all : back));
  }
  lsm::range nothing = GET(db.prefix("z"));
  CHECK(nothing.begin() == nothing.end() && !(nothing.begin() != nothing.end()));

  // It shows one moment; its sequence numbers are those of the writes.
  lsm::range before = GET(db.range("k00000", "k00002"));
  DO(db.put("k00000", "new"));
  lsm::range::iterator at = before.begin();
  CHECK(at->value == "0" && at.sequence() == 1);
  at++;
  CHECK((*at).key == "k00001" && at.sequence() == 2);
  ++at;
  CHECK(at == before.end());

  // A failure in the middle ends the loop and is told.
  lsm::range doomed = GET(db.all());
  size_t shown = 0;
#if defined(LSM_NO_EXCEPTIONS)
  for (const lsm::entry &e : doomed) {
    (void)e;
    if (shown++ == 0) DO(db.close());
  }
  CODE(doomed.why().code(), LSM_E_CLOSED);
#else
  int32_t thrown = LSM_OK;
  try {
    for (const lsm::entry &e : doomed) {
      (void)e;
      if (shown++ == 0) db.close();
    }
  } catch (const lsm::error &why) {
    thrown = why.code();
  }
  CODE(thrown, LSM_E_CLOSED);
#endif
  CHECK(shown > 0 && shown < 300);
}

#if __cplusplus >= 202002L
static_assert(std::ranges::input_range<lsm::range>);
static_assert(std::movable<lsm::range> && std::movable<lsm::db> && !std::copyable<lsm::db>);
// (clang before 16 cannot compile the views of libstdc++, with any range.)
#if !defined(__clang__) || __clang_major__ >= 16
static void views_of_ranges() {
  lsm::db db = fill("cpp-views", 20);
  lsm::range entries = GET(db.all());
  size_t sum = 0;
  for (size_t size : entries | std::views::transform([](const lsm::entry &e) { return e.value.size(); }) | std::views::take(12)) {
    sum += size;
  }
  CHECK(sum == 10 + 2 * 2);
}
#define HAS_VIEWS 1
#endif
#endif
#if !defined(HAS_VIEWS)
static void views_of_ranges() {}
#endif

static void cursors_and_snapshots() {
  lsm::db db = fill("cpp-cursor", 100);
  lsm::cursor c = GET(db.cursor());
  CHECK(GET(c.next()) && c.key() == "k00000" && c.value() == "0" && c.sequence() == 1);
  CHECK(GET(c.seek("k00042x")) && c.entry().key == "k00043");
  CHECK(GET(c.seek(LSM_SEEK_LT, "k00042")) && c.key() == "k00041");
  CHECK(GET(c.prev()) && c.key() == "k00040");
  CHECK(GET(c.last()) && c.key() == "k00099" && !GET(c.next()) && GET(c.first()) && !GET(c.prev()));
  lsm_entry some[7];
  CHECK(GET(c.first()));
  CHECK(GET(c.read(lsm::direction::forward, some, 7)) == 7 && lsm::bytes(some[6].key, some[6].key_len) == "k00007");
  FAILS(c.seek(99, "x"), LSM_E_INVALID);
  {
    CHECK(GET(c.first()));
    lsm::cursor given(std::move(c));
    CHECK(given.key() == "k00000" && c.key().empty() && c.sequence() == 0);
    FAILS(c.next(), LSM_E_INVALID);
    c = std::move(given);
  }

  lsm::snapshot then = GET(db.new_snapshot());
  CHECK(then.sequence() == 100);
  DO(db.put("k00000", "later"));
  CHECK(*GET(db.get("k00000", then)) == "0" && *GET(db.get("k00000")) == "later");
  char buffer[8];
  CHECK(*GET(db.get_into("k00000", buffer, sizeof buffer, then)) == 1);
  CHECK(GET(db.get_pinned("k00000", lsm::read_options().snapshot(then).verify_checksums()))->view() == "0");
  CHECK(GET(db.multi_get(std::vector<std::string>{"k00000"}, then))[0]->view() == "0");
  CHECK(collect(GET(db.range(lsm::read_options(then).upper("k00001"))))[0].second == "0");
  DO(c.refresh());
  CHECK(GET(c.next()) && c.value() == "later");
  CHECK(*GET(db.get("k00001", lsm::read_options().deadline(std::chrono::seconds(10)).max_skip(9))) == "1");
}

static void keyspaces_and_maintenance() {
  lsm::db db = GET(lsm::db::open(fresh("cpp-admin")));
  lsm::keyspace people = GET(db.open_keyspace("people", lsm::options().compression("none")));
  DO(people.put("ada", "Countess", lsm::sync));
  CHECK(!GET(db.get("ada")) && *GET(people.get("ada")) == "Countess");
  CHECK((GET(db.keyspaces()) == std::vector<std::string>{"default", "people"}));
  FAILS(db.open_keyspace("none", lsm::options().create_if_missing(false)), LSM_NOT_FOUND);
  DO(db.flush(people));
  DO(db.flush());
  DO(people.compact());
  DO(db.compact("a", "b"));
  CHECK(GET(people.approximate()).keys == 1 && GET(people.approximate("b", "c")).keys == 0);
  DO(db.sync());
  DO(db.clear_cache());
  CHECK(*GET(db.property_number("flush.jobs_run")) > 0 && !GET(db.property_number("no such thing")));
  CHECK(*GET(db.property_number(people, "keys.estimate")) == 1);
  CHECK(!GET(db.property("stats"))->empty() && !GET(db.property("no such thing")));
  CHECK(GET(db.property(people, "levels"))->size() > 0);
  CHECK(GET(db.metrics()).find("lsm_") != std::string::npos && GET(db.metrics(LSM_METRICS_JSON))[0] == '{');
  FAILS(db.metrics(9), LSM_E_INVALID);
  CHECK(GET(db.drop_keyspace("people")) && !GET(db.drop_keyspace("people")));
  FAILS(db.drop_keyspace("default"), LSM_E_INVALID);
  // What a NUL inside would cut to another name is refused.
  const std::string cut("levels\0x", 8);
  FAILS(db.open_keyspace(cut), LSM_E_INVALID);
  FAILS(db.drop_keyspace(cut), LSM_E_INVALID);
  FAILS(db.property(cut), LSM_E_INVALID);
  FAILS(db.property_number(cut), LSM_E_INVALID);
  FAILS(people.get("ada"), LSM_E_CLOSED);
}

// Sound, then with a byte turned: found, mended, sound again.
static void damage() {
  const char *path = fresh("cpp-damage");
  lsm::db db = GET(lsm::db::open(path, lsm::options().compression("none")));
  for (unsigned i = 0; i < 1000; i++) DO(db.put("key" + std::to_string(i), "value"));
  DO(db.flush());
  DO(db.resume());
  lsm::verification found = GET(db.verify());
  CHECK(found.is_sound && found.report.find("\"sound\"") != std::string::npos);
  FAILS(lsm::db::repair(path), LSM_E_LOCKED);
  DO(db.close());
  FAILS(db.verify(), LSM_E_CLOSED);
  FAILS(db.resume(), LSM_E_CLOSED);
  const std::string table = std::string("find ") + path + " -name '*.sst' -exec dd if=/dev/zero of={} bs=1 seek=200 count=8 conv=notrunc status=none ';'";
  CHECK(system(table.c_str()) == 0);
  lsm::db hurt = GET(lsm::db::open(path));
  found = GET(hurt.verify());
  CHECK(!found.is_sound && found.report.find("\"damaged\"") != std::string::npos);
  DO(hurt.close());
  CHECK(GET(lsm::db::repair(path)).find("\"repaired\"") != std::string::npos);
  lsm::db mended = GET(lsm::db::open(path));
  CHECK(GET(mended.verify()).is_sound);
}

static std::atomic<int> lines;
struct counter {
  std::shared_ptr<int> alive;
  explicit counter(std::shared_ptr<int> a) : alive(std::move(a)) {}
  void operator()(lsm::log_level level, lsm::view line) {
    if (level <= lsm::log_level::debug && !line.empty()) lines++;
#if !defined(LSM_NO_EXCEPTIONS)
    throw 7;  // must not reach the library
#endif
  }
};

static void bags() {
  lsm::options o;
  o.set("memtable.size", "16MiB").set("filter.fpr", 0.02).set("cache.size", 1 << 20).load("# a comment\nflush.threads = 1\n");
  o.error_if_exists(true).durability(lsm::durability::fsync);
  CHECK(GET(o.get("memtable.size")) == "16MiB" && GET(o.get("durability")) == "fsync");
  CHECK(GET(o.dump()).find("error_if_exists") != std::string::npos);
  FAILS(o.get("no.such.key"), LSM_E_INVALID);
  const lsm::options copy(o);
  CHECK(GET(copy.get("memtable.size")) == "16MiB" && copy.raw() != o.raw());
#if defined(LSM_NO_EXCEPTIONS)
  lsm::options wrong;
  wrong.set("no.such.key", "1").set("cache.size", "1MiB");
  CODE(wrong.why().code(), LSM_E_INVALID);
  lsm::result<lsm::db> refused = lsm::db::open(fresh("cpp-refused"), wrong);
  CODE(refused.code(), LSM_E_INVALID);
  CHECK(strstr(refused.why().message(), "no.such.key") != nullptr);
  FAILS(lsm::db::open(fresh("cpp-refused"), wrong), LSM_E_INVALID);  // and it stays so
  FAILS(lsm::db::open(fresh("cpp-refused"), lsm::options(wrong)), LSM_E_INVALID);
  CHECK(!refused.why().is_fatal() && !refused.why().is_retryable() && !refused.why().is_background());
  const lsm::result<std::string> constant = o.get("memtable.size");
  CHECK(constant && *constant == "16MiB" && constant->size() == 5 && constant.value()[0] == '1');
#else
  try {
    o.set("no.such.key", "1");
    CHECK(false);
  } catch (const lsm::error &why) {
    CHECK(why.code() == LSM_E_INVALID && strstr(why.what(), "no.such.key") != nullptr);
  }
  try {
    GET(lsm::db::open(fresh("cpp-message"))).cursor().seek(99, "x");
    CHECK(false);
  } catch (const lsm::error &why) {
    CHECK(strcmp(why.what(), "LSM_E_INVALID") != 0);
  }
  FAILS(o.set("cache.size", -1), LSM_E_INVALID);
  const std::string cut("cache.size\0x", 12);
  FAILS(o.set(cut, "1MiB"), LSM_E_INVALID);
  FAILS(o.set(cut, 1), LSM_E_INVALID);
  FAILS(o.set("durability", std::string("os\0x", 4)), LSM_E_INVALID);
  FAILS(o.get(cut), LSM_E_INVALID);
#endif
  std::shared_ptr<int> alive = std::make_shared<int>(1);
  {
    lsm::db db = GET(lsm::db::open(fresh("cpp-log"), lsm::options().log(counter(alive))));
    DO(db.put("a", "b"));
    DO(db.flush());
    CHECK(alive.use_count() == 2);
  }
  CHECK(lines > 0 && alive.use_count() == 1);
  FAILS(lsm::db::open("/no/such/folder/db"), LSM_E_IO);
#if !defined(LSM_NO_EXCEPTIONS)
  try {
    lsm::db::open("/no/such/folder/db");
    CHECK(false);
  } catch (const lsm::error &why) {
    CHECK(why.os() == ENOENT && strcmp(why.name(), "LSM_E_IO") == 0 && strstr(why.what(), "/no/such/folder/db"));
    CHECK(!why.is_background() && !why.is_fatal() && !why.is_retryable());
  }
#else
  lsm::result<lsm::db> missing = lsm::db::open("/no/such/folder/db");
  CHECK(missing.why().os() == ENOENT && strstr(missing.why().message(), "/no/such/folder/db"));
#endif
}

// One database handle from many threads; a database moved between them; handles that outlive it.
static void threads() {
  lsm::db db = GET(lsm::db::open(fresh("cpp-threads")));
  std::vector<std::thread> all;
  const unsigned each = quick ? 50 : 500;
  for (unsigned t = 0; t < 4; t++) {
    all.emplace_back([&db, t, each] {
      for (unsigned i = 0; i < each; i++) {
        const std::string key = std::to_string(t) + "-" + std::to_string(i);
        DO(db.put(key, key));
        CHECK(*GET(db.get(key)) == key);
      }
    });
  }
  for (std::thread &one : all) one.join();
  CHECK(collect(GET(db.all())).size() == 4 * each);
  lsm::batch late = GET(db.new_batch());
  lsm::snapshot old = GET(db.new_snapshot());
  lsm::range entries = GET(db.all());
  std::thread([](lsm::db mine) { DO(mine.put("moved", "here")); }, std::move(db)).join();
  FAILS(late.put("a", "b"), LSM_E_CLOSED);
  CHECK(old.sequence() == 0 || old.sequence() == 4 * each);
}

static void run() {
  views();
  reads_and_writes();
  batches();
  ranges();
  views_of_ranges();
  cursors_and_snapshots();
  keyspaces_and_maintenance();
  damage();
  bags();
  threads();
}
