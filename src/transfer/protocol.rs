//! The messages: between client and mover, and between the two movers.
use super::activity::Activity;
use super::archive::{Access, Archive, Objects};
use super::blocks::{Answer, Stamp, Sum};
use super::entry::{Digest, Entry, Metadata};
use super::fault::Fault;
use super::listing::Digests;
use super::path::TreePath;
use super::recollection::Reading;
use super::report::{
    Excuse, Finding, Inspection, MoverInfo, Progress, Reach, Recalled, RoundKind, RoundSummary,
    Verification,
};
use super::side::Side;
use serde::{Deserialize, Serialize};

/// From a client to a mover. The fencing number is that of the client's Lease.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Request {
    pub(crate) fence: u64,
    pub(crate) command: Command,
}

/// What a client may ask for, one at a time.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) enum Command {
    /// The first one: takes over from any connection before.
    Attach,
    Reach {
        address: String,
        connections: usize,
    },
    /// Takes connections that the client makes to both movers from now on.
    Expect,
    /// Waits for so many of them.
    Joined {
        group: u64,
        connections: usize,
    },
    Inspect {
        run: String,
    },
    Round {
        run: String,
        kind: RoundKind,
        began: bool,
    },
    Verify {
        run: String,
        excused: Vec<Excuse>,
        reading: Reading,
    },
    Finish {
        run: String,
    },
    Wipe {
        run: String,
    },
    Stop,
    /// Sends no more bytes of contents a second from now on, also for what is under way; none lifts it.
    Limit {
        bytes_per_second: Option<u64>,
    },
    /// Makes an archive of the volume, in a bucket.
    Archive {
        run: String,
        access: Access,
        objects: Objects,
        mark: String,
        frozen: bool,
    },
    /// Reads an archive out of the bucket, and compares it with its index and with this.
    ReadBack {
        run: String,
        access: Access,
        objects: Objects,
        archive: Archive,
    },
    /// Fills the volume from an archive.
    Extract {
        run: String,
        access: Access,
        objects: Objects,
        archive: Archive,
    },
    /// Reads the volume back, and compares it with an archive's index.
    Compare {
        run: String,
        access: Access,
        objects: Objects,
        archive: Archive,
        excused: Vec<Excuse>,
    },
    /// Tells what the workers have been at since the mover began, also while something is under way.
    Activity,
    /// Reads so many bytes of an object, to see whether the bucket can be reached from here.
    Probe {
        run: String,
        access: Access,
        key: String,
        size: u64,
    },
    /// Reads everything, and puts what it is into a bucket: an index without an archive.
    Index {
        run: String,
        access: Access,
        objects: Objects,
        mark: String,
    },
    /// What the client has for the bucket now; the answer to [`Reply::AccessWanted`], and the only one that is given while
    /// something is under way.
    Access {
        access: Option<Access>,
    },
}

/// From a mover to its client: any number of `Progress`, `Alive` and `AccessWanted`, then one of the others.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) enum Reply {
    Alive,
    Progress(Progress),
    Attached(MoverInfo),
    Reach(Reach),
    Expected {
        group: u64,
    },
    Inspected(Inspection),
    Round(RoundSummary),
    Verified(Verification),
    Finished,
    Wiped {
        deleted: u64,
    },
    Stopping,
    Refused(Fault),
    Limited,
    Archived(Archive),
    ReadBack,
    Extracted {
        findings: Vec<Finding>,
    },
    Activity(Activity),
    /// The bucket no longer takes the credentials: have there become others?
    AccessWanted,
}

/// The first message on a connection between movers, in both directions.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct PeerHello {
    pub(crate) run: String,
    pub(crate) side: Side,
    /// Connections made by the same `reach`; a newer group takes the place of an older one.
    pub(crate) group: u64,
}

/// From the target's mover to the source's.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) enum PeerRequest {
    /// Everything that is there, in canonical order.
    List { digests: Digests, reading: Reading },
    /// The contents of these files, in this order.
    Fetch { paths: Vec<TreePath> },
    /// So many blocks, from the first on, of a file that is taken to be of this size. What the target has of them
    /// follows.
    Blocks {
        path: TreePath,
        size: u64,
        first: u64,
        count: u64,
    },
    /// What the target has of the next blocks.
    Sums(Vec<Sum>),
}

/// From the source's mover to the target's.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) enum PeerReply {
    /// Still reading; sent once a second.
    Alive,
    /// The next entries.
    Entries(Vec<Entry>),
    /// There are no more; so many sockets were left out.
    Listed {
        sockets: Vec<TreePath>,
        socket_count: u64,
        recalled: Recalled,
    },
    /// The next file begins: what it is at this moment.
    File { metadata: Metadata, size: u64 },
    /// A frame of content follows, which belongs here.
    Content { offset: u64 },
    /// The file ends, and did not change while it was read.
    End { length: u64, digest: Digest },
    /// It changed while it was read.
    Changed,
    /// The blocks that were asked for begin: what their file is at this moment.
    Stretch { metadata: Metadata, stamp: Stamp },
    /// The next block.
    Block { number: u64, answer: Answer },
    /// These were all of them; their file is so now.
    StretchEnd { stamp: Stamp },
    /// It is not there any more, or is no file any more.
    Gone,
    /// No more of this request.
    Refused(Fault),
}
