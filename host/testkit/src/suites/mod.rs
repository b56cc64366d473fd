//! The contract suites: one promise a function, one seam a file; every store passes all of them.
//!
//! A store's tests are one line, `stem_testkit::contract_suites!(fixture)`: it stamps out every promise as a test of its
//! own, so that none can be forgotten. A promise that needs an ability is skipped where the fixture does not declare it.

pub mod cancelling;
pub mod claiming;
pub mod control;
pub mod dead_letters;
pub mod key_value;
pub mod model;
pub mod modules;
pub mod order;
pub mod progress;
pub mod publishing;
pub mod queues;
pub mod quotas;
pub mod records;
pub mod retention;
pub mod settling;
pub mod two_stores;
pub mod usage;
pub mod versions;
pub mod waiting;
pub mod waits;

/// Stamps out every promise as a test: `contract_suites!(fixture)`, and `contract_suites!(fixture, lacking:
/// [MovableClock])` for a store that cannot do everything.
///
/// The expression is evaluated once for each test, inside an async function, and gives a
/// [`Fixture`](crate::fixture::Fixture). The tests need `tokio` with its macros.
#[macro_export]
macro_rules! contract_suites {
    ($fixture:expr $(, lacking: [$($lacking:ident),*])?) => {
        #[tokio::test]
        async fn what_is_skipped_is_what_is_declared() {
            let lacking = [$($($crate::fixture::Ability::$lacking),*)?];
            $crate::fixture::check_abilities($fixture, &lacking).await;
        }

        $crate::each_promise!([$crate::stamp_promise], $fixture);
    };
}

/// Makes one promise a test.
#[doc(hidden)]
#[macro_export]
macro_rules! stamp_promise {
    ($fixture:expr, $($suite:ident { $($promise:ident $(: $($ability:ident)+)?,)* })*) => {$(
        mod $suite {
            use super::*;

            $(#[tokio::test]
            async fn $promise() {
                let needs = [$($($crate::fixture::Ability::$ability),+)?];
                let promise = $crate::suites::$suite::$promise;
                $crate::fixture::keep($fixture, &needs, |fixture| Box::pin(promise(fixture))).await;
            })*
        }
    )*};
}

/// Every promise, by suite, with the ability that it needs.
#[doc(hidden)]
#[macro_export]
macro_rules! each_promise {
    ([$($then:tt)*], $argument:expr) => {
        $($then)*! { $argument,
            publishing {
                a_published_envelope_is_delivered_to_another_process,
                what_was_published_outlives_its_publisher: Durability,
                a_batch_appears_whole,
                a_second_publish_of_an_id_that_lives_changes_nothing,
                an_id_lives_wherever_its_envelope_lies,
                a_batch_stores_what_is_new_and_says_what_is_not,
                an_id_whose_record_is_kept_is_not_published_again,
                a_derived_id_is_remembered_when_nothing_else_is_kept_of_it,
                a_derived_id_outlives_its_record_by_days: MovableClock,
                a_derived_id_is_forgotten_after_seven_days: MovableClock,
                a_derived_id_outlives_its_dead_letter_by_days: MovableClock,
                an_id_can_be_published_again_when_its_record_has_gone,
                bytes_that_are_no_envelope_are_delivered_as_they_are,
                a_field_that_this_build_does_not_know_stays,
                a_namespace_never_sees_the_envelopes_of_another,
                a_namespace_never_sees_the_ends_of_another,
                a_delay_is_counted_by_the_stores_clock,
                a_time_that_has_passed_is_due_at_once,
                publishing_nothing_is_no_mistake,
            }
            claiming {
                a_claim_gives_no_more_than_it_asks_for,
                a_claim_from_many_lanes_gives_no_more_than_it_asks_for,
                a_claim_takes_from_its_queues_in_their_order,
                a_delivery_carries_what_was_published,
                a_first_delivery_has_nothing_counted_yet,
                no_envelope_is_with_two_workers_at_once,
                a_leased_envelope_is_with_the_worker_that_claimed_it,
                an_unsettled_delivery_returns_after_its_lease,
                a_renewed_lease_lasts_on,
                a_renewed_lease_ends_when_it_was_renewed_to,
                renewing_makes_no_second_copy,
                what_is_renewed_is_with_nobody_else_however_long_it_runs: MovableClock,
                each_delivery_has_its_own_lease,
                a_lost_lease_cannot_be_renewed,
                many_leases_are_renewed_at_once,
                no_two_deliveries_have_the_same_number,
                a_lost_worker_is_counted,
                an_outcome_or_a_release_starts_the_count_of_losses_again,
                an_envelope_that_was_lost_too_often_is_still_handed_out,
            }
            settling {
                settling_with_a_lost_lease_changes_nothing,
                a_delivery_is_settled_once,
                each_settlement_of_a_batch_stands_alone,
                a_lease_that_ended_and_was_not_taken_can_be_settled,
                only_a_retry_charges_an_attempt,
                snoozes_are_counted,
                host_faults_are_counted_until_an_outcome,
                what_is_to_come_back_later_is_not_delivered_before,
                what_is_to_come_back_later_comes_back,
                a_settled_envelope_is_in_one_place,
                an_end_and_its_record_are_seen_together,
                an_envelope_that_ends_is_never_unknown,
            }
            order {
                a_higher_priority_goes_first,
                a_lane_keeps_the_order_of_publishing,
                an_envelope_gains_a_level_for_each_minute_that_it_waits: MovableClock,
                no_envelope_starves: MovableClock,
                waiting_for_a_time_is_no_waiting_for_a_worker: MovableClock,
                a_released_envelope_goes_before_those_that_wait,
                a_rescued_envelope_goes_before_those_that_wait,
                a_released_envelope_stays_in_its_lane,
                what_comes_back_later_joins_at_the_end,
                a_delayed_envelope_joins_at_the_end_when_it_falls_due,
                what_has_fallen_due_goes_before_what_comes_after,
                what_falls_due_earlier_goes_first,
                a_retried_envelope_stays_in_its_lane,
            }
            waiting {
                every_publish_wakes_a_waiting_worker,
                a_delayed_envelope_wakes_a_waiting_worker_when_it_falls_due,
                a_retried_envelope_wakes_a_waiting_worker_when_it_falls_due,
                a_lease_that_ends_is_found_by_a_waiting_worker,
                every_release_wakes_a_waiting_worker,
                every_resumed_queue_wakes_a_waiting_worker,
                every_replay_wakes_a_waiting_worker,
                an_idle_wait_is_no_busy_loop,
                what_nobody_claims_wakes_once,
            }
            queues {
                a_queue_counts_what_it_holds,
                queues_that_hold_something_are_listed_by_name,
                a_paused_queue_is_listed_though_it_holds_nothing,
                a_paused_queue_hands_nothing_out_in_any_process,
                a_pause_is_one_queues_own,
                a_resumed_queue_hands_out_again,
                pausing_leaves_what_runs_alone,
                a_pause_outlives_who_asked_for_it: Durability,
                an_envelope_is_found_where_it_stands,
                envelopes_are_found_in_the_order_asked_for,
                a_status_shows_what_was_published,
                a_status_shows_what_was_counted,
                an_envelope_that_has_fallen_due_is_queued,
                an_envelope_that_has_fallen_due_is_counted_as_queued,
                an_envelope_whose_worker_was_lost_is_queued,
                what_waits_in_a_queue_is_listed,
                what_waits_is_listed_in_chunks,
                what_waits_is_counted_by_task_in_all_queues,
                what_runs_or_is_dead_waits_for_nothing,
            }
            cancelling {
                what_waits_is_cancelled_and_its_end_recorded,
                the_record_says_what_was_cancelled_and_when,
                the_record_of_what_was_cancelled_is_kept_as_long_as_it_says,
                a_cancelled_envelope_keeps_the_record_of_its_attempts,
                what_runs_is_marked_for_its_worker,
                what_its_worker_has_lost_is_cancelled_at_once,
                the_lease_of_what_was_cancelled_lasts_on,
                to_end_at_once_wins_over_to_ask,
                a_cancellation_outlives_the_delivery,
                what_was_cancelled_while_it_ran_comes_back_at_once,
                many_are_cancelled_at_once,
                a_cancelled_envelope_cannot_be_cancelled_again,
            }
            dead_letters {
                dead_letters_are_listed_newest_first_page_by_page,
                dead_letters_are_listed_oldest_first_page_by_page,
                a_page_after_what_is_no_dead_letter_is_refused,
                dead_letters_are_filtered_by_queue,
                dead_letters_are_filtered_by_task,
                dead_letters_are_filtered_by_reason,
                a_dead_letter_keeps_its_reason,
                dead_letters_are_filtered_by_time,
                a_page_holds_what_the_filter_lets_through,
                a_dead_letter_shows_why_and_when,
                a_dead_letter_keeps_what_was_published,
                a_list_shows_what_each_letter_shows,
                a_dead_letter_shows_the_attempts_that_were_charged,
                a_dead_letter_that_never_ran_shows_no_attempts,
                a_replayed_dead_letter_begins_a_new_generation,
                a_replayed_dead_letter_is_delivered_as_it_was_published,
                replayed_dead_letters_join_at_the_end_in_the_order_given,
                a_dead_letter_is_replayed_once,
                a_replayed_envelope_can_die_again,
                a_replay_forgets_a_cancellation,
                a_removed_dead_letter_is_gone,
                a_removed_derived_id_is_remembered,
                a_dead_letter_is_kept_for_seven_days: MovableClock,
            }
            progress {
                progress_is_seen_from_another_process,
                progress_replaces_what_was_there,
                a_record_that_has_ended_shows_no_progress,
                progress_of_a_lost_delivery_is_stale,
            }
            records {
                a_record_shows_everything_that_was_reported,
                a_record_shows_its_attempts_in_their_order,
                the_newest_attempts_keep_their_logs,
                a_settlement_records_its_attempt,
                a_large_result_comes_back,
                a_record_of_unreadable_bytes_has_no_task,
                records_are_given_in_the_order_asked_for,
                a_report_of_an_earlier_delivery_is_stale,
                a_report_of_a_lost_delivery_is_stale,
                a_report_of_an_ended_generation_is_stale,
                a_stale_report_holds_up_no_other,
                an_attempt_is_recorded_once,
                a_new_generation_goes_on_with_the_record,
                a_report_of_an_earlier_generation_is_stale,
                a_delivery_that_was_opened_makes_earlier_ones_stale,
                a_delivery_stays_known,
                opening_deliveries_gives_the_ends_of_their_generations,
                a_checkpoint_is_kept_for_the_next_attempt,
                a_checkpoint_of_a_lost_delivery_is_stale,
                a_checkpoint_outlives_failed_attempts,
                an_end_is_recorded_once,
            }
            waits {
                every_end_wakes_who_waits_for_it,
                every_kind_of_end_is_one,
                every_cancellation_wakes_who_waits_for_the_end,
                an_end_before_the_wait_is_not_missed,
                a_replayed_envelope_is_waited_for_again,
                a_wait_for_what_nobody_knows_ends_at_once,
                progress_is_seen_while_waiting,
            }
            retention {
                without_retention_only_the_end_stays,
                without_retention_the_end_stays_for_an_hour: MovableClock,
                a_failed_record_lives_as_long_as_its_dead_letter: MovableClock,
                what_is_kept_of_a_dead_letter_lives_on_with_its_replay: MovableClock,
                what_is_kept_of_an_envelope_that_is_held_lives_on_with_it: MovableClock,
                a_record_goes_when_its_retention_is_over,
                each_report_prolongs_its_record,
                a_record_that_has_gone_is_gone_for_good,
                what_never_ends_is_forgotten_in_the_end: MovableClock,
                what_lives_is_never_swept: MovableClock,
                nothing_stays_for_ever: MovableClock,
                a_sweep_comes_to_an_end: MovableClock,
                the_mark_of_a_derived_id_is_swept: MovableClock Sweeping,
                a_sweep_stops_where_it_is_told_to: Sweeping,
                a_sweep_of_dead_letters_stops_where_it_is_told_to: MovableClock,
            }
            key_value {
                a_value_is_read_in_another_process,
                a_value_outlives_who_put_it: Durability,
                keys_and_values_are_any_bytes,
                a_removed_key_is_gone,
                the_last_change_of_a_key_counts,
                keys_are_listed_page_by_page,
                a_page_stays_good_while_keys_come_and_go,
                a_counter_counts_from_nothing,
                what_is_no_number_is_not_counted_on,
                counting_is_one_step,
                a_swap_writes_where_nobody_else_has_written,
                a_swap_after_another_write_changes_nothing,
                a_version_names_one_value,
                a_bucket_never_sees_the_keys_of_another,
                a_namespace_never_sees_the_buckets_of_another,
                a_lost_delivery_writes_to_no_bucket,
                a_lease_that_ended_and_was_not_taken_still_writes,
                a_delivery_that_has_ended_writes_to_no_bucket,
            }
            quotas {
                a_bucket_takes_no_more_keys_than_its_quota,
                a_bucket_takes_no_more_bytes_than_its_quota,
                a_batch_over_the_quota_changes_nothing,
                room_that_was_given_back_can_be_used,
                a_value_over_its_limit_is_refused,
                each_writer_is_held_to_its_own_quota,
                values_too_large_for_one_answer_are_refused,
                a_bucket_that_holds_nothing_is_gone,
                a_bucket_is_cleared_in_chunks,
            }
            usage {
                what_attempts_used_is_summed_by_task_queue_and_tenant,
                usage_of_one_task_queue_or_tenant_can_be_asked_for,
                attempts_are_counted_by_how_they_ended,
                a_settled_attempt_is_summed,
                an_attempt_of_a_lost_delivery_is_not_summed,
                an_attempt_is_summed_once,
                sums_are_never_too_large,
                sums_outlive_records,
                usage_is_counted_from_the_beginning_of_an_hour: MovableClock,
                tenants_beyond_the_bound_are_summed_together: MovableClock,
                sums_are_forgotten_after_31_days: MovableClock,
                a_namespace_never_sees_the_usage_of_another,
            }
            modules {
                a_module_comes_back_by_its_digest_in_another_process,
                a_deployment_is_listed_as_it_was_made,
                versions_count_from_one_under_a_name_and_one_is_active,
                a_task_of_another_deployment_is_refused,
                a_task_is_moved_on_purpose,
                a_moved_task_leaves_what_was_signed_as_it_was,
                a_task_that_was_given_up_can_be_taken,
                a_removed_version_goes_with_its_module,
                a_module_stays_while_another_version_needs_it,
                removing_the_active_version_makes_no_other_active,
                a_version_number_is_not_given_again,
                the_revision_grows_with_every_change_and_with_nothing_else,
                a_namespace_never_sees_the_deployments_of_another,
            }
            versions {
                an_older_version_is_made_active_again_as_it_was_deployed,
                an_older_version_takes_no_task_from_another_by_surprise,
                a_canary_runs_beside_the_active_version_until_one_of_them_wins,
                a_new_version_takes_the_place_of_a_canary,
                a_canary_takes_no_task_from_another_deployment,
                old_versions_go_when_new_ones_come,
            }
            control {
                a_command_reaches_every_listener_once_and_in_order,
                every_command_wakes_who_listens,
                who_listens_later_hears_nothing_of_before,
                a_command_expires: MovableClock,
                listening_to_silence_ends_by_itself,
                a_namespace_never_hears_the_commands_of_another,
                workers_are_listed_by_name_with_their_last_heartbeat,
                a_worker_is_seen_by_the_stores_clock,
                a_worker_that_left_is_not_listed,
                a_worker_that_was_not_seen_is_dead_and_then_forgotten: MovableClock,
            }
            two_stores {
                records_lie_on_one_server_and_envelopes_on_the_other,
                an_end_whose_settlement_was_lost_is_settled_without_running,
                a_failure_whose_settlement_was_lost_becomes_a_dead_letter,
                what_is_claimed_while_the_records_are_away_goes_back,
                the_report_of_a_late_worker_is_refused_after_a_newer_claim,
                a_settlement_can_be_repeated_after_a_crash_between,
                every_dead_letter_wakes_who_waits_for_the_end,
                a_replayed_envelope_runs_again,
                an_id_whose_record_lies_on_the_other_server_is_known,
                a_cancellation_is_recorded_on_the_other_server,
                what_was_recorded_as_cancelled_is_not_run,
                both_servers_have_upkeep,
                buckets_lie_where_the_records_do,
            }
            model {
                no_history_loses_or_doubles_an_envelope,
            }
        }
    };
}
