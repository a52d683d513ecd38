// What lsm.hpp costs over the C calls it makes: the same work both ways, taking turns, the best of several rounds each.
//   c++ -std=c++17 -O2 figures.cc $(pkg-config --cflags --libs lsm) && ./a.out figures.db [entries]
#include <lsm.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

static std::size_t entries = 100000;
static const int rounds = 7;

static void make_key(char *key, std::size_t i) {
  std::size_t number = i * 7919 % entries;
  for (int at = 14; at >= 0; at--, number /= 10) key[at] = static_cast<char>('0' + number % 10);
}

// Nanoseconds an operation, the best of the rounds.
template <class C, class Cpp>
static void compare(const char *what, C c, Cpp cpp) {
  double best[2] = {1e300, 1e300};
  std::size_t found[2] = {0, 0};
  for (int round = 0; round < 2 * rounds; round++) {
    const auto start = std::chrono::steady_clock::now();
    found[round % 2] = round % 2 ? cpp() : c();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    best[round % 2] = std::min(best[round % 2], took.count() / static_cast<double>(entries));
  }
  if (found[0] != found[1]) std::fprintf(stderr, "%s: %zu and %zu\n", what, found[0], found[1]), std::exit(1);
  std::printf("%-34s C %7.1f ns   C++ %7.1f ns   %+.0f %%\n", what, best[0], best[1], 100 * (best[1] / best[0] - 1));
}

int main(int argc, char **argv) {
  const char *path = argc > 1 ? argv[1] : "figures.db";
  if (argc > 2) entries = static_cast<std::size_t>(std::atol(argv[2]));
  lsm::db db = lsm::db::open(path);
  lsm_keyspace *ks = db.raw_keyspace();
  const std::string value(100, 'v');
  char key[16];

  compare("put, 100 bytes",
          [&] {
            for (std::size_t i = 0; i < entries; i++) {
              make_key(key, i);
              if (lsm_put(ks, nullptr, key, 15, value.data(), value.size(), nullptr) != LSM_OK) std::exit(1);
            }
            return entries;
          },
          [&] {
            for (std::size_t i = 0; i < entries; i++) {
              make_key(key, i);
              db.put(lsm::view(key, 15), value);
            }
            return entries;
          });
  db.flush();
  compare("get into a buffer",
          [&] {
            char buffer[256];
            std::size_t sum = 0, size = 0;
            for (std::size_t i = 0; i < entries; i++) {
              make_key(key, i);
              if (lsm_get(ks, nullptr, key, 15, buffer, sizeof buffer, &size, nullptr) == LSM_OK) sum += size;
            }
            return sum;
          },
          [&] {
            char buffer[256];
            std::size_t sum = 0;
            for (std::size_t i = 0; i < entries; i++) {
              make_key(key, i);
              if (auto size = db.get_into(lsm::view(key, 15), buffer, sizeof buffer)) sum += *size;
            }
            return sum;
          });
  compare("get pinned",
          [&] {
            std::size_t sum = 0;
            for (std::size_t i = 0; i < entries; i++) {
              make_key(key, i);
              lsm_value *pin = nullptr;
              const std::uint8_t *data = nullptr;
              std::size_t size = 0;
              if (lsm_get_pinned(ks, nullptr, key, 15, &pin, &data, &size, nullptr) == LSM_OK) sum += size + data[0];
              lsm_value_release(pin);
            }
            return sum;
          },
          [&] {
            std::size_t sum = 0;
            for (std::size_t i = 0; i < entries; i++) {
              make_key(key, i);
              if (auto pin = db.get_pinned(lsm::view(key, 15))) sum += pin->size() + static_cast<unsigned char>(pin->view()[0]);
            }
            return sum;
          });
  compare("scan, C one call an entry",
          [&] {
            std::size_t sum = 0;
            lsm_iter *it = nullptr;
            lsm_entry e;
            if (lsm_iter_open(ks, nullptr, &it, nullptr) != LSM_OK) std::exit(1);
            while (lsm_iter_next(it, &e, nullptr) == LSM_OK) sum += e.key_len + e.value[0];
            lsm_iter_close(it);
            return sum;
          },
          [&] {
            std::size_t sum = 0;
            for (auto [k, v] : db.all()) sum += k.size() + static_cast<unsigned char>(v[0]);
            return sum;
          });
  compare("scan, C 64 entries a call",
          [&] {
            std::size_t sum = 0, n = 0;
            lsm_iter *it = nullptr;
            lsm_entry e[64];
            if (lsm_iter_open(ks, nullptr, &it, nullptr) != LSM_OK) std::exit(1);
            while (lsm_iter_read(it, LSM_FORWARD, e, 64, &n, nullptr) == LSM_OK) {
              for (std::size_t i = 0; i < n; i++) sum += e[i].key_len + e[i].value[0];
            }
            lsm_iter_close(it);
            return sum;
          },
          [&] {
            std::size_t sum = 0;
            for (auto [k, v] : db.all()) sum += k.size() + static_cast<unsigned char>(v[0]);
            return sum;
          });
  db.close();
  lsm::db::destroy(path);
}
