//! The queue before the encoder: two lanes, of which the urgent one goes first.

use crate::lock::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Of so many batches one begins with work that is not urgent, if there is any: a flood of urgent work slows the rest down, but
/// does not stop it.
const FAIR: usize = 4;

/// The receiver is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

struct State<T> {
    /// Urgent work, then the rest.
    lanes: [VecDeque<T>; 2],
    senders: usize,
    receiving: bool,
    /// Batches begun.
    batches: usize,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Most work in each lane.
    room: usize,
    /// Work has come, or the last sender has gone.
    came: Condvar,
    /// Work was taken, or the receiver has gone.
    taken: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

/// Puts work in.
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// Takes work out.
pub(super) struct Receiver<T>(Arc<Shared<T>>);

/// A queue with `room` for so much work in each lane.
pub(super) fn lanes<T>(room: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            lanes: [VecDeque::new(), VecDeque::new()],
            senders: 1,
            receiving: true,
            batches: 0,
        }),
        room: room.max(1),
        came: Condvar::new(),
        taken: Condvar::new(),
    });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    /// Puts work in its lane; blocks while that is full.
    pub(super) fn send(&self, work: T, urgent: bool) -> Result<(), Gone> {
        let lane = usize::from(!urgent);
        let mut state = self.0.lock();
        while state.receiving && state.lanes[lane].len() >= self.0.room {
            state = self
                .0
                .taken
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if !state.receiving {
            return Err(Gone);
        }
        state.lanes[lane].push_back(work);
        self.0.came.notify_one();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.came.notify_all();
    }
}

impl<T> Receiver<T> {
    /// A batch's first work; waits for it. None when there is none and nobody can send any more.
    pub(super) fn first(&self) -> Option<T> {
        let mut state = self.0.lock();
        loop {
            let fair = state.batches % FAIR == FAIR - 1;
            let order = if fair { [1, 0] } else { [0, 1] };
            if let Some(work) = order
                .into_iter()
                .find_map(|lane| state.lanes[lane].pop_front())
            {
                state.batches += 1;
                self.0.taken.notify_all();
                return Some(work);
            }
            if state.senders == 0 {
                return None;
            }
            state = self
                .0
                .came
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// More work for a batch, urgent before other, if its lane's next `fits`. Waits until `until` for work to come; none then, and when the
    /// next does not fit.
    pub(super) fn next(&self, until: Instant, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut state = self.0.lock();
        loop {
            if let Some(lane) = state.lanes.iter_mut().find(|lane| !lane.is_empty()) {
                let work = lane
                    .front()
                    .is_some_and(fits)
                    .then(|| lane.pop_front())
                    .flatten();
                self.0.taken.notify_all();
                return work;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO || state.senders == 0 {
                return None;
            }
            let waited = self.0.came.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = {
            let mut state = self.0.lock();
            state.receiving = false;
            std::mem::take(&mut state.lanes)
        };
        self.0.taken.notify_all();
        // What waits is dropped outside the lock: its replies may do anything.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(receiver: &Receiver<u32>) -> Vec<u32> {
        std::iter::from_fn(|| receiver.first()).collect()
    }

    #[test]
    fn urgent_work_overtakes_and_the_rest_gets_its_turn() {
        let (sender, receiver) = lanes(100);
        for work in 0..10 {
            sender.send(work, false).unwrap();
            sender.send(100 + work, true).unwrap();
        }
        drop(sender);
        let order = drain(&receiver);
        assert_eq!(order[..5], [100, 101, 102, 0, 103]);
        let lane = |urgent: bool| {
            order
                .iter()
                .copied()
                .filter(move |work| (*work >= 100) == urgent)
        };
        assert!(
            lane(true).eq(100..110) && lane(false).eq(0..10),
            "each lane keeps its order"
        );
    }

    #[test]
    fn what_does_not_fit_stays() {
        let (sender, receiver) = lanes(10);
        sender.send(7, false).unwrap();
        assert_eq!(receiver.next(Instant::now(), |work| *work < 5), None);
        assert_eq!(receiver.next(Instant::now(), |work| *work < 9), Some(7));
        assert_eq!(receiver.next(Instant::now(), |_| true), None);
    }

    #[test]
    fn a_full_lane_blocks_its_senders_only() {
        let (sender, receiver) = lanes(1);
        sender.send(1, false).unwrap();
        sender.send(2, true).unwrap();
        let blocked = std::thread::spawn(move || sender.send(3, false));
        assert_eq!(drain(&receiver), [2, 1, 3]);
        assert_eq!(blocked.join().unwrap(), Ok(()));
    }

    #[test]
    fn without_a_receiver_nothing_is_taken_and_nobody_waits() {
        let (sender, receiver) = lanes(1);
        sender.send(1, false).unwrap();
        let waiting = sender.clone();
        let waiting = std::thread::spawn(move || waiting.send(2, false));
        drop(receiver);
        assert_eq!(waiting.join().unwrap(), Err(Gone));
        assert_eq!(sender.send(3, true), Err(Gone));
    }
}
