//! The help of every verb: the reference, and what it is under another name.
use anyhow::Result;

use crate::world::{NAME, World};

#[test]
fn the_help_of_every_verb() -> Result<()> {
    let world = World::new()?;
    insta::assert_snapshot!("help", world.told(NAME, &["--help"])?);
    for verb in [
        "plan",
        "preflight",
        "run",
        "status",
        "limit",
        "mark",
        "rollback",
        "cleanup",
        "report",
        "freeze",
        "thaw",
        "switch-datastore",
        "snapshot",
        "restore",
        "restore-check",
        "copy",
        "completion",
        "version",
    ] {
        insta::assert_snapshot!(format!("help_{verb}"), world.told(NAME, &[verb, "--help"])?);
    }
    for verb in ["list", "show", "delete", "prune"] {
        let told = world.told(NAME, &["snapshot", verb, "--help"])?;
        insta::assert_snapshot!(format!("help_snapshot_{verb}"), told);
    }
    Ok(())
}

#[test]
fn the_help_under_another_name() -> Result<()> {
    let world = World::new()?;
    let other = |args: &[&str]| world.told("kubectl-state_migrate", args);
    insta::assert_snapshot!("help_by_another_name", other(&["thaw", "-h"])?);
    assert!(other(&["-V"])?.ends_with("\nkubectl-state_migrate 0.1.0\n"));
    for args in [&["--help"][..], &["completion", "-h"], &["run", "--help"]] {
        let told = other(args)?;
        assert!(
            !told.contains("kubectl migrate") && !told.contains('@'),
            "{told}"
        );
    }
    let told = other(&["completion", "--help"])?;
    assert!(told.contains("kubectl_complete-state_migrate"), "{told}");
    Ok(())
}

#[test]
fn help_is_a_verb_too() -> Result<()> {
    let world = World::new()?;
    let told = |args: &[&str]| -> Result<String> {
        Ok(String::from_utf8(world.call(NAME, args)?.stdout)?)
    };
    assert_eq!(told(&["help", "mark"])?, told(&["mark", "--help"])?);
    assert_eq!(told(&["help"])?, told(&["--help"])?);
    Ok(())
}

#[test]
fn no_arguments_show_the_help_and_are_an_error() -> Result<()> {
    let world = World::new()?;
    let told = world.told(NAME, &[])?;
    assert!(
        told.starts_with("$ kubectl-migrate\nexit 2\n--- stderr\n"),
        "{told}"
    );
    assert!(told.contains("Usage: kubectl migrate"), "{told}");
    Ok(())
}
