use std::{collections::BTreeSet, time::Duration};

use super::schema;

use jiff::Timestamp;

use crate::{
    engine::Limited,
    report::{Checked, Report, StepReport, StepState},
    ui::{
        Tone, amount,
        status::tone,
        table::{Cell, Column, Table},
    },
};

/// A report, laid out: a title, facts and tables.
pub(super) struct Document {
    pub(super) title: String,
    /// How the whole is, and how that looks.
    pub(super) state: (&'static str, Tone),
    pub(super) facts: Vec<(&'static str, String)>,
    /// Sentences, which are never cut.
    pub(super) notes: Vec<Note>,
    pub(super) sections: Vec<Section>,
}

/// Something to say about a step.
pub(super) struct Note {
    pub(super) step: String,
    /// What kind of thing it is: a state, `evidence`, `marked`.
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// A table with its heading.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) table: Table,
}

impl Document {
    pub(super) fn of(report: &Report) -> Self {
        let mut facts = vec![
            ("begun", time(report.created)),
            ("last change", time(report.updated)),
            ("by", format!("{}, run {}", report.tool, report.run)),
            ("cluster", report.cluster.clone()),
        ];
        if !report.frozen.periods.is_empty() {
            facts.push(("frozen", frozen(report)));
        }
        if let Some(current) = &report.current {
            facts.push((
                "at",
                format!("step {}/{} {}", current.number, current.of, current.step),
            ));
        }
        if let Some(readers) = report.readers() {
            facts.push(("compared by", readers.tool));
            for image in readers.images {
                facts.push(("mover image", image));
            }
        }
        if let Some(checked) = &report.checked {
            facts.push(("read again", read_again(checked)));
        }
        let sections = [
            Section::new("Steps", steps(report)),
            Section::new("Copied", copied(report)),
            Section::new("Compared", compared(report)),
            Section::new("Read again", checked(report)),
            Section::new("Copied", schema::copied(report)),
            Section::new("Compared", schema::compared(report)),
            Section::new("Left out of the comparison", schema::ignored(report)),
            Section::new("Findings", findings(report)),
            Section::new("Runners", runners(report)),
        ];
        Self {
            title: format!(
                "Migration {}/{} ({})",
                report.namespace, report.name, report.playbook
            ),
            state: (report.state.name(), tone(report.state)),
            facts,
            notes: notes(report),
            sections: sections
                .into_iter()
                .filter(|section| !section.table.is_empty())
                .collect(),
        }
    }
}

impl Section {
    const fn new(title: &'static str, table: Table) -> Self {
        Self { title, table }
    }
}

fn steps(report: &Report) -> Table {
    let mut table = Table::new(vec![
        Column::whole("#").right(),
        Column::text("STEP", 8),
        Column::whole("STATE"),
        Column::whole("STARTED").expendable(1),
        Column::whole("ENDED").expendable(2),
        Column::whole("TRIES").right().expendable(3),
        Column::whole("TOOK").right(),
    ]);
    for step in &report.steps {
        table.row(vec![
            step.number.to_string().into(),
            Cell::toned(&step.step, Tone::Strong),
            Cell::toned(step.state.name(), step_tone(step.state)),
            step.started.map_or_else(nothing, time).into(),
            step.ended.map_or_else(nothing, time).into(),
            step.attempts.to_string().into(),
            step.seconds.map_or_else(nothing, span).into(),
        ]);
    }
    table
}

/// What a step's line has no room for: errors, evidence, the operator's reasons.
fn notes(report: &Report) -> Vec<Note> {
    let steps = report.steps.iter();
    steps
        .flat_map(|step| {
            notes_of(step).into_iter().map(|(kind, text)| Note {
                step: step.step.clone(),
                kind,
                text,
            })
        })
        .chain(report.said().into_iter().map(|(step, text)| Note {
            step,
            kind: "says",
            text,
        }))
        .chain(declined(report))
        .collect()
}

/// Why bytes did not go straight, once for each volume: its steps found the same.
fn declined(report: &Report) -> Vec<Note> {
    let mut told = BTreeSet::new();
    let mut notes = Vec::new();
    for volume in report.copied() {
        for why in volume.because {
            let text = format!("{} went by way `{}`: {why}", volume.source, volume.way);
            if told.insert(text.clone()) {
                notes.push(Note {
                    step: volume.step.clone(),
                    kind: "declined",
                    text,
                });
            }
        }
    }
    notes
}

fn notes_of(step: &StepReport) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    if !step.why.is_empty() && step.state != StepState::Broken {
        notes.push((step.state.name(), step.why.clone()));
    }
    notes.extend(step.evidence.iter().map(|seen| ("evidence", seen.clone())));
    notes.extend(
        step.checks
            .iter()
            .map(|check| ("check", format!("{}: {}", check.object, check.evidence))),
    );
    notes.extend(step.marked.iter().map(|reason| ("marked", reason.clone())));
    notes.extend(step.broken.iter().map(|why| ("broken", why.clone())));
    notes
}

fn copied(report: &Report) -> Table {
    let mut table = Table::new(vec![
        Column::text("STEP", 8),
        Column::text("SOURCE", 10),
        Column::text("TARGET", 10).expendable(1),
        Column::whole("ROUNDS").right().expendable(3),
        Column::whole("FILES").right().expendable(2),
        Column::whole("BYTES").right(),
        Column::whole("SENT").right(),
        Column::whole("TOOK").right().expendable(4),
        Column::whole("RATE").right().expendable(5),
        Column::whole("LIMITED BY").expendable(6),
        Column::whole("WAY").expendable(7),
    ]);
    for volume in report.copied() {
        let rate = volume.bytes_sent as f64 / volume.seconds;
        table.row(vec![
            volume.step.into(),
            volume.source.into(),
            volume.target.into(),
            volume.rounds.to_string().into(),
            amount::count(volume.files).into(),
            amount::bytes(volume.bytes).into(),
            amount::bytes(volume.bytes_sent).into(),
            span(volume.seconds).into(),
            if volume.seconds > 0.0 {
                amount::rate(rate)
            } else {
                nothing()
            }
            .into(),
            limited(volume.limited.as_ref()).into(),
            if volume.way.is_empty() {
                nothing()
            } else {
                volume.way
            }
            .into(),
        ]);
    }
    table
}

fn compared(report: &Report) -> Table {
    let verified = report.verified();
    // Only where some of it was read before writes stopped.
    let before = verified
        .iter()
        .any(|volume| volume.compared_before.is_some());
    let mut columns = vec![
        Column::text("SOURCE", 10),
        Column::text("TARGET", 10).expendable(1),
        Column::whole("FILES").right().expendable(2),
        Column::whole("DIRECTORIES").right().expendable(7),
        Column::whole("LINKS").right().expendable(8),
        Column::whole("BYTES").right(),
        Column::whole("DIFFERENCES").right(),
        Column::text("SOURCE DIGEST", 14).expendable(3),
        Column::text("TARGET DIGEST", 14).expendable(4),
        Column::whole("RATE").right().expendable(5),
        Column::whole("LIMITED BY").expendable(6),
    ];
    if before {
        columns.insert(6, Column::whole("COMPARED BEFORE").right());
    }
    let mut table = Table::new(columns);
    for volume in verified {
        let tone = if volume.differences == 0 {
            Tone::Good
        } else {
            Tone::Bad
        };
        let mut row: Vec<Cell> = vec![
            volume.source.into(),
            volume.target.into(),
            amount::count(volume.files).into(),
            volume
                .directories
                .map_or_else(nothing, amount::count)
                .into(),
            volume.links.map_or_else(nothing, amount::count).into(),
            amount::bytes(volume.bytes).into(),
            Cell::toned(&amount::count(volume.differences), tone),
            volume.source_digest.into(),
            volume.target_digest.into(),
            if volume.seconds > 0.0 {
                amount::rate(volume.bytes as f64 / volume.seconds)
            } else {
                nothing()
            }
            .into(),
            limited(volume.limited.as_ref()).into(),
        ];
        if before {
            let before = volume.compared_before;
            row.insert(6, before.map_or_else(nothing, amount::bytes).into());
        }
        table.row(row);
    }
    table
}

/// `2025-11-21 02:15:00Z (8m ago): as verified`.
fn read_again(checked: &Checked) -> String {
    let age =
        Duration::try_from_secs_f64(checked.age_seconds).map_or_else(|_| nothing(), amount::age);
    let how = if checked.equal {
        "both sides are what was verified"
    } else {
        "not all is what was verified"
    };
    format!("{} ({age} ago): {how}", time(checked.at))
}

fn checked(report: &Report) -> Table {
    let mut table = Table::new(vec![
        Column::text("SOURCE", 10),
        Column::whole("SOURCE IS"),
        Column::text("SOURCE USED BY", 14).expendable(3),
        Column::text("TARGET", 10).expendable(1),
        Column::whole("TARGET IS"),
        Column::text("TARGET USED BY", 14).expendable(2),
    ]);
    let is = |equal| {
        if equal {
            Cell::toned("as verified", Tone::Good)
        } else {
            Cell::toned("changed", Tone::Notice)
        }
    };
    let used = |by: &str| {
        if by.is_empty() {
            nothing()
        } else {
            by.to_owned()
        }
    };
    for volume in report.checked.iter().flat_map(|checked| &checked.volumes) {
        table.row(vec![
            volume.source.as_str().into(),
            is(volume.source_equal),
            used(&volume.source_used_by).into(),
            volume.target.as_str().into(),
            is(volume.target_equal),
            used(&volume.target_used_by).into(),
        ]);
    }
    table
}

/// `source disk 71 %`.
fn limited(limited: Option<&Limited>) -> String {
    limited.map_or_else(nothing, ToString::to_string)
}

fn findings(report: &Report) -> Table {
    let mut table = Table::new(vec![
        Column::text("STEP", 8).expendable(1),
        Column::text("VOLUME", 10),
        Column::text("FOUND", 12),
        Column::whole("TIMES").right(),
        Column::text("EXAMPLES", 10).expendable(2),
    ]);
    for finding in &report.findings {
        table.row(vec![
            finding.step.as_str().into(),
            finding.volume.as_str().into(),
            finding.what.as_str().into(),
            amount::count(finding.count).into(),
            finding.examples.join(", ").into(),
        ]);
    }
    table
}

/// Who ran it: only worth a table when somebody took over.
fn runners(report: &Report) -> Table {
    let mut table = Table::new(vec![
        Column::whole("RUNNER").right(),
        Column::whole("SINCE"),
        Column::whole("ENTRIES").right(),
    ]);
    if report.runners.len() > 1 {
        for runner in &report.runners {
            table.row(vec![
                runner.fence.to_string().into(),
                time(runner.since).into(),
                runner.entries.to_string().into(),
            ]);
        }
    }
    table
}

fn frozen(report: &Report) -> String {
    let periods: Vec<_> = report
        .frozen
        .periods
        .iter()
        .map(|period| match period.until {
            Some(until) => format!("{} to {}", time(period.since), time(until)),
            None => format!("since {}", time(period.since)),
        })
        .collect();
    let expected = report.frozen.expected_seconds;
    let expected = expected.map_or_else(String::new, |seconds| {
        format!(", {} were expected", span(seconds))
    });
    let lasted = span(report.frozen.seconds);
    format!("{lasted} ({}){expected}", periods.join(", "))
}

const fn step_tone(state: StepState) -> Tone {
    match state {
        StepState::Done | StepState::Running => Tone::Good,
        StepState::Pending | StepState::Skipped | StepState::Undone => Tone::Faint,
        StepState::Failed | StepState::Blocked | StepState::UndoFailed => Tone::Bad,
        StepState::Interrupted
        | StepState::Stopped
        | StepState::Waiting
        | StepState::Marked
        | StepState::Broken
        | StepState::Undoing => Tone::Notice,
    }
}

pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

pub(super) fn span(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or_else(|_| nothing(), amount::duration)
}

fn nothing() -> String {
    "–".to_owned()
}
