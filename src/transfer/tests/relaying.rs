//! Movers that cannot reach each other meet through the client, and what happens on that way to the bytes is noticed.
use super::pair::{Client, Pair, RUN, round, verified};
use super::snapshot::assert_same;
use super::tree::hostile;
use crate::transfer::control::ControlError;
use crate::transfer::fault::Fault;
use crate::transfer::recollection::Reading;
use crate::transfer::relay::Relay;
use crate::transfer::report::{Reach, RoundKind};
use crate::transfer::side::Side;
use std::fs;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

/// One for the listing, two for contents.
const CONNECTIONS: usize = 3;

/// What is done to the byte at some offset.
#[derive(Clone, Copy, Debug)]
enum Spoil {
    Cut,
    Flip,
    Twice,
    Swap,
}

/// The source's end of a connection.
struct Spoilt {
    stream: TcpStream,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Whole,
    /// So many bytes come through, then this is done.
    Until(u64, Spoil),
    /// It ends with what is there: an end that waits for the rest of a record would do so for minutes.
    Ending,
}

impl AsyncRead for Spoilt {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (left, how) = match this.state {
            State::Whole => return Pin::new(&mut this.stream).poll_read(cx, buf),
            State::Ending => {
                return match Pin::new(&mut this.stream).poll_read(cx, buf) {
                    Poll::Pending => Poll::Ready(Ok(())),
                    read @ Poll::Ready(_) => read,
                };
            }
            State::Until(left, how) => (left, how),
        };
        if left > 0 {
            let most = usize::try_from(left).unwrap().min(buf.remaining());
            let mut bytes = vec![0; most];
            let mut part = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
            buf.put_slice(part.filled());
            let left = left - part.filled().len() as u64;
            this.state = State::Until(left, how);
            return Poll::Ready(Ok(()));
        }
        if matches!(how, Spoil::Cut) {
            return Poll::Ready(Ok(()));
        }
        let mut two = [0; 2];
        let mut part = ReadBuf::new(&mut two);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        this.state = State::Ending;
        let bytes = part.filled_mut();
        match how {
            Spoil::Swap => bytes.reverse(),
            Spoil::Flip => bytes.iter_mut().for_each(|byte| *byte ^= 1),
            Spoil::Cut | Spoil::Twice => {}
        }
        buf.put_slice(bytes);
        if matches!(how, Spoil::Twice) {
            buf.put_slice(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Spoilt {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Pair {
    async fn stream(&self, side: Side) -> TcpStream {
        TcpStream::connect(self.address(side)).await.unwrap()
    }

    /// Connects both through here; what comes from the source is spoilt on one connection.
    async fn relayed(
        &self,
        target: &mut Client,
        spoilt: Option<(usize, u64, Spoil)>,
    ) -> Result<(Relay, Reach), ControlError> {
        let mut streams = Vec::new();
        for number in 0..CONNECTIONS {
            let here = spoilt.filter(|(connection, ..)| *connection == number);
            let from = Spoilt {
                stream: self.stream(Side::Source).await,
                state: here.map_or(State::Whole, |(_, after, how)| State::Until(after, how)),
            };
            streams.push((from, self.stream(Side::Target).await));
        }
        Relay::between(target, streams).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_tree_arrives_whole_through_the_client() {
    let pair = Pair::new();
    hostile(&pair.source());
    let mut target = pair.control(Side::Target, 1).await.unwrap();
    let (relay, reach) = pair.relayed(&mut target, None).await.unwrap();
    let connections = CONNECTIONS;
    assert_eq!(reach, Reach::Reached { connections });
    let first = round(&mut target, RoundKind::Warm).await.unwrap();
    let last = round(&mut target, RoundKind::Final).await.unwrap();
    assert_eq!((last.files_moved, last.files_same), (0, first.files_moved));
    let verification = verified(&mut target, &[]).await;
    assert_eq!(verification.differences, []);
    target.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
    // Without the client there is no way any more.
    drop(relay);
    let lost = target
        .verify(RUN, &[], Reading::Afresh, &mut |_| {})
        .await
        .unwrap_err();
    let ControlError::Fault(Fault::PeerLost { .. } | Fault::NoPeer) = lost else {
        panic!("{lost:?}");
    };
}

/// Offsets that are near each other where messages are small, and far where contents are.
fn offsets(most: u64) -> impl Iterator<Item = u64> {
    let next = |at: &u64| Some(at + 1 + at / 3);
    std::iter::successors(Some(0), next).take_while(move |at| *at < most)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spoilt_on_the_way_is_noticed_and_gone_on_from() {
    let pair = Pair::new();
    for number in 0..20_u8 {
        let content = vec![number; usize::from(number) * 3_000];
        fs::write(pair.source().join(format!("file-{number}")), content).unwrap();
    }
    let mut noticed = 0;
    let most = 200_000;
    let ways = [Spoil::Cut, Spoil::Flip, Spoil::Twice, Spoil::Swap];
    for (number, after) in offsets(most).enumerate() {
        let (connection, how) = (number % CONNECTIONS, ways[number % ways.len()]);
        let seen = format!("{how:?} of byte {after} of connection {connection}");
        let mut target = pair.control(Side::Target, 1).await.unwrap();
        target.wipe(RUN, &mut |_| {}).await.unwrap();
        let spoilt = Some((connection, after, how));
        let (relay, reach) = pair.relayed(&mut target, spoilt).await.unwrap();
        let whole = match reach {
            Reach::Declined { .. } => false,
            Reach::Reached { .. } => match round(&mut target, RoundKind::Final).await {
                Ok(_) => true,
                Err(ControlError::Fault(Fault::PeerLost { .. })) => false,
                Err(other) => panic!("{seen}: {other:?}"),
            },
        };
        noticed += usize::from(!whole);
        drop(relay);
        // As after any loss: another control connection, other connections, and what is there is kept.
        let mut target = pair.control(Side::Target, 1).await.unwrap();
        let (_relay, reach) = pair.relayed(&mut target, None).await.unwrap();
        assert!(matches!(reach, Reach::Reached { .. }), "{seen}: {reach:?}");
        round(&mut target, RoundKind::Final).await.unwrap();
        let verification = verified(&mut target, &[]).await;
        assert_eq!(verification.differences, [], "{seen}");
        assert_eq!(verification.source.entries, 21, "{seen}");
    }
    // A connection that carried less than the offset was whole.
    assert!(noticed >= 20, "only {noticed} were noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_stream_is_turned_away() {
    let pair = Pair::new();
    fs::write(pair.source().join("file"), b"content").unwrap();
    for begins in [
        &b"KMRELAY1\x01\0\0\0\0\0\0\0"[..],
        b"KMRELAY2\x01\0\0\0\0\0\0\0",
        b"KKKK",
    ] {
        let mut stream = pair.stream(Side::Target).await;
        stream.write_all(begins).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        // It is closed, or reset.
        let _ = stream.read_to_end(&mut heard).await;
        assert_eq!(heard, b"", "{begins:?}");
    }
    assert_eq!(pair.round(RoundKind::Final).await.files_moved, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_lead_elsewhere_are_declined_with_the_reason() {
    let pair = Pair::new();
    let mut target = pair.control(Side::Target, 1).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let both = (
            pair.stream(Side::Target).await,
            pair.stream(Side::Target).await,
        );
        streams.push(both);
    }
    let (_, reach) = Relay::between(&mut target, streams).await.unwrap();
    let Reach::Declined { reason } = reach else {
        panic!("{reach:?}");
    };
    assert!(
        reason.starts_with("the target mover got no connection through the client: TLS"),
        "{reason}"
    );
    // The other side has no commands for it.
    let mut source = pair.control(Side::Source, 1).await.unwrap();
    let refused = source.expect().await.unwrap_err();
    let ControlError::Fault(Fault::WrongSide { .. }) = refused else {
        panic!("{refused:?}");
    };
}
