//! The parts of an object become a tar again: fetched and unpacked by several threads, each compared with its digest.
use super::Part;
use super::store::ObjectStore;
use super::tar::Tar;
use crate::transfer::cancel::Cancel;
use crate::transfer::entry::Digest;
use crate::transfer::fault::Fault;
use crate::transfer::listing::threads;
use std::io::Read as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// So many bytes of tar are under way at once, or one part.
const BYTES_AT_ONCE: u64 = 64 << 20;

/// A part, its number and where it begins; and who takes its tar.
type Job<'a> = (usize, u64, &'a Part, SyncSender<Vec<u8>>);

/// Reads an archive, in order, while the next parts are fetched.
pub(crate) fn unpack<T>(
    store: &dyn ObjectStore,
    key: &str,
    parts: &[Part],
    cancel: &Cancel,
    consume: impl FnOnce(&mut Tar<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let longest = parts.iter().map(|part| part.tar).max();
    let at_once = BYTES_AT_ONCE / longest.unwrap_or(1).max(1);
    let fetchers = usize::try_from(at_once)
        .unwrap_or(1)
        .clamp(1, threads().max(2));
    let (order, ordered) = sync_channel::<Receiver<Vec<u8>>>(1);
    let (job_sender, jobs) = sync_channel::<Job<'_>>(0);
    let jobs = Arc::new(Mutex::new(jobs));
    let consumed = std::thread::scope(|scope| {
        for _ in 0..fetchers {
            let jobs = jobs.clone();
            scope.spawn(move || cancel.guard(|| fetch(store, key, &jobs, cancel)));
        }
        // The threads alone have the other end: when those have failed, nobody waits for them.
        drop(jobs);
        scope.spawn(move || {
            let mut at = 0;
            for (number, part) in parts.iter().enumerate() {
                let (done, unpacked) = sync_channel(1);
                let taken = order.send(unpacked).is_ok();
                if !taken || job_sender.send((number, at, part, done)).is_err() {
                    return;
                }
                at += part.size;
            }
        });
        let consumed = cancel.guard(|| {
            let mut next = || -> Result<Option<Vec<u8>>, Fault> {
                cancel.check()?;
                match ordered.recv() {
                    Ok(part) => part.recv().map(Some).map_err(|_| cancel.reason()),
                    Err(_) => Ok(None),
                }
            };
            consume(&mut Tar::new(key, &mut next))
        });
        // Whoever fetches ahead has nobody to wait for.
        drop(ordered);
        consumed
    });
    cancel.check()?;
    consumed.ok_or_else(|| cancel.reason())
}

fn fetch(
    store: &dyn ObjectStore,
    key: &str,
    jobs: &Mutex<Receiver<Job<'_>>>,
    cancel: &Cancel,
) -> Result<(), Fault> {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        cancel.check()?;
        let Ok((number, at, part, done)) = job else {
            return Ok(());
        };
        // Why is said before whoever waits for it sees that it does not come.
        let fetched = cancel.guard(|| one(store, key, number, at, part));
        let Some(tar) = fetched else {
            return Ok(());
        };
        if done.send(tar).is_err() {
            return Ok(());
        }
    }
}

/// The tar of one part, which begins there.
fn one(
    store: &dyn ObjectStore,
    key: &str,
    number: usize,
    at: u64,
    part: &Part,
) -> Result<Vec<u8>, Fault> {
    let bytes = store.read(key, at..at + part.size)?;
    let found = Digest::from(blake3::hash(&bytes));
    let number = number + 1;
    if found != part.blake3 {
        let (size, wanted) = (part.size, part.blake3);
        return Err(damaged(
            key,
            format!(
                "the digest of its part {number} ({size} bytes from byte {at} on) is {found}, and should be {wanted}"
            ),
        ));
    }
    unpacked(&bytes, part.tar).map_err(|why| damaged(key, format!("its part {number} {why}")))
}

/// What is in a part: so many bytes, and no more.
fn unpacked(bytes: &[u8], length: u64) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot be unpacked: {error}");
    let decoder = zstd::Decoder::with_buffer(bytes).map_err(cannot)?;
    let mut tar = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    decoder
        .take(length + 1)
        .read_to_end(&mut tar)
        .map_err(cannot)?;
    if tar.len() as u64 == length {
        Ok(tar)
    } else {
        Err(format!("has not the {length} bytes that it should have"))
    }
}

fn damaged(key: &str, what: String) -> Fault {
    Fault::Damaged {
        object: key.to_owned(),
        what,
    }
}
