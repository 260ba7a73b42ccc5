//! What a migration left in the bucket that its bytes went through.
use anyhow::Result;

use crate::{
    context::Context, flags::DryRun, plan::Plan, playbooks::Sides, state::Seen,
    steps::movers::Through, ui::Removal,
};

/// Objects and unfinished uploads of this migration's run.
pub(super) struct LeftOnTheWay {
    through: Through,
    keys: Vec<String>,
}

impl LeftOnTheWay {
    /// What is there; none where no bucket is named or nothing is in it. A bucket that does not answer keeps nothing else
    /// from being deleted, and is told of.
    pub(super) async fn of(cx: &Context, seen: &Seen, sides: &Sides) -> Result<Option<Self>> {
        let plan: Plan = serde_json::from_value(seen.header.plan.clone())?;
        let Some(place) = &plan.spec.mover.bucket else {
            return Ok(None);
        };
        let through = Through::new(place, &sides.source, &sides.belongs)?;
        match through.left().await {
            Ok(keys) => Ok((!keys.is_empty()).then_some(Self { through, keys })),
            Err(error) => {
                cx.ui.warn(&format!(
                    "whether something of this migration is in {} could not be seen: {error:#}",
                    through.folder()
                ));
                Ok(None)
            }
        }
    }

    /// As they are shown before.
    pub(super) fn shown(&self) -> impl Iterator<Item = Removal> {
        self.keys.iter().map(|key| Removal {
            kind: "object".to_owned(),
            namespace: String::new(),
            name: self.through.of_key(key).to_string(),
            why: "what the movers' bytes went through".to_owned(),
        })
    }

    /// Deletes them; a dry run only tells it.
    pub(super) async fn delete(&self, cx: &Context, how: DryRun) -> Result<()> {
        let told = match how {
            DryRun::None => {
                self.through.sweep().await?;
                "deleted"
            }
            DryRun::Client | DryRun::Server => "deleted (dry run)",
        };
        for key in &self.keys {
            cx.ui
                .data(&format!("object {} {told}", self.through.of_key(key)))?;
        }
        Ok(())
    }
}
