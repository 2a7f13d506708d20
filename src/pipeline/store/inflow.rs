//! How much of a partition waits in memory for its block: reading of the partition alone is held when there is enough, so
//! that one partition that cannot be stored neither fills the memory nor holds the others back.

use crate::lock::lock;
use std::sync::Mutex;

/// What a lane was sent and has not taken yet.
pub struct Inflow {
    /// Holds the partition, or lets it be read again.
    hold: Box<dyn Fn(bool) + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes of records that wait.
    waiting: usize,
    /// The database does not take the block under way.
    away: bool,
    held: bool,
}

impl Inflow {
    /// Of a partition that is read, and nothing of which waits. `hold` is called with each change, never twice with the
    /// same.
    pub fn new(hold: impl Fn(bool) + Send + Sync + 'static) -> Self {
        Self {
            hold: Box::new(hold),
            state: Mutex::default(),
        }
    }

    /// A record more waits. The partition is held at `most` bytes.
    pub fn sent(&self, bytes: usize, most: usize) {
        self.change(most, |state| state.waiting += bytes);
    }

    /// A record less waits. The partition is read again at half of `most`.
    pub fn taken(&self, bytes: usize, most: usize) {
        self.change(most, |state| {
            state.waiting = state.waiting.saturating_sub(bytes);
        });
    }

    /// Whether the database is away: nothing more is read then.
    pub fn away(&self, away: bool, most: usize) {
        self.change(most, |state| state.away = away);
    }

    /// `hold` is called under the lock, so that what was decided last is said last.
    fn change(&self, most: usize, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let enough = if state.held { most / 2 } else { most };
        let held = state.away || state.waiting > enough;
        if held != state.held {
            state.held = held;
            (self.hold)(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn recorded() -> (Inflow, Arc<Mutex<Vec<bool>>>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let told = said.clone();
        (Inflow::new(move |held| lock(&told).push(held)), said)
    }

    #[test]
    fn a_partition_is_held_when_enough_waits_and_read_again_at_half() {
        let (inflow, said) = recorded();
        (0..11).for_each(|_| inflow.sent(10, 100));
        assert_eq!(*lock(&said), [true]);
        (0..5).for_each(|_| inflow.taken(10, 100));
        assert_eq!(*lock(&said), [true], "60 of 100 bytes still wait");
        inflow.taken(10, 100);
        assert_eq!(*lock(&said), [true, false]);
    }

    #[test]
    fn nothing_is_read_while_the_database_is_away() {
        let (inflow, said) = recorded();
        inflow.sent(10, 100);
        inflow.away(true, 100);
        inflow.away(true, 100);
        inflow.taken(10, 100);
        assert_eq!(*lock(&said), [true]);
        inflow.away(false, 100);
        assert_eq!(*lock(&said), [true, false]);
    }

    #[test]
    fn the_database_is_back_and_too_much_still_waits() {
        let (inflow, said) = recorded();
        inflow.sent(101, 100);
        inflow.away(true, 100);
        inflow.away(false, 100);
        assert_eq!(*lock(&said), [true]);
        inflow.taken(101, 100);
        assert_eq!(*lock(&said), [true, false]);
    }
}
