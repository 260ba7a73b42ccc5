//! No program of ours runs in any pod: volumes go as tars, by commands in pods.
use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{
    proxy::{Fate, Proxy, Seen},
    small::{NAME, Small},
    support::{CLUSTER, On, end, output_of},
    tree,
};

/// An image with GNU's tools, as most workloads' are.
const GNU: &str = "localhost/gnu:1";
const PROGRAMS: [&str; 23] = [
    "sh",
    "tar",
    "sha256sum",
    "tee",
    "tail",
    "wc",
    "sleep",
    "du",
    "head",
    "cat",
    "mkfifo",
    "mkdir",
    "rmdir",
    "mv",
    "rm",
    "sync",
    "touch",
    "ls",
    "ln",
    "seq",
    "test",
    "env",
    "true",
];
/// The channel of a command's output, in the messages of its connection.
const OUTPUT: u8 = 1;

/// Makes that image of this machine's own programs, and what they need.
fn make_gnu_image() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bin = folder.path().join("bin");
    fs::create_dir_all(&bin)?;
    for program in PROGRAMS {
        let found = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(program));
        let found = found.iter().find(|path| path.exists()).context(program)?;
        fs::copy(found, bin.join(program))?;
        for word in output_of(Command::new("ldd").arg(found))?.split_whitespace() {
            if word.starts_with('/') {
                let library = folder.path().join(word.trim_start_matches('/'));
                fs::create_dir_all(library.parent().context("a folder")?)?;
                fs::copy(word, library)?;
            }
        }
    }
    output_of(
        Command::new(CLUSTER)
            .args(["image", GNU])
            .arg(folder.path()),
    )?;
    Ok(())
}

/// Passes on what a server says of a command, but for its output behind so many bytes of it.
pub async fn truncated(
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    most: usize,
) -> Result<()> {
    let mut left = most;
    loop {
        // A frame: what it is, its length in 7, 16 or 64 bits, and its contents, of which the first is the channel.
        let mut head = vec![0; 2];
        if server.read_exact(&mut head).await.is_err() {
            client.shutdown().await?;
            return Ok(());
        }
        let more = match head[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        head.resize(2 + more, 0);
        server.read_exact(&mut head[2..]).await?;
        let mut length = [0; 8];
        length[8 - more..].copy_from_slice(&head[2..]);
        let length = match more {
            0 => u64::from(head[1]),
            _ => u64::from_be_bytes(length),
        };
        let mut contents = vec![0; usize::try_from(length)?];
        server.read_exact(&mut contents).await?;
        if contents.first() == Some(&OUTPUT) && head[0] & 0x0f == 2 {
            let said = contents.len() - 1;
            if said > left {
                // Nor does anything that would fit: of what is cut off there is only the beginning.
                left = 0;
                continue;
            }
            left -= said;
        }
        client.write_all(&head).await?;
        client.write_all(&contents).await?;
    }
}

/// Whether a request has a volume told.
fn tells(seen: &Seen) -> bool {
    let deeds = ["read", "check"];
    seen.target.contains("/exec?")
        && deeds.iter().any(|deed| {
            let command = format!("command={deed}&command=kubectl-migrate-");
            seen.target.contains(&command)
        })
}

/// Whether a request brings a piece.
fn pours(seen: &Seen) -> bool {
    seen.target.contains("/exec?") && seen.target.contains("command=append")
}

fn with_exec(name: &str, change: impl FnOnce(&mut Value, &mut Value)) -> Result<Small> {
    Small::with(name, |plan, object| {
        plan["mover"] = json!({"ways": ["exec"]});
        let claim = &mut object["spec"]["volumeClaimTemplates"][0]["spec"];
        claim["resources"]["requests"]["storage"] = json!("1Gi");
        change(plan, object);
    })
}

#[test]
fn asleep_a_volume_goes_by_exec_whatever_cuts_it_off() -> Result<()> {
    make_gnu_image()?;
    let small = with_exec("exec", |plan, object| {
        plan["freeze"] = json!({"mode": "sleep", "max": "10m"});
        // Its own pod alone may have it, and reads it.
        object["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] =
            json!(["ReadWriteOncePod"]);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(GNU);
    })?;
    let (source, target) = (&small.source, &small.target);
    tree::fill(&source.folder("data-db-0")?)?;
    let (told, poured) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let proxy = Proxy::new(On::A, {
        let (told, poured) = (Arc::clone(&told), Arc::clone(&poured));
        move |seen| {
            if tells(seen) {
                return match told.fetch_add(1, Ordering::Relaxed) {
                    // Cut off, and it looks as if it had ended well. Both sides are read back at once.
                    0 | 2 | 4 | 6 | 7 => Fate::Truncate(3 << 20),
                    _ => Fate::Pass,
                };
            }
            if pours(seen) {
                return match poured.fetch_add(1, Ordering::Relaxed) {
                    1 => Fate::Break(1 << 20),
                    2 => Fate::Change(100_000),
                    3 => Fate::KillBefore,
                    _ => Fate::Pass,
                };
            }
            Fate::Pass
        }
    })?;
    let killed = proxy.end(small.run()?)?;
    ensure!(killed.code.is_none(), "{killed:?}");
    let ended = proxy.end(small.run()?)?.with_code(13)?;
    ensure!(
        ended
            .err
            .contains("its bytes go by exec: told by the GNU tar of"),
        "{}",
        ended.err
    );
    let told = told.load(Ordering::Relaxed);
    ensure!(told > 9, "it was told {told} times, and cut off too seldom");

    tree::assert_equal(
        &source.folder("data-db-0")?,
        &target.folder("data-db-0")?,
        1,
    )?;
    let report = source.report(NAME)?;
    let verified = &report["outputs"]["verify"]["volumes"][0];
    ensure!(
        verified["source_digest"].is_string()
            && verified["source_digest"] == verified["target_digest"]
            && verified["differences"] == 0,
        "{verified}"
    );
    let copied = &report["outputs"]["final-copy"]["volumes"][0];
    ensure!(copied["way"] == "exec", "{copied}");
    ensure!(copied["findings"][0]["what"] == "socket", "{copied}");
    // It was told in its own pod, which sleeps, and no Job was next to it.
    ensure!(source.get("statefulset/db")?["spec"]["replicas"] == 1);
    ensure!(
        ended
            .err
            .contains(&format!("container db of pod {}/db-0", source.name))
    );
    target.ready("statefulset/db")?;
    end(small.migrate(&["rollback", NAME, "-q", "--confirm", NAME])?)?.with_code(0)?;
    small.is_back()?;
    Ok(())
}

#[test]
fn what_cannot_go_by_exec_is_declined_before_anything_is_frozen() -> Result<()> {
    let small = with_exec("exec-no", |_, _| ())?;
    let plan = small.plan();
    let run = |more: &[&str]| {
        let words = [&["run", "-f", plan.as_str()], more].concat();
        end(small.migrate(&words)?)
    };
    run(&["--mover-image", "localhost/etcd:3.6"])?
        .with_code(10)?
        .says(&["the image needs a shell (`sh`)", "--mover-image"])?;
    let now = small.source.get("statefulset/db")?;
    ensure!(now["spec"] == small.spec, "{now}");
    let back = || {
        let words = ["rollback", NAME, "-q", "--confirm", NAME];
        end(small.migrate(&words)?)?.with_code(0)
    };
    back()?;
    // The workload's own image has all that is needed, and knows whole seconds.
    run(&[])?.with_code(13)?;
    let report = small.source.report(NAME)?;
    let copied = &report["outputs"]["final-copy"]["volumes"][0];
    let named: Vec<_> = copied["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    ensure!(
        named.iter().any(|found| found["what"] == "fraction"),
        "{copied}"
    );
    // Both sides are read once more, by the same way.
    end(small.migrate(&["report", NAME, "--verify"])?)?.with_code(0)?;
    back()?;
    small.is_back()?;
    Ok(())
}

#[test]
fn one_volume_is_copied_by_exec_with_a_limit() -> Result<()> {
    let small = with_exec("exec-copy", |_, _| ())?;
    let source = &small.source;
    let words = ["copy", "pvc/data-db-0", "pvc/copied", "--way", "exec"];
    let how = ["--mover-image", "localhost/busybox:1", "--limit", "1MiB/s"];
    end(source.migrate(&[&words[..], &how].concat())?)?.with_code(0)?;
    let report = source.report("copy-data-db-0-copied")?;
    let copied = &report["outputs"]["final-copy"]["volumes"][0];
    ensure!(copied["way"] == "exec", "{copied}");
    let (from, to) = (source.folder("data-db-0")?, source.folder("copied")?);
    let checked = ["-nrlHOc", "--delete", "--itemize-changes"];
    let (from, to) = (from.join(""), to.join(""));
    let found = output_of(Command::new("rsync").args(checked).args([from, to]))?;
    ensure!(found.is_empty(), "rsync finds differences: {found}");
    Ok(())
}
