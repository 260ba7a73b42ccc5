//! Ctrl-C: the first asks to stop at the next safe point, the second stops now.
use std::future::pending;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::ui::Ui;

/// Ctrl-C, and what a machine sends that is shut down.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// None where the handlers cannot be set: the system's own remain, and the first signal ends the process, which a
    /// run survives like every other crash.
    fn listen() -> Option<Self> {
        Some(Self {
            interrupt: signal(SignalKind::interrupt()).ok()?,
            terminate: signal(SignalKind::terminate()).ok()?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Returns at the first signal.
pub(super) async fn interrupted() {
    match Signals::listen() {
        Some(mut signals) => signals.next().await,
        None => pending().await,
    }
}

/// Passes the first signal on as a wish to stop, and returns at the second.
pub(super) async fn second_interrupt(ui: Ui, wish: watch::Sender<bool>) {
    let Some(mut signals) = Signals::listen() else {
        return pending().await;
    };
    signals.next().await;
    ui.say("stopping at the next safe point; Ctrl-C once more stops now, which is safe too");
    wish.send_replace(true);
    signals.next().await;
}
