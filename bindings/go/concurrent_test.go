package lsm_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"liblsm.internal/lsm"
)

// Many goroutines move sums between counters in batches while others read all of them: every view has the same sum.
func TestGoroutinesSeeWholeBatches(t *testing.T) {
	db := open(t, lsm.Options{"memtable.size": "1MiB"})
	const counters, writers, readers, rounds = 64, 8, 8, 200
	names := make([][]byte, counters)
	var zero lsm.Batch
	for i := range names {
		names[i] = []byte(fmt.Sprintf("counter-%02d", i))
		zero.Put(names[i], binary.BigEndian.AppendUint64(nil, 1000))
	}
	must(t, db.Write(&zero, nil))
	var group sync.WaitGroup
	var lock sync.Mutex // read, change, write is not atomic: writers take turns, readers do not
	work := func(n int, body func(i int) error) {
		for g := 0; g < n; g++ {
			group.Add(1)
			go func(g int) {
				defer group.Done()
				for r := 0; r < rounds; r++ {
					if err := body(g*rounds + r); err != nil {
						t.Error(err)
						return
					}
				}
			}(g)
		}
	}
	work(writers, func(i int) error {
		lock.Lock()
		defer lock.Unlock()
		a, b := names[i%counters], names[(i*7+1)%counters]
		values, err := db.MultiGet([][]byte{a, b}, nil)
		if err != nil || string(a) == string(b) {
			return err
		}
		var batch lsm.Batch
		batch.Put(a, binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(values[0])-1))
		batch.Put(b, binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(values[1])+1))
		return db.Write(&batch, nil)
	})
	check := func(how string, sum uint64) error {
		if sum != counters*1000 {
			return fmt.Errorf("%s: the sum is %d", how, sum)
		}
		return nil
	}
	work(readers, func(i int) error {
		runtime.Gosched()
		var sum uint64
		switch i % 3 {
		case 0:
			values, err := db.MultiGet(names, nil)
			for _, value := range values {
				sum += binary.BigEndian.Uint64(value)
			}
			if err != nil {
				return err
			}
			return check("multi-get", sum)
		case 1:
			err := db.ForEach(nil, func(_, value []byte) error { sum += binary.BigEndian.Uint64(value); return nil })
			if err != nil {
				return err
			}
			return check("iterator", sum)
		}
		snapshot, err := db.Snapshot()
		if err != nil {
			return err
		}
		defer snapshot.Release()
		for _, name := range names {
			value, err := db.Get(name, &lsm.ReadOptions{Snapshot: snapshot})
			if err != nil {
				return err
			}
			sum += binary.BigEndian.Uint64(value)
		}
		return check("snapshot", sum)
	})
	group.Wait()
}

// Close while goroutines are inside every kind of call: each ends with an answer or ErrClosed.
func TestCloseWhileOthersAreInside(t *testing.T) {
	for round := 0; round < 5; round++ {
		db, err := lsm.Open(filepath.Join(t.TempDir(), "db"), lsm.Options{"memtable.size": "1MiB"})
		must(t, err)
		fill(t, db, 2000)
		must(t, db.Flush())
		users, err := db.OpenKeyspace("users", nil)
		must(t, err)
		snapshot, err := db.Snapshot()
		must(t, err)
		key := []byte("00100")
		var batch lsm.Batch
		batch.Put(key, []byte("100"))
		batch.PutIn(users, key, []byte("100"))
		calls := []func() error{
			func() error { return db.Put(key, []byte("100"), nil) },
			func() error { return users.Put(key, make([]byte, 1000), lsm.Sync) },
			func() error { _, err := db.Get(key, nil); return err },
			func() error { _, err := db.Get(key, &lsm.ReadOptions{Snapshot: snapshot}); return err },
			func() error { _, err := db.MultiGet([][]byte{key, key}, nil); return err },
			func() error { return db.View(key, nil, func([]byte) error { return nil }) },
			func() error { b := batch; return db.Write(&b, nil) },
			func() error { return db.ForEach(nil, func(_, _ []byte) error { return nil }) },
			func() error { return db.Flush() },
			func() error { return db.Compact(nil, nil) },
			func() error { s, err := db.Snapshot(); defer func() { _ = s }(); return release(s, err) },
			func() error { k, err := db.OpenKeyspace("other", nil); return releaseKeyspace(k, err) },
			func() error { _, err := db.Property("stats"); return err },
		}
		var group sync.WaitGroup
		var ran, late atomic.Int64
		for _, call := range calls {
			for g := 0; g < 2; g++ {
				group.Add(1)
				go func(call func() error) {
					defer group.Done()
					for {
						err := call()
						if errors.Is(err, lsm.ErrClosed) {
							late.Add(1)
							return
						}
						if err != nil {
							t.Error(err)
							return
						}
						ran.Add(1)
					}
				}(call)
			}
		}
		time.Sleep(time.Duration(10+20*round) * time.Millisecond)
		must(t, db.Close())
		group.Wait()
		if int(late.Load()) != 2*len(calls) || ran.Load() == 0 {
			t.Fatal(ran.Load(), late.Load())
		}
		users.Release()
		snapshot.Release()
	}
}

func release(s *lsm.Snapshot, err error) error {
	if err == nil {
		s.Release()
	}
	return err
}

func releaseKeyspace(k *lsm.Keyspace, err error) error {
	if err == nil {
		k.Release()
	}
	return err
}

// A snapshot is released while readers use it: each reads or is told that it is closed.
func TestReleaseOfASnapshotInUse(t *testing.T) {
	db := open(t, nil)
	fill(t, db, 100)
	for round := 0; round < 50; round++ {
		snapshot, err := db.Snapshot()
		must(t, err)
		var group sync.WaitGroup
		for g := 0; g < 8; g++ {
			group.Add(1)
			go func() {
				defer group.Done()
				for {
					got, err := db.Get([]byte("00042"), &lsm.ReadOptions{Snapshot: snapshot})
					if errors.Is(err, lsm.ErrClosed) {
						return
					}
					if err != nil || string(got) != "42" {
						t.Error(string(got), err)
						return
					}
				}
			}()
		}
		time.Sleep(time.Millisecond)
		snapshot.Release()
		group.Wait()
	}
}

// An iterator may move: each step is made on another thread.
func TestNoTieToAThread(t *testing.T) {
	db := open(t, nil)
	fill(t, db, 500)
	it, err := db.Iter(&lsm.IterOptions{ChunkMax: 64})
	must(t, err)
	n := 0
	for more := true; more; {
		done := make(chan bool)
		go func() {
			runtime.LockOSThread() // ends with the goroutine: every step gets a new thread
			done <- it.Next()
		}()
		if more = <-done; more {
			n++
		}
	}
	if n != 500 || it.Err() != nil {
		t.Fatal(n, it.Err())
	}
	it.Close()
}

func TestLeaksAreReportedAndFreed(t *testing.T) {
	var lock sync.Mutex
	found := map[string]lsm.Leak{}
	lsm.SetLeakHandler(func(l lsm.Leak) {
		lock.Lock()
		defer lock.Unlock()
		found[l.Kind] = l
	})
	lsm.TraceLeaks(true)
	defer lsm.SetLeakHandler(nil)
	defer lsm.TraceLeaks(false)
	before := lsm.Live()
	path := filepath.Join(t.TempDir(), "db")
	leak(t, path)
	deadline := time.Now().Add(20 * time.Second)
	for lsm.Live() != before {
		if time.Now().After(deadline) {
			t.Fatalf("before %+v, now %+v, found %v", before, lsm.Live(), found)
		}
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	lock.Lock()
	for _, kind := range []string{"DB", "Iterator", "Snapshot", "Value"} {
		if l, ok := found[kind]; !ok || !strings.Contains(l.Stack, "lsm_test.leak") || !strings.Contains(l.String(), kind) {
			t.Fatalf("%s: %v", kind, l)
		}
	}
	lock.Unlock()
	db, err := lsm.Open(path, nil) // the lock of the folder is free
	must(t, err)
	must(t, db.Close())
}

//go:noinline
func leak(t *testing.T, path string) {
	db, err := lsm.Open(path, nil)
	must(t, err)
	must(t, db.Put([]byte("k"), []byte("v"), nil))
	_, err = db.Snapshot()
	must(t, err)
	_, err = db.Iter(nil)
	must(t, err)
	_, err = db.GetPinned([]byte("k"), nil)
	must(t, err)
}

func TestWhatIsClosedIsNotReported(t *testing.T) {
	var leaks atomic.Int64
	lsm.SetLeakHandler(func(l lsm.Leak) { leaks.Add(1); t.Log(l) })
	defer lsm.SetLeakHandler(nil)
	before := lsm.Live()
	func() {
		db, err := lsm.Open(filepath.Join(t.TempDir(), "db"), nil)
		must(t, err)
		must(t, db.Put([]byte("k"), []byte("v"), nil))
		s, err := db.Snapshot()
		must(t, err)
		it, err := db.Iter(nil)
		must(t, err)
		v, err := db.GetPinned([]byte("k"), nil)
		must(t, err)
		must(t, db.Close())
		s.Release()
		it.Close()
		v.Release()
	}()
	for i := 0; i < 5; i++ {
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
	}
	if leaks.Load() != 0 || lsm.Live() != before {
		t.Fatal(leaks.Load(), lsm.Live(), before)
	}
}
