//! A gate before the files of a folder: whoever opens one waits until it is let through.
use std::{
    collections::BTreeSet,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::fanotify::{
        EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags,
        Response,
    },
};

/// It lets so many files through; what was let through before is let through again.
pub struct Gate {
    through: Arc<Mutex<Through>>,
    waiting: Arc<AtomicUsize>,
    closing: Arc<AtomicBool>,
    keeper: Option<JoinHandle<Result<()>>>,
}

#[derive(Default)]
struct Through {
    limit: usize,
    files: BTreeSet<String>,
}

impl Through {
    fn lets(&mut self, event: &FanotifyEvent) -> bool {
        let name = name_of(event);
        if self.files.len() < self.limit {
            self.files.insert(name.clone());
        }
        self.files.contains(&name)
    }
}

/// How often the limit is looked at.
const LOOK_MILLISECONDS: u8 = 5;

impl Gate {
    /// A gate before the files right in this folder; it lets none through.
    pub fn new(folder: &Path) -> Result<Self> {
        let group = Fanotify::init(
            InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_NONBLOCK | InitFlags::FAN_CLOEXEC,
            EventFFlags::O_RDONLY,
        )
        .context("fanotify")?;
        let mask = MaskFlags::FAN_OPEN_PERM | MaskFlags::FAN_EVENT_ON_CHILD;
        group.mark(
            MarkFlags::FAN_MARK_ADD,
            mask,
            nix::fcntl::AT_FDCWD,
            Some(folder),
        )?;
        let through = Arc::<Mutex<Through>>::default();
        let closing = Arc::<AtomicBool>::default();
        let held = Arc::<AtomicUsize>::default();
        let (lets, ends) = (Arc::clone(&through), Arc::clone(&closing));
        let holds = Arc::clone(&held);
        let keeper = thread::spawn(move || {
            let mut waiting = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let mut look = [PollFd::new(group.as_fd(), PollFlags::POLLIN)];
                if poll(&mut look, PollTimeout::from(LOOK_MILLISECONDS))? > 0 {
                    waiting.extend(group.read_events()?);
                }
                let mut through = lets.lock().unwrap_or_else(PoisonError::into_inner);
                for event in waiting.extract_if(.., |event| through.lets(event)) {
                    if let Some(file) = event.fd() {
                        group.write_response(FanotifyResponse::new(file, Response::FAN_ALLOW))?;
                    }
                }
                holds.store(waiting.len(), Ordering::Relaxed);
            }
            // The kernel lets everybody through when the group is gone.
            Ok(())
        });
        Ok(Self {
            through,
            waiting: held,
            closing,
            keeper: Some(keeper),
        })
    }

    /// Whether anybody waits before it.
    pub fn is_waited_at(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Lets these files through, and more up to this number of them all.
    pub fn open_to(&self, limit: usize, files: BTreeSet<String>) {
        let mut through = self.through.lock().unwrap_or_else(PoisonError::into_inner);
        *through = Through { limit, files };
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.take() {
            keeper.join().ok();
        }
    }
}

/// The name of the file that somebody opens; empty for what has none.
fn name_of(event: &FanotifyEvent) -> String {
    let path = event
        .fd()
        .and_then(|file| std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok());
    let name = path.as_deref().and_then(Path::file_name);
    name.unwrap_or_default().to_string_lossy().into_owned()
}
