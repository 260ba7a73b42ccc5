//! Stops an operation: all its threads look here, and those that wait on a socket are woken.
use super::fault::Fault;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The end of one operation, said once; the first reason counts.
#[derive(Default)]
pub(crate) struct Cancel {
    stopped: AtomicBool,
    inner: Mutex<(Option<Fault>, Vec<TcpStream>)>,
}

impl Cancel {
    /// Ends the operation for this reason.
    pub(crate) fn stop(&self, why: Fault) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0.get_or_insert(why);
        self.stopped.store(true, Ordering::Release);
        for socket in inner.1.drain(..) {
            // It may be closed already; then nobody waits on it.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// An error once the operation was stopped.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.stopped.load(Ordering::Acquire) {
            Err(self.reason())
        } else {
            Ok(())
        }
    }

    /// Why it was stopped. What other threads see as a lost connection is often only our own stopping.
    pub(crate) fn reason(&self) -> Fault {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .clone()
            .unwrap_or(Fault::Stopped)
    }

    /// Runs one part of the operation and lets its failure stop all others.
    pub(crate) fn guard<T>(&self, part: impl FnOnce() -> Result<T, Fault>) -> Option<T> {
        match part() {
            Ok(value) => Some(value),
            Err(fault) => {
                self.stop(fault);
                None
            }
        }
    }

    /// Shuts this socket down when the operation is stopped.
    pub(crate) fn watch(&self, socket: TcpStream) -> Result<(), Fault> {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .push(socket);
        match self.check() {
            Ok(()) => Ok(()),
            Err(fault) => {
                self.stop(fault.clone());
                Err(fault)
            }
        }
    }
}
