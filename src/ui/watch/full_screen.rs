use std::{
    io,
    panic::{set_hook, take_hook},
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use crate::ui::stream::Stream;

/// Another screen, and no cursor on it.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
/// The cursor and the screen that were there before.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Whether this process's terminal is changed now.
static CHANGED: AtomicBool = AtomicBool::new(false);

/// The terminal while one view has all of it. It is put back when this goes away, and by a panic.
pub(super) struct FullScreen {
    out: Stream,
    drawn: Mutex<Vec<String>>,
}

impl FullScreen {
    pub(super) fn enter(out: &Stream) -> io::Result<Self> {
        let screen = Self {
            out: out.clone(),
            drawn: Mutex::new(Vec::new()),
        };
        if out.is_process() {
            put_back_on_panic();
            CHANGED.store(true, Ordering::SeqCst);
            enable_raw_mode()?;
        }
        out.write(ENTER)?;
        Ok(screen)
    }

    /// Draws the lines, from the top; nothing where they are on the screen already.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if *drawn == lines {
            return Ok(());
        }
        lines.clone_into(&mut drawn);
        // Each line is overwritten and its rest cleared: to clear all first would flicker.
        let body = lines.join("\x1b[K\r\n");
        self.out.write(&format!("\x1b[H{body}\x1b[K\x1b[J"))
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        if self.out.is_process() {
            // Once is enough: left a second time, some terminals jump back over what was written since.
            if !CHANGED.swap(false, Ordering::SeqCst) {
                return;
            }
            disable_raw_mode().ok();
        }
        // Nobody is left to be told that the terminal has gone away.
        self.out.write(LEAVE).ok();
    }
}

/// A release build aborts on panic and drops nothing, so the panic's own hook puts the terminal back; its
/// message is then read on the screen that stays.
fn put_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if CHANGED.swap(false, Ordering::SeqCst) {
                put_back(&mut io::stdout());
                disable_raw_mode().ok();
            }
            before(panic);
        }));
    });
}

fn put_back(out: &mut impl io::Write) {
    out.write_all(LEAVE.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}
