//! The query `timeout` of a request: how long its client waits for the answer (upstream:
//! `WithRequestDeadline`). kubectl sends it with `--request-timeout`.

use crate::flowcontrol::bounds::is_stream;
use crate::request::http::Query;
use crate::request::info::Info;
use api::Status;
use api::gostr::{Nanos, parse_duration};
use serde_json::json;
use std::time::Duration;

/// The longest time that a client can ask for: upstream's `--request-timeout`. A longer one asks
/// for nothing.
const MOST: Nanos = Nanos(60_000_000_000);

/// Returns how long a request may take, as its client asks; `None` if the client asks for no limit.
/// A watch and a stream to a kubelet go on for as long as both sides want.
///
/// Example: `?timeout=500ms` is half a second, `?timeout=0s` and `?timeout=2h` are no limit.
///
/// # Errors
/// 400 for a value that is no duration as Go writes it.
pub(crate) fn requested(info: &Info, query: &Query) -> Result<Option<Duration>, Status> {
    let text = query.get("timeout");
    if text.is_empty() || info.verb == "watch" || is_stream(info) {
        return Ok(None);
    }
    match parse_duration(text) {
        Ok(time) if time > Nanos(0) && time < MOST => Ok(Some(time.duration())),
        Ok(_) => Ok(None),
        Err(why) => Err(Status::bad_request(format!("invalid timeout specified in the request URL - {why}"))),
    }
}

/// Returns the answer to a request whose time is over: 504. A write may have been done all the
/// same. As upstream it comes without Retry-After: clients of Go would repeat the request by
/// themselves.
pub(crate) fn exceeded() -> Status {
    let why = "Timeout: request did not complete within requested timeout - context deadline exceeded";
    Status::new(504, "Timeout", why).with(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Api;
    use http::Method;

    #[test]
    fn a_time_limit_is_a_duration_of_less_than_a_minute() {
        let limit = |path: &str, query: &str| {
            let query = Query::parse(Some(query));
            requested(&Info::parse(&Method::GET, path, &query), &query).map_err(|status| status.code)
        };
        let pods = "/api/v1/namespaces/default/pods";
        for (query, wanted) in [
            ("", Ok(None)),
            ("timeout=", Ok(None)),
            ("timeout=0", Ok(None)),
            ("timeout=-5s", Ok(None)),
            ("timeout=1m", Ok(None)),
            ("timeout=59.5s", Ok(Some(Duration::from_millis(59_500)))),
            ("timeout=10ms", Ok(Some(Duration::from_millis(10)))),
            ("timeout=10", Err(400)),
            ("timeout=soon", Err(400)),
            ("timeout=soon&watch=1", Ok(None)),
        ] {
            assert_eq!(limit(pods, query), wanted, "{query}");
        }
        assert_eq!(limit(&format!("{pods}/p/log"), "timeout=10ms"), Ok(None), "a log may be followed");
        assert_eq!(limit("/version", "timeout=soon"), Err(400));
    }

    #[tokio::test]
    async fn a_request_is_answered_once_its_time_is_over() {
        let api = Api::bare().await;
        let (code, answer) = api.get("/api/v1/namespaces?timeout=soon").await;
        let why = "invalid timeout specified in the request URL - time: invalid duration \"soon\"";
        assert_eq!((code, &answer["message"]), (400, &json!(why)), "{answer}");
        // A revision that does not come is waited for longer than this.
        let (code, answer) = api.get("/api/v1/namespaces?resourceVersion=99999999&timeout=10ms").await;
        assert_eq!((code, &answer["message"]), (504, &json!(exceeded().message)), "{answer}");
        assert_eq!(api.get("/api/v1/namespaces?timeout=32s").await.0, 200);
    }
}
