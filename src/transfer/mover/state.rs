//! What all threads of a mover share.
use crate::transfer::activity::Board;
use crate::transfer::archive::{OpenStore, Renewal};
use crate::transfer::cancel::Cancel;
use crate::transfer::channel::Channel;
use crate::transfer::fault::Fault;
use crate::transfer::limit::Limiter;
use crate::transfer::recollection::Recollection;
use crate::transfer::side::Side;
use crate::transfer::volume::Volume;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a new connection waits for the operation of an older one to stop.
const HANDING_OVER: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct State {
    pub(crate) side: Side,
    pub(crate) run: String,
    pub(crate) volume: Volume,
    pub(crate) dialing: Arc<ClientConfig>,
    pub(crate) listening: Arc<ServerConfig>,
    pub(crate) client: CertificateDer<'static>,
    pub(crate) stopping: AtomicBool,
    /// Of what it sends to the other mover.
    pub(crate) limiter: Limiter,
    /// Opens the bucket that a client names.
    pub(crate) open_store: OpenStore,
    /// Where whoever works with it asks for other credentials.
    pub(crate) renewal: Arc<Renewal>,
    /// What was read of the volume before.
    pub(crate) recollection: Recollection,
    /// Where its workers say what they are at.
    pub(crate) board: Arc<Board>,
    groups: AtomicU64,
    inner: Mutex<Inner>,
    idle_changed: Condvar,
    peers_changed: Condvar,
}

struct Inner {
    /// The highest fencing number seen.
    fence: u64,
    /// The control connection that took over last.
    holder: u64,
    connections: u64,
    next_connection: u64,
    operation: Option<Arc<Cancel>>,
    /// On the source: requests of the other mover that are being answered.
    answering: u64,
    /// When the last connection or operation ended.
    idle_since: Instant,
    /// On the target: connections of the newest group.
    peers: (u64, Vec<Channel>),
    /// On the target: the group that the client connects, and why one of it did not come to be.
    expected: (u64, Option<String>),
    /// On the source: sockets that are answered on, by group and number.
    served: Vec<(u64, u64, TcpStream)>,
    next_served: u64,
}

impl State {
    pub(crate) fn new(
        side: Side,
        run: String,
        volume: Volume,
        (dialing, listening): (Arc<ClientConfig>, Arc<ServerConfig>),
        client: CertificateDer<'static>,
        open_store: OpenStore,
        recollection: Recollection,
    ) -> Self {
        let inner = Inner {
            fence: 0,
            holder: 0,
            connections: 0,
            next_connection: 0,
            operation: None,
            answering: 0,
            idle_since: Instant::now(),
            peers: (0, Vec::new()),
            expected: (0, None),
            served: Vec::new(),
            next_served: 0,
        };
        // Groups of different processes must differ: a restarted mover begins elsewhere.
        let start = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(1, |since| since.as_micros());
        Self {
            side,
            run,
            recollection,
            volume,
            dialing,
            listening,
            client,
            stopping: AtomicBool::new(false),
            limiter: Limiter::new(),
            open_store,
            renewal: Arc::default(),
            board: Arc::default(),
            groups: AtomicU64::new(u64::try_from(start).unwrap_or(1)),
            inner: Mutex::new(inner),
            idle_changed: Condvar::new(),
            peers_changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A control connection begins; its number.
    pub(crate) fn connected(&self) -> u64 {
        let mut inner = self.lock();
        inner.connections += 1;
        inner.next_connection += 1;
        inner.next_connection
    }

    /// A control connection ended.
    pub(crate) fn disconnected(&self) {
        let mut inner = self.lock();
        inner.connections -= 1;
        inner.idle_since = Instant::now();
    }

    /// For how long nothing has been connected or under way; none while something is.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let inner = self.lock();
        (inner.connections == 0 && inner.operation.is_none() && inner.answering == 0)
            .then(|| inner.idle_since.elapsed())
    }

    /// The mover is not idle for as long as this is held.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.lock().answering += 1;
        Busy(self)
    }

    /// Refuses a fencing number that is lower than one seen before, and a connection that was taken over from.
    pub(crate) fn admit(&self, connection: u64, fence: u64) -> Result<(), Fault> {
        let mut inner = self.lock();
        if fence < inner.fence {
            return Err(Fault::Fenced {
                yours: fence,
                highest: inner.fence,
            });
        }
        if inner.holder != connection {
            return Err(Fault::Superseded);
        }
        inner.fence = fence;
        Ok(())
    }

    /// Makes this connection the one that is obeyed; stops what an older one has under way and waits for its end.
    pub(crate) fn take_over(&self, connection: u64, fence: u64) -> Result<(), Fault> {
        let mut inner = self.lock();
        if fence < inner.fence {
            return Err(Fault::Fenced {
                yours: fence,
                highest: inner.fence,
            });
        }
        inner.fence = fence;
        inner.holder = inner.holder.max(connection);
        if let Some(operation) = &inner.operation {
            operation.stop(Fault::Superseded);
        }
        let (_inner, waited) = self
            .idle_changed
            .wait_timeout_while(inner, HANDING_OVER, |inner| inner.operation.is_some())
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Fault::Busy {
                side: self.side,
                seconds: HANDING_OVER.as_secs(),
            });
        }
        Ok(())
    }

    /// An operation begins.
    pub(crate) fn begin(&self, connection: u64) -> Result<Arc<Cancel>, Fault> {
        let mut inner = self.lock();
        if inner.holder != connection {
            return Err(Fault::Superseded);
        }
        if inner.operation.is_some() {
            return Err(Fault::Busy {
                side: self.side,
                seconds: 0,
            });
        }
        let cancel = Arc::new(Cancel::default());
        inner.operation = Some(cancel.clone());
        Ok(cancel)
    }

    /// The operation ended.
    pub(crate) fn end(&self) {
        let mut inner = self.lock();
        inner.operation = None;
        inner.idle_since = Instant::now();
        self.idle_changed.notify_all();
    }

    /// Ends the mover: what is under way stops, connections to the other mover close.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let mut inner = self.lock();
        if let Some(operation) = &inner.operation {
            operation.stop(Fault::Stopped);
        }
        inner.peers.1.clear();
        for (_, _, socket) in inner.served.drain(..) {
            // Closed already, perhaps.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Waits, bounded, until the operation that was stopped has ended.
    pub(crate) fn wait_for_end(&self) {
        let inner = self.lock();
        drop(
            self.idle_changed
                .wait_timeout_while(inner, HANDING_OVER, |inner| inner.operation.is_some()),
        );
    }

    /// The number of a new group of connections to the other mover.
    pub(crate) fn next_group(&self) -> u64 {
        self.groups.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps a connection for the target's operations. A new group takes the place of the one before.
    pub(crate) fn keep(&self, group: u64, channel: Channel) {
        let mut inner = self.lock();
        if inner.peers.0 != group {
            inner.peers = (group, Vec::new());
        }
        inner.peers.1.push(channel);
        self.peers_changed.notify_all();
    }

    /// Connections of this group are accepted from the client from now on, and of no other.
    pub(crate) fn expect(&self) -> u64 {
        let group = self.next_group();
        self.lock().expected = (group, None);
        group
    }

    /// Whether a group is the one that the client connects.
    pub(crate) fn is_expected(&self, group: u64) -> bool {
        self.lock().expected.0 == group
    }

    /// A connection of such a group did not come to be.
    pub(crate) fn not_joined(&self, group: u64, reason: String) {
        let mut inner = self.lock();
        if inner.expected.0 == group {
            inner.expected.1 = Some(reason);
            self.peers_changed.notify_all();
        }
    }

    /// How many connections of a group there are, waiting a little for as many as are wanted; an error says why one
    /// will never come.
    pub(crate) fn has_joined(
        &self,
        group: u64,
        wanted: usize,
        wait: Duration,
    ) -> Result<usize, String> {
        let ready = |inner: &Inner| {
            let (of, peers) = &inner.peers;
            if *of == group { peers.len() } else { 0 }
        };
        let (inner, _) = self
            .peers_changed
            .wait_timeout_while(self.lock(), wait, |inner| {
                ready(inner) < wanted && inner.expected.1.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        match &inner.expected {
            (of, Some(reason)) if *of == group => Err(reason.clone()),
            _ => Ok(ready(&inner)),
        }
    }

    /// Takes all connections out; they come back by [`State::keep_again`] when all went well.
    pub(crate) fn take_peers(&self) -> Vec<Channel> {
        std::mem::take(&mut self.lock().peers.1)
    }

    /// Puts connections back that an operation left in order.
    pub(crate) fn keep_again(&self, channels: Vec<Channel>) {
        let mut inner = self.lock();
        // Another group came meanwhile: these are the older ones.
        if inner.peers.1.is_empty() {
            inner.peers.1 = channels;
        }
    }

    /// A source's thread answers on this connection; its number. Older groups are closed.
    pub(crate) fn serve_peer(&self, group: u64, socket: TcpStream) -> u64 {
        let mut inner = self.lock();
        inner.served.retain(|(of, _, socket)| {
            let same = *of == group;
            if !same {
                // Its thread ends by it, if it has not yet.
                let _ = socket.shutdown(Shutdown::Both);
            }
            same
        });
        inner.next_served += 1;
        let number = inner.next_served;
        inner.served.push((group, number, socket));
        number
    }

    /// That thread ended.
    pub(crate) fn served_peer(&self, number: u64) {
        self.lock().served.retain(|(_, of, _)| *of != number);
    }

    /// Gives up a group that was not completed.
    pub(crate) fn leave_group(&self, group: u64) {
        let mut inner = self.lock();
        if inner.peers.0 == group {
            inner.peers.1.clear();
        }
        inner.served.retain(|(of, _, socket)| {
            if *of == group {
                let _ = socket.shutdown(Shutdown::Both);
            }
            *of != group
        });
    }
}

/// Held while a request of the other mover is answered.
pub(crate) struct Busy<'a>(&'a State);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.answering -= 1;
        inner.idle_since = Instant::now();
    }
}
