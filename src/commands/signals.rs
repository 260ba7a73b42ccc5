//! Ctrl-C: the first asks to stop at the next safe point, the second stops now.
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::ui::Ui;

/// Returns at the first signal. Where the handlers cannot be set, the system's own end the process.
pub(super) async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Passes the first signal on as a wish to stop, and returns at the second.
///
/// Where the handlers cannot be set, the system's own remain: the first signal ends the process, which a
/// run survives like every other crash.
pub(super) async fn second_interrupt(ui: Ui, wish: watch::Sender<bool>) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    ui.say("stopping at the next safe point; Ctrl-C once more stops now, which is safe too");
    wish.send_replace(true);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
