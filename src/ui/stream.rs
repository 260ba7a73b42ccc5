use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use super::{FormatError, Look};

/// Columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;
/// Rows of a terminal that does not say how many it has.
const ROWS: u16 = 24;

/// One of the two streams that a person or a pipe reads.
#[derive(Clone)]
pub(super) struct Stream {
    writer: Arc<Mutex<dyn Write + Send>>,
    /// Whether it is a terminal at all.
    pub(super) terminal: bool,
    /// Whether the terminal can move its cursor.
    pub(super) moves: bool,
    pub(super) color: bool,
    size: Size,
}

/// Where the size of a terminal comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    /// It was given.
    Fixed(u16, u16),
    /// The terminal is asked each time: it may be resized. Else these many columns.
    Asked(Option<u16>),
}

/// Why something could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Whoever reads standard output has read enough (`| head`): end quietly.
    #[error("the reader of standard output has gone away")]
    Closed,
    /// Standard output cannot be written: a full disk.
    #[error("failed to write to standard output")]
    Failed(#[source] io::Error),
}

impl OutputError {
    /// Whether an error is only that nobody reads standard output any more.
    #[must_use]
    pub fn is_closed(error: &anyhow::Error) -> bool {
        error.chain().any(|cause| {
            // A transparent error stands in the chain instead of the one that it shows.
            matches!(
                cause.downcast_ref(),
                Some(FormatError::Output(OutputError::Closed))
            ) || matches!(cause.downcast_ref(), Some(Self::Closed))
        })
    }
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error),
        }
    }
}

impl Stream {
    pub(super) fn new(writer: impl Write + Send + 'static, terminal: bool, size: Size) -> Self {
        Self {
            writer: Arc::new(Mutex::new(writer)),
            terminal,
            moves: terminal,
            color: terminal,
            size,
        }
    }

    /// The same with or without colours, and with a cursor that moves or does not.
    pub(super) fn shown(self, color: bool, moves: bool) -> Self {
        Self {
            moves,
            color,
            ..self
        }
    }

    pub(super) fn look(&self) -> Look {
        Look {
            width: self.terminal.then(|| usize::from(self.size().0)),
            color: self.color,
        }
    }

    /// Whether it is a stream of this process, not a test's buffer.
    pub(super) fn is_process(&self) -> bool {
        matches!(self.size, Size::Asked(_))
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (u16, u16) {
        match self.size {
            Size::Fixed(columns, rows) => (columns, rows),
            Size::Asked(given) => {
                let given = given.unwrap_or(COLUMNS);
                let asked = if self.terminal {
                    crossterm::terminal::size().ok()
                } else {
                    None
                };
                // Some pseudo terminals say that they have no columns.
                let (columns, rows) = asked.unwrap_or_default();
                (
                    if columns == 0 { given } else { columns },
                    if rows == 0 { ROWS } else { rows },
                )
            }
        }
    }

    /// Writes all at once, so that lines of two tasks do not mix.
    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        // A writer that panicked in another thread has at worst written half a line.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(text.as_bytes())?;
        writer.flush()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stream")
            .field("terminal", &self.terminal)
            .field("moves", &self.moves)
            .field("color", &self.color)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
