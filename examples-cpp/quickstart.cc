// lsm.hpp in one page: open, put, get, a batch over two keyspaces, ranges both ways, a snapshot, a pinned value.
//   c++ -std=c++17 quickstart.cc $(pkg-config --cflags --libs lsm) && ./a.out people.db
#include <lsm.hpp>

#include <iostream>

int main(int argc, char **argv) {
  try {
    lsm::db db = lsm::db::open(argc > 1 ? argv[1] : "people.db", lsm::options().cache_size(64 << 20));
    db.put("ada", "Countess of Lovelace");
    db.put("alan", "Turing", lsm::sync);  // on the device when it returns
    if (auto ada = db.get("ada")) std::cout << "ada: " << *ada << "\n";
    std::cout << "bob: " << (db.contains("bob") ? "here" : "not here") << "\n";

    // All or nothing, across keyspaces.
    lsm::keyspace cities = db.open_keyspace("cities");
    lsm::batch batch = db.new_batch();
    batch.put("grace", "Hopper");
    batch.put(cities, "grace", "Arlington");
    batch.erase("alan");
    db.write(batch);

    lsm::snapshot before = db.new_snapshot();
    db.put("zuse", "Konrad");
    for (auto [key, value] : db.all()) std::cout << key << " = " << value << "\n";
    for (auto [key, value] : db.prefix("a")) std::cout << "starts with a: " << key << " = " << value << "\n";
    for (auto [key, value] : db.range("b", "z").reversed()) std::cout << "b to z, backwards: " << key << " = " << value << "\n";
    std::cout << "zuse in the snapshot: " << (db.contains("zuse", before) ? "yes" : "no") << "\n";

    if (auto city = cities.get_pinned("grace")) std::cout << "grace lives in " << city->view() << ", not copied\n";
    db.close();  // or let it end: this way a failure is told
  } catch (const lsm::error &why) {
    std::cerr << why.name() << ": " << why.what() << "\n";
    return 1;
  }
}
