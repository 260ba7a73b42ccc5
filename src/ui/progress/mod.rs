//! A run as it goes, on standard error: bars on a terminal, lines elsewhere.
mod bars;
mod narrator;
mod terminal;

use std::time::Duration;

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{MissedTickBehavior, interval},
};

use self::{
    bars::Bars,
    narrator::{Line, Narrator},
};
use super::Ui;
use crate::engine::Event;

/// How often progress is told where lines cannot be overwritten.
pub const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How often times on a terminal are brought up to date.
const REDRAW: Duration = Duration::from_millis(250);

/// After how many ticks a wait that has not changed is told again.
const REPEAT: u32 = 12;

impl Ui {
    /// Shows the events of a run over these steps until their channel closes.
    ///
    /// On a terminal there are bars, which are gone when it returns; elsewhere a line per entry, and one per
    /// `every` (as [`LINE_INTERVAL`]) while a step goes on. With `-q` nothing is told: the ending says how it
    /// went. Nothing goes to standard output.
    pub async fn progress(
        &self,
        steps: &[String],
        every: Duration,
        mut events: UnboundedReceiver<Event>,
    ) {
        let narrator = Narrator::new(steps);
        if self.options().quiet {
            while events.recv().await.is_some() {}
        } else if self.err.moves {
            self.bars(narrator, events).await;
        } else {
            self.lines(narrator, every, events).await;
        }
    }

    async fn lines(
        &self,
        mut narrator: Narrator,
        every: Duration,
        mut events: UnboundedReceiver<Event>,
    ) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once: nothing is to be told yet.
        ticks.tick().await;
        let mut told = String::new();
        let mut silent = 0;
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    None => break,
                    Some(event) => if let Some(line) = narrator.event(event) {
                        self.line(&line);
                    },
                },
                _ = ticks.tick() => {
                    let Some(now) = narrator.doing() else { continue };
                    silent += 1;
                    if now != told || silent >= REPEAT {
                        self.tell(&now);
                        told = now;
                        silent = 0;
                    }
                },
            }
        }
    }

    async fn bars(&self, mut narrator: Narrator, mut events: UnboundedReceiver<Event>) {
        let bars = Bars::new(&self.err);
        self.keep_apart(Some(bars.all()));
        let mut ticks = interval(REDRAW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    None => break,
                    Some(event) => {
                        // What begins is seen in the bars.
                        if let Some(line) = narrator.event(event).filter(|line| !line.begins) {
                            self.line(&line);
                        }
                        bars.draw(&narrator);
                    }
                },
                _ = ticks.tick() => bars.draw(&narrator),
            }
        }
        self.keep_apart(None);
        bars.clear();
    }

    fn line(&self, line: &Line) {
        let look = self.err.look();
        self.tell(
            &line
                .tone
                .map_or_else(|| line.text.clone(), |tone| look.paint(tone, &line.text)),
        );
    }
}

#[cfg(test)]
mod tests;
