//! Verification: both sides read everything back, and the two listings are merged.
use super::operation::Operation;
use super::stream::Stream;
use crate::transfer::activity::{Doing, Station};
use crate::transfer::channel::Channel;
use crate::transfer::compare::Merged;
use crate::transfer::counters::add;
use crate::transfer::entry::{Entry, Kind};
use crate::transfer::fault::Fault;
use crate::transfer::listing::{Digests, Listing, Next, Options};
use crate::transfer::path::TreePath;
use crate::transfer::recollection::Reading;
use crate::transfer::report::{Excuse, Phase, Recalled, Verification};
use crate::transfer::volume::Volume;
use crate::transfer::work;
use std::cmp::Ordering;
use std::time::{Duration, Instant};

/// How often a listing that is waited for looks whether it was stopped.
const LOOK: Duration = Duration::from_millis(200);

/// Compares everything with everything.
pub(crate) fn verify(
    operation: &Operation<'_>,
    excused: &[Excuse],
    reading: Reading,
    peers: &mut [Channel],
) -> Result<Verification, Fault> {
    let channel = peers.first_mut().ok_or(Fault::NoPeer)?;
    let station = channel.station().clone();
    let _at = station.at(Doing::Computing);
    let mut source = Stream::begin(channel, Digests::All, reading)?;
    let (first, front) = match operation.volume {
        Volume::Directory(_) => (None, None),
        // Only its source tells how much of it is to be compared.
        Volume::Device(device) => {
            let first = source.next()?;
            let size = first.as_ref().and_then(|entry| match entry.kind {
                Kind::File { size, .. } => Some(size),
                _ => None,
            });
            (first, size.map(|size| Volume::Device(device.front(size))))
        }
    };
    let volume = front.as_ref().unwrap_or(operation.volume);
    let mut first = first;
    let mut compared = against(
        operation,
        volume,
        excused,
        reading,
        &station,
        || match first.take() {
            Some(first) => Ok(Some(first)),
            None => source.next(),
        },
    )?;
    compared.source_recalled = source.recalled;
    Ok(compared)
}

/// Compares everything that a volume holds with what it should hold, in canonical order; the worker is seen at its
/// station.
pub(crate) fn against(
    operation: &Operation<'_>,
    volume: &Volume,
    excused: &[Excuse],
    reading: Reading,
    station: &Station,
    mut source: impl FnMut() -> Result<Option<Entry>, Fault>,
) -> Result<Verification, Fault> {
    let begun = Instant::now();
    operation.counters.set_phase(Phase::Verifying);
    if let Volume::Directory(root) = volume {
        // What is not on the disk yet cannot be read back from it.
        station
            .during(Doing::Writing, || rustix::fs::syncfs(root.fd()))
            .map_err(|errno| root.fault(&TreePath::root(), "syncfs", errno))?;
    }
    let options = Options {
        passed_over: work::name(operation.run),
        digests: Digests::All,
        from_disk: true,
        without_sockets: false,
        memory: Some(operation.recollection),
        reading,
    };
    let mut merged = Merged::new(&operation.findings, excused);
    std::thread::scope(|scope| -> Result<(), Fault> {
        let mut target = Local {
            listing: Listing::begin(scope, volume, options, operation.counters),
            batch: Vec::new().into_iter(),
            operation,
            station,
        };
        let mut one = source()?;
        let mut other = target.next()?;
        loop {
            operation.cancel.check()?;
            let order = match (&one, &other) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => one.path.cmp(&other.path),
            };
            merged.take(
                one.as_ref().filter(|_| order != Ordering::Greater),
                other.as_ref().filter(|_| order != Ordering::Less),
            );
            if order != Ordering::Greater {
                add(&operation.counters.entries, 1);
                one = source()?;
            }
            if order != Ordering::Less {
                other = target.next()?;
            }
        }
        Ok(())
    })?;
    let (source, target, (difference_count, differences)) = merged.finish();
    Ok(Verification {
        source,
        target,
        source_recalled: Recalled::default(),
        target_recalled: operation.counters.recalled(operation.recollection),
        difference_count,
        differences,
        findings: operation.findings.list(),
        milliseconds: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Our own listing, entry by entry.
struct Local<'a> {
    listing: Listing,
    batch: std::vec::IntoIter<Entry>,
    operation: &'a Operation<'a>,
    station: &'a Station,
}

impl Local<'_> {
    fn next(&mut self) -> Result<Option<Entry>, Fault> {
        loop {
            if let Some(entry) = self.batch.next() {
                return Ok(Some(entry));
            }
            let listing = &mut self.listing;
            match self.station.during(Doing::Idle, || listing.next(LOOK))? {
                Next::Batch(batch) => self.batch = batch.into_iter(),
                Next::Waiting => self.operation.cancel.check()?,
                Next::End => return Ok(None),
            }
        }
    }
}
