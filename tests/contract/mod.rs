//! What must every log do? One suite over the in-process log and every data plane over a broker.
//!
//! Where two logs differ, this suite is right. A case takes a log and panics if a line of the
//! contract in `src/log/mod.rs` does not hold. It never expects an effect at once: it polls and
//! waits up to a deadline, so that a slow broker passes too. To show that something does *not*
//! happen it makes something later happen and looks whether that came alone.
//!
//! `contract_tests!(make_log)` makes a test of each case; `make_log` returns an `Arc<dyn Log>` and
//! what makes that log forget what it may.
//! Topics and groups get names of their own, so cases may share one broker.

pub(crate) mod administration;
pub(crate) mod fencing;
pub(crate) mod forgetting;
pub(crate) mod groups;
pub(crate) mod harness;
pub(crate) mod offsets;
pub(crate) mod reading;
pub(crate) mod transactions;
pub(crate) mod writing;

/// As [`contract_tests`], of the cases for logs that share a group's partitions out themselves.
macro_rules! assignment_tests {
    ($make_log:expr) => {
        contract_tests! { $make_log;
            groups: broker_side_assignment_moves_partitions_the_same_way;
        }
    };
}

/// Makes a test of each case of the suite; `$make_log` is a function without arguments.
macro_rules! contract_tests {
    ($make_log:expr) => {
        contract_tests! { $make_log;
            administration:
                cluster_id_is_stable
                topics_are_told_in_the_order_asked
                existing_topic_is_left_as_it_is
                offset_by_time_is_of_the_first_record_not_older
                deleted_records_are_gone_and_the_rest_stays
                topic_needs_a_partition_and_a_valid_name
                unknown_or_wrong_settings_are_refused
                names_that_collide_are_refused
                bad_topic_does_not_keep_the_others_from_being_created
                offsets_of_a_missing_partition_are_refused
                one_partition_may_be_asked_about_twice
                offset_by_time_finds_the_first_among_disordered_times
                end_counts_an_open_transaction
                records_behind_the_end_cannot_be_deleted
                deleting_everything_keeps_the_offsets
                nothing_asked_is_nothing_answered;
            fencing:
                newer_producer_fences_the_older
                newer_producer_aborts_what_was_open
                fence_ends_the_open_transaction
                fenced_writer_comes_back_with_a_new_epoch
                unknown_member_may_not_commit
                outsider_may_not_commit_into_a_live_group
                member_may_commit
                fenced_writer_commits_no_offsets
                each_transactional_id_fences_itself_only
                token_from_before_a_loss_is_fenced
                token_of_a_member_that_left_is_fenced
                member_commits_outside_of_transactions;
            forgetting:
                compaction_keeps_the_last_record_of_each_key
                tombstone_goes_in_the_end
                compaction_does_not_count_what_was_aborted
                retention_moves_the_start;
            groups:
                single_member_gets_every_partition
                partitions_go_to_a_newcomer_through_their_owners_hands
                partitions_of_a_leaver_go_to_those_who_stay
                shares_are_even_and_disjoint
                member_may_own_nothing
                partitions_may_be_given_up_one_by_one
                lease_is_renewed_by_heartbeats_and_ends_with_the_membership
                frozen_member_has_no_lease_when_others_have_its_partitions
                frozen_member_loses_what_it_owned
                static_member_comes_back_to_its_partitions
                newer_instance_takes_the_place_of_the_older;
            offsets:
                nothing_is_committed_at_first
                administration_commits_for_a_group_without_members
                plain_commit_is_read_back
                offsets_of_a_transaction_count_from_its_commit
                offsets_of_an_aborted_transaction_never_count
                groups_commit_apart
                offset_may_go_back
                token_without_a_group_commits_for_the_clients_own
                too_much_metadata_is_refused
                missing_partition_has_no_offset
                partitions_of_a_commit_share_its_fate;
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
                waker_ends_a_wait
                missing_partition_of_a_topic_is_not_found
                negative_position_is_out_of_range
                uncommitted_reader_passes_an_open_transaction
                reading_may_begin_within_a_transaction_or_at_its_marker
                pause_outlasts_a_move_but_not_a_stop
                large_record_passes_a_small_fetch
                reader_that_is_not_polled_holds_no_more_than_its_bounds;
            transactions:
                committed_transaction_is_seen_whole
                aborted_transaction_is_seen_by_nobody
                open_transaction_holds_back_what_comes_after
                position_passes_the_end_of_a_transaction
                transaction_spans_partitions
                broken_transaction_can_only_be_aborted
                empty_transaction_ends_well
                transactions_follow_one_another
                offsets_alone_are_a_transaction
                new_epoch_aborts_the_own_transaction
                overlong_transaction_is_aborted_and_its_writer_fenced
                transactional_writer_writes_only_within_transactions
                writer_without_an_epoch_cannot_write;
            writing:
                nulls_and_headers_come_back_as_written
                batches_stay_in_the_order_sent
                done_tells_the_offset_behind_the_batch
                partitions_are_apart
                too_large_a_batch_is_refused_and_the_next_one_passes
                empty_batch_is_done_and_leaves_no_trace
                every_time_is_kept
                topic_may_keep_its_own_time
                record_is_taken_up_to_the_default_limit
                refused_record_does_not_take_its_neighbours_along
                compacted_topic_refuses_a_null_key
                missing_topic_takes_nothing
                many_headers_keep_their_order
                small_records_fill_no_batch_beyond_the_limit
                unset_limit_of_a_topic_is_told;
        }
    };
    ($make_log:expr; $($module:ident: $($case:ident)+;)+) => {
        $($(
            #[test]
            fn $case() {
                use $crate::contract::{harness::Subject, $module};
                let (log, tend) = $make_log();
                $module::$case(&Subject::new(log, tend));
            }
        )+)+
    };
}
