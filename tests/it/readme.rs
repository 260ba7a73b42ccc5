//! What the README says and the program has to keep.
use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::error::Kind;

/// Every kind, in the order of the codes.
const KINDS: [Kind; 11] = [
    Kind::Done,
    Kind::Error,
    Kind::Usage,
    Kind::Unchanged,
    Kind::Blocked,
    Kind::Locked,
    Kind::Difference,
    Kind::Waiting,
    Kind::Frozen,
    Kind::TimedOut,
    Kind::Interrupted,
];

fn readme() -> Result<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    std::fs::read_to_string(path).context(path)
}

#[test]
fn exit_codes_are_the_programs() -> Result<()> {
    let readme = readme()?;
    let section = readme
        .split("## Exit codes")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .context("the section of the exit codes")?;
    let codes: Vec<u8> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    ensure!(
        codes == KINDS.map(Kind::code),
        "the README has {codes:?}, the program {:?}",
        KINDS.map(Kind::code)
    );
    Ok(())
}

#[test]
fn every_verb_stands_in_the_readme() -> Result<()> {
    let readme = readme()?;
    let world = crate::world::World::new()?;
    let help = world.call(crate::world::NAME, &["--help"])?;
    let help = String::from_utf8(help.stdout)?;
    let verbs = help
        .split("Commands:\n")
        .nth(1)
        .and_then(|rest| rest.split("\n\n").next())
        .context("the list of verbs")?;
    // A long description goes on in a line of its own, further in.
    for line in verbs.lines().filter(|line| !line.starts_with("   ")) {
        let verb = line.split_whitespace().next().context("a verb")?;
        ensure!(
            verb == "help" || readme.contains(&format!("`{verb}")),
            "{verb} is not in the README"
        );
    }
    Ok(())
}
