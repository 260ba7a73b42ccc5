//! A way to a server by another name than its address.
//!
//! sqlx verifies a certificate for the host that it dials. Through a tunnel these differ, so it dials a socket in a
//! folder that only this user can enter, and is told the host; what it says there is passed on, encrypted as it is.
use std::{
    fs::DirBuilder,
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, copy_buf},
    net::{TcpStream, UnixListener},
    task::JoinHandle,
};

/// PostgreSQL's name of a socket; the driver puts it together from a folder and a port.
const SOCKET: &str = ".s.PGSQL.5432";
/// Bytes that are passed on at once.
const BUFFER: usize = 128 << 10;

/// A socket that leads to a server, for one connection; the connection outlives it.
pub(in super::super) struct Relay {
    folder: PathBuf,
    waiting: Option<JoinHandle<()>>,
}

impl Relay {
    /// The port that [`Relay::folder`] goes with.
    pub const PORT: u16 = 5432;

    /// Connects to the server, and waits for who uses it.
    pub async fn open(dial: SocketAddr) -> io::Result<Self> {
        let server = TcpStream::connect(dial).await?;
        server.set_nodelay(true)?;
        let folder =
            std::env::temp_dir().join(format!("kubectl-migrate-{:016x}", fastrand::u64(..)));
        DirBuilder::new().mode(0o700).create(&folder)?;
        let mut relay = Self {
            folder,
            waiting: None,
        };
        let listener = UnixListener::bind(relay.socket())?;
        relay.waiting = Some(tokio::spawn(async move {
            let Ok((client, _)) = listener.accept().await else {
                return;
            };
            drop(listener);
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            // Neither side speaks on when the other is gone.
            tokio::select! {
                () = pass(from_client, to_server) => {}
                () = pass(from_server, to_client) => {}
            }
        }));
        Ok(relay)
    }

    /// The folder of the socket.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    /// Lets the connection that was made through it live on.
    pub fn keep(mut self) {
        self.waiting = None;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(task) = self.waiting.take() {
            task.abort();
        }
        // What is left is an empty folder of ours; there is nobody to tell.
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

async fn pass(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut from = BufReader::with_capacity(BUFFER, from);
    // Both ends see for themselves that the connection is gone.
    copy_buf(&mut from, &mut to).await.ok();
    to.shutdown().await.ok();
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, UnixStream},
    };

    use super::*;

    #[tokio::test]
    async fn what_is_said_arrives_and_the_folder_goes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let dial = listener.local_addr().expect("its address");
        let relay = Relay::open(dial).await.expect("a relay");
        let folder = relay.folder().to_owned();
        let mut client = UnixStream::connect(relay.socket())
            .await
            .expect("its socket");
        relay.keep();
        assert!(!folder.exists(), "{folder:?}");
        let (mut server, _) = listener.accept().await.expect("a connection");
        client.write_all(b"hello").await.expect("it takes it");
        let mut heard = [0; 5];
        server.read_exact(&mut heard).await.expect("it arrives");
        assert_eq!(&heard, b"hello");
        server.write_all(b"bye").await.expect("it takes it");
        drop(server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("the end");
        assert_eq!(answer, b"bye");
    }

    #[tokio::test]
    async fn a_server_that_is_away_leaves_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let dial = listener.local_addr().expect("its address");
        drop(listener);
        let error = Relay::open(dial).await.err().expect("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
