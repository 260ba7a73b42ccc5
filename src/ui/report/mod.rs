//! A report for reading: the same document as a table, as Markdown and as one HTML page.
mod document;
mod html;
mod markdown;
mod schema;
mod text;

use self::document::Document;
use super::{Format, FormatError, Look, Ui};
use crate::report::Report;

impl Format {
    /// What `report` has.
    pub const REPORT: [Self; 7] = [
        Self::Table,
        Self::Wide,
        Self::Json,
        Self::Yaml,
        Self::Name,
        Self::Markdown,
        Self::Html,
    ];
}

impl Ui {
    /// Shows what happened, on standard output.
    pub fn report(&self, format: Format, report: &Report) -> Result<(), FormatError> {
        let look = self.out_look();
        let text = match format {
            Format::Json | Format::Yaml => return self.document(format, report),
            Format::Name => format!("migration/{}", super::visible(&report.name)),
            Format::Table => text::render(&Document::of(report), look),
            Format::Wide => text::render(
                &Document::of(report),
                Look {
                    width: None,
                    ..look
                },
            ),
            Format::Markdown => markdown::render(&Document::of(report)),
            Format::Html => html::render(&Document::of(report), report),
        };
        Ok(self.show(&text)?)
    }
}

#[cfg(test)]
mod tests;
