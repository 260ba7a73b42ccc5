//! The examples at the end of each verb's help. `kubectl migrate` stands for the name under which the
//! program was called, `@BINARY@` for its file's, and `@COMPLETER@` for that by which kubectl completes it.

pub(super) const PLAN: &str = "\
Examples:
  # Show what the plan's run would do, and where writes stop
  kubectl migrate plan -f migration.yaml
  # The same for another program
  kubectl migrate plan -f migration.yaml -o json";

pub(super) const PREFLIGHT: &str = "\
Examples:
  # Will it work here?
  kubectl migrate preflight -f migration.yaml
  # Print the Roles that the plan needs, for somebody else to run it
  kubectl migrate preflight -f migration.yaml --emit-role --role-user jane";

pub(super) const RUN: &str = "\
Examples:
  # Begin, or go on where it stopped
  kubectl migrate run -f migration.yaml
  # Go on from another machine, without the plan file
  kubectl migrate run orders-db -n shop
  # Let the server check every first write, and change nothing
  kubectl migrate run -f migration.yaml --dry-run=server";

pub(super) const STATUS: &str = "\
Examples:
  # All migrations of the namespace
  kubectl migrate status -n shop
  # Follow one
  kubectl migrate status orders-db -n shop -w
  # A JSON document for each change
  kubectl migrate status -A -w -o json";

pub(super) const LIMIT: &str = "\
Examples:
  # The run that is at work sends no more than this, from the next seconds on
  kubectl migrate limit orders-db 50MiB/s
  # As fast as it goes again
  kubectl migrate limit orders-db none";

pub(super) const MARK: &str = "\
Examples:
  # The clients use the target now
  kubectl migrate mark orders-db hand-over --done --reason \"clients switched, ticket 4711\"";

pub(super) const ROLLBACK: &str = "\
Examples:
  # Put everything back
  kubectl migrate rollback orders-db
  # Undo all that came after warm-copy, which itself stays done
  kubectl migrate rollback orders-db --to warm-copy";

pub(super) const CLEANUP: &str = "\
Examples:
  # Delete what the migration left behind; the source stays
  kubectl migrate cleanup orders-db
  # Delete the source, too: there is no way back after this
  kubectl migrate cleanup orders-db --old-data --confirm orders-db
  # A tenant's old data: into a file first, then away
  kubectl migrate cleanup switch-t1-gold --old-data --backup t1.snapshot -n tenants";

pub(super) const REPORT: &str = "\
Examples:
  # What happened, with numbers and digests
  kubectl migrate report orders-db
  # One page for whoever was not there
  kubectl migrate report orders-db -o html > orders-db.html
  # Read both sides again: is the old volume still what was copied?
  kubectl migrate report orders-db --verify";

pub(super) const FREEZE: &str = "\
Examples:
  # Stop all writes by scaling to 0
  kubectl migrate freeze statefulset/orders-db
  # Keep the pods and their volumes, but let nothing run in them
  kubectl migrate freeze deployment/web --mode sleep";

pub(super) const THAW: &str = "\
Examples:
  # Put it back exactly as it was
  kubectl migrate thaw statefulset/orders-db
  # The journal is lost: the note on the workload is enough
  kubectl migrate thaw statefulset/orders-db --force";

pub(super) const COPY: &str = "\
Examples:
  # To a new claim of another class and size
  kubectl migrate copy pvc/data pvc/data-new --storage-class fast --size 20Gi
  # To another namespace, and no faster than this
  kubectl migrate copy pvc/data pvc/data --to-namespace archive --limit 50MiB/s
  # To a cluster that this one never meets, and never through this machine
  kubectl migrate copy pvc/data pvc/data --to-context eu --through s3://backups/moving --way direct,bucket";

pub(super) const COMPLETION: &str = "\
Examples:
  # Bash, for this shell
  source <(@BINARY@ completion bash)

kubectl itself completes `kubectl migrate …` by a program named @COMPLETER@:
  ln -s \"$(command -v @BINARY@)\" \"$HOME/.local/bin/@COMPLETER@\"";

pub(super) const VERSION: &str = "\
Examples:
  # The server's version, too
  kubectl migrate version --server-version";

pub(super) const SWITCH_DATASTORE: &str = "\
Examples:
  # Move tenant t1 to DataStore gold: writes are refused for seconds, reads never
  kubectl migrate switch-datastore t1 --to gold -n tenants
  # Look first: the steps, and every check
  kubectl migrate switch-datastore t1 --to gold -n tenants --dry-run=client
  # Before Kubernetes 1.30, or where reads have to stop, too
  kubectl migrate switch-datastore t1 --to gold -n tenants --freeze offline
  # By Kamaji's own Job, held until every key and value was compared
  kubectl migrate switch-datastore t1 --to gold -n tenants --way controller";

pub(super) const SNAPSHOT: &str = "\
Examples:
  # All volumes of a StatefulSet, which is frozen meanwhile; the movers send them themselves
  kubectl migrate snapshot statefulset/orders-db --to s3://backups/prod --s3-secret backups -n shop
  # The same, with what the database answers before it is frozen
  kubectl migrate snapshot statefulset/orders-db --to s3://backups/prod --checks checks.yaml -n shop
  # One volume, while it is written to: files that change meanwhile are named
  kubectl migrate snapshot pvc/data-orders-db-0 --to s3://backups/prod -n shop
  # All that tenant t1 keeps, as it is at one moment; the tenant works on
  kubectl migrate snapshot tcp/t1 --to t1.snapshot -n tenants
  # The file is a zstd stream of JSON lines
  zstd -dc t1.snapshot | head -1 | jq
  # Into a bucket, with the server and its credentials from a Secret of the namespace
  kubectl migrate snapshot tcp/t1 --to s3://backups/prod --s3-secret backups -n tenants";

pub(super) const SNAPSHOT_LIST: &str = "\
Examples:
  # By the environment and the profile in ~/.aws, as other programs for S3
  kubectl migrate snapshot list s3://backups/prod
  # On a server of your own
  kubectl migrate snapshot list s3://backups --endpoint https://minio.example:9000 --ca-file ca.pem";

pub(super) const SNAPSHOT_SHOW: &str = "\
Examples:
  # What it is of, and its digests
  kubectl migrate snapshot show s3://backups/prod/t1/20261128T041500Z";

pub(super) const SNAPSHOT_DELETE: &str = "\
Examples:
  # In a script its name stands in a flag
  kubectl migrate snapshot delete s3://backups/t1/20261128T041500Z --confirm t1/20261128T041500Z";

pub(super) const SNAPSHOT_PRUNE: &str = "\
Examples:
  # Which would stay and which would go, and why
  kubectl migrate snapshot prune s3://backups/prod --keep-last 3 --keep-daily 7 --keep-weekly 4 --dry-run
  # Every night, by a script
  kubectl migrate snapshot prune s3://backups/prod --keep-daily 7 --keep-monthly 12 --confirm s3://backups/prod

A snapshot stays when any rule keeps it, and the last good one of a workload always does. Days, weeks and months
are those of UTC. What is unfinished, damaged or not readable is left as it is.";

pub(super) const RESTORE_CHECK: &str = "\
Examples:
  # Read everything, and compare each file with the digest that it had
  kubectl migrate restore-check s3://backups/prod/orders-db/20261128T041500Z
  # Only look what is there
  kubectl migrate restore-check s3://backups/prod/orders-db/20261128T041500Z --level 1
  # Restore it into a namespace of its own, start it behind a closed network, and ask it what it was asked at the snapshot
  kubectl migrate restore-check s3://backups/prod/orders-db/20261128T041500Z --level 3 --s3-secret backups -n shop
  # The same with other checks, where the cluster's network cannot be closed
  kubectl migrate restore-check s3://backups/prod/orders-db/20261128T041500Z --level 3 --checks checks.yaml --open-network -n shop";

pub(super) const RESTORE: &str = "\
Examples:
  # A workload with its volumes, into another namespace
  kubectl migrate restore s3://backups/prod/orders-db/20261128T041500Z --into namespace/shop-new
  # Its volumes alone, into claims that are made as they were
  kubectl migrate restore s3://backups/prod/orders-db/20261128T041500Z --into namespace/shop-new --volumes-only
  # One volume, into an empty claim
  kubectl migrate restore s3://backups/prod/data/20261128T041500Z --into pvc/data
  # Read the file, and look whether it may go there
  kubectl migrate restore t1.snapshot --into datastore/gold --dry-run=client
  # Into an empty schema
  kubectl migrate restore t1.snapshot --into datastore/gold
  # The same out of a bucket
  kubectl migrate restore s3://backups/prod/t1/20261128T041500Z --into datastore/gold --s3-secret backups
  # Back to what it was, with the tenant's API servers stopped
  kubectl scale tcp t1 --replicas=0 -n tenants
  kubectl migrate restore t1.snapshot --into datastore/silver --overwrite";
