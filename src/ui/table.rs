use tabled::{
    builder::Builder,
    settings::{Alignment, Color, Padding, Style, Width, object::Cell as At, object::Columns},
};

use super::{
    look::{END, Look, Tone, columns},
    visible::visible,
};

/// Columns between two columns.
const GAP: usize = 2;

/// A table as kubectl prints them: no lines, two spaces between columns, upper-case heads.
///
/// On a terminal it is made to fit: texts that may be cut are cut, the widest first; where that is not
/// enough, whole columns go, the least important first.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A column of a [`Table`].
pub(super) struct Column {
    head: &'static str,
    right: bool,
    /// The width below which it is not cut; none: it is never cut.
    least: Option<usize>,
    /// The column with the highest of these goes first; 0 never goes.
    expendable: u8,
}

/// A cell of a [`Table`]: one line, safe for a terminal.
pub(super) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Column {
    /// A column that is shown whole.
    pub(super) const fn whole(head: &'static str) -> Self {
        Self {
            head,
            right: false,
            least: None,
            expendable: 0,
        }
    }

    /// A column of free text, which may be cut down to this width.
    pub(super) const fn text(head: &'static str, least: usize) -> Self {
        Self {
            head,
            right: false,
            least: Some(least),
            expendable: 0,
        }
    }

    /// The same, to the right.
    pub(super) const fn right(self) -> Self {
        Self {
            right: true,
            ..self
        }
    }

    /// The same, which goes where there is no room. The highest goes first.
    pub(super) const fn expendable(self, order: u8) -> Self {
        Self {
            expendable: order,
            ..self
        }
    }
}

impl Cell {
    pub(super) fn new(text: &str) -> Self {
        let text = visible(text).into_owned();
        Self { text, tone: None }
    }

    pub(super) fn toned(text: &str, tone: Tone) -> Self {
        Self {
            tone: Some(tone),
            ..Self::new(text)
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl Table {
    pub(super) fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row; it has as many cells as there are columns.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// The heads, and whether their columns stand to the right.
    pub(super) fn heads(&self) -> Vec<(&'static str, bool)> {
        self.columns
            .iter()
            .map(|column| (column.head, column.right))
            .collect()
    }

    /// The texts of each row.
    pub(super) fn texts(&self) -> impl Iterator<Item = impl Iterator<Item = &str>> {
        self.rows
            .iter()
            .map(|row| row.iter().map(|cell| cell.text.as_str()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines: the heads, then a line for each row.
    pub(super) fn lines(&self, look: Look) -> Vec<String> {
        let shown = self.fit(look.width);
        let gaps = GAP * shown.len().saturating_sub(1);
        let wide = shown.iter().map(|&(_, width)| width).sum::<usize>() + gaps;
        // Where even the narrowest form is too wide its lines are cut, and colours are the lesser loss.
        let look = Look {
            color: look.color && look.width.is_none_or(|width| wide <= width),
            ..look
        };
        let mut builder = Builder::with_capacity(self.rows.len() + 1, shown.len());
        builder.push_record(shown.iter().map(|&(at, _)| self.columns[at].head));
        for row in &self.rows {
            builder.push_record(shown.iter().map(|&(at, _)| row[at].text.as_str()));
        }
        let mut table = builder.build();
        table.with(Style::empty()).with(Padding::zero());
        for (place, &(at, width)) in shown.iter().enumerate() {
            let side = if self.columns[at].right {
                Alignment::right()
            } else {
                Alignment::left()
            };
            let gap = if place + 1 < shown.len() { GAP } else { 0 };
            table
                .modify(Columns::one(place), Width::truncate(width).suffix("…"))
                .modify(Columns::one(place), side)
                .modify(Columns::one(place), Padding::new(0, gap, 0, 0));
            if !look.color {
                continue;
            }
            for (number, row) in self.rows.iter().enumerate() {
                if let Some(tone) = row[at].tone {
                    table.modify(At::new(number + 1, place), Color::new(tone.begin(), END));
                }
            }
        }
        table
            .to_string()
            .lines()
            .map(|line| finish(line, look))
            .collect()
    }

    /// The columns that are shown, with their widths.
    fn fit(&self, limit: Option<usize>) -> Vec<(usize, usize)> {
        let mut shown: Vec<(usize, usize)> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let cells = self.rows.iter().map(|row| columns(&row[at].text));
                (at, cells.fold(columns(column.head), usize::max))
            })
            .collect();
        let Some(limit) = limit else { return shown };
        let least = |&(at, width): &(usize, usize)| {
            let column = &self.columns[at];
            column
                .least
                .map_or(width, |least| width.min(least.max(columns(column.head))))
        };
        let gaps = |shown: &[(usize, usize)]| GAP * shown.len().saturating_sub(1);
        while shown.iter().map(least).sum::<usize>() + gaps(&shown) > limit {
            let goes = shown
                .iter()
                .enumerate()
                .map(|(place, &(at, _))| (self.columns[at].expendable, place))
                .max();
            match goes {
                Some((order, place)) if order > 0 => shown.remove(place),
                _ => break,
            };
        }
        loop {
            let over = (shown.iter().map(|&(_, width)| width).sum::<usize>() + gaps(&shown))
                .saturating_sub(limit);
            let mut shrinking: Vec<usize> = (0..shown.len())
                .filter(|&place| shown[place].1 > least(&shown[place]))
                .collect();
            shrinking.sort_by_key(|&place| std::cmp::Reverse(shown[place].1));
            let (Some(&widest), true) = (shrinking.first(), over > 0) else {
                break;
            };
            // Down to the next widest at once, so that two long columns end equally wide.
            let next = shrinking.get(1).map_or(0, |&place| shown[place].1);
            let floor = least(&shown[widest]).max(next.min(shown[widest].1 - 1));
            shown[widest].1 -= over.min(shown[widest].1 - floor);
        }
        shown
    }
}

fn finish(line: &str, look: Look) -> String {
    let line = line.trim_end();
    // The columns of a coloured line are known to fit, and its escapes must not be cut.
    if look.color {
        line.to_owned()
    } else {
        look.cut(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(vec![
            Column::whole("NAME"),
            Column::text("WHAT", 6),
            Column::text("WHY", 6).expendable(1),
            Column::whole("AGE").right(),
        ]);
        table.row(vec![
            "orders-db".into(),
            "copies what changed since".into(),
            "asked for by the plan".into(),
            "8m".into(),
        ]);
        table.row(vec![
            "x\x1b[2J".into(),
            Cell::toned("done", Tone::Good),
            "".into(),
            "120s".into(),
        ]);
        table
    }

    #[test]
    fn a_pipe_gets_every_column_whole() {
        insta::assert_snapshot!(table().lines(Look::PLAIN).join("\n"), @r"
        NAME        WHAT                       WHY                     AGE
        orders-db   copies what changed since  asked for by the plan    8m
        x\u{1b}[2J  done                                              120s
        ");
    }

    #[test]
    fn a_narrow_terminal_gets_what_fits() {
        for width in 24..100 {
            let look = Look {
                width: Some(width),
                color: false,
            };
            for line in table().lines(look) {
                assert!(columns(&line) <= width, "{width}: {line}");
            }
        }
        let narrow = |width| {
            table()
                .lines(Look {
                    width: Some(width),
                    color: false,
                })
                .join("\n")
        };
        insta::assert_snapshot!(narrow(50), @r"
        NAME        WHAT             WHY               AGE
        orders-db   copies what ch…  asked for by t…    8m
        x\u{1b}[2J  done                              120s
        ");
        insta::assert_snapshot!(narrow(30), @r"
        NAME        WHAT           AGE
        orders-db   copies what…    8m
        x\u{1b}[2J  done          120s
        ");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let bare = |text: String| text.replace("\x1b[32m", "").replace(END, "");
        for width in [None, Some(60), Some(40)] {
            let plain = table().lines(Look {
                width,
                color: false,
            });
            let colored = table().lines(Look { width, color: true });
            assert!(colored.join("").contains("\x1b[32mdone"));
            assert_eq!(
                colored
                    .into_iter()
                    .map(bare)
                    .map(|line| line.trim_end().to_owned())
                    .collect::<Vec<_>>(),
                plain
            );
        }
    }
}
