//! Options of a log (`PodLogOptions`): the query of `pods/log`, checked before the pod's kubelet
//! reads it. The kubelet takes an option that it cannot read for one that is not there.

use crate::request::http::Query;
use api::Status;
use api::errors::Errors;
use api::gotime;
use serde_json::json;

/// Checks the options of a request for the log of the pod `name`, as upstream's
/// `ValidatePodLogOptions` does.
///
/// # Errors
/// 400 for a number or a time that cannot be parsed, 422 for a value out of its range, for two
/// options that exclude each other, and for a stream (upstream's gate PodLogsQuerySplitStreams is
/// off).
pub(crate) fn check_options(query: &Query, name: &str) -> Result<(), Status> {
    let (tail, limit) = (query.number("tailLines")?, query.number("limitBytes")?);
    let seconds = query.number("sinceSeconds")?;
    check_time(query.get("sinceTime"))?;
    let mut errors = Errors::default();
    if let Some(lines) = tail.filter(|n| *n < 0) {
        errors.invalid("tailLines", &json!(lines), "must be greater than or equal to 0");
    }
    if let Some(bytes) = limit.filter(|n| *n < 1) {
        errors.invalid("limitBytes", &json!(bytes), "must be greater than 0");
    }
    if seconds.is_some() && query.has("sinceTime") {
        errors.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified");
    } else if let Some(seconds) = seconds.filter(|n| *n < 1) {
        errors.invalid("sinceSeconds", &json!(seconds), "must be greater than 0");
    }
    if query.has("stream") {
        errors.forbidden("stream", "may not be specified");
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid("", "PodLogOptions", name, &errors)),
    }
}

/// Returns the query for the pod's kubelet: the options of a log and nothing else, as upstream
/// builds it anew, with whole seconds (`LogLocation`). A kubelet knows further options, such as
/// `tail` in place of `tailLines`, which `pods/log` does not have.
pub(crate) fn passed(query: &str) -> String {
    let options =
        ["follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes"];
    let pairs = form_urlencoded::parse(query.as_bytes());
    let known = pairs.filter(|(key, _)| options.contains(&key.as_ref()));
    let written = known.map(|(key, value)| match gotime::parse_nearest(&value) {
        Ok(time) if key == "sinceTime" => (key, clock::rfc3339(time).into()),
        _ => (key, value),
    });
    form_urlencoded::Serializer::new(String::new()).extend_pairs(written).finish()
}

/// Checks a time. An empty text and `null` stand for the zero time in a query.
fn check_time(text: &str) -> Result<(), Status> {
    match text {
        "" | "null" => Ok(()),
        text => gotime::parse_nearest(text).map(drop).map_err(Status::bad_request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelet_gets_the_options_of_a_log_and_nothing_else() {
        assert_eq!(passed("tailLines=5&tail=all&container=c&follow"), "tailLines=5&follow=");
        assert_eq!(passed("tail=1"), "");
        let since = passed("sinceTime=2026-01-02T03%3A04%3A05.9%2B09%3A00");
        assert_eq!(since, "sinceTime=2026-01-01T18%3A04%3A05Z");
        assert_eq!(passed("sinceTime=&follow=1"), "sinceTime=&follow=1");
        let late = passed("sinceTime=9999-12-31T23%3A59%3A59Z");
        assert_eq!(late, "sinceTime=9999-12-30T22%3A00%3A00Z", "no line is as late");
    }

    fn refused(query: &str) -> (u16, String) {
        let error = check_options(&Query::parse(Some(query)), "p").unwrap_err();
        (error.code, error.message)
    }

    #[test]
    fn options_of_a_log_are_checked_as_upstream_does() {
        for taken in [
            "",
            "tailLines=0&limitBytes=1&sinceSeconds=1",
            "sinceTime=2026-01-02T03:04:05.5%2B01:00",
            "sinceTime=9999-12-31T23:59:59Z",
            "sinceTime=",
            "sinceTime=null&follow=perhaps&previous=&timestamps=1",
        ] {
            assert_eq!(check_options(&Query::parse(Some(taken)), "p"), Ok(()), "{taken}");
        }
        for (query, code, message) in [
            (
                "tailLines=-1",
                422,
                "PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                "limitBytes=0",
                422,
                "PodLogOptions \"p\" is invalid: limitBytes: Invalid value: 0: must be greater than 0",
            ),
            (
                "sinceSeconds=0",
                422,
                "PodLogOptions \"p\" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0",
            ),
            (
                "sinceSeconds=-1&sinceTime=2026-01-02T03:04:05Z",
                422,
                "PodLogOptions \"p\" is invalid: : Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
            ),
            ("stream=Stdout", 422, "PodLogOptions \"p\" is invalid: stream: Forbidden: may not be specified"),
            ("tailLines=abc", 400, "strconv.ParseInt: parsing \"abc\": invalid syntax"),
            ("tailLines=", 400, "strconv.ParseInt: parsing \"\": invalid syntax"),
            (
                "limitBytes=9223372036854775808",
                400,
                "strconv.ParseInt: parsing \"9223372036854775808\": value out of range",
            ),
            (
                "sinceTime=yesterday",
                400,
                "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
            ),
            (
                "sinceTime=2026-01-02",
                400,
                "parsing time \"2026-01-02\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"T\"",
            ),
        ] {
            assert_eq!(refused(query), (code, message.to_string()), "{query}");
        }
    }
}
