//! The group `batch`.

mod indexes;
mod job_spec;
mod job_status;

kinds! {
    mod cron_job: k8s_openapi::api::batch::v1::CronJob;
    mod job: k8s_openapi::api::batch::v1::Job;
}
