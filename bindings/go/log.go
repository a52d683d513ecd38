package lsm

// #include "bridge.h"
import "C"

import "runtime/cgo"

// LogLevel is how grave a line of the log is.
type LogLevel int32

// The levels.
const (
	LogError LogLevel = 0
	LogWarn  LogLevel = 1
	LogInfo  LogLevel = 2
	LogDebug LogLevel = 3
)

// String is the level in one word.
func (l LogLevel) String() string {
	switch l {
	case LogError:
		return "error"
	case LogWarn:
		return "warn"
	case LogInfo:
		return "info"
	}
	return "debug"
}

// A LogFunc takes the lines that would else go to the file LOG of the database. It runs on threads of the library, one
// call at a time, and must not call the database: that answers ErrBusy. A panic in it ends the program.
type LogFunc func(level LogLevel, message string)

//export lsmGoLog
func lsmGoLog(handle C.uintptr_t, level C.int32_t, message *C.char, length C.size_t) {
	cgo.Handle(handle).Value().(LogFunc)(LogLevel(level), C.GoStringN(message, C.int(length)))
}

//export lsmGoLogDrop
func lsmGoLogDrop(handle C.uintptr_t) { cgo.Handle(handle).Delete() }

// setLog gives the function to the library, which drops it when the last database that knows it is gone.
func setLog(bag *C.lsm_options, log LogFunc) error {
	handle := cgo.NewHandle(log)
	s := C.lsmgo_options_log(bag, C.uintptr_t(handle))
	err := check("set log", s.code, s.err)
	if err != nil {
		handle.Delete()
	}
	return err
}
