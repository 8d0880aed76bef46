//! Entity tags of documents: a client that has one already is not sent it again (RFC 9110, sections
//! 8.8.3 and 13.1.2). kubectl keeps discovery and OpenAPI on its disk and asks with the tag.

use crate::request::context::Context;
use crate::request::http::{Answer, full, header as text_of, typed};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

/// Answers with a document, tagged with the hash of its bytes.
pub(crate) fn document(ctx: &Context, content_type: &str, bytes: impl Into<Bytes>) -> Answer {
    let bytes = bytes.into();
    let tag = format!("{:X}", Sha256::digest(&bytes));
    tagged(ctx, &tag, typed(200, content_type, bytes))
}

/// Adds the tag to an answer. It becomes a 304 without a body if the client says in
/// `If-None-Match` that it has this document.
pub(crate) fn tagged(ctx: &Context, tag: &str, mut answer: Answer) -> Answer {
    let quoted = format!("\"{tag}\"");
    let Ok(value) = HeaderValue::from_str(&quoted) else { return answer };
    answer.headers_mut().insert(header::ETAG, value);
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    if !matches(text_of(&ctx.headers, "if-none-match"), &quoted) {
        return answer;
    }
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    answer.headers_mut().remove(header::CONTENT_TYPE);
    answer.map(|_| full(""))
}

/// Returns whether a list of tags, or `*`, names this one. Weak tags (`W/"…"`) count as strong
/// ones.
fn matches(held: &str, tag: &str) -> bool {
    let mut all = held.split(',').map(str::trim);
    all.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list_of_them() {
        for (held, is_found) in [
            ("", false),
            ("\"b\"", false),
            ("a", false),
            ("\"a\"", true),
            ("\"b\", W/\"a\"", true),
            ("*", true),
        ] {
            assert_eq!(matches(held, "\"a\""), is_found, "{held}");
        }
    }
}
