//! What a copy or a comparison waits for most, from what the workers of both movers were at.
use super::activity::{Doing, Load};
use std::fmt;

/// What can limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The limit that was set.
    Limit,
    /// Writing to the target's volume, and reading what is there.
    TargetDisk,
    /// Reading the source's volume.
    SourceDisk,
    /// The way between the two.
    Network,
    /// Digesting and encrypting, on either side.
    Cpu,
}

/// What limits most, and in how much of the time that workers had.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bottleneck {
    /// What.
    pub cause: Cause,
    /// From 0 to 1.
    pub share: f64,
}

/// With fewer workers than this at work on the average there is nothing to be told.
const ASLEEP: f64 = 0.05;

/// The verdict of some time; none when nothing went on.
///
/// What a side waits for is never its own doing: a source that cannot send waits for the network or for the target's
/// disk, and a target that gets nothing for the network or for the source's disk. So only work counts for the disks and
/// the processor, and for the network only that both sides wait for each other at once.
#[must_use]
pub fn bottleneck(source: &Load, target: &Load) -> Option<Bottleneck> {
    let at_source = |doing| source.of(doing);
    let at_target = |doing| target.of(doing);
    let works = |load: &Load| -> f64 {
        [
            Doing::Reading,
            Doing::Computing,
            Doing::Limited,
            Doing::Sending,
            Doing::Writing,
        ]
        .into_iter()
        .map(|doing| load.of(doing))
        .sum()
    };
    // A source that waits for a request does nothing; a target that waits for what it asked for is in the midst of it.
    let whole = works(source).max(works(target) + at_target(Doing::Receiving));
    if whole < ASLEEP {
        return None;
    }
    // Connections that the target has no use for wait at both ends.
    let unasked = (at_source(Doing::Receiving) - at_target(Doing::Idle)).max(0.0);
    let network = (at_source(Doing::Sending) + unasked).min(at_target(Doing::Receiving));
    let found = [
        (Cause::Limit, at_source(Doing::Limited)),
        (
            Cause::TargetDisk,
            at_target(Doing::Writing) + at_target(Doing::Reading),
        ),
        (Cause::SourceDisk, at_source(Doing::Reading)),
        (Cause::Network, network),
        (
            Cause::Cpu,
            at_source(Doing::Computing).max(at_target(Doing::Computing)),
        ),
    ];
    let mut most = found[0];
    for other in found {
        if other.1 > most.1 {
            most = other;
        }
    }
    let (cause, workers) = most;
    (workers > 0.0).then(|| Bottleneck {
        cause,
        share: (workers / whole).min(1.0),
    })
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Limit => "limit",
            Self::TargetDisk => "target disk",
            Self::SourceDisk => "source disk",
            Self::Network => "network",
            Self::Cpu => "CPU",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::activity::{Board, Station};
    use super::*;
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    /// How long each stage of a pipeline takes for a piece.
    #[derive(Clone, Copy)]
    struct Slow {
        reading: u64,
        computing: u64,
        limited: u64,
        wire: u64,
        writing: u64,
    }

    const FAST: Slow = Slow {
        reading: 1,
        computing: 1,
        limited: 0,
        wire: 1,
        writing: 1,
    };
    const SLOW: u64 = 12;
    const PIECES: usize = 24;

    fn takes(station: &Station, doing: Doing, milliseconds: u64) {
        station.during(doing, || {
            std::thread::sleep(Duration::from_millis(milliseconds));
        });
    }

    /// Runs pieces from a source over a wire to a target, a thread each, and gives the verdict of looks meanwhile.
    fn verdict(slow: Slow) -> Bottleneck {
        let (source, target) = (Board::default(), Board::default());
        let (from, to) = (source.station(), target.station());
        let (onto_wire, wire) = sync_channel::<()>(0);
        let (off_wire, arrived) = sync_channel::<()>(0);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..PIECES {
                    takes(&from, Doing::Reading, slow.reading);
                    takes(&from, Doing::Computing, slow.computing);
                    takes(&from, Doing::Limited, slow.limited);
                    from.during(Doing::Sending, || onto_wire.send(()))
                        .expect("a wire");
                }
            });
            scope.spawn(move || {
                for () in wire {
                    std::thread::sleep(Duration::from_millis(slow.wire));
                    off_wire.send(()).expect("a target");
                }
            });
            let worker = scope.spawn(move || {
                while to.during(Doing::Receiving, || arrived.recv()).is_ok() {
                    takes(&to, Doing::Writing, slow.writing);
                }
            });
            while !worker.is_finished() {
                source.look();
                target.look();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let (source, target) = (source.activity().load(), target.activity().load());
        bottleneck(&source, &target).expect("something went on")
    }

    #[test]
    fn the_slow_part_of_a_pipeline_is_named() {
        let one = |change: fn(&mut Slow)| {
            let mut slow = FAST;
            change(&mut slow);
            slow
        };
        for (slow, cause) in [
            (one(|slow| slow.reading = SLOW), Cause::SourceDisk),
            (one(|slow| slow.computing = SLOW), Cause::Cpu),
            (one(|slow| slow.limited = SLOW), Cause::Limit),
            (one(|slow| slow.wire = SLOW), Cause::Network),
            (one(|slow| slow.writing = SLOW), Cause::TargetDisk),
        ] {
            let found = verdict(slow);
            assert_eq!(found.cause, cause, "{found:?}");
            assert!(found.share > 0.5 && found.share <= 1.0, "{found:?}");
        }
    }

    fn load(workers: &[(Doing, f64)]) -> Load {
        let add = |load: Load, (doing, workers): &(Doing, f64)| load.with(*doing, *workers);
        workers.iter().fold(Load::default(), add)
    }

    #[test]
    fn connections_that_nobody_uses_say_nothing() {
        // One file on one of four connections.
        let source = load(&[
            (Doing::Reading, 0.8),
            (Doing::Sending, 0.2),
            (Doing::Receiving, 3.0),
        ]);
        let target = load(&[
            (Doing::Idle, 3.0),
            (Doing::Receiving, 0.9),
            (Doing::Writing, 0.1),
        ]);
        let found = bottleneck(&source, &target).expect("a verdict");
        assert_eq!(found.cause, Cause::SourceDisk);
        assert!((found.share - 0.8).abs() < 1e-9, "{found:?}");
        assert_eq!(
            bottleneck(
                &load(&[(Doing::Receiving, 5.0)]),
                &load(&[(Doing::Idle, 5.0)])
            ),
            None
        );
    }

    #[test]
    fn a_request_that_is_long_on_its_way_is_the_networks_doing() {
        let source = load(&[(Doing::Receiving, 3.9), (Doing::Reading, 0.1)]);
        let target = load(&[(Doing::Receiving, 3.9), (Doing::Writing, 0.1)]);
        let found = bottleneck(&source, &target).expect("a verdict");
        assert_eq!(found.cause, Cause::Network);
    }

    #[test]
    fn a_target_that_does_not_ask_because_it_writes_is_its_disks_doing() {
        let source = load(&[(Doing::Receiving, 3.9), (Doing::Reading, 0.1)]);
        let target = load(&[(Doing::Writing, 3.8), (Doing::Receiving, 0.2)]);
        let found = bottleneck(&source, &target).expect("a verdict");
        assert_eq!(found.cause, Cause::TargetDisk);
        assert!((found.share - 0.95).abs() < 1e-9, "{found:?}");
    }
}
