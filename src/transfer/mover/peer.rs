//! Connections to the other mover: dialled by either side, used by the target, answered by the source.
use super::source;
use super::state::State;
use crate::transfer::cancel::Cancel;
use crate::transfer::channel::{Channel, ChannelError};
use crate::transfer::fault::Fault;
use crate::transfer::protocol::PeerHello;
use crate::transfer::report::Reach;
use crate::transfer::side::Side;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one attempt to connect may take: a packet that a policy drops is never answered.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the target waits for the source's next bytes. Digests say every second that they go on; a disk that gives
/// nothing for so long is as good as gone.
const SILENCE: Duration = Duration::from_mins(2);
/// How long all connections through a client may take to come.
const JOINING: Duration = Duration::from_secs(20);
/// How often it is looked whether the client is still there meanwhile.
const LOOK: Duration = Duration::from_millis(100);
/// More connections than this are of no use to anybody.
const MOST: usize = 16;

/// Dials the other mover. Not reaching it is no error: the other direction may work.
pub(crate) fn reach(state: &Arc<State>, address: &str, connections: usize) -> Reach {
    // One carries the listing, and at least one contents.
    let connections = connections.clamp(1, MOST) + 1;
    let group = state.next_group();
    for number in 0..connections {
        if let Err(reason) = dial(state, address, group) {
            state.leave_group(group);
            let reason = format!(
                "the {} mover cannot reach {address} (connection {}): {reason}",
                state.side,
                number + 1
            );
            return Reach::Declined { reason };
        }
    }
    Reach::Reached { connections }
}

fn dial(state: &Arc<State>, address: &str, group: u64) -> Result<(), String> {
    let addresses = address
        .to_socket_addrs()
        .map_err(|error| error.to_string())?;
    let mut last = "the name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(tcp) => return introduce(state, tcp, group),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// Both movers tell each other who they are; whoever dialled begins.
fn introduce(state: &Arc<State>, tcp: TcpStream, group: u64) -> Result<(), String> {
    let mut channel =
        Channel::dial(tcp, state.dialing.clone()).map_err(|error| error.to_string())?;
    let hello = PeerHello {
        run: state.run.clone(),
        side: state.side,
        group,
    };
    let exchange = channel
        .send_now(&hello)
        .and_then(|()| channel.receive::<PeerHello>());
    let theirs = exchange.map_err(|error| error.to_string())?;
    check(state, &theirs)?;
    join(state, channel, group).map_err(|error| error.to_string())
}

/// Dials over a connection that the client has made to both movers.
pub(crate) fn dial_over(state: &Arc<State>, tcp: TcpStream, group: u64) {
    // Of an older client, or of a stranger.
    if !state.is_expected(group) {
        tracing::warn!("a connection of a group that nobody asked for was turned away");
        return;
    }
    if let Err(reason) = introduce(state, tcp, group) {
        state.not_joined(group, reason);
    }
}

/// Waits until so many connections of a group are ready. That they are not is no error.
pub(crate) fn joined(
    state: &State,
    group: u64,
    connections: usize,
    cancel: &Cancel,
) -> Result<Reach, Fault> {
    let begun = Instant::now();
    loop {
        cancel.check()?;
        match state.has_joined(group, connections, LOOK) {
            Ok(ready) if ready == connections => return Ok(Reach::Reached { connections }),
            Ok(_) if begun.elapsed() < JOINING => {}
            other => {
                state.leave_group(group);
                let why = other.map_or_else(
                    |reason| reason,
                    |ready| {
                        format!(
                            "{ready} of {connections} connections came within {} s",
                            JOINING.as_secs()
                        )
                    },
                );
                let reason = format!(
                    "the {} mover got no connection through the client: {why}",
                    state.side
                );
                return Ok(Reach::Declined { reason });
            }
        }
    }
}

fn check(state: &State, hello: &PeerHello) -> Result<(), String> {
    if hello.run != state.run {
        return Err(format!(
            "it belongs to run `{}`, this mover to `{}`",
            hello.run, state.run
        ));
    }
    if hello.side != state.side.other() {
        return Err(format!("it is a mover of the {} as well", hello.side));
    }
    Ok(())
}

/// Answers the other mover's dialling.
pub(crate) fn answer(state: &Arc<State>, mut channel: Channel) -> Result<(), ChannelError> {
    let hello: PeerHello = channel.receive()?;
    let ours = PeerHello {
        run: state.run.clone(),
        side: state.side,
        group: hello.group,
    };
    channel.send_now(&ours)?;
    match check(state, &hello) {
        Ok(()) => join(state, channel, hello.group),
        // The other end finds the same and tells its client.
        Err(_) => Ok(()),
    }
}

/// The source answers on the connection from now on; the target keeps it for its operations.
fn join(state: &Arc<State>, mut channel: Channel, group: u64) -> Result<(), ChannelError> {
    channel.sit(state.board.station());
    match state.side {
        Side::Target => {
            channel.set_timeouts(Some(SILENCE), Some(SILENCE))?;
            state.keep(group, channel);
        }
        Side::Source => {
            // It waits for as long as the target has nothing to ask; TCP itself notices a dead node.
            channel.set_timeouts(None, None)?;
            let socket = channel.socket().map_err(ChannelError::Socket)?;
            let state = state.clone();
            let number = state.serve_peer(group, socket);
            std::thread::spawn(move || {
                // However it ends, the target is the one that reports it.
                let _ = source::answer(&state, &mut channel);
                channel.close();
                state.served_peer(number);
            });
        }
    }
    Ok(())
}

/// The connections that the target has; none is an error.
pub(crate) fn take(state: &State) -> Result<Vec<Channel>, Fault> {
    let taken = state.take_peers();
    if taken.is_empty() {
        Err(Fault::NoPeer)
    } else {
        Ok(taken)
    }
}
