use std::{
    io,
    sync::{Mutex, PoisonError},
};

use indicatif::TermLike;

use crate::ui::stream::Stream;

/// A stream as the bars need it: they move its cursor, and what they draw is written in one piece.
#[derive(Debug)]
pub(super) struct Terminal {
    stream: Stream,
    drawn: Mutex<String>,
}

impl Terminal {
    pub(super) fn new(stream: &Stream) -> Self {
        Self {
            stream: stream.clone(),
            drawn: Mutex::new(String::new()),
        }
    }

    fn add(&self, text: &str) {
        self.drawn
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(text);
    }

    fn travel(&self, by: usize, letter: char) {
        // Nought would be taken as one.
        if by > 0 {
            self.add(&format!("\x1b[{by}{letter}"));
        }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        self.stream.size().0
    }

    fn height(&self) -> u16 {
        self.stream.size().1
    }

    fn move_cursor_up(&self, by: usize) -> io::Result<()> {
        self.travel(by, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, by: usize) -> io::Result<()> {
        self.travel(by, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, by: usize) -> io::Result<()> {
        self.travel(by, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, by: usize) -> io::Result<()> {
        self.travel(by, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(text);
        self.add("\n");
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\x1b[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = std::mem::take(&mut *self.drawn.lock().unwrap_or_else(PoisonError::into_inner));
        self.stream.write(&drawn)
    }
}
