//! What must not happen, does not, and is told by its type.
use super::pair::{Pair, RUN, config, round};
use super::snapshot::assert_same;
use super::tree::hostile;
use crate::transfer::control::{Control, ControlError};
use crate::transfer::fault::Fault;
use crate::transfer::frame::{FrameError, greeting_of};
use crate::transfer::keys::{ClientKeys, RunKeys};
use crate::transfer::mover::{Ended, Mover, MoverError};
use crate::transfer::recollection::Reading;
use crate::transfer::report::{Ownership, Reach, RoundKind, Shape};
use crate::transfer::side::Side;
use crate::transfer::tls;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn fault<T: std::fmt::Debug>(result: Result<T, ControlError>) -> Fault {
    match result {
        Err(ControlError::Fault(fault)) => fault,
        other => panic!("a fault was expected, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_open_nothing() {
    let pair = Pair::new();
    let strangers = ClientKeys::from_files(&RunKeys::generate().unwrap().client_files()).unwrap();
    let stream = tokio::net::TcpStream::connect(pair.address(Side::Target))
        .await
        .unwrap();
    let error = Control::connect(stream, &strangers, Side::Target, 9)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, ControlError::Connection { .. }),
        "{error:?}"
    );
    // The right mover's certificate, but keys that the mover does not know.
    let mut files = RunKeys::generate().unwrap().client_files();
    files.insert(
        "target.pem".into(),
        pair.keys.client_files()["target.pem"].clone(),
    );
    let stream = tokio::net::TcpStream::connect(pair.address(Side::Target))
        .await
        .unwrap();
    let stranger = ClientKeys::from_files(&files).unwrap();
    let error = Control::connect(stream, &stranger, Side::Target, 9)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, ControlError::Connection { .. }),
        "{error:?}"
    );
    // The other mover's port, taken for this one's.
    let stream = tokio::net::TcpStream::connect(pair.address(Side::Source))
        .await
        .unwrap();
    Control::connect(stream, &pair.client_keys(), Side::Target, 9)
        .await
        .err()
        .unwrap();
    // None of them was heard: a lower number is still taken.
    pair.control(Side::Target, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_named_on_both_sides() {
    let pair = Pair::new();
    let config = tls::client_to_mover(&pair.client_keys(), Side::Target).unwrap();
    let tcp = tokio::net::TcpStream::connect(pair.address(Side::Target))
        .await
        .unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(config)
        .connect(tls::any_name(), tcp)
        .await
        .unwrap();
    stream.write_all(&greeting_of(99, "9.9.9")).await.unwrap();
    stream.flush().await.unwrap();
    // The mover leaves; a client that meets such a mover says both versions.
    let mut heard = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut heard).await;
    assert_eq!(heard, crate::transfer::frame::greeting());
    let error = crate::transfer::frame::check_greeting(99, b"9.9.9").unwrap_err();
    assert!(matches!(
        error,
        FrameError::Version {
            their_protocol: 99,
            ..
        }
    ));
    assert!(
        error.to_string().contains("9.9.9")
            && error.to_string().contains(crate::transfer::frame::VERSION)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_fencing_number_is_refused() {
    let pair = Pair::new();
    let mut old = pair.control(Side::Target, 4).await.unwrap();
    let newer = pair.control(Side::Target, 5).await.unwrap();
    assert_eq!(
        fault(old.inspect(RUN).await),
        Fault::Fenced {
            yours: 4,
            highest: 5
        }
    );
    old.set_fence(5);
    assert_eq!(fault(old.inspect(RUN).await), Fault::Superseded);
    drop(newer);
    let error = pair.control(Side::Target, 4).await.err().unwrap();
    assert!(
        matches!(
            error,
            ControlError::Fault(Fault::Fenced {
                yours: 4,
                highest: 5
            })
        ),
        "{error:?}"
    );
}

/// To digest this takes minutes.
fn endless(pair: &Pair) {
    let file = fs::File::create(pair.source().join("hole")).unwrap();
    file.set_len(1 << 40).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_connection_stops_the_operation_of_an_older_one() {
    let pair = Pair::new();
    let mut old = pair.connected().await;
    round(&mut old, RoundKind::Warm).await.unwrap();
    endless(&pair);
    let working = Arc::new(AtomicBool::new(false));
    let seen = working.clone();
    let running = tokio::spawn(async move {
        old.verify(RUN, &[], Reading::Afresh, &mut |_| {
            seen.store(true, Ordering::Release);
        })
        .await
    });
    while !working.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    let mut newer = pair.control(Side::Target, 1).await.unwrap();
    assert_eq!(fault(running.await.unwrap()), Fault::Superseded);
    assert_eq!(newer.inspect(RUN).await.unwrap().ownership, Ownership::Ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_stops_its_operation() {
    let pair = Pair::new();
    endless(&pair);
    let mut client = pair.connected().await;
    let working = Arc::new(tokio::sync::Notify::new());
    let seen = working.clone();
    let running = tokio::spawn(async move {
        client
            .verify(RUN, &[], Reading::Afresh, &mut |_| seen.notify_one())
            .await
    });
    working.notified().await;
    running.abort();
    // The mover stops when it is told to, which it only does when nothing is under way.
    assert_eq!(pair.stop().await, [Ended::Stopped, Ended::Stopped]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_data_of_others_is_left_alone() {
    let pair = Pair::new();
    fs::write(pair.source().join("file"), b"x").unwrap();
    fs::create_dir(pair.target().join("precious")).unwrap();
    fs::write(pair.target().join("precious/data"), b"y").unwrap();
    let mut client = pair.connected().await;
    let found = client.inspect(RUN).await.unwrap();
    assert_eq!(
        (found.ownership, found.entries, found.bytes),
        (Ownership::Foreign, 2, 1)
    );
    let refused = fault(round(&mut client, RoundKind::Warm).await);
    assert!(
        matches!(&refused, Fault::Foreign { entries: 2, examples } if examples[0].as_bytes() == b"precious")
    );
    assert!(matches!(
        fault(client.wipe(RUN, &mut |_| {}).await),
        Fault::Foreign { .. }
    ));
    assert_eq!(fs::read(pair.target().join("precious/data")).unwrap(), b"y");
    assert!(!pair.target().join("file").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_run_the_wrong_side_and_no_peer() {
    let pair = Pair::new();
    let mut target = pair.control(Side::Target, 1).await.unwrap();
    assert_eq!(
        fault(round(&mut target, RoundKind::Warm).await),
        Fault::NoPeer
    );
    let other = target
        .round("other", RoundKind::Warm, false, &mut |_| {})
        .await;
    assert_eq!(
        fault(other),
        Fault::OtherRun {
            yours: "other".into(),
            theirs: RUN.into()
        }
    );
    let mut source = pair.control(Side::Source, 1).await.unwrap();
    assert_eq!(
        fault(round(&mut source, RoundKind::Warm).await),
        Fault::WrongSide { side: Side::Source }
    );
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let Reach::Declined { reason } = target.reach(&nobody.to_string(), 1).await.unwrap() else {
        panic!()
    };
    assert!(
        reason.contains(&nobody.to_string()) && reason.contains("refused"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_the_name_of_the_working_directory_is_refused() {
    let pair = Pair::new();
    fs::create_dir(pair.source().join(format!(".kubectl-migrate-{RUN}"))).unwrap();
    let refused = fault(round(&mut pair.connected().await, RoundKind::Warm).await);
    assert!(
        matches!(refused, Fault::NameTaken { path } if path.to_string() == format!(".kubectl-migrate-{RUN}"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_to_is_left_out_warm_and_an_error_at_last() {
    let pair = Pair::new();
    let path = pair.source().join("busy");
    // Larger ones go by blocks.
    fs::write(&path, vec![1; 15 << 20]).unwrap();
    fs::write(pair.source().join("quiet"), b"x").unwrap();
    let (stop, stopped) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let writer = {
        let (stop, path, stopped) = (stop.clone(), path.clone(), stopped.clone());
        std::thread::spawn(move || {
            let file = fs::File::options().write(true).open(path).unwrap();
            while !stop.load(Ordering::Acquire) {
                std::os::unix::fs::FileExt::write_all_at(
                    &file,
                    b"x",
                    stopped.fetch_add(1, Ordering::Relaxed) % 1000,
                )
                .unwrap();
            }
        })
    };
    // Reading takes so long that a writer who has to wait for a processor comes to write meanwhile.
    let limit = async |limit| {
        let mut source = pair.control(Side::Source, 1).await.unwrap();
        source.limit(limit).await.unwrap();
    };
    limit(Some(15 << 20)).await;
    let warm = pair.round(RoundKind::Warm).await;
    let last = round(&mut pair.connected().await, RoundKind::Final).await;
    limit(None).await;
    stop.store(true, Ordering::Release);
    writer.join().unwrap();
    assert_eq!((warm.changed, warm.files_moved), (1, 1), "{warm:?}");
    assert_eq!(warm.changed_examples[0].as_bytes(), b"busy");
    assert!(matches!(fault(last), Fault::Changed { count: 1, .. }));
    assert!(!pair.target().join("busy").exists());
    assert_eq!(pair.round(RoundKind::Final).await.files_moved, 1);
    assert_eq!(
        fs::read(path).unwrap(),
        fs::read(pair.target().join("busy")).unwrap()
    );
}

/// Passes bytes on, and cuts every connection once so many of them came from the other end.
fn cut_after(to: SocketAddr, bytes: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let left = Arc::new(AtomicU64::new(bytes));
    std::thread::spawn(move || {
        while let Ok((near, _)) = listener.accept() {
            let far = TcpStream::connect(to).unwrap();
            let (near_back, far_back) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || pass(near, far, &AtomicU64::new(u64::MAX)));
            let left = left.clone();
            std::thread::spawn(move || pass(far_back, near_back, &left));
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, left: &AtomicU64) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let enough = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(count as u64)
        });
        if enough.is_err() || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_named_and_the_next_round_sends_the_rest_only() {
    for cut in [100, 9_000, 60_000, 400_000, 3_000_000, 9_000_000] {
        let pair = Pair::new();
        hostile(&pair.source());
        let mut client = pair.control(Side::Target, 1).await.unwrap();
        let through = cut_after(pair.address(Side::Source), cut);
        match client.reach(&through.to_string(), 2).await.unwrap() {
            Reach::Declined { .. } => assert!(cut < 20_000, "{cut}"),
            Reach::Reached { .. } => {
                let lost = fault(round(&mut client, RoundKind::Warm).await);
                assert!(
                    matches!(lost, Fault::PeerLost { .. }) && lost.is_transient(),
                    "{cut}: {lost:?}"
                );
            }
        }
        let there = |name: &str| pair.target().join(name).exists();
        let before = (0..700)
            .filter(|number| there(&format!("many/{number}")))
            .count() as u64;
        let rest = pair.round(RoundKind::Warm).await;
        assert!(
            rest.files_same >= before,
            "{cut}: {before} were there, {rest:?}"
        );
        let again = pair.round(RoundKind::Warm).await;
        assert_eq!(
            (again.files_moved, again.files_same),
            (0, rest.files_same + rest.files_moved),
            "{cut}"
        );
        pair.connected().await.finish(RUN).await.unwrap();
        assert_same(&pair.source(), &pair.target());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_device_is_refused_with_both_sizes() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("source"), vec![1; 3 << 20]).unwrap();
    fs::write(directory.path().join("target"), vec![0; 2 << 20]).unwrap();
    let pair = Pair::start(directory, Shape::Device);
    let refused = fault(round(&mut pair.connected().await, RoundKind::Warm).await);
    assert_eq!(
        refused,
        Fault::TooSmall {
            source_bytes: 3 << 20,
            target_bytes: 2 << 20
        }
    );
    assert_eq!(fs::read(pair.target()).unwrap(), vec![0; 2 << 20]);
}

#[test]
fn a_mover_nobody_needs_ends_and_one_that_cannot_serve_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let keys = RunKeys::generate().unwrap();
    let mut config = config(
        &keys,
        directory.path(),
        Side::Source,
        directory.path().to_owned(),
        Shape::Directory,
    );
    config.idle_limit = Duration::ZERO;
    assert_eq!(crate::transfer::mover::serve(&config).unwrap(), Ended::Idle);
    config.run = "../escape".into();
    assert!(matches!(Mover::bind(&config), Err(MoverError::Run(_))));
    config.run = RUN.into();
    config.path = directory.path().join("nowhere");
    assert!(matches!(
        Mover::bind(&config),
        Err(MoverError::Volume { .. })
    ));
    fs::remove_file(config.keys.join("peer.pem")).unwrap();
    assert!(
        matches!(Mover::bind(&config), Err(MoverError::KeyFile { path, .. }) if path.ends_with("peer.pem"))
    );
}

/// A file system that is gone when the test ends, however it ends.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: std::path::PathBuf) -> Self {
        let options = ["-t", "tmpfs", "-o", "size=4m,nr_inodes=200", "tmpfs"];
        let mounted = std::process::Command::new("mount")
            .args(options)
            .arg(&at)
            .status()
            .unwrap();
        assert!(
            mounted.success(),
            "the tests that fill a disk need the right to mount one"
        );
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .args(["-l"])
            .arg(&self.0)
            .status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_target_is_named_and_goes_on_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("source")).unwrap();
    fs::create_dir(directory.path().join("target")).unwrap();
    let disk = SmallDisk::mount(directory.path().join("target"));
    let pair = Pair::start(directory, Shape::Directory);
    fs::write(pair.source().join("small"), b"fits").unwrap();
    fs::write(pair.source().join("too large"), vec![1; 5 << 20]).unwrap();
    let full = fault(round(&mut pair.connected().await, RoundKind::Warm).await);
    let named =
        matches!(&full, Fault::Full { path, free_bytes: 0, .. } if path.as_bytes() == b"too large");
    assert!(named, "{full:?}");
    fs::remove_file(pair.source().join("too large")).unwrap();
    for number in 0..300 {
        fs::write(pair.source().join(number.to_string()), b"").unwrap();
    }
    let full = fault(round(&mut pair.connected().await, RoundKind::Warm).await);
    assert!(
        matches!(&full, Fault::Full { free_inodes: 0, .. }),
        "{full:?}"
    );
    for number in 0..250 {
        fs::remove_file(pair.source().join(number.to_string())).unwrap();
    }
    pair.round(RoundKind::Final).await;
    pair.connected().await.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
    pair.stop().await;
    drop(disk);
}
