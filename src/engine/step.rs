use std::{collections::BTreeMap, marker::PhantomData};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

use super::{Check, Sink};

/// One change to the world that can be looked at, made and put back.
#[async_trait]
pub trait Step: Send + Sync {
    /// Stable name, written to the journal.
    fn id(&self) -> &'static str;

    /// What it does, in a few words for the plan's table.
    fn title(&self) -> String;

    /// What `undo` does, or why there is none: known before the step is run.
    fn undo_plan(&self) -> UndoPlan;

    /// Whether writes stop or begin again with it.
    fn freezes(&self) -> Freezes {
        Freezes::Nothing
    }

    /// Everything that can be known before anything is begun. Changes nothing.
    async fn preflight(&self, cx: &Cx) -> Result<Vec<Check>> {
        let _ = cx;
        Ok(Vec::new())
    }

    /// Sends each of `apply`'s first writes to the server as a dry run, and says what they were.
    async fn rehearse(&self, cx: &Cx) -> Result<Vec<String>> {
        let _ = cx;
        Ok(Vec::new())
    }

    /// Looks whether there is something to do. Changes nothing.
    async fn probe(&self, cx: &Cx) -> Result<Probe> {
        let _ = cx;
        Ok(Probe::Ready)
    }

    /// Makes the change. May run again after a crash.
    async fn apply(&self, cx: &Cx) -> Result<Outcome>;

    /// Looks whether what was done still stands, when a later step is about to rely on it.
    async fn holds(&self, cx: &Cx) -> Result<Holds> {
        let _ = cx;
        Ok(Holds::Yes)
    }

    /// The earlier step that is done again before this one is tried again, where this one failed because
    /// source and target differ: a comparison changes nothing, and repeated would only fail again.
    fn repaired_by(&self) -> Option<&'static str> {
        None
    }

    /// Whether nothing before this step may be made again once it has begun: others work from then on with
    /// what was made, and making it again would overwrite what they wrote.
    fn seals(&self) -> bool {
        false
    }

    /// Puts things back, even after a half-finished `apply`.
    async fn undo(&self, cx: &Cx) -> Result<Undone>;
}

/// What a step would do to put itself back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoPlan {
    /// It changes nothing, so nothing is to be put back.
    Nothing,
    /// This is done.
    By(String),
    /// There is no way back from here on, and why.
    Never(String),
}

/// Whether writes stop or begin again with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freezes {
    /// Neither.
    Nothing,
    /// Writes stop here.
    Begin,
    /// Writes may begin again here.
    End,
}

/// What a step's own look found.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// There is something to do.
    Ready,
    /// It is already so.
    Done(String),
    /// It cannot be begun.
    Blocked(Vec<Check>),
}

/// How `apply` ended, when it did not fail.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Made. The value is handed to later steps.
    Done(Value),
    /// The operator has to do something first; the text says what.
    Waiting(String),
    /// It found, before it changed anything, that it must not be made.
    Blocked(Vec<Check>),
    /// Interrupted at a safe point because [`Cx::stop`] asked for it.
    Stopped,
}

/// Whether what was done still stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    Yes,
    /// It does not, and why.
    No(String),
    /// Nobody can tell, and why: it is made again, unless a later step forbids that.
    Unknown(String),
}

/// How `undo` ended, when it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The world is as before the step.
    Restored,
    /// It cannot be put back.
    Irreversible(String),
}

/// A typed name for what a step leaves behind.
pub struct Key<T> {
    step: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// The output of the step with this id.
    #[must_use]
    pub const fn new(step: &'static str) -> Self {
        Self {
            step,
            of: PhantomData,
        }
    }

    /// The step's id.
    #[must_use]
    pub const fn step(&self) -> &'static str {
        self.step
    }
}

/// The operator's wish to stop, as seen by a step.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// The wish, and the end that makes it by sending `true`.
    #[must_use]
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (wish, seen) = watch::channel(false);
        (wish, Self(seen))
    }

    /// Whether it was made.
    #[must_use]
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is made; never, when nobody can make it any more.
    pub async fn wait(&self) {
        let mut seen = self.0.clone();
        if seen.wait_for(|wish| *wish).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What a step is given.
#[derive(Clone, Debug)]
pub struct Cx {
    pub(super) outputs: BTreeMap<String, Value>,
    /// Whether the step was begun before, so that its change may be half made.
    pub again: bool,
    /// Fencing number of this runner.
    pub fence: u64,
    /// Fencing number of the runner that made the step; none where it is not made.
    pub made_under: Option<u64>,
    /// Where progress goes.
    pub sink: Sink,
    /// Asked at safe points.
    pub stop: Stop,
}

impl Cx {
    /// A context with no outputs: for looks before anything was begun.
    #[must_use]
    pub fn fresh(sink: Sink, stop: Stop) -> Self {
        Self {
            outputs: BTreeMap::new(),
            again: false,
            fence: 0,
            made_under: None,
            sink,
            stop,
        }
    }

    /// A context with what a journal's steps left.
    #[must_use]
    pub fn of(state: &super::State, sink: Sink, stop: Stop) -> Self {
        Self {
            outputs: state.outputs().clone(),
            ..Self::fresh(sink, stop)
        }
    }

    /// What an earlier step left, or an error that names the step.
    pub fn get<T: DeserializeOwned>(&self, key: &Key<T>) -> Result<T> {
        self.find(key)?
            .with_context(|| format!("step `{}` has left no output", key.step))
    }

    /// What an earlier step left, if it was done.
    pub fn find<T: DeserializeOwned>(&self, key: &Key<T>) -> Result<Option<T>> {
        let Some(value) = self.outputs.get(key.step) else {
            return Ok(None);
        };
        serde_json::from_value(value.clone())
            .map(Some)
            .with_context(|| {
                format!(
                    "failed to read what step `{}` left in the journal",
                    key.step
                )
            })
    }
}
