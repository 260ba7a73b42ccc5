//! An S3 server whose disk is full.
use anyhow::{Result, ensure};

use super::{
    archives::{REPOSITORY, migrate, only},
    s3::{ROOT, Server},
    support::{Namespace, On, end, mover_image},
    tree, workload,
};

/// More than the first snapshot needs, and less than the second: a part of it, which S3 wants to have 5 MiB at least,
/// finds no room. The server has all twice while it puts parts together.
const LITTLE: &str = "14m";
/// Enough for that; of the copy that comes next it holds the parts, and not what is put together of them.
const MORE: &str = "64m";
const ENOUGH: &str = "160m";
const LARGE: u64 = 64 << 20;
/// What is said of it: versitygw's own word, and what helps.
const FULL: [&str; 3] = [
    "there is no room left for it there: InsufficientStorage: No space left on device.",
    "aws s3 ls --recursive --summarize --human-readable s3://backups --endpoint-url https://",
    "make room there, or enlarge its quota or its disk",
];

#[test]
fn a_full_bucket_is_told_and_keeps_what_it_has_and_all_goes_on_when_there_is_room() -> Result<()> {
    let namespace = Namespace::new(On::A, "full-bucket", &[])?;
    let server = Server::with_room(On::A, LITTLE)?;
    let claims = ["early", "from", "to"].map(|name| workload::claim(name, "1Gi"));
    namespace.apply(&claims)?;
    namespace.apply(&[server.secret("backups")])?;
    tree::noise(&namespace.folder("early")?.join("small"), 4 << 20)?;
    let take = ["snapshot", "pvc/early", "--to", REPOSITORY];
    end(migrate(&namespace, &take)?)?.with_code(0)?;
    let early = format!("{REPOSITORY}/{}", only(&server)?.0);
    let is_whole = |address: &str| {
        let check = ["restore-check", address, "--level", "2"];
        end(server.migrate(ROOT, &check)?)?.with_code(0)
    };

    // A snapshot, while its workload is frozen.
    workload::start(&namespace, 1)?;
    tree::noise(&namespace.folder("data-db-0")?.join("large"), LARGE)?;
    let take = ["snapshot", "statefulset/db", "--to", REPOSITORY];
    end(migrate(&namespace, &take)?)?
        .with_code(14)?
        .says(&FULL)?
        .says(&["run snapshot-sts-db", "rollback snapshot-sts-db"])?;
    is_whole(&early)?;
    server.make_room(MORE)?;
    end(namespace.migrate(&["run", "snapshot-sts-db", "--yes"])?)?.with_code(0)?;
    namespace.ready("statefulset/db")?;
    let before = server.objects()?;
    ensure!(
        before.iter().all(|path| !path.contains(".sgwtmp")),
        "{before:#?}"
    );

    // And what goes from one volume to another.
    let from = namespace.folder("from")?;
    for name in ["one", "two"] {
        tree::noise(&from.join(name), LARGE)?;
    }
    let image = mover_image()?;
    let copy = [
        "copy",
        "pvc/from",
        "pvc/to",
        "--yes",
        "--mover-image",
        &image,
        "--through",
        "s3://backups/moving",
        "--s3-secret",
        "backups",
        "--way",
        "bucket",
    ];
    end(namespace.migrate(&copy)?)?
        .with_code(10)?
        .says(&FULL)?
        .says(&["run copy-from-to", "rollback copy-from-to"])?;
    is_whole(&early)?;
    server.make_room(ENOUGH)?;
    end(namespace.migrate(&["run", "copy-from-to", "--yes"])?)?.with_code(0)?;
    tree::assert_equal(&from, &namespace.folder("to")?, 0)?;
    let after = server.objects()?;
    ensure!(before == after, "{before:#?} before, {after:#?} now");
    is_whole(&early)?;
    Ok(())
}
