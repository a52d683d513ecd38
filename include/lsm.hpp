/** @file lsm.hpp
 * lsm.hpp: liblsm from C++11 and better, over lsm.h and nothing else: no library of its own, no state, each method one C call.
 *
 * - Handles are move-only objects that close, release or free what they hold. A moved-from object answers
 *   LSM_E_INVALID. Whatever lives longer than its database answers LSM_E_CLOSED; pinned values stay readable.
 * - Keys and values are `lsm::view`: std::string_view from C++17 on, before that a class of our own that does the same.
 * - A failure is thrown as `lsm::error`. With LSM_NO_EXCEPTIONS (or -fno-exceptions) nothing throws and every method that can
 *   fail returns an `lsm::result<T>` instead of a `T`: below, `returns<T>` is the one or the other. "Not found" is no
 *   failure: such methods give an `lsm::maybe<T>`, which is std::optional from C++17 on.
 * - Threads: as lsm.h says for the handle inside: database, keyspace, snapshot and pinned value any number at once; batch,
 *   cursor, range and options one at a time.
 */
#ifndef LSM_HPP
#define LSM_HPP

#include "lsm.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#if __cplusplus >= 201703L
#include <optional>
#include <string_view>
#define LSM_DETAIL_NODISCARD [[nodiscard]]
#else
#define LSM_DETAIL_NODISCARD
#endif

#if !defined(LSM_NO_EXCEPTIONS) && !defined(__cpp_exceptions) && !defined(__EXCEPTIONS)
/** Defined by the program, or here where the compiler has exceptions switched off: methods return lsm::result. */
#define LSM_NO_EXCEPTIONS 1
#endif

/* The same names mean other types in another mode: programs may mix modes, so each has its own inner namespace. */
#if __cplusplus >= 201703L && defined(LSM_NO_EXCEPTIONS)
#define LSM_DETAIL_MODE cpp17_result
#elif __cplusplus >= 201703L
#define LSM_DETAIL_MODE cpp17
#elif defined(LSM_NO_EXCEPTIONS)
#define LSM_DETAIL_MODE cpp11_result
#else
#define LSM_DETAIL_MODE cpp11
#endif

/** liblsm from C++. */
namespace lsm {
inline namespace LSM_DETAIL_MODE {

#if __cplusplus >= 201703L
/** Bytes of somebody else. A default one, without a pointer, means "unbounded" where a bound is asked for. */
using view = std::string_view;
/** A value or none. */
template <class T>
using maybe = std::optional<T>;
#else
/** Bytes of somebody else. A default one, without a pointer, means "unbounded" where a bound is asked for. */
class view {
 public:
  /** No bytes, no pointer. */
  constexpr view() noexcept : data_(nullptr), size_(0) {}
  /** `size` bytes at `data`. */
  constexpr view(const char *data, std::size_t size) noexcept : data_(data), size_(size) {}
  /** A text that ends in NUL, without the NUL. */
  view(const char *text) noexcept : data_(text), size_(std::strlen(text)) {}
  /** The bytes of a string, while it lives unchanged. */
  view(const std::string &text) noexcept : data_(text.data()), size_(text.size()) {}
  /** Where the bytes are. */
  constexpr const char *data() const noexcept { return data_; }
  /** How many there are. */
  constexpr std::size_t size() const noexcept { return size_; }
  /** Whether there are none. */
  constexpr bool empty() const noexcept { return size_ == 0; }
  /** The first byte. */
  constexpr const char *begin() const noexcept { return data_; }
  /** After the last byte. */
  constexpr const char *end() const noexcept { return data_ + size_; }
  /** A byte; the index is not checked. */
  constexpr char operator[](std::size_t index) const noexcept { return data_[index]; }
  /** A copy. */
  explicit operator std::string() const { return std::string(size_ ? data_ : "", size_); }
  /** Below 0, 0 or above 0: by bytes, as the database sorts. */
  int compare(view other) const noexcept {
    const std::size_t common = size_ < other.size_ ? size_ : other.size_;
    const int order = common ? std::memcmp(data_, other.data_, common) : 0;
    return order ? order : size_ < other.size_ ? -1 : size_ > other.size_ ? 1 : 0;
  }
  /** The same bytes. */
  friend bool operator==(view a, view b) noexcept { return a.size_ == b.size_ && a.compare(b) == 0; }
  /** Other bytes. */
  friend bool operator!=(view a, view b) noexcept { return !(a == b); }
  /** Sorted before. */
  friend bool operator<(view a, view b) noexcept { return a.compare(b) < 0; }

 private:
  const char *data_;
  std::size_t size_;
};

/** A value or none: what std::optional is from C++17 on. */
template <class T>
class maybe {
 public:
  /** None. */
  maybe() noexcept : none_(0), has_(false) {}
  /** A value. */
  maybe(T value) : value_(std::move(value)), has_(true) {}
  /** Moves a value, or none. */
  maybe(maybe &&other) noexcept(std::is_nothrow_move_constructible<T>::value) : none_(0), has_(false) {
    if (other.has_) put(std::move(other.value_));
  }
  /** Copies a value, or none. */
  maybe(const maybe &other) : none_(0), has_(false) {
    if (other.has_) put(other.value_);
  }
  /** Takes over a value, or none. */
  maybe &operator=(maybe other) noexcept(std::is_nothrow_move_constructible<T>::value) {
    reset();
    if (other.has_) put(std::move(other.value_));
    return *this;
  }
  ~maybe() { reset(); }
  /** Forgets the value. */
  void reset() noexcept {
    if (has_) value_.~T();
    has_ = false;
  }
  /** Whether there is a value. */
  bool has_value() const noexcept { return has_; }
  /** Whether there is a value. */
  explicit operator bool() const noexcept { return has_; }
  /** The value; there must be one. */
  T &operator*() & noexcept { return value_; }
  /** The value; there must be one. */
  const T &operator*() const & noexcept { return value_; }
  /** The value; there must be one. */
  T &&operator*() && noexcept { return std::move(value_); }
  /** The value; there must be one. */
  T *operator->() noexcept { return &value_; }
  /** The value; there must be one. */
  const T *operator->() const noexcept { return &value_; }

 private:
  template <class U>
  void put(U &&value) {
    new (static_cast<void *>(&value_)) T(std::forward<U>(value));
    has_ = true;
  }
  union {
    T value_;
    char none_;
  };
  bool has_;
};
#endif

/** Any bytes as a view: a vector's, a struct's. */
inline view bytes(const void *data, std::size_t size) noexcept { return view(static_cast<const char *>(data), size); }

/** How far a write must have got before its call returns: LSM_DURABILITY_*. */
enum class durability : std::int32_t {
  standard = LSM_DURABILITY_DEFAULT, /**< What the database says. */
  memory = LSM_DURABILITY_MEMORY,    /**< In the process. */
  os = LSM_DURABILITY_OS,            /**< In the page cache. */
  fsync = LSM_DURABILITY_FSYNC       /**< On the device. */
};
/** For `db.put(key, value, lsm::sync)`. */
constexpr durability sync = durability::fsync;

/** Levels of log lines: LSM_LOG_*. */
enum class log_level : std::int32_t {
  error = LSM_LOG_ERROR, /**< Something failed. */
  warn = LSM_LOG_WARN,   /**< Something is worth a look. */
  info = LSM_LOG_INFO,   /**< What the database does. */
  debug = LSM_LOG_DEBUG  /**< Details. */
};

/** Which way a range goes: LSM_FORWARD, LSM_BACKWARD. */
enum class direction : std::int32_t {
  forward = LSM_FORWARD,  /**< From small keys to large ones. */
  backward = LSM_BACKWARD /**< From large keys to small ones. */
};

/** What a call that failed has to say; it holds the lsm_error. */
class failure {
 public:
  /** None. */
  failure() noexcept : code_(LSM_OK) {}
  /** A code, and the error that belongs to it or NULL; takes the error over. */
  failure(std::int32_t code, lsm_error *error) noexcept : code_(code), error_(error) {}
  /** LSM_E_*; LSM_NOT_FOUND of an open of something missing; LSM_OK: nothing failed. */
  std::int32_t code() const noexcept { return code_; }
  /** The code's name, for example "LSM_E_IO". */
  const char *name() const noexcept { return lsm_code_name(code_); }
  /** The errno of the system call that was refused, or 0. */
  std::int32_t os() const noexcept { return lsm_error_os(error_.get()); }
  /** LSM_ERROR_* or-ed. */
  std::uint32_t flags() const noexcept { return lsm_error_flags(error_.get()); }
  /** The same call may succeed later. */
  bool is_retryable() const noexcept { return (flags() & LSM_ERROR_RETRYABLE) != 0; }
  /** No more writes until the database is opened again. */
  bool is_fatal() const noexcept { return (flags() & LSM_ERROR_FATAL) != 0; }
  /** It happened in a background thread. */
  bool is_background() const noexcept { return (flags() & LSM_ERROR_BACKGROUND) != 0; }
  /** For a person; valid while this object lives. */
  const char *message() const noexcept { return error_ ? lsm_error_message(error_.get()) : name(); }

 private:
  struct free_error {
    void operator()(lsm_error *error) const noexcept { lsm_error_free(error); }
  };
  std::int32_t code_;
  std::unique_ptr<lsm_error, free_error> error_;
};

/** What is thrown: code, errno, flags; `what()` is the message. */
class error : public std::runtime_error {
 public:
  /** Says what a failure says. */
  explicit error(const failure &why)
      : std::runtime_error(why.message()), code_(why.code()), os_(why.os()), flags_(why.flags()) {}
  /** LSM_E_*, or LSM_NOT_FOUND of an open of something missing. */
  std::int32_t code() const noexcept { return code_; }
  /** The code's name, for example "LSM_E_IO". */
  const char *name() const noexcept { return lsm_code_name(code_); }
  /** The errno of the system call that was refused, or 0. */
  std::int32_t os() const noexcept { return os_; }
  /** The same call may succeed later. */
  bool is_retryable() const noexcept { return (flags_ & LSM_ERROR_RETRYABLE) != 0; }
  /** No more writes until the database is opened again. */
  bool is_fatal() const noexcept { return (flags_ & LSM_ERROR_FATAL) != 0; }
  /** It happened in a background thread. */
  bool is_background() const noexcept { return (flags_ & LSM_ERROR_BACKGROUND) != 0; }

 private:
  std::int32_t code_;
  std::int32_t os_;
  std::uint32_t flags_;
};

/** What methods return where exceptions are off: a value or a failure. */
template <class T>
class LSM_DETAIL_NODISCARD result {
 public:
  /** A value. */
  result(T value) : value_(std::move(value)) {}
  /** A failure. */
  result(failure why) noexcept : failure_(std::move(why)) {}
  /** Whether there is a value. */
  explicit operator bool() const noexcept { return static_cast<bool>(value_); }
  /** LSM_OK or the failure's code. */
  std::int32_t code() const noexcept { return failure_.code(); }
  /** What failed. */
  const failure &why() const noexcept { return failure_; }
  /** The value; where there is none, the program ends by std::abort. */
  T &value() & noexcept { return checked(); }
  /** The value, to be moved from; where there is none, the program ends by std::abort. */
  T &&value() && noexcept { return std::move(checked()); }
  /** As value(). */
  T &operator*() & noexcept { return checked(); }
  /** As value(). */
  T &&operator*() && noexcept { return std::move(checked()); }
  /** As value(). */
  T *operator->() noexcept { return &checked(); }
  /** As value(). */
  const T &value() const & noexcept { return checked(); }
  /** As value(). */
  const T &operator*() const & noexcept { return checked(); }
  /** As value(). */
  const T *operator->() const noexcept { return &checked(); }

 private:
  T &checked() noexcept {
    if (!value_) std::abort();
    return *value_;
  }
  const T &checked() const noexcept {
    if (!value_) std::abort();
    return *value_;
  }
  failure failure_;
  maybe<T> value_;
};

/** Success or a failure. */
template <>
class LSM_DETAIL_NODISCARD result<void> {
 public:
  /** Success. */
  result() noexcept {}
  /** A failure. */
  result(failure why) noexcept : failure_(std::move(why)) {}
  /** Whether it succeeded. */
  explicit operator bool() const noexcept { return failure_.code() == LSM_OK; }
  /** LSM_OK or the failure's code. */
  std::int32_t code() const noexcept { return failure_.code(); }
  /** What failed. */
  const failure &why() const noexcept { return failure_; }

 private:
  failure failure_;
};

#if defined(LSM_NO_EXCEPTIONS)
/** What a method that can fail returns. */
template <class T>
using returns = result<T>;
#else
/** What a method that can fail returns; it throws lsm::error. */
template <class T>
using returns = T;
#endif

/** Not for programs. */
namespace detail {
#if defined(LSM_NO_EXCEPTIONS)
template <class T>
result<T> fail(std::int32_t code, lsm_error *why) noexcept {
  return result<T>(failure(code, why));
}
inline result<void> ok() noexcept { return result<void>(); }
#else
template <class T>
[[noreturn]] T fail(std::int32_t code, lsm_error *why) {
  throw error(failure(code, why));
}
inline void ok() noexcept {}
#endif
struct free_text {
  void operator()(char *text) const noexcept { lsm_free(text); }
};
using text = std::unique_ptr<char, free_text>;
/* What belongs to a handle beside it and must leave an object together with it: moved from, it is as if made anew. */
template <class T>
struct beside {
  T is;
  explicit beside(T from) noexcept : is(from) {}
  beside(beside &&other) noexcept : is(other.is) { other.is = T(); }
  beside &operator=(beside &&other) noexcept {
    const T from = other.is;
    other.is = T();
    is = from;
    return *this;
  }
  ~beside() = default;
};
/* A text for C. One with a NUL inside would end there and name something else: it is none, which is LSM_E_INVALID. */
inline const char *c_text(const std::string &from) noexcept {
  return std::strlen(from.c_str()) == from.size() ? from.c_str() : nullptr;
}
inline std::uint64_t micros(std::chrono::microseconds time) noexcept {
  return time.count() > 0 ? static_cast<std::uint64_t>(time.count()) : 1u;
}
/* The table of lsm_options::set_callbacks around a callable. */
template <class F>
struct logger {
  static void call(void *ctx, std::int32_t level, const char *message, std::size_t size) noexcept {
    F &f = *static_cast<F *>(ctx);
#if defined(LSM_NO_EXCEPTIONS)
    f(static_cast<log_level>(level), view(message, size));
#else
    try {
      f(static_cast<log_level>(level), view(message, size));
    } catch (...) {  // nothing may unwind into the library, and a log line is worth no terminate
    }
#endif
  }
  static void drop(void *ctx) noexcept { delete static_cast<F *>(ctx); }
};
}  // namespace detail

/** A bag of options. Each setter checks: it throws, or without exceptions keeps the first failure for `why()` and open. */
class options {
 public:
  /** Every option at its default. */
  options() : raw_(lsm_options_new()) {}
  /** A copy, with the same log callback. */
  options(const options &other)
      : raw_(lsm_options_clone(other.raw_.get())), failure_(other.failure_.code(), nullptr) {}
  /** Takes the bag over. */
  options(options &&other) noexcept = default;
  /** Takes the bag over. */
  options &operator=(options &&other) noexcept = default;

  /** Sets an option from text: `set("memtable.size", "64MiB")`. */
  options &set(const std::string &key, const std::string &value) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_options_set(raw_.get(), detail::c_text(key), detail::c_text(value), &err);
    return check(code, err);
  }
  /** Sets an option from text. */
  options &set(const std::string &key, const char *value) { return set(key, std::string(value)); }
  /** Sets an option from an integer or a bool. */
  template <class T, typename std::enable_if<std::is_integral<T>::value, int>::type = 0>
  options &set(const std::string &key, T value) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_options_set_int(raw_.get(), detail::c_text(key), static_cast<std::int64_t>(value), &err);
    return check(code, err);
  }
  /** Sets an option from a fraction. */
  options &set(const std::string &key, double value) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_options_set_float(raw_.get(), detail::c_text(key), value, &err);
    return check(code, err);
  }
  /** Lines `key = value`; all or nothing. */
  options &load(view text) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_options_load(raw_.get(), text.data(), text.size(), &err);
    return check(code, err);
  }
  /** Whether a missing database or keyspace is created (the default). */
  options &create_if_missing(bool on) { return set("create_if_missing", on); }
  /** Whether an existing database is LSM_E_EXISTS. */
  options &error_if_exists(bool on) { return set("error_if_exists", on); }
  /** Opens without writing a byte. */
  options &read_only() { return set("mode", "ro"); }
  /** What a write waits for unless it says so itself. */
  options &durability(lsm::durability level) {
    const char *const names[] = {"os", "memory", "os", "fsync"};
    return set("durability", names[static_cast<int>(level)]);
  }
  /** Bytes of one memtable. */
  options &memtable_size(std::uint64_t size) { return set("memtable.size", size); }
  /** Bytes of the block cache; 0: none. */
  options &cache_size(std::uint64_t size) { return set("cache.size", size); }
  /** "none", "lz4", "zstd" (where built in). */
  options &compression(const std::string &name) { return set("compression", name); }
  /** A callable `void(lsm::log_level, lsm::view line)`, from any thread, never re-entered; what it throws is dropped. It lives
   * as long as the last bag and database that know it. */
  template <class F>
  options &log(F f) {
    std::unique_ptr<F> mine(new F(std::move(f)));
    lsm_log_callbacks table;
    table.size = static_cast<std::uint32_t>(sizeof table);
    table.ctx = mine.get();
    table.drop = &detail::logger<F>::drop;
    table.log = &detail::logger<F>::call;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_options_set_callbacks(raw_.get(), "log", &table, &err);
    if (code == LSM_OK) mine.release();
    return check(code, err);
  }
  /** The canonical text of an option, its default when unset. */
  returns<std::string> get(const std::string &key) const {
    char *raw = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_options_get(raw_.get(), detail::c_text(key), &raw, &err);
    if (code < 0) return detail::fail<std::string>(code, err);
    const detail::text value(raw);
    return std::string(value.get());
  }
  /** The options set explicitly, as lines for load(). */
  returns<std::string> dump() const {
    char *raw = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_options_dump(raw_.get(), &raw, &err);
    if (code < 0) return detail::fail<std::string>(code, err);
    const detail::text lines(raw);
    return std::string(lines.get());
  }
  /** The first failure of a setter; without one its code is LSM_OK. Always so where setters throw. */
  const failure &why() const noexcept { return failure_; }
  /** The C handle; it stays this object's. */
  const lsm_options *raw() const noexcept { return raw_.get(); }

 private:
  friend class db;
  struct free_options {
    void operator()(lsm_options *raw) const noexcept { lsm_options_free(raw); }
  };
  options &check(std::int32_t code, lsm_error *err) {
    if (code >= 0) return *this;
#if defined(LSM_NO_EXCEPTIONS)
    failure now(code, err);
    if (failure_.code() == LSM_OK) failure_ = std::move(now);
#else
    detail::fail<void>(code, err);
#endif
    return *this;
  }
  std::unique_ptr<lsm_options, free_options> raw_;
  mutable failure failure_;  // the first open takes its message along, the code stays
};

/** Per-write settings; a durability is one. */
class write_options {
 public:
  /** The database's durability, no deadline. */
  write_options() noexcept : raw_() { raw_.size = static_cast<std::uint32_t>(sizeof raw_); }
  /** This durability. */
  write_options(lsm::durability level) noexcept : write_options() {
    raw_.durability = static_cast<std::int32_t>(level);
  }
  /** Gives up with LSM_E_TIMEOUT, before any effect, when this has passed since the call began. */
  write_options &deadline(std::chrono::microseconds time) noexcept {
    raw_.deadline_micros = detail::micros(time);
    return *this;
  }
  /** For the C functions. */
  const lsm_write_options *raw() const noexcept { return &raw_; }

 private:
  lsm_write_options raw_;
};

/** A moment of a database. Give it to reads by read_options::snapshot; what was opened with it goes on without it. */
class snapshot {
 public:
  /** The last sequence number that it sees. */
  std::uint64_t sequence() const noexcept { return lsm_snapshot_sequence(raw_.get()); }
  /** The C handle; it stays this object's. */
  lsm_snapshot *raw() const noexcept { return raw_.get(); }

 private:
  friend class db;
  struct release {
    void operator()(lsm_snapshot *raw) const noexcept { lsm_snapshot_release(raw); }
  };
  explicit snapshot(lsm_snapshot *raw) noexcept : raw_(raw) {}
  std::unique_ptr<lsm_snapshot, release> raw_;
};

/** Per-read settings. It keeps the pointers of snapshot, bounds and prefix: they must live until the call that it is for. */
class read_options {
 public:
  /** As of now, everything. */
  read_options() noexcept : raw_() { raw_.size = static_cast<std::uint32_t>(sizeof raw_); }
  /** As of a snapshot. */
  read_options(const lsm::snapshot &moment) noexcept : read_options() { raw_.snapshot = moment.raw(); }
  /** As of a snapshot. */
  read_options &snapshot(const lsm::snapshot &moment) noexcept {
    raw_.snapshot = moment.raw();
    return *this;
  }
  /** First key that iteration shows. */
  read_options &lower(view key) noexcept {
    raw_.lower = key.data(), raw_.lower_len = key.size();
    return *this;
  }
  /** First key that iteration does not show. */
  read_options &upper(view key) noexcept {
    raw_.upper = key.data(), raw_.upper_len = key.size();
    return *this;
  }
  /** Iteration shows only keys that start so. */
  read_options &prefix(view start) noexcept {
    raw_.prefix = start.data(), raw_.prefix_len = start.size();
    return *this;
  }
  /** Blocks that were read do not go into the cache. */
  read_options &no_fill_cache() noexcept { return flag(LSM_READ_NO_FILL_CACHE); }
  /** Blocks are read and checked even when cached. */
  read_options &verify_checksums() noexcept { return flag(LSM_READ_VERIFY_CHECKSUMS); }
  /** Iteration shows no values. */
  read_options &keys_only() noexcept { return flag(LSM_READ_KEYS_ONLY); }
  /** Gives up with LSM_E_TIMEOUT when this has passed since the call began. */
  read_options &deadline(std::chrono::microseconds time) noexcept {
    raw_.deadline_micros = detail::micros(time);
    return *this;
  }
  /** A step over more hidden entries than this is LSM_E_STALLED; 0: no limit. */
  read_options &max_skip(std::uint64_t entries) noexcept {
    raw_.max_skip = entries;
    return *this;
  }
  /** A hint for scans; 0: automatic. */
  read_options &readahead(std::uint32_t size) noexcept {
    raw_.readahead_bytes = size;
    return *this;
  }
  /** For the C functions. */
  const lsm_read_options *raw() const noexcept { return &raw_; }

 private:
  read_options &flag(std::uint32_t bit) noexcept {
    raw_.flags |= bit;
    return *this;
  }
  lsm_read_options raw_;
};

/** A value that was not copied; readable while this object lives, whatever happens to the database. */
class pinned {
 public:
  /** The bytes. */
  lsm::view view() const noexcept { return view_.is; }
  /** How many there are. */
  std::size_t size() const noexcept { return view_.is.size(); }
  /** A copy. */
  std::string str() const { return std::string(view_.is); }

 private:
  template <class>
  friend class operations;
  struct release {
    void operator()(lsm_value *raw) const noexcept { lsm_value_release(raw); }
  };
  pinned(lsm_value *raw, const void *data, std::size_t size) noexcept
      : raw_(raw), view_(size ? bytes(data, size) : bytes("", 0)) {}
  std::unique_ptr<lsm_value, release> raw_;
  detail::beside<lsm::view> view_;
};

/** A key and its value. The bytes belong to the cursor or range that showed them, until its next step. */
struct entry {
  view key;   /**< The key. */
  view value; /**< The value; empty with read_options::keys_only. */
};

/** An iterator as lsm.h has it: steps in both directions, seeks, chunks. For loops, lsm::range is handier. */
class cursor {
 public:
  /** One step forward; true: entry() is the next one, false: past the end. The first step of a fresh cursor goes to the first. */
  returns<bool> next() {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_iter_next(raw_.get(), &now_.is, &err);
    return shown(code, err);
  }
  /** One step back; the first step of a fresh cursor goes to the last entry. */
  returns<bool> prev() {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_iter_prev(raw_.get(), &now_.is, &err);
    return shown(code, err);
  }
  /** To the first entry. */
  returns<bool> first() { return seek(LSM_SEEK_FIRST, lsm::view()); }
  /** To the last entry. */
  returns<bool> last() { return seek(LSM_SEEK_LAST, lsm::view()); }
  /** To the first entry at or above a key. */
  returns<bool> seek(lsm::view key) { return seek(LSM_SEEK_GE, key); }
  /** As LSM_SEEK_* says. */
  returns<bool> seek(std::int32_t where, lsm::view key) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_iter_seek(raw_.get(), where, key.data(), key.size(), &now_.is, &err);
    return shown(code, err);
  }
  /** Up to `max` entries in one call; how many there were, 0 only at the end. Fewer than `max` does not mean the end. */
  returns<std::size_t> read(direction way, lsm_entry *entries, std::size_t max) {
    lsm_error *err = nullptr;
    std::size_t count = 0;
    const std::int32_t code = lsm_iter_read(raw_.get(), static_cast<std::int32_t>(way), entries, max, &count, &err);
    if (code < 0) return detail::fail<std::size_t>(code, err);
    return count;
  }
  /** As if newly opened, over the newest state; a snapshot is dropped, bounds and prefix stay. */
  returns<void> refresh() {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_iter_refresh(raw_.get(), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }
  /** What the last step that gave true showed. */
  lsm::entry entry() const noexcept { return lsm::entry{key(), value()}; }
  /** Its key. */
  lsm::view key() const noexcept { return bytes(now_.is.key, now_.is.key_len); }
  /** Its value. */
  lsm::view value() const noexcept { return bytes(now_.is.value, now_.is.value_len); }
  /** The sequence number of the version shown. */
  std::uint64_t sequence() const noexcept { return now_.is.seq; }
  /** The C handle; it stays this object's. */
  lsm_iter *raw() const noexcept { return raw_.get(); }

 private:
  template <class>
  friend class operations;
  friend class range;
  struct close {
    void operator()(lsm_iter *raw) const noexcept { lsm_iter_close(raw); }
  };
  explicit cursor(lsm_iter *raw) noexcept : now_(lsm_entry()), raw_(raw) {}
  returns<bool> shown(std::int32_t code, lsm_error *err) {
    if (code < 0) return detail::fail<bool>(code, err);
    return code == LSM_OK;
  }
  detail::beside<lsm_entry> now_;
  std::unique_ptr<lsm_iter, close> raw_;
};

/** The entries between two bounds or under a prefix, for a range-based for loop:
 * `for (auto [key, value] : db.range("a", "b"))`. One moment of the database; views are valid until the next step. Entries are
 * fetched some at a time, so a step is rarely a call. Single pass: begin() starts over. Move it before the loop, not in it. A
 * failure throws from begin() or ++; without exceptions the loop ends and why() says it. */
class range {
 public:
  /** An input iterator. */
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag; /**< Single pass. */
    using value_type = lsm::entry;                     /**< What it shows. */
    using difference_type = std::ptrdiff_t;            /**< As iterators must say. */
    using pointer = const lsm::entry *;                /**< As iterators must say. */
    using reference = const lsm::entry &;              /**< As iterators must say. */
    /** The end. */
    iterator() noexcept : range_(nullptr) {}
    /** The entry here. */
    reference operator*() const noexcept { return range_->now_; }
    /** The entry here. */
    pointer operator->() const noexcept { return &range_->now_; }
    /** One step. */
    iterator &operator++() {
      if (!range_->step()) range_ = nullptr;
      return *this;
    }
    /** One step. */
    void operator++(int) { ++*this; }
    /** The sequence number of the version shown. */
    std::uint64_t sequence() const noexcept { return range_->chunk_[range_->at_].seq; }
    /** Both at the end, or neither. */
    friend bool operator==(const iterator &a, const iterator &b) noexcept { return a.range_ == b.range_; }
    /** One at the end. */
    friend bool operator!=(const iterator &a, const iterator &b) noexcept { return a.range_ != b.range_; }

   private:
    friend class range;
    explicit iterator(range *of) noexcept : range_(of) {}
    range *range_;
  };

  /** At the first entry (the last one of a reversed range). */
  iterator begin() {
    at_ = count_ = 0, wanted_ = 4, failure_ = failure();
    if (!is_started_) {
      is_started_ = true;
      return step() ? iterator(this) : iterator();
    }
    const std::int32_t where = way_ == direction::forward ? LSM_SEEK_FIRST : LSM_SEEK_LAST;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_iter_seek(cursor_.raw(), where, nullptr, 0, chunk_.get(), &err);
    count_ = code == LSM_OK ? 1 : 0;
    return settle(code, err) ? iterator(this) : iterator();
  }
  /** The end. */
  iterator end() const noexcept { return iterator(); }
  /** The same range in the other direction. */
  range reversed() && noexcept {
    way_ = way_ == direction::forward ? direction::backward : direction::forward;
    return std::move(*this);
  }
  /** What ended the loop where nothing is thrown; its code is LSM_OK at the end of the range. */
  const failure &why() const noexcept { return failure_; }

 private:
  template <class>
  friend class operations;
  static constexpr std::size_t chunk_max() noexcept { return 64; }
  explicit range(cursor from, direction way) : cursor_(std::move(from)), chunk_(new lsm_entry[chunk_max()]), way_(way) {}
  /* The next entry of the chunk, or of the next chunk; chunks grow, so that a short loop fetches little. */
  bool step() {
    if (++at_ < count_) return show();
    lsm_error *err = nullptr;
    const std::size_t wanted = wanted_;
    wanted_ = wanted * 2 < chunk_max() ? wanted * 2 : chunk_max();
    count_ = 0;
    const std::int32_t code = lsm_iter_read(cursor_.raw(), static_cast<std::int32_t>(way_), chunk_.get(), wanted, &count_, &err);
    return settle(code, err);
  }
  bool settle(std::int32_t code, lsm_error *err) {
    at_ = 0;
    if (code == LSM_OK) return show();
    if (code < 0) {
#if defined(LSM_NO_EXCEPTIONS)
      failure_ = failure(code, err);
#else
      detail::fail<void>(code, err);
#endif
    }
    return false;
  }
  bool show() noexcept {
    const lsm_entry &from = chunk_[at_];
    now_.key = bytes(from.key, from.key_len);
    now_.value = bytes(from.value, from.value_len);
    return true;
  }
  cursor cursor_;
  std::unique_ptr<lsm_entry[]> chunk_;
  lsm::entry now_;
  direction way_;
  bool is_started_ = false;
  std::size_t at_ = 0, count_ = 0, wanted_ = 4;
  failure failure_;
};

/** Puts and deletes encoded by the program, for one keyspace, written as one batch by one call: the cheapest way in. */
class packed {
 public:
  /** Adds a put. What is too long for the database makes the write of all LSM_E_INVALID. */
  packed &put(view key, view value) {
    head(key.size(), clamp(value.size()));
    tail(key), tail(value);
    return *this;
  }
  /** Adds a delete. */
  packed &erase(view key) {
    head(key.size(), 0xffffffffu);
    tail(key);
    return *this;
  }
  /** Forgets all and keeps the memory. */
  void clear() noexcept { bytes_.clear(); }
  /** Whether there is nothing in it. */
  bool empty() const noexcept { return bytes_.empty(); }
  /** The encoded form. */
  view data() const noexcept { return bytes_; }

 private:
  /* A length beyond 32 bits becomes one that is refused, never another key's. */
  static std::uint32_t clamp(std::size_t size) noexcept {
    return size < 0xfffffffeu ? static_cast<std::uint32_t>(size) : 0xfffffffeu;
  }
  void head(std::size_t key, std::uint32_t value) {
    char both[8];
    const std::uint32_t numbers[2] = {clamp(key), value};
    for (unsigned i = 0; i < 8; i++) both[i] = static_cast<char>(numbers[i / 4] >> (8 * (i % 4)) & 0xffu);
    bytes_.append(both, sizeof both);
  }
  void tail(view bytes) {
    if (bytes.size() != 0 && bytes.size() < 0xfffffffeu) bytes_.append(bytes.data(), bytes.size());
  }
  std::string bytes_;
};

/** About what lies between two keys. */
struct estimate {
  std::uint64_t bytes; /**< On disk. */
  std::uint64_t keys;  /**< How many. */
};

/** What a keyspace can do, and a database with its default keyspace. `Self` has `lsm_keyspace *raw_keyspace()`. */
template <class Self>
class operations {
 public:
  /** Puts a value under a key, replacing an older one. */
  returns<void> put(view key, view value) { return put(nullptr, key, value); }
  /** Puts with settings: `put(key, value, lsm::sync)`. */
  returns<void> put(view key, view value, const write_options &how) { return put(how.raw(), key, value); }
  /** Deletes a key; not an error when there is none. */
  returns<void> erase(view key) { return erase(nullptr, key); }
  /** Deletes with settings. */
  returns<void> erase(view key, const write_options &how) { return erase(how.raw(), key); }
  /** Writes all or nothing; gives the sequence number of the last one. */
  returns<std::uint64_t> write(const packed &all, const write_options &how = write_options()) {
    return write_packed(all.data(), how);
  }
  /** Writes `{u32 klen, u32 vlen, key, value}*` as lsm_write_packed does. */
  returns<std::uint64_t> write_packed(view all, const write_options &how = write_options()) {
    lsm_error *err = nullptr;
    std::uint64_t sequence = 0;
    const std::int32_t code = lsm_write_packed(ks(), how.raw(), all.data(), all.size(), &sequence, &err);
    if (code < 0) return detail::fail<std::uint64_t>(code, err);
    return sequence;
  }

  /** A copy of the value, or none. */
  returns<maybe<std::string>> get(view key) const { return get(nullptr, key); }
  /** A copy of the value, or none, with settings or a snapshot. */
  returns<maybe<std::string>> get(view key, const read_options &how) const { return get(how.raw(), key); }
  /** Copies the value into the caller's memory: its whole length, which may be above `capacity`, or none. */
  returns<maybe<std::size_t>> get_into(view key, void *buffer, std::size_t capacity) const {
    return get_into(nullptr, key, buffer, capacity);
  }
  /** Copies the value into the caller's memory, with settings or a snapshot. */
  returns<maybe<std::size_t>> get_into(view key, void *buffer, std::size_t capacity, const read_options &how) const {
    return get_into(how.raw(), key, buffer, capacity);
  }
  /** The value without copying it, or none. */
  returns<maybe<pinned>> get_pinned(view key) const { return get_pinned(nullptr, key); }
  /** The value without copying it, or none, with settings or a snapshot. */
  returns<maybe<pinned>> get_pinned(view key, const read_options &how) const { return get_pinned(how.raw(), key); }
  /** Whether a key has a value. */
  returns<bool> contains(view key, const read_options &how = read_options()) const {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_exists(ks(), how.raw(), key.data(), key.size(), nullptr, &err);
    if (code < 0) return detail::fail<bool>(code, err);
    return code == LSM_OK;
  }
  /** Many keys as of one moment; `keys` is anything with size(), begin() and end() whose elements are views or become some. */
  template <class Keys>
  returns<std::vector<maybe<pinned>>> multi_get(const Keys &keys, const read_options &how = read_options()) const {
    std::vector<const void *> starts;
    std::vector<std::size_t> sizes;
    starts.reserve(keys.size()), sizes.reserve(keys.size());
    for (const auto &key : keys) {
      const view one(key);
      starts.push_back(one.data()), sizes.push_back(one.size());
    }
    std::vector<lsm_value *> values(starts.size(), nullptr);
    std::vector<std::int32_t> codes(starts.size(), LSM_NOT_FOUND);
    std::vector<maybe<pinned>> all(starts.size());
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_multi_get(ks(), how.raw(), starts.size(), starts.data(), sizes.data(), values.data(),
                                            codes.data(), &err);
    for (std::size_t i = 0; i < values.size(); i++) {
      if (values[i] == nullptr) continue;
      std::size_t size = 0;
      const std::uint8_t *data = lsm_value_data(values[i], &size);
      all[i] = pinned(values[i], data, size);
    }
    if (code < 0) return detail::fail<std::vector<maybe<pinned>>>(code, err);
    return all;
  }

  /** All entries. */
  returns<lsm::range> all(direction way = direction::forward) const { return range(read_options(), way); }
  /** The entries from `lower` (included) to `upper` (excluded). */
  returns<lsm::range> range(view lower, view upper, direction way = direction::forward) const {
    return range(read_options().lower(lower).upper(upper), way);
  }
  /** The entries whose key starts so. */
  returns<lsm::range> prefix(view start, direction way = direction::forward) const {
    return range(read_options().prefix(start), way);
  }
  /** The entries that the settings say: bounds, prefix, snapshot. */
  returns<lsm::range> range(const read_options &how, direction way = direction::forward) const {
    lsm_iter *raw = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_iter_open(ks(), how.raw(), &raw, &err);
    if (code < 0) return detail::fail<lsm::range>(code, err);
    return lsm::range(lsm::cursor(raw), way);
  }
  /** An iterator as lsm.h has it. */
  returns<lsm::cursor> cursor(const read_options &how = read_options()) const {
    lsm_iter *raw = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_iter_open(ks(), how.raw(), &raw, &err);
    if (code < 0) return detail::fail<lsm::cursor>(code, err);
    return lsm::cursor(raw);
  }
  /** About how much lies from `from` (included) to `to` (excluded); default views: unbounded. */
  returns<estimate> approximate(view from = view(), view to = view()) const {
    estimate about = {0, 0};
    lsm_error *err = nullptr;
    const std::int32_t code =
        lsm_approximate(ks(), from.data(), from.size(), to.data(), to.size(), &about.bytes, &about.keys, &err);
    if (code < 0) return detail::fail<estimate>(code, err);
    return about;
  }
  /** Compacts from `from` (included) to `to` (excluded) and waits for it; default views: everything. */
  returns<void> compact(view from = view(), view to = view()) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_compact(ks(), from.data(), from.size(), to.data(), to.size(), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }

 protected:
  /** Of a part of `Self` only. */
  operations() = default;
  /** Moves with `Self`. */
  operations(operations &&) = default;
  /** Moves with `Self`. */
  operations &operator=(operations &&) = default;
  ~operations() = default;

 private:
  lsm_keyspace *ks() const noexcept { return static_cast<const Self *>(this)->raw_keyspace(); }
  returns<void> put(const lsm_write_options *how, view key, view value) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_put(ks(), how, key.data(), key.size(), value.data(), value.size(), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }
  returns<void> erase(const lsm_write_options *how, view key) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_delete(ks(), how, key.data(), key.size(), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }
  /* Small values by way of the stack, larger ones from a pin: either way they are copied once, and one read decides. */
  returns<maybe<std::string>> get(const lsm_read_options *how, view key) const {
    char small[256];
    std::size_t size = 0;
    lsm_error *err = nullptr;
    std::int32_t code = lsm_get(ks(), how, key.data(), key.size(), small, sizeof small, &size, &err);
    if (code == LSM_OK) return maybe<std::string>(std::string(small, size));
    if (code == LSM_TRUNCATED) {
      lsm_value *raw = nullptr;
      const std::uint8_t *data = nullptr;
      code = lsm_get_pinned(ks(), how, key.data(), key.size(), &raw, &data, &size, &err);
      if (code == LSM_OK) return maybe<std::string>(pinned(raw, data, size).str());
    }
    if (code < 0) return detail::fail<maybe<std::string>>(code, err);
    return maybe<std::string>();
  }
  returns<maybe<std::size_t>> get_into(const lsm_read_options *how, view key, void *buffer, std::size_t capacity) const {
    std::size_t size = 0;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_get(ks(), how, key.data(), key.size(), buffer, capacity, &size, &err);
    if (code < 0) return detail::fail<maybe<std::size_t>>(code, err);
    return code == LSM_NOT_FOUND ? maybe<std::size_t>() : maybe<std::size_t>(size);
  }
  returns<maybe<pinned>> get_pinned(const lsm_read_options *how, view key) const {
    lsm_value *raw = nullptr;
    const std::uint8_t *data = nullptr;
    std::size_t size = 0;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_get_pinned(ks(), how, key.data(), key.size(), &raw, &data, &size, &err);
    if (code < 0) return detail::fail<maybe<pinned>>(code, err);
    if (code == LSM_NOT_FOUND) return maybe<pinned>();
    return maybe<pinned>(pinned(raw, data, size));
  }
};

/** One named map of a database. The object gives its open back when it ends. */
class keyspace : public operations<keyspace> {
 public:
  /** The C handle; it stays this object's. */
  lsm_keyspace *raw_keyspace() const noexcept { return raw_.get(); }

 private:
  friend class db;
  struct release {
    void operator()(lsm_keyspace *raw) const noexcept { lsm_keyspace_release(raw); }
  };
  explicit keyspace(lsm_keyspace *raw) noexcept : raw_(raw) {}
  std::unique_ptr<lsm_keyspace, release> raw_;
};

/** Puts and deletes for keyspaces of one database, written as a whole by db::write. It stays as it is when written. */
class batch {
 public:
  /** Adds a put into the default keyspace. */
  returns<void> put(view key, view value) { return put(default_, key, value); }
  /** Adds a put into a keyspace. */
  returns<void> put(const keyspace &where, view key, view value) { return put(where.raw_keyspace(), key, value); }
  /** Adds a delete in the default keyspace. */
  returns<void> erase(view key) { return erase(default_, key); }
  /** Adds a delete in a keyspace. */
  returns<void> erase(const keyspace &where, view key) { return erase(where.raw_keyspace(), key); }
  /** Adds what is packed, for the default keyspace. */
  returns<void> append(const packed &all) { return append(default_, all.data()); }
  /** Adds what is packed, for a keyspace. */
  returns<void> append(const keyspace &where, const packed &all) { return append(where.raw_keyspace(), all.data()); }
  /** Forgets all and keeps the memory. */
  void clear() noexcept { lsm_batch_clear(raw_.get()); }
  /** How many operations there are. */
  std::size_t count() const noexcept { return lsm_batch_count(raw_.get()); }
  /** How many bytes they take in the log. */
  std::size_t size_bytes() const noexcept { return lsm_batch_bytes(raw_.get()); }
  /** The C handle; it stays this object's. */
  lsm_batch *raw() const noexcept { return raw_.get(); }

 private:
  friend class db;
  struct free_batch {
    void operator()(lsm_batch *raw) const noexcept { lsm_batch_free(raw); }
  };
  batch(lsm_batch *raw, lsm_keyspace *standard) noexcept : raw_(raw), default_(standard) {}
  returns<void> put(lsm_keyspace *where, view key, view value) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_batch_put(raw_.get(), where, key.data(), key.size(), value.data(), value.size(), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }
  returns<void> erase(lsm_keyspace *where, view key) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_batch_delete(raw_.get(), where, key.data(), key.size(), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }
  returns<void> append(lsm_keyspace *where, view all) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_batch_append_packed(raw_.get(), where, all.data(), all.size(), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }
  std::unique_ptr<lsm_batch, free_batch> raw_;
  lsm_keyspace *default_;
};

/** The last sequence numbers of a database. */
struct sequences {
  std::uint64_t committed; /**< Of what was acknowledged. */
  std::uint64_t durable;   /**< Of what survives a power cut. */
};

/** What db::verify found. */
struct verification {
  bool is_sound;      /**< Nothing is damaged, missing or unreadable. */
  std::string report; /**< JSON, as lsm_verify says. */
};

/** An open database; it closes itself when it ends, and close() tells whether that went well. */
class db : public operations<db> {
 public:
  /** Opens a folder, creating it by default. */
  static returns<db> open(const std::string &path, const options &how = options()) {
    if (how.failure_.code() != LSM_OK) return refuse(how);
    lsm_db *raw = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_open(detail::c_text(path), how.raw(), &raw, &err);
    if (code < 0) return detail::fail<db>(code, err);
    return db(raw);
  }
  /** Removes a database that nobody has open: only files that the library made. */
  static returns<void> destroy(const std::string &path) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_destroy(detail::c_text(path), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }
  /** Repairs a damaged database that nobody has open, as lsm_repair says; gives the report, JSON. */
  static returns<std::string> repair(const std::string &path, const options &how = options()) {
    if (how.failure_.code() != LSM_OK) return detail::fail<std::string>(how.failure_.code(), nullptr);
    char *raw = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_repair(detail::c_text(path), how.raw(), &raw, &err);
    if (code < 0) return detail::fail<std::string>(code, err);
    const detail::text report(raw);
    return std::string(report.get());
  }
  /** Reads and checks every byte. Damage is an answer; only what kept it from looking is a failure. */
  returns<verification> verify() const {
    char *raw = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_verify(raw_.get(), &raw, &err);
    if (raw == nullptr) return detail::fail<verification>(code, err);
    const failure told(code, err);
    const detail::text report(raw);
    return verification{code == LSM_OK, std::string(report.get())};
  }
  /** Tries again, now, what failed in the background or for want of room, and waits for it. */
  returns<void> resume() {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_resume(raw_.get(), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }
  /** Closes: background work ends, what was acknowledged becomes durable. Everything later answers LSM_E_CLOSED. */
  returns<void> close() {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_close(raw_.get(), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }

  using operations<db>::write;
  /** Writes a batch as a whole; gives the sequence number of its last operation. */
  returns<std::uint64_t> write(const batch &all, const write_options &how = write_options()) {
    lsm_error *err = nullptr;
    std::uint64_t sequence = 0;
    const std::int32_t code = lsm_write(raw_.get(), how.raw(), all.raw(), &sequence, &err);
    if (code < 0) return detail::fail<std::uint64_t>(code, err);
    return sequence;
  }
  /** A new empty batch. */
  returns<batch> new_batch() {
    lsm_batch *made = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_batch_new(raw_.get(), &made, &err);
    if (code < 0) return detail::fail<batch>(code, err);
    return batch(made, default_.is);
  }
  /** A snapshot of now. */
  returns<snapshot> new_snapshot() const {
    lsm_snapshot *made = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_snapshot_new(raw_.get(), &made, &err);
    if (code < 0) return detail::fail<snapshot>(code, err);
    return snapshot(made);
  }
  /** Opens a keyspace, creating a missing one unless the options say no: then the failure's code is LSM_NOT_FOUND. */
  returns<keyspace> open_keyspace(const std::string &name, const options &how = options()) {
    if (how.failure_.code() != LSM_OK) return detail::fail<keyspace>(how.failure_.code(), nullptr);
    lsm_keyspace *made = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_keyspace_open(raw_.get(), detail::c_text(name), how.raw(), &made, &err);
    if (code != LSM_OK) return detail::fail<keyspace>(code, err);
    return keyspace(made);
  }
  /** Drops a keyspace with its data; false: there was none. */
  returns<bool> drop_keyspace(const std::string &name) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_keyspace_drop(raw_.get(), detail::c_text(name), &err);
    if (code < 0) return detail::fail<bool>(code, err);
    return code == LSM_OK;
  }
  /** The names of all keyspaces, sorted. */
  returns<std::vector<std::string>> keyspaces() const {
    lsm_list *raw = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_keyspace_list(raw_.get(), &raw, &err);
    if (code < 0) return detail::fail<std::vector<std::string>>(code, err);
    const std::unique_ptr<lsm_list, free_list> list(raw);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < lsm_list_len(raw); i++) names.emplace_back(lsm_list_get(raw, i));
    return names;
  }
  /** Makes everything acknowledged so far durable. */
  returns<void> sync() {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_sync(raw_.get(), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }
  /** The last committed and the last durable sequence number. */
  returns<sequences> sequence() const {
    sequences both = {0, 0};
    const std::int32_t code = lsm_sequence(raw_.get(), &both.committed, &both.durable);
    if (code < 0) return detail::fail<sequences>(code, nullptr);
    return both;
  }
  /** Writes the memory of all keyspaces to tables and waits for it. */
  returns<void> flush() { return flush(static_cast<lsm_keyspace *>(nullptr)); }
  /** Writes the memory of one keyspace to tables and waits for it. */
  returns<void> flush(const keyspace &which) { return flush(which.raw_keyspace()); }
  /** A property of the database as text, or none of that name. */
  returns<maybe<std::string>> property(const std::string &name) const { return property(nullptr, name); }
  /** A property of a keyspace as text, or none of that name. */
  returns<maybe<std::string>> property(const keyspace &which, const std::string &name) const {
    return property(which.raw_keyspace(), name);
  }
  /** A property of the database as a number, or none of that name. */
  returns<maybe<std::uint64_t>> property_number(const std::string &name) const { return property_number(nullptr, name); }
  /** A property of a keyspace as a number, or none of that name. */
  returns<maybe<std::uint64_t>> property_number(const keyspace &which, const std::string &name) const {
    return property_number(which.raw_keyspace(), name);
  }
  /** All metrics: LSM_METRICS_PROMETHEUS or LSM_METRICS_JSON. */
  returns<std::string> metrics(std::int32_t format = LSM_METRICS_PROMETHEUS) const {
    char *raw = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_metrics(raw_.get(), format, &raw, &err);
    if (code < 0) return detail::fail<std::string>(code, err);
    const detail::text text(raw);
    return std::string(text.get());
  }
  /** Empties the block cache. */
  returns<void> clear_cache() {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_cache_clear(raw_.get(), &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }
  /** The C handle; it stays this object's. */
  lsm_db *raw() const noexcept { return raw_.get(); }
  /** The C handle of the default keyspace; it stays the database's. */
  lsm_keyspace *raw_keyspace() const noexcept { return default_.is; }

 private:
  struct close_db {
    void operator()(lsm_db *raw) const noexcept { lsm_close(raw, nullptr); }
  };
  struct free_list {
    void operator()(lsm_list *raw) const noexcept { lsm_list_free(raw); }
  };
  explicit db(lsm_db *raw) noexcept : raw_(raw), default_(lsm_default_keyspace(raw)) {}
  static returns<db> refuse(const options &how) {
#if defined(LSM_NO_EXCEPTIONS)
    return result<db>(std::move(how.failure_));
#else
    return detail::fail<db>(how.failure_.code(), nullptr);
#endif
  }
  returns<void> flush(lsm_keyspace *which) {
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_flush(raw_.get(), which, &err);
    if (code < 0) return detail::fail<void>(code, err);
    return detail::ok();
  }
  returns<maybe<std::string>> property(lsm_keyspace *which, const std::string &name) const {
    char *raw = nullptr;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_property(raw_.get(), which, detail::c_text(name), &raw, &err);
    if (code < 0) return detail::fail<maybe<std::string>>(code, err);
    if (code == LSM_NOT_FOUND) return maybe<std::string>();
    const detail::text value(raw);
    return maybe<std::string>(std::string(value.get()));
  }
  returns<maybe<std::uint64_t>> property_number(lsm_keyspace *which, const std::string &name) const {
    std::uint64_t value = 0;
    lsm_error *err = nullptr;
    const std::int32_t code = lsm_property_u64(raw_.get(), which, detail::c_text(name), &value, &err);
    if (code < 0) return detail::fail<maybe<std::uint64_t>>(code, err);
    return code == LSM_NOT_FOUND ? maybe<std::uint64_t>() : maybe<std::uint64_t>(value);
  }
  std::unique_ptr<lsm_db, close_db> raw_;
  detail::beside<lsm_keyspace *> default_;
};

}  // namespace LSM_DETAIL_MODE
}  // namespace lsm

#undef LSM_DETAIL_NODISCARD
#undef LSM_DETAIL_MODE

#endif
