use super::{
    Ui,
    table::{Column, Table},
};

/// An object that is about to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Its kind, as kubectl takes it.
    pub kind: String,
    /// Its namespace, with the cluster's context where there are two.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it was for.
    pub why: String,
}

impl Ui {
    /// Shows what is about to be deleted, on standard error, where the question is asked; with `-q` only if
    /// it is `irreversible`: nobody can confirm what they have not seen.
    pub fn removals(&self, removals: &[Removal], irreversible: bool) {
        if self.options().quiet && !irreversible {
            return;
        }
        let mut table = Table::new(vec![
            Column::whole("KIND"),
            Column::whole("NAMESPACE"),
            Column::whole("NAME"),
            Column::text("WHY", 12).expendable(1),
        ]);
        for removal in removals {
            table.row(vec![
                removal.kind.as_str().into(),
                removal.namespace.as_str().into(),
                removal.name.as_str().into(),
                removal.why.as_str().into(),
            ]);
        }
        self.tell(&table.lines(self.err.look()).join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Options;

    #[test]
    fn what_is_deleted_for_ever_is_told_also_when_quiet() {
        let removal = Removal {
            kind: "statefulset".to_owned(),
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
            why: "the source".to_owned(),
        };
        for (quiet, irreversible, told) in [
            (false, false, true),
            (true, false, false),
            (true, true, true),
        ] {
            let options = Options {
                quiet,
                ..Options::default()
            };
            let (ui, written) = Ui::for_test_with(80, false, false, options);
            ui.removals(std::slice::from_ref(&removal), irreversible);
            let table =
                "KIND         NAMESPACE  NAME  WHY\nstatefulset  shop       db    the source\n";
            assert_eq!(written.err(), if told { table } else { "" });
            assert_eq!(written.out(), "");
        }
    }
}
