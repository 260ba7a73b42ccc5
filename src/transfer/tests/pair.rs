//! A pair of movers with two empty volumes.
use crate::transfer::control::{Control, ControlError};
use crate::transfer::keys::{ClientKeys, RunKeys};
use crate::transfer::mover::{Ended, Mover, MoverConfig, MoverError};
use crate::transfer::recollection::Reading;
use crate::transfer::report::{Excuse, Reach, RoundKind, RoundSummary, Shape, Verification};
use crate::transfer::side::Side;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;

pub const RUN: &str = "orders-db-1";
pub type Client = Control<TcpStream>;

pub struct Pair {
    pub directory: TempDir,
    pub keys: RunKeys,
    addresses: [SocketAddr; 2],
    threads: Vec<JoinHandle<Result<Ended, MoverError>>>,
}

/// The configuration of a mover with key files in this directory.
pub fn config(
    keys: &RunKeys,
    directory: &Path,
    side: Side,
    path: PathBuf,
    shape: Shape,
) -> MoverConfig {
    let files = directory.join(format!("keys-{side}"));
    std::fs::create_dir_all(&files).unwrap();
    for (name, bytes) in keys.mover_files(side) {
        std::fs::write(files.join(name), bytes).unwrap();
    }
    let idle_limit = Duration::from_mins(10);
    MoverConfig {
        side,
        path,
        shape,
        port: 0,
        keys: files,
        run: RUN.into(),
        idle_limit,
        open_store: super::store::open,
        // Longer than a tick of the kernel's clock.
        trusted_after: Some(Duration::from_millis(50)),
    }
}

impl Pair {
    /// Two directories.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for side in [Side::Source, Side::Target] {
            std::fs::create_dir(directory.path().join(side.to_string())).unwrap();
        }
        Self::start(directory, Shape::Directory)
    }

    /// Movers on `source` and `target` in this directory.
    pub fn start(directory: TempDir, shape: Shape) -> Self {
        let keys = RunKeys::generate().unwrap();
        let mut threads = Vec::new();
        let addresses = [Side::Source, Side::Target].map(|side| {
            let path = directory.path().join(side.to_string());
            let mover = Mover::bind(&config(&keys, directory.path(), side, path, shape)).unwrap();
            let port = mover.address().unwrap().port();
            threads.push(std::thread::spawn(move || mover.serve()));
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        });
        Self {
            directory,
            keys,
            addresses,
            threads,
        }
    }

    pub fn path(&self, side: Side) -> PathBuf {
        self.directory.path().join(side.to_string())
    }

    pub fn source(&self) -> PathBuf {
        self.path(Side::Source)
    }

    pub fn target(&self) -> PathBuf {
        self.path(Side::Target)
    }

    pub fn address(&self, side: Side) -> SocketAddr {
        self.addresses[usize::from(side == Side::Target)]
    }

    pub fn client_keys(&self) -> ClientKeys {
        ClientKeys::from_files(&self.keys.client_files()).unwrap()
    }

    pub async fn control(&self, side: Side, fence: u64) -> Result<Client, ControlError> {
        let stream = TcpStream::connect(self.address(side)).await.unwrap();
        Control::connect(stream, &self.client_keys(), side, fence).await
    }

    /// A client of the target, whose mover has reached the source.
    pub async fn connected(&self) -> Client {
        let mut target = self.control(Side::Target, 1).await.unwrap();
        let reach = target
            .reach(&self.address(Side::Source).to_string(), 3)
            .await
            .unwrap();
        assert_eq!(reach, Reach::Reached { connections: 4 });
        target
    }

    /// Copies and says what was done.
    pub async fn round(&self, kind: RoundKind) -> RoundSummary {
        round(&mut self.connected().await, kind).await.unwrap()
    }

    /// Ends both and gives back how.
    pub async fn stop(mut self) -> Vec<Ended> {
        for side in [Side::Source, Side::Target] {
            self.control(side, u64::MAX)
                .await
                .unwrap()
                .stop()
                .await
                .unwrap();
        }
        self.threads
            .drain(..)
            .map(|thread| thread.join().unwrap().unwrap())
            .collect()
    }
}

/// Compares both sides, which are read for it.
pub async fn verified(client: &mut Client, excused: &[Excuse]) -> Verification {
    let verified = client
        .verify(RUN, excused, Reading::Afresh, &mut |_| {})
        .await;
    verified.unwrap()
}

pub async fn round(client: &mut Client, kind: RoundKind) -> Result<RoundSummary, ControlError> {
    client.round(RUN, kind, false, &mut |_| {}).await
}
