package lsm

import (
	"fmt"
	"log"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
)

// A Leak is something that the garbage collector found open.
type Leak struct {
	// Kind is "DB", "Iterator", "Snapshot" or "Value".
	Kind string
	// Stack says where it was opened; empty unless TraceLeaks was on at that time.
	Stack string
}

// String is what the default handler logs.
func (l Leak) String() string {
	if l.Stack == "" {
		return fmt.Sprintf("lsm: a %s was not closed (LSM_GO_LEAKS=1 shows where it was opened)", l.Kind)
	}
	return fmt.Sprintf("lsm: a %s was not closed; opened at\n%s", l.Kind, l.Stack)
}

type leakHandler struct{ call func(Leak) }

var (
	onLeak     atomic.Pointer[leakHandler]
	traceLeaks atomic.Bool
)

func init() {
	traceLeaks.Store(os.Getenv("LSM_GO_LEAKS") == "1")
	SetLeakHandler(nil)
}

// SetLeakHandler chooses who is told about leaks; nil is the default, the standard logger. The handler runs on the
// garbage collector's goroutine and should be short.
func SetLeakHandler(handler func(Leak)) {
	if handler == nil {
		handler = func(l Leak) { log.Print(l) }
	}
	onLeak.Store(&leakHandler{handler})
}

// TraceLeaks says whether what is opened from now on remembers where; it costs about a microsecond for each. The
// environment variable LSM_GO_LEAKS=1 switches it on from the start.
func TraceLeaks(on bool) { traceLeaks.Store(on) }

// Counts of what is open.
type Counts struct {
	DBs, Iterators, Snapshots, Values int64
}

type counter struct {
	kind string
	open atomic.Int64
}

var (
	openDBs       = counter{kind: "DB"}
	openIterators = counter{kind: "Iterator"}
	openSnapshots = counter{kind: "Snapshot"}
	openValues    = counter{kind: "Value"}
)

// Live counts what is open now, over all databases of the process: zeros at the end of a test that closes everything.
func Live() Counts {
	return Counts{openDBs.open.Load(), openIterators.open.Load(), openSnapshots.open.Load(), openValues.open.Load()}
}

// trace remembers where something was opened.
type trace []uintptr

func (c *counter) opened() trace {
	c.open.Add(1)
	if !traceLeaks.Load() {
		return nil
	}
	pcs := make([]uintptr, 16)
	return pcs[:runtime.Callers(3, pcs)]
}

func (c *counter) closed() { c.open.Add(-1) }

func (c *counter) leaked(t trace) {
	leak := Leak{Kind: c.kind}
	if len(t) > 0 {
		var text strings.Builder
		frames := runtime.CallersFrames(t)
		for {
			frame, more := frames.Next()
			fmt.Fprintf(&text, "\t%s\n\t\t%s:%d\n", frame.Function, frame.File, frame.Line)
			if !more {
				break
			}
		}
		leak.Stack = text.String()
	}
	onLeak.Load().call(leak)
}
