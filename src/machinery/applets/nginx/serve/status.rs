//! Statuses in nginx' words.

use http::StatusCode;

/// Returns nginx' words for a status: those of the status line, and those of the page's title. Some
/// are older than those of RFC 9110. Both are empty for a status that nginx does not know:
///
/// ```text
/// 404  Not Found
/// 302  Moved Temporarily, Found
/// 418  nothing: the line is "HTTP/1.1 418 "
/// ```
///
/// Source: `ngx_http_status_lines` and the pages of `ngx_http_special_response.c`.
pub(super) fn reasons(status: StatusCode) -> (&'static str, &'static str) {
    let both = match status.as_u16() {
        302 => return ("Moved Temporarily", "Found"),
        401 => return ("Unauthorized", "Authorization Required"),
        405 => "Not Allowed",
        408 => "Request Time-out",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        416 => "Requested Range Not Satisfiable",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        _ if has_words(status) => status.canonical_reason().unwrap_or(""),
        _ => "",
    };
    (both, both)
}

/// Returns true if nginx has words for a status. Those of errors, from 400 on, have a page too.
pub(super) fn has_words(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=202 | 204 | 206
            | 301..=304 | 307 | 308
            | 400..=406 | 408..=416 | 421 | 429
            | 500..=505 | 507
    )
}
