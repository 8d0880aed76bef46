//! The group `batch`.

mod cron_job;
mod indexes;
mod job;
mod job_spec;
mod job_status;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![cron_job::kind(), job::kind()]
}
