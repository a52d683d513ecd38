package lsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"liblsm.internal/lsm"
)

// open gives a database in a folder of its own, closed at the end of the test.
func open(t testing.TB, options lsm.Options) *lsm.DB {
	t.Helper()
	db, err := lsm.Open(filepath.Join(t.TempDir(), "db"), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, lsm.ErrClosed) {
			t.Error(err)
		}
	})
	return db
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, got []byte, err error, value string) {
	t.Helper()
	if err != nil || string(got) != value {
		t.Fatalf("got %q, %v; want %q", got, err, value)
	}
}

func TestPutGetDelete(t *testing.T) {
	db := open(t, nil)
	must(t, db.Put([]byte("ada"), []byte("Countess"), nil))
	got, err := db.Get([]byte("ada"), nil)
	want(t, got, err, "Countess")
	must(t, db.Delete([]byte("ada"), lsm.Sync))
	if _, err := db.Get([]byte("ada"), nil); !errors.Is(err, lsm.ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
}

func TestEmptyKeyAndValueAreBytesLikeOthers(t *testing.T) {
	db := open(t, nil)
	must(t, db.Put(nil, nil, nil))
	got, err := db.Get([]byte{}, nil)
	if err != nil || got == nil || len(got) != 0 {
		t.Fatalf("got %v, %v", got, err)
	}
	values, err := db.MultiGet([][]byte{{}, []byte("none")}, nil)
	if err != nil || values[0] == nil || values[1] != nil {
		t.Fatalf("got %v, %v", values, err)
	}
	pin, err := db.GetPinned(nil, nil)
	must(t, err)
	if pin.Bytes() == nil || len(pin.Bytes()) != 0 {
		t.Fatalf("got %v", pin.Bytes())
	}
	pin.Release()
}

func TestValuesOfManySizes(t *testing.T) {
	db := open(t, nil)
	for _, size := range []int{1, 100, 4095, 4096, 4097, 70_000, 3 << 20} {
		value := bytes.Repeat([]byte{byte(size)}, size)
		key := []byte(fmt.Sprint(size))
		must(t, db.Put(key, value, nil))
		got, err := db.Get(key, nil)
		if err != nil || !bytes.Equal(got, value) {
			t.Fatalf("%d: got %d bytes, %v", size, len(got), err)
		}
		got, err = db.AppendGet([]byte("head"), key, nil)
		if err != nil || !bytes.Equal(got, append([]byte("head"), value...)) {
			t.Fatalf("%d: appended to %d bytes, %v", size, len(got), err)
		}
		if n, err := db.ValueLen(key, nil); err != nil || n != size {
			t.Fatalf("%d: length %d, %v", size, n, err)
		}
		must(t, db.View(key, nil, func(seen []byte) error {
			if !bytes.Equal(seen, value) {
				t.Fatalf("%d: saw %d bytes", size, len(seen))
			}
			return nil
		}))
	}
}

func TestAppendGetReusesTheBuffer(t *testing.T) {
	db := open(t, nil)
	must(t, db.Put([]byte("k"), []byte("value"), nil))
	buffer := make([]byte, 0, 64)
	got, err := db.AppendGet(buffer, []byte("k"), nil)
	want(t, got, err, "value")
	if &got[0] != &buffer[:1][0] {
		t.Fatal("the value is in another buffer")
	}
	same, err := db.AppendGet([]byte("kept"), []byte("missing"), nil)
	if string(same) != "kept" || !errors.Is(err, lsm.ErrNotFound) {
		t.Fatalf("got %q, %v", same, err)
	}
}

func TestViewPassesTheErrorOn(t *testing.T) {
	db := open(t, nil)
	must(t, db.Put([]byte("k"), []byte("v"), nil))
	boom := errors.New("boom")
	if err := db.View([]byte("k"), nil, func([]byte) error { return boom }); err != boom {
		t.Fatal(err)
	}
	called := false
	err := db.View([]byte("none"), nil, func([]byte) error { called = true; return nil })
	if called || !errors.Is(err, lsm.ErrNotFound) {
		t.Fatal(called, err)
	}
}

func TestExists(t *testing.T) {
	db := open(t, nil)
	must(t, db.Put([]byte("k"), []byte("v"), nil))
	for key, there := range map[string]bool{"k": true, "none": false} {
		if got, err := db.Exists([]byte(key), nil); err != nil || got != there {
			t.Fatalf("%s: %v, %v", key, got, err)
		}
	}
}

func TestMultiGetKeepsTheOrder(t *testing.T) {
	db := open(t, nil)
	var keys [][]byte
	for i := 0; i < 1000; i++ {
		key := []byte(fmt.Sprintf("%04d", i))
		keys = append(keys, key)
		if i%3 != 0 {
			must(t, db.Put(key, bytes.Repeat(key, i%50), nil))
		}
	}
	values, err := db.MultiGet(keys, nil)
	must(t, err)
	for i, value := range values {
		if i%3 == 0 {
			if value != nil {
				t.Fatalf("%d: %q", i, value)
			}
		} else if value == nil || !bytes.Equal(value, bytes.Repeat(keys[i], i%50)) {
			t.Fatalf("%d: %q", i, value)
		}
	}
	if none, err := db.MultiGet(nil, nil); none != nil || err != nil {
		t.Fatal(none, err)
	}
	if _, err := db.MultiGet([][]byte{make([]byte, 70_000)}, nil); !errors.Is(err, lsm.ErrInvalid) {
		t.Fatal(err)
	}
}

func TestKeyspacesAreApart(t *testing.T) {
	db := open(t, nil)
	users, err := db.OpenKeyspace("users", lsm.Options{"compression": "none"})
	must(t, err)
	must(t, users.Put([]byte("k"), []byte("user"), nil))
	must(t, db.Put([]byte("k"), []byte("default"), nil))
	got, err := users.Get([]byte("k"), nil)
	want(t, got, err, "user")
	got, err = db.Get([]byte("k"), nil)
	want(t, got, err, "default")
	names, err := db.Keyspaces()
	must(t, err)
	if fmt.Sprint(names) != "[default users]" {
		t.Fatal(names)
	}
	if _, err := db.OpenKeyspace("none", lsm.Options{"create_if_missing": "false"}); !errors.Is(err, lsm.ErrNotFound) {
		t.Fatal(err)
	}
	must(t, db.DropKeyspace("users"))
	if _, err := users.Get([]byte("k"), nil); !errors.Is(err, lsm.ErrClosed) {
		t.Fatal(err)
	}
	if err := db.DropKeyspace("users"); !errors.Is(err, lsm.ErrNotFound) {
		t.Fatal(err)
	}
	users.Release()
	users.Release()
}

func TestReleasedKeyspaceIsClosed(t *testing.T) {
	db := open(t, nil)
	one, err := db.OpenKeyspace("k", nil)
	must(t, err)
	two, err := db.OpenKeyspace("k", nil)
	must(t, err)
	one.Release()
	one.Release() // must not take the other's share
	must(t, two.Put([]byte("a"), []byte("b"), nil))
	for _, err := range []error{one.Put(nil, nil, nil), one.Delete(nil, nil), one.Flush(), one.Compact(nil, nil)} {
		if !errors.Is(err, lsm.ErrClosed) {
			t.Fatal(err)
		}
	}
	if _, err := one.Iter(nil); !errors.Is(err, lsm.ErrClosed) {
		t.Fatal(err)
	}
	two.Release()
}

func TestSnapshotStaysAsItWas(t *testing.T) {
	db := open(t, nil)
	must(t, db.Put([]byte("k"), []byte("old"), nil))
	snapshot, err := db.Snapshot()
	must(t, err)
	before := snapshot.Sequence()
	must(t, db.Put([]byte("k"), []byte("new"), nil))
	must(t, db.Put([]byte("l"), []byte("new"), nil))
	must(t, db.Flush())
	at := &lsm.ReadOptions{Snapshot: snapshot, VerifyChecksums: true, NoFillCache: true, Timeout: time.Minute}
	got, err := db.Get([]byte("k"), at)
	want(t, got, err, "old")
	values, err := db.MultiGet([][]byte{[]byte("k"), []byte("l")}, at)
	if err != nil || string(values[0]) != "old" || values[1] != nil {
		t.Fatal(values, err)
	}
	if there, err := db.Exists([]byte("l"), at); there || err != nil {
		t.Fatal(there, err)
	}
	committed, _, err := db.Sequence()
	if err != nil || committed <= before || before == 0 {
		t.Fatal(committed, before, err)
	}
	snapshot.Release()
	snapshot.Release()
	if _, err := db.Get([]byte("k"), at); !errors.Is(err, lsm.ErrClosed) {
		t.Fatal(err)
	}
	if snapshot.Sequence() != 0 {
		t.Fatal("a released snapshot has a sequence")
	}
}

func TestPinnedValueOutlivesTheDatabase(t *testing.T) {
	db := open(t, nil)
	value := bytes.Repeat([]byte("pinned"), 1000)
	must(t, db.Put([]byte("k"), value, nil))
	must(t, db.Flush())
	pin, err := db.GetPinned([]byte("k"), nil)
	must(t, err)
	must(t, db.Delete([]byte("k"), nil))
	must(t, db.Compact(nil, nil))
	must(t, db.Close())
	if !bytes.Equal(pin.Bytes(), value) {
		t.Fatal("the pinned value changed")
	}
	pin.Release()
	pin.Release()
	if pin.Bytes() != nil {
		t.Fatal("bytes after release")
	}
}

func TestErrorsSayWhatTheyAre(t *testing.T) {
	_, err := lsm.Open(filepath.Join(t.TempDir(), "no", "db"), nil)
	var e *lsm.Error
	if !errors.As(err, &e) || e.Code != lsm.ErrIO || e.Errno != syscall.ENOENT || e.Op != "open" || e.Message == "" {
		t.Fatalf("%#v", err)
	}
	if !errors.Is(err, lsm.ErrIO) || !errors.Is(err, syscall.ENOENT) || !errors.Is(err, fs.ErrNotExist) || errors.Is(err, lsm.ErrLocked) {
		t.Fatal(err)
	}
	_, err = lsm.Open("x", lsm.Options{"memtable.size": "0", "zzz": "1"})
	if !errors.Is(err, lsm.ErrInvalid) || !strings.Contains(err.Error(), "memtable.size") {
		t.Fatal(err)
	}
	db := open(t, nil)
	err = db.Put(make([]byte, 70_000), nil, nil)
	if !errors.Is(err, lsm.ErrInvalid) || !strings.HasPrefix(err.Error(), "lsm: put: LSM_E_INVALID: key of 70000 bytes") {
		t.Fatal(err)
	}
	if err := db.Put(nil, nil, &lsm.WriteOptions{Durability: 9}); !errors.Is(err, lsm.ErrInvalid) {
		t.Fatal(err)
	}
	if _, err := lsm.Open("a\x00b", nil); !errors.Is(err, lsm.ErrInvalid) {
		t.Fatal(err)
	}
	if lsm.ErrIO.String() != "LSM_E_IO" || lsm.ErrNotFound.Error() != "lsm: not found" {
		t.Fatal(lsm.ErrIO, lsm.ErrNotFound.Error())
	}
	if lsm.Retryable(err) || lsm.Retryable(nil) {
		t.Fatal("not retryable")
	}
}

// What is left until a deadline that has passed (time.Until) is below 0: no call is fast enough for that.
func TestADeadlineThatHasPassedIsOneAtOnce(t *testing.T) {
	db := open(t, nil)
	if err := db.Put([]byte("k"), []byte("v"), nil); err != nil {
		t.Fatal(err)
	}
	var batch lsm.Batch
	batch.Put([]byte("k"), []byte("w"))
	w := &lsm.WriteOptions{Timeout: -1}
	r := &lsm.ReadOptions{Timeout: -time.Hour}
	for i := 0; i < 100; i++ {
		_, get := db.Get([]byte("k"), r)
		_, length := db.ValueLen([]byte("k"), r)
		_, many := db.MultiGet([][]byte{[]byte("k")}, r)
		_, pin := db.GetPinned([]byte("k"), r)
		_, iter := db.Iter(&lsm.IterOptions{ReadOptions: *r})
		for _, err := range []error{
			db.Put([]byte("k"), nil, w), db.Delete([]byte("k"), w), db.Write(&batch, w), get, length, many, pin, iter,
		} {
			var e *lsm.Error
			if !errors.Is(err, lsm.ErrTimeout) || !errors.As(err, &e) || !e.Timeout() || !e.Retryable {
				t.Fatal(err)
			}
		}
	}
	if value, err := db.Get([]byte("k"), nil); string(value) != "v" || err != nil {
		t.Fatal(string(value), err)
	}
}

func TestAWriteThatTimesOutHasNoEffect(t *testing.T) {
	timeout := time.Nanosecond
	db := open(t, lsm.Options{"memtable.size": "1MiB", "memtable.count_max": "2"})
	big := make([]byte, 1<<20)
	for i := 0; i < 200; i++ {
		key := []byte(fmt.Sprint(i))
		err := db.Put(key, big, &lsm.WriteOptions{Timeout: timeout})
		if err == nil {
			continue
		}
		var e *lsm.Error
		if !errors.Is(err, lsm.ErrTimeout) || !errors.As(err, &e) || !e.Timeout() || !e.Retryable || e.Fatal {
			t.Fatal(err)
		}
		if there, err := db.Exists(key, nil); there || err != nil {
			t.Fatal("written all the same", err)
		}
		return
	}
	t.Fatal("a microsecond was always enough")
}

// Without free descriptors an open fails in a way that may go away by itself.
func TestRetryableErrorsSaySo(t *testing.T) {
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	low := limit
	low.Cur = 3
	path := filepath.Join(t.TempDir(), "db")
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low))
	db, err := lsm.Open(path, nil)
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	var e *lsm.Error
	if !errors.As(err, &e) || e.Errno != syscall.EMFILE || !e.Retryable || !e.Temporary() {
		t.Fatalf("%v %#v", db, err)
	}
	if !lsm.Retryable(fmt.Errorf("wrapped: %w", err)) {
		t.Fatal(err)
	}
	if db, err = lsm.Open(path, nil); err != nil {
		t.Fatal(err)
	}
	must(t, db.Close())
}

func TestLockedAndExistsAndDestroy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db, err := lsm.Open(path, nil)
	must(t, err)
	if _, err := lsm.Open(path, nil); !errors.Is(err, lsm.ErrLocked) || !lsm.Retryable(err) {
		t.Fatal(err)
	}
	if err := lsm.Destroy(path); !errors.Is(err, lsm.ErrLocked) {
		t.Fatal(err)
	}
	must(t, db.Put([]byte("k"), []byte("v"), nil))
	must(t, db.Close())
	if err := db.Close(); !errors.Is(err, lsm.ErrClosed) {
		t.Fatal(err)
	}
	if _, err := lsm.Open(path, lsm.Options{"error_if_exists": "true"}); !errors.Is(err, lsm.ErrExists) {
		t.Fatal(err)
	}
	reader, err := lsm.Open(path, lsm.Options{"mode": "ro"})
	must(t, err)
	if err := reader.Put(nil, nil, nil); !errors.Is(err, lsm.ErrReadOnly) {
		t.Fatal(err)
	}
	got, err := reader.Get([]byte("k"), nil)
	want(t, got, err, "v")
	must(t, reader.Close())
	must(t, lsm.Destroy(path))
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestOptionsAreText(t *testing.T) {
	parsed, err := lsm.ParseOptions("# sizes\nmemtable.size = 67108864\n\nfilter.fpr=0.02\n")
	must(t, err)
	other, err := lsm.Options{"memtable.size": "64MiB", "filter.fpr": "0.02"}.Canonical()
	must(t, err)
	if len(parsed) != 2 || fmt.Sprint(parsed) != fmt.Sprint(other) {
		t.Fatal(parsed, other)
	}
	if _, err := lsm.ParseOptions("memtable.size = 64MiB\nnonsense\n"); !errors.Is(err, lsm.ErrInvalid) {
		t.Fatal(err)
	}
	if size, err := parsed.Effective("memtable.size"); err != nil || size != other["memtable.size"] {
		t.Fatal(size, err)
	}
	if level, err := parsed.Effective("durability"); err != nil || level != "os" {
		t.Fatal(level, err)
	}
	all, err := lsm.DescribeOptions()
	must(t, err)
	keys := map[string]lsm.Option{}
	for _, option := range all {
		keys[option.Key] = option
	}
	if o := keys["block.size"]; o.Default == nil || o.Text == "" || o.Type == "" {
		t.Fatalf("%+v", keys)
	}
}

func TestPropertiesAndMetrics(t *testing.T) {
	db := open(t, nil)
	for i := 0; i < 1000; i++ {
		must(t, db.Put([]byte(fmt.Sprintf("%05d", i)), make([]byte, 100), nil))
	}
	must(t, db.Keyspace.Flush())
	if n, err := db.Keyspace.PropertyUint("levels.0.files"); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	if n, err := db.PropertyUint("flush.jobs_run"); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	if text, err := db.Property("levels"); err != nil || text == "" {
		t.Fatal(text, err)
	}
	if _, err := db.Property("no.such"); !errors.Is(err, lsm.ErrNotFound) {
		t.Fatal(err)
	}
	if text, err := db.Prometheus(); err != nil || !strings.Contains(text, "# TYPE") {
		t.Fatal(text, err)
	}
	if text, err := db.MetricsJSON(); err != nil || !strings.HasPrefix(strings.TrimSpace(text), "{") {
		t.Fatal(text, err)
	}
	if size, keys, err := db.Approximate([]byte("00000"), []byte("00500")); err != nil || size == 0 || keys == 0 || keys > 1000 {
		t.Fatal(size, keys, err)
	}
	must(t, db.Sync())
	must(t, db.ClearCache())
	must(t, db.Compact([]byte("00000"), []byte("00500")))
	if n, err := db.PropertyUint("cache.bytes"); err != nil || n > 1<<20 {
		t.Fatal(n, err)
	}
	if lsm.ABIVersion() != 1 || !strings.Contains(lsm.Version(), ".") || !lsm.HasFeature("lz4") || lsm.HasFeature("cold fusion") {
		t.Fatal(lsm.Version(), lsm.ABIVersion())
	}
}

func TestDamageIsFoundAndRepaired(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db, err := lsm.Open(path, nil)
	must(t, err)
	for i := 0; i < 1000; i++ {
		must(t, db.Put([]byte(fmt.Sprintf("%05d", i)), make([]byte, 100), nil))
	}
	must(t, db.Flush())
	report, err := db.Verify()
	if err != nil || !strings.Contains(report, `"sound"`) {
		t.Fatal(report, err)
	}
	must(t, db.Resume())
	must(t, db.Close())
	tables, err := filepath.Glob(filepath.Join(path, "*.sst"))
	must(t, err)
	if len(tables) == 0 {
		entries, _ := os.ReadDir(path)
		t.Fatal("no tables among", entries)
	}
	data, err := os.ReadFile(tables[0])
	must(t, err)
	data[len(data)/3] ^= 0x40
	must(t, os.WriteFile(tables[0], data, 0o644))
	db, err = lsm.Open(path, nil)
	must(t, err)
	report, err = db.Verify()
	if !errors.Is(err, lsm.ErrCorruption) || !strings.Contains(report, filepath.Base(tables[0])) {
		t.Fatal(report, err)
	}
	must(t, db.Close())
	report, err = lsm.Repair(path, nil)
	if err != nil || !strings.Contains(report, `"repaired"`) {
		t.Fatal(report, err)
	}
	db, err = lsm.Open(path, nil)
	must(t, err)
	report, err = db.Verify()
	if err != nil || !strings.Contains(report, `"sound"`) {
		t.Fatal(report, err)
	}
	must(t, db.Close())
	if _, err := lsm.Repair(filepath.Join(path, "none"), nil); !errors.Is(err, lsm.ErrIO) {
		t.Fatal(err)
	}
}

func TestLogLinesComeToGo(t *testing.T) {
	var lock sync.Mutex
	var lines []string
	db, err := lsm.OpenLogged(filepath.Join(t.TempDir(), "db"), nil, func(level lsm.LogLevel, message string) {
		lock.Lock()
		defer lock.Unlock()
		lines = append(lines, level.String()+" "+message)
	})
	must(t, err)
	must(t, db.Put([]byte("k"), []byte("v"), nil))
	must(t, db.Flush())
	must(t, db.Close())
	lock.Lock()
	defer lock.Unlock()
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "info ") {
		t.Fatal(lines)
	}
}
