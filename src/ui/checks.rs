use super::{
    OutputError, Tone, Ui,
    table::{Cell, Column, Table},
};

/// What a check of a workload found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRow {
    /// Its name.
    pub name: String,
    /// The pod that it was run in.
    pub pod: String,
    /// What was expected.
    pub wanted: String,
    /// What was found.
    pub found: String,
    /// Whether that is the same.
    pub good: bool,
}

impl Ui {
    /// Shows what checks found; of none there is no table.
    pub fn checks(&self, rows: &[CheckRow]) -> Result<(), OutputError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(vec![
            Column::text("CHECK", 12),
            Column::text("POD", 8).expendable(1),
            Column::whole("RESULT"),
            Column::text("EXPECTED", 12),
            Column::text("FOUND", 12),
        ]);
        for row in rows {
            let (result, tone) = if row.good {
                ("same", Tone::Good)
            } else {
                ("different", Tone::Bad)
            };
            table.row(vec![
                Cell::toned(&row.name, Tone::Strong),
                row.pod.as_str().into(),
                Cell::toned(result, tone),
                row.wanted.as_str().into(),
                row.found.as_str().into(),
            ]);
        }
        self.data(&table.lines(self.out_look()).join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_expected_stands_beside_what_was_found() {
        let row = |name: &str, found: &str, good| CheckRow {
            name: name.to_owned(),
            pod: "db-0".to_owned(),
            wanted: "`3|60`".to_owned(),
            found: found.to_owned(),
            good,
        };
        let (ui, written) = Ui::for_test(80, false);
        ui.checks(&[]).expect("written");
        ui.checks(&[row("rows", "`3|60`", true), row("sums", "`2|30`", false)])
            .expect("written");
        insta::assert_snapshot!(written.out());
    }
}
