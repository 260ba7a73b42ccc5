//! The scripts in a real shell on this machine, with streams that are cut while every command seems to end well.
use std::{
    fs,
    io::{Seek as _, Write as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{deliver::CheckedBy, elf::Elf, executable::hexadecimal, *};
use crate::adapters::kube::Said;

/// Small, so that an executable is sent in many pieces.
const SIZE: u64 = 300;

/// What happens to one of the streams, once or always.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The inputs of all commands together end at this byte of theirs, and go on with the next command.
    InputEnds(usize),
    /// The same with what they say.
    OutputEnds(usize),
    /// This byte of the inputs is another one.
    Flipped(usize),
    /// The byte at this place is another one in each sending.
    AlwaysFlipped,
    /// The command of this number never comes.
    Lost(usize),
    /// Nothing is heard of the command of this number, which was done.
    Unheard(usize),
    /// Nothing.
    None,
}

/// What was seen on the way.
#[derive(Default)]
struct Way {
    commands: usize,
    input: usize,
    output: usize,
    deeds: Vec<String>,
}

/// A folder in the place of a pod.
struct Pod {
    folder: TempDir,
    programs: Option<PathBuf>,
    fault: Fault,
    way: Mutex<Way>,
}

impl Pod {
    fn new(fault: Fault) -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
            programs: None,
            fault,
            way: Mutex::default(),
        }
    }

    /// The same with these programs alone.
    fn with(programs: &[&str]) -> (Self, TempDir) {
        let place = TempDir::new().expect("a folder");
        for program in programs {
            let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
            let found = found.iter().find(|path| path.exists()).expect(program);
            symlink(found, place.path().join(program)).expect("a link");
        }
        let mut this = Self::new(Fault::None);
        this.programs = Some(place.path().to_owned());
        (this, place)
    }

    fn shell(&self, text: &str, name: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &script(text), name])
            .arg(self.folder.path());
        if let Some(programs) = &self.programs {
            command.env("PATH", programs);
        }
        command
    }

    fn run(&self, words: &[String], mut input: Vec<u8>) -> Result<Said, KubeError> {
        let mut way = self.way.lock().expect("no panic");
        let (number, before) = (way.commands, way.input);
        way.commands += 1;
        way.input += input.len();
        way.deeds.push(words[0].clone());
        let lost = || KubeError::Other {
            what: "a command in pod shop/mover".to_owned(),
            cause: "the connection broke".to_owned(),
        };
        match self.fault {
            Fault::Lost(at) if at == number => return Err(lost()),
            Fault::InputEnds(at) if (before..way.input).contains(&at) => {
                input.truncate(at - before);
            }
            Fault::Flipped(at) if (before..way.input).contains(&at) => input[at - before] ^= 1,
            Fault::AlwaysFlipped if input.len() > 7 => input[7] ^= 1,
            _ => {}
        }
        let mut command = self.shell(PUT, "put");
        command.args(words).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let mut stdin = child.stdin.take().expect("an input");
        // One that reads no input may be gone.
        stdin.write_all(&input).ok();
        drop(stdin);
        let done = child.wait_with_output().expect("an end");
        let mut out = done.stdout;
        let before = way.output;
        way.output += out.len();
        match self.fault {
            Fault::OutputEnds(at) if (before..way.output).contains(&at) => {
                out.truncate(at - before);
            }
            Fault::Unheard(at) if at == number => return Err(lost()),
            _ => {}
        }
        Ok(Said {
            out,
            complaint: String::from_utf8_lossy(&done.stderr).trim().to_owned(),
        })
    }

    async fn deliver(&self, executable: &Opened) -> Result<Delivered, Undelivered> {
        let run = |words: Vec<String>, input, _| -> BoxFuture<'_, _> {
            Box::pin(async move { self.run(&words, input) })
        };
        deliver(executable, SIZE, &run, &|_| ()).await
    }

    async fn runs(&self, executable: &Opened) -> bool {
        let run = |words: Vec<String>, input, _| -> BoxFuture<'_, _> {
            Box::pin(async move { self.run(&words, input) })
        };
        runs(executable, &run).await.expect("answers")
    }

    /// What the pod was told to become.
    fn started(&self) -> Option<Vec<u8>> {
        let name = fs::read_to_string(self.folder.path().join("start")).ok()?;
        let path = self.folder.path().join(name.trim());
        let mode = fs::metadata(&path).ok()?.permissions().mode();
        assert_eq!(mode & 0o777, 0o500);
        fs::read(path).ok()
    }

    fn waits(&self, patience: &str) -> Child {
        let mut command = self.shell(WAIT, "wait");
        command.args([patience, "mover", "--side=source"]);
        command.spawn().expect("a shell")
    }
}

/// An executable that proves itself as ours do, and that leaves a trace where it is run.
fn executable(version: &str) -> (Opened, Vec<u8>) {
    let text = format!(
        "#!/bin/sh\n\
         : >ran\n\
         case $1 in\n\
         version) echo kubectl-migrate v{version}\n\
         sum=$(/usr/bin/sha256sum <$0)\n\
         echo \"executable sha256:${{sum%% *}}, $(/usr/bin/wc -c <$0) bytes\" ;;\n\
         *) echo \"$@\" >became ;;\n\
         esac\n\
         exit\n{}",
        // What a stream may trip over: line ends, NUL, no line end at the last byte.
        "end\n\0\r\nend\n".repeat(80)
    );
    let bytes = text.into_bytes();
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&bytes).expect("room");
    file.rewind().expect("a file");
    let opened = Opened {
        file: Arc::new(file),
        path: "test".into(),
        length: bytes.len() as u64,
        sha256: hexadecimal(&Sha256::digest(&bytes)),
        elf: Elf {
            architecture: "amd64",
            loader: None,
        },
    };
    (opened, bytes)
}

const OURS: &str = env!("CARGO_PKG_VERSION");

fn wait(mut child: Child) -> ExitStatus {
    child.wait().expect("an end")
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_becomes_the_executable_with_its_arguments() {
    let (executable, bytes) = executable(OURS);
    let pod = Pod::new(Fault::None);
    let waits = pod.waits("1000");
    assert!(!pod.runs(&executable).await);
    let delivered = pod.deliver(&executable).await.expect("no faults");
    assert_eq!(delivered.checked_by, CheckedBy::Tool);
    assert_eq!(pod.started().as_ref(), Some(&bytes));
    assert!(wait(waits).success());
    let became = fs::read_to_string(pod.folder.path().join("became")).expect("it ran");
    assert_eq!(became, "mover --side=source\n");
    assert!(pod.runs(&executable).await);

    // A client that comes later sends nothing.
    let before = pod.way.lock().expect("no panic").input;
    let delivered = pod.deliver(&executable).await.expect("no faults");
    assert_eq!(delivered.checked_by, CheckedBy::Before);
    assert_eq!(pod.way.lock().expect("no panic").input, before);
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_client_ends_and_one_that_is_told_to_ends_at_once() {
    let pod = Pod::new(Fault::None);
    assert_eq!(wait(pod.waits("0")).code(), Some(0));
    let waits = pod.waits("1000");
    let process = i32::try_from(waits.id()).expect("a number");
    let process = rustix::process::Pid::from_raw(process).expect("a process");
    // It may not have come to its trap yet.
    rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it runs");
    let ended = wait(waits);
    assert!(
        ended.code() == Some(143)
            || std::os::unix::process::ExitStatusExt::signal(&ended) == Some(15),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn streams_may_be_cut_at_any_byte_and_any_command_lost() {
    let (executable, bytes) = executable(OURS);
    let clean = Pod::new(Fault::None);
    clean.deliver(&executable).await.expect("no faults");
    let Way {
        commands,
        input,
        output,
        ..
    } = clean.way.into_inner().expect("no panic");
    assert_eq!(input, bytes.len());
    assert!(commands > 10 && output > 100, "{commands}, {output}");

    // Around the pieces' ends, and some between: what an answer looks like that is cut at any byte is looked at below.
    let size = usize::try_from(SIZE).expect("small");
    let near = |at: &usize| at % size < 3 || size - at % size < 3 || at.is_multiple_of(41);
    let mut faults: Vec<_> = (0..input).filter(near).map(Fault::InputEnds).collect();
    faults.extend((0..input).step_by(97).map(Fault::Flipped));
    faults.extend((0..output).step_by(3).map(Fault::OutputEnds));
    faults.extend((0..commands).map(Fault::Lost));
    faults.extend((0..commands).map(Fault::Unheard));
    for fault in faults {
        let pod = Pod::new(fault);
        let delivered = pod.deliver(&executable).await;
        assert!(delivered.is_ok(), "{fault:?}: {delivered:?}");
        assert_eq!(pod.started().as_ref(), Some(&bytes), "{fault:?}");
        assert!(pod.runs(&executable).await, "{fault:?}");
    }
}

#[test]
fn an_answer_that_is_cut_at_any_byte_is_no_answer() {
    for answer in ["end\n", "length 900\nend\n", "end\nend\n", "\n\nend\nend\n"] {
        let answer = answer.as_bytes();
        let body = &answer[..answer.len() - 4];
        assert_eq!(deliver::whole(answer), Some(body));
        for length in 0..answer.len() {
            let told = deliver::whole(&answer[..length]);
            // Only what holds the mark itself, which pieces that are read back may: their lengths and digests tell.
            assert!(
                told.is_none() || answer[..length].ends_with(b"end\n"),
                "{length} of {answer:?}"
            );
        }
    }
    assert_eq!(deliver::whole(b"the end\n"), None);
}

#[tokio::test(start_paused = true)]
async fn a_changed_byte_is_refused_and_never_run() {
    let (executable, _) = executable(OURS);
    for programs in [
        None,
        Some(["chmod", "head", "rm", "sleep", "wc", "cat", "tail"]),
    ] {
        let mut pod = Pod::new(Fault::AlwaysFlipped);
        let place = programs.map(|programs| Pod::with(&programs));
        if let Some((other, _)) = &place {
            pod.programs.clone_from(&other.programs);
        }
        let refused = pod.deliver(&executable).await.expect_err("a changed byte");
        assert_eq!(
            refused.to_string(),
            "it arrived 3 times with another digest than it was sent with"
        );
        assert!(!pod.folder.path().join("ran").exists());
        assert!(!pod.folder.path().join("start").exists());
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_tool_for_digests_it_is_read_back() {
    let (executable, bytes) = executable(OURS);
    let (pod, _programs) = Pod::with(&["chmod", "head", "rm", "sleep", "wc", "cat", "tail"]);
    let delivered = pod.deliver(&executable).await.expect("no faults");
    assert_eq!(delivered.checked_by, CheckedBy::ReadBack);
    assert_eq!(pod.started(), Some(bytes));
    let deeds = &pod.way.lock().expect("no panic").deeds;
    assert!(!deeds.contains(&"digest".to_owned()), "{deeds:?}");
    let whole = executable.length.div_ceil(SIZE);
    let reads = deeds.iter().filter(|deed| *deed == "read").count() as u64;
    assert_eq!(reads, whole);
}

#[tokio::test(start_paused = true)]
async fn what_the_image_lacks_is_named() {
    let (executable, _) = executable(OURS);
    let (pod, _programs) = Pod::with(&["chmod", "rm", "sleep", "cat"]);
    let refused = pod.deliver(&executable).await.expect_err("no head, no wc");
    assert_eq!(refused.to_string(), "the image lacks `head`, `wc`, `tail`");
    assert!(!pod.folder.path().join("start").exists());
}

#[tokio::test(start_paused = true)]
async fn another_version_is_not_started() {
    let (executable, _) = executable("0.0.1");
    let pod = Pod::new(Fault::None);
    let refused = pod.deliver(&executable).await.expect_err("another version");
    let said = refused.to_string();
    assert!(
        said.starts_with("it does not run there as what it is: it said `kubectl-migrate v0.0.1; "),
        "{said}"
    );
    assert!(!pod.folder.path().join("start").exists());
}

#[tokio::test(start_paused = true)]
async fn what_another_client_started_is_told_from_ours() {
    let (ours, _) = executable(OURS);
    let pod = Pod::new(Fault::None);
    fs::write(pod.folder.path().join("start"), "part.0123.4567\n").expect("room");
    assert!(!pod.runs(&ours).await);
    let refused = pod.deliver(&ours).await.expect_err("another");
    assert!(matches!(refused, Undelivered::Other), "{refused}");
}
