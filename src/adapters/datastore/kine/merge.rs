//! Two tables side by side, by id.
use super::{Readable, Row, Rows, Selection};
use crate::adapters::datastore::DatastoreError;

/// What both have for an id.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Side {
    Both(Row, Row),
    Source(Row),
    Target(Row),
}

/// Walks both tables.
pub(in super::super) struct Merge {
    source: Rows,
    target: Rows,
    at_source: Option<Row>,
    at_target: Option<Row>,
    begun: bool,
}

impl Merge {
    /// Begins to read both, at the same time.
    pub fn read<T: Readable>(source: &T, target: &T, selection: &Selection) -> Self {
        Self {
            source: Rows::read(source, selection.clone()),
            target: Rows::read(target, selection.clone()),
            at_source: None,
            at_target: None,
            begun: false,
        }
    }

    /// Whether the source has nothing behind what was told last.
    pub fn source_has_ended(&self) -> bool {
        self.begun && self.at_source.is_none()
    }

    /// The next id that one of them has.
    pub async fn next(&mut self) -> Result<Option<Side>, DatastoreError> {
        if !self.begun {
            self.begun = true;
            self.at_source = self.source.next().await?;
            self.at_target = self.target.next().await?;
        }
        let side = match (self.at_source.take(), self.at_target.take()) {
            (None, None) => return Ok(None),
            (Some(source), None) => Side::Source(source),
            (None, Some(target)) => Side::Target(target),
            (Some(source), Some(target)) if source.id < target.id => {
                self.at_target = Some(target);
                Side::Source(source)
            }
            (Some(source), Some(target)) if target.id < source.id => {
                self.at_source = Some(source);
                Side::Target(target)
            }
            (Some(source), Some(target)) => Side::Both(source, target),
        };
        if self.at_source.is_none() && !matches!(side, Side::Target(_)) {
            self.at_source = self.source.next().await?;
        }
        if self.at_target.is_none() && !matches!(side, Side::Source(_)) {
            self.at_target = self.target.next().await?;
        }
        Ok(Some(side))
    }
}
