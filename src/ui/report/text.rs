use super::document::Document;
use crate::ui::{
    Look, Tone,
    visible::{visible, visible_lines},
};

/// The document for a terminal or a pipe.
pub(super) fn render(document: &Document, look: Look) -> String {
    let (state, tone) = document.state;
    let mut lines = vec![format!(
        "{}: {}",
        visible(&document.title),
        look.paint(tone, state)
    )];
    for (name, value) in &document.facts {
        let name = look.paint(Tone::Faint, format!("{:<12}", format!("{name}:")));
        lines.push(format!("  {name} {}", visible(value)));
    }
    for (at, note) in document.notes.iter().enumerate() {
        if at == 0 {
            lines.extend([String::new(), look.paint(Tone::Strong, "Notes")]);
        }
        let text = visible_lines(&note.text).replace('\n', "\n  ");
        lines.push(format!("{} {}: {text}", visible(&note.step), note.kind));
    }
    for section in &document.sections {
        lines.push(String::new());
        lines.push(look.paint(Tone::Strong, section.title));
        lines.extend(section.table.lines(look));
    }
    lines.join("\n")
}
