//! Stands between two movers, to each as the other: it sees their messages in the clear, and spoils them.
use super::pair::Pair;
use crate::transfer::blocks::Answer;
use crate::transfer::channel::{Channel, ChannelError};
use crate::transfer::keys::MoverKeys;
use crate::transfer::protocol::{PeerHello, PeerReply, PeerRequest};
use crate::transfer::side::Side;
use crate::transfer::tls;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is done to one message of the source.
#[derive(Clone, Copy, Debug)]
pub enum Spoil {
    /// The connection ends before it,
    Cut,
    /// or in the middle of it.
    CutContent,
    Drop,
    Twice,
    /// It comes after the one that follows.
    Swap,
    /// It is of another block.
    Number,
    Digest,
    Content,
    /// It is shorter than it should be.
    Short,
}

pub const SPOILS: [Spoil; 9] = [
    Spoil::Cut,
    Spoil::CutContent,
    Spoil::Drop,
    Spoil::Twice,
    Spoil::Swap,
    Spoil::Number,
    Spoil::Digest,
    Spoil::Content,
    Spoil::Short,
];

/// Hears of each message that answers a request for blocks, by its number, before it is passed on.
type Hook = dyn Fn(usize) -> Option<Spoil> + Send + Sync;

/// Where the target's mover finds what it takes for the source's.
pub fn between(
    pair: &Pair,
    hook: impl Fn(usize) -> Option<Spoil> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let keys = |side| MoverKeys::from_files(&pair.keys.mover_files(side)).unwrap();
    let listening = tls::mover_listening(&keys(Side::Source)).unwrap();
    let dialing = tls::mover_to_peer(&keys(Side::Target)).unwrap();
    let source = pair.address(Side::Source);
    let (hook, seen): (Arc<Hook>, _) = (Arc::new(hook), Arc::new(AtomicUsize::new(0)));
    std::thread::spawn(move || {
        while let Ok((near, _)) = listener.accept() {
            let (listening, dialing) = (listening.clone(), dialing.clone());
            let (hook, seen) = (hook.clone(), seen.clone());
            std::thread::spawn(move || {
                let far = TcpStream::connect(source).unwrap();
                let near = Channel::answer(near, listening)?;
                let far = Channel::dial(far, dialing)?;
                pass(near, far, &*hook, &seen)
            });
        }
    });
    address
}

struct Frame {
    reply: PeerReply,
    content: Option<Vec<u8>>,
}

impl Frame {
    fn receive(far: &mut Channel) -> Result<Self, ChannelError> {
        let reply = far.receive()?;
        let mut content = None;
        if let PeerReply::Content { .. }
        | PeerReply::Block {
            answer: Answer::Data { .. },
            ..
        } = reply
        {
            let mut bytes = Vec::new();
            far.receive_content(&mut bytes)?;
            content = Some(bytes);
        }
        Ok(Self { reply, content })
    }

    fn send(&self, near: &mut Channel) -> Result<(), ChannelError> {
        near.send(&self.reply)?;
        if let Some(content) = &self.content {
            near.send_content(content)?;
        }
        near.flush()
    }

    /// Whether it is the last one that answers a request, or a file of one.
    fn is_end(&self) -> bool {
        matches!(
            self.reply,
            PeerReply::Listed { .. }
                | PeerReply::End { .. }
                | PeerReply::StretchEnd { .. }
                | PeerReply::Changed
                | PeerReply::Gone
        )
    }

    /// Lies about what it is.
    fn forge(&mut self, how: Spoil) {
        let answer = match &mut self.reply {
            PeerReply::Block { number, answer } => {
                if matches!(how, Spoil::Number) || self.content.is_none() {
                    *number += 1;
                    return;
                }
                answer
            }
            PeerReply::StretchEnd { stamp } | PeerReply::Stretch { stamp, .. } => {
                stamp.inode += 1;
                return;
            }
            _ => return,
        };
        let content = self.content.as_mut().unwrap();
        match (how, answer) {
            (Spoil::Digest, Answer::Data { digest, .. }) => digest.0[31] ^= 1,
            (Spoil::Short, _) => drop(content.pop()),
            _ => content[0] ^= 1,
        }
    }
}

fn pass(
    mut near: Channel,
    mut far: Channel,
    hook: &Hook,
    seen: &AtomicUsize,
) -> Result<(), ChannelError> {
    near.set_timeouts(None, None)?;
    far.set_timeouts(None, None)?;
    far.send_now(&near.receive::<PeerHello>()?)?;
    near.send_now(&far.receive::<PeerHello>()?)?;
    loop {
        let request: PeerRequest = near.receive()?;
        far.send_now(&request)?;
        let (mut files, mut sums) = match &request {
            PeerRequest::Fetch { paths } => (paths.len(), 0),
            PeerRequest::Blocks { count, .. } => (1, usize::try_from(*count).unwrap()),
            _ => (1, 0),
        };
        while sums > 0 {
            let PeerRequest::Sums(some) = near.receive()? else {
                panic!("sums were announced");
            };
            sums -= some.len();
            far.send_now(&PeerRequest::Sums(some))?;
        }
        let mut later: Option<Frame> = None;
        while files > 0 {
            let mut frame = Frame::receive(&mut far)?;
            files -= usize::from(frame.is_end());
            let spoil = match request {
                PeerRequest::Blocks { .. } => hook(seen.fetch_add(1, Ordering::Relaxed)),
                _ => None,
            };
            match spoil {
                Some(Spoil::Cut) => return Ok(()),
                Some(Spoil::CutContent) => {
                    // The content is announced, and does not come.
                    near.send_now(&frame.reply)?;
                    return Ok(());
                }
                Some(Spoil::Drop) if frame.is_end() => return Ok(()),
                Some(Spoil::Drop) => continue,
                Some(Spoil::Swap) if !frame.is_end() => {
                    later = Some(frame);
                    continue;
                }
                Some(Spoil::Twice) => frame.send(&mut near)?,
                Some(how) => frame.forge(how),
                None => {}
            }
            frame.send(&mut near)?;
            if let Some(frame) = later.take() {
                frame.send(&mut near)?;
            }
        }
    }
}
