use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Format, FormatError, Look, Tone, Ui, amount,
    look::columns as width,
    table::{Cell, Column, Table},
};
use crate::{
    engine::{Progress, Unit},
    report::{API_VERSION, Current, Report, RestoreChecked, State},
};

/// One line of `status`: a migration as it is.
#[derive(Clone, Debug, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StatusRow {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The playbook's name.
    pub playbook: String,
    /// How it is.
    pub state: State,
    /// The step where it is; none when there is no more.
    pub current: Option<Current>,
    /// How far that step is, as it was published last.
    pub progress: Option<Progress>,
    /// Bytes a second that all its volumes together are limited to; none where nothing is limited.
    pub limit_bytes_per_second: Option<u64>,
    /// Why it is in its state: the error, what it waits for. Empty where there is nothing to say.
    pub why: String,
    /// Whether nobody can write now.
    pub frozen: bool,
    /// Seconds that nobody could write, up to now.
    pub frozen_seconds: f64,
    /// Seconds that the warm rounds expected it to last; none before they have measured.
    pub expected_freeze_seconds: Option<f64>,
    /// When its snapshot was last started and found to be good; none where that was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_checked: Option<RestoreChecked>,
    /// When it was begun.
    pub created: Timestamp,
    /// Seconds since it was begun.
    pub age_seconds: f64,
}

/// What `-o json` gives for `status`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusList<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [StatusRow],
}

impl StatusRow {
    /// The line of a report. The progress is shown only while its step runs.
    #[must_use]
    pub fn of(report: &Report, progress: Option<&Progress>) -> Self {
        let current = report.current.clone();
        let step = current.as_ref().map(|current| current.step.as_str());
        let running = matches!(report.state, State::Running | State::RollingBack);
        let progress = progress.filter(|progress| running && step == Some(progress.step.as_str()));
        let why =
            step.and_then(|step| report.step(step))
                .map_or_else(String::new, |step| {
                    match step.checks.iter().max_by_key(|check| check.verdict) {
                        Some(check) if step.why.is_empty() => {
                            format!("{}: {}", check.object, check.evidence)
                        }
                        _ => step.why.clone(),
                    }
                });
        let age_seconds = report
            .seen
            .duration_since(report.created)
            .as_secs_f64()
            .max(0.0);
        Self {
            namespace: report.namespace.clone(),
            name: report.name.clone(),
            playbook: report.playbook.clone(),
            state: report.state,
            current,
            progress: progress.cloned(),
            limit_bytes_per_second: None,
            why,
            frozen: report.frozen.now,
            frozen_seconds: report.frozen.seconds,
            expected_freeze_seconds: report.frozen.expected_seconds,
            restore_checked: report.restore_checked.clone(),
            created: report.created,
            age_seconds,
        }
    }

    /// The line of a migration whose journal cannot be read, and why. Nobody knows when it was begun but
    /// by the journal's object.
    #[must_use]
    pub fn unreadable(
        (namespace, name): (&str, &str),
        created: Option<Timestamp>,
        why: String,
        now: Timestamp,
    ) -> Self {
        let created = created.unwrap_or(now);
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            playbook: String::new(),
            state: State::Unreadable,
            current: None,
            progress: None,
            limit_bytes_per_second: None,
            why,
            frozen: false,
            frozen_seconds: 0.0,
            expected_freeze_seconds: None,
            restore_checked: None,
            created,
            age_seconds: now.duration_since(created).as_secs_f64().max(0.0),
        }
    }

    /// The same with what it is limited to. What has ended copies nothing any more.
    #[must_use]
    pub fn with_limit(mut self, bytes_per_second: Option<u64>) -> Self {
        let ended = matches!(self.state, State::Done | State::RolledBack);
        self.limit_bytes_per_second = bytes_per_second.filter(|_| !ended);
        self
    }

    /// `4/7 final-copy`.
    #[must_use]
    pub fn step(&self) -> String {
        self.current.as_ref().map_or_else(
            || "–".to_owned(),
            |current| format!("{}/{} {}", current.number, current.of, current.step),
        )
    }

    /// `1.1/1.4 GiB  212 MB/s  2s  limit 210 MB/s  limited by: source disk 71 %`, or why it does not go on.
    #[must_use]
    pub fn progress(&self) -> String {
        self.progress_and(self.progress.as_ref().and_then(limited))
    }

    /// The same with this for what it waits for.
    fn progress_and(&self, limited: Option<String>) -> String {
        let limit = self
            .limit_bytes_per_second
            .map(|limit| format!("limit {}", amount::rate(limit as f64)));
        match (&self.progress, limit) {
            (Some(progress), limit) => {
                let more = limit.into_iter().chain(limited);
                let all: Vec<_> = std::iter::once(figures(progress)).chain(more).collect();
                all.join("  ")
            }
            (None, Some(limit)) if self.why.is_empty() => limit,
            (None, None) if self.why.is_empty() => match &self.restore_checked {
                Some(checked) => format!(
                    "checked {} ago (level {})",
                    span(checked.age_seconds, amount::age),
                    checked.level
                ),
                None => "–".to_owned(),
            },
            (None, _) => self.why.clone(),
        }
    }

    /// How long nobody could write: `41s`, or `–`.
    #[must_use]
    pub fn frozen(&self) -> String {
        if self.frozen || self.frozen_seconds > 0.0 {
            span(self.frozen_seconds, amount::duration)
        } else {
            "–".to_owned()
        }
    }

    /// The same with how long it should last, where that is known and not over: `41s of 1m54s`, or
    /// `expect 1m54s` before it has begun.
    #[must_use]
    pub fn frozen_of_expected(&self) -> String {
        let frozen = self.frozen();
        let expected = self.expected_freeze_seconds;
        let expected = expected.map(|seconds| span(seconds, amount::duration));
        match expected {
            Some(expected) if self.frozen => format!("{frozen} of {expected}"),
            Some(expected) if frozen == "–" && self.current.is_some() => {
                format!("expect {expected}")
            }
            _ => frozen,
        }
    }

    fn cells(&self, namespaced: bool, wide: bool, roomy: bool) -> Vec<Cell> {
        let mut cells = Vec::with_capacity(9);
        if namespaced {
            cells.push(self.namespace.as_str().into());
        }
        let (frozen, progress) = if roomy {
            (self.frozen_of_expected(), self.progress())
        } else {
            (self.frozen(), self.progress_and(None))
        };
        cells.extend([
            Cell::toned(&self.name, Tone::Strong),
            if self.playbook.is_empty() {
                "–".into()
            } else {
                self.playbook.as_str().into()
            },
            self.step().into(),
            Cell::toned(self.state.name(), tone(self.state)),
            progress.into(),
            if self.frozen {
                Cell::toned(&frozen, Tone::Notice)
            } else {
                frozen.into()
            },
        ]);
        if wide {
            cells.push(
                self.created
                    .strftime("%Y-%m-%d %H:%M:%SZ")
                    .to_string()
                    .into(),
            );
        }
        cells.push(span(self.age_seconds, amount::age).into());
        cells
    }
}

/// How far something is, in figures: `1.1/1.4 GiB  212 MB/s  2s`.
pub(super) fn figures(progress: &Progress) -> String {
    let mut text = amounts(progress);
    if let Some(left) = left(progress) {
        text = format!("{text}  {}", amount::duration(left));
    }
    text
}

/// How far something is and how fast it goes: `1.1/1.4 GiB  212 MB/s`.
pub(super) fn amounts(progress: &Progress) -> String {
    let text = share(progress.unit, progress.done, progress.total);
    match progress.unit {
        _ if progress.rate <= 0.0 => text,
        Unit::Bytes => format!("{text}  {}", amount::rate(progress.rate)),
        Unit::Count => format!("{text}  {:.0}/s", progress.rate),
    }
}

/// `limited by: source disk 71 %`, where that is known.
pub(super) fn limited(progress: &Progress) -> Option<String> {
    let limited = progress.limited.as_ref()?;
    Some(format!("limited by: {limited}"))
}

/// `1.1/1.4 GiB` or `12/40`.
pub(super) fn share(unit: Unit, done: u64, total: u64) -> String {
    match unit {
        Unit::Bytes => amount::bytes_of(done, total),
        Unit::Count => format!("{}/{}", amount::count(done), amount::count(total)),
    }
}

/// How long the rest takes at the present rate.
pub(super) fn left(progress: &Progress) -> Option<Duration> {
    let rest = progress
        .total
        .checked_sub(progress.done)
        .filter(|rest| *rest > 0)?;
    (progress.rate > 0.0).then(|| Duration::try_from_secs_f64(rest as f64 / progress.rate).ok())?
}

/// The tone of a state.
pub(super) const fn tone(state: State) -> Tone {
    match state {
        State::Done | State::Running => Tone::Good,
        State::Waiting
        | State::Interrupted
        | State::RollingBack
        | State::RollbackInterrupted
        | State::PartlyRolledBack => Tone::Notice,
        State::Failed | State::Blocked | State::RollbackFailed | State::Unreadable => Tone::Bad,
        State::Planned | State::RolledBack => Tone::Faint,
    }
}

fn span(seconds: f64, show: fn(Duration) -> String) -> String {
    Duration::try_from_secs_f64(seconds).map_or_else(|_| "<invalid>".to_owned(), show)
}

/// Columns of a terminal that has room for more than what is.
const ROOMY: usize = 140;

/// The lines of the table; `namespaced` as for `-A`.
pub(super) fn lines(rows: &[StatusRow], look: Look, namespaced: bool, wide: bool) -> Vec<String> {
    // Figures that are cut tell nothing; a reason that is cut tells something.
    let figures = rows.iter().filter_map(|row| {
        let figures = width(&figures(row.progress.as_ref()?));
        // A limit may be cut off after them: two spaces and the dots.
        Some(figures + row.limit_bytes_per_second.map_or(0, |_| 3))
    });
    let figures = figures.max().unwrap_or(0);
    let mut columns = Vec::with_capacity(9);
    if namespaced {
        columns.push(Column::text("NAMESPACE", 9).expendable(2));
    }
    columns.extend([
        Column::text("NAME", 12),
        Column::text("PLAYBOOK", 8).expendable(4),
        Column::text("STEP", 8),
        Column::whole("STATE"),
        Column::text("PROGRESS", figures.max(11)).expendable(3),
        Column::whole("FROZEN").expendable(1),
    ]);
    if wide {
        columns.push(Column::whole("CREATED"));
    }
    columns.push(Column::whole("AGE").expendable(2));
    // Where there is little room, what is counts for more than what is expected, and than why.
    let roomy = look.width.is_none_or(|width| width >= ROOMY);
    let mut table = Table::new(columns);
    for row in rows {
        table.row(row.cells(namespaced, wide, roomy));
    }
    table.lines(look)
}

impl Ui {
    /// Shows migrations on standard output; `namespaced` as for `-A`. Of none there is no table: that is
    /// for the caller to say.
    pub fn status(
        &self,
        format: Format,
        rows: &[StatusRow],
        namespaced: bool,
    ) -> Result<(), FormatError> {
        match format {
            Format::Json | Format::Yaml => self.document(
                format,
                &StatusList {
                    api_version: API_VERSION,
                    kind: "StatusList",
                    items: rows,
                },
            ),
            Format::Name => {
                for row in rows {
                    self.data(&format!("migration/{}", row.name))?;
                }
                Ok(())
            }
            Format::Table | Format::Wide if rows.is_empty() => Ok(()),
            Format::Table => {
                Ok(self.show(&lines(rows, self.out_look(), namespaced, false).join("\n"))?)
            }
            Format::Wide => {
                let look = Look {
                    width: None,
                    ..self.out_look()
                };
                Ok(self.show(&lines(rows, look, namespaced, true).join("\n"))?)
            }
            Format::Markdown | Format::Html => Err(format.unknown(&Format::COMMON)),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
