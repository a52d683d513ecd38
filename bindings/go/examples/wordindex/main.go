// Command wordindex keeps an index of the words in the text files of a folder.
//
//	wordindex -db INDEX add FOLDER       index new and changed files, forget deleted ones
//	wordindex -db INDEX find WORD...     files that contain all the words, most hits first
//	wordindex -db INDEX words PREFIX     words that begin so, with their number of hits
//	wordindex -db INDEX check FOLDER     count everything again without the index and compare
//
// Three keyspaces: "files" has path -> stamp (size and time), "postings" word 0 path -> count, and "terms" path 0 word ->
// nothing, which says what to delete when a file changes. All that one file changes is one batch: after a crash a file is
// indexed as it was or as it is, never in between.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"liblsm.internal/lsm"
)

const (
	wordMin, wordMax = 2, 40
	fileMax          = 8 << 20
)

type index struct {
	db                     *lsm.DB
	files, postings, terms *lsm.Keyspace
}

func main() {
	log.SetFlags(0)
	path := flag.String("db", "wordindex.db", "folder of the index")
	flag.Parse()
	if flag.NArg() < 2 {
		log.Fatal("usage: wordindex -db INDEX add FOLDER | find WORD... | words PREFIX | check FOLDER")
	}
	ix, err := open(*path)
	if err != nil {
		log.Fatal(err)
	}
	err = ix.run(flag.Arg(0), flag.Args()[1:])
	if closeErr := ix.db.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		log.Fatal(err)
	}
}

func open(path string) (*index, error) {
	db, err := lsm.Open(path, nil)
	if errors.Is(err, lsm.ErrLocked) {
		return nil, fmt.Errorf("%s is in use by another program", path)
	}
	if err != nil {
		return nil, err
	}
	ix := &index{db: db}
	for name, keyspace := range map[string]**lsm.Keyspace{"files": &ix.files, "postings": &ix.postings, "terms": &ix.terms} {
		if *keyspace, err = db.OpenKeyspace(name, nil); err != nil {
			db.Close()
			return nil, err
		}
	}
	return ix, nil
}

func (ix *index) run(verb string, args []string) error {
	switch verb {
	case "add":
		return ix.add(args[0])
	case "find":
		return ix.find(args)
	case "words":
		return ix.words(args[0])
	case "check":
		return ix.check(args[0])
	}
	return fmt.Errorf("unknown verb %q", verb)
}

// add brings the index up to date, several files at once.
func (ix *index) add(folder string) error {
	work := make(chan string)
	seen := map[string]bool{}
	var group sync.WaitGroup
	var lock sync.Mutex
	var first error
	changed := 0
	for i := 0; i < runtime.NumCPU(); i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for path := range work {
				did, err := ix.addFile(path)
				lock.Lock()
				if did {
					changed++
				}
				if err != nil && first == nil {
					first = fmt.Errorf("%s: %w", path, err)
				}
				lock.Unlock()
			}
		}()
	}
	err := eachFile(folder, func(path string) {
		seen[path] = true
		work <- path
	})
	close(work)
	group.Wait()
	if err == nil {
		err = first
	}
	if err != nil {
		return err
	}
	gone, err := ix.forgetMissing(folder, seen)
	fmt.Printf("%d files: %d indexed, %d forgotten\n", len(seen), changed, gone)
	return err
}

// eachFile calls visit with every regular file of a folder that is not too large.
func eachFile(folder string, visit func(path string)) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Size() <= fileMax {
			visit(path)
		}
		return err
	})
}

// addFile indexes a file unless that has been done since it changed.
func (ix *index) addFile(path string) (changed bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	stamp := binary.BigEndian.AppendUint64(nil, uint64(info.Size()))
	stamp = binary.BigEndian.AppendUint64(stamp, uint64(info.ModTime().UnixNano()))
	old, err := ix.files.Get([]byte(path), nil)
	if err == nil && bytes.Equal(old, stamp) {
		return false, nil
	}
	if err != nil && !errors.Is(err, lsm.ErrNotFound) {
		return false, err
	}
	counts, err := countWords(path)
	if err != nil {
		return false, err
	}
	var b lsm.Batch
	if err := ix.forget(&b, path); err != nil {
		return false, err
	}
	for word, count := range counts {
		b.PutIn(ix.postings, join(word, path), binary.BigEndian.AppendUint32(nil, count))
		b.PutIn(ix.terms, join(path, word), nil)
	}
	b.PutIn(ix.files, []byte(path), stamp)
	return true, ix.db.Write(&b, nil)
}

// forget adds deletes of all that the index knows about a file.
func (ix *index) forget(b *lsm.Batch, path string) error {
	prefix := join(path, "")
	b.DeleteIn(ix.files, []byte(path))
	return ix.terms.ForEach(&lsm.IterOptions{Prefix: prefix, KeysOnly: true}, func(key, _ []byte) error {
		b.DeleteIn(ix.terms, key)
		b.DeleteIn(ix.postings, join(string(key[len(prefix):]), path))
		return nil
	})
}

// forgetMissing drops the files of a folder that are there no more.
func (ix *index) forgetMissing(folder string, seen map[string]bool) (n int, err error) {
	prefix := []byte(strings.TrimSuffix(folder, "/") + "/")
	err = ix.files.ForEach(&lsm.IterOptions{Prefix: prefix, KeysOnly: true}, func(key, _ []byte) error {
		if seen[string(key)] {
			return nil
		}
		n++
		var b lsm.Batch
		if err := ix.forget(&b, string(key)); err != nil {
			return err
		}
		return ix.db.Write(&b, nil)
	})
	return n, err
}

// find prints the files that have all the words, as of one moment.
func (ix *index) find(words []string) error {
	snapshot, err := ix.db.Snapshot()
	if err != nil {
		return err
	}
	defer snapshot.Release()
	hits := map[string]uint32{}
	for i, word := range words {
		these := map[string]uint32{}
		prefix := join(strings.ToLower(word), "")
		o := &lsm.IterOptions{ReadOptions: lsm.ReadOptions{Snapshot: snapshot}, Prefix: prefix}
		err := ix.postings.ForEach(o, func(key, value []byte) error {
			path := string(key[len(prefix):])
			if before, ok := hits[path]; ok || i == 0 {
				these[path] = before + binary.BigEndian.Uint32(value)
			}
			return nil
		})
		if err != nil {
			return err
		}
		hits = these
	}
	paths := make([]string, 0, len(hits))
	for path := range hits {
		paths = append(paths, path)
	}
	sort.Slice(paths, func(i, j int) bool {
		a, b := paths[i], paths[j]
		return hits[a] > hits[b] || hits[a] == hits[b] && a < b
	})
	for _, path := range paths {
		fmt.Printf("%7d  %s\n", hits[path], path)
	}
	return nil
}

// words prints the words that begin with a prefix.
func (ix *index) words(prefix string) error {
	var word string
	var sum uint64
	flush := func() {
		if word != "" {
			fmt.Printf("%7d  %s\n", sum, word)
		}
	}
	err := ix.postings.ForEach(&lsm.IterOptions{Prefix: []byte(strings.ToLower(prefix))}, func(key, value []byte) error {
		if now, _, _ := strings.Cut(string(key), "\x00"); now != word {
			flush()
			word, sum = now, 0
		}
		sum += uint64(binary.BigEndian.Uint32(value))
		return nil
	})
	flush()
	return err
}

// check counts the words of all files again and compares with what the index says.
func (ix *index) check(folder string) error {
	want := map[string]uint32{}
	var failed error
	err := eachFile(folder, func(path string) {
		counts, err := countWords(path)
		if err != nil && failed == nil {
			failed = err
		}
		for word, count := range counts {
			want[string(join(word, path))] = count
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	under := strings.TrimSuffix(folder, "/") + "/"
	n := 0
	err = ix.postings.ForEach(nil, func(key, value []byte) error {
		if _, path, _ := strings.Cut(string(key), "\x00"); !strings.HasPrefix(path, under) {
			return nil
		}
		n++
		if count, ok := want[string(key)]; !ok || count != binary.BigEndian.Uint32(value) {
			return fmt.Errorf("%q: %d in the index, %d in the file", key, binary.BigEndian.Uint32(value), count)
		}
		return nil
	})
	if err == nil && n != len(want) {
		err = fmt.Errorf("%d postings in the index, %d in the files", n, len(want))
	}
	if err == nil {
		fmt.Printf("%d postings agree\n", n)
	}
	return err
}

// countWords reads a text file; one that is no text has no words.
func countWords(path string) (map[string]uint32, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	counts := map[string]uint32{}
	reader := bufio.NewReader(file)
	var word []rune
	for {
		r, size, err := reader.ReadRune()
		if err == nil && (r == 0 || r == utf8.RuneError && size == 1) {
			return nil, nil
		}
		if err == nil && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			word = append(word, unicode.ToLower(r))
			continue
		}
		if len(word) >= wordMin && len(word) <= wordMax {
			counts[string(word)]++
		}
		word = word[:0]
		if err != nil {
			// The end: a word before it has been counted.
			return counts, nil
		}
	}
}

func join(a, b string) []byte { return []byte(a + "\x00" + b) }
