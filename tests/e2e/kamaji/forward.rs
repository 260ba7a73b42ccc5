//! The way to a tenant's API server: the machine reaches no pods.
use std::{
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Result;

use super::super::support::{Namespace, free_port};

/// How often is looked whether the forward has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What keeps a forward alive, until it is dropped.
pub struct Forward {
    /// On this machine.
    pub port: u16,
    state: Arc<Mutex<State>>,
    keeper: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    closed: bool,
}

impl Forward {
    /// To a Service. A forward ends with the pod that it goes to: then there is another one.
    pub fn to(namespace: &Namespace, service: &str, to: u16) -> Result<Self> {
        let port = free_port()?;
        let ports = format!("{port}:{to}");
        let target = format!("service/{service}");
        let mut command = namespace.command(&["port-forward", &target, &ports])?;
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let state = Arc::new(Mutex::new(State::default()));
        let keeper = std::thread::spawn({
            let state = state.clone();
            move || {
                loop {
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    if state.closed {
                        return;
                    }
                    let runs = state.child.as_mut().is_some_and(|child| {
                        // Not known is as good as ended.
                        child.try_wait().is_ok_and(|ended| ended.is_none())
                    });
                    if !runs {
                        state.child = command.spawn().ok();
                    }
                    drop(state);
                    std::thread::sleep(LOOK);
                }
            }
        });
        Ok(Self {
            port,
            state,
            keeper: Some(keeper),
        })
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        if let Some(mut child) = state.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        drop(state);
        if let Some(keeper) = self.keeper.take() {
            keeper.join().ok();
        }
    }
}
