//! Several clients at one target, and what takes long.
use std::{fs, sync::Arc, time::Duration};

use super::{
    super::fill::Target,
    told,
    world::{FILLS, Fault, World, program, programs, real_tar},
};
use crate::{steps::movers::retry::Loss, transfer::RoundKind};

#[tokio::test]
async fn who_was_taken_over_from_pours_nothing_any_more() {
    let world = World::new();
    let shells = world.shells(Fault::None);
    let target = &shells.target;
    target.begin("session.1.old").await.expect("a beginning");
    let (pieces, poured) = tokio::sync::mpsc::channel(1);
    let pouring = target.pour("session.1.old", poured, |_| ());
    let other = async {
        shells.round(RoundKind::Final).await.expect("a round");
        pieces.send(vec![0; 200_000]).await.expect("room");
        drop(pieces);
    };
    let (poured, ()) = tokio::join!(pouring, other);
    let lost = poured.expect_err("it is gone");
    assert!(told(&lost).contains("another client took over"), "{lost}");
    world.is_moved();
}

#[tokio::test]
async fn what_still_unpacks_ends_before_the_volume_is_wiped() {
    let world = World::new();
    let target = world.shells(Fault::None).target;
    let tar = std::process::Command::new("tar")
        .args(["-c", "-C"])
        .arg(world.path("source"))
        .arg(".")
        .output()
        .expect("a tar");
    target.begin("session.1.old").await.expect("a beginning");
    let (pieces, poured) = tokio::sync::mpsc::channel(1);
    pieces
        .send(tar.stdout[..150_000].to_vec())
        .await
        .expect("room");
    drop(pieces);
    target
        .pour("session.1.old", poured, |_| ())
        .await
        .expect("it is there");
    target.wipe().await.expect("it is ours");
    assert!(!world.path("session/session.1.old").exists());
    assert_eq!(world.names(), ["lost+found"]);
}

#[tokio::test]
async fn a_session_that_ended_without_a_word_is_in_nobody_s_way() {
    let world = World::new();
    let shells = world.shells(Fault::None);
    shells
        .target
        .begin("session.1.killed")
        .await
        .expect("a beginning");
    let session = world.path("session/session.1.killed");
    let process = fs::read_to_string(session.join("pid")).expect("its shell");
    let killed = std::process::Command::new("kill")
        .args(["-9", process.trim()])
        .status();
    assert!(killed.expect("a kill").success());
    // One whose folder was full has less.
    let torn = world.path("session/session.1.torn");
    fs::create_dir(&torn).expect("room");
    shells.round(RoundKind::Final).await.expect("a round");
    assert!(!session.exists() && !torn.exists());
    world.is_moved();
}

#[tokio::test]
async fn an_older_client_changes_nothing_of_a_newer_one_s() {
    let world = World::new();
    let mut newer = world.shells(Fault::None);
    (newer.fence, newer.target.fence) = (2, 2);
    newer.round(RoundKind::Final).await.expect("a round");
    newer
        .target
        .again("session.2.x")
        .await
        .expect("a beginning");
    let older = world.shells(Fault::None).target;
    let (pieces, piece) = tokio::sync::mpsc::channel(1);
    pieces.send(vec![0; 10]).await.expect("room");
    drop(pieces);
    for lost in [
        older.begin("session.1.x").await.err(),
        older.again("session.1.x").await.err(),
        older.pour("session.2.x", piece, |_| ()).await.err(),
        older.close("session.2.x").await.err(),
        older.wipe().await.err(),
        older.finish().await.err(),
    ] {
        let lost = lost.expect("it is fenced");
        assert!(told(&lost).starts_with("never: "), "{lost}");
        assert!(told(&lost).contains('2'), "{lost}");
    }
    let session = world.path("session/session.2.x");
    assert_eq!(
        fs::read_to_string(session.join("at")).expect("a number"),
        "0\n"
    );
    assert!(!session.join("eof").exists());
    world.is_moved();
}

#[tokio::test]
async fn a_command_that_comes_late_is_not_obeyed() {
    let world = World::new();
    let shells = world.shells(Fault::None);
    let late = shells.target.command(&["begin", "session.1.late"]);
    shells.round(RoundKind::Final).await.expect("a round");
    let said = (shells.target.shell.run)(late.clone(), Vec::new(), 1 << 16).await;
    let said = said.expect("an answer");
    assert!(said.out.starts_with(b"late "), "{said:?}");
    assert!(!world.path("session/session.1.late").exists());
    world.is_moved();
    // Another part of the same client goes on from there, and by then it is late as well.
    let target = world.shells(Fault::None).target;
    target.again("session.1.x").await.expect("a beginning");
    let (pieces, piece) = tokio::sync::mpsc::channel(1);
    pieces.send(vec![0; 10_240]).await.expect("room");
    drop(pieces);
    let poured = target.pour("session.1.x", piece, |_| ()).await;
    poured.expect("it is there");
    target.close("session.1.x").await.expect("an end");
    target.finish().await.expect("an end");
    (shells.target.shell.run)(late, Vec::new(), 1 << 16)
        .await
        .expect("an answer");
    world.is_moved();
}

#[tokio::test]
async fn whoever_begins_anew_is_not_overtaken_by_what_it_gave_up() {
    let world = World::new();
    let sent = || {
        let shell = world.shells(Fault::None).target.shell;
        let command = Target::new(shell, "r1-0".to_owned(), 1).command(&["begin", "session.1.x"]);
        let [.., turn, _, _] = &command[..] else {
            panic!("no turn: {command:?}");
        };
        turn.parse::<u64>().expect("a number")
    };
    let (first, second) = (sent(), sent());
    assert!(first < second, "{first} {second}");
}

#[tokio::test]
async fn what_somebody_still_deletes_ends_before_anybody_else_fills() {
    let world = World::new();
    let first = world.shells(Fault::None);
    first.round(RoundKind::Final).await.expect("a round");
    // An older client's command hangs in the middle, and nobody listens to it any more.
    let (asked, go) = (world.path("asked"), world.path("go"));
    let place = programs(&FILLS, "exit 2");
    let waits = format!(
        "case \"$*\" in *target/a) : >'{}'; until [ -e '{}' ]; do /bin/sleep 0.01; done ;; esac; exec /bin/rm \"$@\"",
        asked.display(),
        go.display()
    );
    program(&place, "rm", &waits);
    let path = Some(place.path().to_owned());
    let mut older = world.shells_of(Fault::None, &["/bin/sh"], path).target;
    older.turn = first.target.turn;
    let hangs = tokio::spawn((older.shell.run)(
        older.command(&["wipe"]),
        Vec::new(),
        1 << 16,
    ));
    until(|| asked.exists()).await;
    let mut newer = world.shells(Fault::None);
    (newer.fence, newer.target.fence) = (2, 2);
    let rounded = newer.round(RoundKind::Final);
    let holder = world.path("session/holder");
    let before = fs::read_to_string(&holder).expect("somebody");
    let goes = async {
        until(|| fs::read_to_string(&holder).is_ok_and(|now| !now.is_empty() && now != before))
            .await;
        // It waits, and has deleted nothing beside the other.
        assert!(world.path("target/z").exists());
        fs::write(&go, "").expect("room");
    };
    let (rounded, ()) = tokio::join!(rounded, goes);
    rounded.expect("a round");
    let said = hangs.await.expect("no panic").expect("an end");
    assert_eq!(String::from_utf8_lossy(&said.out), "lost\nend\n");
    world.is_moved();
    assert!(world.path("target/z").exists());
}

/// Waits until it is so.
async fn until(so: impl Fn() -> bool) {
    let waits = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), waits).await;
    waited.expect("within a minute");
}

#[tokio::test]
async fn a_target_hears_that_more_will_come() {
    let world = World::new();
    let mut target = world.shells(Fault::None).target;
    target.stays = std::time::Duration::from_millis(20);
    target.begin("session.1.old").await.expect("a beginning");
    let (pieces, poured) = tokio::sync::mpsc::channel(1);
    let pouring = target.pour("session.1.old", poured, |_| ());
    let other = async {
        while !world.path("session/session.1.old/alive").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        fs::rename(world.path("session/session.1.old"), world.path("elsewhere")).expect("room");
    };
    let (lost, ()) = tokio::join!(pouring, other);
    drop(pieces);
    let lost = lost.expect_err("it is gone");
    assert!(told(&lost).starts_with("passing: "), "{lost}");
    let short = target.unpacked(2, &["tar: Unexpected EOF in archive".to_owned()]);
    assert!(matches!(short, Err(Loss::Passing(_))));
}

#[tokio::test]
async fn what_takes_long_is_heard_of() {
    let world = World::new();
    let place = programs(&FILLS, &format!("exec {} \"$@\"", real_tar()));
    program(&place, "sleep", "exec /bin/sleep 0.01");
    program(&place, "rm", "/bin/sleep 0.3; exec /bin/rm \"$@\"");
    let path = Some(place.path().to_owned());
    let mut target = world.shells_of(Fault::None, &["/bin/sh"], path).target;
    let whole = world.shells(Fault::None);
    target.turn = Arc::clone(&whole.target.turn);
    for (words, wanted) in [
        (&["begin", "session.1.x"][..], "open\n"),
        (&["finish"], "finished\n"),
        (&["wipe"], "wiped 5\n"),
    ] {
        if words[0] != "finish" {
            whole.round(RoundKind::Final).await.expect("a round");
        }
        let said = (target.shell.run)(target.command(words), Vec::new(), 1 << 16).await;
        let said = said.expect("an answer");
        let complaint = said.complaint;
        assert!(complaint.contains("alive"), "{words:?}: {complaint}");
        assert_eq!(String::from_utf8_lossy(&said.out), format!("{wanted}end\n"));
        assert!(!world.path("target/z").exists());
    }
}

#[tokio::test]
async fn no_command_is_longer_than_a_line_of_a_request() {
    let target = World::new().shells(Fault::None).target;
    let source = World::new().shells(Fault::None).source;
    let long = "f".repeat(64);
    let append = [
        "append",
        "session.4294967296.12345678",
        "1099511627776",
        "8388608",
        &long,
        "12345678",
    ];
    for command in [
        target.command(&["begin", "session.4294967296.12345678"]),
        target.command(&append),
        source.reading(&["read", "kubectl-migrate-1234567890123456", "1099511627776"]),
    ] {
        let letters = command.iter().flat_map(|word| word.bytes());
        let encoded: usize = letters
            .map(|letter| match letter {
                b' ' | b'*' | b'-' | b'.' | b'_' => 1,
                letter if letter.is_ascii_alphanumeric() => 1,
                _ => 3,
            })
            .sum();
        // Proxies let lines be 8 KiB long, and names of pods, namespaces and containers come before.
        assert!(encoded < 7 << 10, "{encoded}: {command:?}");
        assert!(!command.concat().contains("# "), "{command:?}");
    }
}
