//! Where the limit of a migration stands that others want of its run: on its Lease, or in a file beside its journal.
//!
//! The journal itself cannot carry it: only who holds the lock may write there, and a limit is for whoever does not.
use std::{
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use super::{Keeper, Locked};
use crate::{adapters::kube::lease::set_limit, marks::object_name};

/// How often the file is looked at, about as often as a Lease is renewed.
const LOOK: Duration = Duration::from_secs(3);

impl Keeper {
    /// Writes what a migration is to be limited to, also while another process holds its lock.
    pub async fn set_limit(&self, namespace: &str, migration: &str, text: &str) -> Result<()> {
        match self {
            Self::Cluster(cluster) => {
                set_limit(cluster, namespace, &object_name(migration), text).await?;
                Ok(())
            }
            Self::File(journal) => {
                let file = beside(journal);
                write(&file, text).with_context(|| format!("cannot write {}", file.display()))
            }
        }
    }
}

impl Locked {
    /// What others want the migration to be limited to, and what they want later.
    #[must_use]
    pub fn limit(&self) -> watch::Receiver<Option<String>> {
        match self {
            Self::Cluster { held, .. } => held.limit(),
            Self::File { path, .. } => follow(beside(path)),
        }
    }
}

/// The file of the limit beside a journal.
pub(super) fn beside(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".limit");
    name.into()
}

/// What it holds; none where it is not there.
pub(super) fn read(file: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes it away with the journal that it was for.
pub(super) fn forget(journal: &Path) -> Result<()> {
    let file = beside(journal);
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Puts it in place whole: whoever reads it meanwhile has the old one.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let mut open = std::fs::File::create(&draft)?;
    open.write_all(format!("{text}\n").as_bytes())?;
    open.sync_all()?;
    std::fs::rename(&draft, file)
}

/// Looks at the file for as long as somebody listens.
fn follow(file: PathBuf) -> watch::Receiver<Option<String>> {
    let (told, listener) = watch::channel(read(&file).unwrap_or_default());
    tokio::spawn(async move {
        while tokio::time::timeout(LOOK, told.closed()).await.is_err() {
            // A file that cannot be read now changes nothing.
            let Ok(found) = read(&file) else { continue };
            told.send_if_modified(|limit| {
                let new = *limit != found;
                *limit = found;
                new
            });
        }
    });
    listener
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_written_beside_a_journal_reaches_who_holds_it() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let journal = folder.path().join("journal");
        let keeper = Keeper::File(journal.clone());
        let locked = keeper.lock("shop", "m", false, watch::channel(String::new()).1);
        let locked = locked.await?;
        let mut limit = locked.limit();
        assert_eq!(*limit.borrow_and_update(), None);
        keeper.set_limit("shop", "m", "slow").await?;
        limit.changed().await?;
        assert_eq!(limit.borrow_and_update().as_deref(), Some("slow"));
        // Whoever comes next begins with it.
        assert_eq!(read(&beside(&journal))?.as_deref(), Some("slow"));
        let left = std::fs::read_dir(folder.path())?.count();
        assert_eq!(left, 2, "the journal and the limit");
        for _ in 0..2 {
            locked.forget().await?;
            assert_eq!(read(&beside(&journal))?, None);
        }
        Ok(())
    }
}
