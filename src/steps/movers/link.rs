use anyhow::Result;

use super::{Meter, Movers, ensure::Running, keys::Keys, objects::PORT, retry::Loss};
use crate::{
    adapters::kube::{PortStream, open_port},
    engine::{Failure, Kind},
    transfer::{
        Control, ControlError, DEFAULT_CONNECTIONS, Inspection, Reach, RoundKind, RoundSummary,
        Side, Verification, What,
    },
};

/// Both movers of a volume, connected to us and to each other.
pub struct Pair {
    /// Which volume.
    pub index: usize,
    source: Control<PortStream>,
    target: Lone,
}

/// The target's mover alone, for work that needs no source.
pub struct Lone {
    index: usize,
    run: String,
    expected: u64,
    meter: Meter,
    control: Control<PortStream>,
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
    ) -> Result<Pair, Loss> {
        let (from, to) = tokio::join!(
            self.control(source, keys, fence),
            self.connect(target, keys, fence, meter, expected)
        );
        let mut pair = Pair {
            index: source.mover.index,
            source: from?,
            target: to?,
        };
        let mut declined = Vec::new();
        for (dialler, other) in [(Side::Target, source), (Side::Source, target)] {
            let address = socket_address(&other.address);
            let control = match dialler {
                Side::Source => &mut pair.source,
                Side::Target => &mut pair.target.control,
            };
            match control.reach(&address, DEFAULT_CONNECTIONS).await? {
                Reach::Reached { .. } => return Ok(pair),
                Reach::Declined { reason } => {
                    declined.push(format!("the {dialler}'s mover dialled {address}: {reason}"));
                }
            }
        }
        let why = format!(
            "the movers of claim {} cannot reach each other, in neither direction; allow connections between pods of {} and {} on port {PORT}",
            self.volumes[pair.index].source, self.source, self.target
        );
        Err(Loss::Never(
            Failure::new(Kind::Blocked, why)
                .with_evidence(declined)
                .into(),
        ))
    }

    /// Connects to the target's mover of a volume.
    pub(super) async fn connect(
        &self,
        target: &Running,
        keys: &Keys,
        fence: u64,
        meter: &Meter,
        expected: u64,
    ) -> Result<Lone, Loss> {
        let index = target.mover.index;
        Ok(Lone {
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
        let place = self.place(side);
        let stream = open_port(&place.cluster, &place.namespace, &running.pod, PORT).await?;
        Ok(Control::connect(stream, &keys.client, side, fence).await?)
    }
}

impl Pair {
    /// What a side's volume holds.
    pub async fn inspect(&mut self, side: Side) -> Result<Inspection, ControlError> {
        match side {
            Side::Source => self.source.inspect(&self.target.run).await,
            Side::Target => self.target.inspect().await,
        }
    }

    /// Copies what differs.
    pub async fn round(
        &mut self,
        kind: RoundKind,
        began: bool,
    ) -> Result<RoundSummary, ControlError> {
        let mut tell = self.target.tell();
        let Lone { run, control, .. } = &mut self.target;
        control.round(run, kind, began, &mut tell).await
    }

    /// Reads both sides back and compares them.
    pub async fn verify(&mut self, excused: &[What]) -> Result<Verification, ControlError> {
        let mut tell = self.target.tell();
        let Lone { run, control, .. } = &mut self.target;
        control.verify(run, excused, &mut tell).await
    }

    /// Takes the last traces of copying off the target. No round can follow.
    pub async fn finish(&mut self) -> Result<(), ControlError> {
        self.target.control.finish(&self.target.run).await
    }
}

impl Lone {
    /// What the target's volume holds.
    pub async fn inspect(&mut self) -> Result<Inspection, ControlError> {
        self.control.inspect(&self.run).await
    }

    /// Deletes what this run wrote to the target.
    pub async fn wipe(&mut self) -> Result<u64, ControlError> {
        let mut tell = self.tell();
        self.control.wipe(&self.run, &mut tell).await
    }

    fn tell(&self) -> impl FnMut(crate::transfer::Progress) + Send + use<> {
        let (index, meter, expected) = (self.index, self.meter.clone(), self.expected);
        move |progress| meter.moved(index, &progress, expected)
    }
}

/// An address with the movers' port; IPv6 in brackets.
fn socket_address(address: &str) -> String {
    match address.parse::<std::net::IpAddr>() {
        Ok(address) => std::net::SocketAddr::new(address, PORT).to_string(),
        Err(_) => format!("{address}:{PORT}"),
    }
}
