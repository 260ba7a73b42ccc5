use super::TROUBLE;
use crate::{
    engine::{Part, Progress},
    ui::{
        Look, StatusRow, Tone,
        look::{columns, cut},
        status::{limited, lines, share, tone},
        visible::visible,
    },
};

/// Columns of a bar in the view.
const BAR: usize = 20;

/// What stands on a screen of this size: the table, then as much as there is room for of each migration's
/// volumes and reasons, then how to leave.
pub(super) fn frame(
    rows: &[StatusRow],
    trouble: Option<&str>,
    look: Look,
    (width, height): (u16, u16),
    namespaced: bool,
) -> Vec<String> {
    let (width, height) = (usize::from(width), usize::from(height));
    let look = Look {
        width: Some(width),
        ..look
    };
    // The last row is for how to leave.
    let room = height.saturating_sub(1);
    let mut frame = match (rows, trouble) {
        ([], None) => vec![cut("no migrations found", width)],
        // Nobody knows yet whether there are some.
        ([], Some(_)) => Vec::new(),
        _ => lines(rows, look, namespaced, false),
    };
    let more = frame.len().saturating_sub(room);
    if more > 0 {
        // One row less, for saying so.
        frame.truncate(room.saturating_sub(1));
        frame.push(cut(&format!("… and {} more", more + 1), width));
        frame.truncate(room);
    } else {
        // What is wrong before what goes well.
        let reasons = rows.iter().map(|row| reason(row, look, width));
        let volumes = rows.iter().map(|row| volumes(row, width));
        let details = reasons.chain(volumes).flatten();
        let left = room - frame.len();
        frame.extend(details.take(left));
    }
    frame.resize(room, String::new());
    let foot = match trouble {
        Some(trouble) => look.paint(TROUBLE, cut(&visible(trouble), width)),
        None => look.paint(Tone::Faint, cut("q leaves", width)),
    };
    frame.push(foot);
    frame.truncate(height);
    frame
}

/// Why a migration does not go on, after an empty line.
fn reason(row: &StatusRow, look: Look, width: usize) -> Vec<String> {
    if row.why.is_empty() {
        return Vec::new();
    }
    let text = format!("{} {}: {}", row.name, row.state.name(), row.why);
    let lines = wrapped(&visible(&text), width).into_iter();
    let lines = lines.map(|line| look.paint(tone(row.state), line));
    std::iter::once(String::new()).chain(lines).collect()
}

/// How far each volume is, after an empty line.
fn volumes(row: &StatusRow, width: usize) -> Vec<String> {
    let Some(progress) = &row.progress else {
        return Vec::new();
    };
    let names = progress
        .parts
        .iter()
        .map(|part| columns(&visible(&part.name)));
    let longest = names.max().unwrap_or(0);
    let why = limited(progress).map_or_else(String::new, |limited| format!(", {limited}"));
    let head = visible(&format!("{} {}{why}", row.name, progress.doing)).into_owned();
    let mut lines = vec![String::new(), cut(&head, width)];
    let parts = progress.parts.iter();
    lines.extend(parts.map(|part| volume(progress, part, longest, width)));
    lines
}

fn volume(progress: &Progress, part: &Part, longest: usize, width: usize) -> String {
    let figures = share(progress.unit, part.done, part.total);
    let room = width.saturating_sub(columns(&figures) + 2);
    let name = cut(&visible(&part.name), longest.min(room));
    let pad = " ".repeat(longest.min(room).saturating_sub(columns(&name)));
    let bar_room = room.saturating_sub(longest + 2);
    let line = if bar_room >= BAR {
        format!("{name}{pad}  {}  {figures}", bar(part.done, part.total))
    } else {
        format!("{name}{pad}  {figures}")
    };
    cut(&line, width)
}

/// A bar of [`BAR`] columns; it is full only when all is done.
fn bar(done: u64, total: u64) -> String {
    let share = if total == 0 {
        0.0
    } else {
        (done as f64 / total as f64).min(1.0)
    };
    let full = (0..BAR)
        .filter(|cell| share * BAR as f64 >= (cell + 1) as f64)
        .count();
    format!("{}{}", "━".repeat(full), "─".repeat(BAR - full))
}

/// The text in lines of at most this width, broken at spaces where there are some.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let wide = columns(&line) + usize::from(!line.is_empty()) + columns(word);
        if wide > width && !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.iter().map(|line| cut(line, width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        assert_eq!(bar(0, 0), "─".repeat(BAR));
        assert_eq!(bar(999_999, 1_000_000), format!("{}─", "━".repeat(BAR - 1)));
        assert_eq!(bar(7, 7), "━".repeat(BAR));
        assert_eq!(bar(9, 7), "━".repeat(BAR));
    }

    #[test]
    fn wrapping_keeps_every_word() {
        let text = "pod shop/orders-db-1 was evicted while 1.1 GiB of 1.4 GiB were copied";
        for width in 20..80 {
            let lines = wrapped(text, width);
            assert!(lines.iter().all(|line| columns(line) <= width), "{width}");
            assert_eq!(lines.join(" "), text, "{width}");
        }
    }
}
