//! One control connection: requests of a client, progress, results.
use super::operation::Operation;
use super::state::State;
use super::{archive, device, peer, round, tidy, verify};
use crate::transfer::cancel::Cancel;
use crate::transfer::channel::{Channel, ChannelError};
use crate::transfer::counters::Counters;
use crate::transfer::fault::Fault;
use crate::transfer::protocol::{Command, Reply, Request};
use crate::transfer::report::Reach;
use crate::transfer::side::Side;
use crate::transfer::volume::Volume;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// How often progress is told, and with it that the mover lives.
const TELL: Duration = Duration::from_millis(250);
/// A client that takes nothing for so long is gone.
const DEAF: Duration = Duration::from_secs(30);

/// Serves a client until it leaves.
pub(crate) fn serve(state: &Arc<State>, mut channel: Channel) -> Result<(), ChannelError> {
    channel.set_timeouts(None, Some(DEAF))?;
    let connection = state.connected();
    let result = requests(state, connection, &mut channel);
    state.disconnected();
    channel.close();
    result
}

fn requests(
    state: &Arc<State>,
    connection: u64,
    channel: &mut Channel,
) -> Result<(), ChannelError> {
    loop {
        let Request { fence, command } = channel.receive()?;
        let admitted = match command {
            Command::Attach => state.take_over(connection, fence),
            _ => state.admit(connection, fence),
        };
        let reply = match admitted {
            Err(fault) => Reply::Refused(fault),
            Ok(()) => match command {
                Command::Attach => tidy::info(state).map_or_else(Reply::Refused, Reply::Attached),
                Command::Stop => {
                    channel.send_now(&Reply::Stopping)?;
                    state.stop();
                    return Ok(());
                }
                // Nothing that is under way has to end for it.
                Command::Limit { bytes_per_second } => {
                    state.limiter.set(bytes_per_second);
                    Reply::Limited
                }
                Command::Activity => Reply::Activity(state.board.activity()),
                // What wanted it has ended by itself, and nobody waits for it any more.
                Command::Access { access } => {
                    state.renewal.answer(access);
                    continue;
                }
                command => work(state, connection, channel, command)?,
            },
        };
        channel.send_now(&reply)?;
    }
}

/// Runs a command in a thread of its own, tells of its progress, and stops it when the client is lost.
fn work(
    state: &Arc<State>,
    connection: u64,
    channel: &mut Channel,
    command: Command,
) -> Result<Reply, ChannelError> {
    let cancel = match state.begin(connection) {
        Ok(cancel) => cancel,
        Err(fault) => return Ok(Reply::Refused(fault)),
    };
    let counters = Counters::on(&state.board);
    let result = std::thread::scope(|scope| {
        let (sender, done) = sync_channel(1);
        let (cancel, counters) = (&cancel, &counters);
        scope.spawn(move || {
            let result = run(state, command, counters, cancel);
            // The session waits for it in any case.
            let _ = sender.send(result);
        });
        loop {
            match done.recv_timeout(TELL) {
                Ok(reply) => return Ok(reply.unwrap_or_else(Reply::Refused)),
                Err(RecvTimeoutError::Disconnected) => return Ok(Reply::Refused(Fault::Stopped)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let told = channel
                .send_now(&Reply::Progress(counters.progress()))
                .and_then(|()| renew(state, connection, channel));
            if let Err(error) = told {
                cancel.stop(Fault::Stopped);
                state.renewal.answer(None);
                return Err(error);
            }
        }
    });
    state.end();
    result
}

/// Asks the client for other credentials, where they are wanted, and passes them on. He asks one thing at a time; what
/// comes else can only be his leaving.
fn renew(state: &State, connection: u64, channel: &mut Channel) -> Result<(), ChannelError> {
    if state.renewal.is_wanted() {
        channel.send_now(&Reply::AccessWanted)?;
    }
    match channel.receive_ready::<Request>()? {
        None => Ok(()),
        Some(Request {
            fence,
            command: Command::Access { access },
        }) if state.admit(connection, fence).is_ok() => {
            state.renewal.answer(access);
            Ok(())
        }
        Some(_) => Err(ChannelError::Closed),
    }
}

fn run(
    state: &Arc<State>,
    command: Command,
    counters: &Counters,
    cancel: &Cancel,
) -> Result<Reply, Fault> {
    let (volume, recollection) = (&state.volume, &state.recollection);
    let operation = Operation::new(volume, &state.run, counters, cancel, recollection);
    let reply = match command {
        Command::Reach {
            address,
            connections,
        } => {
            let reached: Reach = peer::reach(state, &address, connections);
            Reply::Reach(reached)
        }
        Command::Expect => {
            is_target(state)?;
            Reply::Expected {
                group: state.expect(),
            }
        }
        Command::Joined { group, connections } => {
            Reply::Reach(peer::joined(state, group, connections, cancel)?)
        }
        Command::Inspect { run } => {
            same_run(state, &run)?;
            Reply::Inspected(tidy::inspect(&operation)?)
        }
        Command::Round { run, kind, began } => {
            target_of(state, &run)?;
            Reply::Round(with_peers(state, cancel, |peers| match &state.volume {
                Volume::Directory(_) => round::round(&operation, kind, peers),
                Volume::Device(device) => device::round(&operation, device, kind, began, peers),
            })?)
        }
        Command::Verify {
            run,
            excused,
            reading,
        } => {
            target_of(state, &run)?;
            Reply::Verified(with_peers(state, cancel, |peers| {
                verify::verify(&operation, &excused, reading, peers)
            })?)
        }
        Command::Finish { run } => {
            target_of(state, &run)?;
            tidy::finish(&operation)?;
            Reply::Finished
        }
        Command::Wipe { run } => {
            target_of(state, &run)?;
            Reply::Wiped {
                deleted: tidy::wipe(&operation)?,
            }
        }
        command @ (Command::Archive { .. }
        | Command::ReadBack { .. }
        | Command::Extract { .. }
        | Command::Compare { .. }
        | Command::Index { .. }
        | Command::Probe { .. }) => with_archive(state, &operation, command)?,
        Command::Attach
        | Command::Stop
        | Command::Limit { .. }
        | Command::Activity
        | Command::Access { .. } => Reply::Alive,
    };
    Ok(reply)
}

/// What is done with an archive in a bucket.
fn with_archive(
    state: &State,
    operation: &Operation<'_>,
    command: Command,
) -> Result<Reply, Fault> {
    Ok(match command {
        Command::Archive {
            run,
            access,
            objects,
            mark,
            frozen,
        } => {
            same_run(state, &run)?;
            let store = (state.open_store)(&access, &state.renewal)?;
            let limiter = &state.limiter;
            let making = archive::Making {
                store: &*store,
                objects: &objects,
                mark: &mark,
                frozen,
                limiter,
            };
            Reply::Archived(archive::make(operation, &making)?)
        }
        Command::ReadBack {
            run,
            access,
            objects,
            archive,
        } => {
            same_run(state, &run)?;
            let store = (state.open_store)(&access, &state.renewal)?;
            archive::read_back(operation, &*store, &objects, &archive)?;
            Reply::ReadBack
        }
        Command::Extract {
            run,
            access,
            objects,
            archive,
        } => {
            target_of(state, &run)?;
            let store = (state.open_store)(&access, &state.renewal)?;
            archive::extract(operation, &*store, &objects, &archive)?;
            Reply::Extracted {
                findings: operation.findings.list(),
            }
        }
        Command::Compare {
            run,
            access,
            objects,
            archive,
            excused,
        } => {
            target_of(state, &run)?;
            let store = (state.open_store)(&access, &state.renewal)?;
            let compared = archive::compare(operation, &*store, &objects, &archive, &excused)?;
            Reply::Verified(compared)
        }
        Command::Index {
            run,
            access,
            objects,
            mark,
        } => {
            same_run(state, &run)?;
            let store = (state.open_store)(&access, &state.renewal)?;
            Reply::Archived(archive::index(operation, &*store, &objects, &mark)?)
        }
        Command::Probe {
            run,
            access,
            key,
            size,
        } => {
            same_run(state, &run)?;
            let read = (state.open_store)(&access, &state.renewal)
                .and_then(|store| store.read(&key, 0..size));
            Reply::Reach(match read {
                Ok(_) => Reach::Reached { connections: 0 },
                Err(error) => Reach::Declined { reason: error.why },
            })
        }
        _ => Reply::Alive,
    })
}

fn same_run(state: &State, run: &str) -> Result<(), Fault> {
    if run == state.run {
        Ok(())
    } else {
        Err(Fault::OtherRun {
            yours: run.to_owned(),
            theirs: state.run.clone(),
        })
    }
}

fn target_of(state: &State, run: &str) -> Result<(), Fault> {
    same_run(state, run)?;
    is_target(state)
}

fn is_target(state: &State) -> Result<(), Fault> {
    if state.side == Side::Target {
        Ok(())
    } else {
        Err(Fault::WrongSide { side: state.side })
    }
}

/// Lends the connections to the other mover to an operation; they are only of use again when it succeeded.
fn with_peers<T>(
    state: &State,
    cancel: &Cancel,
    operation: impl FnOnce(&mut [Channel]) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut peers = peer::take(state)?;
    for channel in &peers {
        cancel.watch(channel.socket().map_err(Fault::peer_lost)?)?;
    }
    // A stop closes the sockets; what the threads see then is not the reason.
    let result = operation(&mut peers).map_err(|fault| cancel.check().err().unwrap_or(fault));
    if result.is_ok() {
        state.keep_again(peers);
    }
    result
}
