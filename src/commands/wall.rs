//! What the pods do that tell whether one of them can reach the other.
use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::Kind,
    plan::Span,
    ui::{Ending, Options, Ui},
};

/// Listen, or look whether an address can be reached: what the pods of `restore-check` do
#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["listen", "dial"]))]
pub(crate) struct Args {
    /// The port to listen on
    #[arg(long, value_name = "PORT")]
    listen: Option<u16>,
    /// The address to dial
    #[arg(long, value_name = "ADDRESS:PORT", requires = "want")]
    dial: Option<SocketAddr>,
    /// What is to be seen
    #[arg(long, value_name = "open|closed|never")]
    want: Option<Want>,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "30s")]
    within: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Want {
    Open,
    /// After a while.
    Closed,
    /// From the beginning.
    Never,
}

/// A policy lets a connection hang, so that one that is not open by then never will be.
const OPENS: Duration = Duration::from_secs(2);
/// How often it is dialled.
const AGAIN: Duration = Duration::from_millis(500);
/// One that fails could be chance.
const IN_A_ROW: u32 = 4;

/// Runs the verb: 0 when it saw what it was to see, 12 when not.
pub(crate) fn run(args: &Args) -> Kind {
    let until = Instant::now() + args.within.0;
    let Some(address) = args.dial else {
        return listen(args.listen.unwrap_or_default(), until);
    };
    if sees(args.want.unwrap_or(Want::Open), address, until) {
        Kind::Done
    } else {
        Kind::Difference
    }
}

fn listen(port: u16, until: Instant) -> Kind {
    // Both families, where the node has both.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind(("0.0.0.0", port)));
    let served = listener.and_then(|listener| {
        listener.set_nonblocking(true)?;
        while Instant::now() < until {
            match listener.accept() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    });
    match served {
        Ok(()) => Kind::Done,
        Err(error) => {
            let ui = Ui::new(Options::of("kubectl-migrate wall"));
            ui.ending(&Ending::of(&error.into()));
            Kind::Error
        }
    }
}

/// Whether an address comes to be so in this time.
fn sees(want: Want, address: SocketAddr, until: Instant) -> bool {
    let mut failed = 0;
    loop {
        let open = TcpStream::connect_timeout(&address, OPENS).is_ok();
        failed = if open { 0 } else { failed + 1 };
        match want {
            Want::Open if open => return true,
            Want::Never if open => return false,
            Want::Closed | Want::Never if failed >= IN_A_ROW => return true,
            _ if Instant::now() >= until => return false,
            _ => thread::sleep(AGAIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_is_open_and_what_does_not_is_closed() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let now = Instant::now;
        assert!(sees(Want::Open, address, now()));
        assert!(!sees(Want::Closed, address, now()));
        assert!(!sees(Want::Never, address, now() + Duration::from_mins(1)));
        drop(listener);
        assert!(!sees(Want::Open, address, now()));
        assert!(sees(Want::Closed, address, now() + Duration::from_mins(1)));
        assert!(sees(Want::Never, address, now() + Duration::from_mins(1)));
        let none = Args {
            listen: Some(0),
            dial: None,
            want: None,
            within: Span(Duration::from_millis(1)),
        };
        assert_eq!(run(&none), Kind::Done);
    }
}
