//! What the API server's answers mean.

/// Returns true for an answer of the API server with that HTTP code.
///
/// A patch that names a uid is meant for that object alone. If another one has its name by now, the
/// server answers an update with 409, and a patch with 422: it takes the uid for a change. Here
/// both are a conflict, 409, because both mean that what was read is out of date.
pub fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status)
        if status.code == code || code == 409 && is_of_another(status))
}

/// Returns true for the refusal of a patch whose uid is that of another object.
fn is_of_another(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 422 && causes.into_iter().any(|cause| cause.field == "metadata.uid")
}

/// Returns true if no API server answered, or only to say that it cannot now. What was read before
/// is then as good as it was. A request that could not be built was never sent, and never will be.
pub fn is_unanswered(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        kube::Error::SerdeError(_) => false,
        kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => false,
        _ => true,
    }
}

/// Turns the API server's "not found" (404) into `None`.
///
/// # Errors
/// Every other error of the request, unchanged; see [`is_unanswered`].
pub fn optional<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_code(&error, 404) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;
    use k8s_openapi::api::core::v1::Node;

    #[tokio::test]
    async fn a_request_that_was_never_sent_is_not_unanswered() {
        let client = Client::connect(crate::testing::silent().await).unwrap();
        let unsent = client.cluster::<Node>().get("").await.unwrap_err();
        assert!(matches!(unsent, kube::Error::BuildRequest(_)), "{unsent}");
        assert!(!is_unanswered(&unsent));
        let unbuilt = http::Request::get("/a b").body(()).unwrap_err();
        assert!(!is_unanswered(&kube::Error::HttpError(unbuilt)));
    }

    #[test]
    fn a_patch_of_another_object_of_the_name_is_a_conflict() {
        let error = |code: u16, field: &str| {
            let details = serde_json::json!({"name": "a", "causes": [{"field": field}]});
            let status = serde_json::json!({"status": "Failure", "code": code, "reason": "Invalid",
                "message": "m", "details": details});
            kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
        };
        let codes = |error: kube::Error| [409, 422].map(|code| is_code(&error, code));
        assert_eq!(codes(error(422, "metadata.uid")), [true, true]);
        assert_eq!(codes(error(422, "metadata.labels")), [false, true]);
        assert_eq!(codes(error(409, "")), [true, false]);
        assert_eq!(codes(error(404, "metadata.uid")), [false, false]);
    }
}
