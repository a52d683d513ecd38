// Command bench tells what a call costs from Go and what the packed forms save.
//
//	bench [-keys N] [-rounds R] [-folder DIR] [-cpu] [-rocksdb /path/to/librocksdb.so]
//
// Every figure is nanoseconds for one key, the best of R rounds. Keys are 16 bytes in random order, values 100 bytes. Data
// are written without a sync for each write, then flushed and compacted, then read from the block cache. With -rocksdb the
// same is done through RocksDB's C interface, one cgo call for each function as its Go bindings have it, and set up alike;
// the rounds of the two alternate. -cpu counts the processor time of the calling thread instead of the time that passes,
// for a machine that is busy with something else.
package main

import (
	"flag"
	"fmt"
	"log"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"liblsm.internal/lsm"
)

var (
	value  = make([]byte, 100)
	useCPU bool
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func expect(got, want int) {
	if got != want {
		log.Fatalf("got %d instead of %d", got, want)
	}
}

// now is in nanoseconds.
func now() int64 {
	if !useCPU {
		return time.Now().UnixNano()
	}
	var t syscall.Timespec
	const threadCPU = 3
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, threadCPU, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		check(errno)
	}
	return t.Nano()
}

// figures are the best times, in the order in which they were first measured.
type figures struct {
	names []string
	best  map[string]float64
}

// time measures a body that does n things; without a name it only runs it.
func (f *figures) time(name string, n int, body func()) {
	start := now()
	body()
	each := float64(now()-start) / float64(n)
	if name == "" {
		return
	}
	if f.best == nil {
		f.best = map[string]float64{}
	}
	if old, ok := f.best[name]; !ok {
		f.names = append(f.names, name)
		f.best[name] = each
	} else if each < old {
		f.best[name] = each
	}
}

func main() {
	log.SetFlags(0)
	n := flag.Int("keys", 200_000, "")
	rounds := flag.Int("rounds", 3, "")
	folder := flag.String("folder", "", "where the databases are made; default: the system's temporary folder")
	rocksdb := flag.String("rocksdb", "", "a librocksdb.so to compare with")
	flag.BoolVar(&useCPU, "cpu", false, "count the processor time of the calling thread")
	flag.Parse()
	runtime.LockOSThread()
	random := rand.New(rand.NewSource(1))
	random.Read(value[:50])
	keys := make([][]byte, *n)
	for i, at := range random.Perm(*n) {
		keys[i] = []byte(fmt.Sprintf("%016d", at))
	}
	runs := []func(string, [][]byte, *figures){ours}
	if *rocksdb != "" {
		loadPeer(*rocksdb)
		runs = append(runs, peer)
	}
	all := make([]figures, len(runs))
	for r := 0; r < *rounds; r++ {
		for i, run := range runs {
			dir, err := os.MkdirTemp(*folder, "lsm-bench-")
			check(err)
			run(dir, keys, &all[i])
			check(os.RemoveAll(dir))
		}
	}
	fmt.Printf("%-34s %12s", "ns for one key", "lsm "+lsm.Version())
	if len(runs) > 1 {
		fmt.Printf(" %12s", "rocksdb")
	}
	for _, name := range all[0].names {
		fmt.Printf("\n%-34s", name)
		for _, f := range all {
			if best, ok := f.best[name]; ok {
				fmt.Printf(" %12.0f", best)
			} else {
				fmt.Printf(" %12s", "-")
			}
		}
	}
	fmt.Println()
}

func ours(folder string, keys [][]byte, figures *figures) {
	figures.time("an empty call", len(keys), func() { crossings(len(keys)) })
	db, err := lsm.Open(filepath.Join(folder, "put"), nil)
	check(err)
	figures.time("put, one call each", len(keys), func() {
		for _, key := range keys {
			check(db.Put(key, value, nil))
		}
	})
	check(db.Close())
	path := filepath.Join(folder, "batch")
	db, err = lsm.Open(path, nil)
	check(err)
	figures.time("put, in batches of 1000", len(keys), func() {
		var batch lsm.Batch
		for i, key := range keys {
			batch.Put(key, value)
			if i%1000 == 999 || i == len(keys)-1 {
				check(db.Write(&batch, nil))
				batch.Reset()
			}
		}
	})
	check(db.Flush())
	check(db.Compact(nil, nil))
	reads(db, keys, figures)
	check(db.Close())
	steps(path, len(keys), figures)
}

func reads(db *lsm.DB, keys [][]byte, figures *figures) {
	for _, name := range []string{"", "get"} {
		figures.time(name, len(keys), func() {
			for _, key := range keys {
				got, err := db.Get(key, nil)
				check(err)
				expect(len(got), len(value))
			}
		})
	}
	figures.time("get into one buffer", len(keys), func() {
		var buffer []byte
		for _, key := range keys {
			var err error
			buffer, err = db.AppendGet(buffer[:0], key, nil)
			check(err)
			expect(len(buffer), len(value))
		}
	})
	figures.time("view of a pinned value", len(keys), func() {
		for _, key := range keys {
			check(db.View(key, nil, func(seen []byte) error { expect(len(seen), len(value)); return nil }))
		}
	})
	figures.time("multi-get of 100", len(keys), func() {
		for i := 0; i < len(keys); i += 100 {
			end := i + 100
			if end > len(keys) {
				end = len(keys)
			}
			got, err := db.MultiGet(keys[i:end], nil)
			check(err)
			expect(len(got[0]), len(value))
		}
	})
	for _, name := range []string{"", "scan"} {
		figures.time(name, len(keys), func() {
			n := 0
			check(db.ForEach(nil, func(key, value []byte) error { n += len(key) + len(value); return nil }))
			expect(n, len(keys)*(16+len(value)))
		})
	}
}
