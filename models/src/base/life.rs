//! Whether something may be looked at, written or freed: an access that the others are not ordered with ends the model.

use loom::cell::UnsafeCell;

/// Kept in, or beside, what it is about.
#[derive(Debug)]
pub struct Life(UnsafeCell<State>);

// SAFETY: loom looks at every access.
unsafe impl Sync for Life {}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Unborn,
    Alive,
    Freed,
}

impl Default for Life {
    fn default() -> Life {
        Life(UnsafeCell::new(State::Unborn))
    }
}

impl Life {
    /// It is written, and from now on there.
    pub fn begin(&self) {
        self.change(State::Unborn, State::Alive);
    }

    /// It is freed.
    pub fn end(&self) {
        self.change(State::Alive, State::Freed);
    }

    /// It is looked at.
    pub fn look(&self) {
        // SAFETY: loom has just seen that every change comes before.
        let state = self.0.with(|state| unsafe { *state });
        assert_eq!(state, State::Alive, "looked at");
    }

    /// Whether it was freed.
    pub fn is_over(&self) -> bool {
        // SAFETY: as in `look`.
        self.0.with(|state| unsafe { *state }) == State::Freed
    }

    fn change(&self, from: State, to: State) {
        self.0.with_mut(|state| {
            // SAFETY: loom has just seen that every other access comes before.
            let before = std::mem::replace(unsafe { &mut *state }, to);
            assert_eq!(before, from, "to be {to:?}");
        });
    }
}
