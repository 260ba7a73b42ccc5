use std::sync::Arc;

use super::{
    Ended, Failure, Journal, Kind, Record, RunError, Sink, Step, Stop, Undone,
    run::{context, same_steps},
};

/// Puts back what was done, last step first, down to but without the step `keep`.
///
/// Steps that were skipped, blocked or never begun are left alone. Called again, it goes on.
pub async fn rollback(
    steps: &[Arc<dyn Step>],
    keep: Option<&str>,
    journal: &mut Journal,
    sink: &Sink,
    stop: &Stop,
) -> Result<Ended, RunError> {
    same_steps(steps, journal)?;
    for step in steps.iter().rev() {
        let id = step.id();
        if keep == Some(id) {
            break;
        }
        match journal.state().last(id) {
            None | Some(Record::Skipped(_) | Record::Undone | Record::Blocked(_)) => continue,
            Some(_) => {}
        }
        if stop.requested() {
            return Ok(Ended::Interrupted {
                step: id.to_owned(),
            });
        }
        let cx = context(journal, id, sink, stop);
        journal.record(sink, id, Record::UndoStarted).await?;
        journal.confirm().await?;
        let failure = match step.undo(&cx).await {
            Ok(Undone::Restored) => {
                journal.record(sink, id, Record::Undone).await?;
                continue;
            }
            Ok(Undone::Irreversible(why)) => {
                Failure::new(Kind::Blocked, format!("it cannot be undone: {why}")).into()
            }
            Err(error) => error,
        };
        let kind = Failure::kind_of(&failure);
        let evidence = Failure::evidence_of(&failure);
        let record = Record::UndoFailed(format!("{failure:#}"));
        // A lock that was lost cannot be written down; the failure itself is what to tell.
        journal.record(sink, id, record).await.ok();
        return Err(RunError::Failed {
            step: id.to_owned(),
            kind,
            evidence,
            source: failure,
        });
    }
    Ok(Ended::Done)
}
