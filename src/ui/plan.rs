use std::time::Duration;

use serde::Serialize;

use super::{
    Format, FormatError, Look, Tone, Ui, amount,
    look::columns,
    table::{Cell, Column, Table},
    visible::visible,
};
use crate::{
    engine::{Freezes, Step, UndoPlan},
    report::API_VERSION,
};

/// What `plan` shows: every step, how it is undone, where writes stop and where the way back ends.
#[derive(Clone, Debug, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `Plan`.
    pub kind: &'static str,
    /// The migration's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The playbook's name.
    pub playbook: String,
    /// From what to what, and how much: `statefulset/a → prod-eu: shop/statefulset/a, 3 pods, 42.1 GiB`.
    pub summary: String,
    /// The steps, in order.
    pub steps: Vec<PlanStep>,
    /// How long nobody can write, as far as it can be said.
    pub freeze: FreezeForecast,
}

/// One step of a [`PlanView`].
#[derive(Clone, Debug, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// Its name.
    pub step: String,
    /// What it does.
    pub what: String,
    /// How it is undone; none where it changes nothing, or where it cannot be undone.
    pub undo: Option<String>,
    /// Why it cannot be undone; none where it can.
    pub irreversible: Option<String>,
    /// How many seconds it takes at most; none where that cannot be said before it is run.
    pub at_most_seconds: Option<f64>,
    /// Writes stop with it.
    pub freezes: bool,
    /// Writes may begin again with it.
    pub thaws: bool,
}

/// How long nobody can write.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FreezeForecast {
    /// Seconds that the warm rounds expect; none before they have measured, and where writes do not stop.
    pub expected_seconds: Option<f64>,
    /// Seconds that the plan allows; none where it names no bound.
    pub allowed_seconds: Option<f64>,
    /// Whether there are warm rounds that measure.
    #[serde(skip)]
    pub measured: bool,
}

impl PlanStep {
    /// What a step says of itself, and how long it takes at most, where that is known.
    #[must_use]
    pub fn of(step: &dyn Step, at_most: Option<Duration>) -> Self {
        let (undo, irreversible) = match step.undo_plan() {
            UndoPlan::Nothing => (None, None),
            UndoPlan::By(what) => (Some(what), None),
            UndoPlan::Never(why) => (None, Some(why)),
        };
        Self {
            step: step.id().to_owned(),
            what: step.title(),
            undo,
            irreversible,
            at_most_seconds: at_most.map(|span| span.as_secs_f64()),
            freezes: step.freezes() == Freezes::Begin,
            thaws: step.freezes() == Freezes::End,
        }
    }
}

impl PlanView {
    /// A view of these steps, and of what is known of the freeze in it.
    #[must_use]
    pub fn new(
        (namespace, name): (&str, &str),
        playbook: &str,
        summary: impl Into<String>,
        steps: Vec<PlanStep>,
        freeze: FreezeForecast,
    ) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Plan",
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            playbook: playbook.to_owned(),
            summary: summary.into(),
            freeze,
            steps,
        }
    }

    fn render(&self, look: Look, program: &str) -> String {
        let mut lines = vec![
            visible(&format!(
                "Migration {}/{} ({}): {}",
                self.namespace, self.name, self.playbook, self.summary
            ))
            .into_owned(),
            String::new(),
        ];
        lines.extend(self.table(look));
        lines.push(String::new());
        lines.extend(self.sentence(look, program));
        lines.extend(self.point_of_no_return(look));
        let keep = format!(
            "The source is kept until you run `{program} cleanup {} --old-data`.",
            visible(&self.name)
        );
        match lines.last_mut() {
            Some(last) if last.starts_with(EXPECTED) => {
                last.push(' ');
                last.push_str(&keep);
            }
            _ => lines.push(keep),
        }
        lines.join("\n")
    }

    fn table(&self, look: Look) -> Vec<String> {
        let mut table = Table::new(vec![
            Column::whole("#").right(),
            Column::text("STEP", 8),
            Column::text("WHAT IT DOES", 12),
            Column::text("UNDO", 8).expendable(1),
            Column::whole("EXPECTED").right().expendable(2),
        ]);
        for (at, step) in self.steps.iter().enumerate() {
            table.row(vec![
                (at + 1).to_string().into(),
                Cell::toned(&step.step, Tone::Strong),
                step.what.as_str().into(),
                step.undo_cell(),
                at_most(step.at_most_seconds).into(),
            ]);
        }
        // The numbers stand one column in, so that rules can begin there, too.
        let inner = Look {
            width: look.width.map(|width| width.saturating_sub(1)),
            ..look
        };
        let rows = table.lines(inner);
        let bare = table.lines(Look {
            color: false,
            ..inner
        });
        let longest = bare.iter().map(|row| columns(row)).max().unwrap_or(0);
        let mut lines = Vec::with_capacity(rows.len() + 2);
        let mut rows = rows.into_iter();
        lines.extend(rows.next().map(|row| format!(" {row}")));
        for (step, row) in self.steps.iter().zip(rows) {
            let first = self.steps.iter().find(|step| step.irreversible.is_some());
            if first.is_some_and(|first| std::ptr::eq(first, step)) {
                let rule = inner.rule("no way back from here", longest);
                lines.push(format!(" {}", look.paint(Tone::Bad, rule)));
            }
            lines.push(format!(" {row}"));
            if step.freezes {
                let rule = inner.rule("writes stop here", longest);
                lines.push(format!(" {}", look.paint(Tone::Notice, rule)));
            }
        }
        lines
    }

    fn point_of_no_return(&self, look: Look) -> Option<String> {
        let (at, step) = self
            .steps
            .iter()
            .enumerate()
            .find(|(_, step)| step.irreversible.is_some())?;
        let why = step.irreversible.as_deref().unwrap_or_default();
        let head = look.paint(Tone::Bad, format!("No way back from step {} on:", at + 1));
        Some(format!("{head} {}.", visible(why)))
    }
}

impl PlanStep {
    fn undo_cell(&self) -> Cell {
        match (&self.irreversible, &self.undo) {
            (Some(_), _) => Cell::toned("none", Tone::Bad),
            (None, Some(undo)) => Cell::new(undo),
            (None, None) => Cell::new("–"),
        }
    }
}

/// How the sentence on the freeze begins.
const EXPECTED: &str = "Expected freeze";

impl PlanView {
    /// What is known of how long nobody can write; nothing where writes do not stop.
    fn sentence(&self, look: Look, program: &str) -> Option<String> {
        let begin = self.steps.iter().position(|step| step.freezes)?;
        if !self.steps[begin..].iter().any(|step| step.thaws) {
            let name = visible(&self.name);
            return Some(format!(
                "Writes stay stopped until `{program} rollback {name}` puts everything back."
            ));
        }
        let FreezeForecast {
            expected_seconds,
            allowed_seconds,
            measured,
        } = self.freeze;
        let allowed = allowed_seconds.map(|allowed| format!("allowed {}", span(allowed)));
        let text = match (expected_seconds, allowed) {
            (Some(seconds), _) if allowed_seconds.is_some_and(|allowed| seconds > allowed) => {
                let over = format!(
                    "more than the {} that the plan allows",
                    span(allowed_seconds.unwrap_or_default())
                );
                format!(
                    "about {}, as the warm rounds measured: {}",
                    span(seconds),
                    look.paint(Tone::Bad, over)
                )
            }
            (Some(seconds), allowed) => {
                let allowed = allowed.map_or_else(String::new, |allowed| format!(" ({allowed})"));
                format!(
                    "about {}, as the warm rounds measured{allowed}",
                    span(seconds)
                )
            }
            (None, allowed) if !measured => {
                let allowed = allowed.map_or_else(String::new, |allowed| format!(" ({allowed})"));
                format!("not known, because no warm round is made to measure it{allowed}")
            }
            (None, Some(allowed)) => format!(
                "not known before the warm rounds ({allowed}; a cut-over that would not fit is refused then)"
            ),
            (None, None) => {
                "not known before the warm rounds (spec.freeze.max or --max-freeze bounds it)"
                    .to_owned()
            }
        };
        Some(format!("{EXPECTED}: {text}."))
    }
}

fn at_most(seconds: Option<f64>) -> String {
    seconds.map_or_else(
        || "–".to_owned(),
        |seconds| format!("up to {}", span(seconds)),
    )
}

fn span(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or_else(|_| "–".to_owned(), amount::duration)
}

impl Ui {
    /// Shows a plan on standard output.
    pub fn plan(&self, format: Format, plan: &PlanView) -> Result<(), FormatError> {
        match format {
            Format::Json | Format::Yaml => self.document(format, plan),
            Format::Name => Ok(self.data(&format!("migration/{}", plan.name))?),
            Format::Table => Ok(self.show(&plan.render(self.out_look(), self.program()))?),
            Format::Wide => {
                let look = Look {
                    width: None,
                    ..self.out_look()
                };
                Ok(self.show(&plan.render(look, self.program()))?)
            }
            Format::Markdown | Format::Html => Err(format.unknown(&Format::COMMON)),
        }
    }
}

#[cfg(test)]
mod tests;
