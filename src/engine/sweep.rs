//! Generated sweeps over a small world: fail at each step, cut the journal at each line, run twice.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use anyhow::{Result, bail};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::*;

#[derive(Clone, Default)]
pub(super) struct World(Arc<Mutex<BTreeSet<String>>>);

impl World {
    pub(super) fn has(&self, what: &str) -> bool {
        self.0.lock().unwrap().contains(what)
    }
    pub(super) fn put(&self, what: &str) {
        self.0.lock().unwrap().insert(what.to_owned());
    }
    pub(super) fn take(&self, what: &str) {
        self.0.lock().unwrap().remove(what);
    }
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().cloned().collect()
    }
}

/// Puts two things into the world, and may fail between the first and the second.
struct Put {
    id: &'static str,
    world: World,
    fails: bool,
}

#[async_trait]
impl Step for Put {
    fn id(&self) -> &'static str {
        self.id
    }
    fn title(&self) -> String {
        format!("put {}", self.id)
    }
    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("take it away".to_owned())
    }
    async fn probe(&self, _: &Cx) -> Result<Probe> {
        if self.world.has(self.id) && self.world.has(&second(self.id)) {
            return Ok(Probe::Done("already there".to_owned()));
        }
        Ok(Probe::Ready)
    }
    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        self.world.put(self.id);
        if self.fails {
            bail!("injected");
        }
        self.world.put(&second(self.id));
        Ok(Outcome::Done(Value::from(self.id)))
    }
    async fn holds(&self, _: &Cx) -> Result<Holds> {
        if self.world.has(&second(self.id)) {
            return Ok(Holds::Yes);
        }
        Ok(Holds::No("somebody took the second thing".to_owned()))
    }
    async fn undo(&self, _: &Cx) -> Result<Undone> {
        self.world.take(self.id);
        self.world.take(&second(self.id));
        Ok(Undone::Restored)
    }
}

fn second(id: &str) -> String {
    format!("{id}-2")
}

const IDS: [&str; 4] = ["freeze", "snapshot", "copy", "switch"];

fn steps(world: &World, fail_at: Option<usize>) -> Vec<Arc<dyn Step>> {
    IDS.iter()
        .enumerate()
        .map(|(at, id)| {
            Arc::new(Put {
                id,
                world: world.clone(),
                fails: fail_at == Some(at),
            }) as Arc<dyn Step>
        })
        .collect()
}

pub(super) fn header() -> Header {
    Header {
        format: FORMAT,
        tool: "test".to_owned(),
        migration: "m".to_owned(),
        namespace: "n".to_owned(),
        cluster: "c".to_owned(),
        target_cluster: None,
        run: "r".to_owned(),
        playbook: "p".to_owned(),
        plan: Value::Null,
        digest: String::new(),
        steps: IDS.map(str::to_owned).to_vec(),
        created: Timestamp::UNIX_EPOCH,
    }
}

pub(super) fn clock() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

async fn begin(store: &MemoryStore) -> Journal {
    Journal::create(Box::new(store.clone()), header(), clock)
        .await
        .unwrap()
}

pub(super) async fn reopen(store: &MemoryStore) -> Journal {
    Journal::open(Box::new(store.clone()), "the journal", clock)
        .await
        .unwrap()
        .unwrap()
}

pub(super) fn ends() -> (Sink, Stop, tokio::sync::watch::Sender<bool>) {
    let (sink, _, _) = Sink::new();
    let (wish, stop) = Stop::new();
    (sink, stop, wish)
}

/// Every journal that a whole run leaves when it is cut after each of its lines.
async fn cuts(of: &World) -> Vec<Vec<Entry>> {
    let (sink, stop, _wish) = ends();
    let store = MemoryStore::default();
    let mut journal = begin(&store).await;
    run(&steps(of, None), &mut journal, &sink, &stop)
        .await
        .unwrap();
    let full = journal.entries().to_vec();
    (0..=full.len()).map(|cut| full[..cut].to_vec()).collect()
}

#[tokio::test]
async fn a_failure_at_any_step_rolls_back_to_a_clean_slate() {
    let (sink, stop, _wish) = ends();
    for (at, id) in IDS.iter().enumerate() {
        let world = World::default();
        let store = MemoryStore::default();
        let mut journal = begin(&store).await;
        let error = run(&steps(&world, Some(at)), &mut journal, &sink, &stop)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), format!("step `{id}` failed"));
        rollback(&steps(&world, None), None, &mut journal, &sink, &stop)
            .await
            .unwrap();
        assert_eq!(
            world.all(),
            Vec::<String>::new(),
            "left after failing at {id}"
        );
        let ended = run(&steps(&world, None), &mut journal, &sink, &stop)
            .await
            .unwrap();
        assert_eq!((ended, world.all().len()), (Ended::Done, 8));
    }
}

#[tokio::test]
async fn a_journal_cut_anywhere_goes_on_and_still_rolls_back() {
    const COPY: Key<String> = Key::new("copy");
    let (sink, stop, _wish) = ends();
    for prefix in cuts(&World::default()).await {
        // A crash just after `Started` may have made none, half or all of the change.
        for made in 0..3 {
            let world = World::default();
            let state = State::fold(&prefix).unwrap();
            for id in IDS {
                let parts = match state.last(id) {
                    Some(Record::Done(_)) => 2,
                    Some(Record::Started) => made,
                    _ => 0,
                };
                if parts > 0 {
                    world.put(id);
                }
                if parts > 1 {
                    world.put(&second(id));
                }
            }
            let store = MemoryStore::with(&header(), &prefix);
            let mut journal = reopen(&store).await;
            run(&steps(&world, None), &mut journal, &sink, &stop)
                .await
                .unwrap();
            assert_eq!(world.all().len(), 8);
            let cx = super::run::context(&journal, "switch", &sink, &stop);
            assert_eq!(cx.get(&COPY).unwrap(), "copy");
            let mut again = reopen(&store).await;
            rollback(&steps(&world, None), None, &mut again, &sink, &stop)
                .await
                .unwrap();
            assert_eq!(
                world.all(),
                Vec::<String>::new(),
                "left after a cut at {}",
                prefix.len()
            );
        }
    }
}

#[tokio::test]
async fn a_rollback_cut_anywhere_goes_on() {
    let (sink, stop, _wish) = ends();
    let world = World::default();
    let store = MemoryStore::default();
    let mut journal = begin(&store).await;
    run(&steps(&world, None), &mut journal, &sink, &stop)
        .await
        .unwrap();
    let done = journal.entries().len();
    rollback(&steps(&world, None), None, &mut journal, &sink, &stop)
        .await
        .unwrap();
    let full = journal.entries().to_vec();
    for cut in done..=full.len() {
        let world = World::default();
        for id in IDS {
            world.put(id);
            world.put(&second(id));
        }
        let store = MemoryStore::with(&header(), &full[..cut]);
        let mut journal = reopen(&store).await;
        if cut > done && cut < full.len() && matches!(full[cut - 1].record, Record::UndoStarted) {
            let error = run(&steps(&world, None), &mut journal, &sink, &stop)
                .await
                .unwrap_err();
            assert!(
                matches!(error, RunError::RollingBack { .. }),
                "cut {cut}: {error}"
            );
        }
        let undone = State::fold(&full[..cut]).unwrap();
        for id in IDS {
            if matches!(undone.last(id), Some(Record::Undone)) {
                world.take(id);
                world.take(&second(id));
            }
        }
        rollback(&steps(&world, None), None, &mut journal, &sink, &stop)
            .await
            .unwrap();
        assert_eq!(
            world.all(),
            Vec::<String>::new(),
            "left after a cut at {cut}"
        );
    }
}

#[tokio::test]
async fn what_was_done_before_us_is_skipped_and_never_undone() {
    let (sink, stop, _wish) = ends();
    let world = World::default();
    world.put("freeze");
    world.put(&second("freeze"));
    let store = MemoryStore::default();
    let mut journal = begin(&store).await;
    run(&steps(&world, None), &mut journal, &sink, &stop)
        .await
        .unwrap();
    assert!(matches!(
        journal.state().last("freeze"),
        Some(Record::Skipped(_))
    ));
    rollback(&steps(&world, None), None, &mut journal, &sink, &stop)
        .await
        .unwrap();
    assert_eq!(world.all(), ["freeze", "freeze-2"]);
}

#[tokio::test]
async fn what_no_longer_holds_is_done_again_with_all_that_was_built_on_it() {
    let (sink, stop, _wish) = ends();
    let world = World::default();
    let store = MemoryStore::default();
    let mut journal = begin(&store).await;
    let failing = steps(&world, Some(3));
    run(&failing, &mut journal, &sink, &stop).await.unwrap_err();
    world.take(&second("snapshot"));
    run(&steps(&world, None), &mut journal, &sink, &stop)
        .await
        .unwrap();
    let told: Vec<_> = journal
        .entries()
        .iter()
        .skip(8)
        .map(|entry| format!("{} {}", entry.step, entry.record.name()))
        .collect();
    assert_eq!(
        told,
        [
            "copy broken",
            "snapshot broken",
            "snapshot started",
            "snapshot done",
            "copy started",
            "copy done",
            "switch started",
            "switch done"
        ]
    );
}

/// Compares, and finds a difference as long as the copy was made once only.
struct Compare(Arc<Mutex<usize>>);

#[async_trait]
impl Step for Compare {
    fn id(&self) -> &'static str {
        "compare"
    }
    fn title(&self) -> String {
        "compare".to_owned()
    }
    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }
    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        let mut tries = self.0.lock().unwrap();
        *tries += 1;
        match *tries {
            1 => bail!(Failure::new(Kind::Error, "a mover was lost")),
            2 => bail!(Failure::new(Kind::Difference, "1 file differs")),
            _ => Ok(Outcome::Done(Value::Null)),
        }
    }
    fn repaired_by(&self) -> Option<&'static str> {
        Some("copy")
    }
    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}

#[tokio::test]
async fn after_a_difference_and_only_then_the_copy_is_made_again() {
    let (sink, stop, _wish) = ends();
    let world = World::default();
    let store = MemoryStore::default();
    let put = Put {
        id: "copy",
        world,
        fails: false,
    };
    let steps: Vec<Arc<dyn Step>> = vec![Arc::new(put), Arc::new(Compare(Arc::default()))];
    let header = Header {
        steps: vec!["copy".to_owned(), "compare".to_owned()],
        ..header()
    };
    let journal = Journal::create(Box::new(store.clone()), header, clock).await;
    let mut journal = journal.unwrap();
    for _ in 0..2 {
        run(&steps, &mut journal, &sink, &stop).await.unwrap_err();
    }
    let ended = run(&steps, &mut journal, &sink, &stop).await.unwrap();
    assert_eq!(ended, Ended::Done);
    let told: Vec<_> = journal
        .entries()
        .iter()
        .map(|entry| format!("{} {}", entry.step, entry.record.name()))
        .collect();
    assert_eq!(
        told,
        [
            "copy started",
            "copy done",
            "compare started",
            "compare failed",
            "compare started",
            "compare failed",
            "copy broken",
            "copy started",
            "copy done",
            "compare started",
            "compare done"
        ]
    );
}

#[tokio::test]
async fn a_line_that_is_cut_changed_or_moved_is_named() {
    let (sink, stop, _wish) = ends();
    let world = World::default();
    let store = MemoryStore::default();
    let mut journal = begin(&store).await;
    run(&steps(&world, None), &mut journal, &sink, &stop)
        .await
        .unwrap();
    let lines = store.load().await.unwrap().unwrap();
    for number in 0..lines.len() {
        let mut cut = lines.clone();
        cut[number].pop();
        let mut flipped = lines.clone();
        flipped[number] = flipped[number].replacen("\"s", "\"t", 1);
        let mut missing = lines.clone();
        missing.remove(number);
        for broken in [cut, flipped, missing] {
            if broken.len() == number {
                continue; // without its last line a journal is just a shorter one
            }
            let error = decode("configmap n/migrate-m", &broken)
                .unwrap_err()
                .to_string();
            let place = format!("configmap n/migrate-m is damaged: line {}:", number + 1);
            assert!(error.starts_with(&place), "{error}");
        }
    }
    let newer = [lines[0].replacen("\"format\":1", "\"format\":2", 1)];
    assert_eq!(
        decode("configmap n/migrate-m", &newer)
            .unwrap_err()
            .to_string(),
        "configmap n/migrate-m has format 2, and this program reads format 1: use the version of it that wrote the journal"
    );
}

#[tokio::test]
async fn a_journal_that_is_nearly_full_begins_nothing_and_still_ends_what_was_begun() {
    struct Small(MemoryStore);
    #[async_trait]
    impl Store for Small {
        async fn load(&self) -> Result<Option<Vec<String>>, StoreError> {
            self.0.load().await
        }
        async fn create(&self, header: &Header, line: &str) -> Result<(), StoreError> {
            self.0.create(header, line).await
        }
        async fn append(&self, lines: usize, line: &str) -> Result<(), StoreError> {
            self.0.append(lines, line).await
        }
        async fn confirm(&self) -> Result<(), StoreError> {
            self.0.confirm().await
        }
        fn capacity(&self) -> usize {
            64 * 1024 + 600
        }
        fn fence(&self) -> u64 {
            1
        }
    }
    let (sink, stop, _wish) = ends();
    let world = World::default();
    let store = Box::new(Small(MemoryStore::default()));
    let mut journal = Journal::create(store, header(), clock).await.unwrap();
    let error = run(&steps(&world, None), &mut journal, &sink, &stop)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("too little room to begin step `"), "{text}");
    assert!(!world.all().is_empty() && world.all().len() < 8);
    rollback(&steps(&world, None), None, &mut journal, &sink, &stop)
        .await
        .unwrap();
    assert_eq!(world.all(), Vec::<String>::new());
}

#[tokio::test]
async fn a_wish_to_stop_is_met_between_steps_and_the_run_goes_on_later() {
    let (sink, stop, wish) = ends();
    let world = World::default();
    let store = MemoryStore::default();
    let mut journal = begin(&store).await;
    wish.send(true).unwrap();
    let ended = run(&steps(&world, None), &mut journal, &sink, &stop)
        .await
        .unwrap();
    assert_eq!(
        ended,
        Ended::Interrupted {
            step: "freeze".to_owned()
        }
    );
    assert_eq!(journal.entries().len(), 0);
}

#[tokio::test]
async fn a_runner_with_a_smaller_number_than_the_last_writes_nothing() {
    let (sink, _stop, _wish) = ends();
    let entry = Entry {
        seq: 1,
        fence: 2,
        at: clock(),
        step: IDS[0].to_owned(),
        record: Record::Started,
    };
    let store = MemoryStore::with(&header(), &[entry]);
    let mut journal = reopen(&store).await;
    let refused = journal.record(&sink, IDS[0], Record::Stopped).await;
    assert!(
        matches!(
            &refused,
            Err(JournalError::Store(StoreError::Lost(why))) if why.contains("run number 2")
        ),
        "{refused:?}"
    );
    assert_eq!(reopen(&store).await.entries().len(), 1);
}

#[tokio::test]
async fn a_rollback_down_to_any_step_keeps_it_and_what_is_before_it() {
    let (sink, stop, _wish) = ends();
    for (at, keep) in IDS.iter().enumerate() {
        let world = World::default();
        let store = MemoryStore::default();
        let mut journal = begin(&store).await;
        let steps = steps(&world, None);
        run(&steps, &mut journal, &sink, &stop).await.unwrap();
        for again in [false, true] {
            let before = journal.entries().len();
            let ended = rollback(&steps, Some(keep), &mut journal, &sink, &stop).await;
            assert_eq!(ended.unwrap(), Ended::Done);
            let mut kept: Vec<_> = IDS[..=at]
                .iter()
                .flat_map(|id| [(*id).to_owned(), second(id)])
                .collect();
            kept.sort();
            assert_eq!(world.all(), kept, "down to {keep}");
            // A second one finds nothing to do, and writes nothing.
            assert!(!again || before == journal.entries().len());
        }
        // It goes on from there to the same end.
        let ended = run(&steps, &mut reopen(&store).await, &sink, &stop).await;
        assert_eq!(ended.unwrap(), Ended::Done);
        assert_eq!(world.all().len(), 2 * IDS.len());
    }
}
