//! Names in the paths of requests, and what the API server's answers mean.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// Bytes that Go's `url.URL` escapes as `%XX` when it writes a whole path: all but letters, digits
/// and `-_.~$&+,/:;=@`. Slashes stay, so this is for paths; one name in a path needs [`segment`].
///
/// Example: the path `/a b/c?d=e` is written as `/a%20b/c%3Fd=e`.
pub const ESCAPED_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// Escapes a name as one segment of a request's path, for paths that are built by hand;
/// [`Api`](crate::Api) does it for every name. Names that other objects contain are hardly
/// restricted: a GET of `x?y` would read another object, `x`, and so would `../../secrets/x`.
pub fn segment(name: &str) -> String {
    const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');
    percent_encoding::utf8_percent_encode(name, &KEPT).to_string()
}

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
