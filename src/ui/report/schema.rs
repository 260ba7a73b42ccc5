//! The tables of a switch between DataStores.
use crate::{
    report::Report,
    ui::{
        Tone, amount,
        table::{Cell, Column, Table},
    },
};

pub(super) fn copied(report: &Report) -> Table {
    let mut table = Table::new(vec![
        Column::text("STEP", 8),
        Column::whole("ROUNDS").right().expendable(2),
        Column::whole("READ").right().expendable(3),
        Column::whole("WRITTEN").right(),
        Column::whole("REMOVED").right(),
        Column::whole("BYTES").right(),
        Column::whole("REVISION").right().expendable(1),
    ]);
    for step in report.copied_schema() {
        table.row(vec![
            step.step.into(),
            step.rounds.to_string().into(),
            amount::count(step.read).into(),
            amount::count(step.written).into(),
            amount::count(step.removed).into(),
            amount::bytes(step.bytes).into(),
            step.revision.to_string().into(),
        ]);
    }
    table
}

pub(super) fn compared(report: &Report) -> Table {
    let mut table = Table::new(vec![
        Column::whole("KEYS").right(),
        Column::whole("BYTES").right(),
        Column::whole("DIFFERENCES").right(),
        Column::text("DIGEST", 14).expendable(1),
    ]);
    if let Some(found) = report.compared_schema() {
        let tone = if found.differences == 0 {
            Tone::Good
        } else {
            Tone::Bad
        };
        table.row(vec![
            amount::count(found.keys).into(),
            amount::bytes(found.bytes).into(),
            Cell::toned(&amount::count(found.differences), tone),
            found.digest.into(),
        ]);
    }
    table
}

/// What a working API server changes by itself: counted, so that nobody has to trust it.
pub(super) fn ignored(report: &Report) -> Table {
    let mut table = Table::new(vec![
        Column::text("CLASS", 12),
        Column::whole("KEYS").right(),
        Column::whole("DIFFERENT").right(),
    ]);
    let found = report.compared_schema();
    for (class, keys, different) in found.into_iter().flat_map(|found| found.ignored) {
        table.row(vec![
            class.into(),
            amount::count(keys).into(),
            amount::count(different).into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use crate::{
        report::{
            Report, Seen,
            sample::at,
            sample_switch::{all, header},
        },
        ui::{Format, FormatError, Ui},
    };

    fn shown(
        width: u16,
        terminal: bool,
        format: Format,
        late: u64,
        raised: bool,
    ) -> Result<String, FormatError> {
        let seen = Seen::at(at(1000), false);
        let report = Report::of(&header(), &all(late, raised), &seen);
        let (ui, written) = Ui::for_test(width, terminal);
        ui.report(format, &report)?;
        Ok(written.out())
    }

    #[test]
    fn a_switch_is_told_as_a_whole() -> anyhow::Result<()> {
        insta::assert_snapshot!(shown(80, false, Format::Table, 0, true)?);
        Ok(())
    }

    #[test]
    fn a_switch_fits_the_terminal() -> anyhow::Result<()> {
        insta::assert_snapshot!(shown(80, true, Format::Table, 0, true)?);
        Ok(())
    }

    #[test]
    fn late_writes_and_kubelets_are_told() -> anyhow::Result<()> {
        insta::assert_snapshot!(shown(80, false, Format::Markdown, 2, false)?);
        Ok(())
    }

    #[test]
    fn a_switch_is_a_document() -> anyhow::Result<()> {
        insta::assert_snapshot!(shown(80, false, Format::Json, 1, true)?);
        Ok(())
    }
}
