//! Two folders in the place of volumes, and what happens to the streams on their way.
use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{sync::mpsc::Sender, task::spawn_blocking};

use super::super::{super::Limit, Shell, Shells, fill};
use crate::{
    adapters::kube::{KubeError, Said},
    engine::Sink,
    steps::movers::{Doing, Meter},
    transfer::archive::Dialect,
};

/// What happens to one of the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// What tars tell ends at this byte, and goes on with the next command; the command ended with 0.
    TellingEnds(usize),
    /// The same, and nothing was lost of what is said of the stream.
    OnlyBytesEnd(usize),
    /// This byte of what is told is another one.
    TellingChanges(usize),
    /// What is poured ends at this byte of all inputs.
    InputEnds(usize),
    /// This byte of it is another one.
    InputChanges(usize),
    /// Nothing is heard of the command of this number, which was done.
    Unheard(usize),
    /// Every stream ends at its first byte.
    Always,
}

#[derive(Default)]
struct Seen {
    told: usize,
    input: usize,
    commands: usize,
}

struct Way {
    fault: Fault,
    seen: Mutex<Seen>,
    /// The shell, and the programs that it finds.
    shell: Vec<String>,
    path: Option<PathBuf>,
}

impl Way {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a command whose first word is a shell.
    fn output(&self, command: &[String], input: &[u8]) -> Output {
        let mut process = Command::new(&self.shell[0]);
        process.args(&self.shell[1..]).args(&command[1..]);
        if let Some(path) = &self.path {
            process.env("PATH", path);
        }
        process.stdin(Stdio::piped());
        process.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = process.spawn().expect("a shell");
        let mut stdin = child.stdin.take().expect("an input");
        let input = input.to_vec();
        let writes = std::thread::spawn(move || {
            // One that reads no input may be gone.
            stdin.write_all(&input).ok();
        });
        let output = child.wait_with_output().expect("an end");
        writes.join().expect("no panic");
        output
    }

    fn run(&self, command: &[String], mut input: Vec<u8>) -> Result<Said, KubeError> {
        let number = {
            let mut seen = self.seen();
            let before = seen.input;
            seen.input += input.len();
            seen.commands += 1;
            match self.fault {
                Fault::InputEnds(at) if (before..seen.input).contains(&at) => {
                    input.truncate(at - before);
                }
                Fault::InputChanges(at) if (before..seen.input).contains(&at) => {
                    input[at - before] ^= 1;
                }
                _ => {}
            }
            seen.commands
        };
        let output = self.output(command, &input);
        if self.fault == Fault::Unheard(number) {
            return Err(lost());
        }
        Ok(Said {
            out: output.stdout,
            complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn listen(&self, command: &[String], heard: &Sender<Vec<u8>>) -> Result<String, KubeError> {
        let output = self.output(command, &[]);
        let (mut bytes, mut said) = (output.stdout, output.stderr);
        let is_told =
            command.iter().any(|word| word == "read" || word == "check") && !bytes.is_empty();
        {
            let mut seen = self.seen();
            let before = seen.told;
            seen.told += bytes.len();
            let there = |at: usize| is_told && (before..before + bytes.len()).contains(&at);
            match self.fault {
                Fault::TellingEnds(at) if there(at) => {
                    bytes.truncate(at - before);
                    said.truncate(said.len() / 2);
                    seen.told = at;
                }
                Fault::OnlyBytesEnd(at) if there(at) => {
                    bytes.truncate(at - before);
                    seen.told = at;
                }
                Fault::TellingChanges(at) if there(at) => bytes[at - before] ^= 1,
                Fault::Always if is_told => {
                    bytes.clear();
                    said.clear();
                }
                _ => {}
            }
            if matches!(self.fault, Fault::TellingEnds(at) | Fault::OnlyBytesEnd(at) if seen.told == at)
            {
                // Only once.
                seen.told += 1;
            }
        }
        for piece in bytes.chunks(5000) {
            if heard.blocking_send(piece.to_vec()).is_err() {
                return Err(lost());
            }
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

fn lost() -> KubeError {
    KubeError::Other {
        what: "a command in pod shop/db-0".to_owned(),
        cause: "the connection broke".to_owned(),
    }
}

/// Two folders in the place of volumes.
pub(super) struct World {
    folder: TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        for name in ["source", "target", "session"] {
            fs::create_dir(folder.path().join(name)).expect("room");
        }
        let this = Self { folder };
        let root = this.path("source");
        fs::create_dir_all(root.join("a/b")).expect("room");
        fs::write(root.join("a/b/large"), noise(300_000)).expect("room");
        fs::write(root.join("-rf *"), "dash\nend\n").expect("room");
        fs::write(root.join("new\nline \"'$x"), "odd").expect("room");
        fs::hard_link(root.join("a/b/large"), root.join("z")).expect("room");
        symlink("/etc/passwd", root.join("out")).expect("room");
        fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o500)).expect("room");
        fs::create_dir(this.path("target").join("lost+found")).expect("room");
        this
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn shells(&self, fault: Fault) -> Shells {
        self.shells_of(fault, &["/bin/sh"], None)
    }

    pub(super) fn shells_of(&self, fault: Fault, shell: &[&str], path: Option<PathBuf>) -> Shells {
        let way = Arc::new(Way {
            fault,
            seen: Mutex::default(),
            shell: shell.iter().map(|word| (*word).to_owned()).collect(),
            path,
        });
        let shell = |name: &str| {
            let (runs, listens) = (Arc::clone(&way), Arc::clone(&way));
            Shell {
                object: format!("the {name}"),
                image: "sha256:1".to_owned(),
                root: self.path(name).display().to_string(),
                folder: None,
                pause: Duration::from_millis(5),
                still: Duration::from_mins(5),
                run: Arc::new(move |command, input, _| {
                    let way = Arc::clone(&runs);
                    Box::pin(async move {
                        let done = spawn_blocking(move || way.run(&command, input));
                        done.await.expect("no panic")
                    })
                }),
                listen: Arc::new(move |command, heard| {
                    let way = Arc::clone(&listens);
                    Box::pin(async move {
                        let done = spawn_blocking(move || way.listen(&command, &heard));
                        done.await.expect("no panic")
                    })
                }),
            }
        };
        let (sink, _, _) = Sink::new();
        Shells {
            index: 0,
            run: "r1-0".to_owned(),
            source: shell("source"),
            target: fill::Target {
                shell: shell("target"),
                folder: self.path("session").display().to_string(),
                run: "r1-0".to_owned(),
                fence: 1,
                turn: Arc::default(),
                stays: Duration::from_mins(1),
                piece: 100_000,
            },
            dialect: Dialect::Gnu,
            fence: 1,
            meter: Meter::new(sink, "final-copy", Doing::Copying, ["data".to_owned()]),
            limit: Limit::new(None),
            used: 0,
            expected: 0,
        }
    }

    /// Both are the same, and the rest of the target is as it was.
    pub(super) fn is_moved(&self) {
        let target = self.path("target");
        let large = fs::read(target.join("a/b/large")).expect("it is there");
        assert!(large == noise(300_000));
        let inode = |name: &str| fs::metadata(target.join(name)).expect("it is there").ino();
        assert_eq!(inode("a/b/large"), inode("z"));
        assert_eq!(
            fs::read(target.join("-rf *")).expect("it is there"),
            b"dash\nend\n"
        );
        assert_eq!(
            fs::read_link(target.join("out")).expect("it is there"),
            Path::new("/etc/passwd")
        );
        let mode = fs::metadata(target.join("a/b"))
            .expect("it is there")
            .mode();
        assert_eq!(mode & 0o7777, 0o500);
        assert!(target.join("lost+found").exists());
    }

    pub(super) fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("target")).expect("a folder");
        let names = names.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for World {
    /// What still waits for a client, as after a test that failed, ends.
    fn drop(&mut self) {
        let sessions = fs::read_dir(self.path("session")).into_iter().flatten();
        for session in sessions.flatten().filter(|session| session.path().is_dir()) {
            fs::write(session.path().join("eof"), "").ok();
        }
    }
}

pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// What is needed to read a volume, but for `tar`.
pub(super) const READS: [&str; 9] = [
    "sh",
    "sha256sum",
    "tee",
    "tail",
    "wc",
    "sleep",
    "du",
    "find",
    "stat",
];
/// What is needed to fill one, but for `tar`.
pub(super) const FILLS: [&str; 14] = [
    "sh",
    "tail",
    "sha256sum",
    "head",
    "cat",
    "wc",
    "mkfifo",
    "mkdir",
    "rmdir",
    "mv",
    "rm",
    "sleep",
    "sync",
    "touch",
];

/// A folder with these programs of this machine, and a `tar` that does this.
pub(super) fn programs(names: &[&str], tar: &str) -> TempDir {
    let place = TempDir::new().expect("a folder");
    for program in BTreeSet::from_iter(names) {
        let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
        let found = found.iter().find(|path| path.exists()).expect(program);
        symlink(found, place.path().join(program)).expect("a link");
    }
    if !tar.is_empty() {
        program(&place, "tar", tar);
    }
    place
}

/// Puts a program there that does this.
pub(super) fn program(place: &TempDir, name: &str, does: &str) {
    let path = place.path().join(name);
    // It would be written to what it leads to.
    fs::remove_file(&path).ok();
    fs::write(&path, format!("#!/bin/sh\n{does}\n")).expect("room");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("room");
}

/// This machine's GNU tar, as a program of another kind calls it.
pub(super) fn real_tar() -> &'static str {
    let real = ["/usr/bin/tar", "/bin/tar"];
    let real = real.iter().find(|path| Path::new(path).exists());
    real.expect("a tar")
}
