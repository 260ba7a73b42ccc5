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

    fn render(&self, look: Look, all: bool) -> String {
        let mut lines = Vec::new();
        let wanted = |found: &&StepCheck| all || found.check.verdict != Verdict::Pass;
        let mut columns = vec![
            Column::text("CHECK", 10),
            Column::text("OBJECT", 10),
            Column::whole("VERDICT"),
            Column::text("STEP", 8).expendable(1),
        ];
        // Else everything that is shown is told in full below.
        if all {
            columns.push(Column::text("FOUND", 12).expendable(2));
        }
        let mut table = Table::new(columns);
        for StepCheck { step, check } in self.checks.iter().filter(wanted) {
            let mut cells: Vec<Cell> = vec![
                check.name.as_str().into(),
                check.object.as_str().into(),
                Cell::toned(verdict(check.verdict), tone(check.verdict)),
                step.as_str().into(),
            ];
            if all {
                cells.push(check.evidence.as_str().into());
            }
            table.row(cells);
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
    /// Shows what preflight found on standard output. Passes are only counted, unless `-o wide` or `-v`.
    pub fn preflight(&self, format: Format, found: &PreflightView) -> Result<(), FormatError> {
        match format {
            Format::Json | Format::Yaml => self.document(format, found),
            Format::Name => Ok(self.data(&format!("migration/{}", found.name))?),
            Format::Table | Format::Wide => {
                let wide = format == Format::Wide;
                let look = self.out_look();
                let look = if wide {
                    Look {
                        width: None,
                        ..look
                    }
                } else {
                    look
                };
                Ok(self.show(&found.render(look, wide || self.options().verbose))?)
            }
            Format::Markdown | Format::Html => Err(format.unknown(&Format::COMMON)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Options;

    fn found(worst: Verdict) -> PreflightView {
        let mut checks = vec![
            (
                "freeze".to_owned(),
                Check::pass("permissions", "namespace shop", "all 12 rights are granted"),
            ),
            (
                "warm-copy".to_owned(),
                Check::pass(
                    "free space",
                    "storageclass fast",
                    "42.1 GiB needed, 100 GiB allowed",
                ),
            ),
        ];
        if worst >= Verdict::Warn {
            checks.push((
                "freeze".to_owned(),
                Check::warn(
                    "autoscaler",
                    "statefulset shop/orders-db",
                    "hpa shop/orders-db scales it back up within 15s",
                    "it is paused while the freeze is on",
                ),
            ));
        }
        if worst == Verdict::Block {
            checks.push((
                "warm-copy".to_owned(),
                Check::block(
                    "target volumes",
                    "pvc shop/data-orders-db-0",
                    "it exists on prod-eu and is bound",
                    "delete it, or set target.namespace to another one\nkubectl --context prod-eu delete pvc data-orders-db-0",
                ),
            ));
        }
        PreflightView::new(("shop", "orders-db"), checks)
    }

    fn shown(width: u16, terminal: bool, format: Format, worst: Verdict) -> anyhow::Result<String> {
        let (ui, written) = Ui::for_test(width, terminal);
        ui.preflight(format, &found(worst))?;
        Ok(written.out())
    }

    #[test]
    fn only_what_needs_a_look_is_shown_in_full() -> anyhow::Result<()> {
        insta::assert_snapshot!(shown(80, false, Format::Table, Verdict::Block)?, @"
        CHECK           OBJECT                      VERDICT  STEP
        target volumes  pvc shop/data-orders-db-0   block    warm-copy
        autoscaler      statefulset shop/orders-db  warn     freeze

        block: target volumes on pvc shop/data-orders-db-0
          found:  it exists on prod-eu and is bound
          do:     delete it, or set target.namespace to another one
                  kubectl --context prod-eu delete pvc data-orders-db-0
        warn: autoscaler on statefulset shop/orders-db
          found:  hpa shop/orders-db scales it back up within 15s
          do:     it is paused while the freeze is on

        4 checks: 2 passed, 1 warning, 1 blocker. It cannot begin: solve the blocker first.
        ");
        insta::assert_snapshot!(shown(80, false, Format::Table, Verdict::Warn)?, @"
        CHECK       OBJECT                      VERDICT  STEP
        autoscaler  statefulset shop/orders-db  warn     freeze

        warn: autoscaler on statefulset shop/orders-db
          found:  hpa shop/orders-db scales it back up within 15s
          do:     it is paused while the freeze is on

        3 checks: 2 passed, 1 warning, 0 blockers. It can begin; read the warning first.
        ");
        assert_eq!(
            shown(80, true, Format::Table, Verdict::Pass)?,
            "2 checks: 2 passed, 0 warnings, 0 blockers. It can begin.\n"
        );
        Ok(())
    }

    #[test]
    fn wide_and_verbose_show_the_passes_too() -> anyhow::Result<()> {
        insta::assert_snapshot!(shown(80, true, Format::Wide, Verdict::Warn)?, @"
        CHECK        OBJECT                      VERDICT  STEP       FOUND
        autoscaler   statefulset shop/orders-db  warn     freeze     hpa shop/orders-db scales it back up within 15s
        permissions  namespace shop              pass     freeze     all 12 rights are granted
        free space   storageclass fast           pass     warm-copy  42.1 GiB needed, 100 GiB allowed

        warn: autoscaler on statefulset shop/orders-db
          found:  hpa shop/orders-db scales it back up within 15s
          do:     it is paused while the freeze is on

        3 checks: 2 passed, 1 warning, 0 blockers. It can begin; read the warning first.
        ");
        let verbose = Options {
            verbose: true,
            ..Options::default()
        };
        let (ui, written) = Ui::for_test_with(80, true, false, verbose);
        ui.preflight(Format::Table, &found(Verdict::Pass))?;
        assert!(written.out().contains("all 12 rights"), "{}", written.out());
        Ok(())
    }

    #[test]
    fn a_narrow_terminal_still_shows_evidence_and_cure() -> anyhow::Result<()> {
        insta::assert_snapshot!(shown(40, true, Format::Table, Verdict::Block)?, @"
        CHECK           OBJECT           VERDICT
        target volumes  pvc shop/data-…  block
        autoscaler      statefulset sh…  warn

        block: target volumes on pvc shop/data-orders-db-0
          found:  it exists on prod-eu and is bound
          do:     delete it, or set target.namespace to another one
                  kubectl --context prod-eu delete pvc data-orders-db-0
        warn: autoscaler on statefulset shop/orders-db
          found:  hpa shop/orders-db scales it back up within 15s
          do:     it is paused while the freeze is on

        4 checks: 2 passed, 1 warning, 1 blocker. It cannot begin: solve the blocker first.
        ");
        Ok(())
    }

    #[test]
    fn json_has_every_check_and_the_worst_verdict() -> anyhow::Result<()> {
        let json: serde_json::Value =
            serde_json::from_str(&shown(80, true, Format::Json, Verdict::Block)?)?;
        assert_eq!(json["verdict"], "block");
        assert_eq!(json["checks"].as_array().map(Vec::len), Some(4));
        assert_eq!(json["checks"][0]["check"]["verdict"], "block");
        Ok(())
    }
}
