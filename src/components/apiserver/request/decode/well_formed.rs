//! Text in a JSON body that is no Unicode.

use super::Media;
use crate::request::http::{BODY_MAX, header};
use bytes::Bytes;
use http::HeaderMap;

/// What stands for text that cannot be read, as a character and as an escape.
const REPLACEMENT: &str = "\u{fffd}";
const ESCAPED: &[u8] = br"\ufffd";

/// Returns a JSON body with U+FFFD in the place of each byte that is no UTF-8 and of each escaped
/// half of a surrogate pair, as Go's decoder reads them (`unquoteBytes`). Another body stays as it
/// is, and so does one that would be longer than a body may be: it is refused when it is parsed.
///
/// Example: a page in JavaScript cuts a text in the middle of `😀` and sends `"\ud83d"`; Python
/// sends the byte E9 of a file in Latin-1 as `"\udce9"`, and curl as it is.
pub(crate) fn well_formed(headers: &HeaderMap, body: Bytes) -> Bytes {
    if Media::of(header(headers, "content-type")) != Media::Json {
        return body;
    }
    let more = REPLACEMENT.len() - 1;
    let added: usize = body.utf8_chunks().map(|chunk| chunk.invalid().len() * more).sum();
    let mut lone = next_lone(&body, 0);
    if (added == 0 && lone.is_none()) || body.len() + added > BODY_MAX {
        return body;
    }
    let (mut made, mut from) = (Vec::with_capacity(body.len() + added), 0);
    while let Some(at) = lone {
        put_text(&body[from..at], &mut made);
        made.extend_from_slice(ESCAPED);
        from = at + ESCAPED.len();
        lone = next_lone(&body, from);
    }
    put_text(&body[from..], &mut made);
    made.into()
}

/// Writes text with [`REPLACEMENT`] for each byte that is no UTF-8.
fn put_text(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        chunk.invalid().iter().for_each(|_| out.extend_from_slice(REPLACEMENT.as_bytes()));
    }
}

/// Finds the next escaped half of a surrogate pair without its other half. `from` is not inside of
/// an escape.
fn next_lone(body: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + body.get(from..)?.iter().position(|byte| *byte == b'\\')?;
        from = match (escaped(body, at), escaped(body, at + ESCAPED.len())) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at + 2 * ESCAPED.len(),
            (Some(0xd800..=0xdfff), _) => return Some(at),
            _ => at + 2,
        };
    }
}

/// Returns the number of the escape `\uXXXX` at this place, if there is one.
fn escaped(body: &[u8], at: usize) -> Option<u16> {
    let digits = body.get(at..at + ESCAPED.len())?.strip_prefix(br"\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::user::{MASTERS, User};
    use crate::testing::{self, Api};

    fn read(media: &str, body: &[u8]) -> Bytes {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", media.parse().unwrap());
        well_formed(&headers, Bytes::copy_from_slice(body))
    }

    #[test]
    fn what_is_no_unicode_is_replaced_in_json_alone() {
        let cases: [(&[u8], &[u8]); 7] = [
            (br#"{"a": "\ud83d\ude00 \\ud83d \n"}"#, br#"{"a": "\ud83d\ude00 \\ud83d \n"}"#),
            (br#""\ud83d""#, br#""\ufffd""#),
            (br#""\ud83d\ud83d\ude00""#, br#""\ufffd\ud83d\ude00""#),
            (br#""\uDCE9\u00e9\ud83d\n\""#, br#""\ufffd\u00e9\ufffd\n\""#),
            (b"\"caf\xe9 \xe2\x82\"", "\"caf\u{fffd} \u{fffd}\u{fffd}\"".as_bytes()),
            (br"\ud8", br"\ud8"),
            (br"\", br"\"),
        ];
        for (body, wanted) in cases {
            for media in ["", "application/json", "application/json-patch+json"] {
                assert_eq!(read(media, body), wanted, "{media}: {}", body.escape_ascii());
            }
            for media in ["application/apply-patch+yaml", "application/vnd.kubernetes.protobuf"] {
                assert_eq!(read(media, body), body, "{media}");
            }
        }
        let long = vec![0xff_u8; BODY_MAX];
        assert_eq!(read("", &long), long, "it would be three times as long");
    }

    #[tokio::test]
    async fn a_body_with_half_a_character_is_taken() {
        let api = Api::bare().await;
        let maps = "/api/v1/namespaces/default/configmaps";
        let send = async |method: &str, path: &str, media: &str, body: &'static [u8]| {
            let admin = User::new("admin", &[MASTERS]);
            testing::send(&api.fixture.server, admin, (method, path), (media, body), "").await
        };
        let map = br#"{"metadata": {"name": "m"}, "data": {"a": "\ud83d"}}"#;
        let (code, made) = send("POST", maps, "application/json", map).await;
        assert_eq!((code, made["data"]["a"].as_str()), (201, Some("\u{fffd}")), "{made}");
        let (media, change) = ("application/merge-patch+json", b"{\"data\": {\"a\": \"caf\xe9\"}}");
        let (code, made) = send("PATCH", &format!("{maps}/m"), media, change).await;
        assert_eq!((code, made["data"]["a"].as_str()), (200, Some("caf\u{fffd}")), "{made}");
    }
}
