//! What a switch of a tenant's datastore left in the old one.
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    adapters::datastore::StoreLook,
    context::Context,
    engine::{self, Cx, Failure, Kind, Record, Sink, Stop},
    flags::DryRun,
    plan::Plan,
    playbooks::{self, Sides},
    report::{Report, State},
    state::Seen,
    steps::{
        kamaji::{COMPARED, LAST, Switch},
        preflight::CHECKED,
    },
    ui::Removal,
};

use super::ID;

/// A tenant's data in the store that it has left.
pub(super) struct OldStore {
    switch: Switch,
    look: StoreLook,
    /// Whether a cleanup was cut off while it deleted it: what is there is a part.
    cut_off: bool,
}

impl OldStore {
    /// The old data, if every proof that nobody needs it still stands; none when it is gone.
    pub(super) async fn of(seen: &Seen, report: &Report, sides: &Sides) -> Result<Option<Self>> {
        let state = engine::State::fold(&seen.entries)?;
        let compared = matches!(state.last(COMPARED.step()), Some(Record::Done(_)));
        if report.state != State::Done || !compared {
            let why = format!(
                "migration {} is {}, or its stores were not compared: the old data is the only copy, and is kept",
                report.name,
                report.state.name()
            );
            return Err(Failure::new(Kind::Blocked, why).into());
        }
        let (sink, _, _) = Sink::new();
        let (_, stop) = Stop::new();
        let cx = Cx::of(&state, sink, stop);
        let tenant = cx.get(&CHECKED)?.about.into_tenant();
        let tenant = tenant.context("the migration is of no tenant")?;
        let plan: Plan = serde_json::from_value(seen.header.plan.clone())?;
        let switch = playbooks::switch_of(&plan, sides, tenant);
        // A cleanup that was cut off may have left nothing but the user.
        let cut_off = matches!(state.last(ID), Some(Record::Started));
        let last = cx.get(&LAST)?;
        let look = switch.old_data(Some(&last).filter(|_| !cut_off)).await?;
        Ok((look.keys > 0 || cut_off).then_some(Self {
            switch,
            look,
            cut_off,
        }))
    }

    /// What has to be typed.
    pub(super) fn schema(&self) -> &str {
        &self.switch.tenant.schema
    }

    /// As it is shown before.
    pub(super) fn shown(&self) -> Removal {
        let tenant = &self.switch.tenant;
        Removal {
            kind: "schema".to_owned(),
            namespace: format!("datastore {}", tenant.source),
            name: tenant.schema.clone(),
            why: format!(
                "the old data: {} keys, {} bytes, with user {}",
                self.look.keys, self.look.bytes, tenant.user
            ),
        }
    }

    /// Refuses a backup of a part: whoever asks for one counts on all of it.
    pub(super) fn can_be_backed_up(&self, cx: &Context, migration: &str) -> Result<()> {
        if !self.cut_off {
            return Ok(());
        }
        let tenant = &self.switch.tenant;
        let why = format!(
            "a cleanup was cut off while it deleted schema {} in datastore {}: a backup of what is left would not be whole, and one that it was asked for was written before",
            tenant.schema, tenant.source
        );
        let again = cx.command(&format!("cleanup {migration} --old-data"));
        Err(Failure::new(Kind::Blocked, why)
            .with_next(again, "deletes the rest")
            .into())
    }

    /// Takes it into a new file before.
    pub(super) async fn back_up(&self, cx: &Context, file: &Path) -> Result<()> {
        let meter = crate::commands::tenant_meter(cx);
        let end = self.switch.back_up_old_data(file, &meter).await?;
        let tenant = &self.switch.tenant;
        cx.ui.data(&format!(
            "schema {} in datastore {} written to {}: {} records, digest {}",
            tenant.schema,
            tenant.source,
            file.display(),
            end.records,
            end.digest
        ))?;
        Ok(())
    }

    /// Deletes it; a dry run only tells it.
    pub(super) async fn delete(&self, cx: &Context, how: DryRun) -> Result<()> {
        let tenant = &self.switch.tenant;
        let what = format!("schema {} in datastore {}", tenant.schema, tenant.source);
        if how != DryRun::None {
            cx.ui.data(&format!("{what} deleted (dry run)"))?;
            return Ok(());
        }
        self.switch.remove_old_data().await?;
        cx.ui.data(&format!("{what} deleted"))?;
        Ok(())
    }

    /// What the journal keeps of it.
    pub(super) fn told(&self) -> serde_json::Value {
        json!({
            "deleted": [format!("schema {} in datastore {}", self.schema(), self.switch.tenant.source)],
            "keys": self.look.keys, "bytes": self.look.bytes, "revision": self.look.revision,
        })
    }
}
