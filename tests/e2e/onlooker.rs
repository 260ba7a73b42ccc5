//! A colleague who may only look, on whatever terminal there is.
use std::{
    io::{Read, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    runners::held,
    small::{NAME, Small},
    support::{BOUND, On, end, migrate},
};

/// Somebody who may read journals and locks of one namespace, and nothing else.
struct Colleague(tempfile::TempDir);

impl Colleague {
    fn new(small: &Small) -> Result<Self> {
        let namespace = &small.source;
        let metadata = json!({"name": "colleague"});
        let api = "rbac.authorization.k8s.io";
        let verbs = ["get", "list", "watch"];
        namespace.apply(&[
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
            json!({"apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": metadata, "rules": [
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs},
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": verbs},
            ]}),
            json!({"apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": api, "kind": "Role", "name": "colleague"},
                "subjects": [{"kind": "ServiceAccount", "name": "colleague", "namespace": namespace.name}]}),
        ])?;
        let token = namespace.kubectl(&["create", "token", "colleague"])?;
        let text = std::fs::read_to_string(On::A.kubeconfig()?)?;
        let mut kubeconfig: Value = serde_yaml::from_str(&text)?;
        kubeconfig["users"][0]["user"] = json!({"token": token.trim()});
        kubeconfig["contexts"][0]["context"]["namespace"] = json!(namespace.name);
        let this = Self(tempfile::tempdir()?);
        std::fs::write(this.kubeconfig(), kubeconfig.to_string())?;
        Ok(this)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.0.path().join("kubeconfig")
    }

    fn migrate(&self, args: &[&str]) -> Result<Command> {
        let mut command = migrate()?;
        command.env("KUBECONFIG", self.kubeconfig()).args(args);
        Ok(command)
    }

    /// A shell with the program as `$MIGRATE_BIN`.
    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.env("KUBECONFIG", self.kubeconfig());
        command.env_remove("NO_COLOR").env_remove("COLUMNS");
        command.args(["-c", script]).stdin(Stdio::null());
        command
    }

    /// A script on a terminal of its own, so many columns wide.
    fn terminal(&self, columns: usize, script: &str) -> Command {
        let mut command = Command::new("script");
        command.env("KUBECONFIG", self.kubeconfig());
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR").env_remove("COLUMNS");
        let script = format!("stty cols {columns} rows 24; {script}");
        command
            .args(["-qec", &script, "/dev/null"])
            .stdin(Stdio::null());
        command
    }
}

/// What a program writes to a pipe, as it comes.
fn read(mut out: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, written) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = out.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    written
}

#[test]
fn a_colleague_with_read_rights_sees_it_live_on_any_terminal() -> Result<()> {
    let small = Small::new("look")?;
    let colleague = Colleague::new(&small)?;
    let (_proxy, gate, run) = held(&small, "warm-copy")?;
    let mut watching = colleague.migrate(&["status", NAME, "-w"])?;
    let mut watching = watching.stdout(Stdio::piped()).spawn()?;
    let lines = read(watching.stdout.take().context("a pipe")?);
    let mut told = String::new();
    let mut until = |wanted: &str| {
        while !told.contains(wanted) {
            told += &String::from_utf8_lossy(&lines.recv_timeout(BOUND).context(told.clone())?);
        }
        Ok::<_, anyhow::Error>(())
    };
    until("warm-copy")?;
    full_screen(&colleague)?;
    gate.send_replace(true);
    run.end()?.with_code(13)?;
    until("hand-over")?;
    watching.kill()?;
    watching.wait()?;
    ensure!(!told.contains('\x1b'), "{told:?}");
    // To look is all that they may.
    let refused = end(colleague.migrate(&["run", NAME])?)?.with_code(10)?;
    refused.says(&["forbidden to update lease"])?;
    pipes_and_terminals(&colleague)
}

/// Every way to look once.
fn pipes_and_terminals(colleague: &Colleague) -> Result<()> {
    for reader in ["head -1", "true", "cat"] {
        let script = format!(
            r#""$MIGRATE_BIN" status -o json | {reader}; echo "ended: ${{PIPESTATUS[0]}}""#
        );
        let ended = end(colleague.shell(&script))?.with_code(0)?;
        ensure!(ended.out.ends_with("ended: 0\n"), "{reader}: {ended:?}");
        ensure!(ended.err.is_empty(), "{reader}: {ended:?}");
    }
    let mut all = colleague
        .shell(r#""$MIGRATE_BIN" status -A -o json | head -1; echo "ended: ${PIPESTATUS[0]}""#);
    all.env("KUBECONFIG", On::A.kubeconfig()?);
    let all = end(all)?.with_code(0)?;
    ensure!(
        all.out.ends_with("ended: 0\n") && all.err.is_empty(),
        "{all:?}"
    );
    let all = end(colleague.migrate(&["status", "-A"])?)?.with_code(10)?;
    all.says(&["forbidden to list configmaps"])?;
    for (columns, before) in [(40, ""), (40, "NO_COLOR=1 "), (80, "TERM=dumb ")] {
        let script = format!(r#"{before}"$MIGRATE_BIN" status"#);
        let shown = end(colleague.terminal(columns, &script))?.with_code(0)?.out;
        ensure!(shown.contains("waiting"), "{columns} {before}: {shown}");
        if !before.is_empty() {
            ensure!(!shown.contains('\x1b'), "{before}: {shown:?}");
        }
        let plain = without_colours(&shown);
        let longest = plain
            .lines()
            .map(|line| line.trim_end().chars().count())
            .max();
        ensure!(longest <= Some(columns), "{columns}: {plain}");
    }
    let mut piped = colleague.migrate(&["status"])?;
    piped.env("COLUMNS", "40");
    let piped = end(piped)?.with_code(0)?.out;
    ensure!(
        piped.contains("waiting") && !piped.contains('\x1b'),
        "{piped}"
    );
    Ok(())
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.find(|end: char| end.is_ascii_alphabetic());
        text + rest.map_or("", |at| &part[at + 1..])
    })
}

/// The view has all of the terminal, follows, and leaves it as it was on `q`.
fn full_screen(colleague: &Colleague) -> Result<()> {
    let mut command = colleague.terminal(100, r#""$MIGRATE_BIN" status -w"#);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("failed to run script")?;
    let mut keys = child.stdin.take().context("a keyboard")?;
    let drawn = read(child.stdout.take().context("a screen")?);
    let mut screen = vt100::Parser::new(24, 100, 0);
    let begun = Instant::now();
    let shows = |screen: &vt100::Parser| screen.screen().contents().contains("statefulset");
    while !(screen.screen().alternate_screen() && shows(&screen)) {
        let left = BOUND.saturating_sub(begun.elapsed());
        let bytes = drawn
            .recv_timeout(left)
            .with_context(|| screen.screen().contents())?;
        screen.process(&bytes);
    }
    ensure!(screen.screen().hide_cursor());
    keys.write_all(b"q")?;
    while let Ok(bytes) = drawn.recv_timeout(BOUND.saturating_sub(begun.elapsed())) {
        screen.process(&bytes);
    }
    ensure!(
        !screen.screen().alternate_screen(),
        "the view did not leave"
    );
    ensure!(!screen.screen().hide_cursor(), "the cursor is still away");
    let status = child.wait()?;
    ensure!(status.success(), "{status}");
    Ok(())
}
