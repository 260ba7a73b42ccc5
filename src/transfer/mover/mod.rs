//! The mover: our own binary in a pod, next to one volume.
//!
//! It listens on one port. Who connects is told by the certificate: the client (a control connection, [`session`]) or
//! the other mover ([`peer`]), which may also be dialled over a connection of the client's ([`relay`]). The source only answers; the target compares, decides and writes ([`round`]).
mod archive;
mod device;
mod fetch;
mod large;
mod operation;
mod peer;
mod prune;
mod queue;
mod round;
mod send_blocks;
mod session;
mod settle;
mod source;
mod state;
mod stream;
mod stretch;
mod tidy;
mod verify;

use super::activity;
use super::archive::OpenStore;
use super::channel::{Channel, ChannelError, HANDSHAKE};
use super::keys::{KeyError, MoverKeys};
use super::recollection::Recollection;
use super::relay;
use super::report::Shape;
use super::side::Side;
use super::tls;
use super::volume::Volume;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use state::State;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// The port that a mover listens on when nothing else is said.
pub const DEFAULT_PORT: u16 = 7400;
/// How many connections carry file contents when nothing else is said: enough to fill two cores and one link.
pub const DEFAULT_CONNECTIONS: usize = 4;
/// Connections at once, of everybody together: enough for one client and the other mover, several times over.
const MOST_CONNECTIONS: usize = 64;
/// How often the main loop looks at signals and the idle limit.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// What a mover is started with.
#[derive(Clone, Debug)]
pub struct MoverConfig {
    /// The volume that it serves.
    pub side: Side,
    /// Where the volume is: the mount point, or the device.
    pub path: PathBuf,
    /// Which of the two.
    pub shape: Shape,
    /// The port to listen on; 0 takes any free one.
    pub port: u16,
    /// The directory of the files of [`super::keys::RunKeys::mover_files`].
    pub keys: PathBuf,
    /// The run that it belongs to: 1 to 63 lower-case letters, digits and dashes.
    pub run: String,
    /// It ends by itself after so long with no client and nothing to do.
    pub idle_limit: Duration,
    /// Opens the bucket that a client names, with what it says of it.
    pub open_store: OpenStore,
    /// Any file system is taken for one that tells of every change, of files that were left alone for so long; none takes
    /// only those that are known for it. Not for volumes that anybody maps into memory.
    pub trusted_after: Option<Duration>,
}

/// How a mover ended, when nothing went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// A client said so.
    Stopped,
    /// SIGTERM or SIGINT came.
    Signal,
    /// Nobody came for as long as was allowed.
    Idle,
}

/// Why a mover cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum MoverError {
    /// The run's name could lead out of the volume or is no label.
    #[error("`{0}` is no name of a run; use 1 to 63 lower-case letters, digits and dashes")]
    Run(String),
    /// A key file cannot be read.
    #[error("cannot read the key file {path}; mount the run's Secret there")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The keys are not usable.
    #[error("the keys of this run are not usable")]
    Keys(#[from] KeyError),
    /// TLS refuses the keys.
    #[error("TLS refuses the keys of this run")]
    Tls(#[from] rustls::Error),
    /// The volume cannot be opened.
    #[error("cannot open the volume at {path}; mount it there, readable by uid {uid}")]
    Volume {
        /// Where it should be.
        path: PathBuf,
        /// The user that the mover runs as.
        uid: u32,
        /// Why.
        source: io::Error,
    },
    /// The port is taken.
    #[error("cannot listen on port {port}; choose another one")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// Connections cannot be accepted any more, or signals not be taken.
    #[error("cannot go on serving")]
    Serve(#[source] io::Error),
}

/// A mover that listens and can be asked where.
pub struct Mover {
    listener: TcpListener,
    state: Arc<State>,
    idle_limit: Duration,
}

/// Serves until told to end, by a client, a signal or idleness.
pub fn serve(config: &MoverConfig) -> Result<Ended, MoverError> {
    Mover::bind(config)?.serve()
}

impl Mover {
    /// Reads the keys, opens the volume and listens.
    pub fn bind(config: &MoverConfig) -> Result<Self, MoverError> {
        if !is_run(&config.run) {
            return Err(MoverError::Run(config.run.clone()));
        }
        raise_file_limit();
        let keys = MoverKeys::from_files(&read_keys(&config.keys)?)?;
        let volume = Volume::open(&config.path, config.shape, config.side).map_err(|errno| {
            MoverError::Volume {
                path: config.path.clone(),
                uid: rustix::process::geteuid().as_raw(),
                source: errno.into(),
            }
        })?;
        let (dialing, listening) = (tls::mover_to_peer(&keys)?, tls::mover_listening(&keys)?);
        let listener = listen(config.port).map_err(|source| MoverError::Listen {
            port: config.port,
            source,
        })?;
        let recollection = match config.trusted_after {
            None => Recollection::of(&volume, config.side),
            trusted => Recollection::new(trusted),
        };
        let state = State::new(
            config.side,
            config.run.clone(),
            volume,
            (dialing, listening),
            keys.client,
            config.open_store,
            recollection,
        );
        Ok(Self {
            listener,
            state: Arc::new(state),
            idle_limit: config.idle_limit,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to end.
    pub fn serve(self) -> Result<Ended, MoverError> {
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, signalled.clone()).map_err(MoverError::Serve)?;
        }
        self.listener
            .set_nonblocking(true)
            .map_err(MoverError::Serve)?;
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !self.state.stopping.load(Ordering::Acquire) {
                    self.state.board.look();
                    std::thread::sleep(activity::LOOK);
                }
            });
            let ended = self.attend(&signalled);
            self.state.stop();
            ended
        });
        self.state.wait_for_end();
        ended
    }

    /// Welcomes whoever comes, until there is a reason to end.
    fn attend(&self, signalled: &AtomicBool) -> Result<Ended, MoverError> {
        let open = Arc::new(AtomicUsize::new(0));
        loop {
            if self.state.stopping.load(Ordering::Acquire) {
                return Ok(Ended::Stopped);
            }
            if signalled.load(Ordering::Relaxed) {
                return Ok(Ended::Signal);
            }
            if self
                .state
                .idle()
                .is_some_and(|idle| idle >= self.idle_limit)
            {
                return Ok(Ended::Idle);
            }
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut fds, Some(&LOOK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(MoverError::Serve(errno.into())),
            }
            match self.listener.accept() {
                Ok((tcp, _)) => welcome(&self.state, &open, tcp),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The other end gave up between knocking and our answer, or we are out of descriptors for a moment.
                Err(error) => tracing::warn!(%error, "a connection was not accepted"),
            }
        }
    }
}

/// Handshake, then whoever it is, in a thread of its own.
fn welcome(state: &Arc<State>, open: &Arc<AtomicUsize>, tcp: TcpStream) {
    if open.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS {
        open.fetch_sub(1, Ordering::Relaxed);
        tracing::warn!("too many connections at once; one was turned away");
        return;
    }
    let (state, open) = (state.clone(), open.clone());
    std::thread::spawn(move || {
        if let Err(error) = converse(&state, tcp) {
            tracing::debug!(%error, "a connection ended");
        }
        open.fetch_sub(1, Ordering::Relaxed);
    });
}

fn converse(state: &Arc<State>, tcp: TcpStream) -> Result<(), ChannelError> {
    tcp.set_nonblocking(false).map_err(ChannelError::Socket)?;
    if let Some(group) = relay::asked(&tcp, HANDSHAKE).map_err(ChannelError::Socket)? {
        peer::dial_over(state, tcp, group);
        return Ok(());
    }
    let channel = Channel::answer(tcp, state.listening.clone())?;
    // The handshake accepted two certificates only: it is the client's or the other mover's.
    if channel.certificate() == Some(&state.client) {
        session::serve(state, channel)
    } else {
        peer::answer(state, channel)
    }
}

fn is_run(run: &str) -> bool {
    (1..=63).contains(&run.len())
        && run
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn read_keys(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>, MoverError> {
    let read = |name: &str| {
        let path = directory.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok((name.to_owned(), bytes)),
            Err(source) => Err(MoverError::KeyFile { path, source }),
        }
    };
    MoverKeys::FILES.into_iter().map(read).collect()
}

/// Listens on every address, of both families where there are two.
fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind(("0.0.0.0", port)))
}

/// A deep tree is walked with one open directory per level. If the limit cannot be raised, the walk says so when it matters.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}
