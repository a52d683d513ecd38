//! Where a test can stop a writer: before each atomic step of an insert and of a split, and so between each two. Outside
//! the memtable's own tests a step is nothing.
//!
//! Threads: what is armed holds for the thread that armed it.

/// The thread is about to take the step `_name`.
#[inline(always)]
pub fn step(_name: &'static str) {
    #[cfg(test)]
    hooks::reached(_name);
}

/// What tests arm.
#[cfg(test)]
pub mod hooks {
    use crate::base::sync::{AtomicBool, Condvar, Mutex, Ordering};
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::sync::Arc;

    /// Where to stop a thread.
    #[derive(Clone, Copy, Debug)]
    pub enum Stop {
        /// When it has taken so many steps.
        After(usize),
        /// Before the next step of this name.
        Before(&'static str),
    }

    /// Where a stopped thread stands, until it is let go.
    #[derive(Default)]
    pub struct Gate {
        state: Mutex<GateState>,
        changed: Condvar,
    }

    #[derive(Default)]
    struct GateState {
        stands_at: Option<&'static str>,
        is_open: bool,
    }

    impl Gate {
        fn stand(&self, name: &'static str) {
            let mut state = self.state.lock();
            state.stands_at = Some(name);
            self.changed.notify_all();
            self.changed.wait_while(&mut state, |state| !state.is_open);
        }

        /// Waits until a thread stands here; where it does.
        pub fn arrival(&self) -> &'static str {
            let mut state = self.state.lock();
            self.changed.wait_while(&mut state, |state| state.stands_at.is_none());
            state.stands_at.unwrap_or_default()
        }

        /// Lets the thread go.
        pub fn open(&self) {
            self.state.lock().is_open = true;
            self.changed.notify_all();
        }
    }

    #[derive(Default)]
    struct Hooks {
        /// The steps taken so far, if they are to be remembered.
        seen: Option<Vec<&'static str>>,
        /// How many more steps may be taken, and where to stop then; and so on.
        stops: VecDeque<(Stop, Arc<Gate>)>,
        /// This thread waits for others as writers with a latch would, until it is told to give up.
        latched: Option<Arc<AtomicBool>>,
    }

    thread_local! {
        static HOOKS: RefCell<Hooks> = RefCell::default();
    }

    pub fn reached(name: &'static str) {
        let gate = HOOKS.with_borrow_mut(|hooks| {
            if let Some(seen) = &mut hooks.seen {
                seen.push(name);
            }
            let is_here = match &mut hooks.stops.front_mut()?.0 {
                Stop::Before(wanted) => *wanted == name,
                Stop::After(0) => true,
                Stop::After(left) => {
                    *left -= 1;
                    false
                }
            };
            if is_here { hooks.stops.pop_front().map(|(_, gate)| gate) } else { None }
        });
        if let Some(gate) = gate {
            gate.stand(name);
        }
    }

    /// The names of the steps that `work` takes.
    pub fn record(work: impl FnOnce()) -> Vec<&'static str> {
        HOOKS.with_borrow_mut(|hooks| hooks.seen = Some(Vec::new()));
        work();
        HOOKS.with_borrow_mut(|hooks| hooks.seen.take()).unwrap_or_default()
    }

    /// Stops this thread at the first of these places, then, counted from there, at the next, and so on.
    pub fn stop(stops: impl Iterator<Item = (Stop, Arc<Gate>)>) {
        HOOKS.with_borrow_mut(|hooks| hooks.stops = stops.collect());
    }

    /// The planted bug: this thread treats a claimed slot and a sealed leaf as latched by whoever began there, and waits
    /// for it instead of helping, until `give_up`.
    pub fn plant_latch(give_up: Arc<AtomicBool>) {
        HOOKS.with_borrow_mut(|hooks| hooks.latched = Some(give_up));
    }

    /// With the planted bug: waits while `is_held`, and says whether the other got on by itself.
    pub fn waits_for_latch(mut is_held: impl FnMut() -> bool) -> bool {
        let Some(give_up) = HOOKS.with_borrow(|hooks| hooks.latched.clone()) else { return false };
        if !is_held() {
            return false;
        }
        while is_held() {
            if give_up.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }
}
