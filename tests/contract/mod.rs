//! What must every log do? One suite over the in-process log and every data plane over a broker.
//!
//! Where two logs differ, this suite is right. A case takes a log and panics if a line of the
//! contract in `src/log/mod.rs` does not hold. It never expects an effect at once: it polls and
//! waits up to a deadline, so that a slow broker passes too. To show that something does *not*
//! happen it makes something later happen and looks whether that came alone.
//!
//! `contract_tests!(make_log)` makes a test of each case; `make_log` returns an `Arc<dyn Log>`.
//! Topics and groups get names of their own, so cases may share one broker.

pub(crate) mod administration;
pub(crate) mod fencing;
pub(crate) mod groups;
pub(crate) mod harness;
pub(crate) mod offsets;
pub(crate) mod reading;
pub(crate) mod transactions;
pub(crate) mod writing;

/// Makes a test of each case of the suite; `$make_log` is a function without arguments.
macro_rules! contract_tests {
    ($make_log:expr) => {
        contract_tests! { $make_log;
            administration:
                cluster_id_is_stable
                topics_are_told_in_the_order_asked
                existing_topic_is_left_as_it_is
                offset_by_time_is_of_the_first_record_not_older
                deleted_records_are_gone_and_the_rest_stays;
            fencing:
                newer_producer_fences_the_older
                newer_producer_aborts_what_was_open
                fence_ends_the_open_transaction
                fenced_writer_comes_back_with_a_new_epoch
                unknown_member_may_not_commit
                outsider_may_not_commit_into_a_live_group
                member_may_commit;
            groups:
                single_member_gets_every_partition
                partitions_go_to_a_newcomer_through_their_owners_hands
                partitions_of_a_leaver_go_to_those_who_stay;
            offsets:
                nothing_is_committed_at_first
                plain_commit_is_read_back
                offsets_of_a_transaction_count_from_its_commit
                offsets_of_an_aborted_transaction_never_count
                groups_commit_apart;
            reading:
                empty_partition_is_caught_up_at_its_start
                caught_up_is_said_again_after_new_records
                reading_begins_where_it_was_asked_to
                reading_moves_when_told_again
                paused_partition_keeps_its_position
                stopped_partition_reports_nothing
                position_behind_the_end_is_out_of_range
                position_before_the_start_is_out_of_range
                missing_partition_is_not_found
                small_fetches_bring_everything_in_order
                two_readers_do_not_disturb_each_other
                waker_ends_a_wait;
            transactions:
                committed_transaction_is_seen_whole
                aborted_transaction_is_seen_by_nobody
                open_transaction_holds_back_what_comes_after
                position_passes_the_end_of_a_transaction
                transaction_spans_partitions
                broken_transaction_can_only_be_aborted
                empty_transaction_ends_well;
            writing:
                nulls_and_headers_come_back_as_written
                batches_stay_in_the_order_sent
                done_tells_the_offset_behind_the_batch
                partitions_are_apart
                too_large_a_batch_is_refused_and_the_next_one_passes;
        }
    };
    ($make_log:expr; $($module:ident: $($case:ident)+;)+) => {
        $($(
            #[test]
            fn $case() {
                use $crate::contract::{harness::Subject, $module};
                $module::$case(&Subject::new($make_log()));
            }
        )+)+
    };
}
