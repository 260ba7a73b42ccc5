//! Collects what the target cannot keep: counted by sort, with the first examples.
use super::path::TreePath;
use super::report::{EXAMPLES, Finding, What};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// So many sorts are kept apart; only names of attributes can be so many.
const SORTS: usize = 500;

/// What and why.
type Sort = (What, String);
/// How often, and the first.
type Found = (u64, Vec<TreePath>);

/// Findings of one operation, gathered from all its threads.
#[derive(Default)]
pub(crate) struct Findings {
    sorts: Mutex<BTreeMap<Sort, Found>>,
}

impl Findings {
    pub(crate) fn add(&self, path: &TreePath, what: What, why: impl Into<String>) {
        let mut sorts = self.sorts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sort = (what, why.into());
        if sorts.len() >= SORTS && !sorts.contains_key(&sort) {
            sort = (
                What::Xattr(b"(others)".to_vec()),
                "too many different findings".to_owned(),
            );
        }
        let (count, examples) = sorts.entry(sort).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(path.clone());
        }
    }

    /// Sets how many there are of a sort of which only examples were added.
    pub(crate) fn more(&self, what: &What, why: &str, count: u64) {
        let mut sorts = self.sorts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = sorts.get_mut(&(what.clone(), why.to_owned())) {
            found.0 = count;
        }
    }

    pub(crate) fn list(&self) -> Vec<Finding> {
        let sorts = self.sorts.lock().unwrap_or_else(PoisonError::into_inner);
        sorts
            .iter()
            .map(|((what, why), (count, examples))| Finding {
                what: what.clone(),
                why: why.clone(),
                count: *count,
                examples: examples.clone(),
            })
            .collect()
    }
}
