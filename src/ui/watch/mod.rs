//! `status -w`: a view that follows. A full screen on a terminal, a line per change elsewhere.
mod changes;
mod frame;
mod full_screen;

use std::io;

use crossterm::event::{Event as Input, EventStream, KeyCode, KeyEventKind, KeyModifiers};
use futures::{Stream, StreamExt as _};

use self::{
    changes::{Changes, Document},
    frame::frame,
    full_screen::FullScreen,
};
use super::{Format, FormatError, OutputError, StatusRow, Tone, Ui};

/// What one look gave: the migrations, or why there was no answer.
pub type Snapshot = anyhow::Result<Vec<StatusRow>>;

/// What the person at the keyboard did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pressed {
    /// They want to leave.
    Leave,
    /// Something else; the screen may have another size now.
    Other,
}

impl Ui {
    /// Shows every snapshot until there are no more, or the user leaves with `q` or Ctrl-C.
    ///
    /// A look that failed is told, and the last one stays: the next may succeed. `namespaced` as for `-A`.
    pub async fn watch(
        &self,
        snapshots: impl Stream<Item = Snapshot> + Unpin,
        namespaced: bool,
    ) -> Result<(), OutputError> {
        if self.out.moves && self.answers {
            // What the keyboard cannot tell is no reason to stop: it may have been unplugged.
            let keys = EventStream::new().filter_map(async |input| Some(pressed(&input.ok()?)));
            tokio::select! {
                shown = self.full_screen(snapshots, Box::pin(keys), namespaced) => shown,
                () = ended() => Ok(()),
            }
        } else {
            tokio::select! {
                shown = self.changes(snapshots, namespaced) => shown,
                () = ended() => Ok(()),
            }
        }
    }

    /// Writes a JSON document for every migration that is new, has changed or is gone, as `kubectl get -w
    /// -o json` does, until there are no more snapshots or the user leaves.
    pub async fn watch_documents(
        &self,
        snapshots: impl Stream<Item = Snapshot> + Unpin,
    ) -> Result<(), FormatError> {
        tokio::select! {
            shown = self.documents(snapshots) => shown,
            () = ended() => Ok(()),
        }
    }

    async fn documents(
        &self,
        mut snapshots: impl Stream<Item = Snapshot> + Unpin,
    ) -> Result<(), FormatError> {
        let mut changes = Changes::default();
        while let Some(snapshot) = snapshots.next().await {
            match snapshot {
                Ok(rows) => {
                    for change in changes.of(rows) {
                        self.document(Format::Json, &Document::of(&change))?;
                    }
                }
                Err(error) => self.warn(&format!("the last look failed: {error:#}")),
            }
        }
        Ok(())
    }

    async fn full_screen(
        &self,
        snapshots: impl Stream<Item = Snapshot> + Unpin,
        keys: impl Stream<Item = Pressed> + Unpin,
        namespaced: bool,
    ) -> Result<(), OutputError> {
        let screen = FullScreen::enter(&self.out)?;
        let (mut snapshots, mut keys) = (snapshots, keys.fuse());
        let mut rows = Vec::new();
        let mut trouble: Option<String> = Some("looking …".to_owned());
        loop {
            let text = frame(
                &rows,
                trouble.as_deref(),
                self.out_look(),
                self.out.size(),
                namespaced,
            );
            screen.draw(&text)?;
            tokio::select! {
                snapshot = snapshots.next() => match snapshot {
                    None => return Ok(()),
                    Some(Ok(now)) => (rows, trouble) = (now, None),
                    Some(Err(error)) => trouble = Some(format!("the last look failed: {error:#}")),
                },
                Some(pressed) = keys.next() => if pressed == Pressed::Leave {
                    return Ok(());
                },
            }
        }
    }

    async fn changes(
        &self,
        mut snapshots: impl Stream<Item = Snapshot> + Unpin,
        namespaced: bool,
    ) -> Result<(), OutputError> {
        let mut changes = Changes::default();
        while let Some(snapshot) = snapshots.next().await {
            match snapshot {
                Ok(rows) => {
                    for change in changes.of(rows) {
                        self.data(&change.line(namespaced))?;
                    }
                }
                Err(error) => self.warn(&format!("the last look failed: {error:#}")),
            }
        }
        Ok(())
    }
}

fn pressed(input: &Input) -> Pressed {
    let Input::Key(key) = input else {
        return Pressed::Other;
    };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        _ if key.kind == KeyEventKind::Release => Pressed::Other,
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Pressed::Leave,
        // In raw mode Ctrl-C is a key; Ctrl-D ends an input.
        KeyCode::Char('c' | 'd') if control => Pressed::Leave,
        _ => Pressed::Other,
    }
}

/// Returns when the process is asked to end, so that the terminal is put back first.
async fn ended() {
    let wait = async || -> io::Result<()> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate())?;
            let mut hang_up = signal(SignalKind::hangup())?;
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => interrupted?,
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            Ok(())
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await
    };
    if wait().await.is_err() {
        // Signals cannot be listened to: they end the process as they always do.
        std::future::pending::<()>().await;
    }
}

/// The tone of what goes wrong while watching.
const TROUBLE: Tone = Tone::Notice;

#[cfg(test)]
mod tests;
