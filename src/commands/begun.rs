//! A migration that has begun, locked by this process, without its steps: for verbs that add to its journal
//! and run none of them.
use anyhow::{Result, anyhow};
use jiff::Timestamp;
use tokio::sync::watch;

use super::{identity, named, path, session};
use crate::{
    context::Context,
    engine::Journal,
    plan::Plan,
    playbooks::Sides,
    state::{Locked, Seen},
};

/// A migration that has begun, locked by this process.
pub(super) struct Begun {
    /// The lock.
    pub(super) locked: Locked,
    /// Its journal.
    pub(super) journal: Journal,
    /// Both sides; every change asks the lock first.
    pub(super) sides: Sides,
}

impl Begun {
    /// Locks a migration by its name and opens its journal.
    pub(super) async fn open(cx: &Context, name: &str, take_over: bool) -> Result<Self> {
        // Looked at before it is locked, so that a name that is misspelt leaves no lock behind.
        named::seen(cx, name).await?;
        session::keeps_its_plan(&cx.flags, name, &[])?;
        Self::lock(cx, name, take_over).await
    }

    /// The same of one that is known to be there, whatever flags say of another that was begun.
    pub(super) async fn lock(cx: &Context, name: &str, take_over: bool) -> Result<Self> {
        let namespace = cx.namespace().await?;
        let keeper = cx.keeper().await?;
        let place = keeper.place(&namespace, name);
        let (_, quiet) = watch::channel("{}".to_owned());
        let locked = keeper.lock(&namespace, name, take_over, quiet).await?;
        match Self::read(cx, &locked, &place, name).await {
            Ok((journal, sides)) => Ok(Self {
                locked,
                journal,
                sides,
            }),
            Err(error) => {
                locked.release().await.ok();
                Err(error)
            }
        }
    }

    async fn read(
        cx: &Context,
        locked: &Locked,
        place: &str,
        name: &str,
    ) -> Result<(Journal, Sides)> {
        let journal = Journal::open(locked.store(), place, Timestamp::now)
            .await?
            .ok_or_else(|| anyhow!("there is no migration {name}"))?;
        let header = journal.header();
        identity::same_source(cx, header, place).await?;
        let plan: Plan = serde_json::from_value(header.plan.clone())?;
        let sides = path::sides(cx, &plan, &header.run, Some(&locked.guard())).await?;
        identity::same_target(header, &sides, place).await?;
        Ok((journal, sides))
    }

    /// It as it is now, for whoever reports it.
    pub(super) fn seen(&self) -> Seen {
        Seen {
            header: self.journal.header().clone(),
            entries: self.journal.entries().to_vec(),
            progress: None,
            holder: None,
            limit: None,
        }
    }

    /// Frees the migration.
    pub(super) async fn leave(self) {
        drop(self.journal);
        self.locked.release().await.ok();
    }
}
