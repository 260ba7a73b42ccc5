//! Which snapshots stay, and why: a pure function of what a bucket has.
//!
//! Each workload is judged by itself, and of it only what is whole. A rule names periods, or the last ones; a snapshot
//! stays when any rule keeps it. Days, weeks and months are those of UTC, as the times in the snapshots' names are, so
//! that the answer is the same wherever it is asked. What went once comes back by no later snapshot, so that it does not
//! matter how often it is asked.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::{Timestamp, tz::TimeZone};

use super::{Contents, Found, SnapshotId, State};

/// How many are to stay by each rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The last ones.
    pub last: u32,
    /// The last one of each of so many days that have any.
    pub daily: u32,
    /// The same of weeks, from Monday on.
    pub weekly: u32,
    /// The same of months.
    pub monthly: u32,
}

/// What snapshots are of: they are judged together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// What tells the cluster from every other: two may have a workload of the same name.
    pub cluster: String,
    /// Kind, namespace and name: `statefulset shop/db`.
    pub source: String,
}

/// A rule that keeps a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// It is one of the last.
    Last,
    /// It is the last of its day.
    Daily,
    /// It is the last of its week.
    Weekly,
    /// It is the last of its month.
    Monthly,
    /// It is the last in which no file changed while it was read.
    Unchanged,
    /// It is the last that is whole.
    Newest,
}

/// Why a snapshot stays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// By which rule.
    pub rule: Rule,
    /// Of which day, week or month: `2026-11-28`, `2026-W48`, `2026-11`.
    pub period: Option<String>,
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays, for these reasons.
    Stays(Vec<Reason>),
    /// No rule keeps it.
    Goes,
    /// Its deletion was begun, and is to be ended.
    Ends,
    /// It is not judged, and left as it is: why.
    Left(String),
}

/// A snapshot, and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The snapshot.
    pub found: Found,
    /// What it is of, where that can be read.
    pub subject: Option<Subject>,
    /// What becomes of it.
    pub fate: Fate,
}

/// A whole snapshot, as far as the rules look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dated {
    id: SnapshotId,
    at: Timestamp,
    /// Files changed while they were read.
    changed: bool,
}

impl Keep {
    /// Whether no rule keeps anything.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Rule {
    /// As it is named to programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Unchanged => "unchanged",
            Self::Newest => "newest",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = self.period.as_deref().unwrap_or_default();
        match self.rule {
            Rule::Last => formatter.write_str("one of the last"),
            Rule::Daily => write!(formatter, "last of day {period}"),
            Rule::Weekly => write!(formatter, "last of week {period}"),
            Rule::Monthly => write!(formatter, "last of month {period}"),
            Rule::Unchanged => {
                formatter.write_str("last in which no file changed while it was read")
            }
            Rule::Newest => formatter.write_str("last that is whole"),
        }
    }
}

impl Contents {
    /// What it is of: kind, namespace and name.
    #[must_use]
    pub fn source(&self) -> String {
        match self {
            Self::Tenant(manifest) => format!("tcp {}", manifest.head.tenant),
            Self::Volumes(manifest) => manifest.source.clone(),
        }
    }

    /// Whether files changed while they were read.
    fn changed(&self) -> bool {
        match self {
            Self::Tenant(_) => false,
            Self::Volumes(manifest) => manifest
                .volumes
                .iter()
                .any(|volume| volume.archive.changed > 0),
        }
    }
}

/// Says of each snapshot what becomes of it, in the order in which they are given.
#[must_use]
pub fn judge(found: Vec<Found>, keep: &Keep) -> Vec<Judged> {
    let mut whole: BTreeMap<Subject, Vec<Dated>> = BTreeMap::new();
    let subjects: Vec<_> = found.iter().map(subject).collect();
    for (found, subject) in found.iter().zip(&subjects) {
        if let (State::Whole, Some(subject), Some(contents), Some(at)) =
            (&found.state, subject, &found.manifest, found.id.at())
        {
            whole.entry(subject.clone()).or_default().push(Dated {
                id: found.id.clone(),
                at,
                changed: contents.changed(),
            });
        }
    }
    let mut kept: BTreeMap<SnapshotId, Vec<Reason>> = BTreeMap::new();
    for of_one in whole.into_values() {
        kept.extend(stay(of_one, keep));
    }
    let all = found.into_iter().zip(subjects);
    all.map(|(found, subject)| {
        let left = |why: &str| Fate::Left(why.to_owned());
        let fate = match &found.state {
            State::Whole => match kept.remove(&found.id) {
                Some(reasons) => Fate::Stays(reasons),
                None => Fate::Goes,
            },
            State::HalfDeleted => Fate::Ends,
            State::Unfinished => left("unfinished: whoever makes it may go on"),
            State::Damaged(why) => left(&format!("damaged: {why}")),
            State::Unreadable(why) => left(&format!("unreadable: {why}")),
        };
        Judged {
            found,
            subject,
            fate,
        }
    })
    .collect()
}

fn subject(found: &Found) -> Option<Subject> {
    found.manifest.as_ref().map(|contents| Subject {
        cluster: contents.cluster().to_owned(),
        source: contents.source(),
    })
}

/// Which of one workload's whole snapshots stay, and why.
fn stay(mut all: Vec<Dated>, keep: &Keep) -> BTreeMap<SnapshotId, Vec<Reason>> {
    // The newest first; of two of the same second the later name.
    all.sort_by(|one, other| (other.at, &other.id).cmp(&(one.at, &one.id)));
    let mut kept: BTreeMap<SnapshotId, Vec<Reason>> = BTreeMap::new();
    let mut keeps = |one: &Dated, rule: Rule, period: Option<String>| {
        let reasons = kept.entry(one.id.clone()).or_default();
        reasons.push(Reason { rule, period });
    };
    let most = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    for one in all.iter().take(most(keep.last)) {
        keeps(one, Rule::Last, None);
    }
    for (rule, count, format) in [
        (Rule::Daily, keep.daily, "%Y-%m-%d"),
        (Rule::Weekly, keep.weekly, "%G-W%V"),
        (Rule::Monthly, keep.monthly, "%Y-%m"),
    ] {
        let mut seen = BTreeSet::new();
        for one in &all {
            if seen.len() == most(count) {
                break;
            }
            let at = one.at.to_zoned(TimeZone::UTC);
            let period = at.strftime(format).to_string();
            if seen.insert(period.clone()) {
                keeps(one, rule, Some(period));
            }
        }
    }
    // Where every later one was written to while it was read, this is the only one that is of a single moment.
    if let Some(unchanged) = all.iter().find(|one| !one.changed)
        && all.iter().take_while(|one| one.changed).count() > 0
    {
        keeps(unchanged, Rule::Unchanged, None);
    }
    // Whatever the rules say.
    if let Some(newest) = all.first() {
        let reasons = kept.entry(newest.id.clone()).or_default();
        if reasons.is_empty() {
            reasons.push(Reason {
                rule: Rule::Newest,
                period: None,
            });
        }
    }
    kept
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
