//! The server's resources, read with kubectl's own requests.

use super::api::{Api, JSON};
use crate::error::Fail;
use client::discovery::{AGGREGATED, Discovery, ROOTS};

/// Asks the server for all its resources: two requests, or one for each group version if the server
/// has no aggregated discovery.
///
/// # Errors
/// As [`Api::get`], for `/api` and `/apis`. A single group version that the server refuses is left
/// out, so that a broken one does not hide the others.
pub(crate) async fn load(api: &Api) -> Result<Discovery, Fail> {
    let mut all = Discovery::default();
    for path in ROOTS {
        let answer = api.get_as(path, &[("timeout", "32s")], AGGREGATED).await?;
        for of in all.add(&answer) {
            match api.get_as(&of.path, &[("timeout", "32s")], JSON).await {
                Ok(document) => all.add_version(&of, &document),
                Err(Fail::Api(_)) => {} // one broken group does not hide the others
                Err(other) => return Err(other),
            }
        }
    }
    Ok(all)
}
