//! Completion scripts, and completion by kubectl itself.
use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::world::{NAME, World};

/// Whether a shell takes a script, without running it; none where the shell is not installed.
fn takes(shell: &str, script: &[u8]) -> Result<Option<bool>> {
    let child = Command::new(shell)
        .args(["-n", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return Ok(None);
    };
    child.stdin.take().context("stdin")?.write_all(script)?;
    Ok(Some(child.wait()?.success()))
}

#[test]
fn every_shell_takes_its_script() -> Result<()> {
    let world = World::new()?;
    for name in [NAME, "kubectl-state_migrate"] {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let output = world.call(name, &["completion", shell])?;
            ensure!(output.status.success(), "{shell}: {output:?}");
            let text = String::from_utf8(output.stdout)?;
            ensure!(text.contains(name), "{shell}: the script is not for {name}");
            if matches!(shell, "bash" | "zsh" | "fish") {
                let taken = takes(shell, text.as_bytes())?;
                ensure!(taken != Some(false), "{shell} refuses its script");
            }
        }
    }
    Ok(())
}

#[test]
fn kubectl_is_told_what_to_offer() -> Result<()> {
    let world = World::with_server("https://127.0.0.1:1")?;
    let offered = |words: &[&str]| -> Result<String> {
        let output = world.call("kubectl_complete-migrate", words)?;
        ensure!(output.status.success(), "{words:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    for (words, expected) in [
        (&["completion", "b"][..], "bash\n:4\n"),
        (&["run", "-f", ""], ":0\n"),
        (&["status", "--context", ""], "c\n:4\n"),
        (&["status", "--cluster", "k"], "k\n:4\n"),
        (&["run", "--to-context", ""], "c\n:4\n"),
        // A server that is away has no names, and is no error.
        (&["status", ""], ":4\n"),
        (&["freeze", "sts/"], ":4\n"),
    ] {
        let offered = offered(words)?;
        ensure!(offered == expected, "{words:?}: {offered}");
    }
    ensure!(offered(&["rol"])?.starts_with("rollback\tPut everything back"));
    Ok(())
}
