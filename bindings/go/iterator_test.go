package lsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"testing"
	"time"

	"liblsm.internal/lsm"
)

func fill(t testing.TB, db *lsm.DB, n int) {
	t.Helper()
	var b lsm.Batch
	for i := 0; i < n; i++ {
		b.Put([]byte(fmt.Sprintf("%05d", i)), []byte(strconv.Itoa(i)))
	}
	must(t, db.Write(&b, nil))
}

func keys(t testing.TB, it *lsm.Iterator, step func() bool) (all []string) {
	t.Helper()
	for step() {
		all = append(all, string(it.Key()))
	}
	must(t, it.Err())
	return all
}

func TestIteratorWalksBothWays(t *testing.T) {
	db := open(t, nil)
	fill(t, db, 5000)
	it, err := db.Iter(nil)
	must(t, err)
	defer it.Close()
	if it.Valid() || it.Key() != nil || it.Value() != nil {
		t.Fatal("a new iterator shows something")
	}
	forth := keys(t, it, it.Next)
	if len(forth) != 5000 || !sort.StringsAreSorted(forth) || it.Valid() {
		t.Fatal(len(forth))
	}
	back := keys(t, it, it.Prev)
	for i, key := range back {
		if key != forth[len(forth)-1-i] {
			t.Fatal(i, key)
		}
	}
	if len(back) != 5000 || it.Prev() || !it.Next() || string(it.Key()) != "00000" || string(it.Value()) != "0" {
		t.Fatal(len(back))
	}
}

func TestIteratorSeeks(t *testing.T) {
	db := open(t, nil)
	for _, key := range []string{"b", "d", "f"} {
		must(t, db.Put([]byte(key), []byte("v"+key), nil))
	}
	it, err := db.Iter(nil)
	must(t, err)
	defer it.Close()
	for _, c := range []struct {
		where lsm.Where
		key   string
		want  string
		next  string
		prev  string
	}{
		{lsm.SeekFirst, "", "b", "d", ""}, {lsm.SeekLast, "", "f", "", "d"},
		{lsm.SeekGE, "d", "d", "f", "b"}, {lsm.SeekGT, "d", "f", "", "d"},
		{lsm.SeekLE, "d", "d", "f", "b"}, {lsm.SeekLT, "d", "b", "d", ""},
		{lsm.SeekGE, "c", "d", "f", "b"}, {lsm.SeekLE, "c", "b", "d", ""},
		{lsm.SeekGT, "f", "", "", "f"}, {lsm.SeekLT, "b", "", "b", ""},
	} {
		for _, move := range []struct {
			step func() bool
			want string
		}{{it.Next, c.next}, {it.Prev, c.prev}} {
			found := it.Seek(c.where, []byte(c.key))
			if found != (c.want != "") || string(it.Key()) != c.want || found && string(it.Value()) != "v"+c.want || it.Valid() != found {
				t.Fatalf("%v: at %q", c, it.Key())
			}
			if move.step() != (move.want != "") || string(it.Key()) != move.want {
				t.Fatalf("%v: then at %q, want %q", c, it.Key(), move.want)
			}
			must(t, it.Err())
		}
	}
	if !it.First() || string(it.Key()) != "b" || !it.Last() || string(it.Key()) != "f" {
		t.Fatal("first and last")
	}
	if it.Seek(9, nil) || !errors.Is(it.Err(), lsm.ErrInvalid) {
		t.Fatal(it.Err())
	}
}

func TestIteratorKeepsToItsRange(t *testing.T) {
	db := open(t, nil)
	fill(t, db, 300)
	for _, c := range []struct {
		o    lsm.IterOptions
		want string
	}{
		{lsm.IterOptions{Lower: []byte("00010"), Upper: []byte("00013")}, "[00010 00011 00012]"},
		{lsm.IterOptions{Prefix: []byte("0029")}, "[00290 00291 00292 00293 00294 00295 00296 00297 00298 00299]"},
		{lsm.IterOptions{Prefix: []byte("0029"), Lower: []byte("00298")}, "[00298 00299]"},
		{lsm.IterOptions{Upper: []byte{}}, "[]"}, // nothing is below the empty key
		{lsm.IterOptions{Lower: []byte{}, Upper: []byte("00001")}, "[00000]"},
		{lsm.IterOptions{Lower: []byte("x")}, "[]"},
	} {
		it, err := db.Iter(&c.o)
		must(t, err)
		if got := fmt.Sprint(keys(t, it, it.Next)); got != c.want {
			t.Fatalf("%+v: %s", c.o, got)
		}
		it.Close()
	}
	it, err := db.Iter(&lsm.IterOptions{KeysOnly: true, Upper: []byte("00003")})
	must(t, err)
	defer it.Close()
	for it.Next() {
		if len(it.Value()) != 0 {
			t.Fatal(it.Value())
		}
	}
	must(t, it.Err())
}

func TestIteratorShowsOneMoment(t *testing.T) {
	db := open(t, nil)
	fill(t, db, 10)
	snapshot, err := db.Snapshot()
	must(t, err)
	it, err := db.Iter(nil)
	must(t, err)
	defer it.Close()
	must(t, db.Put([]byte("zzz"), nil, nil))
	if n := len(keys(t, it, it.Next)); n != 10 {
		t.Fatal(n)
	}
	must(t, it.Refresh())
	if n := len(keys(t, it, it.Next)); n != 11 {
		t.Fatal(n)
	}
	old, err := db.Iter(&lsm.IterOptions{ReadOptions: lsm.ReadOptions{Snapshot: snapshot}})
	must(t, err)
	defer old.Close()
	snapshot.Release() // the iterator goes on
	if n := len(keys(t, old, old.Next)); n != 10 {
		t.Fatal(n)
	}
	if _, err := db.Iter(&lsm.IterOptions{ReadOptions: lsm.ReadOptions{Snapshot: snapshot}}); !errors.Is(err, lsm.ErrClosed) {
		t.Fatal(err)
	}
}

// Entries larger than a chunk, and chunks of a few bytes.
func TestIteratorFitsEveryEntry(t *testing.T) {
	db := open(t, nil)
	sizes := []int{0, 1, 100, 5000, 70_000, 300_000, 2}
	for i, size := range sizes {
		must(t, db.Put([]byte{byte(i)}, bytes.Repeat([]byte{byte(i)}, size), nil))
	}
	for _, chunk := range []int{0, 1, 4096, 1 << 20} {
		it, err := db.Iter(&lsm.IterOptions{ChunkMax: chunk})
		must(t, err)
		check := func(i int) {
			t.Helper()
			if !bytes.Equal(it.Key(), []byte{byte(i)}) || !bytes.Equal(it.Value(), bytes.Repeat([]byte{byte(i)}, sizes[i])) {
				t.Fatalf("chunk %d, entry %d: %v with %d bytes", chunk, i, it.Key(), len(it.Value()))
			}
		}
		i := 0
		for ; it.Next(); i++ {
			check(i)
		}
		for i--; it.Prev(); i-- {
			check(i)
		}
		if i != -1 || it.Err() != nil {
			t.Fatal(i, it.Err())
		}
		for i := range sizes {
			if !it.Seek(lsm.SeekGE, []byte{byte(i)}) {
				t.Fatal(i)
			}
			check(i)
		}
		it.Close()
	}
}

// Random moves against a sorted slice: every mixture of steps, turns and seeks.
func TestIteratorAgainstAModel(t *testing.T) {
	seed := time.Now().UnixNano()
	if text := os.Getenv("LSM_SEED"); text != "" {
		seed, _ = strconv.ParseInt(text, 10, 64)
	}
	t.Log("seed", seed)
	random := rand.New(rand.NewSource(seed))
	db := open(t, nil)
	var model []string
	for i := 0; i < 2000; i++ {
		key := fmt.Sprintf("%06d", random.Intn(1_000_000))
		must(t, db.Put([]byte(key), []byte(key), nil))
		model = append(model, key)
	}
	must(t, db.Flush())
	for i := 0; i < 300; i++ {
		at := random.Intn(len(model))
		must(t, db.Delete([]byte(model[at]), nil))
	}
	live := model[:0]
	seen := map[string]bool{}
	for _, key := range model {
		if there, err := db.Exists([]byte(key), nil); err != nil {
			t.Fatal(err)
		} else if there && !seen[key] {
			seen[key] = true
			live = append(live, key)
		}
	}
	sort.Strings(live)
	it, err := db.Iter(&lsm.IterOptions{ChunkMax: 256})
	must(t, err)
	defer it.Close()
	at, fresh := 0, true // index of the entry shown; -1 and len(live) are the ends
	for i := 0; i < 20_000; i++ {
		var found bool
		switch move := random.Intn(20); {
		case move < 9:
			if found = it.Next(); fresh {
				at = 0
			} else if at < len(live) {
				at++
			}
		case move < 18:
			if found = it.Prev(); fresh {
				at = len(live) - 1
			} else if at >= 0 {
				at--
			}
		default:
			key := fmt.Sprintf("%06d", random.Intn(1_000_000))
			at = sort.SearchStrings(live, key)
			if where := lsm.Where(2 + random.Intn(4)); where == lsm.SeekGE || where == lsm.SeekGT {
				if where == lsm.SeekGT && at < len(live) && live[at] == key {
					at++
				}
				found = it.Seek(where, []byte(key))
			} else {
				if where == lsm.SeekLT || at == len(live) || live[at] != key {
					at--
				}
				found = it.Seek(where, []byte(key))
			}
		}
		fresh = false
		inside := at >= 0 && at < len(live)
		if found != inside || inside && (string(it.Key()) != live[at] || string(it.Value()) != live[at]) || it.Err() != nil {
			t.Fatalf("seed %d, move %d: at %q, %v; want index %d", seed, i, it.Key(), it.Err(), at)
		}
	}
}

// A step that meets too many deleted entries says so, keeps its place and can be made again.
func TestStalledIteratorGoesOn(t *testing.T) {
	db := open(t, nil)
	fill(t, db, 1000)
	var b lsm.Batch
	for i := 100; i < 900; i++ {
		b.Delete([]byte(fmt.Sprintf("%05d", i)))
	}
	must(t, db.Write(&b, nil))
	it, err := db.Iter(&lsm.IterOptions{MaxSkip: 100})
	must(t, err)
	defer it.Close()
	var got []string
	stalls := 0
	for {
		for it.Next() {
			got = append(got, string(it.Key()))
		}
		if it.Err() == nil {
			break
		}
		if !errors.Is(it.Err(), lsm.ErrStalled) || it.Valid() {
			t.Fatal(it.Err())
		}
		if stalls++; stalls > 100 {
			t.Fatal("no progress")
		}
	}
	if stalls == 0 || len(got) != 200 || got[100] != "00900" {
		t.Fatal(stalls, len(got))
	}
}

func TestForEach(t *testing.T) {
	db := open(t, nil)
	fill(t, db, 100)
	n := 0
	must(t, db.ForEach(nil, func(key, value []byte) error { n++; return nil }))
	if n != 100 {
		t.Fatal(n)
	}
	stop := errors.New("enough")
	err := db.ForEach(&lsm.IterOptions{Lower: []byte("00050")}, func(key, value []byte) error {
		if string(key) == "00060" {
			return stop
		}
		n++
		return nil
	})
	if err != stop || n != 110 {
		t.Fatal(err, n)
	}
}

func TestClosedIteratorIsClosed(t *testing.T) {
	db := open(t, nil)
	fill(t, db, 10)
	it, err := db.Iter(nil)
	must(t, err)
	if !it.Next() {
		t.Fatal(it.Err())
	}
	it.Close()
	it.Close()
	if it.Next() || !errors.Is(it.Err(), lsm.ErrClosed) || it.Seek(lsm.SeekFirst, nil) || it.Key() != nil {
		t.Fatal(it.Err())
	}
	if err := it.Refresh(); !errors.Is(err, lsm.ErrClosed) {
		t.Fatal(err)
	}
	orphan, err := db.Iter(nil)
	must(t, err)
	must(t, db.Close())
	if orphan.Next() || !errors.Is(orphan.Err(), lsm.ErrClosed) {
		t.Fatal(orphan.Err())
	}
	orphan.Close()
}
