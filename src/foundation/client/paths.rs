//! Names in the paths of requests, escaped.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment_of_a_path() {
        assert_eq!(segment("system:node-1.a_b"), "system:node-1.a_b");
        assert_eq!(segment("x?watch=true&a"), "x%3Fwatch%3Dtrue%26a");
        assert_eq!(segment("../../secrets/x"), "..%2F..%2Fsecrets%2Fx");
        assert_eq!(segment("a#b c%d"), "a%23b%20c%25d");
    }

    #[test]
    fn a_path_is_escaped_as_go_writes_it() {
        let escaped = |path: &str| percent_encoding::utf8_percent_encode(path, ESCAPED_IN_PATHS).to_string();
        assert_eq!(escaped("/a b/c?d=e"), "/a%20b/c%3Fd=e");
        assert_eq!(escaped("/-_.~$&+,:;=@09azAZ"), "/-_.~$&+,:;=@09azAZ");
        assert_eq!(escaped("!*'()[]%#가"), "%21%2A%27%28%29%5B%5D%25%23%EA%B0%80");
    }
}
