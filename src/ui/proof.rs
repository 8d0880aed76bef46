//! `lesson test`.

use super::Error;
use crate::lab::format::Lesson;
use std::path::PathBuf;

pub async fn prove(_: Vec<Lesson>, _: Option<PathBuf>, _: usize) -> Result<bool, Error> {
    Ok(true)
}
