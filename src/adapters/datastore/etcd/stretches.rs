//! Both stores' keys, side by side, in order, a few pages ahead of who uses them.
use std::mem;

use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
};

use super::{
    entry::{Entry, after},
    store::{Page, ReadFault, Store},
    walk::{Range, Seen, Walk},
};

/// Pages that wait between two of the three who work at once: one reads the source, one the target, one uses both.
const AHEAD: usize = 1;
/// The target may have some keys more than the source.
const SPARE: usize = 64;

/// All keys of both stores in one range.
pub(super) struct Stretch {
    pub source: Vec<Entry>,
    pub target: Vec<Entry>,
}

/// What one of the readers ended with.
pub(super) type Read<T> = Result<T, Stopped>;

/// Which store could not be read on, and why.
#[derive(Debug)]
pub(super) enum Stopped {
    Source(ReadFault),
    Target(ReadFault),
}

/// The schema in both stores. Its readers end with it.
pub(super) struct Stretches {
    ready: Receiver<Read<Stretch>>,
    _readers: JoinSet<()>,
}

/// A store and the revision to read it at; 0 is its present.
#[derive(Clone)]
pub(super) struct At {
    pub store: Store,
    pub revision: i64,
}

/// Some of the source's keys.
pub(super) struct Part {
    range: Range,
    pub entries: Vec<Entry>,
}

impl Stretches {
    /// Begins to read.
    pub(super) fn read(source: At, target: At, schema: Range) -> Self {
        let mut readers = JoinSet::new();
        let (pages, read) = channel(AHEAD);
        let (stretches, ready) = channel(AHEAD);
        readers.spawn(read_source(source, schema, pages));
        readers.spawn(read_target(target, read, stretches));
        Self {
            ready,
            _readers: readers,
        }
    }

    /// The next stretch; none at the end.
    pub(super) async fn next(&mut self) -> Option<Read<Stretch>> {
        self.ready.recv().await
    }
}

/// Reads the source, page by page.
pub(super) async fn read_source(source: At, schema: Range, pages: Sender<Read<Part>>) {
    let mut walk = Walk::through(schema);
    while let Some((range, limit)) = walk.next() {
        let read = source
            .store
            .page(&range, source.revision, limit, false)
            .await;
        let passed = match read {
            Err(fault) => Err(Stopped::Source(fault)),
            Ok(Page { entries, more }) => {
                let last = entries.last().filter(|_| more);
                let cut = last.map(|last| (&*entries[entries.len() * 3 / 4].key, &*last.key));
                let seen = Seen {
                    keys: entries.len(),
                    bytes: entries.iter().map(Entry::bytes).sum(),
                    cut,
                };
                walk.passed(&range, &seen);
                let to = last.map_or(range.to, |last| after(&last.key));
                let from = range.from;
                Ok(Part {
                    range: Range { from, to },
                    entries,
                })
            }
        };
        let failed = passed.is_err();
        // Nobody waits for it any more.
        if pages.send(passed).await.is_err() || failed {
            return;
        }
    }
}

async fn read_target(
    target: At,
    mut pages: Receiver<Read<Part>>,
    stretches: Sender<Read<Stretch>>,
) {
    while let Some(page) = pages.recv().await {
        let Part { mut range, entries } = match page {
            Ok(page) => page,
            Err(stopped) => {
                stretches.send(Err(stopped)).await.ok();
                return;
            }
        };
        let limit = entries.len() + SPARE;
        let mut source = entries;
        loop {
            let read = target
                .store
                .page(&range, target.revision, limit, false)
                .await;
            let found = match read {
                Ok(found) => found,
                Err(fault) => {
                    stretches.send(Err(Stopped::Target(fault))).await.ok();
                    return;
                }
            };
            // Where the target has much that the source has not, it is read in parts.
            let cut = found.entries.last().filter(|_| found.more);
            let rest = cut.map(|last| {
                let until = source.partition_point(|entry| entry.key <= last.key);
                (after(&last.key), source.split_off(until))
            });
            let stretch = Stretch {
                source: mem::take(&mut source),
                target: found.entries,
            };
            if stretches.send(Ok(stretch)).await.is_err() {
                return;
            }
            let Some((from, entries)) = rest else { break };
            range.from = from;
            source = entries;
        }
    }
}
