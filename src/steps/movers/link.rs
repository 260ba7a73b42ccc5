use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use tokio::sync::oneshot;

use super::{
    Limit, Meter, Movers, Through, Way,
    ensure::Running,
    keys::Keys,
    objects::PORT,
    retry::Loss,
    watch::{follow, verdict},
};
use crate::{
    adapters::kube::{KubeError, PortStream, open_port},
    engine::{Failure, Kind, Limited},
    plan::MoverWay,
    transfer::{
        Activity, Control, ControlError, DEFAULT_CONNECTIONS, Excuse, Finding, Inspection,
        Progress, Reach, Reading, Relay, RoundKind, RoundSummary, Side, Verification,
        archive::{Access, Archive, Lender, Objects},
    },
};

/// How often the movers are brought together through the client before that is no way,
const RELAYS: u32 = 3;
/// so long after the last time.
const RELAY_PAUSE: Duration = Duration::from_secs(1);

/// Both movers of a volume, connected to us and to each other.
pub(super) struct Linked {
    /// Which volume.
    pub(super) index: usize,
    pub(super) source: Control<PortStream>,
    pub(super) target: Connected,
    /// Where the two cannot reach each other; cut when the pair is dropped.
    relay: Option<Relay>,
    /// Where bytes go through a bucket.
    pub(super) through: Option<Through>,
    /// The source's claim.
    pub(super) claim: String,
    pub(super) limit: Limit,
    /// How many volumes the migration has.
    pub(super) volumes: usize,
    pub(super) images: [String; 2],
}

/// A round, and how it was limited.
#[derive(Clone, Debug)]
pub struct Rounded {
    /// What it did.
    pub summary: RoundSummary,
    /// The least that this volume was limited to meanwhile, in bytes a second; none where it never was.
    pub least: Option<u64>,
    /// What it waited for most; none where it was too short to tell.
    pub limited: Option<Limited>,
    /// Whether it moved everything, and so will the next.
    pub whole: bool,
}

/// A comparison, and what it was made with.
#[derive(Clone, Debug)]
pub struct Compared {
    /// What it found.
    pub verification: Verification,
    /// What it waited for most; none where it was too short to tell.
    pub limited: Option<Limited>,
    /// The images of the source's and the target's mover, by digest; empty where a node does not tell.
    pub images: [String; 2],
}

/// Where a volume's archive is, and how it is got at.
#[derive(Clone, Debug)]
pub struct InBucket {
    /// The bucket.
    pub access: Access,
    /// What lets the mover go on when that has run out.
    pub lender: Lender,
    /// The objects in it.
    pub objects: Objects,
}

/// One mover, connected to us.
pub(super) struct Connected {
    /// Which volume.
    pub(super) index: usize,
    pub(super) run: String,
    pub(super) expected: u64,
    pub(super) meter: Meter,
    pub(super) control: Control<PortStream>,
}

impl Movers {
    /// Connects to both movers of a volume and lets them connect to each other.
    pub(super) async fn link(
        &self,
        [source, target]: &[Running; 2],
        keys: &Keys,
        fence: u64,
        meter: &Meter,
        expected: u64,
    ) -> Result<Linked, Loss> {
        let (from, to) = tokio::join!(
            self.control(source, keys, fence),
            self.connect(target, keys, fence, meter, expected)
        );
        let mut pair = Linked {
            index: source.mover.index,
            source: from?,
            target: to?,
            relay: None,
            through: None,
            claim: self.volumes[source.mover.index].source.clone(),
            limit: self.limit.clone(),
            volumes: self.volumes.len(),
            images: [source, target].map(|running| running.image.clone()),
        };
        // What is known need not be found out again while writes are stopped: a packet that a policy drops is waited
        // for.
        let known = self.ways.of(pair.index);
        let (first, mut declined) = match known.clone() {
            Some(Way::Client { because }) => (MoverWay::Client, because),
            Some(Way::Bucket { because }) => (MoverWay::Bucket, because),
            Some(Way::Direct | Way::Exec) | None => (MoverWay::Direct, Vec::new()),
        };
        for way in [MoverWay::Direct, MoverWay::Client, MoverWay::Bucket] {
            if way < first {
                continue;
            }
            if !self.allowed.contains(&way) {
                if way != MoverWay::Bucket {
                    declined.push(format!("`{way}` is not among spec.mover.ways"));
                }
                continue;
            }
            let refused = match way {
                MoverWay::Direct => pair.dial(&[source, target]).await?,
                MoverWay::Client => refused(self.relay(&mut pair, [source, target]).await?),
                // Whether the bucket answers now the work itself will tell, and is done again if it does not.
                MoverWay::Bucket if matches!(known, Some(Way::Bucket { .. })) => {
                    pair.through.clone_from(&self.through);
                    Vec::new()
                }
                MoverWay::Bucket => refused(self.by_bucket(&mut pair).await?),
                // It is the way of those that have no movers to be linked.
                MoverWay::Exec => continue,
            };
            if refused.is_empty() {
                if known.is_none() || way != first {
                    let tried = self.allowed.contains(&MoverWay::Direct);
                    tell(meter, &pair.claim, way, tried, &declined);
                }
                self.ways.set(pair.index, found(way, declined));
                return Ok(pair);
            }
            declined.extend(refused);
        }
        Err(Loss::Never(self.apart(&pair.claim, declined).into()))
    }

    /// The failure that it is when there is no way.
    fn apart(&self, claim: &str, declined: Vec<String>) -> Failure {
        let why = if self.allowed == [MoverWay::Bucket] {
            format!(
                "the bytes of claim {claim} cannot go through the bucket, and by no other way they may (spec.mover.ways); mend what is told, then give the command again"
            )
        } else {
            let tried = self.allowed.iter().map(|way| match way {
                MoverWay::Direct => "by themselves",
                MoverWay::Client => "through this client",
                MoverWay::Bucket => "through the bucket",
                MoverWay::Exec => "by exec",
            });
            let or = match &self.through {
                Some(_) => "",
                None => ", or name a bucket that both reach (spec.mover.bucket)",
            };
            format!(
                "the movers of claim {claim} cannot reach each other, neither {}; allow connections between pods of {} and {} on port {PORT}{or}",
                tried.collect::<Vec<_>>().join(" nor "),
                self.source,
                self.target
            )
        };
        Failure::new(Kind::Blocked, why).with_evidence(declined)
    }

    /// Connects both through this client. A port-forward that is cut meanwhile says nothing of the way: it is tried again.
    async fn relay(&self, pair: &mut Linked, both: [&Running; 2]) -> Result<Reach, Loss> {
        for _ in 1..RELAYS {
            if let reached @ Reach::Reached { .. } = self.relay_once(pair, both).await? {
                return Ok(reached);
            }
            tokio::time::sleep(RELAY_PAUSE).await;
        }
        self.relay_once(pair, both).await
    }

    /// A port-forward to each for every connection.
    async fn relay_once(&self, pair: &mut Linked, both: [&Running; 2]) -> Result<Reach, Loss> {
        // One carries the listing.
        let streams = (0..=DEFAULT_CONNECTIONS)
            .map(|_| async { tokio::try_join!(self.open(both[0]), self.open(both[1])) });
        let streams = try_join_all(streams).await?;
        let (relay, reach) = Relay::between(&mut pair.target.control, streams).await?;
        if matches!(reach, Reach::Reached { .. }) {
            pair.relay = Some(relay);
        }
        Ok(reach)
    }

    async fn open(&self, running: &Running) -> Result<PortStream, KubeError> {
        let place = self.place(running.mover.side);
        open_port(&place.cluster, &place.namespace, &running.pod, PORT).await
    }

    /// Connects to one mover of a volume.
    pub(super) async fn connect(
        &self,
        target: &Running,
        keys: &Keys,
        fence: u64,
        meter: &Meter,
        expected: u64,
    ) -> Result<Connected, Loss> {
        let index = target.mover.index;
        Ok(Connected {
            index,
            run: self.run_of(index),
            expected,
            meter: meter.clone(),
            control: self.control(target, keys, fence).await?,
        })
    }

    async fn control(
        &self,
        running: &Running,
        keys: &Keys,
        fence: u64,
    ) -> Result<Control<PortStream>, Loss> {
        let side = running.mover.side;
        let stream = self.open(running).await?;
        Ok(Control::connect(stream, &keys.client, side, fence).await?)
    }
}

impl Linked {
    /// Lets each dial the other; why none of them got through, and nothing when one did.
    async fn dial(&mut self, [source, target]: &[&Running; 2]) -> Result<Vec<String>, Loss> {
        let mut declined = Vec::new();
        for (dialler, other) in [(Side::Target, source), (Side::Source, target)] {
            let address = socket_address(&other.address);
            let control = match dialler {
                Side::Source => &mut self.source,
                Side::Target => &mut self.target.control,
            };
            match control.reach(&address, DEFAULT_CONNECTIONS).await? {
                Reach::Reached { .. } => return Ok(Vec::new()),
                Reach::Declined { reason } => declined.push(reason),
            }
        }
        Ok(declined)
    }

    /// What a side's volume holds.
    pub(super) async fn inspect(&mut self, side: Side) -> Result<Inspection, ControlError> {
        match side {
            Side::Source => self.source.inspect(&self.target.run).await,
            Side::Target => self.target.inspect().await,
        }
    }

    /// Copies what differs.
    pub(super) async fn round(
        &mut self,
        kind: RoundKind,
        began: bool,
    ) -> Result<Rounded, ControlError> {
        if let Some(through) = self.through.clone() {
            return self.round_through(&through, kind).await;
        }
        let mut share = self.limit.join();
        // Also where there is none: the mover may still have one from an earlier run.
        self.source.limit(share.now()).await?;
        let (mut tell, seen) = (self.target.tell(), self.target.tell_source());
        let mut target = Activity::default();
        let mut hear = |progress: Progress| {
            target = progress.activity;
            tell(progress);
        };
        let Connected { run, control, .. } = &mut self.target;
        let (end, ended) = oneshot::channel::<()>();
        let rounding = async {
            let summary = control.round(run, kind, began, &mut hear).await;
            drop(end);
            summary
        };
        // Its end is waited for, so that no answer is left over for whoever asks the source next.
        let following = follow(&mut self.source, Some(&mut share), ended, seen);
        let (summary, source) = tokio::try_join!(rounding, following)?;
        Ok(Rounded {
            summary,
            least: share.least(),
            limited: verdict(source, target),
            whole: false,
        })
    }

    /// Reads both sides back and compares them.
    pub(super) async fn verify(
        &mut self,
        excused: &[Excuse],
        reading: Reading,
    ) -> Result<Compared, ControlError> {
        // There both sides are read as a whole each time, one after the other.
        if let Some(through) = self.through.clone() {
            return self.verify_through(&through, excused).await;
        }
        let (mut tell, seen) = (self.target.tell(), self.target.tell_source());
        let mut target = Activity::default();
        let mut hear = |progress: Progress| {
            target = progress.activity;
            tell(progress);
        };
        let Connected { run, control, .. } = &mut self.target;
        let (end, ended) = oneshot::channel::<()>();
        let verifying = async {
            let verification = control.verify(run, excused, reading, &mut hear).await;
            drop(end);
            verification
        };
        let following = follow(&mut self.source, None, ended, seen);
        let (verification, source) = tokio::try_join!(verifying, following)?;
        Ok(Compared {
            verification,
            limited: verdict(source, target),
            images: self.images.clone(),
        })
    }
}

impl Connected {
    /// What the target's volume holds.
    pub(super) async fn inspect(&mut self) -> Result<Inspection, ControlError> {
        self.control.inspect(&self.run).await
    }

    /// Deletes what this run wrote to the target.
    pub(super) async fn wipe(&mut self) -> Result<u64, ControlError> {
        let mut tell = self.tell();
        self.control.wipe(&self.run, &mut tell).await
    }

    /// Sends the volume to a bucket. It may read no more bytes a second than these.
    pub(super) async fn archive(
        &mut self,
        place: &InBucket,
        frozen: bool,
        limit: Option<u64>,
    ) -> Result<Archive, ControlError> {
        let (access, objects) = self.take(place);
        self.control.limit(limit).await?;
        let mut tell = self.tell();
        let Self { run, control, .. } = self;
        control
            .archive(run, access, objects, run, frozen, &mut tell)
            .await
    }

    /// Reads an archive out of the bucket, and compares it with what was made.
    pub(super) async fn read_back(
        &mut self,
        place: &InBucket,
        archive: &Archive,
    ) -> Result<(), ControlError> {
        let (access, objects) = self.take(place);
        let mut tell = self.tell();
        let Self { run, control, .. } = self;
        control
            .read_back(run, access, objects, archive, &mut tell)
            .await
    }

    /// Fills the volume from an archive; what it cannot keep.
    pub(super) async fn extract(
        &mut self,
        place: &InBucket,
        archive: &Archive,
    ) -> Result<Vec<Finding>, ControlError> {
        let (access, objects) = self.take(place);
        let mut tell = self.tell();
        let Self { run, control, .. } = self;
        control
            .extract(run, access, objects, archive, &mut tell)
            .await
    }

    /// Compares the volume with an archive's index, but for what it could not keep.
    pub(super) async fn compare(
        &mut self,
        place: &InBucket,
        archive: &Archive,
        excused: &[Excuse],
    ) -> Result<Verification, ControlError> {
        let (access, objects) = self.take(place);
        let mut tell = self.tell();
        let Self { run, control, .. } = self;
        control
            .compare(run, access, objects, archive, excused, &mut tell)
            .await
    }

    /// Where its work is; while it does that, it may ask for other credentials.
    fn take<'place>(&mut self, place: &'place InBucket) -> (&'place Access, &'place Objects) {
        self.control.lend(place.lender.clone());
        (&place.access, &place.objects)
    }

    /// Takes the last traces of this run off the volume. No round can follow.
    pub(super) async fn finish(&mut self) -> Result<(), ControlError> {
        self.control.finish(&self.run).await
    }

    /// Takes in what the source's workers are at.
    fn tell_source(&self) -> impl Fn(Activity) + Send + use<> {
        let (index, meter) = (self.index, self.meter.clone());
        move |activity| meter.works(index, Side::Source, activity)
    }

    fn tell(&self) -> impl FnMut(Progress) + Send + use<> {
        let (index, meter, expected) = (self.index, self.meter.clone(), self.expected);
        move |progress| meter.moved(index, &progress, expected)
    }
}

/// Why it was declined; nothing where it was not.
fn refused(reach: Reach) -> Vec<String> {
    match reach {
        Reach::Reached { .. } => Vec::new(),
        Reach::Declined { reason } => vec![reason],
    }
}

/// A way that was found, and why by none before it.
fn found(way: MoverWay, because: Vec<String>) -> Way {
    match way {
        MoverWay::Direct => Way::Direct,
        MoverWay::Client => Way::Client { because },
        MoverWay::Bucket => Way::Bucket { because },
        MoverWay::Exec => Way::Exec,
    }
}

/// Says that bytes do not go straight, which was tried or not.
fn tell(meter: &Meter, claim: &str, way: MoverWay, tried: bool, declined: &[String]) {
    let through = match way {
        MoverWay::Direct | MoverWay::Exec => return,
        MoverWay::Client => "this client",
        MoverWay::Bucket => "the bucket",
    };
    let why = if tried {
        "its movers cannot reach each other, so its bytes"
    } else {
        "its bytes"
    };
    meter.sink().notice(format!(
        "claim {claim}: {why} go through {through}: {}",
        declined.join("; ")
    ));
}

/// An address with the movers' port; IPv6 in brackets.
fn socket_address(address: &str) -> String {
    match address.parse::<std::net::IpAddr>() {
        Ok(address) => std::net::SocketAddr::new(address, PORT).to_string(),
        Err(_) => format!("{address}:{PORT}"),
    }
}
