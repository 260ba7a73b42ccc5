//! When a snapshot was last seen to be good: an object beside it, so that whoever looks from elsewhere sees it, too.
use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::adapters::s3::Address;

/// The version that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// The last good check of each level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proofs {
    /// The format.
    kubectl_migrate_checks: u32,
    /// One of each level, the lowest first.
    pub good: Vec<Proof>,
}

/// A check that said yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proof {
    /// How closely it was looked at: 2 read everything, 3 started it.
    pub level: u8,
    /// When.
    pub at: Timestamp,
    /// The version of the plugin that looked.
    pub written_by: String,
}

impl Default for Proofs {
    fn default() -> Self {
        Self {
            kubectl_migrate_checks: FORMAT,
            good: Vec::new(),
        }
    }
}

impl Proofs {
    /// Adds one, in place of the earlier one of its level.
    pub fn add(&mut self, level: u8, at: Timestamp) {
        self.good.retain(|proof| proof.level != level);
        self.good.push(Proof {
            level,
            at,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
        });
        self.good.sort_by_key(|proof| proof.level);
    }

    /// The one that tells most.
    #[must_use]
    pub fn best(&self) -> Option<&Proof> {
        self.good.last()
    }

    /// As it is written.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the object at this address, strictly.
    pub(super) fn decode(address: &Address, text: &[u8]) -> Result<Self> {
        let none = || format!("{address} tells no checks of a snapshot");
        let found: Self = serde_json::from_slice(text).with_context(none)?;
        let format = found.kubectl_migrate_checks;
        ensure!(
            format == FORMAT,
            "{address} has format {format}, and this version reads {FORMAT}"
        );
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u8) -> Timestamp {
        format!("2026-11-28T{hour:02}:15:00Z")
            .parse()
            .expect("a time")
    }

    #[test]
    fn the_last_of_each_level_is_kept_and_the_highest_tells_most() {
        let mut proofs = Proofs::default();
        assert_eq!(proofs.best(), None);
        proofs.add(3, at(4));
        proofs.add(2, at(5));
        proofs.add(3, at(6));
        let told: Vec<_> = proofs
            .good
            .iter()
            .map(|proof| (proof.level, proof.at))
            .collect();
        assert_eq!(told, [(2, at(5)), (3, at(6))]);
        assert_eq!(proofs.best().map(|proof| proof.level), Some(3));
        let address = "s3://backups/db/20261128T041500Z/checks.json"
            .parse()
            .expect("an address");
        let text = proofs.encode().expect("JSON");
        assert_eq!(Proofs::decode(&address, &text).expect("ours"), proofs);
        let newer = String::from_utf8_lossy(&text).replace("Checks\": 1", "Checks\": 2");
        let error = Proofs::decode(&address, newer.as_bytes()).expect_err("another version");
        assert!(error.to_string().contains("has format 2"), "{error}");
        let more = String::from_utf8_lossy(&text).replace("\"level\"", "\"more\": 1, \"level\"");
        assert!(Proofs::decode(&address, more.as_bytes()).is_err());
    }
}
