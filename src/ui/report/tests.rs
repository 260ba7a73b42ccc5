use crate::{
    engine::Entry,
    report::{
        Report, Seen,
        sample::{all, at, entries, header},
    },
    ui::{Format, FormatError, Ui, look::columns},
};

fn shown(
    width: u16,
    terminal: bool,
    format: Format,
    entries: &[Entry],
) -> Result<String, FormatError> {
    let report = Report::of(&header(), entries, &Seen::at(at(1000), false));
    let (ui, written) = Ui::for_test(width, terminal);
    ui.report(format, &report)?;
    Ok(written.out())
}

#[test]
fn a_report_in_a_pipe_is_whole() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(80, false, Format::Table, &all())?, @"");
    Ok(())
}

#[test]
fn a_report_fits_the_terminal() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(80, true, Format::Table, &all())?, @"");
    insta::assert_snapshot!(shown(40, true, Format::Table, &entries(8))?, @"");
    for line in shown(120, true, Format::Table, &all())?.lines() {
        assert!(columns(line) <= 120, "{line}");
    }
    Ok(())
}

#[test]
fn a_report_in_markdown_obeys_nothing_that_it_quotes() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(80, true, Format::Markdown, &all())?, @"");
    Ok(())
}

#[test]
fn a_report_in_html_is_one_page_that_needs_nothing_else() -> anyhow::Result<()> {
    let mut entries = all();
    if let Some(entry) = entries.last_mut() {
        entry.record = crate::engine::Record::Marked("<script>alert(1)</script>".to_owned());
    }
    let page = shown(80, true, Format::Html, &entries)?;
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"));
    assert!(
        !page.contains("http") && !page.contains("src="),
        "it fetches something"
    );
    // 400 s to 556 s of 900 s.
    assert!(
        page.contains("<i class=\"frozen\" style=\"left:44.44%;width:17.33%\">"),
        "{page}"
    );
    for tag in ["table", "tr", "td", "th", "div", "span", "h2", "i"] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    Ok(())
}

#[test]
fn json_and_yaml_say_the_same() -> anyhow::Result<()> {
    let json: serde_json::Value = serde_json::from_str(&shown(80, true, Format::Json, &all())?)?;
    let yaml: serde_json::Value = serde_yaml::from_str(&shown(80, true, Format::Yaml, &all())?)?;
    assert_eq!(json, yaml);
    let keys: Vec<_> = json
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    // This list is a promise: it may grow.
    insta::assert_snapshot!(keys.join(" "), @"");
    assert_eq!(json["frozen"]["seconds"], 156.0);
    assert_eq!(json["outputs"]["verify"]["level"], "content");
    Ok(())
}
