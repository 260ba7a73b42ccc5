use std::{fmt, str::FromStr};

use jiff::Timestamp;

/// How a time is written: it sorts as text, and has no sign that a key should not have.
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// Longest name that Kubernetes gives to what a snapshot is of.
const LONGEST: usize = 253;

/// What a snapshot of a bucket is called below its prefix: `t1/20261128T041500Z`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The name of what it is of.
    pub name: String,
    /// When it was taken, in UTC: `20261128T041500Z`.
    pub time: String,
}

impl SnapshotId {
    /// A new one of this name.
    #[must_use]
    pub fn new(name: &str, at: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            time: at.strftime(TIME).to_string(),
        }
    }

    /// When it was taken.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        time(&self.time)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.name, self.time)
    }
}

impl FromStr for SnapshotId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unlike = || {
            format!(
                "`{text}` is no snapshot: it is named as NAME/TIME, such as t1/20261128T041500Z"
            )
        };
        let (name, at) = text.split_once('/').ok_or_else(unlike)?;
        if !is_name(name) || time(at).is_none() {
            return Err(unlike());
        }
        Ok(Self {
            name: name.to_owned(),
            time: at.to_owned(),
        })
    }
}

/// A name as Kubernetes has them: nothing in it leads out of the prefix.
fn is_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.len() <= LONGEST
        && name.starts_with(plain)
        && name.ends_with(plain)
        && !name.contains("..")
        && name
            .chars()
            .all(|letter| plain(letter) || matches!(letter, '-' | '.'))
}

/// The time, if it is written as we write it and no other way.
fn time(text: &str) -> Option<Timestamp> {
    let civil = jiff::civil::DateTime::strptime(TIME, text).ok()?;
    let at = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    (at.strftime(TIME).to_string() == text).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_time_are_read_as_they_are_written() {
        let at: Timestamp = "2026-11-28T04:15:00.9Z".parse().expect("a time");
        let id = SnapshotId::new("t1", at);
        assert_eq!(id.to_string(), "t1/20261128T041500Z");
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        assert_eq!(id.at().map(Timestamp::as_second), Some(at.as_second()));
    }

    #[test]
    fn nothing_else_is_a_snapshot() {
        for text in [
            "t1",
            "t1/",
            "/20261128T041500Z",
            "../20261128T041500Z",
            "a..b/20261128T041500Z",
            "T1/20261128T041500Z",
            "t1/20261128T041500Z/more",
            "t1/2026-11-28",
            "t1/20261328T041500Z",
            "t1/20261128T041500",
            "t1/+0261128T041500Z",
        ] {
            assert!(text.parse::<SnapshotId>().is_err(), "{text}");
        }
    }
}
