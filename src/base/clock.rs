//! Time for deadlines, rates and log lines. Order never comes from a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic time now.
#[inline]
pub fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    Instant::now()
}

/// Microseconds of wall-clock time since 1970; 0 when the clock stands before that.
pub fn unix_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}

/// A point in time after which a call gives up; `None` waits for ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// `micros` from now; 0 is none.
    pub fn after_micros(micros: u64) -> Deadline {
        if micros == 0 { Deadline(None) } else { Deadline(now().checked_add(Duration::from_micros(micros))) }
    }

    /// Whether it has passed.
    #[inline]
    pub fn passed(self) -> bool {
        self.0.is_some_and(|at| now() >= at)
    }

    /// How long is left, at most `cap`.
    pub fn remaining(self, cap: Duration) -> Duration {
        self.0.map_or(cap, |at| at.saturating_duration_since(now()).min(cap))
    }

    /// Whether there is one at all.
    pub fn is_set(self) -> bool {
        self.0.is_some()
    }
}
