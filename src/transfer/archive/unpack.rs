//! The parts of an object become a tar again: fetched and unpacked by several threads, each compared with its digest.
//! What is unpacked goes on frame by frame: of a part of 128 MiB no more is held than itself and a few frames.
use super::store::ObjectStore;
use super::tar::Tar;
use super::{FRAME, Part};
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

/// The number of the part that has this byte of the tar, and at which byte that begins.
pub(super) fn begin_of(parts: &[Part], at: u64) -> (usize, u64) {
    let mut begin = 0;
    for (number, part) in parts.iter().enumerate() {
        if at < begin + part.tar {
            return (number, begin);
        }
        begin += part.tar;
    }
    (parts.len(), begin)
}

/// Reads an archive, from this byte of its tar on, in order, while the next parts are fetched.
pub(crate) fn unpack<T>(
    store: &dyn ObjectStore,
    key: &str,
    parts: &[Part],
    from: u64,
    cancel: &Cancel,
    consume: impl FnOnce(&mut Tar<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let longest = parts.iter().map(|part| part.tar).max();
    let at_once = BYTES_AT_ONCE / longest.unwrap_or(1).max(1);
    let fetchers = usize::try_from(at_once)
        .unwrap_or(1)
        .clamp(1, threads().max(2));
    let (first, begin) = begin_of(parts, from);
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
                if number < first {
                    at += part.size;
                    continue;
                }
                let (done, unpacked) = sync_channel(1);
                let taken = order.send(unpacked).is_ok();
                if !taken || job_sender.send((number, at, part, done)).is_err() {
                    return;
                }
                at += part.size;
            }
        });
        let consumed = cancel.guard(|| {
            let mut current: Option<Receiver<Vec<u8>>> = None;
            let mut before = from - begin;
            let mut next = || -> Result<Option<Vec<u8>>, Fault> {
                loop {
                    cancel.check()?;
                    if let Some(mut piece) = current.as_ref().and_then(|part| part.recv().ok()) {
                        let passed = before.min(piece.len() as u64);
                        before -= passed;
                        piece.drain(..usize::try_from(passed).unwrap_or(piece.len()));
                        if piece.is_empty() {
                            continue;
                        }
                        return Ok(Some(piece));
                    }
                    // The part is over. One that is over too early has said why before.
                    cancel.check()?;
                    match ordered.recv() {
                        Ok(part) => current = Some(part),
                        Err(_) => return Ok(None),
                    }
                }
            };
            consume(&mut Tar::from(key, from, &mut next))
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
        let give = |piece: Vec<u8>| done.send(piece).is_ok();
        if cancel.guard(|| one(store, key, number, at, part, give)) != Some(true) {
            return Ok(());
        }
    }
}

/// The tar of one part, which begins there, is given away; false if nobody takes it any more.
fn one(
    store: &dyn ObjectStore,
    key: &str,
    number: usize,
    at: u64,
    part: &Part,
    give: impl FnMut(Vec<u8>) -> bool,
) -> Result<bool, Fault> {
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
    unpack_part(&bytes, part.tar, give)
        .map_err(|why| damaged(key, format!("its part {number} {why}")))
}

/// What is in a part: so many bytes, and no more.
fn unpack_part(
    bytes: &[u8],
    length: u64,
    mut give: impl FnMut(Vec<u8>) -> bool,
) -> Result<bool, String> {
    let cannot = |error: std::io::Error| format!("cannot be unpacked: {error}");
    let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(cannot)?;
    let mut left = length;
    loop {
        // One byte more shows whether there is more.
        let most = (left + 1).min(FRAME as u64);
        let mut piece = Vec::with_capacity(usize::try_from(most).unwrap_or(FRAME));
        let read = (&mut decoder).take(most).read_to_end(&mut piece);
        let read = read.map_err(cannot)? as u64;
        if read > left || (read < most && read < left) {
            return Err(format!("has not the {length} bytes that it should have"));
        }
        left -= read;
        if read > 0 && !give(piece) {
            return Ok(false);
        }
        if read < most {
            return Ok(true);
        }
    }
}

fn damaged(key: &str, what: String) -> Fault {
    Fault::Damaged {
        object: key.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_comes_in_pieces_and_is_as_long_as_it_should_be() {
        let tar: Vec<u8> = (0..2 * FRAME + 5)
            .map(|at| u8::try_from(at % 251).unwrap_or_default())
            .collect();
        let frames = tar.chunks(FRAME).map(|frame| zstd::encode_all(frame, 1));
        let part: Vec<u8> = frames.flat_map(|frame| frame.expect("packed")).collect();
        let length = tar.len() as u64;
        let (mut sizes, mut all) = (Vec::new(), Vec::new());
        let given = unpack_part(&part, length, |piece| {
            sizes.push(piece.len());
            all.extend(piece);
            true
        });
        assert_eq!(given, Ok(true));
        assert!(all == tar && sizes == [FRAME, FRAME, 5], "{sizes:?}");
        for wrong in [0, 1, FRAME as u64, length - 1, length + 1, 3 * length] {
            let given = unpack_part(&part, wrong, |_| true);
            assert!(given.is_err(), "{wrong}");
        }
        assert_eq!(unpack_part(&part, length, |_| false), Ok(false));
    }
}
