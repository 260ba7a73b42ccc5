//! A way between two movers that cannot reach each other: through the client.
//!
//! The client has a stream to each mover, a port-forward as a rule, and copies bytes from one to the other. Movers
//! listen, so each would wait for the other to begin: the stream to the target's mover starts with [`ask`], upon which
//! that mover dials over it as if it had connected by itself. What passes is the two movers' own TLS, with the keys of
//! the run at both ends; a stream that was cut, or that says something else, is a connection that was lost.
use super::control::{Control, ControlError};
use super::report::Reach;
use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, copy_buf, split};
use tokio::task::JoinSet;

/// Begins a stream that is to be dialled over. TLS begins with the type of its first record, 22.
const MAGIC: [u8; 8] = *b"KMRELAY1";
/// The magic and the group, little-endian.
const LENGTH: usize = MAGIC.len() + 8;
/// So much is read before it is written: a port-forward sends each piece as a message of its own.
const PIECE: usize = 256 << 10;

/// Connections between two movers through this client. Dropping it cuts them.
#[derive(Debug, Default)]
pub struct Relay(JoinSet<()>);

impl Relay {
    /// Connects two movers over streams to the source's and to the target's, one pair for each connection: the first
    /// carries the listing, so there are at least two. `target` is the target's mover's control connection.
    ///
    /// # Errors
    ///
    /// As any command to the target's mover. That the two do not get through to each other is none.
    pub async fn between<C, S, T>(
        target: &mut Control<C>,
        streams: Vec<(S, T)>,
    ) -> Result<(Self, Reach), ControlError>
    where
        C: AsyncRead + AsyncWrite + Unpin + Send,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (group, connections) = (target.expect().await?, streams.len());
        let mut relay = Self::default();
        for (from, to) in streams {
            // An end that is cut off is told by the movers, who lose the connection.
            relay
                .0
                .spawn(async move { drop(pass(from, to, group).await) });
        }
        let reach = target.joined(group, connections).await?;
        Ok((relay, reach))
    }
}

/// Copies both ways until one of them ends.
async fn pass<S, T>(source: S, mut target: T, group: u64) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
    T: AsyncRead + AsyncWrite + Unpin,
{
    target.write_all(&ask(group)).await?;
    target.flush().await?;
    let (from_source, mut to_source) = split(source);
    let (from_target, mut to_target) = split(target);
    let (mut from_source, mut from_target) = (
        BufReader::with_capacity(PIECE, from_source),
        BufReader::with_capacity(PIECE, from_target),
    );
    tokio::select! {
        sent = copy_buf(&mut from_source, &mut to_target) => sent?,
        asked = copy_buf(&mut from_target, &mut to_source) => asked?,
    };
    Ok(())
}

/// What makes the target's mover dial over a stream, as a connection of this group.
fn ask(group: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
    bytes[MAGIC.len()..].copy_from_slice(&group.to_le_bytes());
    bytes
}

/// The group that a new connection is to be dialled over for; none where the other end dials. Waits for the first
/// bytes, so long at most.
///
/// # Errors
///
/// The connection broke, or begins in neither way.
pub(crate) fn asked(mut tcp: &TcpStream, within: Duration) -> io::Result<Option<u64>> {
    tcp.set_read_timeout(Some(within))?;
    let mut bytes = [0; LENGTH];
    let ready = tcp.peek(&mut bytes[..1])?;
    if ready == 0 || bytes[0] != MAGIC[0] {
        return Ok(None);
    }
    tcp.read_exact(&mut bytes)?;
    let (magic, group) = bytes.split_at(MAGIC.len());
    match group.try_into() {
        Ok(group) if magic == MAGIC => Ok(Some(u64::from_le_bytes(group))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
