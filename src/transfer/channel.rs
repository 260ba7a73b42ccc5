//! A blocking connection between two ends of ours: TLS over TCP, cut into frames.
use super::activity::{Doing, Station};
use super::frame::{self, CONTENT, FrameError, GREETING, MAX_CONTENT, Sort};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// Messages are gathered up to this size before they are encrypted and sent.
const GATHER: usize = 128 << 10;
/// The kernel is asked for this much at a time; rustls itself would ask for 4 KiB.
const READ_AHEAD: usize = 256 << 10;
/// rustls takes this much before it must be sent.
const TLS_BUFFER: usize = 512 << 10;
/// How long a handshake and greeting may take.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// The connection broke, or what came over it makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error("the connection was closed")]
    Closed,
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("{0}")]
    Socket(io::Error),
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// See the module.
pub(crate) struct Channel {
    tls: Connection,
    socket: BufReader<TcpStream>,
    timeout: Duration,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// Where the unread part of `incoming` begins.
    start: usize,
    station: Station,
}

impl Channel {
    /// Dials: handshake and greeting.
    pub(crate) fn dial(tcp: TcpStream, config: Arc<ClientConfig>) -> Result<Self, ChannelError> {
        let tls =
            ClientConnection::new(config, super::tls::any_name()).map_err(ChannelError::Tls)?;
        Self::begin(tcp, tls.into())
    }

    /// Answers: handshake and greeting.
    pub(crate) fn answer(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Self, ChannelError> {
        let tls = ServerConnection::new(config).map_err(ChannelError::Tls)?;
        Self::begin(tcp, tls.into())
    }

    fn begin(tcp: TcpStream, mut tls: Connection) -> Result<Self, ChannelError> {
        tls.set_buffer_limit(Some(TLS_BUFFER));
        tcp.set_nodelay(true).map_err(ChannelError::Socket)?;
        keep_alive(&tcp).map_err(|errno| ChannelError::Socket(errno.into()))?;
        let socket = BufReader::with_capacity(READ_AHEAD, tcp);
        let mut this = Self {
            tls,
            socket,
            timeout: HANDSHAKE,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            start: 0,
            station: Station::default(),
        };
        this.set_timeouts(Some(HANDSHAKE), Some(HANDSHAKE))?;
        this.outgoing.extend(frame::greeting());
        this.flush()?;
        let mut fixed = [0; GREETING];
        this.take(&mut fixed)?;
        let (protocol, length) = frame::read_greeting(&fixed)?;
        let mut version = vec![0; length];
        this.take(&mut version)?;
        frame::check_greeting(protocol, &version)?;
        Ok(this)
    }

    /// Bounds each wait for the other end.
    pub(crate) fn set_timeouts(
        &mut self,
        read: Option<Duration>,
        write: Option<Duration>,
    ) -> Result<(), ChannelError> {
        let tcp = self.socket.get_ref();
        tcp.set_read_timeout(read)
            .and_then(|()| tcp.set_write_timeout(write))
            .map_err(ChannelError::Socket)?;
        self.timeout = read.unwrap_or(Duration::MAX);
        Ok(())
    }

    /// The certificate that the other end proved to hold the key of.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.peer_certificates().and_then(<[_]>::first)
    }

    /// The socket, to end it from another thread.
    pub(crate) fn socket(&self) -> io::Result<TcpStream> {
        self.socket.get_ref().try_clone()
    }

    /// Lets the worker of this connection be seen there.
    pub(crate) fn sit(&mut self, station: Station) {
        self.station = station;
    }

    /// Where the worker of this connection says what it is at. Waiting for the socket the connection says itself.
    pub(crate) fn station(&self) -> &Station {
        &self.station
    }

    /// Puts a message behind those before; it is sent when many have gathered, or by [`Channel::flush`].
    pub(crate) fn send<T: Serialize>(&mut self, message: &T) -> Result<(), ChannelError> {
        frame::put(&mut self.outgoing, message)?;
        if self.outgoing.len() >= GATHER {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Puts a piece of file content behind the messages before.
    pub(crate) fn send_content(&mut self, content: &[u8]) -> Result<(), ChannelError> {
        let length = u32::try_from(content.len())
            .ok()
            .filter(|length| *length as usize <= MAX_CONTENT);
        let length = length.ok_or(FrameError::TooLong(content.len()))?;
        self.outgoing.extend((length | CONTENT).to_le_bytes());
        if self.outgoing.len() + content.len() < GATHER {
            self.outgoing.extend(content);
            return Ok(());
        }
        self.flush()?;
        self.write_all(content)
    }

    /// Sends a message now.
    pub(crate) fn send_now<T: Serialize>(&mut self, message: &T) -> Result<(), ChannelError> {
        self.send(message)?;
        self.flush()
    }

    /// Sends all that was put.
    pub(crate) fn flush(&mut self) -> Result<(), ChannelError> {
        let outgoing = std::mem::take(&mut self.outgoing);
        let result = self.write_all(&outgoing);
        self.outgoing = outgoing;
        self.outgoing.clear();
        result
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), ChannelError> {
        while !bytes.is_empty() || self.tls.wants_write() {
            let taken = self
                .tls
                .writer()
                .write(bytes)
                .map_err(ChannelError::Socket)?;
            bytes = &bytes[taken..];
            if self.tls.is_handshaking() {
                self.read_tls()?;
            }
            self.write_tls()?;
        }
        Ok(())
    }

    fn write_tls(&mut self) -> Result<(), ChannelError> {
        while self.tls.wants_write() {
            let at = self.station.at(Doing::Sending);
            let written = self.tls.write_tls(self.socket.get_mut());
            drop(at);
            match written {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.socket_error(error)),
            }
        }
        Ok(())
    }

    /// Reads records from the socket; blocks as the socket does. The handshake is answered as it goes.
    fn read_tls(&mut self) -> Result<(), ChannelError> {
        self.write_tls()?;
        let at = self.station.at(Doing::Receiving);
        let read = self.tls.read_tls(&mut self.socket);
        drop(at);
        match read {
            Ok(0) => Err(ChannelError::Closed),
            Ok(_) => {
                let processed = self.tls.process_new_packets();
                // An alert tells the other end why, so it goes out even when we are about to give up.
                let written = self.write_tls();
                processed.map_err(ChannelError::Tls)?;
                written
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(self.socket_error(error)),
        }
    }

    fn socket_error(&self, error: io::Error) -> ChannelError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ChannelError::Silent(self.timeout)
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => ChannelError::Closed,
            _ => ChannelError::Socket(error),
        }
    }

    /// Reads some bytes; blocks until there are any.
    fn read_some(&mut self, into: &mut [u8]) -> Result<usize, ChannelError> {
        loop {
            match self.tls.reader().read(into) {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.read_tls()?,
                Err(error) => return Err(self.socket_error(error)),
            }
        }
    }

    /// Reads more into `incoming`.
    fn fill(&mut self) -> Result<(), ChannelError> {
        if self.start == self.incoming.len() {
            self.incoming.clear();
            self.start = 0;
        } else if self.start > READ_AHEAD {
            self.incoming.drain(..self.start);
            self.start = 0;
        }
        let end = self.incoming.len();
        let mut incoming = std::mem::take(&mut self.incoming);
        incoming.resize(end + (32 << 10), 0);
        let result = self.read_some(&mut incoming[end..]);
        incoming.truncate(end + result.as_ref().copied().unwrap_or(0));
        self.incoming = incoming;
        result.map(|_| ())
    }

    /// Fills the buffer, first with what was read ahead, then straight from the TLS layer.
    fn take(&mut self, mut into: &mut [u8]) -> Result<(), ChannelError> {
        let ready = (self.incoming.len() - self.start).min(into.len());
        into[..ready].copy_from_slice(&self.incoming[self.start..self.start + ready]);
        self.start += ready;
        into = &mut into[ready..];
        while !into.is_empty() {
            let count = self.read_some(into)?;
            into = &mut into[count..];
        }
        Ok(())
    }

    fn unread(&self) -> &[u8] {
        &self.incoming[self.start..]
    }

    /// The next message, if it is here whole.
    fn ready<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ChannelError> {
        let Some(header) = self.unread().first_chunk::<4>() else {
            return Ok(None);
        };
        let Sort::Message(length) = frame::sort(*header)? else {
            return Err(FrameError::Sort.into());
        };
        let Some(body) = self.unread().get(4..4 + length) else {
            return Ok(None);
        };
        let (message, rest) = postcard::take_from_bytes(body).map_err(FrameError::Message)?;
        if !rest.is_empty() {
            return Err(FrameError::Message(postcard::Error::DeserializeBadEncoding).into());
        }
        self.start += 4 + length;
        Ok(Some(message))
    }

    /// Waits for the next message.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> Result<T, ChannelError> {
        loop {
            if let Some(message) = self.ready()? {
                return Ok(message);
            }
            self.fill()?;
        }
    }

    /// The next message if it came already; does not wait.
    pub(crate) fn receive_ready<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ChannelError> {
        self.socket
            .get_ref()
            .set_nonblocking(true)
            .map_err(ChannelError::Socket)?;
        let result = loop {
            match self.ready() {
                Ok(None) => {}
                result => break result,
            }
            match self.fill() {
                Ok(()) => {}
                Err(ChannelError::Silent(_)) => break Ok(None),
                Err(error) => break Err(error),
            }
        };
        self.socket
            .get_ref()
            .set_nonblocking(false)
            .map_err(ChannelError::Socket)?;
        result
    }

    /// Waits for a piece of file content.
    pub(crate) fn receive_content(&mut self, into: &mut Vec<u8>) -> Result<(), ChannelError> {
        let mut header = [0; 4];
        self.take(&mut header)?;
        let Sort::Content(length) = frame::sort(header)? else {
            return Err(FrameError::Sort.into());
        };
        into.resize(length, 0);
        self.take(into)
    }

    /// Says goodbye, so that the other end knows that nothing was cut off.
    pub(crate) fn close(&mut self) {
        self.tls.send_close_notify();
        // The other end may be gone already.
        let _ = self.write_tls();
    }
}

/// A dead node is noticed within 45 s even when nothing is being sent.
fn keep_alive(tcp: &TcpStream) -> rustix::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(tcp, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(tcp, 6)
}
