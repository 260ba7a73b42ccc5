use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::watch::limited;
use crate::{
    engine::{Event, Limited, Part, Progress, Sink, Unit},
    transfer::{self, Activity, Load, Side},
};

/// What a [`Meter`] measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Bytes moved of those that are to be moved.
    Copying,
    /// Bytes read back of those that are there.
    Verifying,
}

/// Adds up the progress of all volumes and tells it.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    sink: Sink,
    step: String,
    doing: Doing,
    parts: Vec<Part>,
    rate: Rate,
    /// What the movers of each volume were at, source and target.
    work: Vec<[Work; 2]>,
    told: Option<Instant>,
}

/// What the workers of a mover were at in the last seconds.
#[derive(Clone, Debug, Default)]
struct Work {
    seen: VecDeque<(Instant, Activity)>,
}

/// Bytes per second over the last seconds.
#[derive(Debug)]
struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

/// Often enough for a bar to move, seldom enough to cost nothing.
const TELL: Duration = Duration::from_millis(250);
/// A rate over less than this jumps about; over more it hides a stall.
const WINDOW: Duration = Duration::from_secs(5);

impl Meter {
    /// A meter for these volumes.
    #[must_use]
    pub fn new(
        sink: Sink,
        step: &str,
        doing: Doing,
        names: impl IntoIterator<Item = String>,
    ) -> Self {
        let parts: Vec<_> = names
            .into_iter()
            .map(|name| Part {
                name,
                done: 0,
                total: 0,
            })
            .collect();
        Self(Arc::new(Mutex::new(State {
            sink,
            step: step.to_owned(),
            doing,
            work: vec![Default::default(); parts.len()],
            parts,
            rate: Rate {
                samples: VecDeque::new(),
            },
            told: None,
        })))
    }

    /// Where events go.
    #[must_use]
    pub fn sink(&self) -> Sink {
        self.state().sink.clone()
    }

    /// The step that is measured.
    #[must_use]
    pub fn step(&self) -> String {
        self.state().step.clone()
    }

    /// Takes in what a mover says about its volume. `expected` is how many bytes are to be read back.
    pub fn moved(&self, index: usize, figures: &transfer::Progress, expected: u64) {
        self.moved_by(Side::Target, index, figures, expected);
    }

    /// The same of the mover of one side.
    pub(super) fn moved_by(
        &self,
        side: Side,
        index: usize,
        figures: &transfer::Progress,
        expected: u64,
    ) {
        self.works(index, side, figures.activity);
        let mut state = self.state();
        let (done, total) = match state.doing {
            Doing::Copying => (figures.bytes_moved, figures.bytes_to_move),
            Doing::Verifying => (figures.bytes_checked, expected.max(figures.bytes_checked)),
        };
        if let Some(part) = state.parts.get_mut(index) {
            part.done = done;
            part.total = total;
        }
        state.tell(Instant::now());
    }

    /// Takes in what the workers of a mover are at.
    pub(super) fn works(&self, index: usize, side: Side, activity: Activity) {
        if let Some(both) = self.state().work.get_mut(index) {
            both[usize::from(side == Side::Target)].add(Instant::now(), activity);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, now: Instant) {
        if self
            .told
            .is_some_and(|told| now.duration_since(told) < TELL)
        {
            return;
        }
        self.told = Some(now);
        let done = self.parts.iter().map(|part| part.done).sum();
        let rate = self.rate.add(now, done);
        let doing = match self.doing {
            Doing::Copying => "copying",
            Doing::Verifying => "verifying",
        };
        self.sink.send(Event::Progress(Progress {
            step: self.step.clone(),
            doing: doing.to_owned(),
            done,
            total: self.parts.iter().map(|part| part.total).sum(),
            unit: Unit::Bytes,
            rate,
            parts: self.parts.clone(),
            limited: self.limited(),
        }));
    }

    /// What all volumes together wait for; none before both sides of one were seen at work.
    fn limited(&self) -> Option<Limited> {
        let (mut source, mut target) = (Load::default(), Load::default());
        for [from, to] in &self.work {
            if let Some((from, to)) = from.load().zip(to.load()) {
                source += from;
                target += to;
            }
        }
        limited(&source, &target)
    }
}

impl Work {
    fn add(&mut self, now: Instant, activity: Activity) {
        // Another operation, or a mover that was placed again, counts from 0 again.
        if self
            .seen
            .back()
            .is_some_and(|(_, last)| activity.since(last).is_none())
        {
            self.seen.clear();
        }
        self.seen.push_back((now, activity));
        while self.seen.len() > 2 && now.duration_since(self.seen[0].0) > WINDOW {
            self.seen.pop_front();
        }
    }

    fn load(&self) -> Option<Load> {
        let (_, first) = self.seen.front()?;
        let (_, last) = self.seen.back().filter(|_| self.seen.len() > 1)?;
        Some(last.since(first)?.load())
    }
}

impl Rate {
    fn add(&mut self, now: Instant, done: u64) -> f64 {
        // A round that begins again counts from 0 again.
        if self.samples.back().is_some_and(|(_, last)| *last > done) {
            self.samples.clear();
        }
        self.samples.push_back((now, done));
        while self.samples.len() > 2 && now.duration_since(self.samples[0].0) > WINDOW {
            self.samples.pop_front();
        }
        let (first, before) = self.samples[0];
        let seconds = now.duration_since(first).as_secs_f64();
        if seconds > 0.0 {
            (done - before) as f64 / seconds
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_the_last_seconds_and_survives_a_new_round() {
        let mut rate = Rate {
            samples: VecDeque::new(),
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(rate.add(at(0), 0).abs() < f64::EPSILON);
        assert!((rate.add(at(1), 100) - 100.0).abs() < f64::EPSILON);
        for second in 2..20 {
            rate.add(at(second), 100);
        }
        assert!(rate.add(at(20), 100).abs() < f64::EPSILON);
        assert!(rate.add(at(21), 10).abs() < f64::EPSILON);
        assert!((rate.add(at(22), 60) - 50.0).abs() < f64::EPSILON);
    }
}
