//! A command in a container of a pod, with what it is given and what it says.
//!
//! How a command ended is not told: a stream that was cut can end with status 0 (kubernetes#60140, #124571), so that
//! a caller lets the command itself say that it came to its end.
use std::{future::Future, time::Duration};

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::AttachParams};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc::Sender,
    time::{sleep, timeout},
};

use super::{Cluster, KubeError};

/// From the request to the open streams. The API server and the kubelet both have to answer, and both may be slow.
const OPEN_BOUND: Duration = Duration::from_mins(1);
/// No byte has gone either way for so long: the command, or the way to it, hangs.
const QUIET: Duration = Duration::from_mins(1);
/// After the command has ended, its last words are on their way to us at most for so long.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// So much of what a command complains of is kept.
const MOST_COMPLAINTS: usize = 4 << 10;
/// Of one that is listened to, so much of the end: there it says how it went.
const LAST_COMPLAINTS: usize = 4 << 20;
/// More than that is let grow by so much before it is cut.
const OVER: usize = 1 << 20;
/// The line that stands in the place of what was cut.
const DROPPED: &str = "what was complained of before is too long to be kept\n";
/// What it says is given away in pieces of at most so many bytes.
const PIECE: usize = 128 << 10;
/// Between us and the connection, so that a large input goes in large pieces.
const BUFFER: usize = 256 << 10;

/// What a command in a container is.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod.
    pub pod: &'a str,
    /// The container.
    pub container: &'a str,
    /// The program and its arguments.
    pub command: &'a [String],
    /// What it reads from its standard input. It has to know by itself how much that is: there may be no end of it.
    pub input: &'a [u8],
    /// It may say so many bytes.
    pub most: usize,
}

/// What a command said. Whether that is all of it, it has to say itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// On its standard output.
    pub out: Vec<u8>,
    /// On its standard error; how it ended, where it said nothing there.
    pub complaint: String,
}

/// Runs a command in a container, within bounds.
pub async fn exec(cluster: &Cluster, call: &Call<'_>) -> Result<Said, KubeError> {
    run(cluster, call, None).await
}

/// Runs a command, and gives away what it says on its standard output as it comes, however much that is. What it
/// complained of is the answer.
pub async fn exec_stream(
    cluster: &Cluster,
    call: &Call<'_>,
    heard: &Sender<Vec<u8>>,
) -> Result<String, KubeError> {
    let said = run(cluster, call, Some(heard)).await?;
    Ok(said.complaint)
}

async fn run(
    cluster: &Cluster,
    call: &Call<'_>,
    heard: Option<&Sender<Vec<u8>>>,
) -> Result<Said, KubeError> {
    let api: Api<Pod> = cluster.namespaced(call.namespace);
    let what = || {
        let Call { namespace, pod, .. } = call;
        format!("a command in pod {namespace}/{pod}")
    };
    let late = |after, last_seen: &str| KubeError::TimedOut {
        what: what(),
        after,
        last_seen: last_seen.to_owned(),
    };
    let other = |cause: String| KubeError::Other {
        what: what(),
        cause,
    };
    let params = AttachParams::default()
        .container(call.container)
        .stdin(true)
        .max_stdin_buf_size(BUFFER)
        .max_stdout_buf_size(BUFFER);
    let opening = api.exec(call.pod, call.command, &params);
    let mut process = timeout(OPEN_BOUND, opening)
        .await
        .map_err(|_| late(OPEN_BOUND, "no answer"))??;
    let (Some(input), Some(output), Some(complaints), Some(status)) = (
        process.stdin(),
        process.stdout(),
        process.stderr(),
        process.take_status(),
    ) else {
        return Err(other("its streams were taken already".to_owned()));
    };
    let status = status.map(|status| status.and_then(|status| status.message));
    let ends = Ends {
        input,
        output,
        complaints,
    };
    match converse(ends, status, call.input, call.most, heard).await {
        Ok(said) => Ok(said),
        Err(Cut::Quiet) => Err(late(QUIET, "no byte went either way")),
        Err(Cut::Unheard) => Err(other("nobody listens to it any more".to_owned())),
        Err(Cut::TooMuch) => Err(other(format!(
            "it said more than the {} bytes it was asked for",
            call.most
        ))),
    }
}

/// The streams of a command.
struct Ends<I, O, C> {
    input: I,
    output: O,
    complaints: C,
}

/// Why there is nothing to be told of a command.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    Quiet,
    TooMuch,
    Unheard,
}

/// Gives a command its input, and hears all that it says, until it has ended or the connection has.
///
/// The library closes neither stream when its connection breaks: what tells then is the status, which comes or fails.
async fn converse(
    ends: Ends<impl AsyncWrite + Unpin, impl AsyncRead + Unpin, impl AsyncRead + Unpin>,
    status: impl Future<Output = Option<String>>,
    mut input: &[u8],
    most: usize,
    heard: Option<&Sender<Vec<u8>>>,
) -> Result<Said, Cut> {
    let Ends {
        input: mut writer,
        mut output,
        mut complaints,
    } = ends;
    let mut status = std::pin::pin!(status);
    let (mut ended, mut how) = (false, None);
    let (mut speaks, mut complains) = (true, true);
    let (mut out, mut complaint) = (Vec::new(), Vec::new());
    let mut dropped = false;
    while !ended || speaks || complains {
        let bound = if ended || !speaks { LAST_WORDS } else { QUIET };
        if heard.is_some() {
            out.reserve(PIECE);
        }
        tokio::select! {
            written = writer.write(input), if !ended && !input.is_empty() => match written {
                Ok(count) if count > 0 => input = &input[count..],
                // It takes no more; what it says of that is still to be heard.
                _ => input = &[],
            },
            read = output.read_buf(&mut out), if speaks => {
                speaks = read.is_ok_and(|count| count > 0);
                match heard {
                    Some(heard) if !out.is_empty() => {
                        let sent = heard.send(std::mem::take(&mut out)).await;
                        sent.map_err(|_| Cut::Unheard)?;
                    }
                    None if out.len() > most => return Err(Cut::TooMuch),
                    _ => {}
                }
            }
            read = complaints.read_buf(&mut complaint), if complains => {
                complains = read.is_ok_and(|count| count > 0);
                match heard {
                    Some(_) => {
                        let over = complaint.len().saturating_sub(LAST_COMPLAINTS);
                        if over > OVER {
                            complaint.drain(..over);
                            dropped = true;
                        }
                    }
                    None => complaint.truncate(MOST_COMPLAINTS),
                }
            }
            told = &mut status, if !ended => (ended, how) = (true, told),
            () = sleep(bound) => {
                if ended || !speaks {
                    break;
                }
                return Err(Cut::Quiet);
            }
        }
    }
    if dropped {
        complaint.splice(..0, DROPPED.bytes());
    }
    let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
    Ok(Said {
        out,
        complaint: if complaint.is_empty() {
            how.unwrap_or_default()
        } else {
            complaint
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::DuplexStream, sync::oneshot};

    /// The command's ends.
    struct Command {
        input: DuplexStream,
        output: DuplexStream,
        complaints: DuplexStream,
        status: oneshot::Sender<Option<String>>,
    }

    type Ours = Ends<DuplexStream, DuplexStream, DuplexStream>;

    fn pair() -> (Ours, impl Future<Output = Option<String>>, Command) {
        let (ours, input) = tokio::io::duplex(16);
        let (output, out) = tokio::io::duplex(16);
        let (complaints, err) = tokio::io::duplex(16);
        let (status, told) = oneshot::channel();
        let ends = Ends {
            input: ours,
            output,
            complaints,
        };
        let command = Command {
            input,
            output: out,
            complaints: err,
            status,
        };
        let told = async { told.await.ok().flatten() };
        (ends, told, command)
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_is_given_arrives_and_all_that_is_said_is_heard() {
        let (ends, told, mut command) = pair();
        let input: Vec<u8> = (0..1000_u32)
            .map(|number| number.to_le_bytes()[0])
            .collect();
        let given = input.clone();
        let works = tokio::spawn(async move {
            let mut got = vec![0; given.len()];
            command.input.read_exact(&mut got).await.expect("all of it");
            assert!(got == given);
            command.output.write_all(&got).await.expect("room");
            command
                .complaints
                .write_all(b"so so\n")
                .await
                .expect("room");
            command.status.send(Some("exit code 1".to_owned())).ok();
        });
        let said = converse(ends, told, &input, 1000, None)
            .await
            .expect("an answer");
        works.await.expect("no panic");
        assert_eq!(said.out, input);
        assert_eq!(said.complaint, "so so");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_breaks_ends_it_and_nothing_is_waited_for() {
        let (ends, told, command) = pair();
        let Command {
            mut output,
            complaints,
            input,
            status,
        } = command;
        output.write_all(b"half").await.expect("room");
        drop(status);
        let begun = tokio::time::Instant::now();
        let said = converse(ends, told, &[7; 64], 100, None)
            .await
            .expect("an answer");
        assert_eq!(said.out, b"half");
        assert!(begun.elapsed() < QUIET, "{:?}", begun.elapsed());
        drop((output, complaints, input));
    }

    #[tokio::test(start_paused = true)]
    async fn how_it_ended_is_told_where_it_complained_of_nothing() {
        let (ends, told, command) = pair();
        let Command { status, .. } = command;
        status.send(Some("exit code 127".to_owned())).ok();
        let said = converse(ends, told, &[], 100, None)
            .await
            .expect("an answer");
        assert_eq!(said.complaint, "exit code 127");
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_and_what_says_too_much_are_left() {
        let (ends, told, hangs) = pair();
        assert_eq!(
            converse(ends, told, &[1; 64], 100, None).await,
            Err(Cut::Quiet)
        );
        drop(hangs);
        let (ends, told, mut command) = pair();
        command.output.write_all(b"too much").await.expect("room");
        assert_eq!(converse(ends, told, &[], 7, None).await, Err(Cut::TooMuch));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_listened_to_is_given_away_and_of_complaints_the_end_is_kept() {
        let (ends, told, mut command) = pair();
        let (heard, mut hears) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
        let works = tokio::spawn(async move {
            command.output.write_all(&[7; 1000]).await.expect("room");
            let lines = vec![b'.'; LAST_COMPLAINTS + OVER];
            command.complaints.write_all(&lines).await.expect("room");
            command.complaints.write_all(b"end").await.expect("room");
            command.status.send(None).ok();
        });
        let listens = async {
            let mut all = 0;
            while let Some(piece) = hears.recv().await {
                all += piece.len();
                if all == 1000 {
                    break;
                }
            }
            all
        };
        let conversing = converse(ends, told, &[], 0, Some(&heard));
        let (said, all) = tokio::join!(conversing, listens);
        works.await.expect("no panic");
        let said = said.expect("an answer");
        assert_eq!((said.out, all), (Vec::new(), 1000));
        assert_eq!(said.complaint.len(), DROPPED.len() + LAST_COMPLAINTS);
        assert!(said.complaint.starts_with(DROPPED) && said.complaint.ends_with("end"));

        let (ends, told, mut command) = pair();
        drop(hears);
        command.output.write_all(b"hallo").await.expect("room");
        let said = converse(ends, told, &[], 0, Some(&heard)).await;
        assert_eq!(said, Err(Cut::Unheard));
    }
}
