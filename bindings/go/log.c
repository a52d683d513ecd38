/* The log callback: from C, on a thread of the library, into Go. */
#include "bridge.h"

/* Exported by log.go. */
extern void lsmGoLog(uintptr_t handle, int32_t level, const char *message, size_t len);
extern void lsmGoLogDrop(uintptr_t handle);

static void log_line(void *ctx, int32_t level, const char *message, size_t len) {
  lsmGoLog((uintptr_t)ctx, level, message, len);
}

static void log_drop(void *ctx) { lsmGoLogDrop((uintptr_t)ctx); }

lsmgo_status lsmgo_options_log(lsm_options *options, uintptr_t handle) {
  lsm_log_callbacks table = {(uint32_t)sizeof table, (void *)handle, log_drop, log_line};
  lsmgo_status s = {0, NULL};
  s.code = lsm_options_set_callbacks(options, "log", &table, &s.err);
  return s;
}
