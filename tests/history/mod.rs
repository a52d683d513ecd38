//! Recorded operations on one key, and whether some order of them, within their times, explains every answer.
//!
//! The search is Wing and Gong's with Lowe's memory of (what was ordered, state): calls are put in order one by one, a
//! call may be next if no return stands before it, and whoever runs into a return that has no place goes back.

use std::collections::HashSet;

/// What an operation did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Put this value; values are unique in a history.
    Put(u64),
    /// Deleted.
    Delete,
    /// Read this.
    Get(Option<u64>),
}

/// One operation, called and answered at these times.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub act: Act,
    pub call: u64,
    pub end: u64,
}

struct Event {
    op: usize,
    is_call: bool,
    prev: usize,
    next: usize,
}

/// The events of a history in the order of their times, as a list that operations leave and come back to.
struct List {
    events: Vec<Event>,
    /// Where an operation's call and return stand.
    places: Vec<(usize, usize)>,
}

impl List {
    fn new(ops: &[Op]) -> List {
        let mut order: Vec<(u64, bool, usize)> = Vec::with_capacity(ops.len() * 2);
        for (at, op) in ops.iter().enumerate() {
            // At one time calls come first: then the two operations overlap, and either may be first.
            order.extend([(op.call, false, at), (op.end, true, at)]);
        }
        order.sort_unstable();
        let mut list = List { events: Vec::with_capacity(order.len() + 1), places: vec![(0, 0); ops.len()] };
        let last = order.len();
        list.events.push(Event { op: usize::MAX, is_call: false, prev: last, next: 1 % (last + 1) });
        for (at, (_, is_return, op)) in order.into_iter().enumerate() {
            let place = &mut list.places[op];
            *(if is_return { &mut place.1 } else { &mut place.0 }) = at + 1;
            list.events.push(Event { op, is_call: !is_return, prev: at, next: (at + 2) % (last + 1) });
        }
        list
    }

    fn out(&mut self, at: usize) {
        let (prev, next) = (self.events[at].prev, self.events[at].next);
        self.events[prev].next = next;
        self.events[next].prev = prev;
    }

    fn back(&mut self, at: usize) {
        let (prev, next) = (self.events[at].prev, self.events[at].next);
        self.events[prev].next = at;
        self.events[next].prev = at;
    }

    fn take(&mut self, op: usize) {
        let (call, end) = self.places[op];
        self.out(call);
        self.out(end);
    }

    fn give_back(&mut self, op: usize) {
        let (call, end) = self.places[op];
        self.back(end);
        self.back(call);
    }
}

/// The state after `act`; `None` when the state does not allow it.
fn after(state: Option<u64>, act: Act) -> Option<Option<u64>> {
    match act {
        Act::Put(value) => Some(Some(value)),
        Act::Delete => Some(None),
        Act::Get(seen) => (seen == state).then_some(state),
    }
}

/// Whether the operations, from a key that is absent, have an order; else one that has no place.
pub fn check(ops: &[Op]) -> Result<(), Op> {
    let mut list = List::new(ops);
    let mut ordered = vec![0u64; ops.len().div_ceil(64)];
    let mut seen: HashSet<(Vec<u64>, Option<u64>)> = HashSet::new();
    let mut path: Vec<(usize, Option<u64>)> = Vec::new();
    let mut state = None;
    let mut at = list.events[0].next;
    let mut deepest = (0, 0);
    while list.events[0].next != 0 {
        let Event { op, is_call, next, .. } = list.events[at];
        if is_call {
            at = next;
            let Some(new) = after(state, ops[op].act) else { continue };
            ordered[op / 64] |= 1 << (op % 64);
            if seen.insert((ordered.clone(), new)) {
                path.push((op, state));
                state = new;
                list.take(op);
                at = list.events[0].next;
            } else {
                ordered[op / 64] &= !(1 << (op % 64));
            }
            continue;
        }
        // A return whose operation has no place yet: the last choice was wrong.
        if path.len() >= deepest.0 {
            deepest = (path.len(), op);
        }
        let Some((last, before)) = path.pop() else { return Err(ops[deepest.1]) };
        ordered[last / 64] &= !(1 << (last % 64));
        state = before;
        list.give_back(last);
        at = list.events[list.places[last].0].next;
    }
    Ok(())
}

#[test]
fn orders_are_found_and_missing_ones_are_noticed() {
    let op = |act, call, end| Op { act, call, end };
    let get = |seen, call, end| op(Act::Get(seen), call, end);
    assert!(check(&[]).is_ok());
    assert!(check(&[op(Act::Put(1), 0, 1), get(Some(1), 2, 3)]).is_ok());
    assert!(check(&[op(Act::Put(1), 0, 1), get(None, 2, 3)]).is_err(), "a lost write");
    assert!(check(&[op(Act::Put(1), 0, 9), get(None, 2, 3), get(Some(1), 4, 5)]).is_ok());
    assert!(check(&[op(Act::Put(1), 0, 9), get(Some(1), 2, 3), get(None, 4, 5)]).is_err(), "it came and went");
    assert!(check(&[op(Act::Put(1), 0, 1), op(Act::Put(2), 2, 3), get(Some(1), 4, 5)]).is_err(), "a stale read");
    assert!(check(&[op(Act::Put(1), 0, 5), op(Act::Put(2), 0, 5), get(Some(1), 6, 7), get(Some(1), 8, 9)]).is_ok());
    assert!(
        check(&[op(Act::Put(1), 0, 5), op(Act::Put(2), 0, 5), get(Some(1), 6, 7), get(Some(2), 8, 9)]).is_err(),
        "two orders at once"
    );
    assert!(check(&[op(Act::Put(1), 0, 1), op(Act::Delete, 2, 3), get(Some(1), 4, 5)]).is_err());
    assert!(check(&[op(Act::Put(1), 0, 1), op(Act::Delete, 2, 6), get(Some(1), 4, 5), get(None, 7, 8)]).is_ok());
    assert!(check(&[get(Some(7), 0, 1)]).is_err(), "out of nowhere");
}
