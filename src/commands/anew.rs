//! Whether a verb that is given again begins anew, or goes on.
use crate::{
    engine::{Journal, Record},
    plan::{Plan, Playbook, digest},
};

/// Whether nothing of an earlier journal is needed any more, so that a plan may begin anew: a verb that was
/// done is given again, or nothing was changed yet, or all was put back, and the plan is another. A journal of another
/// migration, as one in a file may be, is needed for that one.
pub(super) fn begins_anew(plan: &Plan, journal: &Journal) -> bool {
    let (state, header) = (journal.state(), journal.header());
    if (&*header.migration, &*header.playbook) != (&*plan.metadata.name, plan.spec.playbook.name())
    {
        return false;
    }
    let every = |wanted: fn(Option<&Record>) -> bool| {
        let steps = &journal.header().steps;
        steps.iter().all(|step| wanted(state.last(step)))
    };
    let untouched = every(|last| matches!(last, None | Some(Record::Blocked(_) | Record::Undone)));
    let over = untouched || every(|last| last.is_some_and(Record::is_settled));
    match plan.spec.playbook {
        Playbook::Copy
        | Playbook::KamajiDatastore
        | Playbook::Snapshot
        | Playbook::Restore
        | Playbook::RestoreCheck => over,
        _ => untouched && digest(plan) != journal.header().digest,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        engine::{Header, MemoryStore, Sink},
        plan::{API_VERSION, KIND, Metadata, Playbook as Kind, Source, Spec},
        report::sample,
    };

    fn plan(playbook: Kind, claim: &str) -> Plan {
        let source = Source {
            pvc: Some(claim.to_owned()),
            ..Source::default()
        };
        Plan {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Metadata {
                name: "m".to_owned(),
                namespace: None,
            },
            spec: Spec::new(playbook, source),
        }
    }

    async fn journal(plan: &Plan, records: &[(&str, Record)]) -> Journal {
        let header = Header {
            migration: plan.metadata.name.clone(),
            playbook: plan.spec.playbook.name().to_owned(),
            digest: digest(plan),
            steps: vec!["preflight".to_owned(), "warm-copy".to_owned()],
            ..sample::header()
        };
        let store = Box::new(MemoryStore::default());
        let mut journal = Journal::create(store, header, Timestamp::now)
            .await
            .expect("an empty store");
        let (sink, _, _) = Sink::new();
        for (step, record) in records {
            let written = journal.record(&sink, step, record.clone()).await;
            written.expect("a history that can be");
        }
        journal
    }

    #[tokio::test]
    async fn a_copy_that_was_cut_off_between_two_steps_is_gone_on_with() {
        let done = || Record::Done(serde_json::Value::Null);
        let between = [("preflight", Record::Started), ("preflight", done())];
        let whole = [
            &between[..],
            &[("warm-copy", Record::Started), ("warm-copy", done())],
        ]
        .concat();
        let blocked = [("preflight", Record::Blocked(Vec::new()))];
        for (records, anew) in [
            (&[][..], true),
            (&blocked, true),
            (&between, false),
            (&whole[..3], false),
            (&whole, true),
        ] {
            let copy = plan(Kind::Copy, "a");
            let journal = journal(&copy, records).await;
            assert_eq!(begins_anew(&copy, &journal), anew, "{records:?}");
            // What is kept there is another's way back.
            let mut other = copy.clone();
            other.metadata.name = "other".to_owned();
            assert!(!begins_anew(&other, &journal), "{records:?}");
            assert!(!begins_anew(&plan(Kind::Restore, "a"), &journal));
        }
    }
}
