/* The layout that include/lsm.h has by `cargo xtask header`, checked by the compiler. GENERATED: do not edit. */
#include <assert.h>

#include "lsm.h"

#define AT(type, field, offset) \
  static_assert(offsetof(type, field) == (offset), #type "." #field)
#define SIZE(type, size) static_assert(sizeof(type) == (size), #type)

SIZE(lsm_entry, 48);
AT(lsm_entry, key, 0);
AT(lsm_entry, key_len, 8);
AT(lsm_entry, value, 16);
AT(lsm_entry, value_len, 24);
AT(lsm_entry, seq, 32);
AT(lsm_entry, reserved, 40);
SIZE(lsm_log_callbacks, 32);
AT(lsm_log_callbacks, size, 0);
AT(lsm_log_callbacks, ctx, 8);
AT(lsm_log_callbacks, drop, 16);
AT(lsm_log_callbacks, log, 24);
SIZE(lsm_read_options, 104);
AT(lsm_read_options, size, 0);
AT(lsm_read_options, flags, 4);
AT(lsm_read_options, snapshot, 8);
AT(lsm_read_options, txn, 16);
AT(lsm_read_options, overlay, 24);
AT(lsm_read_options, lower, 32);
AT(lsm_read_options, lower_len, 40);
AT(lsm_read_options, upper, 48);
AT(lsm_read_options, upper_len, 56);
AT(lsm_read_options, prefix, 64);
AT(lsm_read_options, prefix_len, 72);
AT(lsm_read_options, deadline_micros, 80);
AT(lsm_read_options, max_skip, 88);
AT(lsm_read_options, readahead_bytes, 96);
AT(lsm_read_options, io_class, 100);
SIZE(lsm_write_options, 32);
AT(lsm_write_options, size, 0);
AT(lsm_write_options, flags, 4);
AT(lsm_write_options, durability, 8);
AT(lsm_write_options, io_class, 12);
AT(lsm_write_options, deadline_micros, 16);
AT(lsm_write_options, ttl_micros, 24);
