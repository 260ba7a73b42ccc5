use super::document::{Document, span};
use crate::{
    report::Report,
    ui::{Tone, visible::visible},
};

/// Few rules, dark and light, and nothing from elsewhere: the page is one file.
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;display:block;overflow-x:auto}\
th,td{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}\
th{font-size:.75rem;opacity:.7}\
.right{text-align:right;font-variant-numeric:tabular-nums}\
.good{color:#1a7f37}.notice{color:#9a6700}.bad{color:#cf222e}.faint{opacity:.6}.strong{font-weight:600}\
.line{display:flex;gap:.8rem;align-items:center}.line span:first-child{width:14rem}\
.track{flex:1;position:relative;height:.9rem;background:#8882}\
.track i{position:absolute;height:100%;background:#0969da;min-width:2px}\
.track i.frozen{background:#cf222e}";

/// The document as one HTML page, with the steps on a time line.
pub(super) fn render(document: &Document, report: &Report) -> String {
    let title = escaped(&document.title);
    let (state, tone) = document.state;
    let mut page = vec![
        "<!doctype html>".to_owned(),
        "<html lang=\"en\">".to_owned(),
        format!("<meta charset=\"utf-8\"><title>{title}</title>"),
        "<meta name=\"viewport\" content=\"width=device-width\">".to_owned(),
        format!("<style>{STYLE}</style>"),
        format!(
            "<h1>{title}: <span class=\"{}\">{state}</span></h1>",
            class(tone)
        ),
        "<table>".to_owned(),
    ];
    for (name, value) in &document.facts {
        page.push(format!(
            "<tr><th>{name}</th><td>{}</td></tr>",
            escaped(value)
        ));
    }
    page.push("</table>".to_owned());
    page.extend(time_line(report));
    for (at, note) in document.notes.iter().enumerate() {
        if at == 0 {
            page.push("<h2>Notes</h2>".to_owned());
        }
        let (step, text) = (escaped(&note.step), escaped(&note.text));
        page.push(format!("<p><b>{step}</b> {}: {text}</p>", note.kind));
    }
    for section in &document.sections {
        page.push(format!("<h2>{}</h2>", section.title));
        page.push("<table>".to_owned());
        let heads = section.table.heads();
        let side = |right: bool| if right { " class=\"right\"" } else { "" };
        let cells: Vec<_> = heads
            .iter()
            .map(|(head, right)| format!("<th{}>{head}</th>", side(*right)))
            .collect();
        page.push(format!("<tr>{}</tr>", cells.concat()));
        for texts in section.table.texts() {
            let cells: Vec<_> = texts
                .zip(&heads)
                .map(|(text, (_, right))| format!("<td{}>{}</td>", side(*right), escaped(text)))
                .collect();
            page.push(format!("<tr>{}</tr>", cells.concat()));
        }
        page.push("</table>".to_owned());
    }
    page.push("</html>".to_owned());
    page.join("\n")
}

fn time_line(report: &Report) -> Vec<String> {
    let begin = report.created;
    let whole = report.updated.duration_since(begin).as_secs_f64();
    if whole <= 0.0 {
        return Vec::new();
    }
    let share = |seconds: f64| (seconds / whole * 100.0).clamp(0.0, 100.0);
    let bar = |class: &str, from: jiff::Timestamp, to: jiff::Timestamp| {
        let left = share(from.duration_since(begin).as_secs_f64());
        let width = share(to.duration_since(from).as_secs_f64()).min(100.0 - left);
        format!("<i{class} style=\"left:{left:.2}%;width:{width:.2}%\"></i>")
    };
    let line = |name: &str, bars: String, took: String| {
        let name = escaped(name);
        format!(
            "<div class=\"line\"><span>{name}</span><div class=\"track\">{bars}</div><span>{took}</span></div>"
        )
    };
    let mut lines = vec!["<h2>Time line</h2>".to_owned()];
    for step in &report.steps {
        if let Some(started) = step.started {
            let bars = bar("", started, step.ended.unwrap_or(report.updated));
            lines.push(line(
                &step.step,
                bars,
                step.seconds.map_or_else(String::new, span),
            ));
        }
    }
    if !report.frozen.periods.is_empty() {
        let bars = report.frozen.periods.iter();
        let bars: Vec<_> = bars
            .map(|period| {
                bar(
                    " class=\"frozen\"",
                    period.since,
                    period.until.unwrap_or(report.updated),
                )
            })
            .collect();
        lines.push(line(
            "nobody can write",
            bars.concat(),
            span(report.frozen.seconds),
        ));
    }
    lines
}

const fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Notice => "notice",
        Tone::Bad => "bad",
        Tone::Faint => "faint",
        Tone::Strong => "strong",
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in visible(text).chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            plain => safe.push(plain),
        }
    }
    safe
}
