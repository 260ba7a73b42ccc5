//! An index without an archive: what a volume holds, for whoever compares another one with it.
use super::make::IndexUpload;
use super::store::ObjectStore;
use super::{Archive, Objects};
use crate::transfer::cancel::Cancel;
use crate::transfer::counters::{Counters, add};
use crate::transfer::fault::Fault;
use crate::transfer::listing::{Digests, Listing, Next, Options};
use crate::transfer::summing::Summing;
use crate::transfer::volume::Volume;
use std::time::Duration;

/// How often a listing that is waited for looks whether it was stopped.
const LOOK: Duration = Duration::from_millis(200);

/// What is listed, and where to.
pub(crate) struct Listed<'a> {
    pub(crate) volume: &'a Volume,
    pub(crate) cancel: &'a Cancel,
    pub(crate) counters: &'a Counters,
    pub(crate) store: &'a dyn ObjectStore,
    /// Only the index is made.
    pub(crate) objects: &'a Objects,
    pub(crate) mark: &'a str,
}

/// Reads everything from the disk, by the same listing as a verification between two movers, and puts what it is into
/// the store.
pub(crate) fn list(listed: &Listed<'_>) -> Result<Archive, Fault> {
    let upload = listed.store.begin(&listed.objects.index, listed.mark)?;
    let mut index = IndexUpload::new(&*upload)?;
    let mut summing = Summing::new();
    let options = Options {
        passed_over: Vec::new(),
        digests: Digests::All,
        from_disk: true,
        without_sockets: true,
        ..Options::default()
    };
    let sockets = std::thread::scope(|scope| {
        let mut listing = Listing::begin(scope, listed.volume, options, listed.counters);
        loop {
            listed.cancel.check()?;
            match listing.next(LOOK)? {
                Next::Waiting => {}
                Next::End => return Ok::<_, Fault>(listing.sockets().count),
                Next::Batch(entries) => {
                    for entry in entries {
                        add(&listed.counters.entries, 1);
                        summing.add(&entry);
                        index.add(entry)?;
                    }
                }
            }
        }
    })?;
    let sent = index.finish(&[])?;
    listed.cancel.check()?;
    upload.finish(&sent.sums)?;
    Ok(Archive {
        size: 0,
        parts: 0,
        etag: String::new(),
        index_size: sent.size,
        index_digest: sent.hasher.finalize().into(),
        tree: summing.finish(),
        changed: 0,
        changed_examples: Vec::new(),
        sockets,
    })
}
