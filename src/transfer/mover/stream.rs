//! The source's listing as it arrives on the target, entry by entry.
use super::fetch::next;
use crate::transfer::channel::Channel;
use crate::transfer::entry::Entry;
use crate::transfer::fault::Fault;
use crate::transfer::listing::{Digests, Sockets};
use crate::transfer::protocol::{PeerReply, PeerRequest};
use crate::transfer::recollection::Reading;
use crate::transfer::report::Recalled;

/// A listing that comes over a connection.
pub(crate) struct Stream<'a> {
    channel: &'a mut Channel,
    batch: std::vec::IntoIter<Entry>,
    ended: bool,
    /// Sockets that the source left out; known at the end.
    pub(crate) sockets: Sockets,
    /// What the source did not read again; known at the end.
    pub(crate) recalled: Recalled,
}

impl<'a> Stream<'a> {
    /// Asks for the listing.
    pub(crate) fn begin(
        channel: &'a mut Channel,
        digests: Digests,
        reading: Reading,
    ) -> Result<Self, Fault> {
        channel
            .send_now(&PeerRequest::List { digests, reading })
            .map_err(super::fetch::lost)?;
        Ok(Self {
            channel,
            batch: Vec::new().into_iter(),
            ended: false,
            sockets: Sockets::default(),
            recalled: Recalled::default(),
        })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Fault> {
        loop {
            if let Some(entry) = self.batch.next() {
                return Ok(Some(entry));
            }
            if self.ended {
                return Ok(None);
            }
            match next(self.channel)? {
                PeerReply::Entries(entries) => self.batch = entries.into_iter(),
                PeerReply::Listed {
                    sockets,
                    socket_count,
                    recalled,
                } => {
                    self.ended = true;
                    self.recalled = recalled;
                    self.sockets = Sockets {
                        count: socket_count,
                        examples: sockets,
                    };
                }
                other => return Err(Fault::protocol(format!("a listing, not {other:?}"))),
            }
        }
    }
}
