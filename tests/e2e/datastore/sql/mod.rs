//! kine's table in a PostgreSQL or a MySQL server: each case runs with both.
//!
//! A case is a function over [`Sql`]. [`every_case`] names all of them, and each driver's module makes them its
//! tests; one that is not named there is dead code, of which the compiler tells.
pub mod carry;
pub mod changes;
pub mod compare;
pub mod copy;
mod driver;
mod history;
pub mod ids;
pub mod lead;
pub mod look;
mod process;
pub mod speed;
pub mod trust;

pub use driver::{Servers, Shared, Sql, user};
pub use history::{Row, Tenant};
pub use process::{Home, Process, Running};

use anyhow::{Context as _, Result};
use kubectl_migrate::adapters::datastore::{Comparison, DatastoreError, Finding, Look};

/// The host that the servers' certificates are for: no address of this machine.
pub const HOST: &str = "datastore.kamaji-system.svc";
/// The administrator's password at every server.
pub const PASSWORD: &str = "pass'word\\ \"1";

/// Makes every case a test of a driver.
macro_rules! every_case {
    ($server:ty) => {
        $crate::datastore::sql::cases! { $server:
            carry {
                a_table_passes_through_a_file_and_goes_on_behind_its_rows,
            }
            changes {
                a_table_is_copied_with_its_changes_and_compactions,
                a_row_that_is_committed_late_is_not_lost,
                a_source_that_went_back_is_told,
                a_target_that_lost_its_table_gets_all_of_it,
                a_compaction_is_done_again_at_the_target,
                a_key_whose_end_was_compacted_before_its_copy_stays_gone,
                a_row_that_only_the_target_has_goes,
            }
            compare {
                each_difference_is_found_and_named,
                what_a_server_writes_by_itself_is_counted_apart,
                a_compaction_since_the_copy_explains_only_what_it_removes,
            }
            copy {
                a_copy_that_is_given_up_goes_on_where_it_was,
                what_the_target_had_makes_room,
                a_server_that_stops_in_the_middle_is_named,
                strange_names_are_names,
            }
            ids {
                a_row_after_the_copy_gets_the_next_id,
                an_empty_table_begins_with_one,
                ids_beyond_32_bits_are_kept_and_a_table_without_room_is_told,
                a_narrow_table_is_filled_while_ids_fit,
            }
            lead {
                a_target_begins_behind_all_that_the_source_gave,
                a_copy_leaves_the_lead_and_brings_what_comes_below_it,
            }
            look {
                both_sides_are_described,
                what_stands_in_the_way_is_found,
                only_a_copy_is_removed,
                rows_of_another_below_the_compaction_are_kept,
                a_copy_whose_source_is_gone_is_kept,
            }
            speed {
                few_changes_are_copied_fast_whatever_the_size,
                a_comparison_takes_little_more_than_reading,
            }
            trust {
                a_wrong_password_is_refused,
                only_the_servers_own_certificate_is_believed,
                a_certificate_logs_in,
                nobody_at_the_port_and_no_endpoint_are_told,
            }
        }
    };
}

macro_rules! cases {
    ($server:ty: $($room:ident { $($case:ident,)* })*) => {
        $(mod $room {
            $(#[tokio::test]
            async fn $case() -> anyhow::Result<()> {
                Box::pin($crate::datastore::sql::$room::$case::<$server>()).await
            })*
        })*
    };
}

pub(crate) use {cases, every_case};

/// A class's figures: how many rows differ, of how many.
pub fn ignored(comparison: &Comparison, class: &str) -> Option<(u64, u64)> {
    let found = comparison
        .ignored
        .iter()
        .find(|ignored| ignored.class == class)?;
    Some((found.different, found.keys))
}

/// What a look found by this name.
pub fn finding<'a>(look: &'a Look, check: &str) -> Result<&'a Finding> {
    let found = look.findings.iter().find(|finding| finding.check == check);
    found.with_context(|| format!("no finding {check} in {look:?}"))
}

/// What a call that must fail says.
pub fn refusal<T>(result: Result<T, DatastoreError>) -> Result<DatastoreError> {
    result.err().context("it succeeded")
}
