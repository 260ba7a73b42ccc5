use std::sync::{Condvar, Mutex, PoisonError};

/// How many bytes may be under way at once; a single thing may be larger.
pub(crate) struct Budget {
    most: u64,
    taken: Mutex<u64>,
    given_back: Condvar,
}

/// What was taken of it, given back when it is dropped.
pub(crate) struct Taken<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(most: u64) -> Self {
        Self {
            most,
            taken: Mutex::new(0),
            given_back: Condvar::new(),
        }
    }

    /// Waits until there is room for so many bytes. Whoever has some gives them back.
    pub(crate) fn take(&self, bytes: u64) -> Taken<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut u64| *taken > 0 && *taken + bytes > self.most;
        let waited = self.given_back.wait_while(taken, full);
        *waited.unwrap_or_else(PoisonError::into_inner) += bytes;
        Taken {
            budget: self,
            bytes,
        }
    }

    fn give_back(&self, bytes: u64) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
        self.given_back.notify_all();
    }
}

impl Taken<'_> {
    /// Gives back what turned out not to be needed.
    pub(crate) fn shrink(&mut self, to: u64) {
        let rest = self.bytes.saturating_sub(to);
        self.bytes -= rest;
        self.budget.give_back(rest);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn who_finds_no_room_waits_and_what_is_larger_goes_alone() {
        let budget = Budget::new(10);
        let first = budget.take(25);
        let entered = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _second = budget.take(1);
                assert!(entered.load(Ordering::Acquire), "beside one that fills all");
            });
            entered.store(true, Ordering::Release);
            drop(first);
        });
        let (_one, mut other) = (budget.take(4), budget.take(6));
        // What is given back early is there for others.
        other.shrink(1);
        let _third = budget.take(5);
    }
}
