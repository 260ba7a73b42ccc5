use serde::Serialize;

use super::{
    Format, FormatError, Look, Tone, Ui,
    amount::counted,
    table::{Cell, Column, Table},
    visible::visible_lines,
};
use crate::{
    engine::{Check, Verdict},
    report::API_VERSION,
};

/// What `preflight` shows: what every step's checks found.
#[derive(Clone, Debug, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PreflightView {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `Preflight`.
    pub kind: &'static str,
    /// The migration's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The worst of all verdicts.
    pub verdict: Verdict,
    /// Every check, the worst first.
    pub checks: Vec<StepCheck>,
}

/// A check with the step that asked for it.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct StepCheck {
    /// The step.
    pub step: String,
    /// What it found.
    pub check: Check,
}

impl PreflightView {
    /// A view of these checks, per step.
    #[must_use]
    pub fn new((namespace, name): (&str, &str), checks: Vec<(String, Check)>) -> Self {
        let mut checks: Vec<_> = checks
            .into_iter()
            .map(|(step, check)| StepCheck { step, check })
            .collect();
        checks.sort_by_key(|found| std::cmp::Reverse(found.check.verdict));
        Self {
            api_version: API_VERSION,
            kind: "Preflight",
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            verdict: checks
                .first()
                .map_or(Verdict::Pass, |worst| worst.check.verdict),
            checks,
        }
    }

    /// How many checks found this.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks
            .iter()
            .filter(|found| found.check.verdict == verdict)
            .count()
    }

    fn render(&self, look: Look) -> String {
        let mut lines = Vec::new();
        let mut table = Table::new(vec![
            Column::text("CHECK", 10),
            Column::text("OBJECT", 10),
            Column::whole("VERDICT"),
            Column::text("STEP", 8).expendable(1),
            Column::text("FOUND", 12).expendable(2),
        ]);
        for StepCheck { step, check } in &self.checks {
            table.row(vec![
                check.name.as_str().into(),
                check.object.as_str().into(),
                Cell::toned(verdict(check.verdict), tone(check.verdict)),
                step.as_str().into(),
                check.evidence.as_str().into(),
            ]);
        }
        if !table.is_empty() {
            lines.extend(table.lines(look));
            lines.push(String::new());
        }
        for StepCheck { check, .. } in self
            .checks
            .iter()
            .filter(|found| found.check.verdict != Verdict::Pass)
        {
            let head = look.paint(tone(check.verdict), format!("{}:", verdict(check.verdict)));
            let title = visible_lines(&format!("{} on {}", check.name, check.object));
            lines.push(format!("{head} {title}"));
            for (head, text) in [("found:", &check.evidence), ("do:", &check.cure)] {
                if !text.is_empty() {
                    let text = visible_lines(text).replace('\n', "\n          ");
                    lines.push(format!(
                        "  {} {text}",
                        look.paint(Tone::Faint, format!("{head:<7}"))
                    ));
                }
            }
        }
        if self
            .checks
            .iter()
            .any(|found| found.check.verdict != Verdict::Pass)
        {
            lines.push(String::new());
        }
        lines.push(self.closing(look));
        lines.join("\n")
    }

    fn closing(&self, look: Look) -> String {
        let (blocks, warns) = (self.count(Verdict::Block), self.count(Verdict::Warn));
        let (end, tone) = match (blocks, warns) {
            (0, 0) => ("It can begin.".to_owned(), Tone::Good),
            (0, _) => (
                format!("It can begin; read the {} first.", plural(warns, "warning")),
                Tone::Notice,
            ),
            _ => (
                format!(
                    "It cannot begin: solve the {} first.",
                    plural(blocks, "blocker")
                ),
                Tone::Bad,
            ),
        };
        format!(
            "{}: {} passed, {}, {}. {}",
            counted(self.checks.len(), "check", "checks"),
            self.count(Verdict::Pass),
            counted(warns, "warning", "warnings"),
            counted(blocks, "blocker", "blockers"),
            look.paint(tone, end)
        )
    }
}

fn plural(count: usize, one: &str) -> String {
    if count == 1 {
        one.to_owned()
    } else {
        format!("{one}s")
    }
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Warn => "warn",
        Verdict::Block => "block",
    }
}

const fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Pass => Tone::Good,
        Verdict::Warn => Tone::Notice,
        Verdict::Block => Tone::Bad,
    }
}

impl Ui {
    /// Shows what preflight found on standard output: every check, and in full what needs a look.
    pub fn preflight(&self, format: Format, found: &PreflightView) -> Result<(), FormatError> {
        match format {
            Format::Json | Format::Yaml => self.document(format, found),
            Format::Name => Ok(self.data(&format!("migration/{}", found.name))?),
            Format::Table | Format::Wide => {
                let mut look = self.out_look();
                if format == Format::Wide {
                    look.width = None;
                }
                Ok(self.show(&found.render(look))?)
            }
            Format::Markdown | Format::Html => Err(format.unknown(&Format::COMMON)),
        }
    }
}

#[cfg(test)]
mod tests;
