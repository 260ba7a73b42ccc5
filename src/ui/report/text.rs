use super::document::Document;
use crate::ui::{Look, Tone, visible::visible};

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
    for section in &document.sections {
        lines.push(String::new());
        lines.push(look.paint(Tone::Strong, section.title));
        lines.extend(section.table.lines(look));
    }
    lines.join("\n")
}
