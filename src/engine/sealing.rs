//! What was done before a step that seals it is never made again; what nobody watched is, until then.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use serde_json::Value;

use super::{
    sweep::{World, clock, ends, header, reopen},
    *,
};

/// The steps of [`header`]: the second cannot tell whether it stands when another runner made it, the last
/// seals, and waits as long as it is told to.
struct Part {
    id: &'static str,
    world: World,
    fence: u64,
    waits: bool,
}

const IDS: [&str; 4] = ["freeze", "snapshot", "copy", "switch"];

#[async_trait]
impl Step for Part {
    fn id(&self) -> &'static str {
        self.id
    }
    fn title(&self) -> String {
        self.id.to_owned()
    }
    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("take it away".to_owned())
    }
    fn freezes(&self) -> Freezes {
        if self.id == "freeze" {
            Freezes::Begin
        } else {
            Freezes::Nothing
        }
    }
    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        self.world.put(self.id);
        if self.waits {
            return Ok(Outcome::Waiting("somebody".to_owned()));
        }
        Ok(Outcome::Done(Value::Null))
    }
    async fn holds(&self, cx: &Cx) -> Result<Holds> {
        if !self.world.has(self.id) {
            return Ok(Holds::No(format!("somebody took {}", self.id)));
        }
        if self.id == "snapshot" && cx.made_under != Some(self.fence) {
            return Ok(Holds::Unknown("nobody watched".to_owned()));
        }
        Ok(Holds::Yes)
    }
    fn seals(&self) -> bool {
        self.id == "switch"
    }
    async fn undo(&self, _: &Cx) -> Result<Undone> {
        self.world.take(self.id);
        Ok(Undone::Restored)
    }
}

fn steps(world: &World, fence: u64, waits: Option<&str>) -> Vec<Arc<dyn Step>> {
    let part = |id: &'static str| Part {
        id,
        world: world.clone(),
        fence,
        waits: waits == Some(id),
    };
    IDS.map(|id| Arc::new(part(id)) as Arc<dyn Step>).to_vec()
}

/// A run up to the last step, which waits.
async fn waiting(world: &World) -> Journal {
    let (sink, stop, _wish) = ends();
    let store = MemoryStore::default();
    let mut journal = Journal::create(Box::new(store), header(), clock)
        .await
        .unwrap();
    let steps = steps(world, journal.fence(), Some("switch"));
    let ended = run(&steps, &mut journal, &sink, &stop).await.unwrap();
    assert!(matches!(ended, Ended::Waiting { .. }));
    journal
}

fn told(journal: &Journal, from: usize) -> Vec<String> {
    let entries = journal.entries().iter().skip(from);
    entries
        .map(|entry| format!("{} {}", entry.step, entry.record.name()))
        .collect()
}

#[tokio::test]
async fn whatever_falls_before_a_step_that_was_begun_nothing_is_made_again_and_the_way_back_is_open()
 {
    let (sink, stop, _wish) = ends();
    for taken in &IDS[..3] {
        let world = World::default();
        let full = waiting(&world).await.entries().to_vec();
        // Also when nothing but the beginning of the last step was written down.
        for cut in full.len() - 1..=full.len() {
            let store = MemoryStore::with(&header(), &full[..cut]);
            let mut journal = reopen(&store).await;
            let steps = steps(&world, journal.fence(), None);
            world.take(taken);
            let before = world.all();
            let error = run(&steps, &mut journal, &sink, &stop).await.unwrap_err();
            let RunError::Failed {
                step, kind, source, ..
            } = error
            else {
                panic!("{error}");
            };
            let wanted = if *taken == "freeze" {
                Kind::FreezeBroken
            } else {
                Kind::Blocked
            };
            assert_eq!((step.as_str(), kind), (*taken, wanted));
            let why = source.to_string();
            assert!(
                why.contains(&format!("somebody took {taken}; step `switch` has begun")),
                "{why}"
            );
            assert_eq!((world.all(), journal.entries().len()), (before, cut));
            let refused = stands_before("switch", &steps, &journal, &sink, &stop).await;
            assert!(refused.is_err());
            world.put(taken);
        }
        let store = MemoryStore::with(&header(), &full);
        let mut journal = reopen(&store).await;
        let steps = steps(&world, journal.fence(), None);
        world.take(taken);
        rollback(&steps, None, &mut journal, &sink, &stop)
            .await
            .unwrap();
        assert_eq!(world.all(), Vec::<String>::new());
        let ended = run(&steps, &mut journal, &sink, &stop).await.unwrap();
        assert_eq!((ended, world.all().len()), (Ended::Done, 4));
    }
}

#[tokio::test]
async fn a_journal_that_has_broken_what_is_sealed_goes_back_only() {
    let (sink, stop, _wish) = ends();
    let world = World::default();
    let mut journal = waiting(&world).await;
    let broken = Record::Broken("an older version".to_owned());
    journal.record(&sink, "snapshot", broken).await.unwrap();
    let steps = steps(&world, journal.fence(), None);
    let count = journal.entries().len();
    let error = run(&steps, &mut journal, &sink, &stop).await.unwrap_err();
    assert!(
        matches!(error, RunError::Failed { ref step, .. } if step == "snapshot"),
        "{error}"
    );
    assert_eq!(journal.entries().len(), count);
    rollback(&steps, None, &mut journal, &sink, &stop)
        .await
        .unwrap();
    assert_eq!(world.all(), Vec::<String>::new());
}

#[tokio::test]
async fn what_another_runner_made_unwatched_is_made_again_until_it_is_sealed_or_decided_on() {
    let (sink, stop, _wish) = ends();
    let world = World::default();
    let full = waiting(&world).await.entries().to_vec();
    // Before the last step begins.
    let store = MemoryStore::with(&header(), &full[..6]);
    let mut journal = reopen(&store).await;
    let another = journal.fence() + 1;
    let steps = steps(&world, another, Some("switch"));
    let stands = stands_before("switch", &steps, &journal, &sink, &stop).await;
    assert!(stands.is_ok());
    run(&steps, &mut journal, &sink, &stop).await.unwrap();
    let again = [
        "copy broken",
        "snapshot broken",
        "snapshot started",
        "snapshot done",
        "copy started",
        "copy done",
        "switch started",
        "switch waiting",
    ];
    assert_eq!(told(&journal, 6), again);
    // Cut off after the first of these lines, it comes to the same.
    let cut = &journal.entries()[..7];
    let mut cut = reopen(&MemoryStore::with(&header(), cut)).await;
    run(&steps, &mut cut, &sink, &stop).await.unwrap();
    assert_eq!(told(&cut, 6), again);
    // It is sealed now: another runner's number changes nothing any more.
    let count = journal.entries().len();
    run(&steps, &mut journal, &sink, &stop).await.unwrap();
    assert_eq!(told(&journal, count), ["switch started", "switch waiting"]);
    // The operator decided on a step that was built on it.
    let mut decided = full[..5].to_vec();
    for (seq, record) in [
        (6, Record::Waiting(String::new())),
        (7, Record::Marked(String::new())),
    ] {
        let step = "copy".to_owned();
        let first = full[0].clone();
        decided.push(Entry {
            seq,
            step,
            record,
            ..first
        });
    }
    let mut journal = reopen(&MemoryStore::with(&header(), &decided)).await;
    run(&steps, &mut journal, &sink, &stop).await.unwrap();
    assert_eq!(told(&journal, 7), ["switch started", "switch waiting"]);
}
