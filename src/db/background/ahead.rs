//! The thread ahead of the writers: makes log pages and memtable pages ready before they are stored to.
//!
//! A page that is stored to for the first time is cleared, and a page of a log file is entered into the file's books besides:
//! a microsecond or two for 4 KiB, most of a millisecond for a huge page. Whoever writes then waits for it. Here they are
//! made ready while other processors are idle, and a writer that is faster makes them itself as before.
//!
//! Failure: none; what is refused is left to the writers, who meet it themselves.

use crate::db::inner::DbInner;
use std::time::Duration;

/// The thread's body.
pub fn run(db: &DbInner) {
    // Who wakes this thread is a writer, who would wait for it else.
    crate::fs::posix::yield_to_others();
    let mut seen = 0;
    while !db.background.is_stopping() {
        if let Some(segment) = db.log.current_segment() {
            segment.go_ahead();
            for table in segment.route().tables() {
                table.go_ahead();
            }
        }
        seen = db.background.ahead.wait(seen, Duration::from_secs(3600));
    }
}
