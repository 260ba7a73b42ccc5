use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::ObjectMeta;

use super::Movers;
use crate::{
    adapters::kube::create_owned,
    transfer::{ClientKeys, RunKeys, Side},
};

/// Files by name, as PEM.
type Files = BTreeMap<String, Vec<u8>>;

/// The keys of a run, read back from the cluster.
pub(super) struct Keys {
    /// What the client needs.
    pub(super) client: ClientKeys,
    files: Files,
}

impl Keys {
    /// The files of the mover on one side.
    pub(super) fn mover_files(&self, side: Side) -> Files {
        part(&self.files, &side.to_string())
    }
}

impl Movers {
    /// The Secret that holds all keys of the run, next to its journal.
    ///
    /// They are kept together and made in one write: a client that comes later, from another laptop, finds
    /// either all of them or none.
    pub(super) async fn keys(&self) -> Result<Keys> {
        let made = RunKeys::generate()?;
        let mut files = prefixed("client", made.client_files());
        files.extend(prefixed("source", made.mover_files(Side::Source)));
        files.extend(prefixed("target", made.mover_files(Side::Target)));
        let wanted = Secret {
            metadata: ObjectMeta {
                name: Some(self.keys_name()),
                namespace: Some(self.source.namespace.clone()),
                labels: Some(self.belongs.labels("keys")),
                ..ObjectMeta::default()
            },
            data: Some(
                files
                    .into_iter()
                    .map(|(name, bytes)| (name, ByteString(bytes)))
                    .collect(),
            ),
            immutable: Some(true),
            ..Secret::default()
        };
        // The one that was there first wins; its keys are the run's.
        let secret = create_owned(&self.source.api::<Secret>(), &wanted)
            .await?
            .into_object();
        let files: Files = secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(name, bytes)| (name, bytes.0))
            .collect();
        let object = || self.source.object("secret", &self.keys_name());
        let client = ClientKeys::from_files(&part(&files, "client"))
            .with_context(|| format!("{} does not hold this run's keys", object()))?;
        Ok(Keys { client, files })
    }

    /// The name of that Secret.
    pub(crate) fn keys_name(&self) -> String {
        format!("migrate-{}-keys", self.belongs.migration)
    }
}

fn prefixed(prefix: &str, files: Files) -> Files {
    files
        .into_iter()
        .map(|(name, bytes)| (format!("{prefix}.{name}"), bytes))
        .collect()
}

fn part(files: &Files, prefix: &str) -> Files {
    files
        .iter()
        .filter_map(|(name, bytes)| {
            let name = name.strip_prefix(prefix)?.strip_prefix('.')?;
            Some((name.to_owned(), bytes.clone()))
        })
        .collect()
}
