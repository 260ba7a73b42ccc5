use std::{
    io::{self, IsTerminal as _, Write},
    sync::{Arc, Mutex, PoisonError},
};

use indicatif::MultiProgress;

use super::{
    Environment, Look, Options, OutputError, Tone,
    stream::{Size, Stream},
    visible_lines,
};

/// Rows of the screen of tests.
const TEST_ROWS: u16 = 24;

/// Everything that a person sees goes through here: data to standard output, the rest to standard error.
///
/// Clones write to the same streams.
#[derive(Clone, Debug)]
pub struct Ui {
    pub(super) out: Stream,
    pub(super) err: Stream,
    /// Whether somebody can answer: standard input and standard error are a terminal.
    pub(super) answers: bool,
    options: Arc<Options>,
    /// The bars that are on the terminal now: what else is written has to go above them.
    bars: Arc<Mutex<Option<MultiProgress>>>,
}

/// What was written by a [`Ui`] that was made for a test.
#[derive(Clone, Debug, Default)]
pub struct Written {
    out: Buffer,
    err: Buffer,
}

#[derive(Clone, Debug, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Ui {
    /// Over this process's streams.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let environment = Environment::read();
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let (out_terminal, err_terminal) = (stdout.is_terminal(), stderr.is_terminal());
        let answers = err_terminal && io::stdin().is_terminal();
        let stream = |stream: Stream| {
            let color = environment.color(&options, stream.terminal);
            let moves = stream.terminal && !environment.dumb;
            stream.shown(color, moves)
        };
        let size = Size::Asked(environment.columns);
        Self {
            out: stream(Stream::new(stdout, out_terminal, size)),
            err: stream(Stream::new(stderr, err_terminal, size)),
            answers,
            options: Arc::new(options),
            bars: Arc::default(),
        }
    }

    /// Over buffers: a closed world for tests. A terminal of this width and 24 rows, without colours; or a
    /// pipe.
    #[must_use]
    pub fn for_test(width: u16, terminal: bool) -> (Self, Written) {
        Self::for_test_with(width, terminal, false, Options::default())
    }

    /// The same with colours and flags.
    #[must_use]
    pub fn for_test_with(
        width: u16,
        terminal: bool,
        color: bool,
        mut options: Options,
    ) -> (Self, Written) {
        let written = Written::default();
        let size = Size::Fixed(width, TEST_ROWS);
        let stream =
            |buffer: &Buffer| Stream::new(buffer.clone(), terminal, size).shown(color, terminal);
        if options.program.is_empty() {
            "kubectl migrate".clone_into(&mut options.program);
        }
        let ui = Self {
            out: stream(&written.out),
            err: stream(&written.err),
            answers: terminal,
            options: Arc::new(options),
            bars: Arc::default(),
        };
        (ui, written)
    }

    /// What the user asked for.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How the program is shown in commands.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.options.program
    }

    /// Lines of data, to standard output. A line's end is added where it is missing.
    pub fn data(&self, text: &str) -> Result<(), OutputError> {
        self.show(&visible_lines(text))
    }

    /// A text for another program, a shell say, to standard output: as it is, tabs and all. Nothing that
    /// comes from elsewhere belongs into it but names that the API server has checked.
    pub fn raw(&self, text: &str) -> Result<(), OutputError> {
        self.show(text)
    }

    /// A line to standard error, unless `-q`. It cannot fail: there is nowhere to say so.
    pub fn say(&self, text: &str) {
        if !self.options.quiet {
            self.tell(&visible_lines(text));
        }
    }

    /// A line `warning: …` to standard error, unless `-q`.
    pub fn warn(&self, text: &str) {
        if !self.options.quiet {
            let head = self.err.look().paint(Tone::Notice, "warning:");
            self.tell(&format!("{head} {}", visible_lines(text)));
        }
    }

    /// What the parser of the command line has to say: help to standard output, a refusal to standard
    /// error. The text has been fitted to the terminal's width already.
    pub fn parsed(&self, said: &clap::Error) -> Result<(), OutputError> {
        let stream = if said.use_stderr() {
            &self.err
        } else {
            &self.out
        };
        let text = said.render();
        let text = if stream.color {
            text.ansi().to_string()
        } else {
            visible_lines(&text.to_string())
        };
        stream.write(&ended(&text))?;
        Ok(())
    }

    /// Where a log goes: to standard error, above the bars, safe for a terminal.
    #[must_use]
    pub fn log(&self) -> Log {
        Log(self.clone())
    }

    /// How texts for standard output may look.
    pub(super) fn out_look(&self) -> Look {
        self.out.look()
    }

    /// Writes a text that is safe already to standard output.
    pub(super) fn show(&self, text: &str) -> Result<(), OutputError> {
        self.apart(|| self.out.write(&ended(text)))?;
        Ok(())
    }

    /// Writes a text that is safe already to standard error, also with `-q`.
    pub(super) fn tell(&self, text: &str) {
        self.apart(|| self.err.write(&ended(text))).ok();
    }

    /// Says which bars are on the terminal from now on.
    pub(super) fn keep_apart(&self, bars: Option<MultiProgress>) {
        *self.bars.lock().unwrap_or_else(PoisonError::into_inner) = bars;
    }

    /// Does something on the terminal while there are no bars on it.
    pub(super) fn apart<T>(&self, act: impl FnOnce() -> T) -> T {
        let bars = self
            .bars
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match bars {
            Some(bars) => bars.suspend(act),
            None => act(),
        }
    }
}

/// A writer of whole lines to standard error, as a log needs it.
#[derive(Clone, Debug)]
pub struct Log(Ui);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.tell(&visible_lines(&text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ended(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{text}{end}")
}

impl Written {
    /// What was written to standard output.
    #[must_use]
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// What was written to standard error.
    #[must_use]
    pub fn err(&self) -> String {
        self.err.text()
    }
}

impl Buffer {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone(io::ErrorKind);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writing_to(kind: io::ErrorKind) -> Ui {
        let (ui, _) = Ui::for_test(80, false);
        Ui {
            out: Stream::new(Gone(kind), false, Size::Fixed(80, 24)),
            ..ui
        }
    }

    #[test]
    fn a_reader_that_went_away_is_told_apart_from_a_full_disk() {
        let gone = writing_to(io::ErrorKind::BrokenPipe)
            .data("x")
            .map_err(anyhow::Error::from);
        let table = writing_to(io::ErrorKind::BrokenPipe)
            .document(crate::ui::Format::Json, &1)
            .map_err(anyhow::Error::from);
        assert!(table.is_err_and(|error| OutputError::is_closed(&error.context("status"))));
        let full = writing_to(io::ErrorKind::StorageFull)
            .data("x")
            .map_err(anyhow::Error::from);
        assert!(gone.is_err_and(|error| OutputError::is_closed(&error.context("status"))));
        assert!(full.is_err_and(|error| !OutputError::is_closed(&error)));
    }

    #[test]
    fn data_and_talk_go_to_their_own_streams_and_carry_no_escapes() -> anyhow::Result<()> {
        let (ui, written) = Ui::for_test(80, true);
        ui.data("pod\x1b[2J\n")?;
        ui.say("one\ntwo");
        ui.warn("old\x07");
        assert_eq!(written.out(), "pod\\u{1b}[2J\n");
        assert_eq!(written.err(), "one\ntwo\nwarning: old\\u{7}\n");
        Ok(())
    }

    #[test]
    fn quiet_says_nothing_but_still_gives_data() -> anyhow::Result<()> {
        let quiet = Options {
            quiet: true,
            ..Options::default()
        };
        let (ui, written) = Ui::for_test_with(80, true, true, quiet);
        ui.say("hello");
        ui.warn("old");
        ui.data("1")?;
        assert_eq!(
            (written.out(), written.err()),
            ("1\n".to_owned(), String::new())
        );
        Ok(())
    }
}
