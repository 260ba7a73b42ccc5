use std::{fmt, str::FromStr};

use jiff::Timestamp;

/// How a time is written: it sorts as text, and has no sign that a key should not have.
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// Longest id of a run.
const LONGEST_RUN: usize = 20;
/// Longest name that Kubernetes gives to what a snapshot is of.
const LONGEST: usize = 253;

/// What a snapshot of a bucket is called below its prefix: `t1/20261128T041500Z`; of volumes also with the run that made
/// it, `db/20261128T041500Z-x1y2z3`. Two that are begun in the same second, of the same name in two namespaces, have
/// nothing in common then, and what a run takes back can only be its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The name of what it is of.
    pub name: String,
    /// When it was taken, in UTC, and by which run if that is told: `20261128T041500Z`.
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

    /// A new one that is of this run alone.
    #[must_use]
    pub fn of_run(name: &str, at: Timestamp, run: &str) -> Self {
        let Self { name, time } = Self::new(name, at);
        Self {
            name,
            time: format!("{time}-{run}"),
        }
    }

    /// Whether it is of this run.
    #[must_use]
    pub fn is_of(&self, run: &str) -> bool {
        let of = self.time.split_once('-');
        of.is_some_and(|(_, of)| of == run)
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

/// The time, if it and the run behind it are written as we write them and no other way.
fn time(text: &str) -> Option<Timestamp> {
    let (text, run) = text.split_once('-').unwrap_or((text, "run"));
    let plain = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    if run.is_empty() || run.len() > LONGEST_RUN || !run.bytes().all(plain) {
        return None;
    }
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
    fn one_of_a_run_is_known_by_it() {
        let at: Timestamp = "2026-11-28T04:15:00Z".parse().expect("a time");
        let id = SnapshotId::of_run("db", at, "x1y2");
        assert_eq!(id.to_string(), "db/20261128T041500Z-x1y2");
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        assert_eq!(id.at(), Some(at));
        assert!(id.is_of("x1y2") && !id.is_of("x1") && !SnapshotId::new("db", at).is_of(""));
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
            "t1/20261128T041500Z-",
            "t1/20261128T041500Z-x-y",
            "t1/20261128T041500Z-X1",
            "t1/20261128T041500Z-aaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(text.parse::<SnapshotId>().is_err(), "{text}");
        }
    }
}
