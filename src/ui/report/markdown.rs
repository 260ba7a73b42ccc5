use super::document::Document;
use crate::ui::visible::visible;

/// The document in Markdown as GitHub and GitLab read it.
pub(super) fn render(document: &Document) -> String {
    let mut lines = vec![
        format!("# {}: {}", escaped(&document.title), document.state.0),
        String::new(),
    ];
    for (name, value) in &document.facts {
        lines.push(format!("- {name}: {}", escaped(value)));
    }
    for (at, note) in document.notes.iter().enumerate() {
        if at == 0 {
            lines.extend([String::new(), "## Notes".to_owned(), String::new()]);
        }
        lines.push(format!(
            "- **{}** {}: {}",
            escaped(&note.step),
            note.kind,
            escaped(&note.text)
        ));
    }
    for section in &document.sections {
        lines.extend([
            String::new(),
            format!("## {}", section.title),
            String::new(),
        ]);
        let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        let heads = section.table.heads();
        lines.push(row(heads
            .iter()
            .map(|(head, _)| (*head).to_owned())
            .collect()));
        let sides = heads
            .iter()
            .map(|(_, right)| if *right { "---:" } else { "---" }.to_owned());
        lines.push(row(sides.collect()));
        for cells in section.table.texts() {
            lines.push(row(cells.map(escaped).collect()));
        }
    }
    lines.join("\n")
}

/// The text so that Markdown and the HTML in it show it, and obey nothing.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in visible(text).chars() {
        if matches!(
            letter,
            '\\' | '`' | '*' | '_' | '|' | '<' | '>' | '[' | ']' | '#' | '&' | '~' | '!'
        ) {
            safe.push('\\');
        }
        safe.push(letter);
    }
    safe
}
