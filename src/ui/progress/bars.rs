use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    narrator::{Doing, Narrator, told, waiting},
    terminal::Terminal,
};
use crate::{
    engine::{Part, Progress},
    ui::{
        amount,
        look::{columns, cut},
        status::{limited, share},
        stream::Stream,
        visible::visible,
    },
};

/// How often a terminal is drawn at most, in times per second.
const HERTZ: u8 = 15;

/// More volumes than this are not shown at once; those that are done go first.
const PARTS: usize = 10;

/// Columns below which there is no room for a bar beside its figures.
const ROOM_FOR_BAR: usize = 60;

/// The bars of the running step: one per volume, and one for all.
pub(super) struct Bars {
    all: MultiProgress,
    stream: Stream,
    shown: Mutex<Vec<ProgressBar>>,
}

/// What one bar shows.
struct Row {
    name: String,
    done: u64,
    total: u64,
    figures: String,
}

impl Bars {
    pub(super) fn new(stream: &Stream) -> Self {
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Terminal::new(stream)), HERTZ);
        Self {
            all: MultiProgress::with_draw_target(target),
            stream: stream.clone(),
            shown: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn all(&self) -> MultiProgress {
        self.all.clone()
    }

    /// Brings the bars up to date.
    pub(super) fn draw(&self, narrator: &Narrator) {
        let (columns, rows) = self.stream.size();
        // The last column stays free: some terminals wrap when it is written to.
        let width = usize::from(columns).saturating_sub(1);
        match narrator.now() {
            None => self.show(&[], width),
            Some(Doing::Progress(progress)) => {
                self.show(&of_progress(narrator, progress, usize::from(rows)), width);
            }
            Some(Doing::Begun { step, since }) => {
                let text = format!(
                    "{}  {}",
                    narrator.place(step),
                    amount::duration(since.elapsed())
                );
                self.show(&[Row::only(text)], width);
            }
            Some(Doing::Waiting { step, what, since }) => {
                // The time first: it must not be what is cut off.
                let time = amount::duration(since.elapsed());
                let text = format!("{}  {time}  {}", narrator.place(step), waiting(what));
                self.show(&[Row::only(text)], width);
            }
        }
    }

    /// Takes the bars away.
    pub(super) fn clear(&self) {
        self.show(&[], 0);
        // A terminal that went away has nothing left to be cleared.
        self.all.clear().ok();
    }

    fn show(&self, rows: &[Row], width: usize) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        while shown.len() > rows.len() {
            if let Some(bar) = shown.pop() {
                bar.finish_and_clear();
                self.all.remove(&bar);
            }
        }
        while shown.len() < rows.len() {
            shown.push(self.all.add(ProgressBar::new(0)));
        }
        let longest = rows.iter().map(|row| columns(&row.name)).max().unwrap_or(0);
        for (bar, row) in shown.iter().zip(rows) {
            row.put_on(bar, longest, width);
        }
    }
}

fn of_progress(narrator: &Narrator, progress: &Progress, height: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    // One part is all of it: a bar of its own would say the same twice.
    if progress.parts.len() > 1 {
        let most = PARTS.min(height.saturating_sub(4));
        let mut parts: Vec<&Part> = progress.parts.iter().collect();
        if parts.len() > most {
            parts.sort_by_key(|part| part.done >= part.total);
        }
        let more = parts.len().saturating_sub(most);
        rows.extend(parts.into_iter().take(most).map(|part| Row {
            name: visible(&part.name).into_owned(),
            done: part.done,
            total: part.total,
            figures: share(progress.unit, part.done, part.total),
        }));
        if more > 0 {
            rows.push(Row::only(format!("… and {more} more")));
        }
    }
    rows.push(Row {
        name: narrator.place(&progress.step),
        done: progress.done,
        total: progress.total,
        figures: visible(&told(progress)).into_owned(),
    });
    rows.extend(limited(progress).map(|limited| Row::only(visible(&limited).into_owned())));
    rows
}

impl Row {
    /// A text without a bar.
    fn only(text: String) -> Self {
        Self {
            name: String::new(),
            done: 0,
            total: 0,
            figures: text,
        }
    }

    fn put_on(&self, bar: &ProgressBar, longest: usize, width: usize) {
        let has_bar = self.total > 0 && width >= ROOM_FOR_BAR;
        let text = if self.name.is_empty() {
            cut(&self.figures, width)
        } else if has_bar {
            self.figures.clone()
        } else {
            cut(&format!("{}  {}", self.name, self.figures), width)
        };
        // The figures are the more useful half: the name gives way first.
        let name = if has_bar {
            let name = cut(&self.name, longest.min(width / 3));
            let pad = longest.min(width / 3).saturating_sub(columns(&name));
            format!("{name}{}", " ".repeat(pad))
        } else {
            String::new()
        };
        let template = if has_bar {
            "{prefix}  {wide_bar}  {msg}"
        } else {
            "{msg}"
        };
        // Our own templates are well formed; should one not be, the default one still shows the bar.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_length(self.total);
        bar.set_position(self.done.min(self.total));
        bar.set_prefix(name);
        bar.set_message(text);
    }
}
